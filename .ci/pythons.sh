#!/usr/bin/env bash
# Install, demo and the quick tests with the oldest and the newest Python (3.10 on) that is found, of
# pyenv and of PATH. Installing has LIMIT seconds; what was left out is said, with the reason.
set -u
cd "$(dirname "$0")/.." || exit 1

LIMIT=${LIMIT:-300}
ROOM=12 # GiB of disk: torch's CUDA build, which pip takes by default, has 5.5 of them
QUICK="tests/editing tests/weights/test_checkpoint.py tests/weights/test_unpickle.py
    tests/photo/test_image.py tests/cli/test_doctor.py tests/cli/test_main.py tests/cli/test_edit.py
    tests/test_editor.py tests/methods/test_sfe.py"

# "3.12 /path/of/python" for every interpreter that answers, in order, once per version
found() {
    local python
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python \
        $(compgen -c python3. | grep -x 'python3\.[0-9]*'); do
        "$python" -c 'import sys, venv, ensurepip
if sys.version_info >= (3, 10):
    print("{}.{}".format(*sys.version_info), sys.executable)' 2>/dev/null
    done | sort -t. -k1,1n -k2,2n -u
}

mapfile -t all < <(found)
((${#all[@]})) || echo "no Python from 3.10 on was found: oldest and newest were left out"
failed=()
for index in "${!all[@]}"; do
    version=${all[$index]%% *}
    if ((index > 0 && index < ${#all[@]} - 1)); then
        echo "Python $version: left out, neither the oldest nor the newest"
        continue
    fi
    if (($(df -Pk . | awk 'END {print $4}') < ROOM << 20)); then
        echo "Python $version: left out, less than $ROOM GiB of disk are free"
        continue
    fi
    folder=out/python-$version
    with=(PYTHON="${all[$index]#* }" VENV="$folder")
    rm -rf "$folder"
    SECONDS=0
    timeout "$LIMIT" make "$folder/installed" "${with[@]}"
    code=$?
    if ((code == 124)); then
        echo "Python $version: left out, it was not installed in $LIMIT s"
    elif ((code == 0)) && make demo "${with[@]}" && make test "${with[@]}" PYTEST_ARGS="$(echo $QUICK)"; then
        echo "Python $version: install, demo and the quick tests passed in $SECONDS s"
    else
        failed+=("$version")
    fi
    rm -rf "$folder"
done
if ((${#failed[@]})); then
    echo "failed with Python: ${failed[*]}" >&2
    exit 1
fi
