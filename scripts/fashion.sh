#!/bin/sh
# Makes engine/data/fashion/fashion.gz, the subset of Fashion-MNIST that is
# embedded as builtin:fashion, from Debian's package dataset-fashion-mnist.
# Deterministic: the same package gives the same file.
#
#   scripts/fashion.sh            download the package and unpack it
#   scripts/fashion.sh DIR        use the four idx.gz files in DIR
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
	dir=$1
else
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT INT TERM
	chmod 755 "$tmp"
	(cd "$tmp" && apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb .)
	dir=$tmp/usr/share/datasets/fashion-mnist
fi
go run ./scripts/fashion builtin "$dir" engine/data/fashion/fashion.gz
