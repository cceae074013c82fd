#!/usr/bin/env bash
# Stacks, gates, constants, teachers (C21): bash recipes/claims/topology/run.sh DATA
# DATA: the folder of mini. OUT (out/claims/topology), SEEDS (3). Run again, it continues.
# EPOCHS (12): of stacks and functions; others take half as many, or 20 / 12, and prune 160 / 12 steps for each.
# NOISES, NOISE_ROOT: noises to train and to test students in; default: students hear none.
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/topology/run.sh DATA" >&2; exit 2; }
data=$(realpath "$1") out=${OUT:-out/claims/topology} seeds=${SEEDS:-3} epochs=${EPOCHS:-12}
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare mini" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
mkdir -p "$out"
out=$(realpath "$out")
export OMP_NUM_THREADS=1
python=${PYTHON:-python} here=recipes/claims/topology test=$data/test_cuts.jsonl.gz
own=("data.train=$data/train_cuts.jsonl.gz" "data.dev=$data/dev_cuts.jsonl.gz" "data.cache=$out/features")
short=$(((epochs + 1) / 2)) long=$((epochs * 20 / 12)) more=$((epochs * 160 / 12))
of_recipe() { "$python" -m "recipes.claims.topology.$1" "${@:2}"; }
students() {  # SYSTEMS FOLDER [WORDS]
  "$python" -m recipes.compare $here/functions.yaml "$here/$1.yaml" --test "$test" --out "$out/$2" --seeds "$seeds" \
    --workers "${WORKERS:-2}" --set "${own[@]:0:2}" model.every.width=32 "teacher.run=$out/stacks/theory-seed0" "${@:3}" > /dev/null
}

"$python" -m recipes.compare $here/stack.yaml $here/stacks.yaml --test "$test" --out "$out/stacks" \
  --seeds "$seeds" --workers "${WORKERS:-2}" --set "${own[@]}" "epochs=$epochs" > /dev/null
of_recipe series "$out"/stacks/*-seed? --cuts "$test" --out "$out/series"
prune() { of_recipe prune "$out"/stacks/theory-seed? --cuts "$test" --every 2 --out "$out/prune" "$@"; }
prune
prune --rules random
prune --rules magnitude movement --steps $((more / 4)) --shares 0.7 0.9
prune --rules magnitude movement --steps "$more" --shares 0.5 0.7 0.9
prune --rules magnitude movement --steps $((more * 4)) --shares 0.7 0.9
# a net with a third of the weights from the start, trained as long
sed -n '/^theory:/,/shows:/p' $here/stacks.yaml > "$out/theory.yaml"
"$python" -m recipes.compare $here/stack.yaml "$out/theory.yaml" --test "$test" --out "$out/narrow" --seeds "$seeds" \
  --workers "${WORKERS:-2}" --set "${own[@]}" "epochs=$epochs" model.every.width=34 > /dev/null
of_recipe prune "$out"/narrow/theory-seed? --cuts "$test" --every 2 --out "$out/prune-narrow" --rules magnitude --steps $((more * 4)) --shares 0
of_recipe functions $here/functions.yaml --test "$test" --out "$out/functions" --seeds "$seeds" --set "${own[@]}" "epochs=$epochs"
of_recipe functions $here/functions.yaml --test "$test" --out "$out/constants" --seeds "$seeds" --only plain bias \
  --set "${own[@]}" "epochs=$long"
for n in "$short" "$long"; do students students "students-$n" "${own[2]}" "epochs=$n"; done

# few labels: two sentences of each voice
"$python" -m recipes.claims.starvation.shares "$data/train_cuts.jsonl.gz" --out "$out/few" --sentences 2
few=$out/few/sentences2_cuts.jsonl.gz
little() {  # CUTS SYSTEMS FOLDER STEPS OF 12 EPOCHS
  of_recipe little "$few" "$data/train_cuts.jsonl.gz" $here/functions.yaml $here/little.yaml --test "$test" \
    --out "$out/$3" --seeds "$seeds" --only "$2" --set "data.train=$1" "${own[@]:1}" model.every.width=32 \
    "teacher.run=$out/stacks/theory-seed0" epochs=100000 steps=$((epochs * $4 / 12)) > /dev/null
}
little "$few" labels-few,taught-few little 359
little "$data/train_cuts.jsonl.gz" taught-all little 359
little "$few" labels-few little-long 1100  # as long as a teacher takes

[ -n "${NOISES:-}" ] || exit 0  # of scripts/make_noises.py, to train with
students noisy_students noisy "data.cache=$out/features-noisy" "data.augment.noise=$NOISES" data.augment.noise_share=0.8 \
  "data.augment.snr_db=[0,15]" data.augment.copies=5 "epochs=$short"
of_recipe students "$out/noisy" --test "$test" --noise "$NOISE_ROOT" --out "$out/noisy"
