package bridge

import (
	"fmt"

	"github.com/chewxy/hm"
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A BatchNorm2dOp normalizes the channels of images and holds their running
// statistics. It implements gorgonia.SDOp and gorgonia.TrainModeOp: Gorgonia's
// machines set it to training when they are made, or with gorgonia.EvalMode
// to inference.
type BatchNorm2dOp struct {
	opBase
	momentum, eps float64
	training      bool
	c             int
	state         [2]*engine.Variable // running mean and variance
	units         [2]*unit            // inference, training
	tick          int                 // counts the forward runs
}

// BatchNorm2d is PyTorch's nn.BatchNorm2d: x [N,C,H,W], scale γ and shift β
// both [C], float32. In training (the mode of a new operator)
//
//	y = (x-μ)/√(v+eps)·γ + β
//
// with the mean μ and the biased variance v of the batch, and the running mean
// and the running, unbiased variance move by momentum towards the batch's; in
// inference the running ones, at first 0 and 1, stand for μ and v.
//
// Unlike gorgonia.BatchNorm it is one operator with its scale and shift, its
// gradient in inference uses the running variance, its statistics survive
// SetTraining, and two of them never become one.
func (k *Kernels) BatchNorm2d(x, scale, shift *G.Node, momentum, eps float64) (*G.Node, *BatchNorm2dOp, error) {
	if err := checkNodes("batch norm", []int{4, 1, 1}, x, scale, shift); err != nil {
		return nil, nil, err
	}
	c := x.Shape()[1]
	op := &BatchNorm2dOp{momentum: momentum, eps: eps, training: true, c: c}
	op.opBase = newBase(k, op.infer, []hm.Type{imageType, vectorType, vectorType, imageType},
		"BatchNorm2d{channels=%d,momentum=%v,eps=%v}", c, momentum, eps)
	for i, name := range []string{"running_mean", "running_var"} {
		op.state[i] = &engine.Variable{Name: fmt.Sprintf("%v.%s", op, name), Spec: engine.F32(c)}
	}
	if err := op.Reset(); err != nil {
		return nil, nil, err
	}
	y, err := G.ApplyOp(op, x, scale, shift)
	if err != nil {
		return nil, nil, err
	}
	return y, op, nil
}

func (op *BatchNorm2dOp) engine() engine.BatchNorm {
	return engine.BatchNorm{Eps: float32(op.eps), Momentum: float32(op.momentum), Train: op.training}
}

func (op *BatchNorm2dOp) infer(in []tensor.Shape) (tensor.Shape, error) {
	want := tensor.Shape{op.c}
	if len(in[0]) != 4 || in[0][1] != op.c || !in[1].Eq(want) || !in[2].Eq(want) {
		return nil, fmt.Errorf("takes x [N,%d,H,W], scale and shift [%d], got %v", op.c, op.c, in)
	}
	return in[0].Clone(), nil
}

// SetTraining implements gorgonia.TrainModeOp. The statistics stay.
func (op *BatchNorm2dOp) SetTraining(training bool) error {
	op.training = training
	return nil
}

// Reset sets the running mean to 0 and the running variance to 1.
func (op *BatchNorm2dOp) Reset() error {
	ones := make([]float32, op.c)
	for i := range ones {
		ones[i] = 1
	}
	shape := tensor.WithShape(op.c)
	return op.SetStats(tensor.New(shape, tensor.WithBacking(make([]float32, op.c))), tensor.New(shape, tensor.WithBacking(ones)))
}

// Stats returns copies of the running mean and variance [C]; nil, nil when the
// kernels are closed.
func (op *BatchNorm2dOp) Stats() (runningMean, runningVariance tensor.Tensor) {
	op.k.mu.Lock()
	defer op.k.mu.Unlock()
	var out [2]tensor.Tensor
	for i, v := range op.state {
		data := make([]float32, op.c)
		if op.k.closed || op.k.store.Get(v, engine.Bytes(data)) != nil {
			return nil, nil
		}
		out[i] = tensor.New(tensor.WithShape(op.c), tensor.WithBacking(data))
	}
	return out[0], out[1]
}

// SetStats sets the running mean and variance [C].
func (op *BatchNorm2dOp) SetStats(runningMean, runningVariance tensor.Tensor) error {
	op.k.mu.Lock()
	defer op.k.mu.Unlock()
	if op.k.closed {
		return op.wrap(fmt.Errorf("the kernels are closed"))
	}
	for i, t := range []tensor.Tensor{runningMean, runningVariance} {
		data, err := denseOf(t, tensor.Shape{op.c})
		if err == nil {
			err = op.k.store.Set(op.state[i], engine.Bytes(data))
		}
		if err != nil {
			return op.wrap(err)
		}
	}
	return nil
}

// vector is the port of a value a channel.
func (op *BatchNorm2dOp) vector() port { return port{shape: tensor.Shape{op.c}, layout: channels} }

// Do implements gorgonia.Op.
func (op *BatchNorm2dOp) Do(in ...G.Value) (G.Value, error) {
	op.k.mu.Lock()
	defer op.k.mu.Unlock()
	if len(in) != 3 {
		return nil, op.wrap(fmt.Errorf("takes 3 values, got %d", len(in)))
	}
	u, x := &op.units[0], port{shape: in[0].Shape().Clone(), layout: image}
	outputs := []port{x}
	if op.training {
		u, outputs = &op.units[1], []port{x, op.vector(), op.vector()}
	}
	if *u == nil {
		var err error
		inputs := []port{x, op.vector(), op.vector(), {variable: op.state[0]}, {variable: op.state[1]}}
		if *u, err = op.k.unit(op.engine(), inputs, outputs); err != nil {
			return nil, op.wrap(err)
		}
	}
	if err := (*u).run(op.k, in...); err != nil {
		return nil, op.wrap(err)
	}
	op.tick++
	return (*u).result(0), nil
}

// DiffWRT implements gorgonia.SDOp.
func (op *BatchNorm2dOp) DiffWRT(inputs int) []bool { return []bool{true, true, true} }

// SymDiff implements gorgonia.SDOp.
func (op *BatchNorm2dOp) SymDiff(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
	shared := &batchNormGrad{op: op}
	out := make(G.Nodes, 3)
	for i, name := range []string{"x", "scale", "shift"} {
		d := &batchNormGradOp{shared: shared, which: i}
		shape, typ := sameShape, imageType
		if i > 0 {
			shape, typ = func([]tensor.Shape) (tensor.Shape, error) { return tensor.Shape{op.c}, nil }, vectorType
		}
		d.opBase = newBase(op.k, shape, []hm.Type{imageType, imageType, vectorType, typ}, "BatchNorm2dBackward{of=%s,d=%s}", op.String(), name)
		var err error
		if out[i], err = G.ApplyOp(d, in[0], grad, in[1]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A batchNormGrad computes the three gradients at once; the operators that ask
// for them in one run of the machine get those of that run.
type batchNormGrad struct {
	op    *BatchNorm2dOp
	units [2]*unit
	tick  int // of op at the last computation
	last  *unit
}

// run brings last up to date; k.mu is held.
func (b *batchNormGrad) run(x, dy, gamma G.Value) error {
	op := b.op
	if op.tick == 0 {
		return fmt.Errorf("there was no forward run")
	}
	if b.tick == op.tick {
		return nil
	}
	img := port{shape: x.Shape().Clone(), layout: image}
	in, outputs := []port{img, img, op.vector()}, []port{img, op.vector(), op.vector()}
	var e engine.Op = engine.BatchNormEvalBackward{Eps: float32(op.eps)}
	u, args := &b.units[0], []G.Value{x, dy, gamma}
	if op.training {
		e, u = engine.BatchNormBackward{}, &b.units[1]
		in = append(in, op.vector(), op.vector())
		if op.units[1] == nil {
			return fmt.Errorf("the forward run was in inference")
		}
		args = append(args, op.units[1].result(1), op.units[1].result(2))
	} else {
		in = append(in, port{variable: op.state[0]}, port{variable: op.state[1]})
	}
	if *u == nil {
		var err error
		if *u, err = op.k.unit(e, in, outputs); err != nil {
			return err
		}
	}
	if err := (*u).run(op.k, args...); err != nil {
		return err
	}
	b.last, b.tick = *u, op.tick
	return nil
}

// A batchNormGradOp is dx, dγ or dβ from x, dy and γ.
type batchNormGradOp struct {
	opBase
	shared *batchNormGrad
	which  int
}

// Do implements gorgonia.Op.
func (op *batchNormGradOp) Do(in ...G.Value) (G.Value, error) {
	op.k.mu.Lock()
	defer op.k.mu.Unlock()
	if len(in) != 3 {
		return nil, op.wrap(fmt.Errorf("takes 3 values, got %d", len(in)))
	}
	if err := op.shared.run(in[0], in[1], in[2]); err != nil {
		return nil, op.wrap(err)
	}
	return op.shared.last.result(op.which), nil
}
