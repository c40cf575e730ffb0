package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissingAndEmptyFolders(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	empty := t.TempDir()
	fails(t, []string{"no-such-folder", "folder"}, "train", "--data", "no-such-folder", "--out", out)
	fails(t, []string{empty, "no pictures", ".jpg"}, "train", "--data", empty, "--out", out)
	fails(t, []string{"no-such-folder"}, "eval", "--model", model(t), "--data", "no-such-folder")
	fails(t, []string{"no-such-folder"}, "study", "run", "hw7-quick", "--data", "no-such-folder", "--out", out)
	fails(t, []string{"names no data", "--data", "folder"}, "study", "run", "hw7", "--out", out)
}

func TestTruncatedPicture(t *testing.T) {
	dir := pictureFolder(t, 4, "daisy", "rose")
	broken := filepath.Join("training", "rose", "3.jpg")
	text := read(t, filepath.Join(dir, broken))
	write(t, filepath.Join(dir, broken), text[:len(text)/2])
	args := []string{"train", "--base", "4", "--data", dir, "--size", "16", "--epochs", "1", "--batch", "4", "--out", filepath.Join(t.TempDir(), "out")}
	r := succeeds(t, args...)
	if want := filepath.ToSlash(broken); !strings.Contains(r.err, want) {
		t.Errorf("the skipped picture %s is not named:\n%s", want, r.err)
	}
	fails(t, []string{filepath.ToSlash(broken), "cut short"}, with(args, "--strict", "--force")...)
	fails(t, []string{broken, "cut short"}, "predict", "--model", model(t), filepath.Join(dir, broken))
}

func TestClassWithoutImages(t *testing.T) {
	dir := pictureFolder(t, 4, "daisy", "rose")
	if err := os.MkdirAll(filepath.Join(dir, "training", "tulip"), 0o777); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{dir, "tulip", "no images"}, "train", "--data", dir, "--out", filepath.Join(t.TempDir(), "out"))
}

func TestDamagedCheckpoint(t *testing.T) {
	whole := read(t, model(t))
	dir := t.TempDir()
	short, flipped := filepath.Join(dir, "short.safetensors"), filepath.Join(dir, "flipped.safetensors")
	write(t, short, whole[:len(whole)*2/3])
	bad := append([]byte{}, whole...)
	bad[len(bad)*3/4] ^= 0x10
	write(t, flipped, bad)
	picture := filepath.Join(dir, "a.jpg")
	writeJPEG(t, picture, 1)
	for _, path := range []string{short, flipped, filepath.Join(dir, "missing.safetensors")} {
		fails(t, []string{path}, "eval", "--model", path, "--data", "builtin:fashion")
		fails(t, []string{path}, "predict", "--model", path, picture)
		fails(t, []string{path}, "summary", path)
		fails(t, []string{path}, "prune", "--model", path, "--mult", "0.5", "--out", dir)
		fails(t, []string{path}, "quantize", "--model", path, "--out", dir)
		fails(t, []string{path}, "train", "--data", "builtin:fashion", "--init", path, "--out", filepath.Join(dir, "out"))
		fails(t, []string{path}, "distill", "--data", "builtin:fashion", "--teacher", path, "--out", filepath.Join(dir, "out"))
	}
	fails(t, []string{dir, "folder"}, "eval", "--model", dir)
	fails(t, []string{picture}, "eval", "--model", picture)
	write(t, filepath.Join(dir, "run", "last.safetensors"), whole[:len(whole)/2])
	fails(t, []string{filepath.Join("run", "last.safetensors")}, small("train", "--out", filepath.Join(dir, "run"), "--resume")...)
}

func TestOtherClasses(t *testing.T) {
	dir := pictureFolder(t, 4, "daisy", "rose")
	out := filepath.Join(t.TempDir(), "out")
	fails(t, []string{model(t), `"daisy"`, "10 classes", "choose the data"}, "eval", "--model", model(t), "--data", dir)
	fails(t, []string{model(t), "10 classes"}, "train", "--init", model(t), "--data", dir, "--out", out)
	fails(t, []string{model(t), "10 classes", "teacher"}, "distill", "--teacher", model(t), "--data", dir, "--out", out)
}

func TestUnwritableOutput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	out := filepath.Join(file, "out") // below a file, where nobody can write
	fails(t, []string{file, "choose"}, small("train", "--out", out)...)
	fails(t, []string{file, "choose"}, small("distill", "--teacher", model(t), "--out", out)...)
	fails(t, []string{file, "choose"}, "prune", "--model", model(t), "--mult", "0.5", "--out", filepath.Join(out, "a.safetensors"))
	fails(t, []string{file, "choose"}, "quantize", "--model", model(t), "--out", filepath.Join(out, "a.safetensors"))
	fails(t, []string{file, "choose"}, "study", "run", "hw7-quick", "--out", out)
	fails(t, []string{out, "choose"}, small("train", "--out", t.TempDir(), "--log-steps", out)...)
}

func TestBatchLargerThanData(t *testing.T) {
	dir := pictureFolder(t, 4, "daisy", "rose")
	args := []string{"train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "2", "--batch", "9", "--out", filepath.Join(t.TempDir(), "out"), "--log-steps", "-"}
	r := succeeds(t, args...)
	if !strings.Contains(r.err, "8 training images, fewer than a batch of 9") || strings.Count(r.out, `"step"`) != 2 {
		t.Errorf("a batch of 9 of 8 images:\n%s%s", r.out, r.err)
	}
	fails(t, []string{"batch of 9", "8 images"}, "bench", "train", "--data", dir, "--size", "16", "--batch", "9", "--time", "1ms", "--arch", "cnn-dwpw", "--base", "4")
}

func TestMistakesInRecipes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	text := "study: mine\ndata: {source: builtin:fashion, size: 28}\nsteps:\n  student: {kind: train, arch: cnn-dwpw, epoch: 3}\n"
	write(t, path, []byte(text))
	fails(t, []string{path + ":4:42", `"epoch"`, "epochs"}, "study", "run", path, "--out", t.TempDir())
	fails(t, []string{path + ":4:42"}, "study", "show", path)
	fails(t, []string{"no-such.yaml", "built-in hw7, hw7-quick"}, "study", "run", "no-such.yaml", "--out", t.TempDir())
}

func TestOtherMistakes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	text := filepath.Join(t.TempDir(), "a.jpg")
	write(t, text, []byte("not a picture"))
	fails(t, []string{"cuda:99", "potstill devices", "--device cpu"}, small("train", "--device", "cuda:99", "--out", out)...)
	fails(t, []string{"last.safetensors", "without --resume"}, small("train", "--out", out, "--resume")...)
	fails(t, []string{out, "without --resume"}, "study", "run", "hw7-quick", "--out", out, "--resume")
	fails(t, []string{"cnn-nope", "cnn-dwpw"}, "train", "--data", "builtin:fashion", "--arch", "cnn-nope", "--out", out)
	fails(t, []string{"cnn-nope", "cnn-dwpw"}, "summary", "cnn-nope")
	fails(t, []string{"3 channels"}, "summary", model(t), "--input", "4x32x32")
	fails(t, []string{text}, "predict", "--model", model(t), text)
	fails(t, []string{"missing.jpg", text}, "predict", "--model", model(t), "missing.jpg", text)
	fails(t, []string{"--jitter", "four"}, "train", "--data", "builtin:fashion", "--jitter", "0.2,0.2", "--out", out)
	fails(t, []string{"testing", "--split"}, "eval", "--data", pictureFolder(t, 8, "Bag", "Coat"), "--model", model(t), "--split", "testing")
	for _, cmd := range [][]string{{"train"}, {"distill"}, {"eval", "--model", model(t)}} {
		fails(t, []string{"--data", "builtin:fashion"}, cmd...)
	}
	fails(t, []string{"--ratio", "--mult"}, "prune", "--model", model(t))
	fails(t, []string{"--criterion"}, "prune", "--model", model(t), "--mult", "0.5", "--criterion", "l1")
	fails(t, []string{"layer9", "potstill summary"}, "prune", "--model", model(t), "--ratio", "0.5", "--protect", "layer9")
	fails(t, []string{"leaves nothing"}, "prune", "--model", model(t), "--ratio", "1")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"trian"}, {"train", "--epochs", "many"}, {"train", "--device", "gpu"}, {"train", "--no-such-flag"},
		{"eval"}, {"predict", "--model", "x"}, {"summary", "cnn-dwpw", "--input", "256"}, {"bench"},
		{"train", "--normalize", "0.5"}, {"train", "--normalise", "0.5"}, {"quantize", "--model", "x", "--scheme", "int4"},
		{"prune", "--model", "x", "--criterion", "l9"}, {"distill", "--teacher-precision", "int4"},
	} {
		r := potstill(t, args...)
		if lines := strings.Count(r.err, "\n"); r.code != 2 || lines != 1 || !strings.HasPrefix(r.err, "potstill: ") || r.out != "" {
			t.Errorf("potstill %v: exit status %d, standard error %q, standard output %q", args, r.code, r.err, r.out)
		}
		if strings.Contains(r.err, `""`) {
			t.Errorf("potstill %v: %q has a value that nobody gives", args, r.err)
		}
		if !strings.Contains(r.err, "--help") {
			t.Errorf("potstill %v: %q does not point to --help", args, r.err)
		}
	}
}
