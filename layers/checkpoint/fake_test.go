package checkpoint_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// TestQuantizedFile stores weights in codes of the net's own quantizers, of eight
// and of four bits.
func TestQuantizedFile(t *testing.T) {
	m, s := checkpointtest.Draw(t, layers.Arch{Family: "hw7-student", Classes: 3, Base: 4}, 1)
	n := m.Net()
	var qs []layers.Quantizer
	for i := range n.Modules {
		mod := &n.Modules[i]
		k, ok := mod.Kind.(layers.Conv2d)
		if !ok {
			continue
		}
		q := layers.Quantizer{Module: mod.Name, Role: layers.FakeWeight, Fake: layers.Fake{Bits: 8, Signed: true, Symmetric: true, PerChannel: true}}
		if i%2 == 0 {
			q.Bits = 4
		}
		for range k.OutChannels {
			q.Scale = append(q.Scale, 0.03/float32(len(q.Scale)+1))
		}
		qs = append(qs, q)
	}
	n, s, err := layers.SetFakes(qs)(n, s)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = n.Encode(s); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "q.safetensors")
	size, err := checkpoint.Save(path, &checkpoint.Checkpoint{Net: n, State: s, Preprocess: checkpoint.Preprocess{Size: 32}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Net, n) || !reflect.DeepEqual(c.State, s) {
		t.Error("the checkpoint comes back changed")
	}
	if got := c.Scheme(); got != checkpoint.Quantized {
		t.Errorf("the scheme is %q", got)
	}
	full := *c
	full.State = nil
	for _, e := range s {
		e.Codes = nil
		full.State = append(full.State, e)
	}
	plain, err := checkpoint.Size(&full)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in codes, %d in full", size, plain)
	if size >= plain {
		t.Error("codes take no less than floats")
	}
	s.Find(qs[0].Module + ".weight_scale").Data[0] *= 2
	if _, err := checkpoint.Save(path, &checkpoint.Checkpoint{Net: n, State: s, Preprocess: checkpoint.Preprocess{Size: 32}}); err == nil {
		t.Error("codes with scales that are not the quantizer's are stored")
	}
}
