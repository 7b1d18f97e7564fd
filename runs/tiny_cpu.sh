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
#   PYTHON   interpreter, .venv/bin/python
#   PHOTO    the photo to edit; skimage's astronaut if left out
set -euo pipefail

zip=${1:?usage: bash runs/tiny_cpu.sh ZIP OUT}
out=${2:?usage: bash runs/tiny_cpu.sh ZIP OUT}
column=${COLUMN:-Blond_Hair}
size=${SIZE:-32}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

sfe() { "${PYTHON:-.venv/bin/python}" -m stylefeatureeditor "$@"; }

phase() { # NAME STEPS OPTION...
    local name=$1 steps=$(($2 * ${SCALE:-100} / 100 + 1))
    shift 2
    [ -f "$out/$name/model/training.json" ] && { echo "$name is complete"; return; }
    sfe train "$name" --data "$zip" --out "$out/$name" --preset tiny --resume "$@" \
        --data.where.split train --data.test-where.split test \
        --loop.steps "$steps" --loop.validate-every 500 --loop.sample-every 500 --loop.save-every 200
}

mkdir -p "$out"
phase generator 2000 --size "$size"
phase attributes 300
phase e4e 500 --generator "$out/generator"
if [ ! -f "$out/e4e/model/directions.json" ]; then
    sfe directions fit --model "$out/e4e" --name "${column,,}" --column "$column" \
        --data "$zip" --where split=train --classifier "$out/attributes"
    sfe directions fit --model "$out/e4e" --pca 2
fi
phase inverter 600 --model "$out/e4e"
phase editor 400 --model "$out/inverter"

model=$out/editor/model
photo=${PHOTO:-$out/astronaut.png}
[ -f "$photo" ] || "${PYTHON:-.venv/bin/python}" - "$photo" <<'PHOTO'
import sys
from PIL import Image
from skimage.data import astronaut
Image.fromarray(astronaut()).save(sys.argv[1])
PHOTO
range=$(sfe directions show "${column,,}" --model "$model" --json |
    "${PYTHON:-.venv/bin/python}" -c 'import json, sys; print(*json.load(sys.stdin)["useful_range"])')
read -r low high <<<"$range"
sfe edit "$photo" -e "${column,,}=$high" --model "$model" -o "$out/edited.png" --overwrite
sfe edit "$photo" --grid "${column,,}=$low:$high:5" --model "$model" -o "$out/strip.png" --overwrite
