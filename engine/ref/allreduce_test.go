package ref_test

import (
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/ref"
)

func TestPeers(t *testing.T) {
	backendtest.RunPeers(t, func() (engine.Backend, error) { return ref.New(), nil })
}

func TestSyncBatchNorm(t *testing.T) {
	backendtest.RunSync(t, func() (engine.Backend, error) { return ref.New(), nil })
}
