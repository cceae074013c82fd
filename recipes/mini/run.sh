#!/usr/bin/env bash
# The embedded corpus, end to end: bash recipes/mini/run.sh [FOLDER] [KEY=VALUE of the configuration ...]
# Run again, it keeps what exists, and resumes an interrupted training run.
# MINI_MINUTES: length of the corpus (25). SPEECHASYM: the command to use (speechasym).
set -euo pipefail
recipe=mini
. "$(dirname "$0")/../common.sh"
out=${1:-out/mini}
[ $# -gt 0 ] && shift
corpus=$out/corpus run=$out/run pictures=$out/pictures
mkdir -p "$pictures"

echo "1. The corpus: sentences in nineteen voices, synthesised here by espeak-ng -> $corpus"
"$bin" prepare mini --out "$corpus" --minutes "${MINI_MINUTES:-25}" > "$out/prepare.txt"

echo "2. Features and training: three levels that learn phones, letters, words -> $run"
train_run recipes/mini/train.yaml "$run" "$corpus/train_cuts.jsonl.gz" "$corpus/dev_cuts.jsonl.gz" "$@"

echo "3. Error rates on three unseen voices and 98 unseen sentences"
test=$corpus/test_cuts.jsonl.gz
"$bin" evaluate "$run" --cuts "$test" --out "$out/test.json" --hypotheses "$out/hypotheses"

echo "4. One of their recordings, transcribed"
one=$(find "$corpus/audio/test" -name '*.flac' | sort | sed -n 1p)  # head would end the pipe early
id=$(basename "$one" .flac)
"$bin" transcribe "$run" "$one" --textgrid "$out/textgrids"
grep "\"$id\"" "$corpus/utterances.jsonl" | sed 's/.*"text": "\([^"]*\)".*/  said:    \1/'

echo "5. Pictures"
plot_run "$run" "$test" "$id" "$pictures"
"$bin" plot "$one" --what levels --out "$pictures/asymmetry.png"

echo "6. The report: all of it on one page, to see and to hear"
page=$out/report.html
write_report "$run" "$test" "$out/test.json" "$page"

echo
echo "Report:       $page (open it in a browser)"
echo "Error rates:  $out/test.json; recognised and reference texts: $out/hypotheses"
echo "Model:        $run/model.safetensors (speechasym transcribe $run RECORDING)"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels; asymmetry of the recording"
echo "Tiers:        $out/textgrids/$id.TextGrid (Praat opens it)"
echo "Look, listen: speechasym explore $run"
