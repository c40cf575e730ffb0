#!/usr/bin/env bash
# Holds the ONNX export to ONNX's checker and to ONNX Runtime: random nets of
# families, full and pruned, and nets that are trained for a few epochs on
# builtin:fashion, in float32, in 8-bit weights and in 8 bits throughout.
#
#   scripts/onnx_check.sh                      all of that
#   scripts/onnx_check.sh MODEL DATA [IMAGES]  a model of yours on its validation images
#   scripts/onnx_check.sh --golden             makes the committed numbers again:
#                                              layers/checkpoint/onnx/testdata
#
#   PYTHON              a Python with onnx, onnxruntime and numpy; without it one is made
#                       (pip's own settings, such as PIP_INDEX_URL, choose where from)
#   POTSTILL_ONNX_VENV  where that one is, ~/.cache/potstill/onnx-venv by default
#   OUT                 where the files go, out/onnx by default
set -euo pipefail
case " $* " in
*" --help "* | *" -h "*)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
files=()
for f in "$@"; do # paths are the caller's
  if [[ -e $f ]]; then f=$(realpath "$f"); fi
  files+=("$f")
done
set -- ${files[@]+"${files[@]}"}
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/onnx}")
cd "$(dirname "$0")/.."

if [[ -z ${PYTHON:-} ]]; then
  venv=${POTSTILL_ONNX_VENV:-$HOME/.cache/potstill/onnx-venv}
  PYTHON=$venv/bin/python
  if [[ ! -x $PYTHON ]]; then
    echo "making $venv" >&2
    python3 -m venv "$venv"
  fi
  if ! "$PYTHON" -c 'import onnx, onnxruntime, numpy' 2>/dev/null; then
    "$PYTHON" -m pip install --upgrade onnx onnxruntime numpy >&2
  fi
fi
export PYTHONDONTWRITEBYTECODE=1

if [[ ${1:-} == --golden ]]; then
  testdata=layers/checkpoint/onnx/testdata
  go test ./layers/checkpoint/onnx -run TestGolden -count 1 -update
  exec "$PYTHON" scripts/onnx_check.py --golden "$testdata"
fi

mkdir -p "$out"
rm -f "$out"/*.onnx "$out"/*.safetensors
if [[ $# -gt 0 ]]; then
  go run ./scripts/onnx_check "$out" model "$@"
else
  go build -o bin/potstill ./cmd/potstill
  go run ./scripts/onnx_check "$out"
  for arch in cnn-dwpw resnet18; do
    bin/potstill train --arch "$arch" --base 16 --data builtin:fashion --epochs 6 --out "$out/$arch" >&2
    go run ./scripts/onnx_check "$out" "fashion-$arch" "$out/$arch/best.safetensors" builtin:fashion 1000
  done
fi
exec "$PYTHON" scripts/onnx_check.py "$out"
