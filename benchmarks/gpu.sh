#!/usr/bin/env bash
# All that a GPU has to show, in one command of at most 12 minutes: golden sets, edits, training.
#
#   bash benchmarks/gpu.sh
#   DEVICE=cpu SIZES=64 MINUTES=2 GOLDEN=tests/generator/test_discriminator.py bash benchmarks/gpu.sh
#
#   SIZES    of training, "64 256 1024"; the largest is that of the edits
#   DEVICE   cuda; cpu rehearses, and leaves docs/PERFORMANCE.md alone
#   MINUTES  12; what has not begun by then is told as such, what runs is ended
#   GOLDEN   test files; all that compare with golden numbers
#   PAGE     where the tables go, between the marks: docs/PERFORMANCE.md
#   PYTHON   interpreter, .venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."

device=${DEVICE:-cuda} minutes=${MINUTES:-12}
if [ "$device" = cuda ]; then page=docs/PERFORMANCE.md; else page=out/gpu/PERFORMANCE.md; fi
# the figures are kept row by row, so an end by the clock loses one row
exec timeout --kill-after=5 "${minutes}m" "${PYTHON:-.venv/bin/python}" -m benchmarks.gpu \
    --device "$device" --minutes "$minutes" --sizes ${SIZES:-64 256 1024} \
    --golden ${GOLDEN:-all} --page "${PAGE:-$page}"
