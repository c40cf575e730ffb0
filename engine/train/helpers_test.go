package train

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/ref"
)

// writePicture writes a PNG whose pixel (y, x) has the channels at(y, x).
func writePicture(t testing.TB, path string, side int, at func(y, x, c int) uint8) {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			m.SetNRGBA(x, y, color.NRGBA{at(y, x, 0), at(y, x, 1), at(y, x, 2), 255})
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
}

// goldenPixel is the formula of scripts/golden_train.py.
func goldenPixel(i int) func(y, x, c int) uint8 {
	return func(y, x, c int) uint8 { return uint8(37*i + 61*y + 101*x + 17*c + 5*i*x) }
}

// noisyPixel is noise around a color of the class's own.
func noisyPixel(class, i int) func(y, x, c int) uint8 {
	r := random.New(7, class, i, random.UseOther)
	return func(_, _, c int) uint8 {
		v := 60 + r.IntN(80)
		if c == class {
			v += 110
		}
		return uint8(v)
	}
}

func open(t testing.TB, dir string) *data.Dataset {
	t.Helper()
	ds, err := data.Open(context.Background(), dir, data.Options{CacheDir: filepath.Join(dir, "..", "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ds.Close() })
	return ds
}

// noisyData has 20 training and 7 validation pictures of 6x6 in 3 classes.
func noisyData(t testing.TB) *data.Dataset { return noisyDataOf(t, 20) }

// noisyDataOf has so many training pictures.
func noisyDataOf(t testing.TB, n int) *data.Dataset {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "noisy")
	for i := range n {
		writePicture(t, filepath.Join(dir, "training", fmt.Sprintf("%d_%d.png", i%3, i)), 6, noisyPixel(i%3, i))
	}
	for i := range 7 {
		writePicture(t, filepath.Join(dir, "validation", fmt.Sprintf("%d_%d.png", i%3, i)), 6, noisyPixel(i%3, 100+i))
	}
	return open(t, dir)
}

// linearNet is one Linear on the flattened pixels.
type linearNet struct{ w, b *engine.Variable }

func newLinearNet(features, classes int) *linearNet {
	return &linearNet{
		w: &engine.Variable{Name: "fc.weight", Spec: engine.F32(features, classes), Trainable: true},
		b: &engine.Variable{Name: "fc.bias", Spec: engine.F32(classes), Trainable: true},
	}
}

func (n *linearNet) Variables() []*engine.Variable { return []*engine.Variable{n.w, n.b} }

func (n *linearNet) Build(b *engine.Builder, x *engine.Value, _ bool) *engine.Outputs {
	return &engine.Outputs{Logits: b.One(engine.Linear{}, b.One(engine.Flatten{}, x), b.Variable(n.w), b.Variable(n.b))}
}

// convNet is conv3x3 – BatchNorm – ReLU6 – max pool – dropout – Linear.
type convNet struct {
	vars    []*engine.Variable
	dropout float32
}

func newConvNet(dropout float32) *convNet {
	const width, classes = 4, 3
	p := func(name string, shape ...int) *engine.Variable {
		return &engine.Variable{Name: name, Spec: engine.F32(shape...), Trainable: true}
	}
	buffer := func(name string) *engine.Variable { return &engine.Variable{Name: name, Spec: engine.F32(width)} }
	return &convNet{dropout: dropout, vars: []*engine.Variable{
		p("conv.weight", 3, 3, 3, width), p("conv.bias", width), p("bn.weight", width), p("bn.bias", width),
		buffer("bn.running_mean"), buffer("bn.running_var"),
		{Name: "bn.num_batches_tracked", Spec: engine.Spec{DType: engine.Int64}},
		p("fc.weight", 9*width, classes), p("fc.bias", classes),
	}}
}

func (n *convNet) Variables() []*engine.Variable { return n.vars }

func (n *convNet) Moves(*engine.Variable) bool { return true }

func (n *convNet) Counters() []*engine.Variable { return n.vars[6:7] }

func (n *convNet) Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs {
	v := func(i int) *engine.Value { return b.Variable(n.vars[i]) }
	x = b.One(engine.Conv2D{Pad: engine.Around(1)}, x, v(0), v(1))
	x = b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, x, v(2), v(3), v(4), v(5))
	x = b.One(engine.Activation{F: engine.ReLU6}, x)
	o := new(engine.Outputs)
	o.Add("act", x)
	x = b.One(engine.MaxPool2D{Window: engine.Square(2, 0, 0)}, x)
	if train && n.dropout > 0 {
		x = b.One(engine.Dropout{P: n.dropout}, x, b.DropoutCounter())
	}
	o.Logits = b.One(engine.Linear{}, b.One(engine.Flatten{}, x), v(7), v(8))
	return o
}

// fill gives the parameters small random values, and BatchNorm's γ and running
// variance ones.
func fill(t testing.TB, store *engine.Store, vars []*engine.Variable, seed uint64) {
	t.Helper()
	for i, v := range vars {
		if v.DType != engine.Float32 {
			continue
		}
		r := random.New(seed, i, 0, random.UseOther)
		x := make([]float32, v.Len())
		for j := range x {
			switch v.Name {
			case "bn.weight", "bn.running_var":
				x[j] = 1
			case "bn.running_mean":
			default:
				x[j] = float32(r.Uniform(-0.4, 0.4))
			}
		}
		if err := store.Set(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
	}
}

// floats reads a variable.
func floats(t testing.TB, store *engine.Store, v *engine.Variable) []float32 {
	t.Helper()
	x := make([]float32, v.Len())
	if err := store.Get(v, engine.Bytes(x)); err != nil {
		t.Fatal(err)
	}
	return x
}

func float32At(b []byte) float32 { return math.Float32frombits(binary.NativeEndian.Uint32(b)) }

// backend returns the backend that the tests run on.
var backend = func(testing.TB) engine.Backend { return ref.New() }

// onCPU runs the rest of a test on the cpu backend.
func onCPU(t *testing.T, threads int) {
	old := backend
	t.Cleanup(func() { backend = old })
	backend = func(t testing.TB) engine.Backend {
		b, err := cpu.New(cpu.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
}

// newStore returns a store that is closed with the test.
func newStore(t testing.TB) *engine.Store {
	t.Helper()
	s := engine.NewStore(backend(t))
	t.Cleanup(func() { s.Close() })
	return s
}

// newTrainer returns a trainer that is closed with the test.
func newTrainer(t testing.TB, net Net, store *engine.Store, ds *data.Dataset, c Config, h Hooks) *Trainer {
	t.Helper()
	tr, err := New(net, store, ds, c, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}
