#!/usr/bin/env bash
# Everything that needs a GPU, in one command, on a machine that needs no Go.
#
#   scripts/gpu.sh build               where there is Go: builds what the runs need into bin/gpu
#   scripts/gpu.sh [PART...] [--quick] where there is a card: runs the parts, and prints short tables last
#
# Parts, all of them if none is named, in this order:
#   devices   what there is
#   suite     the backend suite on the card: our kernels, what --deterministic chooses, every deterministic candidate of cuDNN and cuBLASLt
#   sanitize  compute-sanitizer (memcheck, racecheck, synccheck, initcheck) over the suite with our kernels
#   study     the quick study, start to end
#   kernels   every kernel of the study's nets: time, part of the card's limit, error, and the CPU beside it
#   train     images a second of training, inference and distillation, and PyTorch at its best in the same run
#   resident  distillation from the command line at 128 px, reading and augmentation included
#
#   OUT     where whole outputs go; bin/gpu/out by default
#   PYTHON  a Python with PyTorch for CUDA; python3 by default. Without it the comparison is left out, with a line.
#
# compute-sanitizer is looked for on PATH and in /usr/local/cuda/bin. Exit status 1 if any part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=bin/gpu
case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' scripts/gpu.sh
  exit
  ;;
build)
  set -e
  mkdir -p $bin
  go build -ldflags "-s -w -X main.version=$(git describe --always --dirty 2>/dev/null || echo unknown)" -o $bin/potstill ./cmd/potstill
  go test -c -ldflags "-s -w" -o $bin/gpu.test ./engine/gpu
  ls -l $bin
  exit
  ;;
esac
for f in potstill gpu.test; do
  [[ -x $bin/$f ]] || { echo "gpu.sh: there is no $bin/$f; run scripts/gpu.sh build where there is Go" >&2; exit 2; }
done

quick= parts=()
for a in "$@"; do
  case $a in
  --quick) quick=1 ;;
  devices | suite | sanitize | study | kernels | train | resident) parts+=("$a") ;;
  *) echo "gpu.sh: there is no part $a; see scripts/gpu.sh --help" >&2; exit 2 ;;
  esac
done
((${#parts[@]})) || parts=(devices suite sanitize study kernels train resident)
out=${OUT:-$bin/out}
mkdir -p "$out"
python=${PYTHON:-python3}
export POTSTILL_TEST_CUDA=1
summary=$out/summary.txt
: >"$summary"
failed=0

# say TEXT...: a line now and in the summary
say() { echo "$*" | tee -a "$summary"; }

# part NAME COMMAND...: runs it, its output in a file, and notes how it went
part() {
  local name=$1 begin=$SECONDS status=0
  shift
  echo "== $name: $*"
  "$@" >"$out/$name.txt" 2>&1 || status=$?
  if ((status)); then
    failed=1
    say "$name: FAILED (status $status, $((SECONDS - begin)) s); the end of $out/$name.txt:"
    tail -n 15 "$out/$name.txt" | tee -a "$summary"
  else
    say "$name: ok ($((SECONDS - begin)) s)"
  fi
  return $status
}

# counts FILE: passes, failures and skips of go test -v
counts() {
  say "  $(grep -c -- '--- PASS' "$1") passed, $(grep -c -- '--- FAIL' "$1") failed, $(grep -c -- '--- SKIP' "$1") skipped"
  grep -- '--- FAIL' "$1" | head -n 8 | tee -a "$summary"
}

run_devices() {
  part devices $bin/potstill devices
  cat "$out/devices.txt" | tee -a "$summary"
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit --format=csv | tee -a "$summary"
}

run_suite() {
  for s in ours chosen libraries; do
    part "suite-$s" $bin/gpu.test -test.run "TestSuite/device/$s" -test.v -test.timeout 9m
    counts "$out/suite-$s.txt"
  done
}

run_sanitize() {
  local tool
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [[ ! -x $tool ]]; then
    say "sanitize: left out, there is no compute-sanitizer"
    return
  fi
  # memcheck over everything; the slower tools over the kernels that share memory or synchronise
  local all='TestSuite/device/ours' few='TestSuite/device/ours/(Conv2D|Conv2DBackwardWeight|BatchNormAct|ClipScale|CrossEntropy|Flatten)'
  part sanitize-memcheck "$tool" --tool memcheck --leak-check full --error-exitcode 9 $bin/gpu.test -test.run "$all" -test.timeout 9m
  grep -E 'ERROR SUMMARY|LEAK SUMMARY' "$out/sanitize-memcheck.txt" | tail -n 2 | tee -a "$summary"
  [[ $quick ]] && return
  for t in racecheck synccheck initcheck; do
    part "sanitize-$t" "$tool" --tool $t --error-exitcode 9 $bin/gpu.test -test.run "$few" -test.timeout 9m
    grep -E 'SUMMARY' "$out/sanitize-$t.txt" | tail -n 1 | tee -a "$summary"
  done
}

run_study() {
  part study $bin/potstill study run hw7-quick --device cuda:0 --out "$out/study"
  tail -n 40 "$out/study.txt" | tee -a "$summary"
}

run_kernels() {
  for p in float32 bfloat16; do
    part "kernels-$p" $bin/potstill bench kernels --device cuda:0 --against cpu --check --precision $p --time 500ms --arch cnn-dwpw,cnn-group,resnet18 --size 128 --batch 256 ||
      continue
    head -n 2 "$out/kernels-$p.txt" | tee -a "$summary"
    grep -E '^(Conv2D|BatchNormAct).*' "$out/kernels-$p.txt" | tee -a "$summary"
  done
}

run_train() {
  for shape in "256 128" "32 256"; do
    read -r batch size <<<"$shape"
    for p in float32 bfloat16; do
      part "train-$p-$batch-$size" $bin/potstill bench train --device cuda:0 --precision $p --batch "$batch" --size "$size" --arch cnn-dwpw,resnet18
      cat "$out/train-$p-$batch-$size.txt" | tee -a "$summary"
    done
  done
  if "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    part pytorch "$python" scripts/bench_gpu.py --potstill $bin/potstill ${quick:+--quick}
    cat "$out/pytorch.txt" | tee -a "$summary"
  else
    say "pytorch: left out, $python has no torch that sees the card"
  fi
}

run_resident() {
  local common=(--device cuda:0 --data builtin:fashion --size 128 --batch 256 --precision bfloat16)
  part teacher $bin/potstill train --arch resnet18 "${common[@]}" --epochs 1 --out "$out/teacher" || return
  part resident $bin/potstill distill --arch cnn-dwpw --teacher "$out/teacher/best.safetensors" "${common[@]}" --epochs 10 --out "$out/student" || return
  # images a second of the last epoch, the pipeline included; what 150 epochs of 9,866 images take at that rate
  grep -Eo '[0-9]+ images/s' "$out/resident.txt" | tail -n 1 | tee -a "$summary" |
    awk '{printf "150 epochs of 9,866 images at this rate: %.1f s\n", 150 * 9866 / $1}' | tee -a "$summary"
}

for p in "${parts[@]}"; do "run_$p"; done
echo
echo "==== summary ($out/summary.txt; $(date -u +%F), $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || echo 'no nvidia-smi')) ===="
cat "$summary"
exit $failed
