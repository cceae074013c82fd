#!/usr/bin/env bash
# The six roles of a level (C12): bash recipes/claims/roles/run.sh DATA NOISE [OUT]
# DATA: folder with mini and its manifests, NOISE: folder of recordings. Run again, it continues.
# SEEDS (3), WORKERS (2), ONLY: names of systems.
set -euo pipefail
[ $# -gt 1 ] || { echo "Use: bash recipes/claims/roles/run.sh DATA NOISE [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd)/mini noise=$(cd "$2" && pwd) out=${3:-out/claims/roles}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare mini" >&2; exit 2; }
python=${PYTHON:-python}
"$python" -m recipes.compare recipes/mini/train.yaml recipes/claims/roles/roles.yaml \
  --test "$data/test_cuts.jsonl.gz" --out "$out/mini" --seeds "${SEEDS:-3}" --workers "${WORKERS:-2}" \
  ${ONLY:+--only "$ONLY"} --set "data.train=$data/train_cuts.jsonl.gz" \
  "data.dev=$data/dev_cuts.jsonl.gz" "data.cache=${CACHE:-$out/features}" model.preset=small epochs=12 > /dev/null
OMP_NUM_THREADS=1 "$python" -m recipes.claims.roles.measure "$out/mini" --test "$data/test_cuts.jsonl.gz" \
  --noise "$noise" --out "$out"
