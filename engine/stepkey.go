package engine

import (
	"fmt"
	"reflect"
	"strings"
)

// stepKey names an op with its settings and specs in one line. Two ops with the same
// key do the same work: the same launches for as many numbers.
func stepKey(op Op, in, out []Spec) string {
	var b strings.Builder
	writeSettings(&b, reflect.ValueOf(op))
	fmt.Fprintf(&b, " %v→%v", in, out)
	return b.String()
}

// writeSettings writes a value with the names of its types and of its fields that
// are not zero; of Peers how many there are. Of Codes it writes nothing: their numbers differ from calibration to
// calibration and change no kernel's work.
func writeSettings(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("nil")
			return
		}
		writeSettings(b, v.Elem())
	case reflect.Struct:
		b.WriteString(v.Type().Name())
		b.WriteByte('{')
		first := true
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() || f.Type() == reflect.TypeFor[Codes]() {
				continue
			}
			if !first {
				b.WriteByte(' ')
			}
			first = false
			b.WriteString(v.Type().Field(i).Name + ":")
			if f.Type() == reflect.TypeFor[Peers]() {
				fmt.Fprint(b, f.Interface().(Peers).Size()) // whoever they are
				continue
			}
			writeSettings(b, f)
		}
		b.WriteByte('}')
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(' ')
			}
			writeSettings(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.Func, reflect.Chan, reflect.Map, reflect.UnsafePointer:
		panic("engine: an op has a setting of type " + v.Type().String()) // whose text would not be the same twice
	default:
		fmt.Fprint(b, v)
	}
}
