#!/usr/bin/env bash
# Install, demo and the quick tests with the oldest and the newest Python (3.10 on) that is found, of
# pyenv and of PATH. Each has LIMIT seconds; what was left out is said, with the reason.
set -u
cd "$(dirname "$0")/.." || exit 1

LIMIT=${LIMIT:-480}
ROOM=12 # GiB of disk: torch's CUDA build, which pip takes by default, has 5.5 of them
QUICK="tests/photo tests/weights tests/cli tests/inversion tests/editing tests/backbones
    tests/test_editor.py tests/test_pipeline.py tests/test_inversion_file.py"

# "3.12 /path/of/python" for every interpreter that answers, in order, once per version
found() {
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python $(compgen -c python3. | sort -u); do
        "$python" -c 'import sys, venv, ensurepip
if sys.version_info >= (3, 10):
    print("{}.{}".format(*sys.version_info), sys.executable)' 2>/dev/null
    done | sort -t. -k1,1n -k2,2n -u
}

try() {
    rm -rf "out/python-$1"
    set -- "$1" PYTHON="$2" VENV="out/python-$1"
    local version=$1
    shift
    make demo "$@" && make test "$@" PYTEST_ARGS="$(echo $QUICK)"
}
export -f try
export QUICK

mapfile -t all < <(found)
if ((${#all[@]} == 0)); then
    echo "no Python from 3.10 on besides that of .venv: oldest and newest were left out"
    exit 0
fi
failed=()
for index in "${!all[@]}"; do
    version=${all[$index]%% *} python=${all[$index]#* }
    if ((index > 0 && index < ${#all[@]} - 1)); then
        echo "Python $version: left out, neither the oldest nor the newest"
    elif (($(df --output=avail -BG . | tail -1 | tr -dc 0-9) < ROOM)); then
        echo "Python $version: left out, less than $ROOM GiB of disk are free"
    else
        timeout "$LIMIT" bash -c 'try "$@"' try "$version" "$python"
        code=$?
        if ((code == 124)); then
            echo "Python $version: left out, it was not through in $LIMIT s"
        elif ((code)); then
            failed+=("$version")
        else
            echo "Python $version: install, demo and the quick tests passed in $SECONDS s so far"
        fi
        rm -rf "out/python-$version"
    fi
done
if ((${#failed[@]})); then
    echo "failed with Python: ${failed[*]}" >&2
    exit 1
fi
