#!/usr/bin/env bash
# The tables of docs/RESULTS.md: what a model does on photos it has not seen.
#
#   bash runs/results.sh MODEL DATA OUT
#
# MODEL is a model folder or a name; DATA holds lfw128.zip and celeba87.zip. Every table is of
# `sfe evaluate`; OUT keeps the values of each photo, so the same command, given again after a stop,
# goes on where it was. The page is written to OUT/RESULTS.md.
#
# W+ optimisation and PTI fit every photo by gradient descent, and on one core their own schedules
# (500 and 450 + 350 steps) would take days over all photos. So they take fewer steps there, as the
# rows of the tables say, and their own schedules on a few photos, in a table of its own.
#
#   CLASSIFIER   attributes.safetensors of `sfe train attributes`: judges edits; stands in for LPIPS
#   STEPS_W, STEPS_PTI         steps on all photos, 30 and 8 (each stage of PTI)
#   MORE_W, MORE_PTI, MORE     steps on the first MORE photos, their own if left out; 16 photos
#   EDITED       photos on which the edits of all five methods are compared, 60
#   LIMIT        photos of each set; all if left out
#   EDITS        "smile=-3 glasses=3 age=3": directions of the model and a sign or a strength
#   PYTHON       interpreter, .venv/bin/python
set -euo pipefail

model=${1:?usage: bash runs/results.sh MODEL DATA OUT}
data=${2:?usage: bash runs/results.sh MODEL DATA OUT}
out=${3:?usage: bash runs/results.sh MODEL DATA OUT}
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

table() { # NAME COMMAND OPTION... : one table in OUT/NAME, on the test rows
    local name=$1 command=$2
    shift 2
    echo "$name" >&2
    "$python" -m stylefeatureeditor evaluate "$command" "$@" --where split=test \
        --model "$model" --device cpu --paper none -o "$out/$name" \
        ${CLASSIFIER:+--classifier "$CLASSIFIER"} >"$out/$name.log"
}

networks=(--method e4e --method sfe-without-h --method sfe)
fitted=(--method w+ --method pti)
steps=(--steps "w+=${STEPS_W:-30}" --steps "pti=${STEPS_PTI:-8}")
more=(${MORE_W:+--steps "w+=$MORE_W"} ${MORE_PTI:+--steps "pti=$MORE_PTI"})
all=(${LIMIT:+--limit "$LIMIT"})
some=$(( ${EDITED:-60} < ${LIMIT:-1000000} ? ${EDITED:-60} : LIMIT ))
few=$(( ${MORE:-16} < ${LIMIT:-1000000} ? ${MORE:-16} : LIMIT ))
edits=()
for edit in ${EDITS:-smile=-3 glasses=3 age=3}; do edits+=(--edit "$edit"); done

mkdir -p "$out"
table lfw inversion "$data/lfw128.zip" "${networks[@]}" "${fitted[@]}" "${steps[@]}" "${all[@]}"
table celeba inversion "$data/celeba87.zip" "${networks[@]}" "${fitted[@]}" "${steps[@]}" "${all[@]}"
table edits editing "$data/celeba87.zip" "${networks[@]}" "${edits[@]}" "${all[@]}"
table edits_fitted editing "$data/celeba87.zip" "${networks[@]}" "${fitted[@]}" "${steps[@]}" \
    "${edits[@]}" --limit "$some"
table more_steps inversion "$data/lfw128.zip" --method sfe "${fitted[@]}" "${more[@]}" --limit "$few"

"$python" "$(dirname "$0")/results_page.py" "$out" >"$out/RESULTS.md"
echo "$out/RESULTS.md"
