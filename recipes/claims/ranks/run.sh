#!/bin/sh
# Rank laws of circles and of units (C7, C8, C16, C24). From anywhere: sh recipes/claims/ranks/run.sh DATA [--quick]
# DATA has the manifests mini, timit and librispeech (each optional); BOOKS a folder of texts, LEXICON a CMUdict.
set -eu
cd "$(dirname "$0")/../../.."
data=${1:?the folder with prepared manifests in mini, timit, librispeech}
quick=${2:-}
python=${PYTHON:-python}
out=${OUT:-out/claims/ranks}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mini=$data/mini
timit=$data/timit
libri=$data/librispeech
"$python" -m recipes.claims.ranks.observers --out "$out"
"$python" -m recipes.claims.ranks.circle --out "$out" ${quick:+--parts 16 --seeds 3}
set --
[ ! -e "$mini" ] || set -- "$@" --cuts "mini=$mini/train_cuts.jsonl.gz"
[ ! -e "$timit" ] || set -- "$@" --cuts "timit=$timit/train_cuts.jsonl.gz,$timit/test_cuts.jsonl.gz"
[ ! -e "$libri" ] || set -- "$@" --cuts "librispeech=$libri/local-train_cuts.jsonl.gz,$libri/local-dev_cuts.jsonl.gz"
"$python" -m recipes.claims.ranks.units --out "$out" "$@" ${quick:+--rounds 3}
set --
[ ! -e "$libri" ] || set -- "$@" --run "pretrained==$libri/local-dev_cuts.jsonl.gz"
[ ! -e "$mini" ] || for run in ${RUNS:-}; do
    set -- "$@" --run "$(basename "$run")=$run=$mini/test_cuts.jsonl.gz"
done
[ $# = 0 ] || "$python" -m recipes.claims.ranks.learned --out "$out" "$@" ${quick:+--rounds 3 --seconds 30}
