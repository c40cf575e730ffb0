#!/usr/bin/env bash
# Potstill against PyTorch, ONNX Runtime and OpenVINO (and Gorgonia) on this
# machine's CPU, in turns, at equal threads, on the same weights and batches.
# Prints a table of times and of their ratios: above 1, Potstill is faster (or
# smaller, for the memory).
#
#   scripts/bench_cpu.sh [--only NAME,...] [--rounds N] [--time SECONDS] [--folder DIR] [--quick] [--json]
#
#   THREADS              threads of every side, 2 by default
#   PYTHON               a Python with torch, torchvision, numpy, safetensors, onnx, onnxruntime,
#                        openvino and nncf; without it one is made, with the official wheels (pip's
#                        own settings, such as PIP_INDEX_URL, choose where from)
#   POTSTILL_BENCH_VENV  where that one is, ~/.cache/potstill/bench-venv by default
#
# Training: PyTorch's eight modes, eager and torch.compile, contiguous and
# channels_last, float32 and autocast to bfloat16. Inference: these, ONNX Runtime
# and OpenVINO. A case NAME is Potstill in float32 against the best mode in
# float32, NAME_bf16 is Potstill in bfloat16 against the best of all modes; a case with _int8_
# in its name is Potstill in integers against both engines, each with what its own quantizer
# makes of the net. PyTorch runs with
# the C library's allocator told to keep its memory, or with jemalloc or tcmalloc
# where one is installed and faster; one process runs at a time, the others are
# stopped. torch.compile needs a C++ compiler; where it fails, its modes are left
# out and the table says so. Works that take many minutes run only by name: see
# LONG in scripts/bench_cases.py.
#
# With --folder DIR weights and models are kept in DIR and taken from there, so that a second run begins
# to measure at once.
#
# With --json: {name: {"ratio", "min", "max"}}, and nothing else on standard output.
# A ratio is refused, and the exit status 1, where two do not compute the same.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
case " $* " in
*" --help "* | *" -h "*)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' scripts/bench_cpu.sh
  exit
  ;;
esac
threads=${THREADS:-2}

if [[ -z ${PYTHON:-} ]]; then
  venv=${POTSTILL_BENCH_VENV:-$HOME/.cache/potstill/bench-venv}
  PYTHON=$venv/bin/python
  if [[ ! -x $PYTHON ]]; then
    echo "making $venv" >&2
    python3 -m venv "$venv"
  fi
  if ! "$PYTHON" -c 'import torch, torchvision, numpy, safetensors, onnx, onnxruntime, openvino, nncf' 2>/dev/null; then
    "$PYTHON" -m pip install --upgrade torch torchvision numpy safetensors onnx onnxruntime openvino nncf >&2
  fi
fi

tools=bin/bench
go build -o "$tools/potstill" ./cmd/potstill
peer=()
if (cd scripts/bench_gorgonia && go build -o "$root/$tools/bench_gorgonia" .); then
  peer=(--gorgonia "$tools/bench_gorgonia")
else
  echo "Gorgonia could not be built: it is left out" >&2
fi
export PYTHONDONTWRITEBYTECODE=1
exec "$PYTHON" scripts/bench_cpu.py --potstill "$tools/potstill" --threads "$threads" ${peer[@]+"${peer[@]}"} "$@"
