#!/usr/bin/env bash
# The built-in face model at 128 px, trained on one GPU in short sittings on machines that start bare.
#
#   bash runs/builtin_gpu.sh DATA OUT
#
# DATA holds synthetic256.zip, lfw128.zip and celeba87.zip. Stages as in builtin_cpu.sh; the same command, given again,
# does what is left. The model to ship comes out in OUT/faces.
#
#   KEEP       folder for the newest networks in float16, at most 8 files of 15 MB, written every
#              KEEP_EVERY seconds (120) and at the end. Without OUT the run goes on from them: same stage,
#              same step, G from its average; the optimisers warm up for some hundred steps. It is
#              builtin_keep.py that writes and reads them
#   MINUTES    stop after this time, as after SIGTERM: networks saved, exit code 0
#   SIZE       pixels, 128;  FIRST  where growing begins, 32 (the same as SIZE: no growing)
#   STEPS_32, STEPS_64, STEPS_128       of BATCH_G images, 64
#   STEPS_ATTRIBUTES, STEPS_E4E, STEPS_INVERTER, STEPS_EDITOR       the last three of BATCH photos, 32
#   CHANNELS   of G and D, "8192 192": 8192 / side, at most 192;  STYLE  width of w, 128
#   WIDTH      of the encoders' stems, 40
#   CRITIC     weight in image losses of D's features, 0.1
#   STAGES, FLAGS, PYTHON, OMP_NUM_THREADS       as in builtin_cpu.sh
#
# A plan for 25 minutes of an H200, not measured: G at 32 px 2 minutes, at 64 px 3, at 128 px 6; the
# classifier 1; e4e 3; directions 2.5; Inverter 4; Feature Editor 2.5; the rest starts processes.
# The steps below are guesses of what fits; look at the log's images_per_s and set others. Schedules
# are shares of a run, so set a stage's steps before it starts.
set -euo pipefail

data=${1:?usage: bash runs/builtin_gpu.sh DATA OUT}
out=${2:?usage: bash runs/builtin_gpu.sh DATA OUT}
here=$(dirname "$0")
if [ -n "${MINUTES:-}" ]; then
    minutes=$MINUTES
    unset MINUTES
    exec timeout --foreground --preserve-status "${minutes}m" bash "$0" "$@"
fi
python=${PYTHON:-.venv/bin/python}
zips=("$data/synthetic256.zip" "$data/lfw128.zip" "$data/celeba87.zip")
size=${SIZE:-128}
first=${FIRST:-32}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}

stages=()
for ((side = first; side <= size; side *= 2)); do
    stages+=("generator-$side")
done
generator=generator-$size
classifier=$out/attributes
stages+=(attributes e4e directions inverter editor faces)

width=${WIDTH:-40}
trunk="$width $((2 * width)) $((4 * width)) $((4 * width))"
critic=${CRITIC:-0.1}
# a checkpoint holds all networks and moments: half a second of the disk
loop="--loop.batch-size ${BATCH:-32} --loop.save-every 500 --loop.validate-every 500
    --loop.sample-every 500"
e4e="$loop --training.image.discriminator-features $critic
    --model.e4e.trunk.channels $trunk --model.inverter.encoder.trunk.channels $trunk
    --model.inverter.encoder.trunk.stem-channels $width"
inverter="$loop --training.image.discriminator-features $critic"
editor="$loop --training.edit.discriminator-features $critic
    --training.inversion.discriminator-features $critic"
STEPS_E4E=${STEPS_E4E:-3000}
STEPS_INVERTER=${STEPS_INVERTER:-3000}
STEPS_EDITOR=${STEPS_EDITOR:-1500}

train_generator() { # STAGE
    local side=${1#generator-} base most
    local smaller=$out/generator-$((side / 2)) steps=STEPS_$side grown=()
    read -r base most <<<"${CHANNELS:-8192 192}"
    if [ "$side" -gt "$first" ]; then
        grown=(--training.generator-start 200) # steps that D's new block is given before G hears it
        [ ! -d "$smaller/checkpoints" ] || grown+=(--grow-from "$smaller")
    fi
    TUNE_FROM="" train generator "${!steps:-4000}" --size "$side" --data "${zips[@]}" \
        --loop.batch-size "${BATCH_G:-64}" --loop.precision bf16 --loop.channels-last \
        --training.network.channel-base "$base" --training.network.channel-max "$most" \
        --training.discriminator.channel-base "$base" --training.discriminator.channel-max "$most" \
        --training.network.style-dim "${STYLE:-128}" --augment ada --training.ada.speed 100000 "${grown[@]}"
}

keep() {
    [ -z "${KEEP:-}" ] || "$python" "$here/builtin_keep.py" pack "$out" "$KEEP"
}

keep_often() { # until SIGTERM, which waits for a save under way
    local second over=""
    trap 'over=yes' TERM
    trap '' INT
    while true; do
        for ((second = 0; second < ${KEEP_EVERY:-120}; second++)); do
            sleep 1
            [ -z "$over" ] || return 0
        done
        keep || echo "not kept; the next save tries again" >&2
    done
}

finish() {
    local code=$? reached=() left=() one
    trap '' TERM INT
    kill -TERM "$keeper"
    wait "$keeper" || true
    for one in "${stages[@]}"; do
        if complete "$one"; then reached+=("$one"); else left+=("$one"); fi
    done
    keep
    echo "done: ${reached[*]:-nothing}; left: ${left[*]:-nothing}"
    exit "$code"
}

. "$here/builtin_stages.sh"
if [ ! -d "$out" ] && [ -n "${KEEP:-}" ] && [ -f "$KEEP/part-1.safetensors" ]; then
    "$python" "$here/builtin_keep.py" unpack "$KEEP" "$out"
fi
keep_often &
keeper=$!
trap finish EXIT
# shellcheck disable=SC2086  # STAGES are words
run_stages ${STAGES:-${stages[@]}}
