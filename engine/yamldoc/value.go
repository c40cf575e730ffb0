package yamldoc

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// value decodes a node into v. If v is a struct, keys in except are passed over.
func (d *decoding) value(n ast.Node, v reflect.Value, path string, except []string) error {
	if !d.source.Has(path) {
		p := n.GetToken().Position
		d.source.pos[path] = position{p.Line, p.Column}
	}
	if _, null := n.(*ast.NullNode); null {
		return d.errAt(n, "%s has no value; give one or remove the key", d.last(path))
	}
	if v.CanAddr() && v.Kind() != reflect.Pointer {
		if self, ok := v.Addr().Interface().(NodeDecoder); ok {
			return self.DecodeNode(&Node{d, n, path})
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), path, except)
	case reflect.Struct:
		return d.mapping(n, path, func(key string, k, child ast.Node) error {
			if slices.Contains(except, key) {
				return nil
			}
			f, ok := field(v, key)
			if !ok {
				known := append(slices.Clone(except), Keys(v.Type())...)
				return d.errAt(k, "unknown key %s%s; known here are %s", quote(key), inPart(path), strings.Join(known, ", "))
			}
			return d.value(child, f, Join(path, key), nil)
		})
	case reflect.Slice:
		return d.slice(n, v, path)
	}
	return d.scalar(n, v, path)
}

// mapping calls each for every pair of n.
func (d *decoding) mapping(n ast.Node, path string, each func(key string, k, v ast.Node) error) error {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return d.errAt(n, "%s wants keys and values, not %s", d.last(path), describe(n))
	}
	seen := make(map[string]bool)
	for _, pair := range m.Values {
		k, ok := ast.Node(pair.Key).(*ast.StringNode)
		if !ok {
			return d.errAt(pair.Key, "a key must be a name, not %s; put it in quotes if it is meant as one", describe(pair.Key))
		}
		if seen[k.Value] {
			return d.errAt(k, "key %s appears twice; remove one", quote(k.Value))
		}
		seen[k.Value] = true
		p := k.GetToken().Position
		d.source.pos[Join(path, k.Value)+"#"] = position{p.Line, p.Column}
		if err := each(k.Value, k, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// slice decodes a list, or, for strings, a single one.
func (d *decoding) slice(n ast.Node, v reflect.Value, path string) error {
	items := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		items = list.Values
	} else if v.Type().Elem().Kind() != reflect.String {
		return d.errAt(n, "%s wants a list, as in [a, b], not %s", d.last(path), describe(n))
	}
	for i, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(item, e, fmt.Sprintf("%s[%d]", path, i), nil); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	return nil
}

// scalar decodes a single value.
func (d *decoding) scalar(n ast.Node, v reflect.Value, path string) error {
	wrong := func(want string) error { return d.errAt(n, "%s wants %s, not %s", d.last(path), want, describe(n)) }
	switch v.Kind() {
	case reflect.String:
		switch n := n.(type) {
		case *ast.StringNode:
			v.SetString(n.Value)
		case *ast.LiteralNode:
			v.SetString(strings.TrimSpace(n.Value.Value))
		default:
			return wrong("text (in quotes, if it looks like a number)")
		}
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return wrong("true or false")
		}
		v.SetBool(b.Value)
	case reflect.Float64:
		f, ok := number(n)
		if !ok {
			return wrong("a number")
		}
		v.SetFloat(f)
	case reflect.Int, reflect.Uint64:
		i, ok := whole(n)
		if !ok {
			return wrong(fmt.Sprintf("a whole number from 0 to %d", math.MaxInt32))
		}
		if v.Kind() == reflect.Int {
			v.SetInt(int64(i))
		} else {
			v.SetUint(i)
		}
	default:
		return fmt.Errorf("%s: %s cannot hold a %s", path, d.one(), v.Type())
	}
	return nil
}

// whole returns a whole number that fits an int everywhere.
func whole(n ast.Node) (uint64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	u, ok := i.Value.(uint64)
	return u, ok && u <= math.MaxInt32
}

// number returns a finite number. The YAML library takes 1e-3 for text.
func number(n ast.Node) (float64, bool) {
	f := math.NaN()
	switch n := n.(type) {
	case *ast.FloatNode:
		f = n.Value
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case uint64:
			f = float64(i)
		case int64:
			f = float64(i)
		}
	case *ast.StringNode:
		if n.GetToken().Type == token.StringType {
			if x, err := strconv.ParseFloat(n.Value, 64); err == nil {
				f = x
			}
		}
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// describe says what a node is.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode:
		return "keys and values"
	case *ast.NullNode:
		return "nothing"
	}
	return n.GetToken().Value
}

// quote quotes text, of which it shows the beginning if it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "") + "…")
	}
	return strconv.Quote(s)
}

// field returns the field of the struct v for a key; embedded structs' fields
// count as its own.
func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			if e, ok := field(v.Field(i), key); ok {
				return e, true
			}
		} else if tag := f.Tag.Get("yaml"); tag != "" && tag == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// Keys lists the keys of a struct.
func Keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, Keys(f.Type)...)
		} else if tag := f.Tag.Get("yaml"); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}
