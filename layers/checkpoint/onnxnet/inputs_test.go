package onnxnet

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
	"github.com/potstill/potstill/layers/checkpoint/onnxread/onnxtest"
)

// TestAnyInputs gives every operator too few inputs, empty ones, constants where
// images are read and images where constants are: what comes is a net or a line.
func TestAnyInputs(t *testing.T) {
	ops := slices.Concat(slices.Collect(maps.Keys(operators)), slices.Collect(maps.Keys(folds)), slices.Collect(maps.Keys(binaries)),
		slices.Collect(maps.Keys(unaries)), []string{"Split"})
	if len(ops) < 100 {
		t.Fatalf("only %d operators", len(ops))
	}
	names := []string{"", "x", "fc.bias", "fc.weight"}
	lists := [][]string{nil}
	for _, a := range names {
		lists = append(lists, []string{a})
		for _, b := range names {
			lists = append(lists, []string{a, b})
			for _, c := range names {
				lists = append(lists, []string{a, b, c}, []string{a, b, c, c}, []string{a, b, c, c, a})
			}
		}
	}
	for _, op := range ops {
		for _, in := range lists {
			for _, outs := range [][]string{{"z"}, {"z", "u"}} {
				g := onnxtest.Small()
				g.Nodes[0] = onnxtest.Node("Conv", []string{"z", "conv.weight", "conv.bias"}, []string{"c"}, onnxtest.AttributeInts("pads", 1, 1, 1, 1))
				g.Nodes = append([]onnxtest.Message{onnxtest.Node(op, in, outs), onnxtest.Node(op, in, nil)}, g.Nodes...)
				m, err := onnxread.Decode(g.Bytes())
				if err == nil {
					_, err = Import(m, Options{})
				}
				var format *named.FormatError
				if err != nil && !errors.As(err, &format) {
					t.Fatalf("%s of %q: %v", op, in, err)
				}
			}
		}
	}
}
