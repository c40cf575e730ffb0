#!/usr/bin/env bash
# What quantization costs in accuracy, on CIFAR-10.
#
#   scripts/quantize_cifar.sh DATA IC01 IC02 [draws|nets|qat]
#
#   DATA         CIFAR-10 with training, validation and testing parts, a folder or an archive
#   IC01, IC02   MLPerf Tiny's two ResNet-8 as ONNX (ic01.onnx, ic02.onnx)
#
#   draws   both in int8, calibrated on five draws of 512 training images; IC02 with 4-bit weights by AdaRound
#   nets    mobilenet_v1 (0.25, ReLU6, at 64 pixels) and cnn-dwpw trained for 15 epochs; per tensor and per channel, plain and repaired
#   qat     both, 3 epochs of quantization-aware training at 8 bits and 6 at 4 bits
#
#   PYTHON  with onnxruntime==1.32.0, onnx and Pillow: ONNX Runtime's own quantization of the trained nets beside it
#   OUT     out/quantize; what is there already is not done again, and a training that was stopped is resumed
#
# Every table is of the testing part, on which nothing is chosen.
set -euo pipefail
case " $* " in
*" --help "* | *" -h "* | "  ")
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
data=$(realpath "$1") ic01=$(realpath "$2") ic02=$(realpath "$3") part=${4:-draws}
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/quantize}")
cd "$(dirname "$0")/.."
mkdir -p "$out"
potstill=${POTSTILL:-bin/potstill} paired=${PAIRED:-bin/paired}
[[ -n ${POTSTILL:-} ]] || go build -o "$potstill" ./cmd/potstill
[[ -n ${PAIRED:-} ]] || go build -o "$paired" ./scripts/paired

# quantized MODEL NAME FLAG... quantizes a model, once.
quantized() {
  local model=$1 to=$out/$2.safetensors
  shift 2
  [[ -f $to ]] || "$potstill" quantize --model "$model" --scheme int8 --calibrate "$data" --images 512 "$@" --out "$to" >"$to.log"
}

# judged NAME MODEL OTHER... compares on the testing images, once.
judged() {
  local name=$1
  shift
  [[ -f $out/$name.txt ]] || { "$paired" "$data" testing "$@" >"$out/$name.part" && mv "$out/$name.part" "$out/$name.txt"; }
  cat "$out/$name.txt"
}

# draws NAME MODEL FLAG... quantizes with five draws of images and judges them.
draws() {
  local name=$1 model=$2 s files=()
  shift 2
  for s in 1 2 3 4 5; do
    quantized "$model" "$name-$s" --seed "$s" "$@"
    files+=("$out/$name-$s.safetensors")
  done
  judged "$name" "$model" "${files[@]}"
}

# trained NAME FLAG... trains into a folder, once.
trained() {
  local name=$1
  shift
  if [[ ! -f $out/$name/done ]]; then
    if [[ -f $out/$name/last.safetensors ]]; then
      "$potstill" train --out "$out/$name" --resume
    else
      "$potstill" train --data "$data" "$@" --out "$out/$name"
    fi
    touch "$out/$name/done"
  fi
}

floats() {
  local common=(--epochs 15 --batch 128 --lr 0.1 --optimizer sgd --momentum 0.9 --nesterov --weight-decay 5e-4 --schedule cosine
    --warmup-epochs 1 --padding 4 --rotation 0)
  trained dwpw --arch cnn-dwpw --size 32 "${common[@]}"
  [[ -f $out/mbv1.yaml ]] || "$potstill" summary mobilenet_v1 --base 8 --classes 10 --yaml | sed 's/ReLU$/ReLU6/' >"$out/mbv1.yaml"
  trained mbv1 --arch "$out/mbv1.yaml" --resize 64 --size 64 "${common[@]}"
}

case $part in
draws)
  draws ic01-bias "$ic01" --correct-bias
  draws ic02-bias "$ic02" --correct-bias
  draws ic02-ada4 "$ic02" --bits 4 --adaround
  ;;
nets)
  floats
  for net in dwpw mbv1; do
    model=$out/$net/last.safetensors
    quantized "$model" $net-tensor --per-tensor
    quantized "$model" $net-tensor-repaired --per-tensor --equalize --correct-bias
    quantized "$model" $net-tensor-ada --per-tensor --equalize --adaround
    quantized "$model" $net-channel --correct-bias
    judged $net "$model" "$out"/$net-{tensor,tensor-repaired,tensor-ada,channel}.safetensors
    if [[ -n ${PYTHON:-} ]]; then
      size=32
      [[ $net == mbv1 ]] && size=64
      [[ -f $out/$net.onnx ]] || "$potstill" convert "$model" "$out/$net.onnx"
      for how in "" --per-channel; do
        "$PYTHON" scripts/quantize_ort.py "$out/$net.onnx" "$data" --size $size $how | tail -1
      done
    fi
  done
  ;;
qat)
  floats
  for net in dwpw mbv1; do
    tuned=(--qat --init "$out/$net/last.safetensors" --batch 128 --schedule cosine --padding 4 --rotation 0 --weight-decay 0)
    trained $net-qat8 "${tuned[@]}" --lr 1e-4 --epochs 3
    trained $net-qat4 "${tuned[@]}" --qat-bits 4 --lr 5e-4 --epochs 6
    judged $net-qat "$out/$net/last.safetensors" "$out"/$net-qat{8,4}/best.safetensors
  done
  ;;
*)
  echo "there is no part $part: give draws, nets or qat" >&2
  exit 2
  ;;
esac
