# Sourced by each run.sh, with recipe=NAME: commands, arguments, and the steps that recipes share.
# SPEECHASYM, PYTHON: the commands to use (speechasym, python).
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${SPEECHASYM:-speechasym} python=${PYTHON:-python}

fail() { echo "$recipe: $1" >&2; exit 2; }

absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }

take_arguments() {  # USAGE OUT ROOT [OUT] [KEY=VALUE ...]: sets root, out, settings
  [ $# -gt 2 ] && [ -n "$3" ] || fail "no folder given. Use: $1"
  out=$2 root=$(absolute "$3")
  shift 3
  if [ $# -gt 0 ] && [[ $1 != *=* ]]; then
    out=$(absolute "$1")
    shift
  fi
  settings=("$@")
}

tolerate() {  # COMMAND ...: exit code 1 means that some files could not be used, which it names
  local code=0
  "$@" || code=$?
  [ "$code" -le 1 ] || exit "$code"
}

create_once() {  # FILE COMMAND ...: unless FILE exists
  local file=$1
  shift
  if [ -e "$file" ]; then echo "kept: $file (remove it to create it again)"; else "$@"; fi
}

hold_out_dev() {  # CUTS: sets dev, some of the training speakers, and fixed, settings to go with it
  "$python" scripts/hold_out.py "$1" --out "$out/folds" --folds "${FOLDS:-4}" > "$out/folds.txt"
  dev=$out/folds/fold0_dev_cuts.jsonl.gz
  # The run is trained on all speakers, those of dev too, and the test chooses nothing: the only
  # validation is after the last step, so that the last epoch is the one that is kept.
  fixed=(validate_every=1000000)
}

train_run() {  # CONFIG RUN TRAIN DEV [KEY=VALUE ...]: stores features if CONFIG has a cache
  local config=$1 run=$2 train=$3 dev=$4 cache=()
  shift 4
  grep -q '^  cache:' "$config" && cache=("data.cache=$out/features")
  "$bin" train --config "$config" --out "$run" --resume --set \
    "data.train=$train" "data.dev=$dev" ${cache[@]+"${cache[@]}"} "$@"
}

transcribe_first() {  # RUN CUTS [OPTION ...]: transcribes the first utterance; sets utterance, its id
  local run=$1 cuts=$2 recording text
  shift 2
  "$python" -m recipes.first_utterance "$cuts" > "$out/one.txt"
  { read -r utterance; read -r recording; read -r text; } < "$out/one.txt"
  "$bin" transcribe "$run" "$recording" --textgrid "$out/textgrids" "$@"
  echo "  said:    $text"
}

plot_run() {  # RUN CUTS UTTERANCE FOLDER: pictures, except those newer than the model
  local run=$1 cuts=$2 utterance=$3 folder=$4 what picture options
  for what in curves confusion units ranks levels; do
    picture=$folder/$what.png
    options=()
    [ "$what" != curves ] && options=(--cuts "$cuts")
    [ "$what" = units ] || [ "$what" = levels ] && options+=(--cut "$utterance")
    [ "$picture" -nt "$run/model.json" ] && echo "$picture" && continue
    "$bin" plot "$run" --what "$what" --out "$picture" ${options[@]+"${options[@]}"}
  done
}

write_report() {  # RUN CUTS EVALUATION PAGE: the report, unless it is newer than the model
  if [ "$4" -nt "$1/model.json" ]; then echo "$4"; else
    "$bin" report "$1" --cuts "$2" --evaluation "$3" --out "$4"
  fi
}
