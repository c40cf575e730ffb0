package backendtest

import (
	"math/rand/v2"
	"strings"

	"github.com/potstill/potstill/engine"
)

// A Size is that of the net of a Trial, and of its batch.
type Size struct {
	Batch  int // images
	Pixels int // the height and width of an image
	Width  int // the channels of the first layers, even
}

// Sizes of trials. Small is for backends that are emulated. Large is large
// enough that a backend of several threads cuts every kind of launch but the
// losses into several tasks.
var (
	Small = Size{Batch: 4, Pixels: 12, Width: 8}
	Large = Size{Batch: 8, Pixels: 32, Width: 16}
)

// netClasses is the number of classes of a trial's net.
const netClasses = 5

// A net is a small classifier with one layer of each kind: conv3x3 – BatchNorm
// – ReLU6 – max pool, depthwise – BatchNorm – ReLU6, pointwise – ReLU, grouped
// conv of stride 2, residual, global pool, to which a branch is joined (see
// there), Linear. Its activations are of the type of the image.
type net struct {
	name  string // begins the names of its variables
	width int
	vars  []*engine.Variable
}

func (n *net) add(b *engine.Builder, name string, trainable bool, shape ...int) *engine.Value {
	for _, v := range n.vars {
		if v.Name == n.name+name {
			return b.Variable(v)
		}
	}
	v := &engine.Variable{Name: n.name + name, Spec: engine.F32(shape...), Trainable: trainable}
	n.vars = append(n.vars, v)
	return b.Variable(v)
}

func (n *net) norm(b *engine.Builder, x *engine.Value, name string, train bool) *engine.Value {
	c := x.Shape[3]
	x = b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, x,
		n.add(b, name+".weight", true, c), n.add(b, name+".bias", true, c),
		n.add(b, name+".running_mean", false, c), n.add(b, name+".running_var", false, c))
	return b.One(engine.Activation{F: engine.ReLU6}, x)
}

// newNet returns a net with its variables, whose names begin with name.
func newNet(name string, s Size) *net {
	n := &net{name: name, width: s.Width}
	b := engine.NewBuilder(engine.NewGraph())
	n.Build(b, b.Input("images", engine.F32(1, s.Pixels, s.Pixels, 3)), false) // which declares them
	return n
}

// Variables implements train.Net.
func (n *net) Variables() []*engine.Variable { return n.vars }

// Build implements train.Net.
func (n *net) Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs {
	p := func(name string, shape ...int) *engine.Value { return n.add(b, name, true, shape...) }
	w, v := n.width, n.width*3/2
	branch := n.branch(b, x)
	x = b.One(engine.Conv2D{Pad: engine.Around(1)}, x, p("stem.weight", 3, 3, 3, w), p("stem.bias", w))
	x = b.One(engine.MaxPool2D{Window: engine.Square(2, 0, 0)}, n.norm(b, x, "bn1", train))
	x = b.One(engine.Conv2D{Pad: engine.Around(1), Groups: w}, x, p("depthwise.weight", 3, 3, 1, w), p("depthwise.bias", w))
	x = n.norm(b, x, "bn2", train)
	x = b.One(engine.Conv2D{}, x, p("pointwise.weight", 1, 1, w, v), p("pointwise.bias", v))
	x = b.One(engine.Activation{F: engine.ReLU}, x)
	x = b.One(engine.Conv2D{Pad: engine.Around(1), Stride: engine.Both(2), Groups: 2}, x, p("grouped.weight", 3, 3, v/2, v))
	x = b.One(engine.Add{}, x, b.One(engine.Conv2D{Pad: engine.Around(1)}, x, p("dense.weight", 3, 3, v, v)))
	x = b.One(engine.Concat{}, b.One(engine.GlobalAvgPool{}, x), branch)
	return &engine.Outputs{Logits: b.One(engine.Linear{}, x, p("fc.weight", v+w, netClasses), p("fc.bias", netClasses))}
}

// branch is pointwise – LayerNorm, then GroupNorm of half of the channels, which
// are shuffled with the others, average pool and global pool.
func (n *net) branch(b *engine.Builder, x *engine.Value) *engine.Value {
	p := func(name string, shape ...int) *engine.Value { return n.add(b, name, true, shape...) }
	w := n.width
	x = b.One(engine.Conv2D{}, x, p("branch.weight", 1, 1, 3, w), p("branch.bias", w))
	x = b.One(engine.LayerNorm{Eps: 1e-5}, x, p("layernorm.weight", w), p("layernorm.bias", w))
	y := b.One(engine.Slice{End: w / 2}, x)
	y = b.One(engine.GroupNorm{Groups: 2, Eps: 1e-5}, y, p("groupnorm.weight", w/2), p("groupnorm.bias", w/2))
	x = b.One(engine.Concat{}, y, b.One(engine.Slice{Start: w / 2, End: w}, x))
	x = b.One(engine.ChannelShuffle{Groups: 2}, x)
	return b.One(engine.GlobalAvgPool{}, b.One(engine.AvgPool2D{Window: engine.Square(2, 0, 0)}, x))
}

// fill gives the variables values that the seed draws.
func (n *net) fill(store *engine.Store, seed uint64) error {
	rng := rand.New(rand.NewPCG(7, seed))
	for _, v := range n.vars {
		x := make([]float32, v.Len())
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * 0.3
			if strings.Contains(v.Name, "bn") && (strings.HasSuffix(v.Name, ".weight") || strings.HasSuffix(v.Name, "_var")) {
				x[i] = 1 + x[i]*x[i]
			}
		}
		if err := store.Set(v, engine.Bytes(x)); err != nil {
			return err
		}
	}
	return nil
}

// images returns a batch of noise and its one-hot target.
func (s Size) images() (pixels, target []byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float32, s.Batch*s.Pixels*s.Pixels*3), make([]float32, s.Batch*netClasses)
	for i := range x {
		x[i] = rng.Float32()
	}
	for i := range s.Batch {
		y[i*netClasses+i%netClasses] = 1
	}
	return engine.Bytes(x), engine.Bytes(y)
}
