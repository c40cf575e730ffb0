#!/usr/bin/env bash
# Runs go test with the arguments given, without vet, which `make lint` runs, shows a line a package, then what was
# skipped and why, which tests took longest, and of what failed everything.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -vet=off -v -timeout 30m "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|panic:)|\[build failed\]'
status=${PIPESTATUS[0]}
awk '
  /^=== (RUN|NAME|CONT)/          { test = $3 }
  /^ +[A-Za-z0-9_]+\.go:[0-9]+: / { sub(/^ +[^ ]+ /, ""); reason[test] = $0 }
  /^ *--- SKIP: /                 { print "skipped " $3 ": " reason[$3]; skipped++ }
  /^ *--- PASS: /                 { passed++ }
  /^ *--- FAIL: /                 { failed++ }
  END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
' "$log"
echo "the longest: $(sed -nE 's/^--- PASS: ([^ ]+) \(([0-9.]+)s\)$/\2 \1/p' "$log" | sort -rn | head -8 | awk '{ printf "%s%s %d s", (NR > 1 ? ", " : ""), $2, $1 }')"
if [[ $status -ne 0 ]]; then
  grep -vE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP))|^(ok|PASS)' "$log"
fi
exit "$status"
