package checkpoint_test

import (
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

func TestDeclares(t *testing.T) {
	type events = []checkpoint.Event
	imported := checkpoint.Event{Kind: checkpoint.KindImport}
	for _, c := range []struct {
		p    checkpoint.Preprocess
		h    events
		want bool
	}{
		{checkpoint.Preprocess{Size: 28}, nil, true},
		{checkpoint.Preprocess{Size: 28}, events{{Kind: "train"}}, true},
		{checkpoint.Preprocess{Size: 256}, events{imported}, false},
		{checkpoint.Preprocess{Size: 256}, events{imported, {Kind: "convert"}, {Kind: "prune"}}, false},
		{checkpoint.Preprocess{Size: 256}, events{imported, {Kind: "prune"}, {Kind: "train"}}, true},
		{checkpoint.Preprocess{Size: 224, Resize: 256}, events{imported}, true},
		{checkpoint.Preprocess{Size: 224, Mean: []float32{1, 1, 1}, Std: []float32{1, 1, 1}}, events{imported}, true},
	} {
		if got := (&checkpoint.Checkpoint{Preprocess: c.p, History: c.h}).Declares(); got != c.want {
			t.Errorf("%+v, %v: %v", c.p, c.h, got)
		}
	}
}
