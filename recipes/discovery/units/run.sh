#!/usr/bin/env bash
# Units without labels: TIMIT=ROOT bash recipes/discovery/units/run.sh LIBRISPEECH_ROOT [OUT] [KEY=VALUE ...]
# Trains three levels on recordings alone, three seeds, and compares what they find with clusters of
# frozen features. Run again, it keeps what exists, and resumes an interrupted training run.
# TIMIT: folder of TRAIN and TEST, with phones by hand, to measure on (required).
# TRAIN, DEV: comma-separated subsets (local-train; local-dev). TEXTGRIDS: folder of phones and words
# of DEV's cuts, as `speechasym align` writes them (default: aligned by the package's model).
# CONFIGS: configurations (change asymmetry views entropy); larger takes 10 minutes with its features.
# SEEDS: (0 1 2).
# LEXICON: pronunciations, for words of phones and for step 6. MINUTES: of labelled recordings of
# TRAIN, for phones on top of the first configuration's runs (1 3 10). OPTIONS: of these runs.
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
for config in ${CONFIGS:-change asymmetry views entropy}; do
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

echo "5. Word-like segments -> $out/results.json, $out/report.md"
lexicon=${LEXICON:+$(absolute "$LEXICON")}
[ -n "$lexicon" ] && spelt=(--lexicon "$lexicon") || spelt=()
"$python" -m recipes.discovery.units.words --timit "$timit" --train "$(cuts "$train")" \
  --cuts "$(cuts "$dev")" --aligned "$aligned" --runs "${runs[0]}" --out "$out/results.json" \
  ${spelt[@]+"${spelt[@]}"}
"$python" -m recipes.discovery.units.report "$out/results.json" > "$out/report.md"

[ -n "$lexicon" ] || { echo "6. left out: LEXICON is not set"; exit 0; }
echo "6. Phones from a few minutes of labels -> $out/few, $out/few.md"
few=$out/few options=(${OPTIONS:-}) spelling=$out/lexicon.txt
create_once "$spelling" "$bin" lexicon "$lexicon" --guess --out "$spelling" \
  --words "$(cuts "$train")" "$(cuts "$dev")"
"$python" -m recipes.discovery.units.few "$(cuts "$train")" "$few" ${MINUTES:-1 3 10}
bridge() {  # RUN TRAIN [KEY=VALUE ...]
  local run=$1 train=$2
  shift 2
  train_run recipes/discovery/units/bridge.yaml "$run" "$train" "$(cuts "$dev")" \
    "data.labels.lexicon=$spelling" "$@" ${options[@]+"${options[@]}"}
}
for seed in ${SEEDS:-0 1 2}; do
  units=${runs[0]%-*}-$seed
  for names in units kmeans; do  # a net that names what a run, or its rival, has found
    [ $names = units ] && from=("$units" "start=$units") || from=("kmeans-$seed")
    named=$few/named-$names-$seed
    create_once "$named.jsonl.gz" "$python" -m recipes.discovery.units.named "${from[0]}" \
      "$(cuts "$train")" "$out/results.json" "$named.jsonl.gz"
    bridge "$named" "$named.jsonl.gz" "data.dev=$named.jsonl.gz" framewise=1 "seed=$seed" \
      ${from[1]+"${from[1]}"}
  done
  for minutes in ${MINUTES:-1 3 10}; do
    for start in nothing units names kmeans; do
      case $start in
        nothing) from=() ;;
        units) from=("start=$units") ;;
        names) from=("start=$few/named-units-$seed") ;;
        kmeans) from=("start=$few/named-kmeans-$seed") ;;
      esac
      run=$few/bridge-$minutes-$start-$seed
      bridge "$run" "$few/few-$minutes.jsonl.gz" "seed=$seed" ${from[@]+"${from[@]}"}
      create_once "$run.json" "$bin" evaluate "$run" --cuts "$(cuts "$dev")" --out "$run.json"
    done
  done
done
"$python" -m recipes.discovery.units.bridged "$few" > "$out/few.md"
