package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// frames writes pictures of 64×64 pixels whose class shows in the color of a
// frame 20 pixels wide; the middle is gray noise. Who sees the middle alone
// cannot tell them apart.
func frames(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for class, tint := range []color.RGBA{{200, 40, 40, 255}, {40, 40, 200, 255}} {
		for i := range 30 {
			r := rand.New(rand.NewPCG(uint64(class), uint64(i)))
			img := image.NewRGBA(image.Rect(0, 0, 64, 64))
			for y := range 64 {
				for x := range 64 {
					g := uint8(90 + r.IntN(70))
					img.SetRGBA(x, y, color.RGBA{g, g, g, 255})
					if min(x, y, 63-x, 63-y) < 20 {
						img.SetRGBA(x, y, tint)
					}
				}
			}
			part := "training"
			if i >= 20 {
				part = "validation"
			}
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, part, string(rune('a'+class)), fmt.Sprintf("%d.png", i)), b.Bytes())
		}
	}
	return dir
}

func preprocessOf(t *testing.T, path string) checkpoint.Preprocess {
	t.Helper()
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return c.Preprocess
}

func accuracy(t *testing.T, r result) float64 {
	t.Helper()
	return decode(t, r.out)["val_accuracy"].(float64)
}

var imagenet = checkpoint.Preprocess{Size: 16, Resize: 18, Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225}}

// What a model's file says of its images holds for all that is trained from it,
// unless the command line says otherwise, and then that is said.
func TestPreprocessingIsInherited(t *testing.T) {
	dir, out := frames(t), t.TempDir()
	a := filepath.Join(out, "a", "best.safetensors")
	common := []string{"train", "--data", dir, "--batch", "8", "--no-augment", "--threads", "2", "--json"}
	first := succeeds(t, with(common, "--base", "4", "--size", "16", "--resize", "18", "--normalize", "imagenet", "--lr", "5e-3", "--epochs", "12", "--out", filepath.Join(out, "a"))...)
	if got := preprocessOf(t, a); !reflect.DeepEqual(got, imagenet) {
		t.Fatalf("%+v", got)
	}
	pruned := filepath.Join(out, "pruned.safetensors")
	succeeds(t, "prune", "--model", a, "--mult", "0.9", "--out", pruned)
	next := func(name string, start string, more ...string) (checkpoint.Preprocess, result) {
		dir := filepath.Join(out, name)
		r := succeeds(t, with(with(common, "--init", start, "--lr", "1e-9", "--epochs", "1", "--out", dir), more...)...)
		return preprocessOf(t, filepath.Join(dir, "best.safetensors")), r
	}
	const warning = "was made for other images"
	p, r := next("b", a)
	if !reflect.DeepEqual(p, imagenet) || strings.Contains(r.err, warning) {
		t.Errorf("from a model: %+v\n%s", p, r.err)
	}
	if x, y := accuracy(t, first), accuracy(t, r); x != 1 || y != 1 {
		t.Errorf("validation accuracy %g, and %g with the same weights", x, y)
	}
	if p, r = next("c", pruned); !reflect.DeepEqual(p, imagenet) || strings.Contains(r.err, warning) {
		t.Errorf("from a pruned model: %+v\n%s", p, r.err)
	}
	if p, r = next("d", a, "--normalize", "none", "--resize", "0"); !reflect.DeepEqual(p, checkpoint.Preprocess{Size: 16}) || !strings.Contains(r.err, warning) {
		t.Errorf("against the file: %+v\n%s", p, r.err)
	}
	want := imagenet
	want.Size, want.Resize = 32, 36
	if p, r = next("e", a, "--size", "32"); !reflect.DeepEqual(p, want) || !strings.Contains(r.err, warning) {
		t.Errorf("in another size: %+v\n%s", p, r.err)
	}

	// A student has its teacher's, where nothing else is said.
	succeeds(t, "distill", "--data", dir, "--base", "4", "--batch", "8", "--epochs", "1", "--teacher", a, "--out", filepath.Join(out, "s"))
	if p := preprocessOf(t, filepath.Join(out, "s", "best.safetensors")); !reflect.DeepEqual(p, imagenet) {
		t.Errorf("a student: %+v", p)
	}
}

// A teacher whose file says nothing of its images gets the student's, as it
// would from the same weights in a file that says the same.
func TestTeacherThatSaysNothing(t *testing.T) {
	dir, out := frames(t), t.TempDir()
	common := []string{"--data", dir, "--base", "4", "--batch", "8", "--size", "16", "--resize", "16", "--normalize", "0.5,0.5,0.5/0.1,0.1,0.1", "--no-augment", "--threads", "2"}
	succeeds(t, with([]string{"train", "--arch", "cnn-plain", "--lr", "1e-2", "--epochs", "3", "--out", filepath.Join(out, "t")}, common...)...)
	own := filepath.Join(out, "t", "best.safetensors")
	pth := filepath.Join(out, "t.pth")
	succeeds(t, "convert", own, pth)
	student := func(name, teacher string, more ...string) result {
		return succeeds(t, with(with([]string{"distill", "--teacher", teacher, "--alpha", "1", "--T", "4", "--epochs", "1", "--log-steps", "-",
			"--out", filepath.Join(out, name)}, common...), more...)...)
	}
	steps := func(r result) []string { return strings.Split(r.out, "\n")[:5] }
	a, b := student("a", own), student("b", pth)
	if !reflect.DeepEqual(steps(a), steps(b)) {
		t.Errorf("the same teacher in two files:\n%v\n%v", steps(a), steps(b))
	}
	const line = "does not say how its images are normalized"
	if strings.Contains(a.err, line) || strings.Count(b.err, line) != 1 {
		t.Errorf("standard error:\n%s\n%s", a.err, b.err)
	}
	for _, r := range []result{a, b} { // it is examined on the images that it gets
		if want := "classifies 100.0 % of 20 validation images right"; !strings.Contains(r.err, want) {
			t.Errorf("standard error lacks %q:\n%s", want, r.err)
		}
	}
	// A teacher that says how its images are normalized gets them so: the images
	// of a student that does otherwise are converted.
	c, d := student("c", own, "--normalize", "none"), student("d", pth, "--normalize", "none")
	if reflect.DeepEqual(steps(c), steps(d)) {
		t.Error("what the teacher's file says makes no difference")
	}
}

// Evaluation sees as much of an image as training does, and its transform is
// the one that the model keeps.
func TestRandomResizedCropIsEvaluatedScaled(t *testing.T) {
	dir, out := frames(t), filepath.Join(t.TempDir(), "a")
	r := succeeds(t, "train", "--data", dir, "--base", "4", "--batch", "8", "--size", "16", "--lr", "5e-3", "--epochs", "20",
		"--random-resized-crop", "0.5,1", "--threads", "2", "--json", "--out", out)
	if x := accuracy(t, r); x < 0.9 {
		t.Errorf("validation accuracy %g", x)
	}
	if p := preprocessOf(t, filepath.Join(out, "best.safetensors")); !reflect.DeepEqual(p, checkpoint.Preprocess{Size: 16, Resize: 18}) { // 16/0.875
		t.Errorf("%+v", p)
	}
	for _, want := range []string{
		"2 classes, 40 images for training, 20 for validation",
		"a random 0.5 to 1 of the area scaled to 16, flipped with probability 0.5, rotated by up to 15 degrees, divided by 255\n",
		"shorter side to 18, center crop to 16, divided by 255\n",
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("standard error lacks %q:\n%s", want, r.err)
		}
	}
	misused(t, []string{"--size", `"0"`}, "train", "--data", dir, "--size", "0", "--out", out+"2")
	fails(t, []string{"--resize -1"}, "train", "--data", dir, "--resize", "-1", "--out", out+"2")
}

// A teacher that was made for other images than its student gets its own of the
// same pictures; with --share-images it gets the student's. The student is the
// teacher itself, so that it agrees with it where both see the same.
func TestTeacherGetsItsOwnImages(t *testing.T) {
	dir, out := frames(t), t.TempDir()
	common := []string{"--data", dir, "--batch", "8", "--threads", "2"}
	succeeds(t, with([]string{"train", "--base", "4", "--size", "24", "--resize", "27", "--normalize", "imagenet", "--lr", "5e-3", "--epochs", "12",
		"--out", filepath.Join(out, "t")}, common...)...)
	file := filepath.Join(out, "t", "best.safetensors")
	disagreement := func(name string, more ...string) (float64, result) {
		r := succeeds(t, with(with([]string{"distill", "--init", file, "--teacher", file, "--T", "1", "--freeze", "cnn.*", "--lr", "1e-9", "--epochs", "1",
			"--log-steps", "-", "--out", filepath.Join(out, name)}, common...), more...)...)
		step := decode(t, strings.Split(r.out, "\n")[0])
		return step["terms"].(map[string]any)["distillation"].(float64), r
	}
	if d, r := disagreement("same"); d > 1e-6 || strings.Contains(r.err, "gets its own images") || strings.Contains(r.err, "gets the student's") {
		t.Errorf("in the same size: %g\n%s", d, r.err)
	}
	if d, r := disagreement("own", "--size", "16"); d < 1e-3 || !strings.Contains(r.err, "gets its own images of the same pictures: shorter side to 27, center crop to 24") {
		t.Errorf("with its own images: %g\n%s", d, r.err)
	}
	if d, r := disagreement("shared", "--size", "16", "--share-images"); d > 1e-6 || !strings.Contains(r.err, "it gets the student's") {
		t.Errorf("with the student's images: %g\n%s", d, r.err)
	}
	resumed := with([]string{"distill", "--resume", "--share-images", "--out", filepath.Join(out, "own")})
	fails(t, []string{"images were prepared as", "--share-images"}, resumed...)
}
