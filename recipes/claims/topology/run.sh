#!/usr/bin/env bash
# Stacks, gates, constants, teachers (C21): bash recipes/claims/topology/run.sh DATA
# DATA: the folder of mini. OUT (out/claims/topology), SEEDS (3). Run again, it continues.
# NOISES, NOISE_ROOT: noises to train and to test students in; default: students hear none.
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
  --rules magnitude movement --steps 40 --shares 0.7 0.9
"$python" -m $(tr / . <<< $here).prune "$out"/stacks/theory-seed? --cuts "$test" --out "$out/prune" --steps 160 --shares 0.7 0.9
"$python" -m $(tr / . <<< $here).functions $here/functions.yaml --test "$test" --out "$out/functions" --seeds "$seeds" --set "${own[@]}"
small=(model.every.width=32 "teacher.run=$out/stacks/theory-seed0")
for epochs in 6 20; do
  "$python" -m recipes.compare $here/functions.yaml $here/students.yaml --test "$test" --out "$out/students-$epochs" \
    --seeds "$seeds" --workers "${WORKERS:-2}" --set "${own[@]}" "${small[@]}" "epochs=$epochs" > /dev/null
done
[ -n "${NOISES:-}" ] || exit 0  # of scripts/make_noises.py, to train with
"$python" -m recipes.compare $here/functions.yaml $here/noisy_students.yaml --test "$test" --out "$out/noisy" --seeds "$seeds" \
  --workers "${WORKERS:-2}" --set "${own[@]:0:2}" "data.cache=$out/features-noisy" "data.augment.noise=$NOISES" \
  data.augment.noise_share=0.8 "data.augment.snr_db=[0,15]" data.augment.copies=5 "${small[@]}" epochs=6 > /dev/null
"$python" -m $(tr / . <<< $here).students "$out/noisy" --test "$test" --noise "$NOISE_ROOT" --out "$out/noisy"
