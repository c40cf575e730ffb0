package quant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant/observe"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Int8 is the scheme of nets with weights in 8 bits or fewer and activations in 8,
// whose ranges are in the file: they are evaluated in integers (layers.Integers).
const Int8 = "int8"

// Static returns a copy of a checkpoint's model with quantizers of its weights and
// of what lies between its layers (layers.Fake). Batch norms are folded into their convolutions, ranges of activations
// are observed on images of the environment's training part, and what repairs the
// options ask for are made. The order is fixed: folding, equalization, absorption,
// ranges, weights, rounding, biases. The same images, options and backend give the
// same file.
func Static(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	return static(ctx, env, c, o, nil)
}

// StaticOn is Static on images that are prepared already, batches of [N,H,W,C], in the
// place of those that it draws. Of the environment it uses the backend and the log.
func StaticOn(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options, images []Images) (*checkpoint.Checkpoint, *Report, error) {
	if env.Backend == nil || len(images) == 0 {
		return nil, nil, compress.Failed("quantize", c, errors.New("ranges of activations are found on images, of which there are none"))
	}
	for _, b := range images {
		if b.N < 1 || len(b.Pixels) != b.N*b.H*b.W*b.C {
			return nil, nil, compress.Failed("quantize", c, fmt.Errorf("%d numbers are no %d images of %dx%d pixels of %d channels", len(b.Pixels), b.N, b.H, b.W, b.C))
		}
	}
	return static(ctx, env, c, o, images)
}

func static(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options, images []Images) (*checkpoint.Checkpoint, *Report, error) {
	w := &work{ctx: ctx, env: env, o: o, c: c, report: &Report{Scheme: Int8}, pics: images}
	out, err := w.run()
	if err != nil {
		return nil, nil, compress.Failed("quantize", c, err)
	}
	return out, w.report, nil
}

// work is a net on its way into integers.
type work struct {
	ctx    context.Context
	env    compress.Env
	o      Options
	c      *checkpoint.Checkpoint
	report *Report

	pics []Images
	// net and state are the net as repairs leave it, without quantizers.
	net   *layers.Net
	state layers.StateDict
	points
	ranges map[string][2]float32 // of values, by module
	bits   map[string]int        // of weights, by module
	scales map[string][]float32  // of weights, by module
	// before are weights in float32 that have been rounded since, biases likewise.
	before, biases map[string][]float32
	logits         [][]float32 // in float32, of the first pictures
}

// float returns the state in float32, without rounding of weights and the
// corrections of biases that go with it.
func (w *work) float() layers.StateDict {
	s := slices.Clone(w.state)
	for role, values := range map[string]map[string][]float32{"weight": w.before, "bias": w.biases} {
		for module, v := range values {
			tensor(w.net, s, module, role).Data = v // of the copy
		}
	}
	return s
}

// check reports a model that cannot be quantized.
func (w *work) check() error {
	if any, _ := w.c.Net.Quantized(); any || w.c.Scheme() != checkpoint.Float32 {
		own := w.c.Scheme()
		if any {
			own = "its net has quantizers"
		}
		return fmt.Errorf("it is quantized already (%s); start from the 32-bit checkpoint", own)
	}
	if err := w.c.CheckFinite(); err != nil {
		return err
	}
	return w.c.Net.CheckState(w.c.State)
}

func (w *work) run() (*checkpoint.Checkpoint, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	err := w.pictures()
	if err != nil {
		return nil, err
	}
	if w.net, w.state, err = layers.FoldBatchNorm(w.c.Net, w.c.State); err != nil {
		return nil, err
	}
	w.state = cloneState(w.state)
	if w.bits, err = w.chooseBits(); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		do   func() error
		on   bool
	}{
		{"equal ranges of channels", w.equalize, w.o.Equalize},
		{"biases absorbed", w.absorb, w.o.Equalize},
		{"ranges of activations", w.calibrate, true},
		{"ranges of weights", w.weightScales, true},
		{"bits of layers", w.fit, w.o.Under != ""},
		{"rounding of weights", w.adaround, w.o.AdaRound},
		{"corrected biases", w.correctBias, w.o.CorrectBias},
	} {
		if !step.on {
			continue
		}
		if w.env.Log != nil {
			w.env.Log.Info(fmt.Sprintf("quantize: %s, by %d images", step.name, w.report.Images))
		}
		if err := step.do(); err != nil {
			return nil, err
		}
	}
	return w.finish()
}

// pictures draws the images, unless there are some, and counts them.
func (w *work) pictures() (err error) {
	if w.pics == nil {
		images := w.o.Images
		if images == 0 {
			images = usualImages
		}
		if w.pics, err = drawPictures(w.ctx, w.env, w.c, images, w.o.Seed); err != nil {
			return err
		}
	}
	for _, b := range w.pics {
		w.report.Images += b.N
	}
	return nil
}

// cloneState returns a state whose numbers may be changed.
func cloneState(s layers.StateDict) layers.StateDict {
	out := slices.Clone(s)
	for i := range out {
		out[i].Data, out[i].Codes = slices.Clone(out[i].Data), nil
	}
	return out
}

// tensor returns the tensor of a module's role, nil if it has none.
func tensor(n *layers.Net, s layers.StateDict, module, role string) *layers.Entry {
	return s.Find(n.Module(module).Tensor(role))
}

// calibrate observes the ranges of what is rounded.
func (w *work) calibrate() error {
	if err := w.plan(); err != nil {
		return err
	}
	observers := make(map[string]observe.Observer)
	names := w.rounded()
	for _, name := range names {
		x, err := observe.New(w.o.observer(), observe.Options{Percentile: w.o.Percentile})
		if err != nil {
			return err
		}
		observers[name] = x
	}
	r, err := newRunner(w.env.Backend, w.net, w.state)
	if err != nil {
		return err
	}
	err = r.run(w.ctx, w.pics, names, func(_ int, got map[string]seen) error {
		for _, name := range names {
			if err := observers[name].Add(got[name].data); err != nil {
				return fmt.Errorf("%s: %w; its range cannot be found", name, err)
			}
		}
		return nil
	})
	if err = errors.Join(err, r.close()); err != nil {
		return err
	}
	w.ranges = make(map[string][2]float32)
	for _, name := range names {
		lo, hi, err := observers[name].Range()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		w.ranges[name] = [2]float32{lo, hi}
	}
	return nil
}

// activation returns the quantizer of a value with an observed range.
func (w *work) activation(module, role, value string) (layers.Quantizer, error) {
	f := activationFake()
	f.Learned = w.o.Learned
	lo, hi := f.Codes()
	r := w.ranges[value]
	s, z, err := observe.Scale(r[0], r[1], int(lo), int(hi), false)
	if err != nil {
		return layers.Quantizer{}, fmt.Errorf("%s: %w", module, err)
	}
	return layers.Quantizer{Fake: f, Module: module, Role: role, Scale: []float32{s}, Zero: []float32{float32(z)}}, nil
}

// activations returns the quantizers of all activations.
func (w *work) activations() ([]layers.Quantizer, error) {
	var out []layers.Quantizer
	for _, name := range w.outputs {
		q, err := w.activation(name, layers.FakeOutput, name)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	for _, name := range w.inputs {
		q, err := w.activation(name, layers.FakeInput, w.net.Module(name).In[0])
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

// reads returns the quantizer of what a layer with weights reads.
func (w *work) reads(qs []layers.Quantizer, module string) *layers.Quantizer {
	find := func(name, role string) *layers.Quantizer {
		if i := slices.IndexFunc(qs, func(q layers.Quantizer) bool { return q.Module == name && q.Role == role }); i >= 0 {
			return &qs[i]
		}
		return nil
	}
	if q := find(module, layers.FakeInput); q != nil {
		return q
	}
	for name := w.net.Module(module).In[0]; name != layers.Image; name = w.net.Module(name).In[0] {
		if q := find(name, layers.FakeOutput); q != nil {
			return q
		}
	}
	return nil
}

// weightScales chooses the scales of the weights.
func (w *work) weightScales() error {
	qs, err := w.activations()
	if err != nil {
		return err
	}
	w.scales = make(map[string][]float32)
	for _, name := range w.weights {
		e := tensor(w.net, w.state, name, "weight")
		s := weightScales(e.Data, e.Shape[0], w.bits[name], !w.o.PerTensor)
		if b := tensor(w.net, w.state, name, "bias"); b != nil {
			if in := w.reads(qs, name); in != nil {
				b.Data = biasRoom(s, b.Data, in.Scale[0], w.most(name))
			}
		}
		w.scales[name] = s
	}
	return nil
}

// most is the largest magnitude that the rounded output of a layer, or of the ReLU
// behind it, can have; infinite where it is not rounded.
func (w *work) most(name string) float32 {
	for i := range w.net.Modules {
		m := &w.net.Modules[i]
		behind := roleOf(m.Kind) == clips && m.In[0] == name
		if r, ok := w.ranges[m.Name]; ok && (m.Name == name || behind) && slices.Contains(w.outputs, m.Name) {
			return max(r[0], -r[0], r[1], -r[1])
		}
	}
	return float32(math.Inf(1))
}

// quantized returns the net with its quantizers: with those of the weights that
// done accepts, and of activations where acts is set.
func (w *work) quantized(done func(module string) bool, acts bool) (*layers.Net, layers.StateDict, error) {
	var qs []layers.Quantizer
	if acts {
		var err error
		if qs, err = w.activations(); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range w.weights {
		if done == nil || done(name) {
			s, f := w.scales[name], weightFake(w.bits[name], !w.o.PerTensor)
			f.Learned = w.o.Learned
			qs = append(qs, layers.Quantizer{
				Fake: f, Module: name, Role: layers.FakeWeight, Scale: s, Zero: make([]float32, len(s)),
			})
		}
	}
	return layers.SetFakes(qs)(w.net, w.state)
}

// finish makes the checkpoint and its report.
func (w *work) finish() (*checkpoint.Checkpoint, error) {
	net, state, err := w.quantized(nil, true)
	if err != nil {
		return nil, err
	}
	left, err := layers.InFloat(net, state)
	if err != nil {
		return nil, err
	}
	for _, line := range left { // what evaluation says counts
		name, why, _ := strings.Cut(line, ": ")
		if w.floats[name] == "" {
			w.floats[name] = why
		}
	}
	if err := w.measure(net, state); err != nil {
		return nil, err
	}
	out, err := w.checkpoint(net, state)
	if err != nil {
		return nil, err
	}
	for _, e := range w.c.State {
		w.report.BytesBefore += compare(e, e).Before
	}
	for _, e := range out.State {
		n := 4 * int64(len(e.Data)+2*len(e.Int))
		if e.Codes != nil {
			n = int64(len(e.Codes.Bytes)) // its scales are a tensor of their own
		}
		w.report.BytesAfter += n
	}
	return out, nil
}

// checkpoint returns the quantized net as it is stored.
func (w *work) checkpoint(net *layers.Net, state layers.StateDict) (*checkpoint.Checkpoint, error) {
	if !w.o.Learned {
		var err error
		if state, err = net.Encode(state); err != nil {
			return nil, err
		}
	}
	out := &checkpoint.Checkpoint{Net: net, State: state, Classes: w.c.Classes, Preprocess: w.c.Preprocess}
	detail := fmt.Sprintf("%s, %s of %d images (seed %d)", Int8, w.o.observer(), w.report.Images, w.o.Seed)
	for _, x := range []struct {
		on   bool
		text string
	}{
		{w.o.PerTensor, "one scale a weight"}, {w.o.Bits != 0, fmt.Sprintf("weights of %d bits", w.o.Bits)},
		{len(w.o.LayerBits) > 0, "bits by layer"},
		{w.o.Equalize, "equalized"}, {w.o.AdaRound, "adaround"}, {w.o.CorrectBias, "biases corrected"},
		{w.o.Under != "", "under " + w.o.Under}, {w.o.Learned, "to be trained"},
	} {
		if x.on {
			detail += ", " + x.text
		}
	}
	return out, compress.Derive(out, w.c, "quantize", detail)
}

// decibels is the ratio of two sums of squares, signal and noise.
func decibels(signal, noise float64) float64 {
	switch {
	case noise == 0:
		return 200
	case signal == 0:
		return -200
	}
	return 10 * math.Log10(signal/noise)
}
