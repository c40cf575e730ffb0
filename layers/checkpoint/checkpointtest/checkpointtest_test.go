package checkpointtest

import (
	"reflect"
	"slices"
	"testing"
)

// TestTrained holds a state to what the tests that use it count on: drawn the
// same each time, nothing left at a constant, counters that differ.
func TestTrained(t *testing.T) {
	for name, a := range Architectures() {
		m, s := Draw(t, a, 1)
		fresh := State(t, m, 1)
		if !reflect.DeepEqual(s, fresh) || reflect.DeepEqual(s, State(t, m, 2)) {
			t.Errorf("%s: the seed does not decide", name)
		}
		s = Redraw(s, 2, Trained)
		count := int64(Counter)
		for i, e := range s {
			switch {
			case e.Integer():
				if e.Int[0] != count {
					t.Errorf("%s: %s is %v, want %v", name, e.Name, e.Int, count)
				}
				count++
			case len(e.Data) > 1 && slices.Min(e.Data) == slices.Max(e.Data):
				t.Errorf("%s: %s is constant", name, e.Name)
			case (len(e.Shape) == 1) == slices.Equal(e.Data, fresh[i].Data):
				t.Errorf("%s: %s %v is drawn anew, or is not, against the rule", name, e.Name, e.Shape)
			}
		}
	}
}
