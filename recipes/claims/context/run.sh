#!/usr/bin/env bash
# Is a short context of events enough? (C15): bash recipes/claims/context/run.sh DATA [OUT]
# DATA has the manifests of `prepare mini` in mini. RUNS, a folder with runs of recipes/claims/learning in
# timit and librispeech, adds them, with the manifests in DATA/timit and DATA/librispeech. SEEDS (3).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/context/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/context}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=${PYTHON:-python} here=recipes/claims/context last=$((${SEEDS:-3} - 1))
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$python" -m recipes.compare recipes/mini/train.yaml $here/systems.yaml --test "$data/mini/test_cuts.jsonl.gz" \
  --out "$out/mini" --seeds "${SEEDS:-3}" --workers "${WORKERS:-2}" --set "data.train=$data/mini/train_cuts.jsonl.gz" \
  "data.dev=$data/mini/dev_cuts.jsonl.gz" "data.cache=$out/features" model.preset=small epochs=12 > /dev/null

windows() {  # CORPUS CUTS RUNS [OPTION ...]: of each NAME-seedN in the folder of runs
  local corpus=$1 cuts=$2 runs=$3 arguments=()
  shift 3
  [ -d "$runs" ] || return 0
  for seed in $(seq 0 "$last"); do
    for run in "$runs"/*-seed"$seed"; do arguments+=(--run "$(basename "$run")=$run"); done
  done
  "$python" -m recipes.claims.limits.splice "$cuts" --out "$out/${corpus}_cuts.jsonl.gz" \
    --from "${FROM:-25}" --to "${TO:-60}"
  "$python" -m $here.windows --cuts "$out/${corpus}_cuts.jsonl.gz" "${arguments[@]}" --again \
    --out "$out/windows.jsonl" "$@"
}
windows mini "$data/mini/test_cuts.jsonl.gz" "$out/mini"
if [ -n "${RUNS:-}" ]; then
  FROM=20 TO=30 windows timit "$data/timit/test_cuts.jsonl.gz" "$RUNS/timit"
  windows librispeech "$data/librispeech/local-dev_cuts.jsonl.gz" "$RUNS/librispeech" --every 2 \
    --lexicon "$data/librispeech/lexicon.txt"
fi
for system in events stride none; do runs+=(--run "$system=$out/mini/$system-seed0"); done
"$python" -m $here.hour --cuts "$out/mini_cuts.jsonl.gz" "${runs[@]}" --out "$out/hour.jsonl"
"$python" -m $here.report "$out" --out "$out"
