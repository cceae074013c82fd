#!/usr/bin/env bash
# Initialisations (C17) on three corpora: bash recipes/claims/initialisation/run.sh DATA [OUT]
# DATA: folder with mini, timit and librispeech, each with its manifests, as README.md says; one that
# is missing is left out. Run again, it continues. SEEDS (5), WORKERS (2), ONLY: names of systems,
# EPOCHS: of every corpus, instead of its own.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/initialisation/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/initialisation}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

compare() {  # CORPUS TRAIN DEV TEST KEY=VALUE ...
  local corpus=$1 train=$data/$1/$2 dev=$data/$1/$3 test=$data/$1/$4
  shift 4
  [ -e "$train" ] || { echo "$corpus: no $train, left out"; return; }
  folders+=("$out/$corpus")
  "${PYTHON:-python}" -m recipes.compare "recipes/$corpus/train.yaml" \
    recipes/claims/initialisation/systems.yaml --test "$test" --out "$out/$corpus" \
    --seeds "${SEEDS:-5}" --workers "${WORKERS:-2}" ${ONLY:+--only "$ONLY"} \
    --set "data.train=$train" "data.dev=$dev" "data.cache=$out/features-$corpus" "$@" \
    ${EPOCHS:+"epochs=$EPOCHS"} > /dev/null
}

folders=()

compare mini train_cuts.jsonl.gz dev_cuts.jsonl.gz test_cuts.jsonl.gz epochs=20
compare timit fold0_train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz test_cuts.jsonl.gz epochs=60 validate_every=20
compare librispeech fold0_train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz local-dev_cuts.jsonl.gz \
  "data.labels.lexicon=$data/librispeech/lexicon.txt" epochs=6 validate_every=25
[ ${#folders[@]} -gt 0 ] || { echo "$data has no manifests, see README.md" >&2; exit 2; }
"${PYTHON:-python}" -m recipes.claims.learning.report "${folders[@]}" --base kaiming --out "$out/report.md"
