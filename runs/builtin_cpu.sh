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
#   STRUCTURE                            weight of 1 - SSIM in phase 1 and L_inv, 0.6
#   ASKING                               weight of what the classifier asks of edits, 0.07
#   REALISM                              weight of what D says of them, within that, 2
#   TUNE_FROM                            another OUT: encoders and editor go on from its weights, for
#                                        a generator that has learnt more since; H's BatchNorm
#                                        then keeps its statistics
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
zips=("$data/lfw128.zip" "$data/celeba87.zip")
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

generator=generator-64
e4e="" inverter="" editor=""

train_generator() { # STAGE
    local steps=${STEPS_64:-100000}
    [ "$1" = generator-64 ] || steps=${STEPS_32:-6250}
    run "$python" "$here/builtin_generator.py" "${1#generator-}" "$steps" "$out" "${zips[@]}"
}

. "$here/builtin_stages.sh"
# shellcheck disable=SC2086  # STAGES are words
run_stages ${STAGES:-generator-32 generator-64 attributes judge e4e directions inverter editor faces}
