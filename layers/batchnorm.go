package layers

import (
	"fmt"
	"math"
	"slices"
)

// BatchNormFactors returns what a BatchNorm2d in evaluation makes of a layer
// before it with the given bias (nil: none): a factor for each output channel of
// its weight, and a new bias,
//
//	factor = γ/√(v+ε)    bias' = (bias-m)·factor + β
//
// in float64, the bias rounded once. All slices have one value a channel.
func BatchNormFactors(eps float64, gamma, beta, mean, variance, bias []float32) (factor []float64, folded []float32, err error) {
	factor, folded = make([]float64, len(gamma)), make([]float32, len(gamma))
	for c := range factor {
		factor[c] = float64(gamma[c]) / math.Sqrt(float64(variance[c])+eps)
		b := 0.0
		if bias != nil {
			b = float64(bias[c])
		}
		folded[c] = float32(float64((b-float64(mean[c]))*factor[c]) + float64(beta[c]))
		if !finite(float32(factor[c])) || !finite(folded[c]) {
			return nil, nil, fmt.Errorf("channel %d with weight %g and running_var %g cannot be folded", c, gamma[c], variance[c])
		}
	}
	return factor, folded, nil
}

func finite(v float32) bool { return v-v == 0 }

// FoldBatchNorm is the rewrite that folds every BatchNorm2d into the
// convolution before it, where nothing else reads that convolution: the net in
// evaluation, with fewer modules. A convolution that had no bias gets one.
// Batch norms that stand elsewhere stay.
func FoldBatchNorm(n *Net, s StateDict) (*Net, StateDict, error) {
	if s != nil {
		if err := n.CheckState(s); err != nil {
			return nil, nil, err
		}
	}
	out := n.clone()
	state := slices.Clone(s)
	for {
		bn := slices.IndexFunc(out.Modules, func(m Module) bool { return out.folds(&m) })
		if bn < 0 {
			break
		}
		var err error
		if state, err = out.fold(bn, state); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", n, err)
		}
	}
	if err := out.Validate(); err != nil {
		return nil, nil, err
	}
	return out, out.sorted(state), nil
}

// folds reports whether m is a batch norm that can go into the convolution
// before it.
func (n *Net) folds(m *Module) bool {
	if _, ok := m.Kind.(BatchNorm2d); !ok {
		return false
	}
	conv := n.Module(m.In[0])
	if conv == nil || conv.Name == n.Output || m.Fake[FakeInput] != (Fake{}) {
		return false
	}
	for _, role := range []string{FakeWeight, FakeOutput} {
		if _, ok := conv.Fake[role]; ok {
			return false // what is rounded is not the folded weight, or not the sum
		}
	}
	if _, ok := conv.Kind.(Conv2d); !ok {
		return false
	}
	return len(n.readers(conv.Name)) == 1 && !n.shares(conv) && !n.shares(m)
}

// readers returns the modules that read a module's output.
func (n *Net) readers(name string) []*Module {
	var out []*Module
	for i := range n.Modules {
		if slices.Contains(n.Modules[i].In, name) {
			out = append(out, &n.Modules[i])
		}
	}
	return out
}

// shares reports whether another module uses one of m's tensors.
func (n *Net) shares(m *Module) bool {
	for _, p := range m.Params() {
		for i := range n.Modules {
			o := &n.Modules[i]
			if o.Name == m.Name {
				continue
			}
			for _, q := range o.Params() {
				if o.Tensor(q.Role) == m.Tensor(p.Role) {
					return true
				}
			}
		}
	}
	return false
}

// fold takes the batch norm at the given place out of a net that is being
// rewritten.
func (n *Net) fold(at int, s StateDict) (StateDict, error) {
	bn := n.Modules[at]
	conv := n.Module(bn.In[0])
	kind := conv.Kind.(Conv2d)
	if s != nil {
		value := func(m *Module, role string) []float32 { return s.Find(m.Tensor(role)).Data }
		var bias []float32
		if kind.Bias {
			bias = value(conv, "bias")
		}
		factor, folded, err := BatchNormFactors(bn.Kind.(BatchNorm2d).Eps, value(&bn, "weight"), value(&bn, "bias"),
			value(&bn, "running_mean"), value(&bn, "running_var"), bias)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bn.Name, err)
		}
		w := s.Find(conv.Tensor("weight"))
		data := make([]float32, len(w.Data))
		for i, v := range w.Data {
			data[i] = float32(float64(v) * factor[i/(len(data)/len(factor))])
		}
		w.Data, w.Codes = data, nil
		s = slices.DeleteFunc(s, func(e Entry) bool {
			return e.Name == conv.Tensor("bias") || slices.ContainsFunc(bn.Kind.Params(), func(p Param) bool { return bn.Tensor(p.Role) == e.Name })
		})
		s = append(s, Entry{Name: conv.Tensor("bias"), Shape: []int{len(folded)}, Data: folded})
	}
	kind.Bias = true
	conv.Kind = kind
	if f, ok := bn.Fake[FakeOutput]; ok {
		conv.setFake(FakeOutput, f, &bn)
	}
	n.replace(bn.Name, conv.Name)
	n.Modules = slices.Delete(n.Modules, at, at+1)
	n.StateOrder = slices.DeleteFunc(n.StateOrder, func(name string) bool { return name == bn.Name })
	return s, nil
}

// replace makes all that reads one module read another.
func (n *Net) replace(old, name string) {
	for i := range n.Modules {
		if m := &n.Modules[i]; slices.Contains(m.In, old) {
			m.In = slices.Clone(m.In)
			for k := range m.In {
				if m.In[k] == old {
					m.In[k] = name
				}
			}
		}
	}
	if n.Output == old {
		n.Output = name
	}
}

// sorted returns the state in the net's order.
func (n *Net) sorted(s StateDict) StateDict {
	if s == nil {
		return nil
	}
	ts, err := n.params()
	if err != nil {
		return s
	}
	out := make(StateDict, 0, len(s))
	for _, t := range ts {
		if e := s.Find(t.name); e != nil {
			out = append(out, *e)
		}
	}
	return out
}

// Moments are the mean and the variance of each channel of a value, over the
// pixels of some images.
type Moments struct{ Mean, Var []float32 }

// InsertBatchNorm returns the rewrite that puts a BatchNorm2d behind each
// convolution that moments names, and which no batch norm follows: a net whose
// batch norms had been folded away can then be trained as if they never were.
// The new batch norm has
//
//	running_mean = m    running_var = v    γ = √(v+ε)    β = m
//
// so that the net in evaluation computes the same as before, whatever the
// moments; with those of the convolution's output on training images, it starts
// in training from there too. It is named after the convolution, with "_bn"
// behind it.
func InsertBatchNorm(moments map[string]Moments) Rewrite {
	return func(n *Net, s StateDict) (*Net, StateDict, error) {
		out, state := n.clone(), slices.Clone(s)
		found := 0
		for i := 0; i < len(out.Modules); i++ {
			conv := &out.Modules[i]
			m, ok := moments[conv.Name]
			if !ok {
				continue
			}
			found++
			kind, ok := conv.Kind.(Conv2d)
			if !ok {
				return nil, nil, fmt.Errorf("%s: %s is a %s; a batch norm goes behind a Conv2d", n, conv.Name, KindName(conv.Kind))
			}
			if slices.ContainsFunc(out.readers(conv.Name), func(r *Module) bool { _, is := r.Kind.(BatchNorm2d); return is }) {
				return nil, nil, fmt.Errorf("%s: a batch norm follows %s already", n, conv.Name)
			}
			bn := Module{Name: conv.Name + "_bn", In: []string{conv.Name}, Kind: BatchNorm(kind.OutChannels)}
			entries, err := bn.entries(m)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %s: %w", n, conv.Name, err)
			}
			out.replace(conv.Name, bn.Name)
			out.Modules = slices.Insert(out.Modules, i+1, bn)
			if k := slices.Index(out.StateOrder, conv.Name); k >= 0 {
				out.StateOrder = slices.Insert(out.StateOrder, k+1, bn.Name)
			}
			if s != nil {
				state = append(state, entries...)
			}
			i++
		}
		if found != len(moments) {
			return nil, nil, fmt.Errorf("%s: %d of the %d convolutions that a batch norm was to follow are not there", n, len(moments)-found, len(moments))
		}
		if err := out.Validate(); err != nil {
			return nil, nil, err
		}
		return out, out.sorted(state), nil
	}
}

// entries returns the tensors of a batch norm that changes nothing.
func (m *Module) entries(x Moments) ([]Entry, error) {
	bn := m.Kind.(BatchNorm2d)
	if len(x.Mean) != bn.NumFeatures || len(x.Var) != bn.NumFeatures {
		return nil, fmt.Errorf("%d means and %d variances for %d channels", len(x.Mean), len(x.Var), bn.NumFeatures)
	}
	gamma := make([]float32, bn.NumFeatures)
	for c, v := range x.Var {
		if !(v >= 0) || !finite(v) || !finite(x.Mean[c]) {
			return nil, fmt.Errorf("channel %d has mean %g and variance %g", c, x.Mean[c], v)
		}
		gamma[c] = float32(math.Sqrt(float64(v) + bn.Eps))
	}
	vector := func(role string, data []float32) Entry {
		return Entry{Name: m.Tensor(role), Shape: []int{len(data)}, Data: slices.Clone(data)}
	}
	return []Entry{
		vector("weight", gamma), vector("bias", x.Mean), vector("running_mean", x.Mean), vector("running_var", x.Var),
		{Name: m.Tensor("num_batches_tracked"), Shape: []int{}, Int: []int64{0}},
	}, nil
}
