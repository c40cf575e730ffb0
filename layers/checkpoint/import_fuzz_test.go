package checkpoint

import (
	"bytes"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/study8"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// FuzzImport reads bytes as another program's file and looks for its net: what
// is found must be a state of that net, and what is not must be said in a line.
func FuzzImport(f *testing.F) {
	for _, a := range []layers.Arch{{Family: "cnn-plain", Classes: 1, Base: 1}, {Family: "cnn-group", Classes: 2, Base: 2}} {
		_, state := checkpointtest.Draw(f, a, 1)
		var zip bytes.Buffer
		if err := torch.Encode(&zip, tensorsOf(state)); err != nil {
			f.Fatal(err)
		}
		f.Add(zip.Bytes())
		pickled, err := study8.Encode8(tensorsOf(state))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pickled)
		f.Add(bytes.ReplaceAll(pickled, []byte("cnn."), []byte("net.")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := foreign.Decode(b)
		if err != nil {
			return
		}
		m, err := identified(file, OpenOptions{})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			return
		}
		model, err := m.Net.Model()
		if err == nil {
			err = model.Check(m.State)
		}
		if err != nil || len(m.Sources) != len(m.State) {
			t.Errorf("found %+v, which is none: %v", m.Net, err)
		}
		keepCodes(m)
	})
}
