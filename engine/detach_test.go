package engine

import "testing"

// TestDetachStopsGradients: of x·detach(x) the gradient is that of the first factor alone,
// and behind it an op without a gradient may stand.
func TestDetachStopsGradients(t *testing.T) {
	b := NewBuilder(NewGraph())
	x, first := b.Input("x", F32(2)), b.Input("first", F32())
	kept := &Variable{Name: "kept", Spec: F32(2)}
	d := b.One(Detach{}, x)
	y := b.One(Accumulate{K: 1, Weight: 1}, first, d, b.Variable(kept))
	loss := b.One(MSE{}, b.One(Mul{}, x, y), b.One(Fill{Shape: []int{2}}))
	grads, err := Grad(b.Graph(), loss, []*Value{x})
	if err != nil {
		t.Fatal(err)
	}
	if grads[0] == nil {
		t.Error("the factor has no gradient")
	}
	if n := grads[0].Node(); OpName(n.Op) != "Mul" || n.In[1] != y {
		t.Errorf("the gradient of x is %v, not one product", n)
	}
}
