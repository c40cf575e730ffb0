package layers

// A Layout says how a tensor of PyTorch's state_dict lies in the engine. This
// file is the only place where the two conventions meet.
type Layout uint8

// The layouts: PyTorch's order of axes on the left, the engine's on the right.
const (
	Same Layout = iota // vectors and scalars: the same in both
	OIHW               // convolution weights: [O,I,KH,KW] and [KH,KW,I,O]
	OI                 // linear weights: [O,I] and [I,O], or [1,1,I,O] over pixels
	C11                // vectors of channels that stand beside an image: [C,1,1] and [C]
)

// String returns the layout's axes as PyTorch has them.
func (l Layout) String() string {
	switch l {
	case OIHW:
		return "OIHW"
	case OI:
		return "OI"
	case C11:
		return "C11"
	}
	return "as is"
}

// Torch returns PyTorch's shape of a tensor of the given engine shape.
func (l Layout) Torch(engine []int) []int {
	switch l {
	case OIHW:
		return []int{engine[3], engine[2], engine[0], engine[1]}
	case OI:
		n := len(engine)
		return []int{engine[n-1], engine[n-2]}
	case C11:
		return []int{engine[0], 1, 1}
	}
	return append([]int{}, engine...)
}

// matrix views a tensor of PyTorch's shape as a transposable pair: outer
// output channels of PyTorch times inner elements, and the permutation that
// takes inner element k of PyTorch (i, kh, kw) to its place (kh, kw, i) in the
// engine.
func (l Layout) matrix(torch []int) (outer, inner int, place func(k int) int) {
	if l == OI {
		return torch[0], torch[1], func(k int) int { return k }
	}
	i, khw := torch[1], torch[2]*torch[3]
	return torch[0], i * khw, func(k int) int { return k%khw*i + k/khw }
}

// ToEngine reorders src, of PyTorch's shape torch, into dst.
func (l Layout) ToEngine(dst, src []float32, torch []int) {
	if l == Same || l == C11 {
		copy(dst, src)
		return
	}
	outer, inner, place := l.matrix(torch)
	for k := range inner {
		row := dst[place(k)*outer:][:outer]
		for o := range row {
			row[o] = src[o*inner+k]
		}
	}
}

// ToTorch reorders src, in the engine's layout, into dst of PyTorch's shape torch.
func (l Layout) ToTorch(dst, src []float32, torch []int) {
	if l == Same || l == C11 {
		copy(dst, src)
		return
	}
	outer, inner, place := l.matrix(torch)
	for k := range inner {
		row := src[place(k)*outer:][:outer]
		for o, v := range row {
			dst[o*inner+k] = v
		}
	}
}
