package layers

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
)

// A Kind is what a module computes, with its sizes. The kinds of this package
// are PyTorch's layers; Register adds others. A kind is a struct whose fields
// have JSON tags, which are the keys of files and of YAML too; it is never
// changed once a net has it.
type Kind interface {
	// Check reports settings that make no sense, for a module of so many inputs.
	Check(inputs int) error
	// Params returns the module's tensors in the order of PyTorch's state_dict.
	// It may be called for a kind that Check has accepted.
	Params() []Param
	// Build adds the module to a graph and returns its output. Errors go to the
	// builder.
	Build(c *Call) *engine.Value
	// Tie says which channels of inputs, outputs and tensors are one: see Ties.
	Tie(t *Ties)
	// Keep returns the same kind with the channels in[i] of input i and out of
	// its output, numbered as they are now; nil stands for all of them. Numbers
	// are ascending, and repeated where a net is made wider. Where channels
	// change places too, they are the places that are left.
	Keep(in [][]int, out []int) (Kind, error)
}

// A Param is one tensor of a kind.
type Param struct {
	// Role is the tensor's name within its module, as in "weight".
	Role string
	// Spec is the engine's shape and element type.
	Spec   engine.Spec
	Layout Layout
	Init   Init
	// Buffer marks what is no parameter: statistics and counters, which no
	// gradient is taken of.
	Buffer bool
}

// param is a trainable float32 tensor.
func param(role string, layout Layout, init Init, shape ...int) Param {
	return Param{Role: role, Spec: engine.F32(shape...), Layout: layout, Init: init}
}

// A Call is what a Kind builds itself with.
type Call struct {
	*engine.Builder
	// In are the module's inputs: NHWC, or [N,C] behind a global pooling.
	In []*engine.Value
	// Train says that batch norms use the statistics of the batch and dropout
	// drops. It is false in a frozen module.
	Train bool

	module *Module
	values map[string]*engine.Variable
}

// Param returns the tensor of a role, rounded where the module has a quantizer
// for it.
func (c *Call) Param(role string) *engine.Value {
	return c.fake(role, c.Variable(c.values[c.module.Tensor(role)]))
}

// Stream returns a number that tells the random numbers of this module from
// those of others. It depends on the module's name alone.
func (c *Call) Stream() uint32 {
	h := uint32(2166136261) // FNV-1a, 32 bits
	for i := range len(c.module.Name) {
		h = (h ^ uint32(c.module.Name[i])) * 16777619
	}
	return h
}

// kinds are the registered kinds, by name, with the values that their settings
// have where a file does not give them.
var kinds = map[string]Kind{}

// Register makes a kind known to files. The value's fields are the defaults of
// its settings. The name is that of the Go type; two kinds of one name are a
// programmer's error.
func Register(k Kind) {
	name := KindName(k)
	if _, ok := kinds[name]; ok {
		panic("layers: two kinds are named " + name)
	}
	kinds[name] = k
}

// KindName returns the name of a kind, PyTorch's where it is one of its layers.
func KindName(k Kind) string {
	return reflect.TypeOf(k).Name()
}

// KindNames returns the names of the kinds in alphabetical order.
func KindNames() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// nearest returns the three names of kinds that are fewest edits away from name.
func nearest(name string) []string {
	name = strings.ToLower(name[:min(len(name), 40)])
	names := KindNames()
	slices.SortStableFunc(names, func(a, b string) int {
		return edits(name, strings.ToLower(a)) - edits(name, strings.ToLower(b))
	})
	return names[:min(len(names), 3)]
}

// edits returns how many bytes must be put in, left out or changed to make b of a
// (Levenshtein, 1966).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// kindOf returns the kind of the given name with its default settings, in a
// reflect.Value that can be set.
func kindOf(name string) (reflect.Value, error) {
	k, ok := kinds[name]
	if !ok {
		return reflect.Value{}, fmt.Errorf("unknown kind %s; nearest are %s (docs/nets.md has all)", short(name), strings.Join(nearest(name), ", "))
	}
	v := reflect.New(reflect.TypeOf(k)).Elem()
	v.Set(reflect.ValueOf(k))
	return v, nil
}

// settings calls each for every field of a kind that has a JSON key.
func settings(v reflect.Value, each func(key string, field reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" && key != "-" {
			each(key, v.Field(i))
		}
	}
}

// takes is the complaint about a number of inputs.
func takes(want string, inputs int) error {
	return fmt.Errorf("it takes %s, %d are given", want, inputs)
}

// one checks that a kind has a single input.
func one(inputs int) error {
	if inputs != 1 {
		return takes("one input", inputs)
	}
	return nil
}

// count returns how many channels a face has after it has been cut to kept.
func count(n int, kept []int) int {
	if kept == nil {
		return n
	}
	return len(kept)
}
