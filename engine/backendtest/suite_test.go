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

// TestNoCaseIsLost shows that every case runs somewhere: the zero Suite, which
// TestRef and the CPU's tests run, has them all, and an interpreted one lacks
// those alone that say why, and has others of the same operator.
func TestNoCaseIsLost(t *testing.T) {
	_, all := suite()
	_, run := Suite{}.cases()
	_, few := Suite{Interpreted: true}.cases()
	left := 0
	for stem, cases := range all {
		if len(run[stem]) != len(cases) {
			t.Errorf("%s: the zero Suite has %d of %d cases", stem, len(run[stem]), len(cases))
		}
		have := make(map[string]bool)
		for _, c := range few[stem] {
			have[c.label] = true
		}
		if len(have) == 0 {
			t.Errorf("%s: an interpreted backend runs no case", stem)
		}
		for _, c := range cases {
			if have[c.label] == (c.compiled != "") {
				t.Errorf("%s/%s: run by an interpreted backend: %v, which is told %q", stem, c.label, have[c.label], c.compiled)
			}
			if !have[c.label] {
				left++
			}
		}
	}
	if left == 0 {
		t.Error("an interpreted backend leaves nothing out")
	}
}
