#!/usr/bin/env bash
# Phones of TIMIT: bash recipes/timit/run.sh TIMIT_ROOT [OUT] [KEY=VALUE of the configuration ...]
# The complete disc is trained with disc.yaml and scored on the core test. Of a part of it, the
# speakers in TRAIN are trained on with train.yaml, and those in TEST are a local split.
# Run again, it keeps what exists, and resumes an interrupted training run.
# PHONE_LM=1: also with a bigram of phones. FOLDS: of the training speakers of a part (4).
# PREPARE: options of `speechasym prepare`.
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
recipe=timit
. "$(dirname "$0")/../common.sh"
take_arguments "bash recipes/timit/run.sh TIMIT_ROOT [OUT] [KEY=VALUE ...]" out/timit "$@"
manifests=$out/manifests run=$out/run pictures=$out/pictures
mkdir -p "$pictures"

echo "1. Manifests of $root -> $manifests"
tolerate "$bin" prepare timit "$root" --out "$manifests" ${PREPARE:-} > "$out/prepare.txt"
cat "$out/prepare.txt"
train=$manifests/train_cuts.jsonl.gz test=$manifests/test_cuts.jsonl.gz
for cuts in "$train" "$test"; do
  [ -e "$cuts" ] || fail "$root has no sets train and test. Give the folder that contains TRAIN and TEST"
done
if grep -q '"split": "official' "$manifests/report.json"; then
  split="core test" config=recipes/timit/disc.yaml dev=$manifests/dev_cuts.jsonl.gz
  fixed=()  # the official dev set chooses the epoch
else
  split="local split: no figure of the core test" config=recipes/timit/train.yaml
  hold_out_dev "$train"
fi
settings=(${fixed[@]+"${fixed[@]}"} ${settings[@]+"${settings[@]}"})

echo "2. Features and training with $(basename "$config"): levels that learn phones -> $run"
train_run "$config" "$run" "$train" "$dev" ${settings[@]+"${settings[@]}"}

echo "3. Error rates, $split"
"$bin" evaluate "$run" --cuts "$test" --out "$out/test.json" --hypotheses "$out/hypotheses"
# If silences were merged in training, they are gone: only one convention is left
conventions=all
grep -q '"silence": *"keep"' "$out/test.json" || conventions=merged
score() {  # HYPOTHESES FILE
  "$bin" score per "$1/phones.ref.txt" "$1/phones.txt" --convention "$conventions" \
    --speakers "$out/hypotheses/speakers.txt" > "$2"
  echo "Phone error rate of the test set, $split, by convention:"
  cat "$2"
}
score "$out/hypotheses" "$out/per.txt"

if [ "${PHONE_LM:-0}" = 1 ]; then
  echo "4. The same with a bigram of phones, its weights chosen on held-out speakers -> $out/phone_lm"
  tuned_by=()
  if [ "$split" != "core test" ]; then  # the run itself was trained on dev
    train_run "$config" "$out/fold0" "$out/folds/fold0_train_cuts.jsonl.gz" "$dev" \
      ${settings[@]+"${settings[@]}"}
    tuned_by=(--tuned-by "$out/fold0")
  fi
  "$python" -m recipes.timit.phone_lm "$run" --test "$test" --tune "$dev" \
    ${tuned_by[@]+"${tuned_by[@]}"} --out "$out/phone_lm"
  score "$out/phone_lm/with" "$out/phone_lm/per.txt"
else
  echo "4. No bigram of phones: set PHONE_LM=1 for it"
fi

echo "5. A recording of the test set transcribed; times of all known phones; pictures; report"
transcribe_first "$run" "$test"
tolerate "$bin" align "$run" "$test" --out "$out/aligned"
plot_run "$run" "$test" "$utterance" "$pictures"
page=$out/report.html
write_report "$run" "$test" "$out/test.json" "$page"

echo
echo "Corpus:       $out/prepare.txt, $manifests ($split)"
echo "Error rates:  $out/per.txt by convention; $out/test.json; $out/hypotheses"
[ "${PHONE_LM:-0}" = 1 ] && echo "With bigram:  $out/phone_lm/per.txt, $out/phone_lm/phone_lm.json"
echo "Model:        $run/model.safetensors (speechasym transcribe $run RECORDING)"
echo "Pictures:     $pictures: curves, confusion, units, ranks, levels"
echo "Times:        $out/aligned/report.json; $out/textgrids: of one recording as recognised"
echo "Report:       $page (open it in a browser)"
