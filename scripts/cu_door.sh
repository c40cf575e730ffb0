#!/usr/bin/env bash
# Compiles bridge/cu, the door to gorgonia.org/cu, against CUDA 12's headers, and
# runs its tests over the stand-ins of cuda/fake, with the real gorgonia.org/cu.
# Neither CUDA nor a card is needed.
#
#   scripts/cu_door.sh                            headers from PyPI, 35 MB on disk
#   CUDA_HOME=/usr/local/cuda scripts/cu_door.sh  those there
#   POTSTILL_TEST_CUDA=1 scripts/cu_door.sh        the tests on a card too
#
# With ABI_DIR set to a folder, the headers stay there for the next time, and those
# of scripts/abi.sh are used if they are there. Needs Go, cc (CC), nm; for the
# download python3 (PYTHON) with venv. It ends with a line that says what was checked.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
cc=${CC:-cc}

# headers: prints the folder of cuda.h
headers() {
  if [[ -n ${CUDA_HOME:-} ]]; then
    echo "$CUDA_HOME/include"
    return
  fi
  local dir=${ABI_DIR:-$tmp} env=""
  for env in "$dir/cuda12" "$dir/cuda12-driver"; do
    [[ -e $env/complete ]] && break
  done
  if [[ ! -e $env/complete ]]; then
    "${PYTHON:-python3}" -m venv "$env" >&2
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: nvidia-cuda-runtime-cu12 >&2
    touch "$env/complete"
  fi
  dirname "$env"/lib/python3*/site-packages/nvidia/cuda_runtime/include/cuda.h
}

# stub FILE NAME...: a libcuda.so.1 whose functions return CUDA_ERROR_NOT_SUPPORTED
stub() {
  local file=$1
  shift
  sed 's/.*/int &(void) { return 801; }/' >"$tmp/stub.c"
  "$cc" -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$file" "$tmp/stub.c" "$@"
}

include=$(headers)
version=$(awk '$2 == "CUDA_VERSION" { print $3 }' "$include/cuda.h")
if ((version < 12000 || version >= 13000)); then
  echo "cu_door.sh: $include/cuda.h is of CUDA $((version / 1000)), gorgonia.org/cu v0.9.6 compiles with that of CUDA 12" >&2
  exit 2
fi

# What is linked against has every function of the header. What runs is the
# stand-in, behind a library that adds the functions that it lacks.
mkdir -p "$tmp/link" "$tmp/run" "$tmp/fake"
echo '#include <cuda.h>' | "$cc" -E -P -I"$include" - | tr '\n' ' ' | grep -oE '\bCUresult +cu[A-Z][A-Za-z0-9_]*' | awk '{ print $2 }' | sort -u >"$tmp/names"
stub "$tmp/link/libcuda.so" <"$tmp/names"
go run ./scripts/cu_door "$tmp/fake"
nm -D --defined-only "$tmp/fake/libcuda.so.1" | awk '{ print $3 }' | sort -u >"$tmp/has"
comm -23 "$tmp/names" "$tmp/has" | stub "$tmp/run/libcuda.so.1" -Wl,--no-as-needed "$tmp/fake/libcuda.so.1" -Wl,-rpath,"$tmp/run"
ln -s ../fake/libcuda.so.1 "$tmp/run/fake-libcuda.so.1" # as the stand-in calls itself

export CGO_ENABLED=1 CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} -I$include" CGO_LDFLAGS="${CGO_LDFLAGS:-} -L$tmp/link"
cd bridge/cu
go vet ./...
go build ./...
go test -c -o "$tmp/door.test" .
checked="CUDA $((version / 1000)).$((version % 1000 / 10)): bridge/cu with gorgonia.org/cu $(go list -m -f '{{.Version}}' gorgonia.org/cu): vet, build, test -c"

# run NAME [VARIABLE=VALUE...]: runs the tests and adds them to what was checked
run() {
  local name=$1
  shift
  if ! env "$@" "$tmp/door.test" -test.v >"$tmp/log" 2>&1; then
    cat "$tmp/log" >&2
    echo "cu_door.sh: the tests fail on $name" >&2
    exit 1
  fi
  checked+=", $(grep -c '^--- PASS' "$tmp/log") tests on $name"
  if grep -q '^--- SKIP' "$tmp/log"; then checked+=" ($(grep -c '^--- SKIP' "$tmp/log") skipped)"; fi
}
run "cuda/fake" LD_LIBRARY_PATH="$tmp/run" POTSTILL_CUDA_PATH="$tmp/fake"
run "cuda/fake with a lazy queue" LD_LIBRARY_PATH="$tmp/run" POTSTILL_CUDA_PATH="$tmp/fake" FAKE_QUEUE=lazy
if [[ ${POTSTILL_TEST_CUDA:-} == 1 ]]; then run "the card"; else checked+="; no card"; fi
echo "$checked"
