#!/usr/bin/env bash
# Makes the committed goldens again, with PyTorch as the oracle. PYTHON must
# have torch, torchvision and safetensors; nothing else of Potstill needs it.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
for script in golden golden_activations golden_pads golden_data golden_train golden_formats; do
  echo "== scripts/$script.py"
  "$PYTHON" "scripts/$script.py"
done
