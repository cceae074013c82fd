#!/usr/bin/env bash
# Oscillators (C26) beside the state space and the convolution: bash recipes/claims/oscillators/run.sh DATA [OUT]
# DATA: folder with mini, timit and librispeech, each with its manifests (one that is missing is left out; librispeech
# has train_cuts, dev_cuts and lexicon.txt of recipes/librispeech). Run again, it continues.
# SEEDS (3), STEPS (400, of mini three quarters).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/oscillators/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) out=${2:-out/claims/oscillators} steps=${STEPS:-400}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=${PYTHON:-python} here=recipes/claims/oscillators
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
compare() { "$python" -m "$@" --seeds "${SEEDS:-3}" > /dev/null; }
[ -n "$(ls "$data"/{mini,timit,librispeech}/train_cuts.jsonl.gz 2> /dev/null)" ] || {
  echo "$data has no manifests: speechasym prepare mini, timit" >&2; exit 2; }
runs=()
if [ -e "$data/mini/train_cuts.jsonl.gz" ]; then
  compare recipes.compare recipes/mini/train.yaml $here/mini.yaml --test "$data/mini/test_cuts.jsonl.gz" --out "$out/mini" --workers 0 \
    --set "data.train=$data/mini/train_cuts.jsonl.gz" "data.dev=$data/mini/dev_cuts.jsonl.gz" \
    "data.cache=$out/features-mini" validate_every=1000000 ${STEPS:+steps=$((steps * 3 / 4))} epochs=10
  runs+=("$out/mini/oscillator-seed0" "$out/mini/oscillator-damped-seed0")
fi
if [ -e "$data/timit/train_cuts.jsonl.gz" ]; then
  timit() {  # MODULE SYSTEMS FOLDER
    compare "$1" recipes/claims/starvation/starved.yaml "$here/$2.yaml" --test "$data/timit/test_cuts.jsonl.gz" --out "$out/$3" "${@:4}" \
      --set "data.train=$data/timit/train_cuts.jsonl.gz" "data.dev=$data/timit/train_cuts.jsonl.gz" \
      "data.cache=$out/features-timit" data.augment.time_masks=2 data.augment.column_masks=1 weight_decay=0.05 \
      model.every.block.dropout=0.1 model.every.width=64 "steps=$steps"
  }
  timit recipes.compare timit timit --workers 0
  timit recipes.claims.oscillators.remedies remedies remedies
  runs+=("$out/timit/oscillator-seed0" "$out/timit/oscillator-damped-seed0")
fi
if [ -e "$data/librispeech/train_cuts.jsonl.gz" ]; then
  compare recipes.claims.oscillators.remedies recipes/librispeech/tiny.yaml $here/librispeech.yaml \
    --test "$data/librispeech/dev_cuts.jsonl.gz" --out "$out/librispeech" \
    --set "data.train=$data/librispeech/train_cuts.jsonl.gz" "data.dev=$data/librispeech/dev_cuts.jsonl.gz" \
    "data.cache=$out/features-librispeech" "data.labels.lexicon=$data/librispeech/lexicon.txt" "data.augment.speeds=[1.0]" \
    "model={preset: tiny, every: {width: 96, block: {dropout: 0.05}}, levels: {0: {events: none}}, heads: {phones: {level: 1}, letters: {slots: 1}}}" "heads={phones: 1, letters: 0, words: 0}" target=phones mmi=0 \
    epochs=100000 validate_every=1000000 "steps=$steps"  # the last step is kept
fi
[ "${#runs[@]}" = 0 ] || "$python" -m recipes.claims.oscillators.frequencies "${runs[@]}" --out "$out"
