#!/usr/bin/env bash
# What methods of distillation bring on photographs: a resnet18 teaches cnn-dwpw, at 128 pixels.
#
#   scripts/distill_flowers.sh DATA [table]
#
#   DATA     photographs with training and validation parts, and testing if there is one, a folder or an archive
#   table    what has been done so far and nothing more
#
#   SEEDS      "1 2 3"; a seed is finished for all methods before the next begins, so that differences are paired
#   METHODS    "scratch kd kd-std dkd dist at rkd"; also reviewkd, which takes ten times as long as kd, simkd, whose
#              student is larger, and NAME=LOSS, as in dkd8=dkd:beta=8,T=4, with a loss of distill --kd; none: the teacher alone
#   EPOCHS     15, of each student; the teacher has 30
#   PRECISION  the teacher's: bfloat16, or int8, in which case it is quantized for kd, kd-std, dkd and dist; it is trained
#              in bfloat16, and teaches the other methods in bfloat16
#   OUT        out/distilling/flowers; what is there already is not done again, and a run that was stopped is resumed:
#              give another folder with other settings
#
# Settings are those of the losses' authors, but for dkd and dist, whose weights were chosen on other images
# (docs/distillation.md), and for the warmups, which are shorter here, as the runs are. Nothing is chosen here, so that
# validation is a fair measure where there is no testing part.
set -euo pipefail
case " $* " in
*" --help "* | *" -h "* | "  ")
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
data=$(realpath "$1") part=${2:-run}
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/distilling/flowers}")
seeds=${SEEDS:-1 2 3} methods=${METHODS-scratch kd kd-std dkd dist at rkd}
cd "$(dirname "$0")/.."
potstill=${POTSTILL:-bin/potstill}
[[ -n ${POTSTILL:-} || $part == table ]] || go build -o "$potstill" ./cmd/potstill
mkdir -p "$out"

precision=${PRECISION:-bfloat16}
[[ $precision == bfloat16 || $precision == int8 ]] || { echo "there is no precision $precision here: give bfloat16 or int8" >&2; exit 2; }
common=(--data "$data" --size 128 --resize 144 --batch 32 --schedule onecycle --lr 3e-3)
epochs=${EPOCHS:-15} teacher=$out/teacher-0/last.safetensors

# once DIR COMMAND FLAG... runs a training into its folder, once, or resumes it, and judges the last weights.
once() {
  local dir=$1 command=$2
  shift 2
  [[ -f $dir/validation.json ]] && return
  if [[ -f $dir/last.safetensors ]]; then
    "$potstill" "$command" --out "$dir" --resume
  else
    "$potstill" "$command" "${common[@]}" "$@" --out "$dir"
  fi
  local p
  for p in testing validation; do
    if "$potstill" eval --model "$dir/last.safetensors" --data "$data" --split $p --json >"$dir/$p.part" 2>"$dir/$p.err"; then
      mv "$dir/$p.part" "$dir/$p.json"
    elif [[ $p != testing ]] || ! grep -q "there are no testing images" "$dir/$p.err"; then
      cat "$dir/$p.err" >&2
      return 1
    fi
    rm -f "$dir/$p.part" "$dir/$p.err"
  done
}

if [[ $part != table ]]; then
  once "$out/teacher-0" train --arch resnet18 --epochs 30 --precision bfloat16 --seed 100
  [[ $precision != int8 || -f $out/teacher-int8.safetensors ]] ||
    "$potstill" quantize --model "$teacher" --scheme int8 --calibrate "$data" --images 1024 --out "$out/teacher-int8.safetensors"
  for s in $seeds; do
    for m in $methods; do
      teaches=(--teacher "$teacher" --teacher-precision bfloat16)
      case $m in
      scratch) ;;
      *=*) kd=${m#*=} ;;
      kd) kd=kd:T=4,alpha=0.9 ;;
      kd-std) kd=kd:standardize,T=2,w=9+ce:w=0.1 ;;
      dkd) kd=dkd:alpha=1,beta=1,T=4,warmup=2 ;;
      dist) kd=dist:beta=2,gamma=2,T=1 ;;
      at) kd=at:w=1000 ;;
      rkd) kd=rkd:distance=25,angle=50 ;;
      reviewkd) kd=reviewkd:w=1,warmup=4 ;;
      simkd) kd=simkd ;;
      *)
        echo "there is no method $m" >&2
        exit 2
        ;;
      esac
      case $precision:$m in
      int8:kd | int8:kd-std | int8:dkd | int8:dist)
        teaches=(--teacher "$out/teacher-int8.safetensors" --teacher-precision int8)
        ;;
      esac
      m=${m%%=*}
      if [[ $m == scratch ]]; then
        once "$out/$m-$s" train --arch cnn-dwpw --epochs "$epochs" --seed "$s"
      else
        once "$out/$m-$s" distill --arch cnn-dwpw --epochs "$epochs" "${teaches[@]}" --kd "$kd" --seed "$s"
      fi
    done
  done
fi
exec python3 scripts/distill_table.py "$out"
