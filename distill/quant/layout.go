package quant

import (
	"errors"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Layout returns the checkpoint that Static would give, with ranges that nobody has
// observed, and without images or a device: its file has as many bytes, its program
// the same steps. So a search knows what a net costs before it calibrates or trains
// one. Of a net to be trained (Options.Learned) it is what training leaves, with
// weights in codes. Equalization, AdaRound and the correction of biases change
// numbers only and are left out; bits under a budget need images, and are an error.
func Layout(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, error) {
	out, err := layout(c, o)
	if err != nil {
		return nil, compress.Failed("quantize", c, err)
	}
	return out, nil
}

func layout(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	switch {
	case o.Scheme != Int8:
		return nil, errors.New("only a net in integers has a layout without its images; the scheme must be " + Int8)
	case o.Under != "":
		return nil, errors.New("bits under a budget are chosen on images; give the bits of layers")
	}
	w := &work{o: o, c: c, report: &Report{Scheme: Int8, Images: o.Images}}
	if o.Images == 0 {
		w.report.Images = usualImages
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	var err error
	if w.net, w.state, err = layers.FoldBatchNorm(c.Net, c.State); err != nil {
		return nil, err
	}
	w.state = cloneState(w.state)
	if w.bits, err = w.chooseBits(); err != nil {
		return nil, err
	}
	if err := w.plan(); err != nil {
		return nil, err
	}
	w.ranges = make(map[string][2]float32)
	for _, name := range w.rounded() {
		w.ranges[name] = [2]float32{-1, 1}
	}
	w.scales = make(map[string][]float32)
	for _, name := range w.weights {
		e := tensor(w.net, w.state, name, "weight")
		s := weightScales(e.Data, e.Shape[0], 8, !o.PerTensor)
		top := float32(int(1)<<(w.bits[name]-1) - 1)
		for i := range s {
			s[i] *= 127 / top
		}
		w.scales[name] = s
	}
	net, state, err := w.quantized(nil, true)
	if err != nil {
		return nil, err
	}
	if o.Learned {
		if state, err = net.Encode(state); err != nil {
			return nil, err
		}
	}
	return w.checkpoint(net, state)
}

// plan decides where quantizers are.
func (w *work) plan() error {
	w.points = pointsOf(w.net, func(name string) bool { return w.bits[name] == 32 })
	if len(w.weights) == 0 {
		return errors.New("it has no convolution and no linear layer that could be computed in integers")
	}
	return nil
}

// rounded returns the modules whose outputs have ranges, in the order of execution of
// those that round what they make, and behind them what is rounded by who reads it.
func (w *work) rounded() []string {
	names := slices.Clone(w.outputs)
	for _, name := range w.inputs {
		if from := w.net.Module(name).In[0]; !slices.Contains(names, from) {
			names = append(names, from)
		}
	}
	return names
}
