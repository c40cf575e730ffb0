package engine

import "strings"

// Outputs are the values that a net has in a graph: its logits, and the outputs
// of its modules by name, for losses that tap them. It is what a net hands to
// whoever trains it.
type Outputs struct {
	// Logits are [N, classes], in float32 whatever the images are.
	Logits *Value
	names  []string // of the modules, in the order of execution
	values map[string]*Value
}

// Add gives the output of a module, which has been built behind those added
// before.
func (o *Outputs) Add(module string, v *Value) {
	if o.values == nil {
		o.values = make(map[string]*Value)
	}
	o.names = append(o.names, module)
	o.values[module] = v
}

// At returns the output of a module, or of the container whose path it is: that
// is the output of the last module inside it, as "layer1" is that of
// "layer1.1.relu_1". It returns nil if there is neither.
func (o *Outputs) At(name string) *Value {
	if v, ok := o.values[name]; ok {
		return v
	}
	for i := len(o.names) - 1; i >= 0; i-- {
		if strings.HasPrefix(o.names[i], name+".") {
			return o.values[o.names[i]]
		}
	}
	return nil
}

// Modules returns the names that At knows, in the order of execution.
func (o *Outputs) Modules() []string { return o.names }
