package quant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

const (
	// usualImages are the images of a calibration unless Options say otherwise.
	usualImages = 256
	// pictureBatch is how many small pictures go through a net at a time, and
	// largeBatch how many of more than largePixels: what all layers make of them is
	// in memory at once.
	pictureBatch = 32
	largeBatch   = 8
	largePixels  = 128 * 128
	// fewPictures are enough to compare two nets by.
	fewPictures = 100
)

// Images are a batch of images of a calibration, prepared: [N,H,W,C].
type Images struct {
	N, H, W, C int
	Pixels     []float32
}

// drawPictures draws images of the training part without replacement, in an order
// that the seed decides, through the checkpoint's own preprocessing without random
// stages.
func drawPictures(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, images int, seed uint64) ([]Images, error) {
	s := env.Train()
	if env.Backend == nil || s == nil || s.Len() == 0 {
		return nil, errors.New("ranges of activations are found on training images, of which there are none; give them with --calibrate")
	}
	batch := pictureBatch
	if h, w := c.Preprocess.Transform().OutSize(s.Bounds(0)); h*w > largePixels {
		batch = largeBatch
	}
	l, err := data.NewLoader(s, max(c.Net.Classes(), len(env.Data.Classes)), data.LoaderOptions{
		Batch: min(batch, images), Shuffle: true, Augment: c.Preprocess.Transform(), Seed: seed, Eval: true,
	})
	if err != nil {
		return nil, err
	}
	batches := l.Epoch(ctx, 0, 0)
	defer batches.Close()
	var out []Images
	taken := 0
	for taken < images {
		b, err := batches.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		n := min(b.N, images-taken)
		out = append(out, Images{n, b.H, b.W, b.C, slices.Clone(b.Images[:n*b.H*b.W*b.C])})
		taken += n
	}
	return out, nil
}

// few returns the first batches, with fewPictures or all there are.
func few(all []Images) []Images {
	n := 0
	for i, p := range all {
		if n += p.N; n >= fewPictures {
			return all[:i+1]
		}
	}
	return all
}

// A runner runs a net in evaluation on pictures and shows what its modules make.
type runner struct {
	model *layers.Model
	store *engine.Store
	progs map[string]*compiled // by shape of the batch and modules
}

// A compiled net shows what some of its modules make of batches of one shape.
type compiled struct {
	prog   *engine.Program
	images *engine.Value
	outs   *engine.Outputs
}

func newRunner(b engine.Backend, n *layers.Net, s layers.StateDict) (*runner, error) {
	m, err := n.Model()
	if err != nil {
		return nil, err
	}
	r := &runner{model: m, store: engine.NewStore(b), progs: make(map[string]*compiled)}
	if err := m.Load(r.store, s); err != nil {
		return nil, errors.Join(err, r.store.Close())
	}
	return r, nil
}

func (r *runner) close() error { return errors.Join(r.free(), r.store.Close()) }

// free frees what has been compiled.
func (r *runner) free() (err error) {
	for key, p := range r.progs {
		err = errors.Join(err, p.prog.Close())
		delete(r.progs, key)
	}
	return err
}

// program returns the net compiled for a shape and modules.
func (r *runner) program(b *Images, names []string) (*compiled, error) {
	key := fmt.Sprint(b.N, b.H, b.W, b.C, names)
	if p := r.progs[key]; p != nil {
		return p, nil
	}
	g := engine.NewBuilder(engine.NewGraph())
	p := &compiled{images: g.Input("images", engine.F32(b.N, b.H, b.W, b.C))}
	p.outs = r.model.Build(g, p.images, false)
	if err := g.Err(); err != nil {
		return nil, err
	}
	var wanted []*engine.Value
	for _, name := range names {
		if v := p.outs.At(name); v != nil && !slices.Contains(wanted, v) {
			wanted = append(wanted, v)
		}
	}
	var err error
	if p.prog, err = g.Graph().Compile(r.store.Backend(), engine.Options{Store: r.store, Outputs: wanted}); err != nil {
		return nil, err
	}
	r.progs[key] = p
	return p, nil
}

// A seen value is what a module makes of a batch, [n,h,w,c] or [n,c].
type seen struct {
	shape []int
	data  []float32
}

// channels is the size of the last axis.
func (v seen) channels() int { return v.shape[len(v.shape)-1] }

// run runs batches of pictures, and calls each with what the named modules make
// of every one of them, in the order of the pictures; the values are its own.
func (r *runner) run(ctx context.Context, all []Images, names []string, each func(batch int, v map[string]seen) error) error {
	for i, b := range all {
		p, err := r.program(&b, names)
		if err != nil {
			return err
		}
		if err := p.prog.Run(ctx, engine.Bindings{p.images: engine.Bytes(b.Pixels)}); err != nil {
			return err
		}
		got := make(map[string]seen)
		for _, name := range names {
			if name == layers.Image {
				got[name] = seen{[]int{b.N, b.H, b.W, b.C}, b.Pixels}
				continue
			}
			v := p.outs.At(name)
			if v == nil {
				return fmt.Errorf("there is no module %s", name)
			}
			host := make([]float32, v.Len())
			if err := p.prog.Read(v, engine.Bytes(host)); err != nil {
				return err
			}
			got[name] = seen{v.Shape, host}
		}
		if err := each(i, got); err != nil {
			return err
		}
	}
	return nil
}
