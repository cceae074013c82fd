#!/usr/bin/env bash
# Growth (C9) at equal FLOPs on the mini corpus: bash recipes/claims/growth/run.sh DATA [OUT]
# DATA: folder with mini and its manifests, as README.md says. Run again, it continues. SEEDS (3),
# WORKERS (2), ONLY: names of systems, FLOPS (1.8e12: 12 epochs of the whole stack).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/growth/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd)/mini out=${2:-out/claims/growth}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests, see README.md" >&2; exit 2; }
"${PYTHON:-python}" -m recipes.compare recipes/mini/train.yaml recipes/claims/growth/systems.yaml \
  --test "$data/test_cuts.jsonl.gz" --out "$out/mini" --seeds "${SEEDS:-3}" \
  --workers "${WORKERS:-2}" ${ONLY:+--only "$ONLY"} --set "data.train=$data/train_cuts.jsonl.gz" \
  "data.dev=$data/dev_cuts.jsonl.gz" "data.cache=$out/features" model.preset=small \
  "flops=${FLOPS:-1.8e12}" > /dev/null
"${PYTHON:-python}" -m recipes.claims.growth.report "$out/mini" --out "$out/report.md"
