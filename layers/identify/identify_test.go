package identify

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// architectures are every family, whole, pruned, and of other images.
func architectures() map[string]layers.Arch {
	all := checkpointtest.Architectures()
	for _, f := range layers.Families() {
		all[f] = layers.Arch{Family: f, Classes: 5, Base: 4}
	}
	all["pruned student"] = layers.Arch{Family: "hw7-student", Classes: 11, Widths: []int{16, 32, 64, 13, 29, 31, 7, 256}}
	all["pruned plain"] = layers.Arch{Family: "cnn-plain", Classes: 2, Widths: []int{3, 1, 5, 2, 9}}
	all["pruned group"] = layers.Arch{Family: "cnn-group", Classes: 3, Widths: []int{2, 2, 2, 6, 2, 7}}
	all["pruned printed"] = layers.Arch{Family: "cnn-group-printed", Classes: 3, Widths: []int{2, 2, 2, 6, 2, 8}}
	all["pruned resnet"] = layers.Arch{Family: "resnet18", Classes: 3, Widths: []int{3, 5, 5, 7}}
	all["grey images"] = layers.Arch{Family: "cnn-dwpw", Classes: 2, Base: 1, InChannels: 1}
	all["one channel"] = layers.Arch{Family: "cnn-plain", Classes: 1, Widths: []int{1, 1, 1, 1, 1}, InChannels: 1}
	return all
}

// stateOf returns tensors of a net with drawn values.
func stateOf(t *testing.T, a layers.Arch) (layers.Arch, []named.Tensor) {
	t.Helper()
	m, err := layers.New(a)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var out []named.Tensor
	for _, s := range m.Slots() {
		x := named.Tensor{Name: s.Variable.Name, Shape: s.Shape(), DType: "float32"}
		if s.Variable.DType == engine.Int64 {
			x.DType, x.Int = "int64", []int64{1<<24 + 1}
		} else {
			for range x.Len() {
				x.Float = append(x.Float, float32(r.NormFloat64()))
			}
		}
		out = append(out, x)
	}
	return m.Arch(), out
}

// changes are what files do to a state_dict without making it another net.
var changes = map[string]func(ts []named.Tensor) []named.Tensor{
	"as it is":       func(ts []named.Tensor) []named.Tensor { return ts },
	"sorted by name": sorted,
	"shuffled": func(ts []named.Tensor) []named.Tensor {
		rand.New(rand.NewPCG(3, 4)).Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
		return ts
	},
	"renamed":            func(ts []named.Tensor) []named.Tensor { return renamed(ts, "stem%d.") },
	"renamed and sorted": func(ts []named.Tensor) []named.Tensor { return sorted(renamed(ts, "part.%d.")) },
	"no counters": func(ts []named.Tensor) []named.Tensor {
		return slices.DeleteFunc(ts, func(t named.Tensor) bool { return len(t.Shape) == 0 })
	},
	"numbered": func(ts []named.Tensor) []named.Tensor {
		for i := range ts {
			ts[i].Name = fmt.Sprintf("arr_%d", i)
		}
		return ts
	},
	"underscores": func(ts []named.Tensor) []named.Tensor {
		for i := range ts {
			ts[i].Name = strings.ReplaceAll(ts[i].Name, ".", "_")
		}
		return ts
	},
}

// twins are families which by structure alone, without names, are another that
// comes before them: a note says so.
var (
	twins    = map[string]string{"vgg8": "cnn-plain", "mlperf_resnet8_torch": "mlperf_resnet8"}
	nameless = map[string]bool{"renamed": true, "renamed and sorted": true, "numbered": true, "underscores": true}
)

// deep are families whose nets are others' with more blocks: they are looked for
// in fewer ways, for the sake of the time that it takes.
var deep = map[string]bool{"resnet34": true, "resnet101": true, "resnet152": true, "resnet44": true, "resnet56": true, "resnet110": true, "wrn_40_2": true}

func sorted(ts []named.Tensor) []named.Tensor {
	slices.SortFunc(ts, func(a, b named.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return ts
}

// renamed numbers the modules anew.
func renamed(ts []named.Tensor, pattern string) []named.Tensor {
	number := make(map[string]int)
	for i := range ts {
		at := strings.LastIndexByte(ts[i].Name, '.')
		module := ts[i].Name[:at]
		if _, ok := number[module]; !ok {
			number[module] = len(number)
		}
		ts[i].Name = fmt.Sprintf(pattern, number[module]) + ts[i].Name[at+1:]
	}
	return ts
}

func TestEveryFamilyIsFound(t *testing.T) {
	for name, a := range architectures() {
		for change, f := range changes {
			if deep[a.Family] && change != "as it is" && change != "renamed" {
				continue
			}
			t.Run(name+"/"+change, func(t *testing.T) {
				arch, want := stateOf(t, a)
				file := f(slices.Clone(want))
				m, err := Identify(file)
				if err != nil {
					t.Fatal(err)
				}
				if first, ok := twins[a.Family]; ok && m.Net.Family == first && nameless[change] {
					if notes := strings.Join(m.Notes, "; "); !strings.Contains(notes, "fit "+a.Family+" as well; if that is meant, name it with --arch") {
						t.Errorf("the notes are %q", notes)
					}
					return
				}
				if !reflect.DeepEqual(m.Net.Arch(), arch) {
					t.Fatalf("found %+v, want %+v", m.Net.Arch(), arch)
				}
				checkState(t, m, want)
				if change != "as it is" && change != "numbered" && change != "renamed" {
					return
				}
				if _, err := IdentifyAs(layers.Arch{Family: a.Family}, file); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// checkState compares what was found with the state_dict that went in.
func checkState(t *testing.T, m *Match, want []named.Tensor) {
	t.Helper()
	if len(m.State) != len(want) || len(m.Sources) != len(want) {
		t.Fatalf("%d tensors, %d sources, want %d", len(m.State), len(m.Sources), len(want))
	}
	for i, e := range m.State {
		w := want[i]
		count := w.Int
		if m.Sources[i] == nil {
			count = []int64{0}
		}
		if e.Name != w.Name || !slices.Equal(e.Shape, w.Shape) || !slices.Equal(e.Data, w.Float) || e.Integer() && !slices.Equal(e.Int, count) {
			t.Fatalf("tensor %d is %s %v, want %s %v with its values", i, e.Name, e.Shape, w.Name, w.Shape)
		}
	}
}

// TestTorchvision finds ImageNet's ResNet-18 by the names that torchvision gives.
func TestTorchvision(t *testing.T) {
	_, file := stateOf(t, layers.Arch{Family: "resnet18", Classes: 1000})
	for _, name := range []string{"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer4.0.downsample.1.num_batches_tracked", "fc.bias"} {
		if !slices.ContainsFunc(file, func(t named.Tensor) bool { return t.Name == name }) {
			t.Errorf("the net has no %s", name)
		}
	}
	m, err := Identify(file)
	if err != nil || m.Net.Family != "resnet18" || m.Net.Classes() != 1000 || len(m.Renamed) != 0 {
		t.Errorf("found %+v (%v)", m, err)
	}
}

// TestWhatDoesNotFit damages a net and looks for the tensor and the family in the error.
func TestWhatDoesNotFit(t *testing.T) {
	student := layers.Arch{Family: "hw7-student", Classes: 11, Base: 4}
	find := func(ts []named.Tensor, name string) *named.Tensor {
		for i := range ts {
			if ts[i].Name == name {
				return &ts[i]
			}
		}
		t.Fatalf("no %s", name)
		return nil
	}
	fresh := func(name string, shape ...int) named.Tensor {
		x := named.Tensor{Name: name, Shape: shape, DType: "float32"}
		x.Float = make([]float32, x.Len())
		return x
	}
	for name, c := range map[string]struct {
		arch   layers.Arch
		change func(ts []named.Tensor) []named.Tensor
		want   []string
	}{
		"missing": {student, func(ts []named.Tensor) []named.Tensor {
			return slices.DeleteFunc(ts, func(x named.Tensor) bool { return x.Name == "cnn.3.1.running_var" })
		}, []string{"hw7-student", "cnn.3.1.running_var [16] is missing"}},
		"another shape": {student, func(ts []named.Tensor) []named.Tensor {
			*find(ts, "cnn.2.0.bias") = fresh("cnn.2.0.bias", 9)
			return ts
		}, []string{"hw7-student", `tensor "cnn.2.0.bias" is [9], it needs [8]`}},
		"the first of another shape": {student, func(ts []named.Tensor) []named.Tensor {
			*find(ts, "cnn.0.0.weight") = fresh("cnn.0.0.weight", 5, 3, 3, 3)
			return ts
		}, []string{"hw7-student", `tensor "cnn.0.0.weight" is [5 3 3 3], it needs [4 3 3 3]`}},
		"one too many": {layers.Arch{Family: "resnet18", Classes: 3, Base: 4}, func(ts []named.Tensor) []named.Tensor {
			return append(ts, fresh("aux.weight", 3, 32))
		}, []string{"resnet18", `beside it tensor "aux.weight" [3 32]`}},
		"another kernel": {layers.Arch{Family: "resnet18", Classes: 3, Base: 4}, func(ts []named.Tensor) []named.Tensor {
			*find(ts, "conv1.weight") = fresh("conv1.weight", 4, 3, 3, 3)
			return ts
		}, []string{"resnet18", `"conv1.weight" is [4 3 3 3], it needs [4 3 7 7]`}},
		"integers": {student, func(ts []named.Tensor) []named.Tensor {
			*find(ts, "fc.0.bias") = named.Tensor{Name: "fc.0.bias", Shape: []int{11}, DType: "uint8", Int: make([]int64, 11)}
			return ts
		}, []string{"hw7-student", `"fc.0.bias" holds uint8, it needs floats`}},
		"a counter of two": {student, func(ts []named.Tensor) []named.Tensor {
			*find(ts, "cnn.1.1.num_batches_tracked") = fresh("cnn.1.1.num_batches_tracked", 2)
			return ts
		}, []string{`"cnn.1.1.num_batches_tracked" is float32 [2], it needs one number`}},
		"an odd width in groups": {layers.Arch{Family: "cnn-group", Classes: 3, Base: 4}, func(ts []named.Tensor) []named.Tensor {
			for _, n := range []string{"cnn.1.3.weight", "cnn.1.3.bias", "cnn.2.0.bias", "cnn.2.1.weight", "cnn.2.1.bias", "cnn.2.1.running_mean", "cnn.2.1.running_var", "cnn.2.0.weight"} {
				x := find(ts, n)
				*x = fresh(n, append([]int{7}, x.Shape[1:]...)...)
			}
			return ts
		}, []string{"cnn-group", "7 channels of cnn.1.3 do not divide into 2 groups"}},
		"nothing alike": {student, func([]named.Tensor) []named.Tensor {
			return []named.Tensor{fresh("encoder.w", 768, 768), fresh("encoder.b", 768)}
		}, []string{"no known family", `"encoder.w" [768 768]`}},
		"none": {student, func([]named.Tensor) []named.Tensor { return nil }, []string{"no tensors"}},
		"roles in another order without names": {student, func(ts []named.Tensor) []named.Tensor {
			for i := range ts {
				ts[i].Name = strings.ReplaceAll(ts[i].Name, "cnn", "x") + fmt.Sprint(i)
			}
			return ts[1:]
		}, []string{"no known family"}},
		"a flood": {student, func([]named.Tensor) []named.Tensor { return make([]named.Tensor, maxTensors+1) }, []string{"16385 tensors"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, file := stateOf(t, c.arch)
			_, err := Identify(c.change(file))
			var e *Error
			if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v, want one line", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
}

func TestIdentifyAs(t *testing.T) {
	arch, file := stateOf(t, layers.Arch{Family: "cnn-dwpw", Classes: 11, Base: 4})
	aux := named.Tensor{Name: "aux.weight", Shape: []int{2, 3}, DType: "float32", Float: make([]float32, 6)}
	longer := append(slices.Insert(renamed(slices.Clone(file), "m%d."), 9, aux), aux)
	longer[len(longer)-1].Name = "ema.weight"
	if _, err := Identify(longer); err == nil {
		t.Error("a net with other tensors beside it was found without being named")
	}
	m, err := IdentifyAs(layers.Arch{Family: "cnn-dwpw"}, longer)
	if err != nil || !reflect.DeepEqual(m.Net.Arch(), arch) {
		t.Fatalf("as a cnn-dwpw it is %+v (%v)", m, err)
	}
	checkState(t, m, file)
	if notes := strings.Join(m.Notes, "; "); !strings.Contains(notes, "aux.weight, ema.weight") || !strings.Contains(notes, "m0.weight is cnn.0.0.weight") {
		t.Errorf("the notes are %q", notes)
	}
	for want, a := range map[string]layers.Arch{
		"it is not a resnet18":     {Family: "resnet18"},
		"it needs [12 64]":         {Family: "cnn-dwpw", Classes: 12},
		"it needs [4 1 3 3]":       {Family: "cnn-dwpw", InChannels: 1},
		"it needs [5 3 3 3]":       {Family: "cnn-dwpw", Widths: []int{5, 8, 16, 32, 32, 32, 64, 64, 64}},
		`unknown model family "x"`: {Family: "x"},
	} {
		if a.Widths != nil {
			want = "it needs [5 3 3 3]"
		}
		if _, err := IdentifyAs(a, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as %+v: error %v, want %q", a, err, want)
		}
	}
}

// TestDeeperFamily refuses the file of a net of which another family is a part.
func TestDeeperFamily(t *testing.T) {
	_, file := stateOf(t, layers.Arch{Family: "resnet34", Classes: 3, Base: 4})
	if _, err := IdentifyAs(layers.Arch{Family: "resnet18"}, file); err == nil || !strings.Contains(err.Error(), "it is not a resnet18: its tensors are those of a resnet34") {
		t.Errorf("a resnet34 as a resnet18: %v", err)
	}
	// A part of the net with something else beside it is what the user says.
	m, err := IdentifyAs(layers.Arch{Family: "resnet18"}, append(file[:len(file):len(file)], vector("side.weight", 2, 2)))
	if err != nil || m.Net.Family != "resnet18" || !strings.Contains(m.LeftOut, "side.weight") && !strings.Contains(m.LeftOut, "more") {
		t.Errorf("a resnet34 and another tensor as a resnet18: %v", err)
	}
}

// TestDoubles notes the rounding of float64.
func TestDoubles(t *testing.T) {
	_, file := stateOf(t, layers.Arch{Family: "cnn-plain", Classes: 2, Base: 1})
	file[0].DType, file[0].Double = "float64", make([]float64, len(file[0].Float))
	for i, v := range file[0].Float {
		file[0].Double[i] = float64(v)
	}
	if m, err := Identify(file); err != nil || len(m.Notes) != 0 {
		t.Errorf("float64 that are float32: notes %q (%v)", m.Notes, err)
	}
	file[0].Double[3] += 1e-12
	if m, err := Identify(file); err != nil || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "1 tensors of float64 were rounded") {
		t.Errorf("float64: %v (%v)", m, err)
	}
}

func TestNatural(t *testing.T) {
	names := []string{"a", "a.2.b", "a.2.c", "a.010", "a.10.b", "a.11", "b"}
	for i, x := range names {
		for j, y := range names {
			if got := natural(x, y); got < 0 != (i < j) && !(x == "a.010" && y == "a.10.b") && !(y == "a.010" && x == "a.10.b") || got > 0 != (i > j) && i == j {
				t.Errorf("natural(%q, %q) = %d", x, y, got)
			}
		}
	}
}
