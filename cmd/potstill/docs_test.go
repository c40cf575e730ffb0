package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
)

// Every JSON field is documented.
func TestFieldsAreDocumented(t *testing.T) {
	doc := string(read(t, "../../docs/json.md"))
	n := 0
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(typ.Elem(), path)
			return
		case reflect.Struct:
		default:
			return
		}
		if typ == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				walk(f.Type, path)
			case name != "" && name != "-":
				n++
				if !strings.Contains(doc, "`"+name+"`") {
					t.Errorf("docs/json.md lacks `%s` of %s", name, path)
				}
				walk(f.Type, path+"."+name)
			}
		}
	}
	for _, v := range []any{
		prediction{}, evaluation{}, fileSummary{}, outcome{}, pruned{}, quantized{}, converted{}, engine.Plan{}, trainBench{},
		kernelBench{}, stepBench{}, devices{}, cacheInfo{}, cachePruned{}, versionInfo{}, studyInfo{}, report.Results{},
	} {
		walk(reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
	if n < 100 {
		t.Errorf("only %d fields were looked at", n)
	}
}
