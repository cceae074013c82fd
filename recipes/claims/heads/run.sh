#!/usr/bin/env bash
# One head, many, and ensembles of one-headed nets (C25): bash recipes/claims/heads/run.sh DATA [OUT]
# DATA: folder with timit and its manifests. Run again, it continues. SEEDS (3): of each; an ensemble has four nets.
# STEPS (400).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/heads/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd)/timit out=${2:-out/claims/heads}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare timit" >&2; exit 2; }
python=${PYTHON:-python} seeds=${SEEDS:-3}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
trained() {  # SYSTEMS SEEDS
  "$python" -m recipes.compare recipes/claims/starvation/starved.yaml recipes/claims/heads/systems.yaml \
    --test "$data/test_cuts.jsonl.gz" --out "$out" --only "$1" --seeds "$2" --workers 0 \
    --set "data.train=$data/train_cuts.jsonl.gz" "data.dev=$data/train_cuts.jsonl.gz" "data.cache=$out/features" \
    data.augment.time_masks=2 data.augment.column_masks=1 weight_decay=0.05 model.every.block.dropout=0.1 \
    model.every.width=64 "steps=${STEPS:-400}" > /dev/null
}
trained heads4,heads1,heads16 "$seeds"
trained small1 $((4 * seeds))
"$python" -m recipes.claims.heads.measure "$out" --test "$data/test_cuts.jsonl.gz"
