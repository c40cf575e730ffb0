#!/usr/bin/env bash
# Makes layers/checkpoint/builtin/fashion-resnet18.safetensors, the built-in teacher of the study's quick form: a
# ResNet-18 of a quarter of the width, trained on the images of Fashion-MNIST that builtin:fashion does not hold, from
# Debian's package dataset-fashion-mnist. About 15 minutes of one core.
#
#   scripts/fashion_teacher.sh            download the package and unpack it
#   scripts/fashion_teacher.sh DIR        use the four idx.gz files in DIR
#
#   OUT      out/fashion-teacher; a run that was stopped is resumed
#   THREADS  1; results do not depend on it
set -euo pipefail
case " $* " in
*" --help "* | *" -h "*)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
dir=${1:+$(realpath "$1")} out=$(realpath -m "${OUT:-$(dirname "$0")/../out/fashion-teacher}")
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [[ -z $dir ]]; then
  chmod 755 "$tmp"
  (cd "$tmp" && apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb .)
  dir=$tmp/usr/share/datasets/fashion-mnist
fi
go build -o bin/potstill ./cmd/potstill
mkdir -p "$out"
go run ./scripts/fashion rest "$dir" "$out/images"
if [[ -f $out/run/last.safetensors ]]; then
  bin/potstill train --out "$out/run" --resume
else
  bin/potstill train --data "$out/images" --gray --size 56 --resize 56 --arch resnet18 --base 16 --epochs 15 --batch 64 \
    --optimizer adamw --lr 4e-3 --weight-decay 0.1 --schedule onecycle --padding 4 --rotation 0 --flip 0.5 \
    --threads "${THREADS:-1}" --seed 1 --out "$out/run"
fi
bin/potstill quantize --model "$out/run/best.safetensors" --scheme float16 --out layers/checkpoint/builtin/fashion-resnet18.safetensors
