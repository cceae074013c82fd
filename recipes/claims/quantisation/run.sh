#!/usr/bin/env bash
# Weights of few bits (C20): bash recipes/claims/quantisation/run.sh CUTS [RUN ...]
# EVERY (1): reads one of so many cuts. OUT (out/claims/quantisation). Run again, it continues.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/quantisation/run.sh CUTS [RUN ...]" >&2; exit 2; }
cuts=$(realpath "$1") out=${OUT:-out/claims/quantisation} runs=(package)
shift
for run in "$@"; do runs+=("$(realpath "$run")"); done
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
export OMP_NUM_THREADS=1
python=${PYTHON:-python} lines=()
mkdir -p "$out"
for run in "${runs[@]}"; do
  name=$(basename "$run")
  "$python" -m recipes.claims.quantisation.measure "$run" --cuts "$cuts" --every "${EVERY:-1}" --layers --out "$out/$name.jsonl"
  lines+=("$name=$out/$name.jsonl")
done
"$python" -m recipes.claims.quantisation.report "$out" "${lines[@]}"
"$python" -m recipes.claims.quantisation.speed package --cuts "$cuts" --every "${EVERY:-1}"
