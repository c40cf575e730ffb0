package eval_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// TestInsertBatchNorm: a net whose batch norms were folded away computes the same
// with new ones, which have the statistics of the images.
func TestInsertBatchNorm(t *testing.T) {
	const size, count = 64, 40
	ctx := context.Background()
	model, state := checkpointtest.Draw(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 4}, 1)
	net := model.Net()
	folded, fs, err := layers.FoldBatchNorm(net, state)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	images := make([]float32, count*size*size*3)
	for i := range images {
		images[i] = float32(i*7919%256) / 255
	}
	feed := func(parts ...[]float32) iter.Seq2[[]float32, error] {
		return func(yield func([]float32, error) bool) {
			for _, p := range parts {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
	c := &checkpoint.Checkpoint{Net: folded, State: fs, Preprocess: checkpoint.Preprocess{Size: size}}
	each := size * size * 3
	out, n, err := eval.InsertBatchNorm(ctx, b, c, size, feed(images[:7*each], images[7*each:]))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count(kinds(folded), "Conv2d"); n != want || n == 0 || len(c.History) != 0 || out.History[0].Kind != eval.KindInsertBatchNorm {
		t.Errorf("%d batch norms for %d convolutions; the history is %v", n, want, out.History)
	}
	var pictures []data.Image
	for i := range 8 {
		p := data.Image{H: size, W: size, Pix: make([]byte, each)}
		for k := range p.Pix {
			p.Pix[k] = byte((i*7 + k*(13+i)) * 37 >> 2)
		}
		pictures = append(pictures, p)
	}
	before, err := eval.Predict(ctx, b, c, pictures)
	if err != nil {
		t.Fatal(err)
	}
	after, err := eval.Predict(ctx, b, out, pictures)
	if err != nil {
		t.Fatal(err)
	}
	largest, off := 0.0, 0.0
	for i := range before {
		for k, v := range before[i] {
			largest, off = max(largest, math.Abs(float64(v))), max(off, math.Abs(float64(v-after[i][k])))
		}
	}
	if !(off <= 1e-5*largest) || largest == 0 {
		t.Errorf("logits moved by %g of the largest, %g", off/largest, largest)
	}
	if _, _, err := eval.InsertBatchNorm(ctx, b, out, size, feed(images)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second time: error %v", err)
	}
	for want, bad := range map[string]iter.Seq2[[]float32, error]{
		"at least 16 images":   feed(images[:each]),
		"are not whole images": feed(images[1:]),
		"disk on fire":         func(yield func([]float32, error) bool) { yield(nil, errors.New("disk on fire")) },
	} {
		if _, _, err := eval.InsertBatchNorm(ctx, b, c, size, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func kinds(n *layers.Net) string {
	var s strings.Builder
	for i := range n.Modules {
		s.WriteString(layers.KindName(n.Modules[i].Kind) + " ")
	}
	return s.String()
}
