package named

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine/half"
)

// Combine puts together the tensors that PyTorch stores a reparametrized one in,
// under its own name, and notes it:
//
//	X_orig, X_mask    torch.nn.utils.prune:       X = X_orig ⊙ X_mask
//	X_g, X_v          torch.nn.utils.weight_norm: X = X_g · X_v / ‖X_v‖
//	M.parametrizations.X.original0, .original1
//	                  weight_norm of torch.nn.utils.parametrizations: as X_g, X_v
//
// The norm (Salimans and Kingma, 2016) is taken over the axes on which the
// shape of X_g has 1 and X_v more, in float64; so the result is within rounding
// of PyTorch's. The product with a mask is PyTorch's to the bit. Other
// parametrizations, whose functions no file holds, stay as they are. The values
// are computed in place; the names are looked up in memory of the budget.
func (f *File) Combine(b *Budget) error {
	if !slices.ContainsFunc(f.Tensors, func(t Tensor) bool { _, second, _ := partner(t.Name); return second != "" }) {
		return nil
	}
	if err := b.Take(2*len(f.Tensors), tensorCost); err != nil {
		return err
	}
	at := make(map[string]int, len(f.Tensors))
	for i := range f.Tensors {
		at[f.Tensors[i].Name] = i
	}
	gone := make(map[int]bool)
	masks, norms := 0, 0
	for i := range f.Tensors {
		t := &f.Tensors[i]
		name, second, masked := partner(t.Name)
		j, ok := at[second]
		if _, taken := at[name]; !ok || taken || t.Coded || f.Tensors[j].Coded {
			continue
		}
		if masked && t.mask(&f.Tensors[j]) {
			masks++
			t.Name, gone[j], at[name] = name, true, i
		} else if v := &f.Tensors[j]; !masked && v.normalize(t) {
			norms++
			v.Name, gone[i], at[name] = name, true, j
		}
	}
	if len(gone) == 0 {
		return nil
	}
	kept := f.Tensors[:0]
	for i := range f.Tensors {
		if !gone[i] {
			kept = append(kept, f.Tensors[i])
		}
	}
	f.Tensors = kept
	if masks > 0 {
		f.warn(fmt.Sprintf("%s multiplied by masks, as torch.nn.utils.prune does", plural(masks)))
	}
	if norms > 0 {
		f.warn(fmt.Sprintf("%s put together from direction and norm, as torch.nn.utils.weight_norm does", plural(norms)))
	}
	return nil
}

func plural(n int) string {
	if n == 1 {
		return "a tensor was"
	}
	return fmt.Sprintf("%d tensors were", n)
}

// partner returns the name of the tensor of which the one of the given name is
// the first half, and that of the other half; masked says what they are.
func partner(name string) (whole, second string, masked bool) {
	if x, ok := strings.CutSuffix(name, "_orig"); ok {
		return x, x + "_mask", true
	}
	if x, ok := strings.CutSuffix(name, "_g"); ok {
		return x, x + "_v", false
	}
	if x, ok := strings.CutSuffix(name, ".original0"); ok {
		if module, parameter, ok := cutLast(x, "parametrizations."); ok && (module == "" || strings.HasSuffix(module, ".")) {
			return module + parameter, x + ".original1", false
		}
	}
	return "", "", false
}

// cutLast is strings.Cut at the last of several.
func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// mask multiplies t by m, and reports whether they fit each other.
func (t *Tensor) mask(m *Tensor) bool {
	if len(t.Float) != t.Len() || !slices.Equal(t.Shape, m.Shape) {
		return false
	}
	factor := func(i int) float64 { return float64(m.Int[i]) }
	switch {
	case m.Double != nil:
		factor = func(i int) float64 { return m.Double[i] }
	case len(m.Float) == m.Len():
		factor = func(i int) float64 { return float64(m.Float[i]) }
	case len(m.Int) != m.Len():
		return false
	}
	for i := range t.Float {
		t.set(i, t.value(i)*t.rounded(factor(i)))
	}
	return true
}

// normalize makes of the direction t and its norms g the tensor that they stand
// for, and reports whether they fit each other.
func (t *Tensor) normalize(g *Tensor) bool {
	n, rank := t.Len(), len(t.Shape)
	if len(t.Float) != n || len(g.Float) != g.Len() || n == 0 || len(g.Shape) != rank && len(g.Shape) != 0 {
		return false
	}
	// step[a] is how far apart in g two neighbors on axis a of t are.
	step, size := make([]int, rank), 1
	for a := len(g.Shape) - 1; a >= 0; a-- {
		switch {
		case g.Shape[a] == t.Shape[a] && g.Shape[a] > 1:
			step[a] = size
		case g.Shape[a] != 1:
			return false
		}
		size *= g.Shape[a]
	}
	places := View{Shape: t.Shape, Stride: step}
	sums := make([]float64, size)
	places.each(n, func(i, at int) { sums[at] += t.value(i) * t.value(i) })
	places.each(n, func(i, at int) { t.set(i, g.value(at)*t.value(i)/math.Sqrt(sums[at])) })
	return true
}

// value returns the i-th value, exactly.
func (t *Tensor) value(i int) float64 {
	if t.Double != nil {
		return t.Double[i]
	}
	return float64(t.Float[i])
}

// set makes v the i-th value, rounded to the tensor's type.
func (t *Tensor) set(i int, v float64) {
	if t.Double != nil {
		t.Double[i] = v
	}
	t.Float[i] = float32(t.rounded(v))
}

// rounded returns v in the tensor's type.
func (t *Tensor) rounded(v float64) float64 {
	switch t.DType {
	case "float64":
		return v
	case "float16":
		return float64(half.ToFloat16(float32(v)).Float32())
	case "bfloat16":
		return float64(half.ToBFloat16(float32(v)).Float32())
	}
	return float64(float32(v))
}
