#!/usr/bin/env bash
# Makes the archives of a release in dist/, and a file of their checksums:
#
#   scripts/release.sh [VERSION]      VERSION: what git describe says, if not given
#
#   potstill-VERSION-linux-amd64.tar.gz   C kernels through cgo, and the CUDA backend
#   potstill-VERSION-linux-arm64.tar.gz   the same where there is a C cross-compiler
#   potstill-VERSION-darwin-arm64.tar.gz  the plain Go engine, as are the next
#   potstill-VERSION-windows-amd64.zip
#
# The C compiler of this machine makes the archive of its own architecture; the
# other Linux one needs aarch64-linux-gnu-gcc or x86_64-linux-gnu-gcc. Where it is
# missing, the plain Go engine is built, the archive is called so, and a line says
# so. Two runs from the same source with the same tools give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="-trimpath -buildvcs=false"
version=${1:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
out=dist
mkdir -p "$out"
rm -f "$out"/potstill-* "$out"/SHA256SUMS
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# compiler ARCH: the C compiler for Linux on an architecture, or nothing.
compiler() {
  local own; own=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
  if [[ $own == "linux/$1" ]]; then
    command -v "$(go env CC)" || true
    return
  fi
  case $1 in
    amd64) command -v x86_64-linux-gnu-gcc || true ;;
    arm64) command -v aarch64-linux-gnu-gcc || true ;;
  esac
}

# archive OS ARCH CGO [CC]
archive() {
  local os=$1 arch=$2 cgo=$3 cc=${4:-}
  local name=potstill-$version-$os-$arch
  [[ $os == linux && $cgo == 0 ]] && name+=-purego
  local dir=$tmp/$name binary=potstill
  [[ $os == windows ]] && binary=potstill.exe
  mkdir -p "$dir"
  env GOOS="$os" GOARCH="$arch" CGO_ENABLED="$cgo" ${cc:+"CC=$cc"} go build -ldflags "-s -w -X main.version=$version" -o "$dir/$binary" ./cmd/potstill
  cp LICENSE README.md CHANGELOG.md "$dir/"
  cp engine/data/fashion/LICENSE "$dir/LICENSE.fashion-mnist"
  chmod -R u=rwX,go=rX "$dir"
  find "$dir" -exec touch -d @0 {} +
  if [[ $os == windows ]]; then
    (cd "$tmp" && TZ=UTC zip -qrX - "$name") >"$out/$name.zip"
  else
    tar -C "$tmp" --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -cf - "$name" | gzip -n9 >"$out/$name.tar.gz"
  fi
  echo "$name: cgo $cgo${cc:+ by $cc}"
}

for arch in amd64 arm64; do
  cc=$(compiler "$arch")
  if [[ -n $cc ]]; then
    archive linux "$arch" 1 "$cc"
  else
    echo "no C compiler for linux/$arch here: the plain Go engine is built, without CUDA" >&2
    archive linux "$arch" 0
  fi
done
archive darwin arm64 0
if command -v zip >/dev/null; then
  archive windows amd64 0
else
  echo "zip is not installed: no archive for Windows" >&2
fi
(cd "$out" && sha256sum potstill-* >SHA256SUMS && cat SHA256SUMS)
