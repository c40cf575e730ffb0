#!/usr/bin/env bash
# Makes the files of version 1 of the checkpoint format again, in
# layers/checkpoint/testdata/v1, distill/testdata/v1 and
# distill/study/testdata/v1: with the code of commit d4d651a, the last one before
# the format changed. Only the times in them differ from those committed.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=d4d651a
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive "$commit" | tar -x -C "$old"
cp scripts/golden_v1.go "$old/scripts/"
root=$PWD
cd "$old"
go run ./scripts/golden_v1.go "$root"
