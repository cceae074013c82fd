#!/usr/bin/env bash
# Oscillators (C26) beside the state space and the convolution: bash recipes/claims/oscillators/run.sh DATA [OUT]
# DATA: folder with mini and timit, each with its manifests (one that is missing is left out). Run again, it continues.
# SEEDS (3).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/oscillators/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/oscillators}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=${PYTHON:-python} here=recipes/claims/oscillators
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
compare() { "$python" -m recipes.compare "$@" --seeds "${SEEDS:-3}" --workers 0 > /dev/null; }
runs=()
if [ -e "$data/mini/train_cuts.jsonl.gz" ]; then
  compare recipes/mini/train.yaml $here/mini.yaml --test "$data/mini/test_cuts.jsonl.gz" --out "$out/mini" \
    --set "data.train=$data/mini/train_cuts.jsonl.gz" "data.dev=$data/mini/dev_cuts.jsonl.gz" \
    "data.cache=$out/features-mini" epochs=10 validate_every=1000000
  runs+=("$out/mini/oscillator-seed0" "$out/mini/oscillator-damped-seed0")
fi
if [ -e "$data/timit/train_cuts.jsonl.gz" ]; then
  compare recipes/claims/starvation/starved.yaml $here/timit.yaml --test "$data/timit/test_cuts.jsonl.gz" --out "$out/timit" \
    --set "data.train=$data/timit/train_cuts.jsonl.gz" "data.dev=$data/timit/train_cuts.jsonl.gz" \
    "data.cache=$out/features-timit" data.augment.time_masks=2 data.augment.column_masks=1 weight_decay=0.05 \
    model.every.block.dropout=0.1 model.every.width=64
  runs+=("$out/timit/oscillator-seed0" "$out/timit/oscillator-damped-seed0")
fi
[ "${#runs[@]}" -gt 0 ] || { echo "$data has no manifests: speechasym prepare mini, timit" >&2; exit 2; }
"$python" -m recipes.claims.oscillators.frequencies "${runs[@]}" --out "$out"
