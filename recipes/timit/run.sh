#!/usr/bin/env bash
# Phones of TIMIT: bash recipes/timit/run.sh TIMIT_ROOT [OUT] [KEY=VALUE of the configuration ...]
# The complete disc is trained by disc.yaml and scored on the core test; of a part of it, the speakers
# in TRAIN are trained on by train.yaml, and those in TEST are a local split.
# Called again, it keeps what is there, and goes on with a training run that was cut.
# PHONE_LM=1: with a bigram of phones, too. FOLDS: of the training speakers of a part (4).
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
here=$PWD
absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }
cd "$(dirname "$0")/../.."
. recipes/pictures.sh
if [ $# -eq 0 ] || [ -z "$1" ]; then
  echo "Use: bash recipes/timit/run.sh TIMIT_ROOT [OUT] [KEY=VALUE ...]" >&2
  exit 2
fi
root=$(absolute "$1")
shift
out=out/timit
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then
  out=$(absolute "$1")
  shift
fi
bin=${SPEECHASYM:-speechasym} python=${PYTHON:-python}
manifests=$out/manifests folds=$out/folds run=$out/run pictures=$out/pictures
mkdir -p "$pictures"
# 1 says that some files could not be used, and which: the others go on
go() { local code=0; "$@" || code=$?; [ "$code" -le 1 ] || exit "$code"; }

echo "1. Manifests of $root -> $manifests"
go "$bin" prepare timit "$root" --out "$manifests" > "$out/prepare.txt"
cat "$out/prepare.txt"
train=$manifests/train_cuts.jsonl.gz test=$manifests/test_cuts.jsonl.gz
for cuts in "$train" "$test"; do
  if [ ! -e "$cuts" ]; then
    echo "timit: $root has no sets train and test. Give the folder that holds TRAIN and TEST" >&2
    exit 2
  fi
done
if grep -q '"split": "official' "$manifests/report.json"; then
  split="core test" config=disc.yaml dev=$manifests/dev_cuts.jsonl.gz
  own=()  # the official dev set chooses the epoch
else
  split="local split: no figure of the core test" config=train.yaml dev=$folds/fold0_dev_cuts.jsonl.gz
  "$python" scripts/hold_out.py "$train" --out "$folds" --folds "${FOLDS:-4}" > "$folds.txt"
  # All training speakers are learned, those of dev too, and the test chooses nothing: the only
  # validation is that of the last step, so that the last epochs are what is kept
  own=(validate_every=1000000)
fi

echo "2. Features and training by $config: levels that learn phones -> $run"
learn() {  # RUN TRAIN [KEY=VALUE ...]
  local folder=$1 cuts=$2
  shift 2
  "$bin" train --config "recipes/timit/$config" --out "$folder" --resume --set \
    "data.train=$cuts" "data.dev=$dev" "data.cache=$out/features" ${own[@]+"${own[@]}"} "$@"
}
learn "$run" "$train" "$@"

echo "3. Error rates, $split"
"$bin" evaluate "$run" --cuts "$test" --out "$out/test.json" --hypotheses "$out/hypotheses"
# Silences that were merged in training are gone: only one convention is left
conventions=all
grep -q '"silence": *"keep"' "$out/test.json" || conventions=merged
score() {  # HYPOTHESES FILE
  "$bin" score per "$1/phones.ref.txt" "$1/phones.txt" --convention "$conventions" \
    --speakers "$out/hypotheses/speakers.txt" > "$2"
  echo "Of the test set, $split, by convention:"
  cat "$2"
}
score "$out/hypotheses" "$out/per.txt"

if [ "${PHONE_LM:-0}" = 1 ]; then
  echo "4. The same with a bigram of phones, its weights chosen on speakers held out -> $out/phone_lm"
  by=()
  if [ "$split" != "core test" ]; then
    learn "$out/fold0" "$folds/fold0_train_cuts.jsonl.gz" "$@"  # the run itself has learned dev
    by=(--tuned-by "$out/fold0")
  fi
  "$python" recipes/timit/phone_lm.py "$run" --test "$test" --tune "$dev" ${by[@]+"${by[@]}"} \
    --out "$out/phone_lm"
  score "$out/phone_lm/with" "$out/phone_lm/per.txt"
else
  echo "4. No bigram of phones: PHONE_LM=1 asks for it"
fi

echo "5. A recording of the test set transcribed; times of all known phones; pictures; report"
about='import gzip, json, sys
cut = json.loads(gzip.open(sys.argv[1]).readline())
said = cut["supervisions"][0]["text"]
print(cut["id"], cut["recording"]["sources"][0]["source"], said, sep="\n")'
"$python" -c "$about" "$test" > "$out/one.txt"
{ read -r id; read -r one; read -r said; } < "$out/one.txt"
"$bin" transcribe "$run" "$one" --textgrid "$out/textgrids"
echo "  said:    $said"
go "$bin" align "$run" "$test" --out "$out/aligned"
pictures_of "$run" "$test" "$id" "$pictures"
page=$out/report.html
report_of "$run" "$test" "$out/test.json" "$page"

echo
echo "Corpus:       $out/prepare.txt, $manifests ($split)"
echo "Error rates:  $out/per.txt by convention; $out/test.json; $out/hypotheses"
[ "${PHONE_LM:-0}" = 1 ] && echo "With bigram:  $out/phone_lm/per.txt, $out/phone_lm/phone_lm.json"
echo "Model:        $run/model.safetensors (speechasym transcribe $run RECORDING)"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels"
echo "Times:        $out/aligned/report.json; $out/textgrids: of one recording as it was heard"
echo "Report:       $page (open it in a browser)"
