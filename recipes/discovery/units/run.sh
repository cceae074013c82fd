#!/usr/bin/env bash
# Units without labels: TIMIT=ROOT bash recipes/discovery/units/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]
# Trains three levels on recordings alone, three seeds, and compares what they find with clusters of
# frozen features. Run again, it keeps what exists, and resumes an interrupted training run.
# TIMIT: folder of TRAIN and TEST, with phones by hand, to measure on (required).
# TRAIN, DEV: comma-separated subsets (local-train; local-dev). TEXTGRIDS: folder of phones and words
# of DEV's cuts, as `speechasym align` writes them (default: aligned by the package's model).
# CONFIGS: configurations (change asymmetry views). SEEDS: (0 1 2). MINUTES: of labels of TIMIT's
# training speakers, for phones on top of the first configuration's runs (1 3; the disc has 10 too).
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
set -euo pipefail
recipe=units
. "$(dirname "$0")/../../common.sh"
usage="TIMIT=ROOT bash recipes/discovery/units/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]"
take_arguments "$usage" out/discovery/units "$@"
[ -n "${TIMIT:-}" ] || fail "TIMIT is not set. Set it to the folder of TRAIN and TEST"
timit=$(absolute "$TIMIT")
train=${TRAIN:-local-train} dev=${DEV:-local-dev}
manifests=$out/manifests
mkdir -p "$out"

echo "1. Manifests -> $manifests"
tolerate "$bin" prepare librispeech "$root" --out "$manifests" --subsets "$train,$dev" > "$out/prepare.txt"
cuts() { echo "$manifests/${1}_cuts.jsonl.gz"; }

echo "2. Phones of $dev by the package's model -> $out/aligned"
aligned=$out/aligned
if [ -n "${TEXTGRIDS:-}" ]; then aligned=$(absolute "$TEXTGRIDS"); else
  tolerate "$bin" align "$(cuts "$dev")" --out "$aligned"
fi

echo "3. Levels without labels -> $out/runs"
runs=()
for config in ${CONFIGS:-change asymmetry views}; do
  for seed in ${SEEDS:-0 1 2}; do
    train_run "recipes/discovery/units/$config.yaml" "$out/runs/$config-$seed" \
      "$(cuts "$train")" "$(cuts "$dev")" "seed=$seed" ${settings[@]+"${settings[@]}"}
    runs+=("$out/runs/$config-$seed")
  done
done

echo "4. Measures -> $out/results.json, $out/report.md"
"$python" -m recipes.discovery.units.measure --timit "$timit" --train "$(cuts "$train")" \
  --cuts "$(cuts "$dev")" --aligned "$aligned" --runs "${runs[@]}" --out "$out/results.json"
"$python" -m recipes.discovery.units.report "$out/results.json" > "$out/report.md"
sentence=$(find -L "$timit" -iname 'S[IX]*.PHN' | sort | head -n 1)
"$python" -m recipes.discovery.units.picture "${runs[0]}" "${sentence%.*}" "$out/sentence.png"

echo "5. Phones from a few minutes of labels -> $out/few"
timit_cuts=$out/few/timit
[ -e "$timit_cuts/train_cuts.jsonl.gz" ] \
  || tolerate "$bin" prepare timit "$timit" --out "$timit_cuts" > "$out/prepare-timit.txt"
"$python" -m recipes.discovery.units.few "$timit_cuts/train_cuts.jsonl.gz" "$out/few" ${MINUTES:-1 3}
for seed in ${SEEDS:-0 1 2}; do
  for minutes in ${MINUTES:-1 3}; do
    for start in nothing units; do
      from=()
      if [ "$start" = units ]; then from=("start=${runs[0]%-*}-$seed"); fi
      train_run recipes/discovery/units/bridge.yaml "$out/few/bridge-$minutes-$start-$seed" \
        "$out/few/few-$minutes.jsonl.gz" "$timit_cuts/test_cuts.jsonl.gz" "seed=$seed" \
        ${from[@]+"${from[@]}"}
    done
  done
done
