package quant

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// chooseBits returns the bits of every layer's weight; 32 stands for float32.
func (w *work) chooseBits() (map[string]int, error) {
	out := make(map[string]int)
	for i := range w.net.Modules {
		m := &w.net.Modules[i]
		if roleOf(m.Kind) != weighted {
			continue
		}
		out[m.Name] = cmp.Or(w.o.Bits, 8)
		if slices.ContainsFunc(w.o.Float, func(p string) bool { return layers.Fits(p, m.Name) }) {
			out[m.Name] = 32
		}
		if p, ok := w.o.layerPattern(m.Name); ok {
			out[m.Name] = w.o.LayerBits[p]
		}
	}
	for _, p := range slices.Concat(w.o.Float, slices.Sorted(maps.Keys(w.o.LayerBits))) {
		if !slices.ContainsFunc(w.net.Modules, func(m layers.Module) bool { return out[m.Name] != 0 && layers.Fits(p, m.Name) }) {
			return nil, fmt.Errorf("no convolution and no linear layer is named %s; potstill summary lists the layers", p)
		}
	}
	return out, nil
}

// layerPattern returns the pattern of LayerBits that counts for a layer.
func (o *Options) layerPattern(layer string) (string, bool) {
	if _, ok := o.LayerBits[layer]; ok {
		return layer, true
	}
	best, found := "", false
	for _, p := range slices.Sorted(maps.Keys(o.LayerBits)) {
		if layers.Fits(p, layer) && (!found || len(p) > len(best)) {
			best, found = p, true
		}
	}
	return best, found
}

// fewBits are those that a layer gets when there is no room for 8.
const fewBits = 4

// floatDivergence is the divergence, in nats, from which on a layer with 8 bits stays
// in float32, if there is room.
const floatDivergence = 0.01

// A move gives a layer other bits: what it costs in divergence, and the bytes that it
// saves, or takes.
type move struct {
	name        string
	cost, bytes float64
}

// fit chooses the bits of layers under a budget of bytes. Sensitive is a layer whose
// rounding alone moves the predictions far, by their Kullback-Leibler divergence from
// the net's in float32 on the pictures. Where the file with 8 bits is too large, layers
// get 4: those first that lose least for each byte that they save. Where there is
// room, layers that lose more than floatDivergence with 8 bits stay in float32, those
// first that lose most. The size is that of the file as it is written.
func (w *work) fit() error {
	limit, err := budget.ParseBytes(w.o.Under)
	if err != nil {
		return err
	}
	size, err := w.fileSize()
	if err != nil {
		return err
	}
	if size > limit {
		return w.shrink(size, limit)
	}
	moves, err := w.moves(8)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(moves) {
		if m.cost < floatDivergence {
			continue
		}
		w.bits[m.name] = 32
		err := errors.Join(w.calibrate(), w.weightScales())
		if err == nil {
			size, err = w.fileSize()
		}
		if err != nil {
			return err
		}
		if size <= limit {
			w.report.Notes = append(w.report.Notes, fmt.Sprintf("%s stays in float32 (divergence with 8 bits: %.3g nats)", m.name, m.cost))
			continue
		}
		w.bits[m.name] = 8
		if err := errors.Join(w.calibrate(), w.weightScales()); err != nil {
			return err
		}
	}
	return nil
}

// shrink gives layers 4 bits until the file has no more than limit bytes.
func (w *work) shrink(size, limit int64) error {
	moves, err := w.moves(fewBits)
	if err != nil {
		return err
	}
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Compare(a.cost/a.bytes, b.cost/b.bytes) })
	for _, m := range moves {
		if size <= limit {
			break
		}
		w.bits[m.name] = fewBits
		if err := w.weightScales(); err != nil {
			return err
		}
		if size, err = w.fileSize(); err != nil {
			return err
		}
		w.report.Notes = append(w.report.Notes, fmt.Sprintf("%s has %d bits (divergence alone: %.3g nats)", m.name, fewBits, m.cost))
	}
	if size > limit {
		return fmt.Errorf("with %d bits in all layers the file has %d bytes; it cannot have %d or fewer", fewBits, size, limit)
	}
	return nil
}

// moves returns what every layer alone costs with so many bits, the least first.
func (w *work) moves(bits int) ([]move, error) {
	var out []move
	for _, name := range w.weights {
		w.bits[name] = bits
		if err := w.weightScales(); err != nil {
			return nil, err
		}
		d, err := w.divergence(name)
		if err != nil {
			return nil, err
		}
		w.bits[name] = 8
		out = append(out, move{name, d, float64(len(tensor(w.net, w.state, name, "weight").Data)) / 2})
	}
	slices.SortStableFunc(out, func(a, b move) int { return cmp.Compare(a.cost, b.cost) })
	return out, w.weightScales()
}

// fileSize writes the net as it is quantized now, and returns the bytes.
func (w *work) fileSize() (size int64, err error) {
	net, state, err := w.quantized(nil, true)
	if err != nil {
		return 0, err
	}
	out, err := w.checkpoint(net, state)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(w.env.Dir, "quantize")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return checkpoint.Save(filepath.Join(dir, "q.safetensors"), out)
}

// divergence returns the mean Kullback-Leibler divergence of the predictions with
// one layer's weight rounded from those in float32, in nats, on a few pictures.
func (w *work) divergence(name string) (float64, error) {
	net, state, err := w.quantized(func(module string) bool { return module == name }, false)
	if err != nil {
		return 0, err
	}
	if w.logits == nil {
		if w.logits, err = w.predict(w.net, w.float()); err != nil {
			return 0, err
		}
	}
	rough, err := w.predict(net, state)
	if err != nil {
		return 0, err
	}
	sum, n := 0.0, 0
	for i, a := range w.logits {
		k := len(a) / w.pics[i].N
		for r := 0; r < len(a); r += k {
			sum += metrics.Divergence(a[r:r+k], rough[i][r:r+k])
			n++
		}
	}
	return sum / float64(n), nil
}

// predict returns the logits of a few pictures, batch by batch.
func (w *work) predict(net *layers.Net, state layers.StateDict) (out [][]float32, err error) {
	r, err := newRunner(w.env.Backend, net, state)
	if err != nil {
		return nil, err
	}
	err = r.run(w.ctx, few(w.pics), []string{net.Output}, func(_ int, v map[string]seen) error {
		out = append(out, v[net.Output].data)
		return nil
	})
	return out, errors.Join(err, r.close())
}
