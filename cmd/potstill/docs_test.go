package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
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
		kernelBench{}, modelBench{}, lrFound{}, stepBench{}, devices{}, cacheInfo{}, cachePruned{}, versionInfo{}, studyInfo{}, report.Results{}, report.Shrink{}, study.Made{},
		prediction{}, evaluation{}, fileSummary{}, outcome{}, comparison{}, pruned{}, factorized{}, quantized{}, converted{}, verified{}, engine.Plan{}, trainBench{},
	} {
		walk(reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
	if n < 100 {
		t.Errorf("only %d fields were looked at", n)
	}
}

// The library's example in README.md is a program that compiles and trains.
func TestExampleOfReadme(t *testing.T) {
	_, section, _ := strings.Cut(string(read(t, "../../README.md")), "\n## As a library\n")
	_, text, _ := strings.Cut(section, "```go\n")
	text, _, ok := strings.Cut(text, "\n```\n")
	if !ok {
		t.Fatal("README.md has no example of the library")
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "example.exe")
	write(t, source, []byte(text+"\n"))
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", source).CombinedOutput(); err == nil && len(out) > 0 {
		t.Error("the example is not as gofmt has it")
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "% of the validation pictures are right") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if _, err := os.Stat(filepath.Join(dir, "out", "student", "best.safetensors")); err != nil {
		t.Error(err)
	}
}

// The tables of docs/families.md have every family once, with its parameters and
// multiply-adds at the size and the number of classes that they name.
func TestFamiliesAreDocumented(t *testing.T) {
	doc := string(read(t, "../../docs/families.md"))
	classes := 0
	rows := make(map[string][]string)
	for line := range strings.Lines(doc) {
		if _, after, ok := strings.Cut(line, ", with "); ok && strings.HasSuffix(after, " classes:\n") {
			n, _, _ := strings.Cut(after, " ")
			classes = 0
			for _, c := range strings.ReplaceAll(n, ",", "") {
				classes = 10*classes + int(c-'0')
			}
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if name := strings.Trim(cells[0], "| `"); strings.HasPrefix(line, "| `") {
			if rows[name] != nil {
				t.Errorf("%s stands there twice", name)
			}
			rows[name] = append(cells, strconv.Itoa(classes))
		}
	}
	for _, group := range layers.FamilyGroups() {
		for _, name := range group.Families {
			row := rows[name]
			if row == nil {
				t.Errorf("docs/families.md lacks %s", name)
				continue
			}
			v := decode(t, succeeds(t, "summary", name, "--classes", row[len(row)-1], "--input", "3x"+row[3]+"x"+row[3], "--json").out)
			if got := thousands(int(v["params"].(float64))); got != row[1] {
				t.Errorf("%s has %s parameters; docs/families.md says %s", name, got, row[1])
			}
			macs := int(v["macs"].(float64)/1e5 + 0.5)
			if got := fmt.Sprintf("%s.%d M", thousands(macs/10), macs%10); got != row[2] {
				t.Errorf("%s has %s multiply-adds; docs/families.md says %s", name, got, row[2])
			}
		}
	}
}
