# The stages of the built-in model after its generator, and how they are run one after the other.
# Sourced by builtin_cpu.sh and builtin_gpu.sh, which set
#
#   data, out, python          as given, and the interpreter
#   zips                       what generator, encoders and editor learn from
#   generator                  the last stage that trains G, such as generator-64
#   classifier                 of attributes: it labels drawn faces for the directions
#   e4e, inverter, editor      words: more settings of these stages
#
# and define train_generator STAGE.
# shellcheck shell=bash disable=SC2086,SC2154

# pixels lead, ImageNet's features keep edges sharp (docs/LOG.md)
likeness() { # TERMS : of the losses --training.TERMS
    echo "--training.$1.l2 1 --training.$1.l1 0.5 --training.$1.pyramid 0.5 --training.$1.identity 0
        --training.$1.efficientnet-lite 0.5"
}

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
    local phase=$1 steps=$2 from=${TUNE_FROM:-}
    [ ! -d "$from/$stage" ] || from=$from/$stage
    shift 2
    sfe train "$phase" --out "$out/$stage" --preset small --resume "$@" \
        --data.where split=train "black_frac=<=0.05" \
        --data.test-where split=test "black_frac=<=0.05" \
        ${steps:+--loop.steps "$steps"} ${from:+--tune-from "$from"} ${FLAGS:-} ||
        [ $? -eq 130 ] # stopped by a signal, and saved
}

run_stage() {
    case $1 in
        generator-*) train_generator "$1" ;;
        attributes) TUNE_FROM="" train attributes "${STEPS_ATTRIBUTES:-}" --data "$data/celeba87.zip" ;;
        e4e)
            train e4e "${STEPS_E4E:-}" --data "${zips[@]}" --generator "$out/$generator" \
                $(likeness image) --training.image.structure 0.2 --training.latent.lr 1e-4 \
                ${TUNE_FROM:+--training.progressive-every 0} $e4e
            ;;
        directions) run "$python" "$here/builtin_directions.py" "$out/e4e" "$classifier" "$out/directions.png" ;;
        inverter) # F_k begins as F_w and stays near it: Delta means little elsewhere (docs/LOG.md)
            train inverter "${STEPS_INVERTER:-}" --data "${zips[@]}" --model "$out/e4e" \
                --discriminator "$out/$generator" $(likeness image) --training.image.structure 0.6 \
                --training.begin generator --training.features 0.1 \
                --training.adversarial.lr 2e-4 --training.adversarial.r1.weight 0.5 \
                ${TUNE_FROM:+--training.blend-steps 0} $inverter
            ;;
        editor) # from F_k - Delta: the edit that needs no H, which H then betters
            TUNE_FROM="" train editor "${STEPS_EDITOR:-}" --data "${zips[@]}" --model "$out/inverter" \
                --discriminator "$out/$generator" $(likeness edit) $(likeness inversion) \
                --training.inversion.structure 0.6 --training.inversion-weight 2 \
                --training.adversarial.weight 0.002 --training.adversarial.lr 1e-4 \
                --training.adversarial.r1.weight 0.5 $editor
            ;;
        faces) run "$python" "$here/builtin_ship.py" "$out/editor/model" "$classifier" "$out/faces" ;;
        *) echo "unknown stage $1" >&2; return 2 ;;
    esac
}

complete() { # the last file that a stage writes
    case $1 in # a run made of kept files has the newest model alone
        directions) [ -f "$out/directions.png" ] ;;
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
