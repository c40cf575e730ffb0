package study

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A RecipeError is a mistake in a recipe: where it stands, what it is, and how
// to mend it.
type RecipeError struct {
	File         string
	Line, Column int // from 1
	Reason       string
}

// Error implements error: "file:line:column: reason".
func (e *RecipeError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
}

// position is a place in the text, from 1.
type position struct{ line, column int }

// A decoder fills Go values from YAML, more strictly than YAML libraries do: an
// unknown key, a fraction for a whole number or a quoted number is an error. It
// notes where each value stands, under its path ("steps.student.from[0]").
type decoder struct {
	file string
	pos  map[string]position
}

func (d *decoder) errAt(n ast.Node, format string, args ...any) error {
	p := n.GetToken().Position
	return &RecipeError{File: d.file, Line: p.Line, Column: p.Column, Reason: fmt.Sprintf(format, args...)}
}

// decode parses text, a single YAML document, into out, a pointer to a struct.
func (d *decoder) decode(text []byte, out any) error {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return d.syntax(err)
	}
	docs := slices.DeleteFunc(f.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	if len(docs) == 0 {
		return &RecipeError{File: d.file, Line: 1, Column: 1, Reason: "the recipe is empty; it needs steps"}
	}
	if len(docs) > 1 {
		return d.errAt(docs[1].Body, "a second document begins; a recipe is one document")
	}
	return d.value(docs[0].Body, reflect.ValueOf(out).Elem(), "")
}

// syntax turns an error of the parser, which quotes the text over several
// lines, into one line.
func (d *decoder) syntax(err error) error {
	e := &RecipeError{File: d.file, Line: 1, Column: 1, Reason: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		e.Reason = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
	}
	e.Reason = "not understood as YAML: " + strings.Join(strings.Fields(e.Reason), " ")
	return e
}

// ordered is a map of named parts that keeps their order: the decoder gives
// each element its key through setName.
type named interface{ setName(name string) }

func (d *decoder) value(n ast.Node, v reflect.Value, path string) error {
	if _, ok := d.pos[path]; !ok {
		p := n.GetToken().Position
		d.pos[path] = position{p.Line, p.Column}
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return d.errAt(n, "anchors, aliases and tags are not used in recipes; put what steps share under defaults")
	case *ast.NullNode:
		return d.errAt(n, "%s has no value; give one or remove the key", last(path))
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), path)
	case reflect.Struct:
		return d.mapping(n, path, func(key string, k, child ast.Node) error {
			f, ok := field(v, key)
			if !ok {
				return d.errAt(k, "unknown key %q%s; known here are %s", key, inPart(path), strings.Join(keys(v.Type()), ", "))
			}
			return d.value(child, f, join(path, key))
		})
	case reflect.Slice:
		return d.slice(n, v, path)
	}
	return d.scalar(n, v, path)
}

// mapping calls each for every pair of n.
func (d *decoder) mapping(n ast.Node, path string, each func(key string, k, v ast.Node) error) error {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return d.errAt(n, "%s wants keys and values, not %s", last(path), describe(n))
	}
	seen := make(map[string]bool)
	for _, pair := range m.Values {
		k, ok := ast.Node(pair.Key).(*ast.StringNode)
		if !ok {
			return d.errAt(pair.Key, "a key must be a name, not %s", describe(pair.Key))
		}
		if seen[k.Value] {
			return d.errAt(k, "key %q appears twice; remove one", k.Value)
		}
		seen[k.Value] = true
		p := k.GetToken().Position
		d.pos[join(path, k.Value)+"#"] = position{p.Line, p.Column}
		if err := each(k.Value, k, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// slice decodes a list; a mapping, where the elements have names; or, for
// strings, a single one.
func (d *decoder) slice(n ast.Node, v reflect.Value, path string) error {
	add := func(child ast.Node, path, name string) error {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(child, e, path); err != nil {
			return err
		}
		if p, ok := e.Interface().(named); ok {
			p.setName(name)
		}
		v.Set(reflect.Append(v, e))
		return nil
	}
	if v.Type().Elem().Implements(reflect.TypeFor[named]()) {
		return d.mapping(n, path, func(key string, _, child ast.Node) error { return add(child, join(path, key), key) })
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok && v.Type().Elem().Kind() == reflect.String {
		return add(n, path+"[0]", "")
	}
	if !ok {
		return d.errAt(n, "%s wants a list, as in [a, b], not %s", last(path), describe(n))
	}
	for i, child := range list.Values {
		if err := add(child, fmt.Sprintf("%s[%d]", path, i), ""); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) error {
	wrong := func(want string) error { return d.errAt(n, "%s wants %s, not %s", last(path), want, describe(n)) }
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
		return fmt.Errorf("%s: a recipe cannot hold a %s", path, v.Type())
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
		return strconv.Quote(n.Value)
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

// keys lists the keys of a struct.
func keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			out = append(out, keys(f.Type)...)
		} else if tag := f.Tag.Get("yaml"); tag != "" {
			out = append(out, tag)
		}
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// last is the last part of a path, which is what a person calls it.
func last(path string) string {
	if path == "" {
		return "the recipe"
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}

// inPart says where a key stands.
func inPart(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
