package quant

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// drawn returns a checkpoint of drawn weights, its BatchNorm not at the
// constants it starts from.
func drawn(t *testing.T, a layers.Arch) *checkpoint.Checkpoint {
	t.Helper()
	m, state := checkpointtest.Draw(t, a, 9)
	state = checkpointtest.Redraw(state, 4, checkpointtest.Trained)
	return &checkpoint.Checkpoint{Net: m.Net(), State: state, Preprocess: checkpoint.Preprocess{Size: 32}, Metrics: map[string]float64{"val_accuracy": 1}}
}

// A net that was saved in few bits and loaded computes what the net in memory
// does; its weights lie within the bounds; the report is what the file says.
func TestSavedAndLoaded(t *testing.T) {
	for _, family := range []string{"cnn-dwpw", "resnet18"} {
		c := drawn(t, layers.Arch{Family: family, Classes: 11, Base: 8})
		full, err := checkpoint.Save(filepath.Join(t.TempDir(), "full.safetensors"), c)
		if err != nil {
			t.Fatal(err)
		}
		want := checkpointtest.Logits(t, c.Restore)
		for _, scheme := range weightSchemes() {
			t.Run(family+"/"+scheme, func(t *testing.T) {
				q, r, err := Quantize(c, scheme)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "q.safetensors")
				size, err := checkpoint.Save(path, q)
				if err != nil {
					t.Fatal(err)
				}
				loaded, err := checkpoint.Load(path)
				if err != nil {
					t.Fatal(err)
				}
				got := checkpointtest.Logits(t, q.Restore)
				if !slices.Equal(got, checkpointtest.Logits(t, loaded.Restore)) {
					t.Error("the loaded net computes something else")
				}
				if slices.Equal(got, want) {
					t.Error("quantization changed nothing")
				}
				if len(q.Metrics) != 0 || q.Scheme() != scheme || len(q.History) != 1 {
					t.Errorf("%v, %q, %v", q.Metrics, q.Scheme(), q.History)
				}
				checkReport(t, r, path, c, q, scheme)
				t.Logf("%d of %d bytes, largest error %.3g", size, full, r.MaxError)
			})
		}
	}
}

// checkReport holds a report to the file at path and to the rule's bounds.
func checkReport(t *testing.T, r *Report, path string, before, after *checkpoint.Checkpoint, scheme string) {
	t.Helper()
	f, err := safetensors.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	bytes, largest := int64(0), 0.0
	for _, x := range f.Tensors {
		bytes += int64(len(x.Data))
	}
	// The ranges are one tensor in the file and counted with each in the report.
	if bytes != r.BytesAfter {
		t.Errorf("%d bytes reported, %d in the file", r.BytesAfter, bytes)
	}
	for i, e := range before.State {
		row := r.Tensors[i]
		if e.Integer() {
			if row.Name != e.Name || row.Min != float32(e.Int[0]) || row.Bytes != 8 {
				t.Errorf("row %+v of %s", row, e.Name)
			}
			continue
		}
		if row.Name != e.Name || row.Min != slices.Min(e.Data) || row.Max != slices.Max(e.Data) {
			t.Errorf("row %+v of %s", row, e.Name)
		}
		worst := 0.0
		for k, w := range e.Data {
			worst = max(worst, math.Abs(float64(w)-float64(after.State[i].Data[k])))
		}
		steps := 255.0
		if scheme == checkpoint.Affine4Block {
			steps = 15
		}
		bound := (float64(row.Max)-float64(row.Min))/(2*steps) + 1e-7*math.Max(math.Abs(float64(row.Min)), math.Abs(float64(row.Max)))
		switch {
		case len(e.Shape) == 0:
			bound = 0
		case scheme == checkpoint.Float16:
			bound = 0x1p-11*math.Max(math.Abs(float64(row.Min)), math.Abs(float64(row.Max))) + 0x1p-25
		}
		if worst != row.MaxError || worst > bound {
			t.Errorf("%s: off by %g, reported %g, bound %g", e.Name, worst, row.MaxError, bound)
		}
		largest = max(largest, worst)
	}
	if largest != r.MaxError {
		t.Errorf("largest error %g reported, %g found", r.MaxError, largest)
	}
}

// The study's student at its full width: what is above a quarter, or half, is
// names, ranges and counters.
func TestSizes(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "hw7-student", Classes: 11})
	dir := t.TempDir()
	full, err := checkpoint.Save(filepath.Join(dir, "32"), c)
	if err != nil {
		t.Fatal(err)
	}
	for scheme, share := range map[string]float64{checkpoint.Affine8: 0.25, checkpoint.Affine8PerChannel: 0.25, checkpoint.Affine4Block: 5. / 32, checkpoint.Float16: 0.5} {
		q, r, err := Quantize(c, scheme)
		if err != nil {
			t.Fatal(err)
		}
		size, err := checkpoint.Save(filepath.Join(dir, scheme), q)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(size) / float64(full); got < share || got > share+0.05 {
			t.Errorf("%s: %d of %d bytes, %.3f", scheme, size, full, got)
		}
		if r.BytesAfter >= size || r.BytesBefore >= full {
			t.Errorf("%s: data of %d and %d bytes in files of %d and %d", scheme, r.BytesAfter, r.BytesBefore, size, full)
		}
	}
}

// One weight too large for float16 keeps its tensor in 32 bits, exactly.
func TestLargeWeights(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 4})
	c.State[0].Data[0] = 70000
	q, r, err := Quantize(c, checkpoint.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if r.Tensors[0].MaxError != 0 || r.Tensors[0].Bytes != r.Tensors[0].Before {
		t.Errorf("%+v", r.Tensors[0])
	}
	path := filepath.Join(t.TempDir(), "q")
	if _, err := checkpoint.Save(path, q); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Tensors {
		if x, ok := f.Lookup(row.Name); !ok || int64(len(x.Data)) != row.Bytes {
			t.Errorf("%s: %d bytes reported, %d written", row.Name, row.Bytes, len(x.Data))
		}
	}
}

func TestRefusals(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 4})
	q, _, err := Quantize(c, checkpoint.Affine8)
	if err != nil {
		t.Fatal(err)
	}
	bad := *c
	bad.State = slices.Clone(c.State)
	bad.State[2].Data = slices.Clone(bad.State[2].Data)
	bad.State[2].Data[1] = float32(math.NaN())
	for _, x := range []struct {
		want, scheme string
		c            *checkpoint.Checkpoint
	}{
		{`unknown scheme "int4"`, "int4", c},
		{"quantized already (affine8)", checkpoint.Float16, q},
		{"tensor " + bad.State[2].Name, checkpoint.Affine8, &bad},
	} {
		_, _, err := Quantize(x.c, x.scheme)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got: %v", x.want, err)
		}
	}
}

// A path of the checkpoint becomes the parent of the quantized one.
func TestParent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if _, err := checkpoint.Save(path, drawn(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 4})); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := Quantize(c, checkpoint.Affine8)
	if err != nil {
		t.Fatal(err)
	}
	want, err := checkpoint.Fingerprint(path)
	if err != nil || q.History[0].Parent != want || q.History[0].Kind != "quantize" {
		t.Errorf("%+v (%v)", q.History, err)
	}
}
