#!/usr/bin/env bash
# The recipes on stand-ins of the complete LibriSpeech and TIMIT, with few steps of training:
#   LIBRISPEECH_ROOT=FOLDER LEXICON=CMUDICT make test-scale
# TIMIT_ROOT: also TIMIT. SHARE: of the full size (0.02). STEPS: of training (100).
# OUT: folder to work in and to keep; default: a temporary one. Recordings are linked if it is on their
# file system, and copied otherwise. MOST: memory that is allowed to training, MB (3000).
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
fail() { echo "scale_check: $1" >&2; exit 2; }
[ -d "${LIBRISPEECH_ROOT:-}" ] || fail "set LIBRISPEECH_ROOT to the folder of LibriSpeech's subsets"
[ -f "${LEXICON:-}" ] || fail "set LEXICON to CMUdict or LibriSpeech's lexicon"
LIBRISPEECH_ROOT=$(realpath "$LIBRISPEECH_ROOT") LEXICON=$(realpath "$LEXICON")
export LEXICON
if [ -n "${OUT:-}" ]; then
  mkdir -p "$OUT"
  work=$(realpath "$OUT")
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
cd "$(dirname "$0")/.."
python=${PYTHON:-python} share=${SHARE:-0.02} steps=${STEPS:-100}
[ ! -e "$work/stand-in" ] || fail "$work/stand-in exists. Remove it, or set another OUT"
measure() {  # NAME COMMAND ...: with its time and memory
  local name=$1
  shift
  "$python" benchmarks/memory.py record "$work/$name.jsonl" --most "${MOST:-3000}" "$@" \
    > "$work/$name.txt" 2>&1 || { tail -n 40 "$work/$name.txt"; fail "$name failed: $work/$name.txt"; }
  tail -n 1 "$work/$name.txt"
}
# The recordings of a stand-in are alike, and are to be kept.
export PREPARE=--keep-duplicates TRAIN=train-clean-100,train-clean-360,train-other-500
export PYTHONPATH=$PWD
small=("model={preset: tiny}" data.workers=2 "steps=$steps" "validate_every=$steps" save_every=20)

timit=()
[ -z "${TIMIT_ROOT:-}" ] || timit=(--timit "$(realpath "$TIMIT_ROOT")")
measure stand-in "$python" scripts/make_stand_in.py "$work/stand-in" \
  --librispeech "$LIBRISPEECH_ROOT" ${timit[@]+"${timit[@]}"} --share "$share"
books=$work/stand-in/LibriSpeech
measure librispeech bash recipes/librispeech/run.sh "$books" "$work/librispeech" \
  "${small[@]}" batch_seconds=40
grep '^step\|^Error rates' "$work/librispeech.txt" | tail -n 3 || true
measure again bash recipes/librispeech/run.sh "$books" "$work/librispeech" \
  "${small[@]}" batch_seconds=40
out=$work/librispeech
measure kills "$python" scripts/kill_check.py recipes/librispeech/train-960.yaml "$work/kills" \
  --kills 2 "data.train=$out/train_cuts.jsonl.gz" "data.labels.lexicon=$out/lexicon.txt" \
  "data.dev=$out/manifests/dev-clean_cuts.jsonl.gz" "${small[@]}" batch_seconds=40 steps=40
if [ ${#timit[@]} -gt 0 ]; then
  measure timit bash recipes/timit/run.sh "$work/stand-in/TIMIT" "$work/timit" \
    steps=10 validate_every=10 batch_seconds=25 threads=1 data.cache=null
fi
echo "scale_check: passed with $share of the corpora, $steps steps"
