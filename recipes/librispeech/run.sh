#!/usr/bin/env bash
# Words of LibriSpeech: bash recipes/librispeech/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]
# Called again, it keeps what is there, and goes on with a training run that was cut.
# LEXICON: pronunciations, CMUdict's or LibriSpeech's (needed). TEXT: files with commas between, or a
# folder of .txt, for the language model beside the training transcripts.
# TRAIN, TEST: subsets with commas between (train-clean-100, else local-train; test-clean, else
# dev-clean, else local-dev). DEV: subset that chooses the epoch (dev-clean where it is not TEST; else
# none, and FOLDS, 4, says what share of the readers of TRAIN is looked at in the end).
# DECODE: options of the search for words (--from phones).
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
here=$PWD
absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }
wrong() { echo "librispeech: $1" >&2; exit 2; }
cd "$(dirname "$0")/../.."
. recipes/pictures.sh
[ $# -gt 0 ] && [ -n "$1" ] ||
  wrong "no folder. Use: LEXICON=FILE bash recipes/librispeech/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]"
root=$(absolute "$1")
shift
out=out/librispeech
if [ $# -gt 0 ] && [[ $1 != *=* ]]; then
  out=$(absolute "$1")
  shift
fi
bin=${SPEECHASYM:-speechasym} python=${PYTHON:-python}
[ -d "$root" ] || wrong "$root is no folder. Give the one that holds the subsets"
[ -n "${LEXICON:-}" ] || wrong "LEXICON is not set. Set it to cmudict or LibriSpeech's lexicon"
pronunciations=$(absolute "$LEXICON")
[ -f "$pronunciations" ] || wrong "$pronunciations is no file. Set LEXICON to cmudict or the like"

there() { [ -n "$(find -L "$root/" -maxdepth 2 -type d -name "$1")" ]; }
first_there() {  # NAME ...: the first that is there
  for name in "$@"; do
    if there "$name"; then echo "$name" && return; fi
  done
  wrong "none of $* is below $root. Name its subsets in TRAIN and TEST"
}
train=${TRAIN:-$(first_there train-clean-100 local-train)}
tests=${TEST:-$(first_there test-clean dev-clean local-dev)}
dev=${DEV:-}
[ -z "$dev" ] && [[ ,$tests, != *,dev-clean,* ]] && there dev-clean && dev=dev-clean
twice=$(echo "$train,$tests${dev:+,$dev}" | tr , '\n' | sort | uniq -d | paste -sd , -)
[ -z "$twice" ] || wrong "$twice is in two of TRAIN, TEST and DEV. Give each its own"
texts=()
if [ -n "${TEXT:-}" ] && [ -d "$(absolute "$TEXT")" ]; then
  while IFS= read -r -d '' file; do texts+=("$file"); done \
    < <(find -L "$(absolute "$TEXT")" -type f -name '*.txt' -print0 | sort -z)
  [ ${#texts[@]} -gt 0 ] || wrong "$TEXT holds no .txt. Set TEXT to a folder of them, or to files"
elif [ -n "${TEXT:-}" ]; then
  IFS=, read -r -a names <<< "$TEXT"
  for name in "${names[@]}"; do
    texts+=("$(absolute "$name")")
    [ -f "${texts[${#texts[@]}-1]}" ] || wrong "$name is no file. Set TEXT to plain texts"
  done
fi
manifests=$out/manifests run=$out/run pictures=$out/pictures
lexicon=$out/lexicon.txt lm=$out/lm.arpa.gz
mkdir -p "$pictures"
# 1 says that some files could not be used, and which: the others go on
go() { local code=0; "$@" || code=$?; [ "$code" -le 1 ] || exit "$code"; }

echo "1. Manifests of $root: train on $train, test on $tests -> $manifests"
go "$bin" prepare librispeech "$root" --out "$manifests" --subsets "$train,$tests${dev:+,$dev}" > "$out/prepare.txt"
cat "$out/prepare.txt"
cuts_of() { echo "$manifests/$1_cuts.jsonl.gz"; }
learned=$out/train_cuts.jsonl.gz
IFS=, read -r -a parts <<< "$train"
for part in "${parts[@]}"; do cat "$(cuts_of "$part")"; done > "$learned.part"  # gzip files join so
mv "$learned.part" "$learned"
if [ -n "$dev" ]; then
  chosen=$(cuts_of "$dev") own=()
else
  "$python" scripts/hold_out.py "$learned" --out "$out/folds" --folds "${FOLDS:-4}" > "$out/folds.txt"
  # All readers of TRAIN are learned, those of dev too, and the test chooses nothing: the only
  # validation is that of the last step, so that the last epochs are what is kept
  chosen=$out/folds/fold0_dev_cuts.jsonl.gz own=(validate_every=1000000)
fi
IFS=, read -r -a sets <<< "$tests"
spoken=("$learned" "$chosen")
for name in "${sets[@]}"; do spoken+=("$(cuts_of "$name")"); done
test=$(cuts_of "${sets[0]}")

echo "2. Pronunciations -> $lexicon; language model -> $lm"
if [ -e "$lexicon" ]; then echo "kept: $lexicon (remove it to make it anew)"; else
  # Words of dev and test are pronounced too, to score their phones; the language model does not know
  # them, so that none of them can be recognised by it
  "$bin" lexicon "$pronunciations" --words "${spoken[@]}" ${texts[@]+"${texts[@]}"} --guess \
    --out "$lexicon"
fi
if [ -e "$lm" ]; then echo "kept: $lm (remove it to make it anew)"; else
  "$bin" lm ${texts[@]+"${texts[@]}"} --transcripts "$learned" --order 3 --least-ngram 2 \
    --lexicon "$lexicon" --test "$test" --out "$lm"
fi

echo "3. Features and training: levels that learn phones, letters, words -> $run"
"$bin" train --config recipes/librispeech/train.yaml --out "$run" --resume --set \
  "data.train=$learned" "data.dev=$chosen" "data.cache=$out/features" \
  "data.labels.lexicon=$lexicon" ${own[@]+"${own[@]}"} "$@"

read -r -a how <<< "${DECODE:---from phones}"
words=(--lexicon "$lexicon" --lm "$lm" "${how[@]}")
split=$(sed -n 's/.*"split": "\(.*\)",*$/\1/p' "$manifests/report.json")
for name in "${sets[@]}"; do
  echo "4. Error rates on $name ($split)"
  "$bin" evaluate "$run" --cuts "$(cuts_of "$name")" --out "$out/$name.json" \
    --hypotheses "$out/hypotheses/$name" "${words[@]}"
done

echo "5. A recording of ${sets[0]} transcribed; times of its known words; pictures; report"
about='import gzip, json, sys
cut = json.loads(gzip.open(sys.argv[1]).readline())
said = cut["supervisions"][0]["text"]
print(cut["id"], cut["recording"]["sources"][0]["source"], said, sep="\n")'
"$python" -c "$about" "$test" > "$out/one.txt"
{ read -r id; read -r one; read -r said; } < "$out/one.txt"
"$bin" transcribe "$run" "$one" --textgrid "$out/textgrids" "${words[@]}"
echo "  said:    $said"
go "$bin" align "$run" "$test" --out "$out/aligned"
pictures_of "$run" "$test" "$id" "$pictures"
page=$out/report.html
report_of "$run" "$test" "$out/${sets[0]}.json" "$page"

echo
echo "Corpus:       $out/prepare.txt, $manifests ($split)"
echo "Words:        $lexicon, $lm"
for name in "${sets[@]}"; do echo "Error rates:  $out/$name.json; $out/hypotheses/$name"; done
echo "Model:        $run/model.safetensors"
echo "              speechasym transcribe $run RECORDING --lexicon $lexicon --lm $lm ${how[*]}"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels"
echo "Times:        $out/aligned/report.json; $out/textgrids: of one recording as it was heard"
echo "Report:       $page (open it in a browser)"
