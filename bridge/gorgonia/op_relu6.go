package bridge

import (
	"github.com/chewxy/hm"
	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A relu6Op is y = min(max(x, 0), 6).
type relu6Op struct {
	opBase
	u *unit
}

// ReLU6 is PyTorch's nn.ReLU6, min(max(x, 0), 6), of a float32 tensor of any
// shape. Its slope is one for 0 < x < 6, as in PyTorch.
func (k *Kernels) ReLU6(x *G.Node) (*G.Node, error) {
	if err := checkNodes("relu6", []int{-1}, x); err != nil {
		return nil, err
	}
	op := &relu6Op{}
	op.opBase = newBase(k, sameShape, []hm.Type{anyType, anyType}, "ReLU6{}")
	return G.ApplyOp(op, x)
}

func sameShape(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), nil }

// Do implements gorgonia.Op.
func (op *relu6Op) Do(in ...G.Value) (G.Value, error) {
	return op.do(&op.u, engine.Activation{F: engine.ReLU6}, plain, in, plain)
}

// DiffWRT implements gorgonia.SDOp.
func (op *relu6Op) DiffWRT(inputs int) []bool { return []bool{true} }

// SymDiff implements gorgonia.SDOp.
func (op *relu6Op) SymDiff(_ G.Nodes, y, grad *G.Node) (G.Nodes, error) {
	d := &relu6GradOp{}
	d.opBase = newBase(op.k, sameShape, []hm.Type{anyType, anyType, anyType}, "ReLU6Backward{}")
	dx, err := G.ApplyOp(d, y, grad)
	if err != nil {
		return nil, err
	}
	return G.Nodes{dx}, nil
}

// A relu6GradOp is dx from y and dy.
type relu6GradOp struct {
	opBase
	u *unit
}

// Do implements gorgonia.Op.
func (op *relu6GradOp) Do(in ...G.Value) (G.Value, error) {
	return op.do(&op.u, engine.ActivationBackward{F: engine.ReLU6}, plain, in, plain, plain)
}
