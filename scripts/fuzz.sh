#!/usr/bin/env bash
# Fuzzes every Fuzz function of the module for FUZZTIME each (default 10s).
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
  for f in $(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file"); do
    echo "-- $f in $(dirname "$file")"
    go test "$(dirname "$file")" -run '^$' -fuzz "^$f\$" -fuzztime "${FUZZTIME:-10s}" -fuzzminimizetime 1x </dev/null
  done
done
