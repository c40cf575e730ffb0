package prune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
)

// usualImages are the images by which a criterion ranks that needs data, unless
// Options say otherwise, gatherBatch so many at a time.
const (
	usualImages = 256
	gatherBatch = 16
)

// statistics asks the data for what the criterion needs.
func (k *cutter) statistics(ctx context.Context) (*statistics, error) {
	c, err := criterionOf(k.o.Criterion)
	if err != nil || c.need == nothing {
		return nil, err
	}
	if k.env.Backend == nil || k.env.Train() == nil {
		return nil, fmt.Errorf("%s ranks by what data show: it needs training images and a device; give --data", c.Name)
	}
	n := k.o.Images
	if n == 0 {
		n = usualImages
	}
	g := &gatherer{need: c.need, stats: &statistics{of: make(map[string][]float32), read: make(map[string][]float64)}}
	if err := g.run(ctx, k, k.env.Data.Train.Subset(n)); err != nil {
		return nil, err
	}
	return g.stats, nil
}

// A gatherer runs the net in evaluation on images.
type gatherer struct {
	need   need
	model  *layers.Model
	store  *engine.Store
	stats  *statistics
	images int
	// of gradients and curvature: sums over the images, by tensors' names, in the
	// engine's layout
	sums map[string][]float64

	progs map[int]*gathering // by the size of the batch
}

// A gathering is the net compiled for a size of batch.
type gathering struct {
	prog           *engine.Program
	images, target *engine.Value
	outs           map[string]*engine.Value // gradients by tensors, values by modules
}

func (g *gatherer) run(ctx context.Context, k *cutter, s *data.Split) (err error) {
	c := k.c
	if g.model, err = c.Net.Model(); err != nil {
		return err
	}
	g.store = engine.NewStore(k.env.Backend)
	g.progs, g.sums = make(map[int]*gathering), make(map[string][]float64)
	defer func() {
		for _, p := range g.progs {
			err = errors.Join(err, p.prog.Close())
		}
		err = errors.Join(err, g.store.Close())
	}()
	if err := g.model.Load(g.store, c.State); err != nil {
		return err
	}
	batch := gatherBatch
	if g.need == curvature {
		batch = 1 // each sample's gradient counts by its square
	}
	l, err := data.NewLoader(s, c.Net.Classes(), data.LoaderOptions{Batch: batch, Augment: c.Preprocess.Transform(), Eval: true})
	if err != nil {
		return err
	}
	batches := l.Epoch(ctx, 0, 0)
	defer batches.Close()
	for {
		b, err := batches.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := g.add(ctx, k, b); err != nil {
			return err
		}
	}
	return g.finish()
}

// program returns the net for batches of b's size.
func (g *gatherer) program(k *cutter, b *data.Batch) (*gathering, error) {
	if p := g.progs[b.N]; p != nil {
		return p, nil
	}
	p := &gathering{outs: make(map[string]*engine.Value)}
	w := engine.NewBuilder(engine.NewGraph())
	p.images = w.Input("images", engine.F32(b.N, b.H, b.W, b.C))
	o := g.model.Build(w, p.images, false)
	if err := w.Err(); err != nil {
		return nil, err
	}
	if g.need == activations {
		for i := range k.c.Net.Modules {
			m := &k.c.Net.Modules[i]
			switch m.Kind.(type) {
			case layers.Conv2d, layers.Linear:
				if from := m.In[0]; from != layers.Image {
					p.outs[from] = o.At(from)
				}
			}
		}
	} else {
		p.target = w.Input("target", engine.F32(b.N, b.Classes))
		loss := w.One(engine.CrossEntropy{}, o.Logits, p.target)
		var names []string
		var wrt []*engine.Value
		for _, s := range g.model.Slots() {
			if !s.Buffer {
				names, wrt = append(names, s.Variable.Name), append(wrt, w.Variable(s.Variable))
			}
		}
		grads, err := engine.Grad(w.Graph(), loss, wrt)
		if err != nil {
			return nil, err
		}
		for i, d := range grads {
			if d != nil {
				p.outs[names[i]] = d
			}
		}
	}
	if err := w.Err(); err != nil {
		return nil, err
	}
	var outs []*engine.Value
	for _, v := range p.outs {
		outs = append(outs, v)
	}
	var err error
	p.prog, err = w.Graph().Compile(g.store.Backend(), engine.Options{Store: g.store, Outputs: outs})
	if err != nil {
		return nil, err
	}
	g.progs[b.N] = p
	return p, nil
}

// add runs a batch and takes what it shows.
func (g *gatherer) add(ctx context.Context, k *cutter, b *data.Batch) error {
	p, err := g.program(k, b)
	if err != nil {
		return err
	}
	in := engine.Bindings{p.images: engine.Bytes(b.Images)}
	if p.target != nil {
		in[p.target] = engine.Bytes(b.Targets)
	}
	if err := p.prog.Run(ctx, in); err != nil {
		return err
	}
	g.images += b.N
	for name, v := range p.outs {
		host := make([]float32, v.Len())
		if err := p.prog.Read(v, engine.Bytes(host)); err != nil {
			return err
		}
		channels := len(host)
		if g.need == activations {
			channels = v.Shape[len(v.Shape)-1]
		}
		if g.sums[name] == nil {
			g.sums[name] = make([]float64, channels)
		}
		sum, n := g.sums[name], float64(b.N)
		for i, x := range host {
			switch g.need {
			case gradients: // the loss is a mean over the batch
				sum[i] += float64(x) * n
			case curvature:
				sum[i] += float64(x) * float64(x)
			default:
				sum[i%channels] += math.Abs(float64(x)) / float64(len(host)/channels) * n
			}
		}
	}
	return nil
}

// finish makes means of the sums.
func (g *gatherer) finish() error {
	if g.need == activations {
		for i := range g.model.Net().Modules {
			m := &g.model.Net().Modules[i]
			if sum := g.sums[firstOf(m.In)]; sum != nil {
				mean := make([]float64, len(sum))
				for c, v := range sum {
					mean[c] = v / float64(g.images)
				}
				g.stats.read[m.Name] = mean
			}
		}
		return nil
	}
	for _, s := range g.model.Slots() {
		sum := g.sums[s.Variable.Name]
		if sum == nil {
			continue
		}
		mean := make([]float32, len(sum))
		for i, v := range sum {
			mean[i] = float32(v / float64(g.images))
		}
		e, err := s.Entry(engine.Bytes(mean))
		if err != nil {
			return err
		}
		g.stats.of[s.Variable.Name] = e.Data
	}
	return nil
}

func firstOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
