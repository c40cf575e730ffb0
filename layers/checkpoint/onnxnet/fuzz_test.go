package onnxnet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
	"github.com/potstill/potstill/layers/checkpoint/onnxread/onnxtest"
)

// FuzzImport reads bytes as an ONNX file and makes a net of them: what is made
// has a state that is its own, and what is not is said in one line.
func FuzzImport(f *testing.F) {
	f.Add(onnxtest.Small().Bytes())
	paths, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnxread.Decode(b)
		if err == nil {
			var r *Result
			if r, err = Import(m, Options{}); err == nil {
				if err := r.Net.CheckState(r.State); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		var format *named.FormatError
		if !errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("error %q", err)
		}
	})
}
