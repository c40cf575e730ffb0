#!/usr/bin/env bash
# What is lost when MLPerf Tiny's ResNet-8 is cut to half its multiply-adds, on CIFAR-10.
#
#   scripts/prune_cifar.sh DATA TEACHER [dense|main|criteria|table]
#
#   DATA     CIFAR-10 with training, validation and testing parts, a folder or an archive
#   TEACHER  a model that teaches all of them, such as MLPerf Tiny's larger ResNet-8 (ic02.onnx)
#
#   dense     SEEDS nets trained for 40 epochs, which main and criteria begin with
#   main      SEEDS nets trained for 40 epochs; each cut to half by channels and by low rank, and tuned for 15 epochs with the
#             same teacher, beside the whole net tuned for the same 15 epochs
#   criteria  one dense net, cut to half by CRITERIA, compared within layers and across the net (RANKS), tuned for 10 epochs on
#             10,000 images, with SEEDS seeds of the tuning
#   table     what has been done so far; validation is for choosing, testing for reporting
#
#   SEEDS                "1 2 3"
#   PRECISION            the teacher's: float32, bfloat16, or int8 where TEACHER is in integers (quantize --scheme int8)
#   CRITERION, RANK      of main: l2, global, the best on validation of "criteria"
#   FORM                 of main's low rank: spatial, the best on validation of those tried
#   LR                   0.02, of the tuning; another one is named in what it makes
#   KINDS                of main: "pruned lowrank dense-tuned"
#   CRITERIA, RANKS      of criteria: "l1 l2 bn-scale fpgm lamp taylor hessian activation random", "local global"
#   OUT                  out/prune-cifar; what is there already is not done again, and a run that was stopped is resumed. With
#                        another teacher, or another precision of it, give another folder
set -euo pipefail
case " $* " in
*" --help "* | *" -h "* | "  ")
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit
  ;;
esac
data=$(realpath "$1") teacher=$(realpath "$2") part=${3:-main}
out=$(realpath -m "${OUT:-$(dirname "$0")/../out/prune-cifar}")
seeds=${SEEDS:-1 2 3} lr=${LR:-0.02} criterion=${CRITERION:-l2} rank=${RANK:-global} form=${FORM:-spatial} kinds=${KINDS:-pruned lowrank dense-tuned}
criteria=${CRITERIA:-l1 l2 bn-scale fpgm lamp taylor hessian activation random} ranks=${RANKS:-local global}
cd "$(dirname "$0")/.."
potstill=${POTSTILL:-bin/potstill}
[[ -n ${POTSTILL:-} ]] || go build -o "$potstill" ./cmd/potstill
mkdir -p "$out"

common=(--teacher "$teacher" --teacher-precision "${PRECISION:-float32}" --data "$data" --size 32 --T 4 --alpha 0.9 --batch 128 --padding 4 --rotation 0
  --optimizer sgd --momentum 0.9 --nesterov --weight-decay 5e-4 --schedule cosine)

# train NAME FLAG... runs distill into its folder, once, and judges the last weights on both parts.
train() {
  local name=$1 dir=$out/$1
  shift
  [[ -f $dir/testing.json ]] && return
  if [[ -f $dir/last.safetensors ]]; then
    "$potstill" distill --out "$dir" --resume
  else
    "$potstill" distill "${common[@]}" "$@" --out "$dir"
  fi
  local p
  for p in validation testing; do
    "$potstill" eval --model "$dir/last.safetensors" --data "$data" --split $p --json >"$dir/$p.part"
    mv "$dir/$p.part" "$dir/$p.json"
  done
}

# tune NAME SEED FILE FLAG... trains a cut net on.
tune() {
  local name=$1 seed=$2 file=$3
  shift 3
  [[ $lr == 0.02 ]] || name+=-lr$lr
  train "$name-$seed" --init "$file" --lr "$lr" --seed "$seed" "$@"
}

# halve SEED FILE COMMAND... leaves half of the multiply-adds of the dense net in FILE.
halve() { "$potstill" "${@:3}" --model "$out/dense-$1/last.safetensors" --macs 0.5 --out "$2"; }

# whole SEED is the dense net.
whole() { train "dense-$1" --arch mlperf_resnet8 --epochs 40 --warmup-epochs 1 --lr 0.1 --seed "$1"; }

case $part in
dense) for s in $seeds; do whole "$s"; done ;;
main)
  for s in $seeds; do
    whole "$s"
    for kind in $kinds; do
      name=$kind # with the settings that it depends on
      case $kind in
      pruned) name+=-$criterion-$rank how=(prune --criterion "$criterion" --rank "$rank") ;;
      lowrank) name+=-$form how=(factorize --untimed --form "$form") ;;
      esac
      cut=$out/$name-$s.safetensors
      if [[ $kind == dense-tuned ]]; then cut=$out/dense-$s/last.safetensors; fi
      [[ -f $cut ]] || halve "$s" "$cut" "${how[@]}"
      tune "$name" "$s" "$cut" --epochs 15
    done
  done
  ;;
criteria)
  whole 1
  for c in $criteria; do
    data_of=()
    case $c in taylor | hessian | activation) data_of=(--data "$data") ;; esac
    for r in $ranks; do
      cut=$out/$c-$r.safetensors
      [[ -f $cut ]] || halve 1 "$cut" prune --criterion "$c" --rank "$r" "${data_of[@]}"
      for s in $seeds; do
        tune "$c-$r" "$s" "$cut" --epochs 10 --limit 10000
      done
    done
  done
  ;;
table) ;;
*)
  echo "there is no part $part: give dense, main, criteria or table" >&2
  exit 2
  ;;
esac

python3 - "$out" <<'EOF'
import collections, glob, json, os, statistics, sys

runs = collections.defaultdict(lambda: collections.defaultdict(list))
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*", "testing.json"))):
    name, _, seed = os.path.basename(os.path.dirname(path)).rpartition("-")
    for part in ("validation", "testing"):
        with open(os.path.join(os.path.dirname(path), part + ".json")) as f:
            runs[name][part].append(100 * json.load(f)["top1"])
print(f"{'net':<20} {'seeds':>5}  {'validation':>16}  {'testing':>16}")
for name, parts in runs.items():
    cells = [f"{statistics.mean(a):6.2f} ± {statistics.stdev(a) if len(a) > 1 else 0:.2f} %" for a in parts.values()]
    print(f"{name:<20} {len(parts['testing']):>5}  {cells[0]:>16}  {cells[1]:>16}")
EOF
