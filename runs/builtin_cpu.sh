#!/usr/bin/env bash
# The built-in face model, trained on a CPU.
#
#   bash runs/builtin_cpu.sh DATA OUT
#
# DATA holds lfw128.zip and celeba87.zip. Each stage leaves OUT/STAGE/model when it is complete and is
# then skipped; a stage that was stopped goes on from its last checkpoint. So the same command, given
# again, always does what is left. The model to ship comes out in OUT/faces.
#
#   STAGES="generator-32 generator-64"   which stages to run, in this order; all if left out
#   STEPS_32, STEPS_64                   optimiser steps of 16 images
#   STEPS_ATTRIBUTES, STEPS_E4E, STEPS_INVERTER, STEPS_EDITOR     the preset's if left out
#   LIKENESS                             weight of the classifier's features in image losses, 0.1
#   SAMPLES                              generated faces that directions are found among, 4000
#   TUNE_FROM                            another OUT: encoders and editor go on from its weights, for
#                                        a generator that has learnt more since
#   FLAGS                                more settings for every stage after the generator's, such
#                                        as "--loop.precision bf16"
#   PYTHON                               interpreter, .venv/bin/python
#   OMP_NUM_THREADS                      2; take 1 beside other work, since two threads wait for
#                                        each other at every layer when one of them has to pause
set -euo pipefail

data=${1:?usage: bash runs/builtin_cpu.sh DATA OUT}
out=${2:?usage: bash runs/builtin_cpu.sh DATA OUT}
python=${PYTHON:-.venv/bin/python}
here=$(dirname "$0")
likeness=${LIKENESS:-0.1}
zips=("$data/lfw128.zip" "$data/celeba87.zip")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

sfe() { "$python" -m stylefeatureeditor "$@"; }

train() { # PHASE STEPS OPTION... : into OUT/STAGE
    local phase=$1 steps=$2
    shift 2
    # shellcheck disable=SC2086  # FLAGS are words
    sfe train "$phase" --out "$out/$stage" --preset small --resume "$@" \
        --data.where.split train --data.test-where.split test \
        --data.where.black_frac "<=0.05" --data.test-where.black_frac "<=0.05" \
        ${steps:+--loop.steps "$steps"} ${TUNE_FROM:+--tune-from "$TUNE_FROM/$stage"} ${FLAGS:-} ||
        [ $? -eq 130 ] # stopped by a signal, and saved
}

direction() { # NAME COLUMN OPTION...
    local name=$1 column=$2 table="$out/e4e/model/directions.json"
    shift 2
    grep -qs "\"name\": \"$name\"" "$table" && return
    sfe directions fit --model "$out/e4e" --name "$name" --classifier "$out/attributes" \
        --column "$column" --samples "${SAMPLES:-4000}" "$@"
}

fit_directions() {
    direction gender Male
    direction age Young --reverse --without gender
    direction smile Smiling --without gender
    direction mouth_open Mouth_Slightly_Open --without gender
    direction glasses Eyeglasses --without gender age
    direction beard No_Beard --reverse --without age
    direction makeup Heavy_Makeup --without age
    direction blond_hair Blond_Hair --without gender age
    direction black_hair Black_Hair --without gender age
    direction bangs Bangs --without gender age
    grep -q '"name": "axis_3"' "$out/e4e/model/directions.json" ||
        sfe directions fit --model "$out/e4e" --name axis --pca 4 # pose and light have no labels
}

run_stage() {
    case $1 in
        generator-32) "$python" "$here/builtin_generator.py" 32 "${STEPS_32:-6250}" "$out" "${zips[@]}" ;;
        generator-64) "$python" "$here/builtin_generator.py" 64 "${STEPS_64:-100000}" "$out" "${zips[@]}" ;;
        attributes) TUNE_FROM="" train attributes "${STEPS_ATTRIBUTES:-}" --data "$data/celeba87.zip" ;;
        judge) # another network on the same photos: it judges edits and finds no direction
            TUNE_FROM="" train attributes "${STEPS_ATTRIBUTES:-}" --data "$data/celeba87.zip" --training.balance 0.5 \
                --training.network.channels 24 48 96 192 --loop.seed 1
            ;;
        e4e)
            train e4e "${STEPS_E4E:-}" --data "${zips[@]}" --generator "$out/generator-64" \
                --attributes "$out/attributes" --training.image.attribute-features "$likeness" \
                ${TUNE_FROM:+--training.progressive-every 0}
            ;;
        directions) fit_directions ;;
        inverter)
            train inverter "${STEPS_INVERTER:-}" --data "${zips[@]}" --model "$out/e4e" \
                --attributes "$out/attributes" --training.image.attribute-features "$likeness"
            ;;
        editor)
            train editor "${STEPS_EDITOR:-}" --data "${zips[@]}" --model "$out/inverter" \
                --attributes "$out/attributes" --training.edit.attribute-features "$likeness" \
                --training.inversion.attribute-features "$likeness"
            ;;
        faces) "$python" "$here/builtin_ship.py" "$out/editor/model" "$out/faces" ;;
        *) echo "unknown stage $1" >&2; return 2 ;;
    esac
}

complete() { # the last file that a stage writes
    case $1 in
        directions) grep -qs '"name": "axis_3"' "$out/e4e/model/directions.json" ;;
        faces) [ -f "$out/faces/directions.json" ] ;;
        *) [ -f "$out/$1/model/training.json" ] ;;
    esac
}

mkdir -p "$out"
for stage in ${STAGES:-generator-32 generator-64 attributes judge e4e directions inverter editor faces}; do
    if complete "$stage"; then
        echo "$stage is complete"
        continue
    fi
    run_stage "$stage"
    # a run that a signal stopped has saved its checkpoint and ends well, but has no model yet
    complete "$stage" || { echo "$stage was stopped; give the command again"; exit 0; }
done
