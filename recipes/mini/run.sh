#!/usr/bin/env bash
# The embedded corpus, end to end: bash recipes/mini/run.sh [FOLDER] [KEY=VALUE of the configuration ...]
# Called again, it keeps what is there, and goes on with a training run that was cut.
# MINI_MINUTES: length of the corpus (25). SPEECHASYM: the command to use.
set -euo pipefail
cd "$(dirname "$0")/../.."
. recipes/pictures.sh
out=${1:-out/mini}
[ $# -gt 0 ] && shift
bin=${SPEECHASYM:-speechasym}
corpus=$out/corpus run=$out/run pictures=$out/pictures
mkdir -p "$pictures"

echo "1. The corpus: sentences in nineteen voices, made here by espeak-ng -> $corpus"
"$bin" prepare mini --out "$corpus" --minutes "${MINI_MINUTES:-25}" > "$out/prepare.txt"

echo "2. Features and training: three levels that learn phones, letters, words -> $run"
"$bin" train --config recipes/mini/train.yaml --out "$run" --resume --set \
  "data.train=$corpus/train_cuts.jsonl.gz" "data.dev=$corpus/dev_cuts.jsonl.gz" \
  "data.cache=$out/features" "$@"

echo "3. Error rates on three voices and 98 sentences never heard in training"
test=$corpus/test_cuts.jsonl.gz
"$bin" evaluate "$run" --cuts "$test" --out "$out/test.json" --hypotheses "$out/hypotheses"

echo "4. A recording of them, transcribed"
one=$(find "$corpus/audio/test" -name '*.flac' | sort | sed -n 1p)  # head would end the pipe early
id=$(basename "$one" .flac)
"$bin" transcribe "$run" "$one" --textgrid "$out/textgrids"
grep "\"$id\"" "$corpus/utterances.jsonl" | sed 's/.*"text": "\([^"]*\)".*/  said:    \1/'

echo "5. Pictures"
pictures_of "$run" "$test" "$id" "$pictures"
"$bin" plot "$one" --what levels --out "$pictures/asymmetry.png"

echo "6. All of it on one page, to look at and to hear"
page=$out/report.html
report_of "$run" "$test" "$out/test.json" "$page"

echo
echo "Report:       $page (open it in a browser)"
echo "Error rates:  $out/test.json; recognised and said: $out/hypotheses"
echo "Model:        $run/model.safetensors (speechasym transcribe $run RECORDING)"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels; asymmetry of the recording"
echo "Tiers:        $out/textgrids/$id.TextGrid (Praat opens it)"
