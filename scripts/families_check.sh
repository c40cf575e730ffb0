#!/usr/bin/env bash
# Holds the full-size families to PyTorch (logits, the gradients of one training
# step, how tensors start) and their ONNX exports to ONNX Runtime: see
# scripts/families_check.py for what is compared, and how close it has to be.
#
#   scripts/families_check.sh              all families; takes minutes and 8 GB of memory
#   scripts/families_check.sh FAMILY…      these
#
#   PYTHON  a Python with torch, torchvision, safetensors and onnxruntime, python3 by default
#   OUT     where files lie meanwhile, out/families by default
set -euo pipefail
case " $* " in
*" --help "* | *" -h "*)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/families}")
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
go build -o bin/families_check ./scripts/families_check
exec "${PYTHON:-python3}" scripts/families_check.py bin/families_check "$out" "$@"
