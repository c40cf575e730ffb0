package eval

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// TestTakeTurns: the nets alternate, the first run of a turn does not count where there
// are several, and as many runs are made as are asked for, by number or by time.
func TestTakeTurns(t *testing.T) {
	for _, x := range []struct {
		nets  int
		o     LatencyOptions
		order []int
	}{
		{1, LatencyOptions{Runs: 2}, []int{0, 0}},
		{2, LatencyOptions{Runs: 4}, []int{0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1}},
		{2, LatencyOptions{Runs: 1, Time: 2 * time.Second}, []int{0, 0, 0, 0, 1, 1, 1, 1}},
		{1, LatencyOptions{Runs: 1, Time: 3 * time.Second}, []int{0, 0, 0}},
	} {
		var order []int
		runs, all := make([]func() (time.Duration, error), x.nets), make([]*Latency, x.nets)
		for i := range runs {
			all[i] = new(Latency)
			runs[i] = func() (time.Duration, error) {
				order = append(order, i)
				return time.Second, nil
			}
		}
		if err := takeTurns(runs, all, x.o); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(order, x.order) {
			t.Errorf("%d nets, %+v: run in the order %v and not %v", x.nets, x.o, order, x.order)
		}
		counted := len(order)
		if x.nets > 1 {
			counted = counted * inTurn / (inTurn + 1)
		}
		for _, l := range all {
			if l.Runs != counted/x.nets || len(l.Seconds) != l.Runs {
				t.Errorf("%d nets, %+v: %+v", x.nets, x.o, *l)
			}
		}
	}
	broken := errors.New("broken")
	run := func() (time.Duration, error) { return 0, broken }
	if err := takeTurns([]func() (time.Duration, error){run}, []*Latency{{}}, LatencyOptions{Runs: 1}); !errors.Is(err, broken) {
		t.Errorf("a net that cannot be run: %v", err)
	}
}
