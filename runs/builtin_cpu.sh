#!/usr/bin/env bash
# The built-in face model, trained on a CPU.
#
#   bash runs/builtin_cpu.sh DATA OUT
#
# DATA holds lfw128.zip and celeba87.zip. Each stage leaves OUT/STAGE/model when it is complete and is
# then skipped; a stage that was stopped goes on from its last checkpoint. So the same command, given
# again, always does what is left.
#
#   STAGES="generator-32 generator-64"   which stages to run, in this order
#   STEPS_32, STEPS_64                   optimiser steps of 16 images
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

run_stage() {
    case $1 in
        generator-32) "$python" "$here/builtin_generator.py" 32 "${STEPS_32:-6250}" "$out" "${zips[@]}" ;;
        generator-64) "$python" "$here/builtin_generator.py" 64 "${STEPS_64:-100000}" "$out" "${zips[@]}" ;;
        *) echo "unknown stage $1" >&2; return 2 ;;
    esac
}

mkdir -p "$out"
for stage in ${STAGES:-generator-32 generator-64}; do
    if [ -d "$out/$stage/model" ]; then
        echo "$stage is complete"
        continue
    fi
    run_stage "$stage"
    # a run that a signal stopped has saved its checkpoint and ends well, but has no model yet
    [ -d "$out/$stage/model" ] || { echo "$stage was stopped; give the command again"; exit 0; }
done
