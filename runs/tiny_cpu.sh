#!/usr/bin/env bash
# Every phase on a tiny model: minutes on two cores, from images to an edited photo.
#
#   bash runs/tiny_cpu.sh ZIP OUT
#
# ZIP holds face photos and a table with the columns split (train, test) and COLUMN, such as
# celeba87.zip. The pictures are of no use; that every phase does its part is.
# OUT/edited.png is the result; a finished phase is skipped, a stopped one goes on.
#
#   COLUMN   attribute to edit, Blond_Hair: it shows at 32 pixels
#   SIZE     pixels, 32
#   SCALE    steps of every phase in percent, 100
#   PYTHON   interpreter; .venv/bin/python if it is there, else python3
#   PHOTO    the photo to edit; skimage's astronaut if left out
#   ALIGNED  1 if PHOTO, or its middle square, is framed like the images, faces or not
set -euo pipefail

zip=${1:?usage: bash runs/tiny_cpu.sh ZIP OUT}
out=${2:?usage: bash runs/tiny_cpu.sh ZIP OUT}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
column=${COLUMN:-Blond_Hair}
edit=$(tr '[:upper:]' '[:lower:]' <<<"$column")
size=${SIZE:-32}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

sfe() { "$python" -m stylefeatureeditor "$@"; }

phase() { # NAME STEPS OPTION...
    local name=$1 steps=$(($2 * ${SCALE:-100} / 100 + 1))
    shift 2
    [ -f "$out/$name/model/training.json" ] && { echo "$name is complete"; return; }
    sfe train "$name" --data "$zip" --out "$out/$name" --preset tiny --resume "$@" \
        --data.where split=train --data.test-where split=test \
        --loop.steps "$steps" --loop.validate-every 500 --loop.sample-every 500 --loop.save-every 200
}

mkdir -p "$out"
photo=${PHOTO:-$out/astronaut.png}
[ -n "${PHOTO:-}" ] || "$python" - "$photo" <<'ASTRONAUT'
import sys
from PIL import Image
from skimage.data import astronaut
Image.fromarray(astronaut()).save(sys.argv[1])
ASTRONAUT
[ -f "$photo" ] || { echo "there is no photo $photo" >&2; exit 2; }
[ -n "${ALIGNED:-}" ] || "$python" - "$photo" <<'FACE' # now, not after the training
import sys
import stylefeatureeditor as sfe
try:
    sfe.align(sys.argv[1])
except sfe.SfeError as error:
    sys.exit(f"{error}; ALIGNED=1 takes the photo of another thing as it is")
FACE

phase generator 2000 --size "$size"
phase attributes 300
phase e4e 500 --generator "$out/generator"
if [ ! -f "$out/e4e/model/directions.json" ]; then
    sfe directions fit --model "$out/e4e" --name "$edit" --column "$column" \
        --data "$zip" --where split=train --classifier "$out/attributes"
    sfe directions fit --model "$out/e4e" --pca 2
fi
phase inverter 600 --model "$out/e4e"
phase editor 400 --model "$out/inverter"

model=$out/editor/model
range=$(sfe directions show "$edit" --model "$model" --json |
    "$python" -c 'import json, sys; print(*json.load(sys.stdin)["useful_range"])')
read -r low high <<<"$range"
options=(--model "$model" --overwrite ${ALIGNED:+--aligned})
sfe edit "$photo" -e "$edit=$high" "${options[@]}" -o "$out/edited.png"
sfe edit "$photo" --grid "$edit=$low:$high:5" "${options[@]}" -o "$out/strip.png"
