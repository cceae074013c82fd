#!/bin/sh
# Competitors in attention (C6). From anywhere: sh recipes/claims/limits/run.sh [--quick | options of synthetic.py]
set -eu
cd "$(dirname "$0")/../../.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
out=${OUT:-out/claims/limits}
python=${PYTHON:-python}
if [ "${1:-}" = --quick ]; then
    shift
    "$python" -m recipes.claims.limits.sweep --out "$out/quick" --counts 2 16 64 256 1024 --draws 8
    exec "$python" -m recipes.claims.limits.synthetic --out "$out/quick" --seeds 1 --rates 0.01 --steps 300 --tests 64 "$@"
fi
"$python" -m recipes.claims.limits.sweep --out "$out"
exec "$python" -m recipes.claims.limits.synthetic --out "$out" "$@"
