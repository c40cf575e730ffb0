package backendtest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A bug is planted into the reference backend to see the suite find it.
type bug struct {
	name string
	stem string // the operator that it is in, and whose cases are run; "": all
	// eval computes in place of ref.Eval.
	eval func(op engine.Op, in []ref.Array) ([]ref.Array, error)
	// after runs behind the kernel, for what goes wrong in memory.
	after func(c call)
	// refuse, workspace, record: what the backend does at compile and record time.
	refuse    bool
	workspace int
	record    func(enqueue func() error) (engine.Recording, error)
}

// A call is one run of a kernel.
type call struct {
	in, out []engine.Tensor
	ws      engine.Tensor
	n       int // how often the kernel ran before
	before  []byte
}

// planted is the reference backend with a bug.
type planted struct {
	engine.Backend
	bug
	recording *recorded
}

type recorded []func() error

func (r *recorded) Close() error { return nil }

func (r *recorded) Replay() error {
	for _, f := range *r {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (p *planted) Fuses(engine.Op, []engine.Spec, []engine.Spec) bool { return true }

func (p *planted) BFloat16() bool { return true }

func (p *planted) Record(enqueue func() error) (engine.Recording, error) {
	if p.bug.record != nil {
		return p.bug.record(enqueue)
	}
	p.recording = new(recorded)
	defer func() { p.recording = nil }()
	return p.recording, enqueue()
}

func (p *planted) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if p.refuse {
		return nil, fmt.Errorf("%T: %w", op, engine.ErrUnsupported)
	}
	_, err := p.Backend.Compile(op, in, out)
	return &plantedKernel{p: p, op: op}, err
}

type plantedKernel struct {
	p  *planted
	op engine.Op
	n  int
}

func (k *plantedKernel) Workspace() int { return k.p.workspace }

func (k *plantedKernel) Enqueue(in, out []engine.Tensor, ws engine.Tensor) error {
	run := func() error { return k.run(in, out, ws) }
	if r := k.p.recording; r != nil {
		*r = append(*r, run)
		return nil
	}
	return run()
}

func (k *plantedKernel) run(in, out []engine.Tensor, ws engine.Tensor) error {
	c := call{in: in, out: out, ws: ws, n: k.n, before: read(out[0])}
	k.n++
	arrays := make([]ref.Array, len(in))
	for i, t := range in {
		arrays[i] = ref.Decode(t.Spec, read(t))
	}
	here := k.p.stem == "" || k.p.stem == engine.OpName(k.op)
	eval := k.p.eval
	if eval == nil || !here {
		eval = ref.Eval
	}
	results, err := eval(k.op, arrays)
	if err != nil {
		return err
	}
	for i, t := range out {
		if err := t.Write(results[i].Encode()); err != nil {
			return err
		}
	}
	if k.p.after != nil && here {
		k.p.after(c)
	}
	return nil
}

func read(t engine.Tensor) []byte {
	b := make([]byte, t.Bytes())
	if err := t.Read(b); err != nil {
		panic(err)
	}
	return b
}

// poke writes a float32 at off bytes from the tensor's start.
func poke(t engine.Tensor, off int, v float32) {
	if err := t.Buf.Write(t.Off+off, engine.Bytes([]float32{v})); err != nil {
		panic(err)
	}
}

// on returns an eval that changes the inputs first.
func on(change func(op engine.Op, in []ref.Array)) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
		change(op, in)
		return ref.Eval(op, in)
	}
}

// then returns an eval that changes the outputs.
func then(change func(op engine.Op, in, out []ref.Array)) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
		out, err := ref.Eval(op, in)
		if err == nil {
			change(op, in, out)
		}
		return out, err
	}
}

// as returns an eval of another op of the same outputs.
func as[T engine.Op](change func(op T) T) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return func(op engine.Op, in []ref.Array) ([]ref.Array, error) { return ref.Eval(change(op.(T)), in) }
}

// memoryBugs are found whatever the operator.
func memoryBugs() []bug {
	const stem = "Activation"
	end := func(t engine.Tensor) int { return t.Bytes() }
	return []bug{
		{name: "writes behind the output", stem: stem, after: func(c call) { poke(c.out[0], end(c.out[0]), 1) }},
		{name: "writes before the output", stem: stem, after: func(c call) { poke(c.out[0], -4, 1) }},
		{name: "writes NaN behind the output", stem: stem,
			after: func(c call) { poke(c.out[0], end(c.out[0]), float32(math.NaN())) }},
		{name: "changes its input", stem: stem, after: func(c call) { poke(c.in[0], end(c.in[0])-4, 1e9) }},
		{name: "leaves the last element unwritten", stem: stem, after: func(c call) {
			last := len(c.before) - 4
			_ = c.out[0].Buf.Write(c.out[0].Off+last, c.before[last:])
		}},
		{name: "writes behind the workspace", stem: stem, workspace: 40, after: func(c call) { poke(c.ws, 40, 1) }},
		{name: "believes the workspace to be zero", stem: stem, workspace: 4, after: func(c call) {
			ws := ref.Decode(engine.F32(), read(c.ws))
			y := ref.Decode(c.out[0].Spec, read(c.out[0]))
			poke(c.out[0], 0, float32(y.V[0]+ws.V[0]))
		}},
		{name: "gives other bits the second time", stem: stem, after: func(c call) {
			if b := read(c.out[0]); c.n == 1 {
				b[0] ^= 1
				_ = c.out[0].Write(b)
			}
		}},
		{name: "runs while recording", stem: stem, record: func(enqueue func() error) (engine.Recording, error) {
			return new(recorded), enqueue()
		}},
		{name: "replays nothing", stem: stem, record: func(func() error) (engine.Recording, error) { return new(recorded), nil }},
		{name: "refuses a plain operator", stem: "Conv2D", refuse: true},
	}
}

// perturb adds a little to the element at a share f of every output.
func perturb(f float64) func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
	return then(func(_ engine.Op, _, out []ref.Array) {
		for _, y := range out {
			i := int(f * float64(len(y.V)-1))
			if y.DType != engine.Float32 && y.DType != engine.BFloat16 { // another code
				y.V[i] += 1 - 2*min(max(y.V[i], 0), 1)
				continue
			}
			y.V[i] += 2*y.Bound(i, C) + 1e-6*math.Abs(y.V[i]) + 1e-30
		}
	})
}

// lastElementBugs are planted into every operator there is.
func lastElementBugs() (bugs []bug) {
	stems, _ := suite()
	for _, s := range stems {
		bugs = append(bugs, bug{name: s + " is off in its last element", stem: s, eval: perturb(1)},
			bug{name: s + " is off in a middle element", stem: s, eval: perturb(0.5)})
	}
	return bugs
}

// truncated cuts the inputs to 10 bits of mantissa, as TF32 does.
func truncated(_ engine.Op, in []ref.Array) {
	for _, a := range in {
		for i, v := range a.V {
			a.V[i] = float64(math.Float32frombits(math.Float32bits(float32(v)) &^ (1<<13 - 1)))
		}
	}
}

// confused computes a convolution with other settings, and of its result the part
// that is there with the right ones.
func confused(change func(c *engine.Conv2D)) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
		want, err := ref.Eval(op, in)
		c := op.(engine.Conv2D).Complete()
		wrong := c
		change(&wrong)
		if err != nil || c == wrong || c.Epilogue != (engine.Epilogue{}) {
			return want, err
		}
		got, err := ref.Eval(wrong, in)
		if err != nil { // the kernel is larger than the picture then
			return want, nil
		}
		s := got[0].Shape
		for i := range want[0].V {
			if at := index(want[0].Spec, i); at[1] < s[1] && at[2] < s[2] {
				want[0].V[i] = got[0].V[((at[0]*s[1]+at[1])*s[2]+at[2])*s[3]+at[3]]
			}
		}
		return want, nil
	}
}

// naiveVariance computes 1/√(Σx²/M - μ² + eps) in float32.
func naiveVariance(op engine.Op, in, out []ref.Array) {
	bn := op.(engine.BatchNorm)
	if !bn.Train {
		return
	}
	c := len(in[1].V)
	for k := range c {
		var s, q float32
		for i := k; i < len(in[0].V); i += c {
			x := float32(in[0].V[i])
			s += x
			q += x * x
		}
		m := float32(len(in[0].V) / c)
		v := max(q/m-(s/m)*(s/m), 0)
		out[2].V[k] = 1 / math.Sqrt(float64(v+bn.Eps))
	}
}

// layerBugs are wrong in the arithmetic of a layer.
func layerBugs() []bug {
	return []bug{
		{name: "ignores dilation", stem: "Conv2D", eval: confused(func(c *engine.Conv2D) { c.Dilation = engine.Both(1) })},
		{name: "height's stride for width", stem: "Conv2D", eval: confused(func(c *engine.Conv2D) { c.Stride[1] = c.Stride[0] })},
		{name: "height's dilation for width", stem: "Conv2D", eval: confused(func(c *engine.Conv2D) { c.Dilation[1] = c.Dilation[0] })},
		{name: "padding above for the left", stem: "Conv2D", eval: confused(func(c *engine.Conv2D) { c.Pad[1] = c.Pad[0] })},
		{name: "padding below above", stem: "Conv2D", eval: confused(func(c *engine.Conv2D) { c.Pad[0] = c.Pad[2] })},
		{name: "TF32 convolution", stem: "Conv2D", eval: on(truncated)},
		{name: "TF32 gradient of weights", stem: "Conv2DBackwardWeight", eval: on(truncated)},
		{name: "forgets the bias", stem: "Conv2D", eval: on(func(op engine.Op, in []ref.Array) {
			if len(in) == 3 {
				clear(in[2].V)
			}
		})},
		{name: "weights of the wrong group", stem: "Conv2DBackwardData", eval: on(func(op engine.Op, in []ref.Array) {
			if op.(engine.Conv2DBackwardData).Conv2D.Groups == 2 {
				slices.Reverse(in[1].V)
			}
		})},
		{name: "activation before residual", stem: "Conv2D", eval: func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
			c := op.(engine.Conv2D)
			if !c.Epilogue.Residual {
				return ref.Eval(op, in)
			}
			c.Epilogue.Residual = false
			y, err := ref.Eval(c, in[:len(in)-1])
			for i, v := range in[len(in)-1].V {
				y[0].V[i] += v
			}
			return y, err
		}},
		{name: "γ in the wrong order", stem: "BatchNorm", eval: on(func(_ engine.Op, in []ref.Array) { slices.Reverse(in[1].V) })},
		{name: "|γ| for γ", stem: "BatchNormBackward", eval: on(func(_ engine.Op, in []ref.Array) {
			for i, v := range in[2].V {
				in[2].V[i] = math.Abs(v)
			}
		})},
		{name: "one-pass variance", stem: "BatchNorm", eval: then(naiveVariance)},
		{name: "biased running variance", stem: "BatchNorm", eval: then(func(op engine.Op, in, out []ref.Array) {
			if bn := op.(engine.BatchNorm); bn.Train {
				m, a := float64(len(in[0].V)/len(in[1].V)), float64(bn.Momentum)
				for k := range out[4].V {
					out[4].V[k] -= (out[4].V[k] - (1-a)*in[4].V[k]) / m
				}
			}
		})},
	}
}

// placeBugs choose the wrong element.
func placeBugs() []bug {
	return []bug{
		{name: "a NaN is lost", stem: "Activation", eval: on(func(_ engine.Op, in []ref.Array) { dropNaN(in[0].V, 0) })},
		{name: "the slope at a corner from the right", stem: "ActivationBackward", eval: then(func(op engine.Op, in, out []ref.Array) {
			if op.(engine.ActivationBackward).F == engine.ReLU6 {
				for i, y := range in[0].V {
					if y == 6 {
						out[0].V[i] = in[1].V[i]
					}
				}
			}
		})},
		{name: "GELU by its other form", stem: "Activation", eval: as(func(op engine.Activation) engine.Activation {
			if op.F == engine.GELU {
				op.F = engine.GELUTanh
			}
			return op
		})},
		{name: "the factors of the first image", stem: "Mul", eval: on(func(_ engine.Op, in []ref.Array) {
			if x, s := in[0], in[1]; len(s.V) < len(x.V) {
				each := len(s.V) / x.Shape[0]
				for i := range s.V {
					s.V[i] = s.V[i%each]
				}
			}
		})},
		{name: "all of an equal pair", stem: "ChosenBackward", eval: then(func(_ engine.Op, in, out []ref.Array) {
			for i, a := range in[0].V {
				if a == in[1].V[i] {
					out[0].V[i] = in[2].V[i]
				}
			}
		})},
		{name: "one slope's gradient of the last channel", stem: "PReLUBackward", eval: then(func(_ engine.Op, in, out []ref.Array) {
			if x := in[0]; len(in[1].V) == 1 && x.Shape[len(x.Shape)-1] > 1 {
				out[1].V[0] /= 2
			}
		})},
		{name: "a NaN never wins", stem: "MaxPool2D", eval: on(func(_ engine.Op, in []ref.Array) { dropNaN(in[0].V, math.Inf(-1)) })},
		{name: "padding wins", stem: "MaxPool2D", eval: then(func(op engine.Op, _, out []ref.Array) {
			if op.(engine.MaxPool2D).Pad != (engine.Pads{}) {
				out[0].V[0] = max(out[0].V[0], 0)
			}
		})},
		{name: "the last of a tie wins", stem: "MaxPool2DBackward", eval: on(tilt)},
		{name: "the last of a tie wins, fused", stem: "BatchNormActBackward", eval: on(func(op engine.Op, in []ref.Array) {
			if op.(engine.BatchNormActBackward).Pool != nil {
				tilt(op, in)
			}
		})},
		{name: "padding outside the divisor", stem: "AvgPool2D", eval: then(func(op engine.Op, _, out []ref.Array) {
			if pool := op.(engine.AvgPool2D); !pool.ExcludePad && pool.Pad[0] > 0 {
				out[0].V[0] *= 2
			}
		})},
		{name: "what hangs over in the divisor", stem: "AvgPool2D", eval: then(func(op engine.Op, in, out []ref.Array) {
			pool, x := op.(engine.AvgPool2D), in[0].Spec
			rows := pool.Divisors(0, x.Shape[1])
			k, last := pool.Kernel[0], rows[len(rows)-1]
			if !pool.ExcludePad && last < k {
				out[0].V[len(out[0].V)-1] *= float64(last) / float64(k)
			}
		})},
		{name: "the border pixel mirrored too", stem: "Pad2D", eval: then(func(op engine.Op, in, out []ref.Array) {
			if p := op.(engine.Pad2D); p.Mode == engine.PadReflect && p.Pad[0] == 1 {
				row := out[0].Shape[2] * out[0].Shape[3]
				copy(out[0].V[:row], out[0].V[row:])
			}
		})},
		{name: "the constant's gradient", stem: "Pad2DBackward", eval: then(func(op engine.Op, in, out []ref.Array) {
			if p := op.(engine.Pad2DBackward).Pad2D; p.Mode == engine.PadConstant && p.Pad[0] > 0 {
				out[0].V[0] += in[0].V[0]
			}
		})},
		{name: "a neighbor too few", stem: "LocalResponseNorm", eval: func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
			n := op.(engine.LocalResponseNorm)
			if n.Size > 1 && n.Beta > 0 {
				n.Alpha *= float32(n.Size-1) / float32(n.Size)
				n.Size--
			}
			return ref.Eval(n, in)
		}},
		{name: "regions of equal size", stem: "AdaptiveAvgPool2D", eval: func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
			size, x := op.(engine.AdaptiveAvgPool2D).Size, in[0].Shape
			k := engine.Pair{x[1] / size[0], x[2] / size[1]}
			want, err := ref.Eval(op, in)
			if k[0] == 0 || k[1] == 0 {
				return want, err
			}
			y, err := ref.Eval(engine.AvgPool2D{Window: engine.Window{Kernel: k}}, in)
			if err == nil && y[0].Equal(want[0].Spec) {
				return y, nil
			}
			return want, nil
		}},
		{name: "a detached tensor from the end", stem: "Detach", eval: then(func(_ engine.Op, _, out []ref.Array) { slices.Reverse(out[0].V) })},
		{name: "reshaped from the end", stem: "Reshape", eval: then(func(_ engine.Op, _, out []ref.Array) { slices.Reverse(out[0].V) })},
		{name: "NHWC flattened as it lies", stem: "Flatten", eval: then(func(_ engine.Op, in, out []ref.Array) { out[0].V = in[0].V })},
	}
}

// trainingBugs are wrong in random numbers, losses and optimizers.
func trainingBugs() []bug {
	swap := func(i, j int) func(engine.Op, []ref.Array) {
		return func(_ engine.Op, in []ref.Array) { in[1].V[i], in[1].V[j] = in[1].V[j], in[1].V[i] }
	}
	return []bug{
		{name: "key words swapped", stem: "Dropout", eval: on(swap(0, 1))},
		{name: "step words swapped", stem: "Dropout", eval: on(swap(2, 3))},
		{name: "stream ignored", stem: "Dropout", eval: as(func(op engine.Dropout) engine.Dropout { op.Stream = 0; return op })},
		{name: "smoothing ignored", stem: "CrossEntropy",
			eval: as(func(op engine.CrossEntropy) engine.CrossEntropy { op.LabelSmoothing = 0; return op })},
		{name: "the teacher at T = 1", stem: "KLDiv", eval: as(func(op engine.KLDiv) engine.KLDiv { op.T = 1; return op })},
		{name: "coupled decay", stem: "Adam", eval: as(func(op engine.Adam) engine.Adam { op.Decoupled = false; return op })},
		{name: "the momentum buffer of the first step is used", stem: "SGD",
			eval: on(func(_ engine.Op, in []ref.Array) { in[0].V[engine.HyperFirst] = 0 })},
		{name: "Nesterov ignored", stem: "SGD", eval: as(func(op engine.SGD) engine.SGD { op.Nesterov = false; return op })},
		{name: "gradients are not clipped", stem: "Adam", eval: on(func(_ engine.Op, in []ref.Array) { in[1].V[0] = 1 })},
		{name: "what is discarded is multiplied by zero", stem: "Accumulate",
			eval: then(func(op engine.Op, in, out []ref.Array) {
				k := op.(engine.Accumulate).K
				for t := range k {
					for i, a := range in[1+k+t].V {
						out[t].V[i] += 0 * a
					}
				}
			})},
	}
}

func dropNaN(x []float64, v float64) {
	for i := range x {
		if math.IsNaN(x[i]) {
			x[i] = v
		}
	}
}

// tilt makes later elements larger by less than a float32 can tell.
func tilt(_ engine.Op, in []ref.Array) {
	for i := range in[0].V {
		in[0].V[i] += 1e-13 * float64(i)
	}
}

// A verdict keeps what a case reports.
type verdict struct{ faults []string }

func (v *verdict) Errorf(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}
func (v *verdict) Logf(string, ...any) {}

// TestPlantedBugs fails where the suite passes a backend with a bug in it.
func TestPlantedBugs(t *testing.T) {
	_, cases := suite()
	for _, b := range slices.Concat(memoryBugs(), layerBugs(), placeBugs(), trainingBugs(), bfloat16Bugs(), channelBugs(), normBugs(), lastElementBugs()) {
		t.Run(b.name, func(t *testing.T) {
			if len(cases[b.stem]) == 0 {
				t.Fatalf("no cases of %s", b.stem)
			}
			p := &planted{Backend: ref.New(), bug: b}
			for _, c := range cases[b.stem] {
				var v verdict
				if c.check(&v, p); len(v.faults) > 0 {
					t.Log(v.faults[0])
					return
				}
			}
			t.Errorf("none of the %d cases of %s finds it", len(cases[b.stem]), b.stem)
		})
	}
}

// TestPlantedNothing shows that the bugs are found for their own sake.
func TestPlantedNothing(t *testing.T) {
	_, cases := suite()
	p := &planted{Backend: ref.New(), bug: bug{workspace: 8}}
	for _, c := range cases["BatchNorm"] {
		c.check(t, p)
	}
}
