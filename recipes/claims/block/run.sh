#!/bin/sh
# Depth study of C10. From anywhere: sh recipes/claims/block/run.sh [--quick | options of depth.py]
set -eu
cd "$(dirname "$0")/../../.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if [ "${1:-}" = --quick ]; then
    shift
    set -- --out out/claims/block/quick/depth.jsonl --depths 6 24 --seeds 1 --rates 0.004 0.016 0.064 --steps 60 "$@"
fi
exec "${PYTHON:-python}" -m recipes.claims.block.depth "$@"
