package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
)

// MarshalJSON writes the net as a file holds it:
//
//	{"version":1,"family":"lenet","input":{"channels":1,"height":28,"width":28},
//	 "modules":[{"name":"conv1","kind":"Conv2d","in_channels":1,"out_channels":6,"kernel_size":5},
//	  {"name":"relu1","kind":"ReLU"},…],"output":"fc"}
//
// A setting that has its default is left out, and so are the inputs ("from") of
// a module that reads the one before it, and an output that is the last module.
// Equal nets give equal bytes.
func (n *Net) MarshalJSON() ([]byte, error) {
	var w objectWriter
	w.begin()
	w.member("version", n.Version)
	if n.Family != "" {
		w.member("family", n.Family)
	}
	w.member("input", inputJSON(n.Input))
	w.key("modules")
	w.buf.WriteByte('[')
	previous := Image
	for i := range n.Modules {
		if i > 0 {
			w.buf.WriteByte(',')
		}
		w.module(&n.Modules[i], previous)
		previous = n.Modules[i].Name
	}
	w.buf.WriteByte(']')
	if n.Output != previous {
		w.member("output", n.Output)
	}
	if n.StateOrder != nil {
		w.member("state_order", n.StateOrder)
	}
	w.end()
	return w.buf.Bytes(), w.err
}

type inputJSON struct {
	Channels int `json:"channels"`
	Height   int `json:"height,omitempty"`
	Width    int `json:"width,omitempty"`
}

// An objectWriter writes JSON objects whose members keep their order.
type objectWriter struct {
	buf   bytes.Buffer
	first bool
	err   error
}

func (w *objectWriter) begin() { w.buf.WriteByte('{'); w.first = true }
func (w *objectWriter) end()   { w.buf.WriteByte('}'); w.first = false }

func (w *objectWriter) key(key string) {
	if !w.first {
		w.buf.WriteByte(',')
	}
	w.first = false
	fmt.Fprintf(&w.buf, "%q:", key)
}

func (w *objectWriter) member(key string, v any) {
	text, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", key, err)
	}
	w.key(key)
	w.buf.Write(text)
}

func (w *objectWriter) module(m *Module, previous string) {
	w.begin()
	w.member("name", m.Name)
	w.member("kind", KindName(m.Kind))
	base, err := kindOf(KindName(m.Kind))
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", m.Name, err)
		return
	}
	var defaults []any
	settings(base, func(_ string, f reflect.Value) { defaults = append(defaults, f.Interface()) })
	i := 0
	settings(reflect.ValueOf(m.Kind), func(key string, f reflect.Value) {
		if v := f.Interface(); !reflect.DeepEqual(v, defaults[i]) {
			w.member(key, v)
		}
		i++
	})
	if !slices.Equal(m.In, []string{previous}) {
		w.member("from", m.In)
	}
	if len(m.Tensors) > 0 {
		w.member("tensors", m.Tensors)
	}
	if len(m.Fake) > 0 {
		w.member("fake", m.Fake)
	}
	w.end()
}

// UnmarshalJSON reads a net and checks it. It is strict: an unknown key, one
// that is there twice, and a value of another type are errors. What is too
// large is refused before anything of its size is allocated.
func (n *Net) UnmarshalJSON(text []byte) error {
	o, err := readObject(text)
	if err != nil {
		return err
	}
	var net Net
	var modules []json.RawMessage
	for _, m := range o {
		switch m.key {
		case "version":
			err = m.decode(&net.Version)
			if err == nil && net.Version != NetVersion {
				err = fmt.Errorf("the net is of version %d, not %d", net.Version, NetVersion)
			}
		case "family":
			err = m.decode(&net.Family)
		case "input":
			err = net.Input.decode(m.value)
		case "modules":
			err = m.decode(&modules)
		case "output":
			err = m.decode(&net.Output)
		case "state_order":
			err = m.decode(&net.StateOrder)
		default:
			err = fmt.Errorf("unknown key %s", short(m.key))
		}
		if err != nil {
			return err
		}
	}
	if len(modules) > maxModules {
		return fmt.Errorf("%d modules; a net has at most %d", len(modules), maxModules)
	}
	previous := Image
	for i, text := range modules {
		m, err := decodeModule(text, previous)
		if err != nil {
			return fmt.Errorf("module %d: %w", i+1, err)
		}
		net.Modules = append(net.Modules, m)
		previous = m.Name
	}
	if net.Output == "" {
		net.Output = previous
	}
	if err := net.Validate(); err != nil {
		return err
	}
	*n = net
	return nil
}

// decode reads the input's description.
func (in *Input) decode(text []byte) error {
	o, err := readObject(text)
	if err != nil {
		return err
	}
	for _, m := range o {
		switch m.key {
		case "channels":
			err = m.decode(&in.Channels)
		case "height":
			err = m.decode(&in.Height)
		case "width":
			err = m.decode(&in.Width)
		default:
			err = fmt.Errorf("unknown key %s of the input", short(m.key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeModule reads one module. The kind comes first in files that are written
// here, but may stand anywhere.
func decodeModule(text []byte, previous string) (Module, error) {
	o, err := readObject(text)
	if err != nil {
		return Module{}, err
	}
	m := Module{In: []string{previous}}
	var name string
	for _, f := range o {
		switch f.key {
		case "name":
			err = f.decode(&m.Name)
		case "kind":
			err = f.decode(&name)
		}
		if err != nil {
			return m, err
		}
	}
	if err := checkName(m.Name); err != nil {
		return m, err
	}
	kind, err := kindOf(name)
	if err != nil {
		return m, fmt.Errorf("%s: %w", m.Name, err)
	}
	fields := make(map[string]reflect.Value)
	settingFields(kind, fields)
	for _, f := range o {
		switch field, ok := fields[f.key]; {
		case f.key == "name", f.key == "kind":
		case f.key == "from":
			m.In = nil
			err = f.decode(&m.In)
		case f.key == "tensors":
			err = m.decodeTensors(f.value)
		case f.key == "fake":
			err = m.decodeFakes(f.value)
		case ok:
			err = f.decode(field.Addr().Interface())
		default:
			err = fmt.Errorf("unknown key %s of a %s", short(f.key), name)
		}
		if err != nil {
			return m, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	m.Kind = kind.Interface().(Kind)
	return m, nil
}

// settingFields adds a kind's settings by their keys.
func settingFields(kind reflect.Value, to map[string]reflect.Value) {
	settings(kind, func(key string, f reflect.Value) { to[key] = f })
}

func (m *Module) decodeTensors(text []byte) error {
	o, err := readObject(text)
	if err != nil {
		return err
	}
	m.Tensors = make(map[string]string, len(o))
	for _, f := range o {
		var name string
		if err := f.decode(&name); err != nil {
			return err
		}
		m.Tensors[f.key] = name
	}
	return nil
}

func (m *Module) decodeFakes(text []byte) error {
	roles, err := readObject(text)
	if err != nil {
		return err
	}
	m.Fake = make(map[string]Fake, len(roles))
	for _, r := range roles {
		settings, err := readObject(r.value)
		if err != nil {
			return err
		}
		var q Fake
		for _, f := range settings {
			switch f.key {
			case "bits":
				err = f.decode(&q.Bits)
			case "signed":
				err = f.decode(&q.Signed)
			case "symmetric":
				err = f.decode(&q.Symmetric)
			case "per_channel":
				err = f.decode(&q.PerChannel)
			case "learned":
				err = f.decode(&q.Learned)
			default:
				err = fmt.Errorf("unknown key %s of a quantizer", short(f.key))
			}
			if err != nil {
				return err
			}
		}
		m.Fake[r.key] = q
	}
	return nil
}

// DecodeKind returns the kind of the given name with settings in JSON, as they
// stand in a net's text: {"in_channels":3,"out_channels":16}. It is as strict as
// Net.UnmarshalJSON, and leaves Check to the net.
func DecodeKind(name string, text []byte) (Kind, error) {
	o, err := readObject(text)
	if err != nil {
		return nil, err
	}
	kind, err := kindOf(name)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]reflect.Value)
	settingFields(kind, fields)
	for _, f := range o {
		field, ok := fields[f.key]
		if !ok {
			return nil, fmt.Errorf("unknown key %s of a %s", short(f.key), name)
		}
		if err := f.decode(field.Addr().Interface()); err != nil {
			return nil, err
		}
	}
	return kind.Interface().(Kind), nil
}

// A member is a key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// decode puts the value into a pointer. Numbers must be finite.
func (m member) decode(to any) error {
	if string(m.value) == "null" {
		return fmt.Errorf("key %s has no value", short(m.key))
	}
	if err := json.Unmarshal(m.value, to); err != nil {
		return fmt.Errorf("key %s: %s is not understood", short(m.key), short(m.value))
	}
	if f, ok := to.(*float64); ok && (math.IsInf(*f, 0) || math.IsNaN(*f)) {
		return fmt.Errorf("key %s: %s is no number", short(m.key), short(m.value))
	}
	return nil
}

// short quotes the beginning of a value or a name, so that an error is one line
// whatever a file holds.
func short[T string | json.RawMessage | []byte](text T) string {
	const enough = 80
	if len(text) > enough {
		return fmt.Sprintf("%q…", text[:enough])
	}
	return fmt.Sprintf("%q", text)
}

// readObject returns the members of a JSON object in their order. A key that is
// there twice is an error.
func readObject(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("keys and values are needed, not %s", short(text))
	}
	var out []member
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: fmt.Sprint(t)}
		if seen[m.key] {
			return nil, fmt.Errorf("key %s is there twice", short(m.key))
		}
		seen[m.key] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the last value")
	}
	return out, nil
}
