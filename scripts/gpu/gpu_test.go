package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newVisit returns a visit of a folder of its own, with a log.
func newVisit(t *testing.T) *visit {
	t.Helper()
	v := &visit{out: t.TempDir(), begin: time.Now()}
	var err error
	if v.log, err = os.Create(filepath.Join(v.out, "logs.txt")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.log.Close() })
	return v
}

func TestNamesOfParts(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(parts) {
		t.Errorf("no names: %d parts, %v", len(all), err)
	}
	if some, err := choose([]string{"kernels", "suite"}); err != nil || len(some) != 2 || some[0].name != "suite" {
		t.Errorf("two names: %v, %v", some, err)
	}
	if _, err := choose([]string{"nothing"}); err == nil || !strings.Contains(err.Error(), "libraries") {
		t.Errorf("a part that is not there: %v", err)
	}
	for _, p := range parts {
		if p.least <= 0 || p.most < p.least {
			t.Errorf("%s: from %v to %v", p.name, p.least, p.most)
		}
	}
}

// A command that takes too long is killed with what it has started, and what it
// has said is in the log.
func TestLimitOfAPart(t *testing.T) {
	v := newVisit(t)
	begin := time.Now()
	r := v.part(context.Background(), part{"slow", time.Millisecond, 500 * time.Millisecond, func(ctx context.Context, v *visit, r *result) {
		out, err := v.command(ctx, nil, "sh", "-c", "echo begun; sleep 30 & sleep 30")
		r.say("%s", out)
		if err == nil {
			t.Error("the command is not killed")
		}
	}})
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if r.Verdict != failed || !strings.Contains(r.Why, "limit") || !strings.Contains(strings.Join(r.Lines, ""), "begun") {
		t.Errorf("the result is %+v", r)
	}
	if log, err := os.ReadFile(filepath.Join(v.out, "logs.txt")); err != nil || !strings.Contains(string(log), "begun") {
		t.Errorf("the log is %q, %v", log, err)
	}
}

// What does not fit into the time that is left is left out, and the files are
// whole after each part.
func TestLimitOfAll(t *testing.T) {
	v := newVisit(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for i, p := range []part{
		{"first", time.Millisecond, time.Minute, func(_ context.Context, _ *visit, r *result) { r.note("figure", 7); r.say("a line") }},
		{"second", time.Hour, 2 * time.Hour, func(context.Context, *visit, *result) { t.Error("it runs") }},
	} {
		v.done = append(v.done, v.part(ctx, p))
		if err := v.write(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(v.out, "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		var all struct{ Parts []result }
		if err := json.Unmarshal(text, &all); err != nil || len(all.Parts) != i+1 || all.Parts[0].Figures["figure"] != 7 {
			t.Errorf("after part %d: %+v, %v", i, all, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(v.out, "summary.txt"))
	if err != nil {
		t.Fatal(err)
	}
	first, last := strings.Index(string(text), "a line"), strings.Index(string(text), "== verdicts")
	if first < 0 || last < first || !strings.Contains(string(text)[last:], "left out") {
		t.Errorf("the summary is\n%s", text)
	}
}

func TestCutLeavesTheEnd(t *testing.T) {
	text := strings.Repeat("a line of some text\n", 2000) + "the end\n"
	if got := cut(text, printed); len(got) > printed || !strings.HasSuffix(got, "some text\nthe end\n") || !strings.Contains(got, "summary.txt") {
		t.Errorf("%d characters: %q", len(got), got[:100])
	}
	if got := cut("short\n", printed); got != "short\n" {
		t.Errorf("a short text becomes %q", got)
	}
}

func TestJSONBehindRemarks(t *testing.T) {
	var v struct{ A int }
	for _, text := range []string{`{"a": 3}`, "a remark\n{\n \"a\": 3\n}\nanother\n"} {
		if err := jsonOf(text, &v); err != nil || v.A != 3 {
			t.Errorf("%q: %+v, %v", text, v, err)
		}
		v.A = 0
	}
	if err := jsonOf("nothing", &v); err == nil {
		t.Error("no JSON is no error")
	}
}
