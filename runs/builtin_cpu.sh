#!/usr/bin/env bash
# The built-in face model, trained on a CPU.
#
#   bash runs/builtin_cpu.sh DATA OUT
#
# DATA holds synthetic256.zip, lfw128.zip and celeba87.zip. Each stage leaves OUT/STAGE/model when it is complete and is
# then skipped; a stage that was stopped goes on from its last checkpoint. So the same command, given
# again, always does what is left. The model to ship comes out in OUT/faces.
#
#   STAGES="generator-64 e4e"            which stages to run, in this order; all if left out
#   STEPS_64                             optimiser steps of 32 images
#   STEPS_ATTRIBUTES, STEPS_E4E, STEPS_INVERTER, STEPS_EDITOR     the preset's if left out
#   INIT                                 G and D to go on from
#   CLASSIFIER                           labels faces for the directions; trained first if left out
#   TUNE_FROM                            a model or another OUT: encoders go on from its weights
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
zips=("$data/synthetic256.zip" "$data/lfw128.zip" "$data/celeba87.zip")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

generator=generator-64
e4e="" inverter="" editor=""

classifier=${CLASSIFIER:-$out/attributes}

train_generator() { # clean faces first: on small, noisy photos G learned neither teeth nor glasses
    TUNE_FROM="" FLAGS="" train generator "${STEPS_64:-20000}" --size 64 --data "${zips[0]}" \
        --from "${INIT:-runs/checkpoints/generator-64-synthetic.safetensors}" --augment diff \
        --training.lr-generator 1e-3 --training.lr-discriminator 1e-3 --loop.batch-size 32
}

. "$here/builtin_stages.sh"
# shellcheck disable=SC2086  # STAGES are words
run_stages ${STAGES:-generator-64 $([ -n "${CLASSIFIER:-}" ] || echo attributes) e4e directions inverter editor faces}
