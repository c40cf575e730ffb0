package cpu_test

import (
	"bytes"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
)

// TestThreadsDoNotMatter takes three training steps with one thread and with
// several: every variable, running statistics included, is the same to the bit.
func TestThreadsDoNotMatter(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		t.Run("float32", func(t *testing.T) { threadsDoNotMatter(t, variant, false) })
		t.Run("bfloat16", func(t *testing.T) { threadsDoNotMatter(t, variant, true) })
	})
}

func threadsDoNotMatter(t *testing.T, variant string, half bool) {
	var want map[string][]byte
	for _, threads := range []int{1, 2, 3, 5} {
		got := threeSteps(t, variant, threads, half)
		if want == nil {
			want = got
			continue
		}
		for name, w := range want {
			if !bytes.Equal(w, got[name]) {
				t.Errorf("%s is not the same with 1 and with %d threads", name, threads)
			}
		}
	}
}

// threeSteps returns the net's variables after three steps, by name.
func threeSteps(t *testing.T, variant string, threads int, half bool) map[string][]byte {
	t.Helper()
	c := trial(t, open(t, variant, threads), backendtest.Recipe{Kind: backendtest.AdamW, Half: half})
	before := values(t, c)
	for range 3 {
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
	}
	after := values(t, c)
	for name, v := range after {
		if bytes.Equal(v, before[name]) {
			t.Fatalf("%d threads: %s has not moved", threads, name)
		}
	}
	return after
}

// values reads the net's variables.
func values(t *testing.T, c *backendtest.Trial) map[string][]byte {
	t.Helper()
	vars, err := c.Variables()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for name, x := range vars {
		all[name] = engine.Bytes(x)
	}
	return all
}
