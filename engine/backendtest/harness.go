package backendtest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// C is the constant of the error bound C·√K·ε·Mag. Rounding errors of a sum of
// K terms behave like a random walk, so √K and not K (Higham and Mary, SIAM J.
// Sci. Comput. 41, 2019); the bound is then exceeded with a probability that
// falls as exp(-C²/2). Four leaves room for the few roundings that Mag does not
// count and still finds every operand that was rounded to 16 bits or less.
const C = 4

// A reporter takes a case's verdict. *testing.T is one.
type reporter interface {
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// An input is the spec of an op's input and a rule for its elements.
type input struct {
	engine.Spec
	at func(rng *rand.Rand, i int) float64
}

// A testCase is one operator on one set of shapes.
type testCase struct {
	label string
	op    engine.Op
	in    []input
	// fused marks what only a backend that claims it (engine.Fuser) must run.
	fused bool
	// optional marks what a backend may refuse with ErrUnsupported.
	optional bool
	// compiled says why only a backend with compiled kernels runs the case; "":
	// all do.
	compiled string
	// prepare computes inputs that depend on others, in place.
	prepare func(in []ref.Array)
	// accept rejects inputs for which the result is a matter of rounding, such
	// as an activation's argument at a corner. Others are drawn then.
	accept func(in []ref.Array) bool
	// expectation keeps inputs and results; nil: nothing is kept.
	expectation *expectation
}

var tables []func() []testCase

// register adds a table of cases to the suite.
func register(table func() []testCase) { tables = append(tables, table) }

// suite returns every case, those of one operator together. They are shared:
// nobody may change them.
var suite = sync.OnceValues(func() (stems []string, cases map[string][]testCase) {
	cases = make(map[string][]testCase)
	for _, table := range tables {
		for _, c := range table() {
			stem := engine.OpName(c.op)
			if cases[stem] == nil {
				stems = append(stems, stem)
			}
			c.expectation = new(expectation)
			cases[stem] = append(cases[stem], c)
		}
	}
	return stems, cases
})

// checkBackend tests what is not one operator's.
func checkBackend(t *testing.T, b engine.Backend) {
	t.Run("Memory", func(t *testing.T) { checkMemory(t, b) })
	t.Run("Order", func(t *testing.T) { checkOrder(t, b) })
	t.Run("Unknown", func(t *testing.T) { checkUnknown(t, b) })
	t.Run("Claims", func(t *testing.T) { checkClaims(t, b) })
	t.Run("Transform", func(t *testing.T) { checkTransform(t, b) })
}

// arrays draws the inputs, every element rounded to its type.
func (c testCase) arrays() []ref.Array {
	h := fnv.New64a()
	fmt.Fprint(h, engine.OpName(c.op), c.label)
	for attempt := uint64(0); ; attempt++ {
		rng := rand.New(rand.NewPCG(h.Sum64(), attempt))
		in := make([]ref.Array, len(c.in))
		for k, s := range c.in {
			in[k] = ref.NewArray(s.Spec)
			for i := range in[k].V {
				in[k].V[i] = s.at(rng, i)
			}
		}
		round(in)
		if c.prepare != nil {
			c.prepare(in)
			round(in)
		}
		if c.accept == nil || c.accept(in) {
			return in
		}
	}
}

func round(in []ref.Array) {
	for k, a := range in {
		in[k] = ref.Decode(a.Spec, a.Encode())
	}
}

// check runs the case on b and reports all that is wrong in one message.
func (c testCase) check(t reporter, b engine.Backend) {
	if m, ok := b.(engine.MixedPrecision); c.mixed() && (!ok || !m.BFloat16()) {
		c.checkRefused(t, b)
		return
	}
	if c.fused && !c.claimed(b) {
		t.Logf("%s does not fuse %s", b.Name(), engine.OpName(c.op))
		return
	}
	if c.optional && c.refused(b) {
		t.Logf("%s does not have %s", b.Name(), engine.OpName(c.op))
		return
	}
	if faults := c.faults(b); len(faults) > 0 {
		t.Errorf("%s %s on %s: %s", engine.OpName(c.op), c.label, b.Name(), strings.Join(faults, "; "))
	}
}

// specs returns the specs of the op's inputs.
func (c testCase) specs() []engine.Spec {
	specs := make([]engine.Spec, len(c.in))
	for k, s := range c.in {
		specs[k] = s.Spec
	}
	return specs
}

// claimed reports whether b says that it has the fused op.
func (c testCase) claimed(b engine.Backend) bool {
	f, ok := b.(engine.Fuser)
	out, err := c.op.Infer(c.specs())
	return ok && err == nil && f.Fuses(c.op, c.specs(), out)
}

// mixed reports whether a tensor of the case is bfloat16.
func (c testCase) mixed() bool {
	out, err := c.op.Infer(c.specs())
	return err == nil && slices.ContainsFunc(append(out, c.specs()...), func(s engine.Spec) bool { return s.DType == engine.BFloat16 })
}

// checkRefused tests that b, which does not claim bfloat16, refuses the case.
func (c testCase) checkRefused(t reporter, b engine.Backend) {
	out, err := c.op.Infer(c.specs())
	if err == nil {
		_, err = b.Compile(c.op, c.specs(), out)
	}
	if !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("%s %s on %s: bfloat16 is not claimed, and compiling gives %v, which does not wrap ErrUnsupported", engine.OpName(c.op), c.label, b.Name(), err)
		return
	}
	t.Logf("refused: %v", err)
}

// refused reports whether b says that it does not support the case.
func (c testCase) refused(b engine.Backend) bool {
	out, err := c.op.Infer(c.specs())
	if err == nil {
		_, err = b.Compile(c.op, c.specs(), out)
	}
	return errors.Is(err, engine.ErrUnsupported)
}

// faults returns what is wrong with b's run of the case.
func (c testCase) faults(b engine.Backend) []string {
	in, want, err := c.expected()
	if err != nil {
		return []string{"the case is wrong: " + err.Error()}
	}
	r, err := newRig(b, c.op, in, want)
	if err != nil {
		return []string{err.Error()}
	}
	defer r.close()
	first, err := r.run(r.enqueue)
	if err != nil {
		return []string{err.Error()}
	}
	faults := r.trespasses(first)
	for k, w := range want {
		if f := compare(w, ref.Decode(w.Spec, r.output(first, k))); f != "" {
			faults = append(faults, fmt.Sprintf("output %d: %s", k, f))
		}
	}
	again, err := r.run(r.enqueue)
	if err != nil {
		return append(faults, "second run: "+err.Error())
	}
	faults = append(faults, r.differences("a second run", first, again)...)
	if r.prepares() {
		prepared, err := r.run(r.enqueuePrepared)
		if err != nil {
			return append(faults, "prepared run: "+err.Error())
		}
		faults = append(faults, r.trespasses(prepared)...)
		faults = append(faults, r.differences("a prepared run", first, prepared)...)
	}
	if l, ok := b.(engine.Lender); ok {
		faults = append(faults, r.lent(l, c.op, first)...)
	}
	if rec, ok := b.(engine.Recorder); ok {
		for _, f := range r.replays(rec, first) {
			if !slices.Contains(faults, f) {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

// compare returns how got strays from want, "" if it does not.
func compare(want, got ref.Array) string {
	wrong, first := 0, -1
	for i, w := range want.V {
		g := got.V[i]
		ok := g == w || math.IsNaN(w) && math.IsNaN(g) || math.Abs(g-w) <= want.Bound(i, C)
		if !ok {
			wrong++
			if first < 0 {
				first = i
			}
		}
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d elements are wrong, first %v: got %.9g, want %.9g ± %.2g",
		wrong, want.Len(), index(want.Spec, first), got.V[first], want.V[first], want.Bound(first, C))
}

// index returns the coordinates of element i.
func index(s engine.Spec, i int) []int {
	at := make([]int, len(s.Shape))
	for k := len(at) - 1; k >= 0; k-- {
		at[k] = i % s.Shape[k]
		i /= s.Shape[k]
	}
	return at
}

// checkMemory tests Alloc and Buffer.
func checkMemory(t reporter, b engine.Backend) {
	for _, n := range []int{1, 63, 64, 1000} {
		buf, err := b.Alloc(n)
		if err != nil {
			t.Errorf("Alloc(%d): %v", n, err)
			continue
		}
		if buf.Bytes() < n {
			t.Errorf("Alloc(%d) gives %d bytes", n, buf.Bytes())
		}
		src, dst := make([]byte, n), make([]byte, n)
		for i := range src {
			src[i] = byte(7*i + 1)
		}
		err = errors.Join(buf.Write(0, src), buf.Write(n/2, src[:1]), buf.Read(n/3, dst[n/3:]), buf.Read(0, dst[:n/3]))
		src[n/2] = src[0]
		if err != nil || string(src) != string(dst) {
			t.Errorf("a buffer of %d bytes does not give back what was written to it (%v)", n, err)
		}
		if err := errors.Join(buf.Close(), buf.Close()); err != nil {
			t.Errorf("closing a buffer twice: %v", err)
		}
	}
	if buf, err := b.Alloc(1 << 50); err == nil {
		t.Errorf("a petabyte is allocated")
		_ = buf.Close()
	} else if !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("allocating a petabyte gives %v, which does not wrap ErrOutOfMemory", err)
	}
}

// checkClaims holds b to what it claims to fuse, at shapes beyond the usual
// ones: a net whose operators all compile must not be refused because the
// planner has fused them.
func checkClaims(t reporter, b engine.Backend) {
	f, ok := b.(engine.Fuser)
	if !ok {
		return
	}
	claim := func(op engine.Op, in ...engine.Spec) {
		out, err := op.Infer(in)
		if err != nil {
			return // not a shape of this op's
		}
		if f.Fuses(op, in, out) {
			if _, err := b.Compile(op, in, out); err != nil {
				t.Errorf("%s%v is claimed, and compiling gives %v", engine.OpName(op), in, err)
			}
		}
	}
	const c = 6
	for _, k := range []int{1, 2, 3, 5, 7, 8, 9, 11, 13} {
		x, v := engine.F32(2, 16, 17, c), engine.F32(c)
		for _, groups := range []int{1, 2, 3, c} {
			conv := engine.Conv2D{Pad: engine.Around(k / 2), Groups: groups}
			w := engine.F32(k, k, c/groups, c)
			y, err := conv.Infer([]engine.Spec{x, w})
			if err != nil {
				t.Errorf("the case is wrong: %v", err)
				continue
			}
			for _, e := range []engine.Epilogue{{Act: engine.ReLU}, {Residual: true}, {Residual: true, Act: engine.ReLU6}, {Act: engine.SiLU}} {
				conv.Epilogue = e
				in := []engine.Spec{x, w, v}
				if e.Residual {
					in = append(in, y[0])
				}
				plain := conv
				plain.Epilogue = engine.Epilogue{}
				if _, err := b.Compile(plain, in[:3], y); err == nil {
					claim(conv, in...)
				}
			}
		}
		for _, pool := range []*engine.Window{nil, {Kernel: engine.Both(k)}, {Kernel: engine.Both(k), Stride: engine.Both(k)}, {Kernel: engine.Both(k), Stride: engine.Both(1)}} {
			for _, f := range []engine.Act{engine.ReLU, engine.SiLU} {
				bn := engine.BatchNormAct{BatchNorm: engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}, F: f, Pool: pool}
				claim(bn, x, v, v, v, v)
				out, err := bn.Infer([]engine.Spec{x, v, v, v, v})
				if err == nil {
					claim(engine.BatchNormActBackward{F: f, Pool: pool}, x, out[0], v, v, v, v)
				}
			}
		}
	}
}

// unknown is an operator that no backend has heard of.
type unknown struct{}

func (unknown) Infer(in []engine.Spec) ([]engine.Spec, error) { return in, nil }

func checkUnknown(t reporter, b engine.Backend) {
	s := []engine.Spec{engine.F32(2)}
	if _, err := b.Compile(unknown{}, s, s); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("compiling an unknown operator gives %v, which does not wrap ErrUnsupported", err)
	}
	if f, ok := b.(engine.Fuser); ok && f.Fuses(unknown{}, s, s) {
		t.Errorf("an unknown operator is claimed to be fused")
	}
}
