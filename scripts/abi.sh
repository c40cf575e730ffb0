#!/usr/bin/env bash
# Holds the prototypes, structs and constants of package cuda against NVIDIA's
# own headers, by static assertions; nothing of CUDA runs.
#
#   scripts/abi.sh                            headers of CUDA 12 and 13, from PyPI
#   scripts/abi.sh 12                         of CUDA 12 only
#   CUDA_HOME=/usr/local/cuda scripts/abi.sh  those there, and cuDNN's and NCCL's in CUDNN_HOME and NCCL_HOME if these are set
#
# It prints a line for each set of headers and fails at the first mismatch.
# From PyPI come the libraries with the headers, some 2 GB on disk for a version;
# with ABI_DIR set to a folder they stay there for the next time. Needs c++ (CXX) and
# cc (CC); for the downloads python3 (PYTHON) with venv.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

# wheels VERSION: those that hold cuda.h and what it includes, nvrtc.h, cublasLt.h, cudnn.h and nccl.h
wheels() {
  case $1 in
  12) echo nvidia-cuda-runtime-cu12 nvidia-cuda-nvcc-cu12 nvidia-cuda-cccl-cu12 nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12 'nvidia-cudnn-cu12>=9,<10' nvidia-nccl-cu12 ;;
  13) echo 'nvidia-cuda-runtime>=13,<14' 'nvidia-cuda-crt>=13,<14' 'nvidia-cuda-cccl>=13,<14' 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cublas>=13,<14' 'nvidia-cudnn-cu13>=9,<10' nvidia-nccl-cu13 ;;
  *)
    echo "abi.sh: there are headers of CUDA 12 and 13, not of $1" >&2
    exit 2
    ;;
  esac
}

# fetch VERSION: prints the include folders of that version's wheels
fetch() {
  local names env
  names=$(wheels "$1")
  env=${ABI_DIR:-$tmp}/cuda$1
  if [[ ! -e $env/complete ]]; then
    "${PYTHON:-python3}" -m venv "$env" >&2
    # shellcheck disable=SC2086 # one word a wheel
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: $names >&2
    touch "$env/complete"
  fi
  ls -d "$env"/lib/python3*/site-packages/nvidia/*/include
}

# constants: the numbers in package cuda that a comment on their line names
constants() {
  sed -nE \
    -e 's@.*[^0-9A-Za-z_]([0-9]+)[^0-9]*// ((CU|CUDA|NVRTC)_[A-Z0-9_]+).*@CONSTANT(\2, \1)@p' \
    -e 's@^ *([0-9]+), *// ([A-Z0-9_]+)$@CONSTANT(CU_DEVICE_ATTRIBUTE_\2, \1)@p' \
    -e 's@.*cuFuncSetAttribute\([^,]*, ([0-9]+),.*// ([A-Z0-9_]+)$@CONSTANT(CU_FUNC_ATTRIBUTE_\2, \1)@p' \
    cuda/*.c cuda/*.go
}

# check NAME FOLDER...: compiles the assertions with those include folders
check() {
  local name=$1 folder include=(-I "$tmp")
  shift
  for folder; do include+=(-isystem "$folder" -isystem "$folder/cccl"); done
  if ! "${CXX:-c++}" -std=c++17 -Wall "${include[@]}" -o "$tmp/abi" scripts/abi/abi.cpp 2>"$tmp/log"; then
    grep error "$tmp/log" | head -20 >&2
    if grep -q 'static assertion' "$tmp/log"; then echo "$name: mismatch"; else echo "$name: the headers cannot be compiled"; fi >&2
    exit 1
  fi
  # The stand-ins define cuDNN's, cuBLASLt's and NCCL's functions under NVIDIA's declarations.
  for f in cudnn cudnn_fused cublaslt nccl; do
    "${CC:-cc}" -std=gnu11 -Wall -Werror -DPOTSTILL_ABI "${include[@]}" -fsyntax-only cuda/fake/csrc/$f.c
  done
  "$tmp/abi" "$name"
}

constants | sort -u >"$tmp/constants.inc"

if [[ -n ${CUDA_HOME:-} ]]; then
  check "$CUDA_HOME" "$CUDA_HOME/include" ${CUDNN_HOME:+"$CUDNN_HOME/include"} ${NCCL_HOME:+"$NCCL_HOME/include"}
  exit
fi
[[ $# -gt 0 ]] || set -- 12 13
for version; do
  folders=$(fetch "$version")
  # shellcheck disable=SC2086 # one word a folder
  check "CUDA $version" $folders
done
