#!/usr/bin/env bash
# What methods of distillation bring on photographs: a resnet18 teaches cnn-dwpw, at 128 pixels.
#
#   scripts/distill_flowers.sh DATA [table]
#
#   DATA     photographs with training, validation and testing parts, a folder or an archive
#   table    what has been done so far and nothing more; validation is for choosing, testing for reporting
#
#   SEEDS    "1 2 3"; a seed is finished for all methods before the next begins, so that differences are paired
#   METHODS  "scratch kd kd-std dkd dist at reviewkd"; also simkd, whose student is larger
#   OUT      out/distilling/flowers; what is there already is not done again, and a run that was stopped is resumed
set -euo pipefail
case " $* " in
*" --help "* | *" -h "* | "  ")
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
data=$(realpath "$1") part=${2:-run}
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/distilling/flowers}")
seeds=${SEEDS:-1 2 3} methods=${METHODS:-scratch kd kd-std dkd dist at reviewkd}
cd "$(dirname "$0")/.."
potstill=${POTSTILL:-bin/potstill}
[[ -n ${POTSTILL:-} || $part == table ]] || go build -o "$potstill" ./cmd/potstill
mkdir -p "$out"

common=(--data "$data" --size 128 --resize 144 --batch 32 --schedule onecycle --lr 3e-3 --epochs "${EPOCHS:-40}")

# once DIR COMMAND FLAG... runs a training into its folder, once, or resumes it.
once() {
  local dir=$1 command=$2
  shift 2
  [[ -f $dir/testing.json ]] && return
  if [[ -f $dir/last.safetensors ]]; then
    "$potstill" "$command" --out "$dir" --resume
  else
    "$potstill" "$command" "${common[@]}" "$@" --out "$dir"
  fi
  local p
  for p in validation testing; do
    "$potstill" eval --model "$dir/last.safetensors" --data "$data" --split $p --json >"$dir/$p.part"
    mv "$dir/$p.part" "$dir/$p.json"
  done
}

if [[ $part != table ]]; then
  once "$out/teacher-0" train --arch resnet18 --seed 100
  for s in $seeds; do
    for m in $methods; do
      case $m in
      scratch) ;;
      kd) kd=kd:T=4,alpha=0.9 ;;
      kd-std) kd=kd:standardize,T=2,w=9+ce:w=0.1 ;;
      dkd) kd=dkd:alpha=1,beta=8,T=4,warmup=4 ;;
      dist) kd=dist:beta=1,gamma=1,T=4 ;;
      at) kd=at:w=1000 ;;
      reviewkd) kd=reviewkd:w=1,warmup=4 ;;
      simkd) kd=simkd ;;
      *)
        echo "there is no method $m" >&2
        exit 2
        ;;
      esac
      if [[ $m == scratch ]]; then
        once "$out/$m-$s" train --arch cnn-dwpw --seed "$s"
      else
        once "$out/$m-$s" distill --arch cnn-dwpw --teacher "$out/teacher-0/best.safetensors" --kd "$kd" --seed "$s"
      fi
    done
  done
fi
exec python3 scripts/distill_table.py "$out"
