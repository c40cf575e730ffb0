package study

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// torchFile writes a net with drawn weights as PyTorch would.
func torchFile(t *testing.T, path string, a layers.Arch) {
	t.Helper()
	torchFileOf(t, path, map[string]layers.Arch{"": a})
}

// torchFileOf writes several nets into one file, whose tensors' names begin with the keys.
func torchFileOf(t *testing.T, path string, nets map[string]layers.Arch) {
	t.Helper()
	var out []foreign.Tensor
	for _, prefix := range slices.Sorted(maps.Keys(nets)) {
		_, state := checkpointtest.Draw(t, nets[prefix], 9)
		for _, e := range state {
			x := foreign.Tensor{Name: prefix + e.Name, Shape: e.Shape, DType: "float32", Float: e.Data}
			if e.Integer() {
				x.DType, x.Float, x.Int = "int64", nil, []int64{0}
			}
			out = append(out, x)
		}
	}
	if _, err := torch.Write(path, out); err != nil {
		t.Fatal(err)
	}
}

const importing = `study: imports
data: {source: builtin:fashion, size: 28, limit: {train: 60, val: 40}}
defaults: {epochs: 1, batch: 20, lr: 1e-3}
steps:
  teacher:  {kind: import, file: TEACHER, rows: [{table: T, name: teacher}]}
  imagenet: {kind: import, file: IMAGENET, rows: [{table: T, name: imagenet}]}
  student:  {kind: distill, arch: cnn-dwpw, base: 4, teacher: teacher}
  tuned:    {kind: train, from: imagenet}
  int8:     {kind: quantise, from: teacher, scheme: affine8}
`

func importRecipe(t *testing.T, teacher, imagenet string) *Recipe {
	t.Helper()
	text := strings.NewReplacer("TEACHER", `"`+filepath.ToSlash(teacher)+`"`, "IMAGENET", `"`+filepath.ToSlash(imagenet)+`"`).Replace(importing)
	r, err := Parse("r.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestImport takes other programs' models as a teacher and as a start.
func TestImport(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	teacher, imagenet := filepath.Join(dir, "teacher.bin"), filepath.Join(dir, "imagenet.pth")
	torchFile(t, teacher, layers.Arch{Family: "resnet18", Base: 4, Classes: 10})
	torchFile(t, imagenet, layers.Arch{Family: "resnet18", Base: 4, Classes: 1000})
	o := Options{Dir: filepath.Join(dir, "out")}
	res, done, _ := run(t, b, importRecipe(t, teacher, imagenet), o)
	if want := []string{"teacher", "imagenet", "student", "tuned", "int8"}; !slices.Equal(done, want) {
		t.Fatalf("did %v", done)
	}
	if w := res.Rows[0]; w.Method != "imported" || w.ValAccuracy == nil || w.Params == 0 || w.Bytes == 0 {
		t.Errorf("the teacher's row is %+v", w)
	}
	if w := res.Rows[1]; w.ValAccuracy != nil || w.ValLoss != nil || w.Params == 0 {
		t.Errorf("the row of a model of other classes is %+v", w)
	}
	sum, err := checkpoint.Fingerprint(teacher)
	if err != nil {
		t.Fatal(err)
	}
	c := kept(t, o.Dir, "teacher", importedFile)
	if e := c.History[0]; e.Kind != checkpoint.KindImport || e.Parent != sum || !strings.HasPrefix(e.Recipe, "imports (") || !strings.HasSuffix(e.Recipe, "), step teacher") {
		t.Errorf("the teacher's history is %+v", c.History)
	}
	if c.Preprocess.Size != 28 {
		t.Errorf("the teacher's images are %+v", c.Preprocess)
	}
	if c := kept(t, o.Dir, "tuned", "best.safetensors"); c.Net.Classes() != 10 || !strings.Contains(c.History[1].Detail, "new last layer") {
		t.Errorf("the tuned net is %+v, %+v", c.Net.Arch(), c.History)
	}
	if c := kept(t, o.Dir, "int8", compressedFile); len(c.History) != 2 || !strings.HasSuffix(c.History[1].Recipe, "step int8") {
		t.Errorf("the quantized net's history is %+v", c.History)
	}

	if _, done, _ := run(t, b, importRecipe(t, teacher, imagenet), o); len(done) != 0 {
		t.Errorf("did %v again", done)
	}
	torchFile(t, teacher, layers.Arch{Family: "cnn-plain", Base: 4, Classes: 10})
	if _, done, _ := run(t, b, importRecipe(t, teacher, imagenet), o); !slices.Equal(done, []string{"teacher", "student", "int8"}) {
		t.Errorf("with another teacher, did %v", done)
	}
}

// kept reads a file in the folder of a step's work.
func kept(t *testing.T, dir, step, file string) *checkpoint.Checkpoint {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "work", step+"-*", file))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s of %s: %v (%v)", file, step, paths, err)
	}
	c, err := checkpoint.Load(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestImportOneOfSeveral names the net that is meant in a file of two.
func TestImportOneOfSeveral(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	path := filepath.Join(dir, "two.pth")
	torchFileOf(t, path, map[string]layers.Arch{
		"teacher.": {Family: "resnet18", Base: 4, Classes: 10},
		"student.": {Family: "cnn-dwpw", Base: 4, Classes: 10},
	})
	recipe := func(weights string) *Recipe {
		r, err := Parse("r.yaml", []byte(`study: two
data: {source: builtin:fashion, size: 28, limit: {train: 20, val: 20}}
steps:
  net: {kind: import, file: "`+filepath.ToSlash(path)+`"`+weights+`}
`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	o := Options{Dir: filepath.Join(dir, "out")}
	if _, _, err := Run(t.Context(), b, recipe(""), o); err == nil || !strings.Contains(err.Error(), "teacher") || !strings.Contains(err.Error(), "student") {
		t.Errorf("a file of two nets: %v", err)
	}
	for _, want := range []string{"student", "teacher"} {
		_, done, _ := run(t, b, recipe(", weights: "+want), Options{Dir: filepath.Join(dir, want)})
		if !slices.Equal(done, []string{"net"}) {
			t.Fatalf("did %v", done)
		}
		family := map[string]string{"student": "cnn-dwpw", "teacher": "resnet18"}[want]
		if c := kept(t, filepath.Join(dir, want), "net", importedFile); c.Net.Arch().Family != family {
			t.Errorf("weights: %s gives %+v", want, c.Net.Arch())
		}
	}
}

func TestImportMistakes(t *testing.T) {
	for _, c := range []struct{ step, want string }{
		{"{kind: import}", "r.yaml:3:5: step s imports no file"},
		{"{kind: import, file: a, arch: vgg}", `unknown model family "vgg"`},
		{"{kind: import, file: a, epochs: 3}", `"epochs" has no effect`},
		{"{kind: train, arch: cnn-plain, file: a}", `"file" has no effect`},
	} {
		_, err := Parse("r.yaml", []byte("study: x\nsteps:\n    s: "+c.step+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.step, err, c.want)
		}
	}
	b, dir := backend(t), t.TempDir()
	_, _, err := Run(t.Context(), b, importRecipe(t, filepath.Join(dir, "none.bin"), "x"), Options{Dir: filepath.Join(dir, "out")})
	if err == nil || !strings.Contains(err.Error(), "step teacher: read ") || !strings.Contains(err.Error(), "none.bin") {
		t.Errorf("a missing file: %v", err)
	}
	junk := filepath.Join(dir, "junk.bin")
	if err := os.WriteFile(junk, []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = Run(t.Context(), b, importRecipe(t, junk, "x"), Options{Dir: filepath.Join(dir, "out")})
	if err == nil || !strings.Contains(err.Error(), junk) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a file of another kind: %v", err)
	}
}

// TestImportOpenSizes: a recipe says the size of an ONNX file's images where the
// file leaves it open, and is refused where it does not.
func TestImportOpenSizes(t *testing.T) {
	file, err := filepath.Abs("../../layers/checkpoint/onnxnet/testdata/needs_size.onnx")
	if err != nil {
		t.Fatal(err)
	}
	recipe := func(input string) (*Recipe, error) {
		return Parse("r.yaml", []byte(`study: open
data: {source: builtin:fashion, size: 12, limit: {train: 20, val: 20}}
steps:
  net: {kind: import, file: "`+filepath.ToSlash(file)+`"`+input+`}
`))
	}
	b := backend(t)
	for _, input := range []string{"", ", input: 3x32x32"} {
		r, err := recipe(input)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Run(t.Context(), b, r, Options{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "Gemm") {
			t.Errorf("with %q: %v", input, err)
		}
	}
	r, err := recipe(", input: 3x12x12")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, done, _ := run(t, b, r, Options{Dir: dir}); !slices.Equal(done, []string{"net"}) {
		t.Errorf("did %v", done)
	}
	if c := kept(t, dir, "net", importedFile); c.Net.Input.Height != 12 || c.Net.Classes() != 4 {
		t.Errorf("the net takes %+v and has %d classes", c.Net.Input, c.Net.Classes())
	}
	for _, bad := range []string{"3x12", "3x0x12", "3x12x99999", "axbxc"} {
		if _, err := recipe(", input: " + bad); err == nil || !strings.Contains(err.Error(), "3x256x256") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
