package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/study/report"
)

// A search from a file to a file within the budget, told as JSON and as tables; the same
// command again trains nothing.
func TestShrinkCommand(t *testing.T) {
	dir := t.TempDir()
	images := []string{"--data", "builtin:fashion", "--limit", "60", "--epochs", "1", "--batch", "20", "--threads", "2"}
	succeeds(t, with([]string{"train", "--arch", "mlperf_resnet8", "--base", "4", "--out", filepath.Join(dir, "start")}, images...)...)
	start, out := filepath.Join(dir, "start", "best.safetensors"), filepath.Join(dir, "small")
	args := with([]string{"shrink", "--model", start, "--under", "4k params", "--rounds", "1", "--images", "16", "--tune", "32", "--out", out}, images...)
	fails(t, []string{"--beside", "nothing.pth"}, with(args, "--beside", filepath.Join(dir, "nothing.pth"))...)
	if _, err := os.Stat(out); err == nil {
		t.Error("a search was begun before its nets were read")
	}
	var page report.Shrink
	if err := json.Unmarshal([]byte(succeeds(t, with(args, "--no-plain", "--beside", start, "--json")...).out), &page); err != nil {
		t.Fatal(err)
	}
	if len(page.Nets) != 3 || page.Nets[2].Name != "best.safetensors" || page.Nets[2].Beside.Difference != page.Nets[1].Beside.Difference {
		t.Errorf("the nets are %+v", page.Nets)
	}
	if c := page.Checks(); len(c) != 1 || !c[0].Pass || page.TestImages != 60 || page.Recipe == "" || !strings.HasPrefix(page.Command, "potstill shrink --model") {
		t.Errorf("the report has %+v, %d test images, the command %q", c, page.TestImages, page.Command)
	}
	succeeds(t, "bench", "model", page.File, "--under", "4k params", "--runs", "2", "--time", "1ms", "--threads", "2")
	before := read(t, page.File)
	r := succeeds(t, args...)
	for _, want := range []string{"Final net and others", "plain recipe", "on the 60 test images", "Path of the search", "met      parameters", page.File, filepath.Join(out, "report.html")} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the output lacks %q:\n%s", want, r.out)
		}
	}
	if string(read(t, page.File)) != string(before) {
		t.Error("the same command has come to another file")
	}
	if strings.Contains(r.err, "proposal") {
		t.Errorf("the search was made again:\n%s", r.err)
	}
}
