package engine

import "fmt"

// A Packer is a Backend that does the preparations of several kernels in one, for
// weights that change from run to run: one launch at the start of a run in the
// place of one before each kernel.
type Packer interface {
	Backend
	// Packs names what a kernel's Prepare makes of its inputs; kernels of one name
	// make the same. The name is empty where there is nothing to prepare, or
	// CompilePack does not take the kernel.
	Packs(k Preparer) string
	// CompilePack makes the kernel whose inputs are those that the given ones
	// prepare themselves from, in their order, and whose outputs are what each
	// leaves in `kept`.
	CompilePack(kernels []Preparer) (Kernel, error)
}

// pack puts a step before all others that packs the variables which a run reads and
// then overwrites. Those that a run does not overwrite are packed once for many runs
// (see prepareKernels), and what is computed within it by the kernels themselves.
func (p *plan) pack() error {
	b, ok := p.backend.(Packer)
	if !ok {
		return nil
	}
	first := &step{scope: "weights"}
	var kernels []Preparer
	var bytes []int
	made := make(map[string]*Value)
	for _, s := range p.steps {
		k, ok := s.kernel.(Preparer)
		if !ok || s.kept != nil {
			continue
		}
		key := b.Packs(k)
		if key == "" {
			continue
		}
		var in []*Value
		inputs, n := k.Prepares()
		for _, i := range inputs {
			if s.in[i].variable != nil {
				in = append(in, s.in[i])
				key += fmt.Sprintf(" %p", s.in[i])
			}
		}
		if len(in) < len(inputs) {
			continue
		}
		if s.packed = made[key]; s.packed != nil {
			continue
		}
		s.packed = &Value{Spec: Spec{Shape: []int{n}, DType: Uint8}, name: "packed"}
		made[key] = s.packed
		kernels, bytes = append(kernels, k), append(bytes, n)
		first.in, first.out = append(first.in, in...), append(first.out, s.packed)
	}
	if len(kernels) == 0 {
		return nil
	}
	first.op = Pack{Bytes: bytes}
	var err error
	first.kernel, err = b.CompilePack(kernels)
	p.steps = append([]*step{first}, p.steps...)
	return err
}
