#!/usr/bin/env bash
# Words of LibriSpeech: bash recipes/librispeech/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]
# Run again, it keeps what exists, and resumes an interrupted training run.
# LEXICON: pronunciations, CMUdict's or LibriSpeech's (required). TEXT: comma-separated files, or
# folders of .txt and .txt.gz, for the language model in addition to the training transcripts.
# TRAIN, TEST: comma-separated subsets (train-clean-100, else train-clean-5, else local-train;
# test-clean, else dev-clean, else dev-clean-2, else local-dev). DEV: subset that chooses the epoch
# (dev-clean if it is not TEST; otherwise none, and the last epoch is validated on 1/FOLDS, FOLDS
# being 4, of TRAIN's readers).
# CONFIG: the training, a file; default: train-960.yaml with train-clean-360 or train-other-500 in TRAIN,
# train-100.yaml with train-clean-100 (both for a GPU), train.yaml otherwise.
# DECODE: options of the search for words (--from phones). PREPARE: options of `speechasym prepare`.
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
recipe=librispeech
. "$(dirname "$0")/../common.sh"
usage="LEXICON=FILE bash recipes/librispeech/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]"
take_arguments "$usage" out/librispeech "$@"
[ -d "$root" ] || fail "$root is not a folder. Give the one that contains the subsets"
[ -n "${LEXICON:-}" ] || fail "LEXICON is not set. Set it to CMUdict or LibriSpeech's lexicon"
pronunciations=$(absolute "$LEXICON")
[ -f "$pronunciations" ] || fail "$pronunciations is not a file. Set LEXICON to CMUdict or the like"

exists() { [ -n "$(find -L "$root/" -maxdepth 2 -type d -name "$1")" ]; }
first_existing() {  # NAME ...
  for name in "$@"; do
    if exists "$name"; then echo "$name" && return; fi
  done
  fail "none of $* is below $root. Name its subsets in TRAIN and TEST"
}
train=${TRAIN:-$(first_existing train-clean-100 train-clean-5 local-train)}
tests=${TEST:-$(first_existing test-clean dev-clean dev-clean-2 local-dev)}
dev_subset=${DEV:-}
[ -z "$dev_subset" ] && [[ ,$tests, != *,dev-clean,* ]] && exists dev-clean && dev_subset=dev-clean
subsets=$train,$tests${dev_subset:+,$dev_subset}
twice=$(echo "$subsets" | tr , '\n' | sort | uniq -d | paste -sd , -)
[ -z "$twice" ] || fail "$twice is in two of TRAIN, TEST and DEV. Give each its own subsets"
case ,$train, in
  *,train-clean-360,* | *,train-other-500,*) config=train-960.yaml ;;
  *,train-clean-100,*) config=train-100.yaml ;;
  *) config=train.yaml ;;
esac
config=recipes/librispeech/$config
[ -z "${CONFIG:-}" ] || config=$(absolute "$CONFIG")
[ -f "$config" ] || fail "$config is not a file. Set CONFIG to a configuration of \`speechasym train\`"
texts=()
IFS=, read -r -a names <<< "${TEXT:-}"
for name in ${names[@]+"${names[@]}"}; do
  texts+=("$(absolute "$name")")
  [ -n "$(find -L "${texts[${#texts[@]}-1]}" -type f -print -quit 2> /dev/null)" ] \
    || fail "$name is not a file or a folder with files. Set TEXT to texts, or folders of them"
done
manifests=$out/manifests run=$out/run pictures=$out/pictures
lexicon=$out/lexicon.txt lm=$out/lm.arpa.gz
mkdir -p "$pictures"

echo "1. Manifests of $root: train on $train, test on $tests -> $manifests"
tolerate "$bin" prepare librispeech "$root" --out "$manifests" --subsets "$subsets" ${PREPARE:-} \
  > "$out/prepare.txt"
cat "$out/prepare.txt"
cuts_of() { echo "$manifests/$1_cuts.jsonl.gz"; }
train_cuts=$out/train_cuts.jsonl.gz
IFS=, read -r -a parts <<< "$train"
# gzip files can be concatenated
for part in "${parts[@]}"; do cat "$(cuts_of "$part")"; done > "$train_cuts.part"
mv "$train_cuts.part" "$train_cuts"
if [ -n "$dev_subset" ]; then
  dev=$(cuts_of "$dev_subset") fixed=()
else
  hold_out_dev "$train_cuts"
fi
IFS=, read -r -a sets <<< "$tests"
spoken=("$train_cuts" "$dev")
for name in "${sets[@]}"; do spoken+=("$(cuts_of "$name")"); done
test=$(cuts_of "${sets[0]}")

echo "2. Pronunciations -> $lexicon; language model -> $lm"
# Words of dev and test are pronounced too, to score their phones. The language model does not know
# them, so that none of them can be recognised by it.
create_once "$lexicon" "$bin" lexicon "$pronunciations" --guess --out "$lexicon" \
  --words "${spoken[@]}" ${texts[@]+"${texts[@]}"}
create_once "$lm" "$bin" lm ${texts[@]+"${texts[@]}"} --transcripts "$train_cuts" --order 3 \
  --least-ngram 2 --lexicon "$lexicon" --test "$test" --out "$lm"

noises=()
if grep -q '^    noise:' "$config"; then  # synthetic sounds, and babble of the training readers
  [ -d "$out/noises" ] \
    || "$python" scripts/make_noises.py --out "$out/noises" --cuts "$train_cuts"
  noises=("data.augment.noise=$out/noises")
fi

echo "3. Training with $(basename "$config"): levels that learn phones, letters, words -> $run"
train_run "$config" "$run" "$train_cuts" "$dev" "data.labels.lexicon=$lexicon" \
  ${noises[@]+"${noises[@]}"} ${fixed[@]+"${fixed[@]}"} ${settings[@]+"${settings[@]}"}

read -r -a how <<< "${DECODE:---from phones}"
words=(--lexicon "$lexicon" --lm "$lm" "${how[@]}")
split=$(sed -n 's/.*"split": "\(.*\)",*$/\1/p' "$manifests/report.json")
for name in "${sets[@]}"; do
  echo "4. Error rates on $name ($split)"
  "$bin" evaluate "$run" --cuts "$(cuts_of "$name")" --out "$out/$name.json" \
    --hypotheses "$out/hypotheses/$name" "${words[@]}"
done

echo "5. A recording of ${sets[0]} transcribed; times of its known words; pictures; report"
transcribe_first "$run" "$test" "${words[@]}"
tolerate "$bin" align "$run" "$test" --out "$out/aligned"
plot_run "$run" "$test" "$utterance" "$pictures"
page=$out/report.html
write_report "$run" "$test" "$out/${sets[0]}.json" "$page"

echo
echo "Corpus:       $out/prepare.txt, $manifests ($split)"
echo "Words:        $lexicon, $lm"
for name in "${sets[@]}"; do echo "Error rates:  $out/$name.json; $out/hypotheses/$name"; done
echo "Model:        $run/model.safetensors"
echo "              speechasym transcribe $run RECORDING --lexicon $lexicon --lm $lm ${how[*]}"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels"
echo "Times:        $out/aligned/report.json; $out/textgrids: of one recording as recognised"
echo "Report:       $page (open it in a browser)"
