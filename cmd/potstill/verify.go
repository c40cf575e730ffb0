package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// verifyCmd is potstill verify.
type verifyCmd struct {
	Folders []string `arg:"" name:"folder" help:"Folders of test cases, or folders of such folders."`
	RTol    float64  `name:"rtol" default:"1e-3" help:"Largest error relative to the expected value."`
	ATol    float64  `name:"atol" default:"1e-7" help:"Largest error beside that."`
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (verifyCmd) Help() string {
	return `A case is a folder with model.onnx and, in test_data_set_0, input_0.pb, output_0.pb and so on: the layout of ONNX's own tests. The model
is translated as an import translates it, run on the device, and its outputs are compared: an element may be off by
atol + rtol·|expected|. Inputs after the first are taken as constants where they can be, since single operators have their
weights there. A line a case; the exit status is 1 if a case fails.

scripts/onnx_cases.py writes such folders.

Example:

    potstill verify cases/node --device cpu`
}

// A verified is the JSON form of a case's result.
type verified struct {
	Case  string `json:"case"`
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

// Run verifies.
func (c *verifyCmd) Run(a *app) error {
	if !(c.RTol >= 0) || !(c.ATol >= 0) {
		return fmt.Errorf("--rtol %g --atol %g: give numbers from 0 on", c.RTol, c.ATol)
	}
	var cases []string
	for _, f := range c.Folders {
		found, err := testCases(f)
		if err != nil {
			return err
		}
		cases = append(cases, found...)
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		passed := 0
		for _, path := range cases {
			if err := canceled(a.ctx, "verifying"); err != nil {
				return err
			}
			note, err := c.verify(a, b, path)
			if err == nil {
				passed++
			}
			if err := c.print(a, path, note, err); err != nil {
				return err
			}
		}
		if !c.JSON {
			fmt.Fprintf(a.out, "%d of %d cases are right\n", passed, len(cases))
		}
		if n := len(cases) - passed; n > 0 {
			return fmt.Errorf("%d of %d cases failed", n, len(cases))
		}
		return nil
	})
}

func (c *verifyCmd) print(a *app, path, note string, err error) error {
	if c.JSON {
		v := verified{Case: path, OK: err == nil}
		if err != nil {
			v.Error = oneLine(err.Error())
		}
		return json.NewEncoder(a.out).Encode(v)
	}
	line := "ok    " + path + note
	if err != nil {
		line = "FAIL  " + path + ": " + oneLine(err.Error())
	}
	_, werr := fmt.Fprintln(a.out, plain(line))
	return werr
}

// modelName is the name of a case's model.
const modelName = "model.onnx"

// testCases finds the cases in a folder, in the order of their names.
func testCases(root string) ([]string, error) {
	var cases []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == modelName {
			cases = append(cases, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s: there is no %s in it; name a folder of test cases", root, modelName)
	}
	return cases, nil
}

// notes say how a case was computed where that was not on the device.
var notes = map[onnxnet.Arithmetic]string{
	onnxnet.LayoutOnly: "  (only the layout changes)", onnxnet.Folded: "  (constant: computed by the import)",
}

// verify runs a case's sets of data.
func (c *verifyCmd) verify(a *app, b engine.Backend, folder string) (note string, err error) {
	m, err := onnxread.Read(filepath.Join(folder, modelName))
	if err != nil {
		return "", reason(err)
	}
	sets, err := filepath.Glob(filepath.Join(folder, "test_data_set_*"))
	if err != nil || len(sets) == 0 {
		return "", errors.Join(errors.New("it has no test_data_set_0"), err)
	}
	for _, set := range sets {
		inputs, err := tensors(set, "input")
		if err != nil {
			return "", err
		}
		want, err := tensors(set, "output")
		if err != nil {
			return "", err
		}
		if len(want) != len(m.Outputs) {
			return "", fmt.Errorf("%d outputs are expected of a model with %d", len(want), len(m.Outputs))
		}
		got, how, err := onnxnet.Evaluate(a.ctx, b, m, inputs)
		if err != nil {
			return "", reason(err)
		}
		for i := range want {
			if err := c.compare(got[i], want[i]); err != nil {
				return "", err
			}
		}
		note = notes[how]
	}
	return note, nil
}

// reason leaves of an error what is wrong, without the file, which the line has,
// and without advice for exports.
func reason(err error) error {
	var f *foreign.FormatError
	if errors.As(err, &f) {
		return errors.New(f.Reason)
	}
	return err
}

// tensors reads KIND_0.pb, KIND_1.pb, … of a set.
func tensors(set, kind string) ([]*onnxread.Tensor, error) {
	paths, err := filepath.Glob(filepath.Join(set, kind+"_*.pb"))
	if err != nil {
		return nil, err
	}
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), kind+"_"), ".pb"))
		if err != nil {
			return math.MaxInt
		}
		return n
	}
	slices.SortFunc(paths, func(x, y string) int { return number(x) - number(y) })
	var out []*onnxread.Tensor
	for _, p := range paths {
		t, err := onnxread.ReadTensor(p)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// compare says how an output differs from what is expected of it.
func (c *verifyCmd) compare(got, want *onnxread.Tensor) error {
	if !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("output %s has the shape %v, not %v", got.Name, got.Shape, want.Shape)
	}
	if (got.Int != nil) != (want.Int != nil) && len(got.Float)+len(got.Int) > 0 {
		return fmt.Errorf("output %s is of %s, not of %s", got.Name, got.DType, want.DType)
	}
	if !slices.Equal(got.Int, want.Int) {
		return fmt.Errorf("output %s is %v, not %v", got.Name, got.Int, want.Int)
	}
	worst, at := 0.0, -1
	for k, w := range want.Float {
		g, w := float64(got.Float[k]), float64(w)
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if excess := math.Abs(g-w) - c.ATol - c.RTol*math.Abs(w); !(excess <= 0) && (at < 0 || excess > worst || math.IsNaN(excess)) {
			worst, at = excess, k
		}
	}
	if at >= 0 {
		return fmt.Errorf("output %s: element %d is %g, not %g", got.Name, at, got.Float[at], want.Float[at])
	}
	return nil
}
