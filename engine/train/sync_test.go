package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// noDropout is for tests that compare batches of different sizes: what is dropped depends on
// an image's place in its batch.
func noDropout(t *testing.T) {
	t.Helper()
	old := dropout
	t.Cleanup(func() { dropout = old })
	dropout = 0
}

// syncConfig is that of a run whose batch norms are synchronized, and that of one process with
// as large batches as n ranks together: 20 images in batches of 3 leave ranks without one.
func syncConfig(n, batch int) (ranks, whole Config) {
	c := base()
	c.Optimizer = OptimizerConfig{Kind: SGD, LR: 0.02, Momentum: 0.9}
	c.ClipNorm, c.MixupAlpha = 0.5, 0 // mixup draws the images of a batch together
	whole = c
	c.Batch, c.SyncBatchNorm = batch, true
	whole.Batch = n * batch
	return c, whole
}

// near compares every tensor of a snapshot with another's, within what rounding errors grow to
// in some steps.
func near(t *testing.T, got, want *Snapshot) {
	t.Helper()
	if len(got.Tensors) != len(want.Tensors) || len(want.Tensors) == 0 {
		t.Fatalf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
	}
	worst := 0.0
	for i, w := range want.Tensors {
		g := got.Tensors[i]
		if g.Name != w.Name || !g.Spec.Equal(w.Spec) {
			t.Fatalf("tensor %d is %s, %v, want %s, %v", i, g.Name, g.Spec, w.Name, w.Spec)
		}
		if w.Spec.DType != engine.Float32 {
			continue
		}
		for k := 0; k < len(w.Data); k += 4 {
			worst = max(worst, math.Abs(float64(float32At(g.Data[k:])-float32At(w.Data[k:]))))
		}
	}
	t.Logf("the largest difference of a weight is %.2g", worst)
	if !(worst <= 2e-6) { // also NaN
		t.Errorf("a weight differs by %g", worst)
	}
}

// TestSyncBatchNorm holds n ranks whose batch norms are synchronized to one process with batches
// n times as large, whatever the last step of an epoch has left.
func TestSyncBatchNorm(t *testing.T) {
	ds := noisyData(t)
	noDropout(t)
	for _, x := range []struct{ n, batch int }{{2, 5}, {2, 3}, {3, 3}, {4, 3}} {
		t.Run(fmt.Sprintf("%d ranks, batches of %d", x.n, x.batch), func(t *testing.T) {
			onCPU(t, 1)
			c, whole := syncConfig(x.n, x.batch)
			got, _, errs := ranked(t, ds, c, x.n, 1, nil, context.Background(), nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			var want recorder
			if _, err := start(t, ds, whole, 1, Hooks{Save: want.save}).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			if len(got.last) != len(want.last) {
				t.Fatalf("%d snapshots, want %d", len(got.last), len(want.last))
			}
			near(t, got.final(), want.final())
			c.SyncBatchNorm = false
			local, _, errs := ranked(t, ds, c, x.n, 1, nil, context.Background(), nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			differs := false
			for i, v := range local.final().Tensors {
				differs = differs || string(v.Data) != string(got.final().Tensors[i].Data)
			}
			if !differs {
				t.Error("without it the weights are the same")
			}
		})
	}
}

// TestSyncBatchNormAccumulates has ranks accumulate batches, in the last of which one of them
// may have none.
func TestSyncBatchNormAccumulates(t *testing.T) {
	ds := noisyData(t)
	onCPU(t, 1)
	noDropout(t)
	for _, n := range []int{2, 3} {
		c, whole := syncConfig(n, 3)
		c.Accumulate, whole.Accumulate = 2, 2
		got, _, errs := ranked(t, ds, c, n, 1, nil, context.Background(), nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var want recorder
		if _, err := start(t, ds, whole, 1, Hooks{Save: want.save}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		near(t, got.final(), want.final())
	}
}

// TestSyncBatchNormResumes checks that a run is resumed by as many ranks to the same bytes, and
// by others not at all.
func TestSyncBatchNormResumes(t *testing.T) {
	ds := noisyData(t)
	onCPU(t, 2)
	c, _ := syncConfig(2, 3)
	whole, _, errs := ranked(t, ds, c, 2, 1, nil, context.Background(), nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped, _, errs := ranked(t, ds, c, 2, 1, nil, ctx, func(s StepInfo) {
		if s.Update == 3 {
			cancel()
		}
	})
	for r, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("rank %d was not stopped: %v", r, err)
		}
	}
	rest, _, errs := ranked(t, ds, c, 2, 9, stopped.final(), context.Background(), nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	same(t, "resumed", rest.final(), whole.final())
	alone := c
	alone.Accumulate = 2
	err := start(t, ds, alone, 1, Hooks{}).Resume(stopped.final())
	if err == nil || !strings.Contains(err.Error(), "sync batch norm was true") {
		t.Errorf("one process resumes it: %v", err)
	}
}

// TestSyncBatchNormOnGPU is TestSyncBatchNorm where the ranks are cards.
func TestSyncBatchNormOnGPU(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			onCards(t, n, func(p engine.Peers) {
				ds := noisyData(t)
				noDropout(t)
				c, whole := syncConfig(n, 3)
				c.Peers = p
				var got, want recorder
				if _, err := start(t, ds, c, 1, Hooks{Save: got.save}).Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				if p.Rank() > 0 {
					return
				}
				if _, err := start(t, ds, whole, 1, Hooks{Save: want.save}).Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				near(t, got.final(), want.final())
			})
		})
	}
}

// pixelNet is a net whose batch norm sees one pixel of each image.
type pixelNet struct{ *convNet }

func newPixelNet() pixelNet {
	n := pixelNet{newConvNet(0)}
	n.vars[7].Spec = engine.F32(4, 3)
	return n
}

func (n pixelNet) Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs {
	v := func(i int) *engine.Value { return b.Variable(n.vars[i]) }
	x = b.One(engine.GlobalAvgPool{KeepDims: true}, b.One(engine.Conv2D{Pad: engine.Around(1)}, x, v(0), v(1)))
	x = b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, x, v(2), v(3), v(4), v(5))
	return &engine.Outputs{Logits: b.One(engine.Linear{}, b.One(engine.Flatten{}, x), v(7), v(8))}
}

// TestSyncBatchNormOfOnePixel has ranks without a batch take part where one image is not
// enough for a variance: of 20 images in batches of 3, three ranks leave two without one.
func TestSyncBatchNormOfOnePixel(t *testing.T) {
	ds := noisyData(t)
	onCPU(t, 1)
	c, whole := syncConfig(3, 3)
	begin := func(c Config, h Hooks) *Trainer {
		net, store := newPixelNet(), newStore(t)
		fill(t, store, net.vars, 1)
		return newTrainer(t, net, store, ds, c, h)
	}
	var got, want recorder
	_, errs := together(t, 3, func(r int, p engine.Peers) (*Trainer, context.Context) {
		c := c
		c.Peers = p
		h := Hooks{}
		if r == 0 {
			h.Save = got.save
		}
		return begin(c, h), context.Background()
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(whole, Hooks{Save: want.save}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	near(t, got.final(), want.final())
}
