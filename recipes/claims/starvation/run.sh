#!/usr/bin/env bash
# Starvation and stitching (C19): bash recipes/claims/starvation/run.sh DATA [OUT]
# DATA: folder with timit and its manifests. Run again, it continues. SEEDS (3), SENTENCES (1,2,4,8) of each speaker.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/starvation/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd)/timit out=${2:-out/claims/starvation}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare timit" >&2; exit 2; }
python=${PYTHON:-python} here=recipes.claims.starvation shares=${SENTENCES:-1,2,4,8}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$python" -m $here.shares "$data/train_cuts.jsonl.gz" --out "$out" --sentences "$shares"
for n in ${shares//,/ }; do
  cuts=$out/sentences${n}_cuts.jsonl.gz
  "$python" -m recipes.compare ${here//.//}/starved.yaml ${here//.//}/widths.yaml --test "$data/test_cuts.jsonl.gz" \
    --out "$out/sentences$n" --seeds "${SEEDS:-3}" --workers 0 \
    --set "data.train=$cuts" "data.dev=$cuts" "data.cache=$out/features" > /dev/null
done
"$python" -m $here.report "$out"
most=$out/sentences${shares##*,}
"$python" -m $here.stitch --train "$out/sentences${shares##*,}_cuts.jsonl.gz" --test "$data/test_cuts.jsonl.gz" --out "$out" \
  --pair "$most/w64-seed0" "$most/w64-seed1" --pair "$most/w28-seed0" "$most/w64-seed0" --pair "$most/w144-seed0" "$most/w64-seed0"
