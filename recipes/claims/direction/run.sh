#!/usr/bin/env bash
# Features with and without hysteresis where direction in time matters (C2, C3):
# bash recipes/claims/direction/run.sh TIMIT_ROOT [OUT] [READ_CUTS]
# READ_CUTS: cuts of read books, which are aligned first. Run again, it keeps what exists.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/direction/run.sh TIMIT_ROOT [OUT] [READ_CUTS]" >&2; exit 2; }
root=$(cd "$1" && pwd) out=${2:-out/claims/direction} read=()
cuts=${3:+$(cd "$(dirname "$3")" && pwd)/$(basename "$3")}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
if [ -n "$cuts" ]; then
  "${SPEECHASYM:-speechasym}" align "$cuts" --out "$out/aligned" || [ $? = 1 ]  # 1: some cuts could not be aligned
  read=(--read "$cuts" "$out/aligned")
fi
"${PYTHON:-python}" -m recipes.claims.direction.run --timit "$root" --out "$out" ${read[@]+"${read[@]}"}
