// Package cstruct holds argument structs that are written down twice, in C for a
// kernel and in Go for its launch, to each other, field for field: a field that
// is added or moved on one side alone would be read as another by the kernel.
// It is for tests.
package cstruct

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// A Field is a scalar of a struct, or of a struct or array within it.
type Field struct {
	// Name is in lower case without underscores, "rows.stride" within a struct
	// and "p.3" within an array.
	Name         string
	Kind         string // "pointer", "int", "unsigned" or "float"
	Offset, Size int    // in bytes
}

func (f Field) String() string {
	return fmt.Sprintf("%s (%s%d at %d)", f.Name, f.Kind, 8*f.Size, f.Offset)
}

// scalars are C's types, without those that the sources define as structs.
var scalars = map[string]Field{
	"int": {Kind: "int", Size: 4}, "int32_t": {Kind: "int", Size: 4}, "i64": {Kind: "int", Size: 8}, "int64_t": {Kind: "int", Size: 8},
	"u32": {Kind: "unsigned", Size: 4}, "uint32_t": {Kind: "unsigned", Size: 4}, "size_t": {Kind: "unsigned", Size: 8}, "u64": {Kind: "unsigned", Size: 8},
	"float": {Kind: "float", Size: 4}, "double": {Kind: "float", Size: 8},
}

var (
	comments = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	structs  = regexp.MustCompile(`(?s)typedef struct(?: ALIGNED\([^{]*\))? \{([^{}]*)\} ([\w, ]+);`)
	types    = regexp.MustCompile(`^(?:const )?(?:unsigned )?(\w+) *(.*)$`)
	array    = regexp.MustCompile(`^(\w+)\[(\w+)\]$`)
)

// Parse returns the structs of C sources by the names that typedef gives them.
// The types of fields are scalars, pointers, and structs that come earlier;
// array lengths are numbers or names in constants. A struct that has something
// else is left out: it is no kernel's argument.
func Parse(text string, constants map[string]int) map[string][]Field {
	out := make(map[string][]Field)
	for _, m := range structs.FindAllStringSubmatch(comments.ReplaceAllString(text, ""), -1) {
		fields, ok := parseBody(m[1], out, constants)
		if !ok {
			continue
		}
		for _, name := range strings.Split(m[2], ",") {
			out[strings.TrimSpace(name)] = fields
		}
	}
	return out
}

// parseBody reads the fields between a struct's braces.
func parseBody(body string, known map[string][]Field, constants map[string]int) (out []Field, ok bool) {
	at := 0
	for _, line := range strings.Split(body, ";") {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		m := types.FindStringSubmatch(line)
		if m == nil {
			return nil, false
		}
		for _, name := range strings.Split(m[2], ",") {
			one, ok := declared(m[1], strings.TrimSpace(name), known, constants)
			if !ok {
				return nil, false
			}
			at = place(&out, one, at)
		}
	}
	return out, true
}

// declared returns the fields of one declarator, with offsets from its start.
func declared(typ, name string, known map[string][]Field, constants map[string]int) ([]Field, bool) {
	pointer := strings.Contains(name, "*")
	name = strings.TrimSpace(strings.NewReplacer("*", "", "const ", "").Replace(name))
	count := 1
	if m := array.FindStringSubmatch(name); m != nil {
		n, err := strconv.Atoi(m[2])
		if c, ok := constants[m[2]]; ok {
			n, err = c, nil
		}
		if err != nil {
			return nil, false
		}
		name, count = m[1], n
	}
	element, ok := []Field{scalars[typ]}, true
	switch {
	case pointer:
		element = []Field{{Kind: "pointer", Size: 8}}
	case known[typ] != nil:
		element = known[typ]
	default:
		_, ok = scalars[typ]
	}
	if !ok {
		return nil, false
	}
	var out []Field
	end := 0
	for i := range count {
		var one []Field
		for _, f := range element {
			f.Name = join(plain(name), i, count, f.Name)
			one = append(one, f)
		}
		end = place(&out, one, end)
	}
	return out, true
}

// join makes the name of a field within an element.
func join(name string, i, count int, inner string) string {
	if count > 1 {
		name += "." + strconv.Itoa(i)
	}
	if inner != "" {
		name += "." + inner
	}
	return name
}

// place appends fields that belong together at the next place that suits them,
// and returns the end, with the padding behind them.
func place(out *[]Field, fields []Field, at int) int {
	align, end := 1, 0
	for _, f := range fields {
		align = max(align, f.Size)
		end = max(end, f.Offset+f.Size)
	}
	at = (at + align - 1) / align * align
	for _, f := range fields {
		f.Offset += at
		*out = append(*out, f)
	}
	return at + (end+align-1)/align*align
}

// plain is a name as both languages have it.
func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// Of returns the fields of a Go struct. A tag c:"name" names a field whose name
// in C no Go field can have.
func Of(v any) []Field { return flatten(reflect.TypeOf(v), "", 0) }

func flatten(t reflect.Type, name string, at int) (out []Field) {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			own := plain(f.Name)
			if tag := f.Tag.Get("c"); tag != "" {
				own = plain(tag)
			}
			if name != "" {
				own = name + "." + own
			}
			out = append(out, flatten(f.Type, own, at+int(f.Offset))...)
		}
		return out
	case reflect.Array:
		for i := range t.Len() {
			out = append(out, flatten(t.Elem(), join(name, i, t.Len(), ""), at+i*int(t.Elem().Size()))...)
		}
		return out
	}
	kind := "int"
	switch t.Kind() {
	case reflect.UnsafePointer, reflect.Pointer, reflect.Uintptr:
		kind = "pointer"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		kind = "unsigned"
	case reflect.Float32, reflect.Float64:
		kind = "float"
	}
	return []Field{{name, kind, at, int(t.Size())}}
}

// Differ says where a struct of Go is another than that of C, "" if nowhere. The
// Go type of addresses on a device, of which pointer is one, is a number there.
func Differ(c []Field, v any, pointer reflect.Type) string {
	own := Of(v)
	if pointer != nil {
		own = withPointers(reflect.TypeOf(v), own, pointer)
	}
	for i := range max(len(c), len(own)) {
		switch {
		case i >= len(own):
			return fmt.Sprintf("C has %v, which Go lacks", c[i])
		case i >= len(c):
			return fmt.Sprintf("Go has %v, which C lacks", own[i])
		case c[i] != own[i]:
			return fmt.Sprintf("C has %v, Go %v", c[i], own[i])
		}
	}
	return ""
}

// withPointers marks the fields that are of the pointer's type.
func withPointers(t reflect.Type, fields []Field, pointer reflect.Type) []Field {
	var at []int
	var walk func(t reflect.Type, off int)
	walk = func(t reflect.Type, off int) {
		switch {
		case t == pointer:
			at = append(at, off)
		case t.Kind() == reflect.Struct:
			for i := range t.NumField() {
				walk(t.Field(i).Type, off+int(t.Field(i).Offset))
			}
		case t.Kind() == reflect.Array:
			for i := range t.Len() {
				walk(t.Elem(), off+i*int(t.Elem().Size()))
			}
		}
	}
	walk(t, 0)
	for i := range fields {
		if slices.Contains(at, fields[i].Offset) && fields[i].Size == int(unsafe.Sizeof(uintptr(0))) {
			fields[i].Kind = "pointer"
		}
	}
	return fields
}
