#!/usr/bin/env bash
# Your own recordings: bash recipes/own/run.sh FOLDER|TABLE [OUT] [KEY=VALUE ...]
# Run again, it keeps what exists, and resumes an interrupted training run.
# PREPARE: options of `speechasym prepare folder` (--split-by recordings --shares 0.65,0.1,0.25).
# LEXICON: pronunciations of your words (the package's); words that it lacks are guessed.
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
recipe=own
. "$(dirname "$0")/../common.sh"
take_arguments "bash recipes/own/run.sh FOLDER|TABLE [OUT] [KEY=VALUE ...]" out/own "$@"
[ -e "$root" ] || fail "$root does not exist. Give a folder of recordings and texts, or a table"
package=speechasym/recognition/pretrained
pronunciations=$package/lexicon.txt
[ -z "${LEXICON:-}" ] || pronunciations=$(absolute "$LEXICON")
[ -f "$pronunciations" ] || fail "$pronunciations is not a file. Set LEXICON to CMUdict or the like"
manifests=$out/manifests run=$out/run lexicon=$out/lexicon.txt
mkdir -p "$out"

echo "1. Manifests of $root -> $manifests"
options=${PREPARE:---split-by recordings --shares 0.65,0.1,0.25}
tolerate "$bin" prepare folder "$root" --out "$manifests" $options > "$out/prepare.txt"
cat "$out/prepare.txt"
for set in train dev test; do
  [ -f "$manifests/${set}_cuts.jsonl.gz" ] || fail "no $set set. Give more recordings, or other shares"
done
train=$manifests/train_cuts.jsonl.gz dev=$manifests/dev_cuts.jsonl.gz test=$manifests/test_cuts.jsonl.gz

echo "2. Lexicon: the package's, and your words -> $lexicon"
own() {
  "$bin" lexicon "$pronunciations" --words "$train" "$dev" "$test" --guess --out "$out/own_words.txt"
  cat "$package/lexicon.txt" "$out/own_words.txt" > "$lexicon"
}
create_once "$lexicon" own

echo "3. The package's model as it is, on the test recordings"
create_once "$out/before.json" "$bin" evaluate --cuts "$test" --out "$out/before.json"

echo "4. Training -> $run"
train_run recipes/own/train.yaml "$run" "$train" "$dev" "data.labels.lexicon=$lexicon" \
  ${settings[@]+"${settings[@]}"}
[ -f "$run/lm.npz" ] || cp "$package/lm.npz" "$run/lm.npz"  # where transcribe and evaluate look

echo "5. The trained model on the test recordings"
"$bin" evaluate "$run" --cuts "$test" --out "$out/after.json" --hypotheses "$out/hypotheses"

echo "6. One of them transcribed, and all aligned with their words"
transcribe_first "$run" "$test"
tolerate "$bin" align "$run" "$test" --out "$out/aligned"

echo
echo "Error rates:  $out/before.json and $out/after.json; texts: $out/hypotheses"
echo "Model:        $run (speechasym transcribe $run RECORDING)"
