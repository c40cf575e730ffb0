package main

import (
	"bytes"
	"image"
	"image/png"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestThinPicture has the case thin-picture-resize: a picture of a few hundred
// bytes, which would be 5 million pixels wide, takes the memory of its crop.
func TestThinPicture(t *testing.T) {
	dir := t.TempDir()
	in, m := filepath.Join(dir, "m.pth"), filepath.Join(dir, "m.safetensors")
	torchModel(t, in, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, asNamed)
	succeeds(t, "convert", in, m, "--resize", "256", "--size", "224")
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 20000, 1))); err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(dir, "thin.png")
	write(t, picture, b.Bytes())
	cmd := command(t, "predict", "--model", m, picture)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "%") {
		t.Fatalf("%v\n%s", err, out)
	}
	if peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; peak > 200e6 {
		t.Errorf("a file of %d bytes takes %d MB", b.Len(), peak/1e6)
	}
}
