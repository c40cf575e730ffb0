package identify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// under returns the tensors under a prefix.
func under(prefix string, ts []named.Tensor) []named.Tensor {
	out := slices.Clone(ts)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}

func vector(name string, shape ...int) named.Tensor {
	t := named.Tensor{Name: name, Shape: shape, DType: "float32"}
	t.Float = make([]float32, t.Len())
	return t
}

func integer(name string, v int64) named.Tensor {
	return named.Tensor{Name: name, Shape: []int{}, DType: "int64", Int: []int64{v}}
}

// TestSeveralNets wants a file with two whole nets refused, with and without the
// family, in one line that names both and how to choose.
func TestSeveralNets(t *testing.T) {
	a := layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}
	_, one := stateOf(t, a)
	_, wide := stateOf(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 4})
	_, other := stateOf(t, layers.Arch{Family: "hw7-student", Classes: 3, Base: 2})
	names := func(from string, ts []named.Tensor) []named.Tensor {
		out := slices.Clone(ts)
		for i := range out {
			out[i].Name = strings.Replace(out[i].Name, ".", from, 1)
		}
		return out
	}
	for name, c := range map[string]struct {
		tensors  []named.Tensor
		families []string
		words    []string
	}{
		"teacher and student": {slices.Concat(under("teacher.", wide), under("student.", one)), []string{"", "cnn-dwpw"},
			[]string{`"teacher."`, `"student."`, "--weights teacher or --weights student"}},
		"the same net twice": {slices.Concat(under("m.a.", one), under("m.b.module.", one)), []string{"", "cnn-dwpw"}, []string{"--weights m.b.module or --weights m.a"}},
		"of two families":    {slices.Concat(under("teacher.", other), under("student.", one)), []string{""}, []string{`"teacher."`, `"student."`}},
		"an average beside":  {slices.Concat(one, under("ema.", one), []named.Tensor{integer("updates", 3)}), []string{"", "cnn-dwpw"}, []string{"--weights ema or --weights ."}},
		"without prefixes":   {slices.Concat(names("_t.", one), names("_s.", one)), []string{"cnn-dwpw"}, []string{"two nets", `"cnn_t.0.0.weight"`, `"cnn_s.0.0.weight"`}},
	} {
		for _, family := range c.families {
			m, err := Identify(c.tensors)
			if family != "" {
				m, err = IdentifyAs(layers.Arch{Family: family}, c.tensors)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%s as %q: %+v, %v", name, family, m, err)
				continue
			}
			for _, w := range c.words {
				if line := e.Reason + "; " + e.Hint; !strings.Contains(line, w) || strings.Contains(line, "\n") {
					t.Errorf("%s as %q says %q, not %q", name, family, line, w)
				}
			}
		}
	}
	// With the family given, another family's net is only left out.
	m, err := IdentifyAs(layers.Arch{Family: "cnn-dwpw"}, slices.Concat(under("teacher.", other), under("student.", one)))
	if err != nil {
		t.Fatal(err)
	}
	checkState(t, m, one)
	if rest := WithoutPrefix(slices.Concat(one, under("ema.", one))); len(rest) != len(one) || rest[0].Name != one[0].Name {
		t.Errorf("%d tensors are without a prefix, want %d", len(rest), len(one))
	}
}

// TestBesideANet wants a net found among what is no part of its arithmetic, and
// the rest left out in a line; and everything else refused without the family.
func TestBesideANet(t *testing.T) {
	a := layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}
	_, one := stateOf(t, a)
	for _, c := range []struct {
		prefix string
		more   []named.Tensor
		fits   bool
	}{
		{"module.", []named.Tensor{integer("n_averaged", 5)}, true},
		{"model.", []named.Tensor{vector("criterion.weight", 3)}, true},
		{"model.", []named.Tensor{vector("loss.pos_weight", 3), integer("step", 1)}, true},
		{"", []named.Tensor{vector("cache", 0)}, true},
		{"", []named.Tensor{vector("criterion.weight", 3)}, true},
		{"net.", []named.Tensor{vector("net.cnn.0.buffer", 0, 4)}, true},
		{"model.", []named.Tensor{vector("criterion.weight", 4)}, false},
		{"model.", []named.Tensor{vector("bn.weight", 3), vector("bn.bias", 3)}, false},
		{"model.", []named.Tensor{vector("temperature")}, false},
		{"model.", []named.Tensor{vector("decoder.weight", 3, 3)}, false},
		{"model.", []named.Tensor{vector("model.scale", 3)}, false},
		{"", []named.Tensor{vector("attention.weight", 3, 3)}, false},
	} {
		tensors := slices.Concat(c.more[:1], under(c.prefix, one), c.more[1:])
		m, err := Identify(tensors)
		var e *Error
		switch {
		case c.fits && err != nil:
			t.Errorf("%s beside a net under %q: %v", c.more[0].Name, c.prefix, err)
		case c.fits:
			checkState(t, m, one)
			if !strings.Contains(m.LeftOut, "left out: "+c.more[0].Name) || !slices.Contains(m.Notes, m.LeftOut) {
				t.Errorf("%s is left out with the notes %q", c.more[0].Name, m.Notes)
			}
		case !errors.As(err, &e):
			t.Errorf("%s beside a net under %q gives %+v", c.more[0].Name, c.prefix, m)
		default:
			// The advice works.
			if m, err := IdentifyAs(layers.Arch{Family: "cnn-dwpw"}, tensors); err != nil || !strings.Contains(m.LeftOut, c.more[0].Name) {
				t.Errorf("%s with the family: %v", c.more[0].Name, err)
			}
		}
	}
}

// TestCounters wants counters exact, whatever type they are stored in.
func TestCounters(t *testing.T) {
	_, one := stateOf(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2})
	at := slices.IndexFunc(one, func(x named.Tensor) bool { return x.Int != nil })
	for _, c := range []struct {
		t    named.Tensor
		want int64
		bad  bool
	}{
		{t: named.Tensor{Int: []int64{1<<53 + 1}}, want: 1<<53 + 1},
		{t: named.Tensor{Float: []float32{1 << 24}, Double: []float64{1<<24 + 1}}, want: 1<<24 + 1},
		{t: named.Tensor{Float: []float32{1 << 25}}, want: 1 << 25},
		{t: named.Tensor{Float: []float32{1 << 24}, Coded: true, Codes: []uint8{0}, Min: 1<<24 + 1, Max: 1<<24 + 1}, want: 1<<24 + 1},
		{t: named.Tensor{Float: []float32{1.5}}, bad: true},
		{t: named.Tensor{Float: []float32{1 << 63}}, bad: true},
	} {
		c.t.Name, c.t.Shape = one[at].Name, []int{}
		tensors := slices.Clone(one)
		tensors[at] = c.t
		m, err := Identify(tensors)
		if (err != nil) != c.bad || err != nil && !strings.Contains(err.Error(), "it needs a whole number") {
			t.Errorf("%+v: %v", c.t, err)
		}
		if err == nil && m.State[at].Int[0] != c.want {
			t.Errorf("%+v is %d, want %d", c.t, m.State[at].Int[0], c.want)
		}
	}
}

// TestManyPrefixes wants a file whose names have thousands of prefixes looked
// through in bounded time: it has no net, and is refused.
func TestManyPrefixes(t *testing.T) {
	_, one := stateOf(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2})
	var all []named.Tensor
	for i := 0; len(all)+len(one) <= maxTensors; i++ {
		for _, x := range one[1:] {
			x.Name = fmt.Sprintf("a.b.c.d.%d.e.f.%s", i, x.Name)
			all = append(all, x)
		}
	}
	if m, err := Identify(all); err == nil {
		t.Errorf("%+v", m)
	}
	if m, err := IdentifyAs(layers.Arch{Family: "cnn-dwpw"}, all); err == nil {
		t.Errorf("%+v", m)
	}
}
