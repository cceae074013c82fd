#!/usr/bin/env bash
# Stacks, gates, constants, teachers (C21): bash recipes/claims/topology/run.sh DATA
# DATA: the folder of mini. OUT (out/claims/topology), SEEDS (3). Run again, it continues.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/topology/run.sh DATA" >&2; exit 2; }
data=$(realpath "$1") out=${OUT:-out/claims/topology} seeds=${SEEDS:-3}
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare mini" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
mkdir -p "$out"
out=$(realpath "$out")
export OMP_NUM_THREADS=1
python=${PYTHON:-python} here=recipes/claims/topology test=$data/test_cuts.jsonl.gz
own=("data.train=$data/train_cuts.jsonl.gz" "data.dev=$data/dev_cuts.jsonl.gz" "data.cache=$out/features")

"$python" -m recipes.compare $here/stack.yaml $here/stacks.yaml --test "$test" --out "$out/stacks" \
  --seeds "$seeds" --workers "${WORKERS:-2}" --set "${own[@]}" > /dev/null
"$python" -m $(tr / . <<< $here).series "$out"/stacks/*-seed? --cuts "$test" --out "$out/series"
"$python" -m $(tr / . <<< $here).prune "$out"/stacks/theory-seed? --cuts "$test" --out "$out/prune"
"$python" -m $(tr / . <<< $here).prune "$out"/stacks/theory-seed? --cuts "$test" --out "$out/prune" \
  --rules magnitude movement --steps 60 --shares 0.5 0.7 0.8 0.9
"$python" -m $(tr / . <<< $here).functions $here/functions.yaml --test "$test" --out "$out/functions" --seeds "$seeds" --set "${own[@]}"
quick=(monitor=false validate_every=1000000)
[ -e "$out/teacher/model.safetensors" ] || "${SPEECHASYM:-speechasym}" train --config recipes/mini/train.yaml --out "$out/teacher" \
  --resume --set "${own[@]}" "${quick[@]}" data.workers=0 threads=1 model.preset=small epochs=14
"$python" -m recipes.compare recipes/mini/train.yaml $here/students.yaml --test "$test" --out "$out/students" \
  --seeds "$seeds" --workers "${WORKERS:-2}" --set "${own[@]}" "${quick[@]}" epochs=8 "teacher.run=$out/teacher"
