package fit

import (
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestResumeSaysWhatDiffers: nets of the same family and widths are told apart by what is
// not the same.
func TestResumeSaysWhatDiffers(t *testing.T) {
	arch := layers.Arch{Family: "cnn-dwpw", Base: 2, Classes: 10}
	run := net(arch)
	for want, change := range map[string]func(*layers.Arch){
		"with 10 classes, and these images have 2":   func(a *layers.Arch) { a.Classes = 2 },
		"for images of 3 channels, not of 1":         func(a *layers.Arch) { a.InChannels = 1 },
		"not of cnn-dwpw [4 8 16 32 32 32 64 64 64]": func(a *layers.Arch) { a.Base = 4 },
		"not of resnet18":                            func(a *layers.Arch) { a.Family = "resnet18" },
	} {
		now := arch
		change(&now)
		if err := sameNet(net(now), run); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if err := sameNet(net(arch), run); err != nil {
		t.Error(err)
	}
}
