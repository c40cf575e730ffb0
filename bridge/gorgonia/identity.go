package bridge

import (
	"fmt"
	"reflect"

	G "gorgonia.org/gorgonia"
)

// Verify looks for nodes of g that Gorgonia has taken for one although they
// were built as several, and for other signs that a node is not what it was
// built as. The error is an *IdentityError. Compile calls it; a program that
// calls gorgonia.Grad may call it before, when more can be seen (see the
// package comment on identity).
//
// It reports
//   - two nodes of one 32-bit hash: what was built on the second may have been
//     given the first as its input;
//   - an input that was declared more than once with one name, type and shape
//     (two inputs without a name, for example): only the first exists;
//   - a constant whose name is not its value, and a constant tensor: Gorgonia
//     tells constants apart by name only;
//   - SoftMax and LogSoftMax, pooling, BatchNorm, Dropout, and the im2col of a
//     strided Conv2d, asked for twice on one input: Gorgonia compares a part of
//     their settings only, so the second may have been another;
//   - an input that nothing is computed from, unless unused is true: its
//     consumer may have been merged with another node.
func Verify(g *G.ExprGraph, unused bool) error {
	v, err := inspect(g)
	if err != nil {
		return err
	}
	return v.audit(g, nil, unused)
}

func (v *view) audit(g *G.ExprGraph, outputs []*G.Node, unused bool) error {
	byHash := make(map[uint32]*G.Node, len(v.nodes))
	for _, n := range v.nodes {
		if other, ok := byHash[n.Hashcode()]; ok && other != n {
			return merged(n, "it has the hash %08x of node %s, and Gorgonia takes what is built on one for what is built on the other: rename one of the inputs and build the graph again", n.Hashcode(), describe(other))
		}
		byHash[n.Hashcode()] = n
	}
	if err := v.auditInputs(g, outputs, unused); err != nil {
		return err
	}
	built, err := v.timesBuilt(g)
	if err != nil {
		return err
	}
	for _, n := range v.nodes {
		if err := constantName(n); err != nil {
			return err
		}
		if built[n] > 1 && v.vague(n) {
			return merged(n, "%s was asked for %d times on one input, and Gorgonia compares a part of its settings only: build it once and use the node twice, or give each an input of its own", opName(n), built[n])
		}
	}
	return nil
}

// auditInputs looks for inputs that were declared twice or are used by nothing.
func (v *view) auditInputs(g *G.ExprGraph, outputs []*G.Node, unused bool) error {
	leaves := reflect.ValueOf(g).Elem().FieldByName("leaves")
	if !leaves.IsValid() || leaves.Kind() != reflect.Slice {
		return fmt.Errorf("gorgonia's ExprGraph has no leaves: this bridge is written for gorgonia %s", fieldVersion)
	}
	declared := make(map[uintptr]int)
	for i := range leaves.Len() {
		declared[leaves.Index(i).Pointer()]++
	}
	wanted := make(map[*G.Node]bool)
	for _, o := range outputs {
		wanted[o] = true
	}
	for _, n := range v.nodes {
		if n.Op() != nil {
			continue
		}
		if times := declared[reflect.ValueOf(n).Pointer()]; times > 1 {
			return merged(n, "%d inputs of this name, type and shape were declared, and Gorgonia made one of them: give each a name of its own", times)
		}
		if v.users[n] == 0 && !wanted[n] && !unused {
			return merged(n, "nothing is computed from this input: what was may have been merged with another node; if it is not needed, set Unused")
		}
	}
	return nil
}

// constantName refuses constants that Gorgonia may have taken for others.
func constantName(n *G.Node) error {
	switch kind(n) {
	case "constantTensor":
		return merged(n, "a constant tensor: Gorgonia tells constants apart by their printed, shortened values; bind the values to an input instead")
	case "constantScalar":
		if v := n.Value(); v == nil || givenName(n) != fmt.Sprint(v.Data()) {
			return merged(n, "a constant with the name %q for the value %v: Gorgonia tells constants apart by name; leave the name out", givenName(n), v)
		}
	}
	return nil
}

// timesBuilt counts how often each node was asked for. An edge is added each
// time; ExprGraph.To, and so gorgonia.Grad, forgets the repeated ones.
func (v *view) timesBuilt(g *G.ExprGraph) (map[*G.Node]int, error) {
	to := reflect.ValueOf(g).Elem().FieldByName("to")
	if !to.IsValid() || to.Kind() != reflect.Map {
		return nil, fmt.Errorf("gorgonia's ExprGraph has no edges: this bridge is written for gorgonia %s", fieldVersion)
	}
	type edge struct{ from, to uintptr }
	edges := make(map[edge]int)
	for it := to.MapRange(); it.Next(); {
		for i := range it.Value().Len() {
			edges[edge{it.Value().Index(i).Pointer(), it.Key().Pointer()}]++
		}
	}
	built := make(map[*G.Node]int)
	for n, in := range v.in {
		operand := 0
		for _, c := range in {
			if c == in[0] {
				operand++
			}
		}
		built[n] = edges[edge{reflect.ValueOf(n).Pointer(), reflect.ValueOf(in[0]).Pointer()}] / operand
	}
	return built, nil
}

// vague reports whether Gorgonia's identity of n's operator leaves out a
// setting that the shapes do not tell.
func (v *view) vague(n *G.Node) bool {
	switch kind(n) {
	case "softmaxOp", "maxPoolOp", "avgPoolOp", "BatchNormOp", "dropoutOp":
		return true
	case "im2colOp": // leaves out the dilation
		f := fieldsOf(n.Op())
		s := v.in[n][0].Shape()
		return sameSize(s[2], f.int("h"), f.int("padH"), f.int("strideH"), f.int("dilationH"),
			s[3], f.int("w"), f.int("padW"), f.int("strideW"), f.int("dilationW"))
	}
	return false
}

// sameSize reports whether another pair of dilations gives an image h by w
// convolved so the same size.
func sameSize(h, kh, ph, sh, dh, w, kw, pw, sw, dw int) bool {
	size := func(in, k, p, s, d int) int { return (in + 2*p - d*(k-1) - 1) / s }
	fits := func(in, k, p, s, d int) (all []int) {
		for e := 1; e <= in+2*p && (k > 1 || e == d); e++ {
			if in+2*p >= e*(k-1)+1 && size(in, k, p, s, e) == size(in, k, p, s, d) {
				all = append(all, e)
			}
		}
		return all
	}
	return len(fits(h, kh, ph, sh, dh))*len(fits(w, kw, pw, sw, dw)) > 1
}
