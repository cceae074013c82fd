#!/usr/bin/env bash
# Feedback (C13): in noise on three corpora, and chains: bash recipes/claims/feedback/run.sh DATA NOISE [OUT]
# DATA: folder with mini, timit and librispeech, each with its manifests (one that is missing is left out); NOISE: recordings of noise, half of
# which are heard in training. Run again, it continues. SEEDS (5), WORKERS (2), ONLY: names of systems, CORPORA (mini timit librispeech),
# CHAINS: seeds of chains (0 1 2 3 4).
set -euo pipefail
[ $# -gt 1 ] || { echo "Use: bash recipes/claims/feedback/run.sh DATA NOISE [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd) noise=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
out=${3:-out/claims/feedback}
python=${PYTHON:-python} here=recipes/claims/feedback
only=${ONLY:-feedback,parameters,deeper,wider}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out/noise"
for name in city rain train; do  # as OF_DEV of recipes/claims/arbitration/readings.py
  ln -sf "$noise/$name.flac" "$out/noise/"
done
noisy=("data.augment.noise=$out/noise" data.augment.noise_share=0.7 "data.augment.snr_db=[0,20]" target=phones)

measured() {  # CORPUS TRAIN DEV TEST KEY=VALUE ...
  local corpus=$1 train=$data/$1/$2 dev=$3 test=$data/$1/$4
  shift 4
  [ -e "$train" ] || { echo "$corpus: no $train, left out"; return; }
  "$python" -m recipes.compare "recipes/$corpus/train.yaml" "$here/systems.yaml" --test "$test" \
    --out "$out/$corpus" --seeds "${SEEDS:-5}" --workers "${WORKERS:-2}" --only "$only" \
    --set "data.train=$train" "data.dev=$data/$corpus/$dev" "data.cache=$out/features-$corpus" \
    "${noisy[@]}" "$@" > /dev/null
  "$python" -m recipes.claims.feedback.measure "$out/$corpus" --test "$test" --noise "$noise"
}

deep='model={preset: small, every: {events: none, block: {dropout: 0.1}}, heads: {phones: {level: 2}}}'
read='model={preset: small, every: {block: {dropout: 0.1}}, levels: {0: {events: none}}, heads: {letters: {slots: 1}}}'
for corpus in ${CORPORA:-mini timit librispeech}; do
  case $corpus in
    mini) measured mini train_cuts.jsonl.gz dev_cuts.jsonl.gz test_cuts.jsonl.gz model.preset=small epochs=12 ;;
    timit) measured timit train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz test_cuts.jsonl.gz "$deep" epochs=60 ;;
    librispeech) measured librispeech fold0_train_cuts.jsonl.gz fold0_dev_cuts.jsonl.gz local-dev_cuts.jsonl.gz \
      "$read" "data.labels.lexicon=$data/librispeech/lexicon.txt" epochs=4 validate_every=25 ;;
  esac
done
if [ -e "$out/mini/feedback-seed0/config.json" ]; then
  "$python" -m recipes.claims.feedback.settle "$out"/mini/feedback-seed? --noise "$noise" \
    --test "$data/mini/test_cuts.jsonl.gz" --out "$out/settling.png"
fi
for seed in ${CHAINS-0 1 2 3 4}; do
  [ -e "$out/chains$seed.jsonl" ] || "$python" -m recipes.claims.feedback.chains --out "$out/chains$seed.jsonl" --seed "$seed"
done
[ -z "${CHAINS-0}" ] || "$python" -m recipes.claims.feedback.chains_report "$out"/chains*.jsonl --out "$out/chains.md"
"$python" -m recipes.claims.feedback.report "$out" --out "$out/report.md"
