package main

import (
	"errors"
	"log/slog"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/potstill/potstill/engine"
)

func TestOneLine(t *testing.T) {
	err := errors.Join(errors.New("first"), errors.New("second\n"))
	if got := oneLine(err.Error()); got != "first; second" {
		t.Errorf("oneLine = %q", got)
	}
}

func TestTop(t *testing.T) {
	got := top([]float32{1, 3, 2}, []string{"a", "b", "c"}, 5)
	sum := math.Exp(-2) + 1 + math.Exp(-1)
	want := []classProb{{"b", 1, 1 / sum}, {"c", 2, math.Exp(-1) / sum}, {"a", 0, math.Exp(-2) / sum}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("top = %v, want %v", got, want)
	}
	if got := top([]float32{5, 5}, nil, 1); len(got) != 1 || got[0] != (classProb{"0", 0, 0.5}) {
		t.Errorf("top without names = %v", got)
	}
}

func TestCommandLine(t *testing.T) {
	got := commandLine([]string{"study", "run", "my file.yaml", "it's", "--lr=1e-3", ""})
	if want := `potstill study run 'my file.yaml' 'it'\''s' --lr=1e-3 ''`; got != want {
		t.Errorf("commandLine = %s, want %s", got, want)
	}
}

func TestDevice(t *testing.T) {
	for _, s := range []string{"auto", "cpu", "cuda", "cuda:0", "cuda:12"} {
		if err := new(device).UnmarshalText([]byte(s)); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0"} {
		if err := new(device).UnmarshalText([]byte(s)); err == nil {
			t.Errorf("device %q is accepted", s)
		}
	}
	if _, err := (deviceFlags{Device: "cuda:1"}).open(&app{log: slog.New(slog.DiscardHandler)}); !errors.Is(err, engine.ErrNoDevice) {
		t.Errorf("opening cuda:1: %v, want an engine.ErrNoDevice", err)
	}
}

func TestNormalize(t *testing.T) {
	var n normalize
	if err := n.UnmarshalText([]byte("0.5,0.25,0.125/1,2,3")); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(n, normalize{[]float32{0.5, 0.25, 0.125}, []float32{1, 2, 3}}) {
		t.Errorf("normalize = %v", n)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]time.Duration{5, 1, 9, 3, 4}); got != 4 {
		t.Errorf("median = %d", got)
	}
}
