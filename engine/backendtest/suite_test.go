package backendtest

import (
	"testing"

	"github.com/potstill/potstill/engine/ref"
)

// TestRef holds the reference backend to itself: float32 outside, float64 inside.
func TestRef(t *testing.T) { Run(t, ref.New()) }

// TestRefWithoutFusion runs what a backend without fused operators must have.
func TestRefWithoutFusion(t *testing.T) {
	if testing.Short() {
		t.Skip("a second run of the whole suite")
	}
	Run(t, ref.New(ref.WithoutFusion()))
}
