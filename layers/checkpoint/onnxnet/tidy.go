package onnxnet

import (
	"maps"
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
)

// A tidier joins modules that are one: what a translation node by node leaves.
type tidier struct {
	mods  []*mod
	outs  []*act
	count map[*mod]int // who reads each module's output
}

// normalizer returns what a batch norm makes of channel k: x·scale + shift.
func normalizer(data []weight, k int, eps float64) (scale, shift float32) {
	s := float64(data[0].data[k]) / math.Sqrt(float64(data[3].data[k])+eps)
	return float32(s), float32(float64(data[1].data[k]) - float64(data[2].data[k])*s)
}

// tidy joins scales and shifts with what is before them, pads with the
// convolution behind them, and global pools with what flattens them.
func (t *translator) tidy(outs []*act) {
	x := &tidier{mods: t.mods, outs: outs}
	x.recount()
	for changed := true; changed; {
		changed = false
		for i := 0; i < len(x.mods); i++ {
			if x.join(x.mods[i]) {
				changed = true
				x.recount()
				i = max(i-2, -1) // what is behind the joined one comes next
			}
		}
	}
	t.mods = x.reached()
}

// join tries to join m with the module before it.
func (x *tidier) join(m *mod) bool {
	if len(m.in) == 0 {
		return false
	}
	prev := m.in[0]
	switch {
	case m.kind == "Concat":
		return x.scaledParts(m)
	case prev == nil || x.readers(prev) != 1:
		return false
	case m.kind == "Identity":
		return x.rounding(m, prev)
	case m.kind == "ScaleShift":
		return x.scale(m, prev)
	case m.kind == "Flatten":
		return x.flat(m, prev)
	case prev.kind == "ConstantPad2d" && takesZeros(m, prev):
		return x.pad(m, prev)
	}
	return false
}

// rounding joins a quantizer with the module whose output it rounds. Behind a max pool of
// codes it rounds nothing: the largest of codes is one of them.
func (x *tidier) rounding(m, prev *mod) bool {
	k, own := m.fakes[layers.FakeOutput], prev.fakes[layers.FakeOutput]
	if k != nil && prev.kind == "MaxPool2d" && prev.in[0] != nil {
		if of := prev.in[0].fakes[layers.FakeOutput]; of != nil && of.equal(k) {
			x.replace(m, prev)
			return true
		}
	}
	if own != nil && (k == nil || !k.equal(own)) {
		return false
	}
	if k != nil {
		all := maps.Clone(prev.fakes)
		if all == nil {
			all = make(map[string]*coding)
		}
		all[layers.FakeOutput] = k
		prev.fakes = all
	}
	x.replace(m, prev)
	return true
}

// readers returns how many read a module's output.
func (x *tidier) readers(m *mod) int { return x.count[m] }

func (x *tidier) recount() {
	x.count = make(map[*mod]int, len(x.mods))
	for _, r := range x.mods {
		for _, from := range r.in {
			x.count[from]++
		}
	}
	for _, o := range x.outs {
		x.count[o.from]++
	}
}

// replace makes all that reads one module read another, and drops the first.
func (x *tidier) replace(old, by *mod) {
	for _, r := range x.mods {
		for i := range r.in {
			if r.in[i] == old {
				r.in[i] = by
			}
		}
	}
	for _, o := range x.outs {
		if o.from == old {
			o.from = by
		}
	}
	x.mods = slices.DeleteFunc(x.mods, func(m *mod) bool { return m == old })
}

// reached returns the modules that the outputs depend on.
func (x *tidier) reached() []*mod {
	needed := make(map[*mod]bool)
	for _, o := range x.outs {
		needed[o.from] = true
	}
	for i := len(x.mods) - 1; i >= 0; i-- {
		if needed[x.mods[i]] {
			for _, from := range x.mods[i].in {
				needed[from] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(x.mods), func(m *mod) bool { return !needed[m] })
}

// role returns the values of a role, nil if there are none.
func (m *mod) role(role string) []float32 {
	for _, w := range m.data {
		if w.role == role {
			return w.data
		}
	}
	return nil
}

// setRole gives a role other values, of one a channel.
func (m *mod) setRole(role string, v []float32) {
	delete(m.fakes, role) // whose numbers are others now
	m.data = slices.DeleteFunc(slices.Clone(m.data), func(w weight) bool { return w.role == role })
	m.data = append(m.data, weight{role: role, shape: []int{len(v)}, data: v})
}

// scale joins a ScaleShift with what is before it:
//
//	(x·w + b)·w' + b' = x·(w·w') + (b·w' + b')
func (x *tidier) scale(m, prev *mod) bool {
	w, b := m.role("weight"), m.role("bias")
	switch prev.kind {
	case "Conv2d", "Linear":
		if w != nil {
			return false
		}
		prev.setRole("bias", shifted(prev.role("bias"), nil, b))
		prev.set["bias"] = true
	case "ScaleShift", "LayerNorm2d", "GroupNorm", "InstanceNorm2d":
		before, shift := prev.role("weight"), shifted(prev.role("bias"), w, b)
		scale := w
		switch {
		case before != nil && w != nil:
			scale = make([]float32, len(w))
			for i := range w {
				scale[i] = before[i] * w[i]
			}
		case w == nil:
			scale = before
		}
		if scale != nil {
			prev.setRole("weight", scale)
		}
		if shift != nil {
			prev.setRole("bias", shift)
		}
		if prev.kind == "ScaleShift" {
			prev.set["scale"], prev.set["bias"] = scale != nil, shift != nil
		}
	default:
		return false
	}
	x.replace(m, prev)
	return true
}

// shifted returns b·w' + b', nil where there is none.
func shifted(b, w, more []float32) []float32 {
	if b == nil {
		return more
	}
	out := slices.Clone(b)
	for i := range out {
		if w != nil {
			out[i] *= w[i]
		}
		if more != nil {
			out[i] += more[i]
		}
	}
	return out
}

// flat joins a Flatten with the global pool before it, through modules that leave
// every element in its place.
func (x *tidier) flat(m, prev *mod) bool {
	pool := prev
	for len(pool.in) == 1 && pool.in[0] != nil && pool.set["keep_dims"] == nil && pool.h == 1 && pool.w == 1 && !pool.flat && placeless(pool.kind) {
		if pool = pool.in[0]; x.readers(pool) != 1 {
			return false
		}
	}
	if pool.set["keep_dims"] != true {
		return false
	}
	for at := prev; at != pool; at = at.in[0] {
		at.flat = true
	}
	delete(pool.set, "keep_dims")
	pool.flat = true
	x.replace(m, prev)
	return true
}

// placeless reports whether a kind leaves every element in its place, and takes
// flat vectors as it takes images.
func placeless(kind string) bool {
	if kind == "Dropout" || kind == "ScaleShift" || kind == "Hardtanh" || kind == "ReLU6" {
		return true
	}
	for _, k := range activations {
		if name, _, err := k(noNode, nil); err == nil && name == kind {
			return true
		}
	}
	return false
}

// takesZeros reports whether zeros around an image are what a module's own pads
// are: those of a convolution, of a mean that counts them, and of a maximum over
// numbers of which none is negative.
func takesZeros(m, pad *mod) bool {
	if pad.set["value"] != 0.0 {
		return false
	}
	if m.kind == "Conv2d" {
		return true
	}
	if m.kind != "AvgPool2d" && m.kind != "MaxPool2d" || four(m.set["padding"]) != [4]int{} || m.set["ceil_mode"] != nil || m.set["dilation"] != nil {
		return false
	}
	k := four(m.set["kernel_size"])
	p := pad.set["padding"].([]int)
	if 2*max(p[2], p[3]) > k[0] || 2*max(p[0], p[1]) > k[1] {
		return false // more than half of the window
	}
	if m.kind == "AvgPool2d" {
		return true
	}
	from := pad.in[0]
	return from != nil && slices.Contains([]string{"ReLU", "ReLU6", "Sigmoid", "Hardsigmoid"}, from.kind)
}

// pad joins zeros around an image with the pads of what takes them.
func (x *tidier) pad(m, prev *mod) bool {
	p := prev.set["padding"].([]int) // left, right, top, bottom
	own := four(m.set["padding"])
	m.set["padding"] = padding([4]int{own[0] + p[2], own[1] + p[0], own[2] + p[3], own[3] + p[1]})
	x.replace(prev, prev.in[0])
	return true
}

// four returns the pads [top, left, bottom, right] of a setting, or a kernel's
// [height, width] twice.
func four(v any) [4]int {
	switch v := v.(type) {
	case int:
		return [4]int{v, v, v, v}
	case []int:
		if len(v) == 2 {
			return [4]int{v[0], v[1], v[0], v[1]}
		}
		return [4]int(v)
	}
	return [4]int{}
}

// scaledParts makes one ScaleShift of channels that are taken apart, scaled and
// shifted each, and put together again, as torchvision's inception nets do.
func (x *tidier) scaledParts(m *mod) bool {
	var from *mod
	var w, b []float32
	at := 0
	for i, s := range m.in {
		if s == nil || s.kind != "ScaleShift" || x.readers(s) != 1 || s.in[0] == nil {
			return false
		}
		part := s.in[0]
		if part.kind != "Slice" || part.set["start"] != at || i > 0 && part.in[0] != from {
			return false
		}
		from = part.in[0]
		at += s.c
		scale, shift := s.role("weight"), s.role("bias")
		if scale == nil {
			scale = filled(s.c, 1)
		}
		if shift == nil {
			shift = make([]float32, s.c)
		}
		w, b = append(w, scale...), append(b, shift...)
	}
	if from == nil && at != m.c || from != nil && (at != from.c || from.flat != m.flat) {
		return false
	}
	m.kind, m.in, m.set = "ScaleShift", []*mod{from}, map[string]any{"channels": at, "scale": true, "bias": true}
	m.data = []weight{{role: "weight", shape: []int{at}, data: w}, {role: "bias", shape: []int{at}, data: b}}
	return true
}
