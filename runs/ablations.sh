#!/usr/bin/env bash
# Table 3 of the paper at the built-in model's scale: what each part brings.
#
#   bash runs/ablations.sh MODEL DATA OUT
#
# MODEL has a trained generator, e4e and directions, DATA holds celeba87.zip. Every variant trains both of its phases anew and short, by the paper's
# losses on pixels, so the table compares variants with each other and with nothing else. Runs that a
# stop has left go on.
#
#   STEPS_INVERTER, STEPS_EDITOR   300 and 150 steps of 16 photos
#   PYTHON                         interpreter, .venv/bin/python
set -euo pipefail

usage="usage: bash runs/ablations.sh MODEL DATA OUT"
model=${1:?$usage} data=${2:?$usage} out=${3:?$usage}
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

train() { # PHASE STEPS NAME MODEL OPTION...
    local phase=$1 steps=$2 place="$out/$1-$3" from=$4
    shift 4
    [ -f "$place/model/training.json" ] || "$python" -m stylefeatureeditor train "$phase" \
        --data "$data/celeba87.zip" --data.where split=train "black_frac=<=0.05" \
        --model "$from" --out "$place" --preset small --resume --loop.steps "$steps" \
        --loop.precision bf16 --loop.channels-last --loop.log-every 50 --loop.sample-every 0 --loop.validate-every 0 \
        --training.adversarial.weight 0 "$@"
}

inverter() { # NAME OPTION...
    train inverter "${STEPS_INVERTER:-300}" "$1" "$model" "${@:2}"
}

editor() { # NAME INVERTER OPTION...
    train editor "${STEPS_EDITOR:-150}" "$1" "$out/inverter-$2" "${@:3}"
}

inverter full
inverter without-fuser --ablation without-fuser
inverter coarser-layer --ablation coarser-layer
editor full full
editor without-fuser without-fuser
editor coarser-layer coarser-layer
editor without-inversion-loss full --ablation without-inversion-loss
editor without-e full --ablation without-e4e
editor few-directions full --ablation few-directions
"$python" "$(dirname "$0")/ablations.py" "$out" "$data"
