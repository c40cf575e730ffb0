#!/usr/bin/env bash
# Everything that needs a GPU, in one call of at most eight minutes, on a machine
# that needs no Go.
#
#   scripts/gpu.sh build              where there is Go: builds what the runs need into bin/gpu (about 45 MB)
#   scripts/gpu.sh [FLAG...] [PART...]  where there is a card; --help names the parts and the flags
#   scripts/gpu.sh rehearse [PART...] where there is Go: all of it through the stand-ins of cuda/fake, with small shapes
#
# Three files in OUT (bin/gpu/out by default) are whole after every part, so that
# they survive a kill: summary.txt, results.json, logs.txt. At most 10,000
# characters are printed, the verdicts last. Exit status 1 if a part failed.
#
#   OUT     where the three files go
#   PYTHON  a Python with PyTorch for CUDA; python3 by default. Without it the comparison is left out.
#
# compute-sanitizer and ncu are looked for on PATH and in /usr/local/cuda/bin.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=bin/gpu
build() {
  mkdir -p $bin
  go build -ldflags "-s -w -X main.version=$(git describe --always --dirty 2>/dev/null || echo unknown)" -o $bin/potstill ./cmd/potstill
  go test -c -ldflags "-s -w" -o $bin/gpu.test ./engine/gpu
  go build -ldflags "-s -w" -o $bin/visit ./scripts/gpu
}
case ${1:-} in
-h | --help)
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' scripts/gpu.sh
  [[ -x $bin/visit ]] && $bin/visit -h 2>&1
  exit 0
  ;;
build)
  build
  ls -l $bin
  exit
  ;;
rehearse)
  shift
  build
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  go run ./scripts/cu_door "$tmp/fake"
  POTSTILL_CUDA_PATH=$tmp/fake XDG_CACHE_HOME=$tmp/cache $bin/visit -rehearsal -bin $bin -out "${OUT:-$tmp/out}" -python "${PYTHON:-python3}" "$@"
  exit
  ;;
esac
[[ -x $bin/visit ]] || { echo "gpu.sh: there is no $bin/visit; run scripts/gpu.sh build where there is Go" >&2; exit 2; }
exec $bin/visit -bin $bin -out "${OUT:-$bin/out}" -python "${PYTHON:-python3}" "$@"
