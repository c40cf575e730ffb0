package quant

import (
	"context"
	"errors"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
)

// patches take what a convolution or a linear layer reads at single outputs, in the
// order of its weights' rows, and add up the moments of each group.
type patches struct {
	conv   layers.Conv2d
	linear bool
	k      int // inputs of a kernel
	list   []*products
	r      random.Rand // draws the pixels that are looked at

	prog       *engine.Program // of many inputs: Xᵀ·X and Yᵀ·X of a chunk
	store      *engine.Store
	x, xt, yt  *engine.Value
	xx, yx     *engine.Value
	rows, made []float32 // the chunk: inputs and outputs, pixel by pixel
}

// useRounding keeps the pixels that are drawn for AdaRound apart from other draws.
const useRounding = random.UseOther + 60

const (
	// plainInputs is the most inputs of a kernel whose products are added up one by
	// one; of more, chunks of pixels are multiplied as matrices.
	plainInputs = 32
	chunkPixels = 256
)

func newPatches(kind layers.Kind, weight *layers.Entry, seed uint64) *patches {
	p := &patches{k: len(weight.Data) / weight.Shape[0]}
	groups := 1
	if c, ok := kind.(layers.Conv2d); ok {
		p.conv, groups = c, c.Groups
	} else {
		p.linear = true
	}
	p.r = random.New(seed, 0, 0, useRounding)
	for range groups {
		p.list = append(p.list, &products{
			meanX: make([]float64, p.k), meanY: make([]float64, weight.Shape[0]/groups),
			g: make([]float64, p.k*p.k), t: make([]float64, weight.Shape[0]/groups*p.k),
		})
	}
	return p
}

// add takes the pixels of a batch into account: x is what the layer reads, y what it
// is to make. Of more than so many outputs, so many are drawn.
func (p *patches) add(w *work, x, y seen, most int) error {
	outs := y.channels()
	pixels := len(y.data) / outs
	take := min(pixels, most)
	in := make([]float32, p.k*len(p.list))
	for i := range take {
		at := i
		if take < pixels {
			at = int(p.r.Uint64() % uint64(pixels))
		}
		p.gather(in, x, y, at)
		if err := p.pixel(w, in, y.data[at*outs:(at+1)*outs]); err != nil {
			return err
		}
	}
	return nil
}

// gather reads what makes the output at a pixel: for every group, channel by channel
// its kernel.
func (p *patches) gather(in []float32, x, y seen, at int) {
	if p.linear {
		copy(in, x.data[at*p.k:(at+1)*p.k])
		return
	}
	c := p.conv
	h, w, depth := x.shape[1], x.shape[2], x.shape[3]
	oh, ow := y.shape[1], y.shape[2]
	image, oy, ox := at/(oh*ow), at/ow%oh, at%ow
	kh, kw := c.KernelSize[0], c.KernelSize[1]
	clear(in)
	for i := range kh {
		row := oy*c.Stride[0] - c.Padding[0] + i*c.Dilation[0]
		if row < 0 || row >= h {
			continue
		}
		for j := range kw {
			col := ox*c.Stride[1] - c.Padding[1] + j*c.Dilation[1]
			if col < 0 || col >= w {
				continue
			}
			from := x.data[((image*h+row)*w+col)*depth:]
			for ch := range depth {
				in[(ch*kh+i)*kw+j] = from[ch]
			}
		}
	}
}

// pixel adds the products of one output.
func (p *patches) pixel(w *work, in, out []float32) error {
	outs := len(out) / len(p.list)
	for g, m := range p.list {
		x, y := in[g*p.k:(g+1)*p.k], out[g*outs:(g+1)*outs]
		m.n++
		for k, v := range x {
			m.meanX[k] += float64(v)
		}
		for o, v := range y {
			m.meanY[o] += float64(v)
		}
		if p.k > plainInputs && len(p.list) == 1 {
			continue
		}
		for k, v := range x {
			if v == 0 {
				continue
			}
			row := m.g[k*p.k : (k+1)*p.k]
			for j, u := range x {
				row[j] += float64(v) * float64(u)
			}
			for o, u := range y {
				m.t[o*p.k+k] += float64(u) * float64(v)
			}
		}
	}
	if p.k <= plainInputs || len(p.list) > 1 {
		return nil
	}
	p.rows, p.made = append(p.rows, in...), append(p.made, out...)
	if len(p.rows) < chunkPixels*p.k {
		return nil
	}
	return p.flush(w)
}

// flush multiplies the chunk, which is filled up with zeros.
func (p *patches) flush(w *work) error {
	if len(p.rows) == 0 {
		return nil
	}
	outs := len(p.list[0].meanY)
	if p.prog == nil {
		b := engine.NewBuilder(engine.NewGraph())
		p.x, p.xt, p.yt = b.Input("x", engine.F32(chunkPixels, p.k)), b.Input("xt", engine.F32(p.k, chunkPixels)), b.Input("yt", engine.F32(outs, chunkPixels))
		p.xx, p.yx = b.One(engine.Linear{}, p.xt, p.x), b.One(engine.Linear{}, p.yt, p.x)
		if err := b.Err(); err != nil {
			return err
		}
		p.store = engine.NewStore(w.env.Backend)
		var err error
		if p.prog, err = b.Graph().Compile(w.env.Backend, engine.Options{Store: p.store, Outputs: []*engine.Value{p.xx, p.yx}}); err != nil {
			return err
		}
	}
	x := append(p.rows, make([]float32, chunkPixels*p.k-len(p.rows))...)
	y := append(p.made, make([]float32, chunkPixels*outs-len(p.made))...)
	err := p.prog.Run(w.ctx, engine.Bindings{
		p.x: engine.Bytes(x), p.xt: engine.Bytes(transposed(x, p.k)), p.yt: engine.Bytes(transposed(y, outs)),
	})
	if err != nil {
		return err
	}
	p.rows, p.made = p.rows[:0], p.made[:0]
	for v, sum := range map[*engine.Value][]float64{p.xx: p.list[0].g, p.yx: p.list[0].t} {
		host := make([]float32, v.Len())
		if err := p.prog.Read(v, engine.Bytes(host)); err != nil {
			return err
		}
		for i, u := range host {
			sum[i] += float64(u)
		}
	}
	return nil
}

// close frees what flush has made.
func (p *patches) close() error {
	if p.prog == nil {
		return nil
	}
	return errors.Join(p.prog.Close(), p.store.Close())
}

// transposed returns a matrix of rows of n with its axes exchanged.
func transposed(x []float32, n int) []float32 {
	rows := len(x) / n
	out := make([]float32, len(x))
	for r := range rows {
		for c, v := range x[r*n : (r+1)*n] {
			out[c*rows+r] = v
		}
	}
	return out
}

// A product multiplies matrices of one shape by a symmetric one.
type product struct {
	rows, k int
	g       []float64
	prog    *engine.Program
	store   *engine.Store
	x, y    *engine.Value
}

// newProduct returns the product of [rows,k] by g [k,k].
func newProduct(b engine.Backend, rows, k int, g []float64) (*product, error) {
	p := &product{rows: rows, k: k, g: g}
	if k <= plainInputs {
		return p, nil
	}
	w := engine.NewBuilder(engine.NewGraph())
	v := &engine.Variable{Name: "g", Spec: engine.F32(k, k)}
	p.x = w.Input("x", engine.F32(rows, k))
	p.y = w.One(engine.Linear{}, p.x, w.Variable(v))
	if err := w.Err(); err != nil {
		return nil, err
	}
	narrow := make([]float32, len(g))
	for i, u := range g {
		narrow[i] = float32(u)
	}
	p.store = engine.NewStore(b)
	err := p.store.Set(v, engine.Bytes(narrow))
	if err == nil {
		p.prog, err = w.Graph().Compile(b, engine.Options{Store: p.store, Outputs: []*engine.Value{p.y}})
	}
	if err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	return p, nil
}

// run multiplies.
func (p *product) run(ctx context.Context, x []float32) ([]float32, error) {
	out := make([]float32, p.rows*p.k)
	if p.prog == nil {
		for r := range p.rows {
			for j := range p.k {
				sum := 0.0
				for i, v := range x[r*p.k : (r+1)*p.k] {
					sum += float64(v) * p.g[i*p.k+j]
				}
				out[r*p.k+j] = float32(sum)
			}
		}
		return out, nil
	}
	if err := p.prog.Run(ctx, engine.Bindings{p.x: engine.Bytes(x)}); err != nil {
		return nil, err
	}
	return out, p.prog.Read(p.y, engine.Bytes(out))
}

func (p *product) close() error {
	if p.prog == nil {
		return nil
	}
	return errors.Join(p.prog.Close(), p.store.Close())
}
