package quant

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers"
)

// A Layer is one layer's part in the report of a static quantization.
type Layer struct {
	Layer string `json:"layer"`
	Kind  string `json:"kind"`
	// Bits are those of its weight, 0 where it has none that is rounded.
	Bits int `json:"bits,omitempty"`
	// Why says why it is computed in float32; "" where it is not.
	Why string `json:"float,omitempty"`
	// WeightRange is what the codes of its weight stand for at most, MaxError the
	// largest difference from the weight in float32.
	WeightRange [2]float32 `json:"weight_range,omitzero"`
	MaxError    float64    `json:"max_error,omitempty"`
	// Range is that of what it makes, where that is rounded.
	Range *[2]float32 `json:"range,omitempty"`
	// SNR is the ratio of what the layer makes in float32 to what the whole
	// quantized net has it off by, in decibels; 200 where there is no noise.
	SNR float64 `json:"snr_db,omitempty"`
	// Share is the bytes of its weight's codes.
	Bytes int64 `json:"bytes,omitempty"`
}

// measure compares the quantized net with the one in float32 on the pictures, and
// fills the report.
func (w *work) measure(net *layers.Net, state layers.StateDict) error {
	at := make(map[string]string) // where a layer's output is compared: behind its ReLU
	var names []string
	for _, name := range w.weights {
		at[name] = name
		for i := range w.net.Modules {
			if m := &w.net.Modules[i]; roleOf(m.Kind) == clips && m.In[0] == name && slices.Contains(w.outputs, m.Name) {
				at[name] = m.Name
			}
		}
		names = append(names, at[name])
	}
	signal, noise, err := w.noise(net, state, names)
	if err != nil {
		return err
	}
	for i := range w.net.Modules {
		m := &w.net.Modules[i]
		l := Layer{Layer: m.Name, Kind: layers.KindName(m.Kind), Why: w.floats[m.Name]}
		if r, ok := w.ranges[m.Name]; ok && slices.Contains(w.outputs, m.Name) {
			l.Range = &r
		}
		if slices.Contains(w.weights, m.Name) {
			w.layer(&l)
			l.SNR = decibels(signal[at[m.Name]], noise[at[m.Name]])
			w.report.MaxError = max(w.report.MaxError, l.MaxError)
		}
		if l.Bits != 0 || l.Why != "" || l.Range != nil {
			w.report.Layers = append(w.report.Layers, l)
		}
	}
	return nil
}

// layer fills in what is known of a layer's weight.
func (w *work) layer(l *Layer) {
	l.Bits = w.bits[l.Layer]
	f, s := weightFake(l.Bits, !w.o.PerTensor), w.scales[l.Layer]
	e := tensor(w.net, w.state, l.Layer, "weight")
	before := w.before[l.Layer]
	if before == nil {
		before = e.Data
	}
	for i, v := range rounded(e.Data, s, f) {
		l.MaxError = max(l.MaxError, abs(float64(v)-float64(before[i])))
		l.WeightRange[0], l.WeightRange[1] = min(l.WeightRange[0], v), max(l.WeightRange[1], v)
	}
	l.Bytes = int64(len(layers.PackCodes(make([]int8, len(e.Data)), l.Bits)))
}

func abs(v float64) float64 { return max(v, -v) }

// noise returns the sums of the squares of what modules make in float32, and of the
// difference from what they make in a quantized net.
func (w *work) noise(net *layers.Net, state layers.StateDict, names []string) (signal, noise map[string]float64, err error) {
	signal, noise = make(map[string]float64), make(map[string]float64)
	plain, err := newRunner(w.env.Backend, w.net, w.float())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	rough, err := newRunner(w.env.Backend, net, state)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rough.close()) }()
	pics := few(w.pics)
	for i := range pics { // one batch at a time: the outputs of all layers are large
		var want map[string]seen
		err := plain.run(w.ctx, pics[i:i+1], names, func(_ int, got map[string]seen) error { want = got; return nil })
		if err != nil {
			return nil, nil, err
		}
		err = rough.run(w.ctx, pics[i:i+1], names, func(_ int, got map[string]seen) error {
			for name, v := range got {
				for k, y := range want[name].data {
					d := float64(y) - float64(v.data[k])
					signal[name] += float64(y) * float64(y)
					noise[name] += d * d
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return signal, noise, nil
}

// lossiest returns the three layers whose outputs are furthest off.
func (r *Report) lossiest() []Layer {
	var list []Layer
	for _, l := range r.Layers {
		if l.Bits != 0 {
			list = append(list, l)
		}
	}
	slices.SortStableFunc(list, func(a, b Layer) int { return cmp.Compare(a.SNR, b.SNR) })
	return list[:min(3, len(list))]
}

// Table returns the report's table for people: a header, and a row a layer.
func (r *Report) Table() [][]string {
	rows := [][]string{{"layer", "kind", "bits", "weight", "largest error", "range", "signal to noise"}}
	for _, l := range r.Layers {
		row := []string{l.Layer, l.Kind, "", "", "", "", ""}
		if l.Bits != 0 {
			row[2] = fmt.Sprint(l.Bits)
			row[3] = fmt.Sprintf("%.4g to %.4g", l.WeightRange[0], l.WeightRange[1])
			row[4] = fmt.Sprintf("%.3g", l.MaxError)
			row[6] = fmt.Sprintf("%.1f dB", l.SNR)
		}
		if l.Range != nil {
			row[5] = fmt.Sprintf("%.4g to %.4g", l.Range[0], l.Range[1])
		}
		if l.Why != "" {
			row[2] = "float32: " + l.Why
		}
		rows = append(rows, row)
	}
	return rows
}
