#!/usr/bin/env bash
# Makes the table of what every kernel needs on sm_80, sm_90 and sm_100, by the
# real NVRTC and nvdisasm, which need no GPU: docs/gpu-kernels.md.
#
#   scripts/kernel_table.sh          writes the table
#   scripts/kernel_table.sh --check  compares, and fails where the table is another
#
#   SOURCES      a folder that potstill warm --sources has written before; without it that is done first
#   CUDA_WHEELS  a Python environment with nvidia-cuda-nvrtc and nvidia-cuda-nvdisasm of CUDA 13; without it they are
#                taken from PyPI into a temporary one. Another version of NVRTC gives another table.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [[ -z ${CUDA_WHEELS:-} ]]; then
  CUDA_WHEELS=$tmp/env
  "${PYTHON:-python3}" -m venv "$CUDA_WHEELS"
  "$CUDA_WHEELS/bin/pip" install --quiet 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-nvdisasm>=13,<14'
fi
nvrtc=$(find "$CUDA_WHEELS" -name 'libnvrtc.so.13' | head -n 1)
nvdisasm=$(find "$CUDA_WHEELS" -name nvdisasm -type f | head -n 1)
sources=${SOURCES:-$tmp/sources}
if [[ ! -d $sources ]]; then
  for precision in float32 bfloat16; do
    go run ./cmd/potstill warm --sm 90 --multiprocessors 132 --arch cnn-dwpw,resnet18 --size 128 --batch 256 --precision $precision --sources "$sources"
  done
fi
{
  echo "# What the kernels need"
  echo
  echo "Made by \`scripts/kernel_table.sh\`, and checked by \`scripts/kernel_table.sh --check\`; no card is needed. A line is a kernel, each figure the most"
  echo "over the variants that training, distillation and inference of cnn-dwpw and resnet18 need at 256 images of 128 pixels, in both precisions;"
  echo "where the architectures differ, they stand in their order."
  echo "\"Widest load\" is of device memory, in bits; \"local in loops\" counts the instructions within loops that load or store local memory, both of"
  echo "sm_90's machine code. There every kernel waits for what is earlier in the stream before it first touches device memory, or there is no table."
  echo
  PYTHONPATH=scripts "${PYTHON:-python3}" scripts/kernel_table.py "$nvrtc" "$nvdisasm" "$sources"
} >"$tmp/table.md"
if [[ ${1:-} == --check ]]; then
  diff -u docs/gpu-kernels.md "$tmp/table.md" || { echo "kernel_table.sh: docs/gpu-kernels.md is of other kernels, or of another NVRTC" >&2; exit 1; }
  echo "docs/gpu-kernels.md is what the kernels need"
  exit
fi
cp "$tmp/table.md" docs/gpu-kernels.md
grep -c '^| ' docs/gpu-kernels.md
