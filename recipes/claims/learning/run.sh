#!/usr/bin/env bash
# The learning rules of C18 on three corpora: bash recipes/claims/learning/run.sh DATA [OUT]
# DATA: folder with mini, timit and librispeech, each with its manifests, as README.md says; one that
# is missing is left out. Run again, it continues. SEEDS (5), WORKERS (2), ONLY: names of systems, NO_METER: without the
# runs that measure memory and cosines.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/learning/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/learning}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=${PYTHON:-python} here=recipes/claims/learning

rules() {  # CORPUS SEEDS RECIPE SYSTEMS TRAIN DEV TEST KEY=VALUE ...
  local corpus=$1 seeds=$2 recipe=$3 systems=$4 train=$data/$1/$5 dev=$data/$1/$6 test=$data/$1/$7
  shift 7
  [ -e "$train" ] || { echo "$corpus: no $train, left out"; return; }
  local common=("data.train=$train" "data.dev=$dev" "data.cache=$out/features-$corpus" \
    learning.blocks=4 "$@")
  compare() {  # OUT SEEDS KEY=VALUE ...
    "$python" -m recipes.compare "recipes/$recipe/train.yaml" "$here/$systems" --test "$test" \
      --out "$1" --seeds "$2" --workers "${WORKERS:-2}" ${ONLY:+--only "$ONLY"} \
      --set "${common[@]}" "${@:3}" > /dev/null
  }
  compare "$out/$corpus" "$seeds"
  [ -n "${NO_METER:-}" ] || compare "$out/$corpus/meter" 1 learning.meter=true "${meter[@]}"
  folders+=("$out/$corpus")
}

folders=()
deep='model={preset: small, every: {events: none, block: {dropout: 0.1}}, heads: {phones: {level: 2}}}'
meter=(epochs=10)
rules timit "${SEEDS:-5}" timit timit.yaml train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz \
  test_cuts.jsonl.gz "$deep"
meter=(epochs=4)
rules mini "${SEEDS:-5}" mini systems.yaml train_cuts.jsonl.gz dev_cuts.jsonl.gz \
  test_cuts.jsonl.gz model.preset=small epochs=12
meter=(epochs=2)
rules librispeech "${SEEDS:-3}" librispeech systems.yaml fold0_train_cuts.jsonl.gz \
  fold0_dev_cuts.jsonl.gz local-dev_cuts.jsonl.gz "data.labels.lexicon=$data/librispeech/lexicon.txt" epochs=4
"$python" -m recipes.claims.learning.report "${folders[@]}" --out "$out/report.md"
