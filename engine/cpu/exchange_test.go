package cpu_test

import (
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/cpu"
)

func TestPeers(t *testing.T) {
	backendtest.RunPeers(t, func() (engine.Backend, error) { return cpu.New(cpu.Options{Threads: 1}) })
}

func TestSyncBatchNorm(t *testing.T) {
	backendtest.RunSync(t, func() (engine.Backend, error) { return cpu.New(cpu.Options{Threads: 2}) })
}
