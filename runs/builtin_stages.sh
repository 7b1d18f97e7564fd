# The stages of the built-in model after its generator, and how they are run one after the other.
# Sourced by builtin_cpu.sh and builtin_gpu.sh, which set
#
#   data, out, python          as given, and the interpreter
#   zips                       what generator, encoders and editor learn from
#   generator                  the last stage that trains G, such as generator-64
#   e4e, inverter, editor      words: more settings of these stages
#
# and define train_generator STAGE.
# shellcheck shell=bash disable=SC2086,SC2154

likeness=${LIKENESS:-0.1} structure=${STRUCTURE:-0.6} asking=${ASKING:-0.07} realism=${REALISM:-2}
stage="" child="" stopped="" # what is under way, its process, whether to stop

stop() {
    stopped=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

halt() {
    echo "$stage was stopped; give the command again"
    exit 0
}

# bash hears a signal while it waits for a background process, not while it runs one in front
run() {
    [ -z "$stopped" ] || halt
    local code=0
    "$@" &
    child=$!
    [ -z "$stopped" ] || stop
    wait "$child" || code=$?
    if [ -n "$stopped" ]; then
        code=0
        wait "$child" || code=$?
        case $code in 0 | 130 | 143) halt ;; esac
    fi
    child=""
    return "$code"
}

sfe() { run "$python" -m stylefeatureeditor "$@"; }

train() { # PHASE STEPS OPTION... : into OUT/STAGE
    local phase=$1 steps=$2
    shift 2
    sfe train "$phase" --out "$out/$stage" --preset small --resume "$@" \
        --data.where split=train "black_frac=<=0.05" \
        --data.test-where split=test "black_frac=<=0.05" \
        ${steps:+--loop.steps "$steps"} ${TUNE_FROM:+--tune-from "$TUNE_FROM/$stage"} ${FLAGS:-} ||
        [ $? -eq 130 ] # stopped by a signal, and saved
}

found() { grep -qs "\"name\": \"$1\"" "$out/e4e/model/directions.json"; }

direction() { # NAME COLUMN OPTION... : what brings it for the classifier, and leaves the rest
    local name=$1 column=$2
    shift 2
    found "$name" || sfe directions fit --model "$out/e4e" --name "$name" \
        --data "$data/celeba87.zip" --where split=train --per-style --method learned \
        --column "$column" --classifier "$out/attributes" "$@"
}

fit_directions() {
    direction gender Male
    direction age Young --reverse
    direction smile Smiling
    direction mouth_open Mouth_Slightly_Open
    direction glasses Eyeglasses
    direction beard No_Beard --reverse
    direction makeup Heavy_Makeup
    direction blond_hair Blond_Hair
    direction black_hair Black_Hair
    direction bangs Bangs
    found turn || sfe directions fit --model "$out/e4e" --name turn --mirror 1 \
        --data "$data/lfw128.zip" --where split=train # no table says where a face looks
}

run_stage() {
    case $1 in
        generator-*) train_generator "$1" ;;
        attributes) TUNE_FROM="" train attributes "${STEPS_ATTRIBUTES:-}" --data "$data/celeba87.zip" ;;
        judge) # another network on the same photos: it judges edits and finds no direction
            TUNE_FROM="" train attributes "${STEPS_ATTRIBUTES:-}" --data "$data/celeba87.zip" --training.balance 0.5 \
                --training.network.channels 24 48 96 192 --loop.seed 1
            ;;
        e4e)
            train e4e "${STEPS_E4E:-}" --data "${zips[@]}" --generator "$out/$generator" \
                --attributes "$out/attributes" --training.image.attribute-features "$likeness" \
                ${TUNE_FROM:+--training.progressive-every 0} $e4e
            ;;
        directions) fit_directions ;;
        inverter)
            train inverter "${STEPS_INVERTER:-}" --data "${zips[@]}" --model "$out/e4e" \
                --attributes "$out/attributes" --training.image.attribute-features "$likeness" \
                --training.image.structure "$structure" $inverter
            ;;
        editor) # the generator's D judges edits, and learns slowly (docs/LOG.md)
            [ "$asking" != 0 ] || realism=0
            local judge=$out/$generator/model
            [ -f "$judge/discriminator.safetensors" ] || judge=""
            train editor "${STEPS_EDITOR:-}" --data "${zips[@]}" --model "$out/inverter" \
                --attributes "$out/attributes" --training.edit.attribute-features "$likeness" \
                --training.inversion.attribute-features "$likeness" \
                --training.inversion.structure "$structure" --training.inversion-weight 4 \
                --training.attributes.weight "$asking" --training.attributes.others 30 \
                --training.attributes.realism "$realism" --training.adversarial.weight 0.002 \
                --training.adversarial.start 0 --training.adversarial.lr 1e-4 \
                --training.adversarial.r1.weight 0.5 \
                ${judge:+--discriminator "$judge"} \
                ${TUNE_FROM:+--training.batch-norm frozen} $editor
            ;;
        faces) run "$python" "$here/builtin_ship.py" "$out/editor/model" "$out/attributes" "$out/faces" ;;
        *) echo "unknown stage $1" >&2; return 2 ;;
    esac
}

complete() { # the last file that a stage writes
    case $1 in # a run made of kept files has the newest model alone
        directions) grep -qs '"name": "turn"' "$out"/{e4e,inverter,editor}/model/directions.json ;;
        faces) [ -f "$out/faces/attributes.safetensors" ] ;;
        *) [ -f "$out/$1/model/training.json" ] ;;
    esac
}

run_stages() { # STAGE...
    mkdir -p "$out"
    for stage in "$@"; do
        if complete "$stage"; then
            echo "$stage is complete"
            continue
        fi
        run_stage "$stage"
        complete "$stage" || halt # a run that a signal stopped ends well, but has no model yet
    done
}
