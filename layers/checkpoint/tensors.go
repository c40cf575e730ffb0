package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// The schemes by which a whole state is stored: in full; as 8-bit codes with one
// range a tensor, the study's; as 8-bit codes with one range an output channel,
// vectors (biases, BatchNorm) in full; in half precision.
const (
	Float32           = ""
	Affine8           = "affine8"
	Affine8PerChannel = "affine8-channel"
	Float16           = "float16"
	// Affine4Block has 4-bit codes with one range for each Block weights of an output
	// channel, and vectors in full.
	Affine4Block = "affine4-block"
	// Mixed is what Scheme says of a state that is stored in none of these.
	Mixed = "mixed"
	// Quantized is what Scheme says of a state with weights in codes of the net's own
	// quantizers (layers.Fake).
	Quantized = "quantized"
)

// The tensors with the ranges of all 8-bit tensors, [ranges,2] of (min, max):
// in float32, and in float64 for those that float32 cannot hold.
const (
	rangeName   = "affine/range"
	rangeName64 = "affine/range64"
)

// A packer makes the tensors of a file.
type packer struct {
	tensors []safetensors.Tensor
	narrow  []float32 // ends of ranges
	wide    []float64
	codings []coding
}

// A coding is an encoding in a file's description. Without names it is that of
// every tensor of 8-bit codes that no other coding names.
type coding struct {
	layers.Encoding
	// Ranges names the tensor of the file that holds the ranges (min, max) of
	// the codes, those of the tensors in the order of the state.
	Ranges  string   `json:"ranges,omitempty"`
	Tensors []string `json:"tensors,omitempty"`
}

// pack returns the tensors that store s, and how their codes are to be read.
func pack(s layers.StateDict) ([]safetensors.Tensor, []coding) {
	var p packer
	for i := range s {
		p.add(&s[i])
	}
	if len(p.narrow) > 0 {
		p.tensors = append(p.tensors, safetensors.FromFloat32(rangeName, []int{len(p.narrow) / 2, 2}, p.narrow))
	}
	if len(p.wide) > 0 {
		p.tensors = append(p.tensors, safetensors.FromFloat64(rangeName64, []int{len(p.wide) / 2, 2}, p.wide))
	}
	if most := p.commonest(); most >= 0 {
		p.codings[most].Tensors = nil
	}
	return p.tensors, p.codings
}

func (p *packer) add(e *layers.Entry) {
	switch c := e.Codes; {
	case e.Integer():
		p.tensors = append(p.tensors, safetensors.FromInt64(e.Name, e.Shape, e.Int))
	case c == nil:
		p.tensors = append(p.tensors, safetensors.FromFloat32(e.Name, e.Shape, e.Data))
	case c.Encoding.Rule == layers.Scaled: // the type says it, and the net has the rest
		shape := e.Shape
		if c.Encoding.Bits < 8 {
			shape = []int{len(c.Bytes)}
		}
		p.tensors = append(p.tensors, safetensors.FromInt8(e.Name, shape, c.Bytes))
	case c.Encoding.Rule == layers.Half: // the type of the tensor says it
		p.tensors = append(p.tensors, safetensors.FromFloat16Bits(e.Name, e.Shape, words(c.Bytes)))
	default:
		shape := e.Shape
		if c.Encoding.Bits < 8 {
			shape = []int{len(c.Bytes)}
		}
		p.tensors = append(p.tensors, safetensors.FromUint8(e.Name, shape, c.Bytes))
		p.code(e.Name, c)
	}
}

// code notes how the codes of a tensor are to be read.
func (p *packer) code(name string, c *layers.Codes) {
	ranges := rangeName
	if slices.ContainsFunc(c.Ranges, func(v float64) bool { return float64(float32(v)) != v }) {
		ranges = rangeName64
		p.wide = append(p.wide, c.Ranges...)
	} else {
		for _, v := range c.Ranges {
			p.narrow = append(p.narrow, float32(v))
		}
	}
	i := slices.IndexFunc(p.codings, func(x coding) bool { return x.Encoding == c.Encoding && x.Ranges == ranges })
	if i < 0 {
		i = len(p.codings)
		p.codings = append(p.codings, coding{Encoding: c.Encoding, Ranges: ranges})
	}
	p.codings[i].Tensors = append(p.codings[i].Tensors, name)
}

// commonest returns the coding of most tensors, -1 if there is none.
func (p *packer) commonest() int {
	best := -1
	for i, c := range p.codings {
		if best < 0 || len(c.Tensors) > len(p.codings[best].Tensors) {
			best = i
		}
	}
	return best
}

// An unpacker reads the tensors of a file.
type unpacker struct {
	tensors map[string]*safetensors.Tensor
	all     []safetensors.Tensor
	net     *layers.Net
	codings []coding
	ranges  map[string][]float64 // that are left, by the name of their tensor
}

// unpack returns the state that the tensors of a file store, in the order of the
// net's state_dict. It is strict, as layers.Model.Load is.
func unpack(m *layers.Model, tensors []safetensors.Tensor, codings []coding) (layers.StateDict, error) {
	u := &unpacker{tensors: make(map[string]*safetensors.Tensor, len(tensors)), all: tensors, net: m.Net(), codings: codings, ranges: make(map[string][]float64)}
	for i := range tensors {
		u.tensors[tensors[i].Name] = &tensors[i]
	}
	if err := u.readRanges(); err != nil {
		return nil, err
	}
	var s layers.StateDict
	for _, slot := range m.Slots() {
		t := u.tensors[slot.Variable.Name]
		if t == nil {
			continue // Check tells which is missing
		}
		delete(u.tensors, t.Name)
		e, err := u.entry(t, &slot)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		s = append(s, e)
	}
	for i := range tensors {
		if u.tensors[tensors[i].Name] != nil {
			s = append(s, layers.Entry{Name: tensors[i].Name}) // Check names it
			break
		}
	}
	if err := m.Check(s); err != nil {
		return nil, err
	}
	for _, name := range []string{rangeName, rangeName64} {
		if n := len(u.ranges[name]); n != 0 {
			return nil, fmt.Errorf("tensor %s has %d values too many", name, n)
		}
	}
	return s, nil
}

// readRanges takes the ranges of all codes out of the tensors.
func (u *unpacker) readRanges() error {
	for _, c := range u.codings {
		if err := c.Encoding.Check(); err != nil {
			return err
		}
		if c.Rule != layers.MinMax || c.Ranges != rangeName && c.Ranges != rangeName64 {
			return fmt.Errorf("the encoding %+v has no ranges that are understood", c.Encoding)
		}
		t := u.tensors[c.Ranges]
		if t == nil {
			continue // the codes that want it say so
		}
		delete(u.tensors, c.Ranges)
		if c.Ranges == rangeName64 {
			v, err := safetensors.Float64s(t)
			if err != nil {
				return err
			}
			u.ranges[c.Ranges] = v
			continue
		}
		v, err := safetensors.Float32s(t)
		if err != nil {
			return err
		}
		wide := make([]float64, len(v))
		for i := range v {
			wide[i] = float64(v[i])
		}
		u.ranges[c.Ranges] = wide
	}
	return nil
}

// entry returns the slot's entry that t stores.
func (u *unpacker) entry(t *safetensors.Tensor, slot *layers.Slot) (e layers.Entry, err error) {
	e = layers.Entry{Name: t.Name, Shape: append([]int{}, t.Shape...)}
	switch {
	case slot.Variable.DType == engine.Int64:
		e.Int, err = safetensors.Int64s(t)
		return e, err
	case t.DType == safetensors.I8:
		e.Shape = slot.Shape()
		if e.Codes, err = u.scaled(t, e.Shape); err != nil {
			return e, err
		}
	case t.DType == safetensors.F16:
		e.Codes = &layers.Codes{Encoding: layers.Encoding{Rule: layers.Half, Bits: 16}, Bytes: t.Data}
	case t.DType == safetensors.U8:
		if e.Codes, err = u.codes(t, slot.Shape()); err != nil {
			return e, err
		}
		if e.Codes.Encoding.Bits < 8 {
			e.Shape = slot.Shape()
		}
	default:
		e.Data, err = safetensors.Float32s(t)
		return e, err
	}
	e.Data, err = decode(e.Codes, e.Shape)
	return e, err
}

// codes returns the codes of a tensor, which has the given shape when it is decoded, and
// takes its ranges.
func (u *unpacker) codes(t *safetensors.Tensor, shape []int) (*layers.Codes, error) {
	at := slices.IndexFunc(u.codings, func(c coding) bool { return slices.Contains(c.Tensors, t.Name) })
	if at < 0 {
		at = slices.IndexFunc(u.codings, func(c coding) bool { return c.Tensors == nil })
	}
	if at < 0 {
		return nil, fmt.Errorf("it is of type %s, and nothing says how its codes are to be read", strings.ToLower(string(t.DType)))
	}
	c := u.codings[at]
	n := 2
	if c.PerChannel {
		if len(t.Shape) == 0 {
			return nil, fmt.Errorf("a scalar has no channels with ranges")
		}
		n = 2 * t.Shape[0]
	}
	if c.Block > 0 {
		if len(t.Shape) != 1 || len(shape) < 2 || shape[0] < 1 {
			return nil, fmt.Errorf("it is %v and stands for %v: codes in blocks are a list, of a tensor of two axes or more", t.Shape, shape)
		}
		n = 2 * affine.BlocksOf(product(shape), shape[0], c.Block)
	}
	if len(u.ranges[c.Ranges]) < n {
		return nil, fmt.Errorf("%s has no range for it", c.Ranges)
	}
	codes := &layers.Codes{Encoding: c.Encoding, Bytes: t.Data, Ranges: u.ranges[c.Ranges][:n:n]}
	u.ranges[c.Ranges] = u.ranges[c.Ranges][n:]
	return codes, nil
}

// scaled returns the codes of a weight that has a quantizer.
func (u *unpacker) scaled(t *safetensors.Tensor, shape []int) (*layers.Codes, error) {
	name := u.net.ScaleOf(t.Name)
	at := slices.IndexFunc(u.all, func(x safetensors.Tensor) bool { return x.Name == name })
	if name == "" || at < 0 {
		return nil, fmt.Errorf("it is of type i8, and the net has no quantizer with a scale for it")
	}
	scale, err := safetensors.Float32s(&u.all[at])
	if err != nil {
		return nil, err
	}
	f := u.net.FakeOf(t.Name)
	want := shape
	if f.Bits < 8 {
		want = []int{(product(shape)*f.Bits + 7) / 8}
	}
	if !slices.Equal(t.Shape, want) {
		return nil, fmt.Errorf("it is %v, its codes of %d bits need %v", t.Shape, f.Bits, want)
	}
	c := &layers.Codes{Encoding: layers.Encoding{Rule: layers.Scaled, Bits: f.Bits, PerChannel: f.PerChannel}, Bytes: t.Data}
	for _, v := range scale {
		c.Ranges = append(c.Ranges, float64(v))
	}
	return c, nil
}
