package yamldoc

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// doc has a field of every kind.
type doc struct {
	Name  string   `yaml:"name"`
	On    bool     `yaml:"on"`
	Count int      `yaml:"count"`
	Seed  uint64   `yaml:"seed"`
	Rate  *float64 `yaml:"rate"`
	Tags  []string `yaml:"tags"`
	Sizes []int    `yaml:"sizes"`
	common
	Shapes []shape `yaml:"shapes"`
	Parts  parts   `yaml:"parts"`
	Unread int     // without a tag
}

type common struct {
	Depth int `yaml:"depth"`
}

// shape is an element whose keys depend on its kind.
type shape struct{ is any }

type circle struct {
	Radius float64 `yaml:"radius"`
}

type box struct {
	Width  int     `yaml:"width"`
	Inside []shape `yaml:"inside"`
}

func (s *shape) DecodeNode(n *Node) error {
	var kind string
	found, err := n.Key("kind", &kind)
	switch {
	case err != nil:
		return err
	case !found:
		return n.Errorf("", "%s has no kind", n.Path())
	case kind == "circle":
		s.is = new(circle)
	case kind == "box":
		s.is = new(box)
	default:
		return n.Errorf("kind", "unknown kind %q", kind)
	}
	return n.Decode(s.is, "kind")
}

// parts have names and keep their order.
type parts []part

type part struct {
	name string
	Size int `yaml:"size"`
}

func (p *parts) DecodeNode(n *Node) error {
	return n.Each(func(key string, v *Node) error {
		e := part{name: key}
		err := v.Decode(&e)
		*p = append(*p, e)
		return err
	})
}

var decoder = Decoder{File: "f.yaml", Document: "plan", Empties: "give it a name", Shared: "write them out"}

const good = `# everything
name: n
on: true
count: 3
seed: 0x10
rate: 1e-3
tags: one
sizes: [1, 2]
depth: 4
shapes:
- kind: circle
  radius: 2
- {inside: [{kind: circle, radius: 0.5}], kind: box, width: 7}
parts:
  b: {size: 1}
  a: {size: 2}
`

func TestDecode(t *testing.T) {
	var got doc
	source, err := decoder.Decode([]byte(good), &got)
	if err != nil {
		t.Fatal(err)
	}
	rate := 1e-3
	want := doc{Name: "n", On: true, Count: 3, Seed: 16, Rate: &rate, Tags: []string{"one"}, Sizes: []int{1, 2}, common: common{4},
		Shapes: []shape{{&circle{2}}, {&box{7, []shape{{&circle{0.5}}}}}}, Parts: parts{{"b", 1}, {"a", 2}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for path, at := range map[string]string{
		"name": "2:7", "name#": "2:1", "sizes[1]": "8:12", "shapes[1].inside[0].radius": "13:36", "shapes[1].inside[0].radius#": "13:28",
		"parts.a.size": "16:13", "parts.a.none": "16:3", "parts.a.none.at.all[3]": "16:3", "missing": "1:1",
	} {
		if err := source.Errorf(path, "no"); err.Error() != "f.yaml:"+at+": no" {
			t.Errorf("%s stands at %v, want %s", path, err, at)
		}
	}
	if !source.Has("parts.a") || source.Has("parts.c") {
		t.Error("Has")
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"count: 3", "cnt: 3", `f.yaml:4:1: unknown key "cnt"; known here are name, on, count, seed, rate, tags, sizes, depth, shapes, parts`},
		{"count: 3", "unread: 3", `f.yaml:4:1: unknown key "unread"`},
		{"count: 3", "count: 3\ncount: 4", `f.yaml:5:1: not understood as YAML: mapping key "count" already defined`},
		{"count: 3", "count: 3.5", "f.yaml:4:8: count wants a whole number from 0 to 2147483647, not 3.5"},
		{"count: 3", "count: -3", "f.yaml:4:8: count wants a whole number"},
		{"count: 3", `count: "3"`, `f.yaml:4:8: count wants a whole number from 0 to 2147483647, not "3"`},
		{"count: 3", "count: &a 3", "f.yaml:4:8: anchors, aliases and tags are not used in plans; write them out"},
		{"count: 3", "count: *a", "f.yaml:4:8: anchors, aliases"},
		{"count: 3", "count: !!int 3", "f.yaml:4:8: anchors, aliases"},
		{"count: 3", "<<: {count: 3}", "f.yaml:4:1: a key must be a name, not <<"},
		{"count: 3", "count: <<", `f.yaml:4:8: count wants a whole number from 0 to 2147483647, not "<<"`},
		{"count: 3", "7: 3", "f.yaml:4:1: a key must be a name, not 7"},
		{"count: 3", "count:", "count has no value; give one or remove the key"},
		{"on: true", "on: yes", `f.yaml:3:5: on wants true or false, not "yes"`},
		{"rate: 1e-3", "rate: .inf", "f.yaml:6:7: rate wants a number"},
		{"name: n", "name: 1", "f.yaml:2:7: name wants text (in quotes, if it looks like a number), not 1"},
		{"tags: one", "tags: {a: b}", "f.yaml:7:7: tags[0] wants text (in quotes, if it looks like a number), not keys and values"},
		{"[1, 2]", "1", "f.yaml:8:8: sizes wants a list, as in [a, b], not 1"},
		{"[1, 2]", "[1, x]", `f.yaml:8:12: sizes[1] wants a whole number from 0 to 2147483647, not "x"`},
		{"- kind: circle", "- kind: disc", `f.yaml:11:9: unknown kind "disc"`},
		{"- kind: circle\n  radius: 2", "- radius: 2", `f.yaml:11:9: shapes[0] has no kind`},
		{"- kind: circle\n  radius: 2", "- circle", `f.yaml:11:3: shapes[0] wants keys and values, not "circle"`},
		{"  radius: 2", "  width: 2", `f.yaml:12:3: unknown key "width" in shapes[0]; known here are kind, radius`},
		{"{kind: circle, radius: 0.5}", "{kind: circle, radios: 0.5}", `f.yaml:13:28: unknown key "radios" in shapes[1].inside[0]; known here are kind, radius`},
		{"b: {size: 1}", "b: {sizes: 1}", `f.yaml:15:7: unknown key "sizes" in parts.b; known here are size`},
		{"parts:", "---\nparts:", "f.yaml:15:6: a second document begins; a plan is one document"},
		{"[1, 2]", "[1, 2", "not understood as YAML"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%q is not in the document", c.old)
		}
		_, err := decoder.Decode([]byte(text), new(doc))
		checkError(t, c.new, err, c.want)
	}
	for text, want := range map[string]string{
		"": "f.yaml:1:1: the plan is empty; give it a name", "# nothing\n": "the plan is empty",
		"- a\n": "f.yaml:1:1: the plan wants keys and values, not a list", "3": "f.yaml:1:1: the plan wants keys and values, not 3",
	} {
		_, err := decoder.Decode([]byte(text), new(doc))
		checkError(t, text, err, want)
	}
	_, err := Decoder{File: "g", Document: "idea"}.Decode([]byte("a: 1\n---\nb: 2\n"), new(doc))
	checkError(t, "two", err, "g:3:2: a second document begins; an idea is one document")
}

func checkError(t *testing.T, text string, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
		t.Errorf("%.80q:\n got %v\nwant %s", text, err, want)
	}
}

// TestLimits holds the limits to their words, and shows that no text within
// MaxBytes takes the parser's stack or more than seconds.
func TestLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	blocks := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String() + strings.Repeat(" ", n) + "1\n"
	}
	for name, text := range map[string]string{
		"lists": "tags: " + nested(MaxDepth-1), "dashes": "tags:\n" + strings.Repeat("- ", MaxDepth-1) + "a\n",
		"blocks": "tags:\n- " + strings.TrimLeft(strings.ReplaceAll(blocks(MaxDepth-2), "\n", "\n  "), " "),
		"nodes":  "tags: [" + strings.Repeat("a,", MaxNodes-2) + "]", "bytes": "name: " + strings.Repeat("x", MaxBytes-6),
		"brackets in text": "name: '" + nested(1000) + "'", "comments": strings.Repeat("# [\n", 100_000) + "name: n\n",
	} {
		_, err := decoder.Decode([]byte(text), new(doc))
		if err != nil && (strings.Contains(err.Error(), "more than") || strings.Contains(err.Error(), "at most")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const deep, many = "more than 32 mappings and lists lie in one another; make the plan flatter", "the plan has more than 65536 values"
	fill := func(s string) string { return strings.Repeat(s, MaxBytes/len(s)) }
	for name, c := range map[string][2]string{
		"lists": {"tags: " + nested(MaxDepth), "f.yaml:1:38: " + deep}, "dashes": {"tags:\n" + strings.Repeat("- ", MaxDepth) + "a\n", "f.yaml:2:63: " + deep},
		"blocks": {blocks(MaxDepth + 1), deep}, "lists under keys": {strings.Repeat("[a: ", MaxDepth/2+1) + "1" + strings.Repeat("]", MaxDepth/2+1), deep}, "lists at their keys' column": {columns(MaxDepth/2 + 1), deep},
		"nodes": {"tags: [" + strings.Repeat("a,", MaxNodes-1) + "]", many}, "bytes": {"name: " + strings.Repeat("x", MaxBytes-5), "f.yaml:1:1: the plan has 1048577 bytes; at most 1048576 are read"},
		"1 MiB of [": {fill("["), deep}, "1 MiB of - ": {fill("- "), deep},
		"1 MiB of a: ": {fill("a: "), ""},
		"1 MiB of !a ": {fill("!a "), "anchors"}, "1 MiB of quotes": {fill("'"), ""},
		"1 MiB of [a: in a list": {"[" + strings.Repeat("a: ", MaxBytes/3), deep}, "1 MiB of |": {fill("|\n"), ""},
	} {
		start := time.Now()
		_, err := decoder.Decode([]byte(c[0]), new(doc))
		checkError(t, name, err, c[1])
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s takes %v", name, d)
		} else {
			t.Logf("%s: %v, %v", name, d, err)
		}
	}
}

// columns nests n mappings and n lists, each list at its key's column.
func columns(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("  ", i))
		b.WriteString("a:\n" + strings.Repeat("  ", i) + "- ")
		if i < n-1 {
			b.WriteString("b:\n" + strings.Repeat("  ", i+1) + "  c: 1\n")
		}
	}
	return b.String() + "1\n"
}

func FuzzDecode(f *testing.F) {
	f.Add(good)
	f.Add("shapes: [{kind: box, inside: [{kind: box}]}]\nname: |\n  a\n")
	f.Add("? a\n: |\n  b\n- *c")
	f.Add("a: &b [!c d, <<: *b]\n---\n...\n%YAML 1.2\n")
	f.Fuzz(func(t *testing.T, text string) {
		var out doc
		source, err := decoder.Decode([]byte(text), &out)
		if err == nil {
			if err = source.Errorf("name", "x"); out.Name != "" && !source.Has("name#") {
				t.Errorf("%q has a name that stands nowhere", text)
			}
		} else if source != nil {
			t.Error("an error and a source")
		}
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%q gives %v", text, err)
		}
	})
}

// TestByteOrderMark reads what Windows' Notepad writes.
func TestByteOrderMark(t *testing.T) {
	var got doc
	source, err := decoder.Decode([]byte("\ufeffname: n\r\ncount: 3\r\n"), &got)
	if err != nil || got.Name != "n" || got.Count != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := source.Errorf("name", "no"); err.Error() != "f.yaml:1:7: no" {
		t.Error(err)
	}
}

// TestShortErrors holds errors to a line that can be read, whatever is in the text.
func TestShortErrors(t *testing.T) {
	long := strings.Repeat("9", 100000)
	for text, want := range map[string]string{
		"parts: {k" + long + ": 3}": "wants keys and values, not 3",
		"count: " + long:            "count wants a whole number",
		"a: [" + long:               "not understood as YAML",
		"parts: {1: {size: 1}}":     "a key must be a name, not 1; put it in quotes",
	} {
		err := decodeErr(text)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1100 {
			t.Errorf("%.20s…: error %v, want a short one with %q", text, err, want)
		}
	}
}

func decodeErr(text string) error {
	_, err := decoder.Decode([]byte(text), new(doc))
	return err
}
