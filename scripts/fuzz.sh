#!/usr/bin/env bash
# Fuzzes every Fuzz function of the module for FUZZTIME each (default 10s).
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz PACKAGE TARGET: go test now and then fails at the end of the time with
# "context deadline exceeded" and nothing else; a finding has an
# input, which it names ("Failing input written to"), or a seed's own message.
fuzz() {
  local status=0
  go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 1x </dev/null 2>&1 | tee "$log" || status=$?
  ((status == 0)) && return
  if sed -n '/^--- FAIL/,$p' "$log" | grep -vE '^(--- FAIL: .*|    context deadline exceeded|FAIL.*|exit status 1)$' | grep -q . ||
    ! grep -q '^    context deadline exceeded$' "$log"; then
    return "$status"
  fi
  echo "(the time was over in the middle of an input, which go test takes for a failure; nothing was found)"
}

grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
  for f in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file"); do
    echo "-- $f in $(dirname "$file")"
    fuzz "$(dirname "$file")" "$f"
  done
done
