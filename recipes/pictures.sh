# Sourced by the recipes: pictures of a run, and its report; what is newer than the model is kept.

pictures_of() {  # RUN CUTS CUT FOLDER
  local run=$1 cuts=$2 cut=$3 folder=$4 what picture options
  for what in curves confusion units ranks levels; do
    picture=$folder/$what.png
    options=()
    [ "$what" != curves ] && options=(--cuts "$cuts")
    [ "$what" = units ] || [ "$what" = levels ] && options+=(--cut "$cut")
    [ "$picture" -nt "$run/model.json" ] && echo "$picture" && continue
    "$bin" plot "$run" --what "$what" --out "$picture" ${options[@]+"${options[@]}"}
  done
}

report_of() {  # RUN CUTS EVALUATION PAGE
  if [ "$4" -nt "$1/model.json" ]; then echo "$4"; else
    "$bin" report "$1" --cuts "$2" --evaluation "$3" --out "$4"
  fi
}
