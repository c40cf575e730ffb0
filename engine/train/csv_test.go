package train

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// The lines of the CSV hold what the lines of JSON hold.
func TestCSVIsTheMetrics(t *testing.T) {
	epochs := []EpochInfo{
		{Epoch: 1, Step: 94, TrainLoss: 1.25, TrainAccuracy: 0.5, ValLoss: 1.0 / 3, ValAccuracy: 0.625, LR: 4e-3, ImagesPerSecond: 1234.5, Seconds: 2.5, GradNorm: 0.75, Best: true},
		{Epoch: 2, Step: 188, TrainLoss: 1e-7, ValLoss: 2, ValAccuracy: 0.6, LR: 1e-20},
	}
	var table, lines bytes.Buffer
	c := NewCSVWriter(&table)
	if err := c.Head(); err != nil {
		t.Fatal(err)
	}
	m := NewMetricsWriter(&lines)
	for _, e := range epochs {
		if err := errors.Join(c.Epoch(e), m.Epoch(e)); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 3 || !slices.Equal(rows[0], csvColumns) {
		t.Fatalf("%v, %v", rows, err)
	}
	d := json.NewDecoder(&lines)
	for i := range epochs {
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		for k, name := range csvColumns {
			cell, v := rows[i+1][k], want[name]
			if v == nil && cell == "" {
				continue
			}
			var got any
			if json.Unmarshal([]byte(cell), &got) != nil || got != v {
				t.Errorf("epoch %d: %s is %q, not %s", i+1, name, cell, fmt.Sprint(v))
			}
		}
	}
}
