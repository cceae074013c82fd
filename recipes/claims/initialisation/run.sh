#!/usr/bin/env bash
# Initialisations (C17) on three corpora: bash recipes/claims/initialisation/run.sh DATA [OUT]
# DATA: folder with mini, timit and librispeech, each with its manifests, as README.md says; one that
# is missing is left out. Run again, it continues. SEEDS (5), WORKERS (2), ONLY: names of systems,
# EPOCHS: of every corpus, instead of its own.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/initialisation/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/initialisation}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

compare() {  # CORPUS NAME TRAIN DEV TEST KEY=VALUE ...
  local corpus=$1 name=$2 train=$data/$1/$3 dev=$data/$1/$4 test=$data/$1/$5
  shift 5
  [ -e "$train" ] || { echo "$name: no $train, left out"; return; }
  folders+=("$out/$name")
  "${PYTHON:-python}" -m recipes.compare "recipes/$corpus/train.yaml" \
    recipes/claims/initialisation/systems.yaml --test "$test" --out "$out/$name" \
    --seeds "${SEEDS:-5}" --workers "${WORKERS:-2}" ${ONLY:+--only "$ONLY"} \
    --set "data.train=$train" "data.dev=$dev" "data.cache=$out/features-$corpus" "$@" \
    ${EPOCHS:+"epochs=$EPOCHS"} > /dev/null
}

folders=()

compare mini mini train_cuts.jsonl.gz dev_cuts.jsonl.gz test_cuts.jsonl.gz epochs=12
compare mini transformer train_cuts.jsonl.gz dev_cuts.jsonl.gz test_cuts.jsonl.gz epochs=12 \
  "model={preset: transformer}" target=phones heads.letters=0 heads.words=0
compare timit timit fold0_train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz test_cuts.jsonl.gz epochs=60 validate_every=20
compare librispeech librispeech fold0_train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz local-dev_cuts.jsonl.gz \
  "data.labels.lexicon=$data/librispeech/lexicon.txt" epochs=4 validate_every=25
[ ${#folders[@]} -gt 0 ] || { echo "$data has no manifests, see README.md" >&2; exit 2; }
"${PYTHON:-python}" -m recipes.claims.learning.report "${folders[@]}" --base kaiming --out "$out/report.md"
