package cpu_test

import (
	"bytes"
	"fmt"
	"testing"
)

// TestThreadsDoNotMatter takes three training steps with one thread and with
// several: every variable, running statistics included, is the same to the bit.
func TestThreadsDoNotMatter(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		var want map[string][]byte
		for _, threads := range []int{1, 2, 3, 5} {
			got := threeSteps(t, variant, threads)
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
	})
}

// threeSteps returns the net's variables after three steps, by name.
func threeSteps(t *testing.T, variant string, threads int) map[string][]byte {
	t.Helper()
	r := training(t, open(t, variant, threads), true, false)
	before := r.values(t)
	for range 3 {
		r.run(t)
	}
	after := r.values(t)
	for name, v := range after {
		if bytes.Equal(v, before[name]) {
			t.Fatalf("%d threads: %s has not moved", threads, name)
		}
	}
	return after
}

// values reads the net's variables.
func (r *trial) values(t *testing.T) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	for _, v := range r.net.vars {
		data := make([]byte, v.Bytes())
		if err := r.store.Get(v, data); err != nil {
			t.Fatal(fmt.Errorf("reading %s: %w", v.Name, err))
		}
		all[v.Name] = data
	}
	return all
}
