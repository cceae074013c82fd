#!/bin/sh
# Who is heard? (C14). From anywhere: sh recipes/claims/arbitration/run.sh DATA RUNS NOISE
# DATA has the manifests mini, timit and librispeech (each optional), RUNS the trained runs of each.
set -eu
cd "$(dirname "$0")/../../.."
data=${1:?the folder with prepared manifests in mini, timit, librispeech}
runs=${2:?the folder with runs in mini, timit, librispeech}
noise=${3:?a folder of recordings of noise}
python=${PYTHON:-python}
out=${OUT:-out/claims/arbitration}
system=${SYSTEM:-backprop-inter}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
compare() {  # CORPUS DEV TEST [options]
    corpus=$1 dev=$2 test=$3
    shift 3
    [ -e "$data/$corpus" ] || return 0
    for seed in 0 1 2; do
        set -- "$@" --run "seed$seed=$runs/$corpus/$system-seed$seed"
    done
    "$python" -m recipes.claims.arbitration.measure "$@" --name "$corpus" --nets "$system" \
        --dev "$data/$corpus/${dev}_cuts.jsonl.gz" --test "$data/$corpus/${test}_cuts.jsonl.gz" \
        --noise "$noise" --out "$out"
}
compare mini dev test
compare timit fold0_dev test
compare librispeech fold0_dev local-dev --every 3 --every-dev 3 --lexicon "$data/librispeech/lexicon.txt"
"$python" -m recipes.claims.arbitration.report "$out/results" > "$out/tables.md"
[ ! -e "$out/mini" ] || "$python" -m recipes.claims.arbitration.picture "$out/mini/test-10.npz" \
    --net seed0 seed1 seed2 --utterance 40 --out "$out/heard.png"
