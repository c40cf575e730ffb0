#!/usr/bin/env bash
# Compiles every kernel, in every variant that the tests over cuda/fake use, with
# the real NVRTC, which needs no GPU. Prints a line a source: how many variants,
# the most registers a thread, and what spills to memory; fails at an error.
#
#   scripts/nvrtc.sh [ARCH...]     sm_75 sm_80 sm_86 sm_90 if none is named
#
#   NVRTC   libnvrtc.so.12 or .13; without it the wheel is taken from PyPI into a temporary environment
#   PYTHON  python3 by default
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python=${PYTHON:-python3}
if [[ -z ${NVRTC:-} ]]; then
  "$python" -m venv "$tmp/env"
  "$tmp/env/bin/pip" install --quiet 'nvidia-cuda-nvrtc>=13,<14'
  NVRTC=$(find "$tmp/env" -name 'libnvrtc.so.1[23]' | head -n 1)
fi
mkdir "$tmp/sources"
POTSTILL_KERNEL_SOURCES=$tmp/sources go test ./engine/gpu -count=1 -run 'TestSuite/fake$|TestSuite/fake-libraries|Tiles|FirstLayer|Depthwise|BatchNorm|Parts|Augment|PeerAlone' >"$tmp/log" ||
  { cat "$tmp/log"; exit 1; }
exec "$python" scripts/nvrtc.py "$NVRTC" "$tmp/sources" "${@:-sm_75 sm_80 sm_86 sm_90}"
