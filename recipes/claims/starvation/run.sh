#!/usr/bin/env bash
# Starvation and stitching (C19): bash recipes/claims/starvation/run.sh DATA [OUT]
# DATA: folder with timit and its manifests. Run again, it continues. SEEDS (3), SENTENCES (1,2,4,8) of each speaker, STEPS (400).
set -euo pipefail
[ $# -gt 0 ] || { echo "Use: bash recipes/claims/starvation/run.sh DATA [OUT]" >&2; exit 2; }
data=$(cd "$1" && pwd)/timit out=${2:-out/claims/starvation}
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
[ -e "$data/train_cuts.jsonl.gz" ] || { echo "$data has no manifests: speechasym prepare timit" >&2; exit 2; }
python=${PYTHON:-python} here=recipes.claims.starvation shares=${SENTENCES:-1,2,4,8} seeds=${SEEDS:-3} steps=${STEPS:-400}
last=${shares##*,}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
trained() {  # SYSTEMS SHARE FOLDER STEPS [FOLDER OF THE CUTS]
  local cuts=$out/${5:-}sentences$2_cuts.jsonl.gz
  "$python" -m recipes.compare recipes/claims/starvation/starved.yaml "recipes/claims/starvation/$1.yaml" \
    --test "$data/test_cuts.jsonl.gz" --out "$out/$3" --seeds "$seeds" --workers 0 \
    --set "data.train=$cuts" "data.dev=$cuts" "data.cache=$out/features" "steps=$4" > /dev/null
}
"$python" -m $here.shares "$data/train_cuts.jsonl.gz" --out "$out" --sentences "$shares"
for n in ${shares//,/ }; do trained widths "$n" "sentences$n" "$steps"; done
"$python" -m $here.report "$out"
# is the effort too small for the small nets?
"$python" -m $here.shares "$data/train_cuts.jsonl.gz" --out "$out/long" --sentences "$last"
trained widths "$last" "long/sentences$last" $((4 * steps))
"$python" -m $here.report "$out/long"
# wrong labels, which only a large net can learn by heart
"$python" -m $here.shares "$data/train_cuts.jsonl.gz" --out "$out/wrong" --sentences "$last" --wrong 0.2
trained widths "$last" "wrong/sentences$last" "$steps" wrong/
"$python" -m $here.report "$out/wrong"
trained tasks "$last" letters "$steps"
most=$out/sentences$last
"$python" -m $here.stitch --train "$out/sentences${last}_cuts.jsonl.gz" --test "$data/test_cuts.jsonl.gz" --out "$out" \
  --pair "$most/w64-seed0" "$most/w64-seed$((seeds > 1))" --pair "$most/w28-seed0" "$most/w64-seed0" \
  --pair "$most/w144-seed0" "$most/w64-seed0" --pair "$out/letters/letters-seed0" "$most/w64-seed0"
