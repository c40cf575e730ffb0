#!/usr/bin/env bash
# Runs go test with the arguments given, shows a line a package, then what was
# skipped and why, and of what failed everything.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -v -timeout 30m "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|panic:)|\[build failed\]'
status=${PIPESTATUS[0]}
awk '
  /^=== (RUN|NAME|CONT)/          { test = $3 }
  /^ +[A-Za-z0-9_]+\.go:[0-9]+: / { sub(/^ +[^ ]+ /, ""); reason[test] = $0 }
  /^ *--- SKIP: /                 { print "skipped " $3 ": " reason[$3]; skipped++ }
  /^ *--- PASS: /                 { passed++ }
  /^ *--- FAIL: /                 { failed++ }
  END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }
' "$log"
if [[ $status -ne 0 ]]; then
  grep -vE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP))|^(ok|PASS)' "$log"
fi
exit "$status"
