package quant

import (
	"errors"
	"slices"
)

// correctBias takes out of each bias the mean error that quantization makes in a
// channel of the layer's output (arXiv:1906.04721, section 4.2, by experiment):
//
//	b -= mean(ŷ - y)
//
// over the pictures and pixels, layer by layer in the order of execution, each in
// the net whose earlier layers are rounded and corrected already. The error of a
// layer that has no bias stays.
func (w *work) correctBias() (err error) {
	var names []string
	for _, name := range w.weights {
		if tensor(w.net, w.state, name, "bias") != nil {
			names = append(names, name)
		}
	}
	want := make(map[string]*moment)
	err = w.observeFloat(names, func(got map[string]seen) {
		for name, v := range got {
			if want[name] == nil {
				want[name] = new(moment)
			}
			want[name].add(v)
		}
	})
	if err != nil {
		return err
	}
	net, state, err := w.quantized(nil, true)
	if err != nil {
		return err
	}
	r, err := newRunner(w.env.Backend, net, state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, name := range names {
		got := new(moment)
		err := r.run(w.ctx, w.pics, []string{name}, func(_ int, v map[string]seen) error { got.add(v[name]); return nil })
		if err != nil {
			return err
		}
		b := tensor(w.net, w.state, name, "bias")
		w.keep(&w.biases, name, b.Data)
		fixed := slices.Clone(b.Data)
		for c := range fixed {
			fixed[c] -= float32(got.mean[c] - want[name].mean[c])
		}
		b.Data = fixed
		tensor(net, state, name, "bias").Data = fixed
		if err := errors.Join(r.free(), r.model.Load(r.store, state)); err != nil {
			return err
		}
	}
	return nil
}

// keep remembers what a layer had in float32, once.
func (w *work) keep(of *map[string][]float32, name string, data []float32) {
	if *of == nil {
		*of = make(map[string][]float32)
	}
	if _, ok := (*of)[name]; !ok {
		(*of)[name] = slices.Clone(data)
	}
}
