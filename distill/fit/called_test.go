package fit

import (
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestCalled has no empty brackets behind the name of a net of one's own.
func TestCalled(t *testing.T) {
	for want, a := range map[string]layers.Arch{
		"mine":                 {Family: "mine", Classes: 3},
		"a net without a name": {Classes: 3},
		"cnn-plain [4 8]":      {Family: "cnn-plain", Widths: []int{4, 8}},
	} {
		if got := called(a); got != want {
			t.Errorf("%+v is called %q, want %q", a, got, want)
		}
	}
}
