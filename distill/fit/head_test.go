package fit

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// TestNewHead starts from a net of other classes: its last layer is replaced,
// which one line says, and every other weight is where training begins.
func TestNewHead(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	c := drawn(t, layers.Arch{Family: "resnet18", Base: 4, Classes: 1000}, 5)
	path := filepath.Join(dir, "imagenet.safetensors")
	if _, err := checkpoint.Save(path, c); err != nil {
		t.Fatal(err)
	}
	sum, err := checkpoint.Fingerprint(path)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	j := small(ds, filepath.Join(dir, "run"))
	j.Init, j.Logger = load(t, path), slog.New(slog.NewTextHandler(&said, nil))
	j.Config.Epochs, j.Config.EMA, j.Config.Optimizer.Kind, j.Recipe = 1, 0, "stale", "r, step s"
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	if a := out.Best.Net.Arch(); a.Family != "resnet18" || a.Classes != 10 || a.Base != 4 {
		t.Errorf("trained %+v", a)
	}
	if text := said.String(); strings.Count(text, "last layer") != 1 || !strings.Contains(text, "for 1000 classes") || !strings.Contains(text, "the 10 of") {
		t.Errorf("the log says %q", text)
	}
	fresh := drawn(t, out.Best.Net.Arch(), j.Config.Seed)
	for i, e := range out.Best.State { // the stale optimizer moves running statistics alone
		want := c.State[i].Data
		switch {
		case strings.HasPrefix(e.Name, "fc."):
			want = fresh.State[i].Data
		case strings.Contains(e.Name, "running_") || e.Integer():
			continue
		}
		if !slices.Equal(e.Data, want) {
			t.Errorf("%s is not what the run began with", e.Name)
		}
	}
	h := out.Best.History
	if last := h[len(h)-1]; last.Parent != sum || last.Recipe != "r, step s" || !strings.Contains(last.Detail, "a new last layer for 10 classes in place of one for 1000") {
		t.Errorf("the history ends with %+v", last)
	}

	t.Run("resumed", func(t *testing.T) {
		j := j
		j.Resume, j.Config.Epochs = true, 2
		if _, err := Run(context.Background(), backend(t), j); err != nil {
			t.Error(err)
		}
	})
	t.Run("named classes", func(t *testing.T) {
		j := small(ds, "")
		j.Config.Epochs, j.Config.EMA = 1, 0
		named := *c
		for i := range c.Net.Classes() {
			named.Classes = append(named.Classes, strings.Repeat("x", i+1))
		}
		j.Init = &named
		_, err := Run(context.Background(), backend(t), j)
		oneLine(t, err, "the model has 1000 classes, the data 10", "--new-head")
		j.NewHead = true
		if _, err := Run(context.Background(), backend(t), j); err != nil {
			t.Error(err)
		}
		j.Init = nil
		_, err = Run(context.Background(), backend(t), j)
		oneLine(t, err, "a new last layer needs weights")
	})
}

// TestTeacherInHistory: the history names the file that was distilled from.
func TestTeacherInHistory(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := distilled(t, ds, "")
	path := filepath.Join(dir, "teacher.safetensors")
	if _, err := checkpoint.Save(path, j.Teacher); err != nil {
		t.Fatal(err)
	}
	j.Teacher, j.Config.Epochs = load(t, path), 1
	sum, err := checkpoint.Fingerprint(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	if e := out.Best.History[0]; e.Teacher != sum || e.Parent != "" || e.Data != ds.Fingerprint {
		t.Errorf("the history is %+v", e)
	}
}
