# Potstill needs Go and gcc (or clang), nothing else. See README.md.

GO       ?= go
BIN      := bin/potstill
OUT      ?= out/demo
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build demo test check lint race purego fuzz bridge bench golden clean

build: ## the command, bin/potstill
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/potstill

demo: build ## the whole study on built-in pictures, a few minutes; ends with the report's path
	$(BIN) study run hw7-quick --out $(OUT)

test: ## every test; what is skipped says why
	scripts/test.sh ./engine/gpu ./cmd/potstill ./engine/cpu ./... # the longest first, so that nothing waits for them at the end

check: lint purego race fuzz bridge ## what .ci/run does besides the tests and scripts/cu_door.sh

lint: ## format, vet, staticcheck, tidy modules, the nested ones too
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff
	cd bridge/gorgonia && $(GO) mod tidy -diff
	cd bridge/cu && $(GO) mod tidy -diff

purego: ## the tests without cgo: the plain Go engine
	CGO_ENABLED=0 scripts/test.sh ./...

race: ## the race detector over what is concurrent
	$(GO) test -race -run 'Threads|Plan|Chains' ./engine/cpu # its suite is of kernels, which the detector does not see
	$(GO) test -race -timeout 30m ./engine/data ./engine/train ./distill/study

FUZZTIME ?= 10s
fuzz: ## a short fuzz of every reader of files
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

bridge: ## the nested module that joins Gorgonia
	cd bridge/gorgonia && $(GO) vet ./... && $(GO) test ./...

bench: ## a training step and an inference, per family and size of picture
	$(GO) test ./layers -run '^$$' -bench Step

golden: ## makes the PyTorch goldens again; needs PYTHON with torch, torchvision, safetensors
	scripts/golden.sh

clean:
	rm -rf bin out
