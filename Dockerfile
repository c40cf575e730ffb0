# Potstill for the CPU. Build it in the repository's root, and mount the data:
#
#   docker build -t potstill .
#   docker run --rm -v "$PWD":/work potstill study run hw7-quick --out /work/out/demo
#
# It was written where there is no Docker, and has not been built yet.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=docker
RUN go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /potstill ./cmd/potstill

FROM debian:bookworm-slim
COPY --from=build /potstill /usr/local/bin/potstill
COPY LICENSE /usr/share/doc/potstill/LICENSE
# Without --user, what it writes into /work belongs to root.
ENV POTSTILL_CACHE=/tmp/potstill
WORKDIR /work
ENTRYPOINT ["potstill"]
