package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// predicted are the files that predict prints, relative to dir.
func predicted(t *testing.T, dir, out string) (files []string) {
	t.Helper()
	for line := range strings.Lines(out) {
		rel, err := filepath.Rel(dir, decode(t, line)["file"].(string))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.ToSlash(rel))
	}
	return files
}

// TestPredictGoesByTheRuleOfDatasets has the cases predict-hidden-files and
// predict-linked-folder.
func TestPredictGoesByTheRuleOfDatasets(t *testing.T) {
	dir, real := t.TempDir(), t.TempDir()
	for i, name := range []string{"a.jpg", ".ipynb_checkpoints/b.jpg", "__MACOSX/a.jpg"} {
		writeJPEG(t, filepath.Join(dir, name), uint8(i))
	}
	writeJPEG(t, filepath.Join(real, "c.jpg"), 9)
	write(t, filepath.Join(dir, "._a.jpg"), []byte("\x00\x05\x26\x07"))
	write(t, filepath.Join(dir, "Thumbs.db"), nil)
	write(t, filepath.Join(dir, "notes.txt"), nil)
	for link, to := range map[string]string{"link": real, "round": "."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skipf("symbolic links: %v", err)
		}
	}
	r := succeeds(t, "predict", "--json", "--model", model(t), dir)
	if got := predicted(t, dir, r.out); !slices.Equal(got, []string{"a.jpg", "link/c.jpg"}) {
		t.Errorf("predicted %q", got)
	}
	if want := "left out 6 files: 1 linked to a folder above (round), 1 of other kinds (.txt 1), 4 hidden\n"; !strings.Contains(r.err, want) || strings.Count(r.err, "left out") != 1 {
		t.Errorf("standard error is %q, want one line with %q", r.err, want)
	}
	hidden := filepath.Join(dir, ".ipynb_checkpoints", "b.jpg")
	if r := succeeds(t, "predict", "--model", model(t), hidden); !strings.Contains(r.out, "b.jpg") {
		t.Errorf("a hidden file that is named is not predicted: %s", r.out)
	}
}

func TestPredictNamesBadFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 7 {
		write(t, filepath.Join(dir, fmt.Sprintf("bad%d.jpg", i)), []byte("no picture"))
	}
	write(t, filepath.Join(dir, "empty.png"), nil)
	writeJPEG(t, filepath.Join(dir, "good.jpg"), 3)
	r := potstill(t, "predict", "--model", model(t), "--size", "24", dir)
	if r.code != 1 || !strings.Contains(r.out, "good.jpg") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("status %d\n%s%s", r.code, r.out, r.err)
	}
	for i := range 7 {
		if named := strings.Contains(r.err, fmt.Sprintf("bad%d.jpg", i)); named != (i < 5) {
			t.Errorf("bad%d.jpg is named: %t\n%s", i, named, r.err)
		}
	}
	if !strings.Contains(r.err, "and 3 more of 9 files") {
		t.Errorf("the others are not counted: %s", r.err)
	}
	fails(t, []string{"empty.png", "the file is empty"}, "predict", "--model", model(t), filepath.Join(dir, "empty.png"))
	fails(t, []string{"no pictures in it", "left out 1 file"}, "predict", "--model", model(t), filepath.Dir(write1(t, "x.heic")))
}

// write1 writes a file of a folder of its own.
func write1(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, nil)
	return path
}

// flowers is a model of daisy, rose and tulip.
func flowers(t *testing.T) string {
	t.Helper()
	dir, out := pictureFolder(t, 3, "tulip", "daisy", "rose"), t.TempDir()
	succeeds(t, "train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "1", "--batch", "9", "--out", out)
	return filepath.Join(out, "best.safetensors")
}

// TestEvalOfAPlainTestSet: one part, a subset of the classes, in any order.
func TestEvalOfAPlainTestSet(t *testing.T) {
	m := flowers(t)
	whole := t.TempDir()
	for k, class := range []string{"daisy", "rose", "tulip"} {
		for i := range 4 {
			writeJPEG(t, filepath.Join(whole, "all", class, fmt.Sprintf("%d.jpg", i)), uint8(70*k+10*i))
			writeJPEG(t, filepath.Join(whole, "test", "testing", class, fmt.Sprintf("%d.jpg", i)), uint8(70*k+10*i))
			writeJPEG(t, filepath.Join(whole, "numbers", "val", fmt.Sprintf("%d_%d.jpg", k, i)), uint8(70*k+10*i))
			if class != "rose" {
				writeJPEG(t, filepath.Join(whole, "some", "val", class, fmt.Sprintf("%d.jpg", i)), uint8(70*k+10*i))
			}
			if class == "tulip" {
				writeJPEG(t, filepath.Join(whole, "one", class, fmt.Sprintf("%d.jpg", i)), uint8(70*k+10*i))
			}
		}
	}
	figures := map[string]map[string]any{}
	for name, c := range map[string]struct {
		args  []string
		split string
		n     float64
	}{
		"all": {[]string{"--split", "all"}, "all", 12}, "test": {nil, "testing", 12}, "numbers": {nil, "validation", 12},
		"some": {nil, "validation", 8}, "one": {[]string{"--split", "all"}, "all", 4},
	} {
		v := decode(t, succeeds(t, with([]string{"eval", "--json", "--model", m, "--data", filepath.Join(whole, name)}, c.args...)...).out)
		figures[name] = v
		if v["n"] != c.n || v["split"] != c.split || len(v["classes"].([]any)) != 3 || len(v["confusion"].([]any)) != 3 {
			t.Errorf("%s: %v images of %v, classes %v", name, v["n"], v["split"], v["classes"])
		}
	}
	for _, name := range []string{"test", "numbers"} {
		if fmt.Sprint(figures[name]["confusion"]) != fmt.Sprint(figures["all"]["confusion"]) {
			t.Errorf("%s: confusion %v, want %v", name, figures[name]["confusion"], figures["all"]["confusion"])
		}
	}
	for name, rows := range map[string][]int{"some": {0, 2}, "one": {2}} {
		for i, row := range figures[name]["confusion"].([]any) {
			want := fmt.Sprint([]float64{0, 0, 0})
			if slices.Contains(rows, i) {
				want = fmt.Sprint(figures["all"]["confusion"].([]any)[i])
			}
			if fmt.Sprint(row) != want {
				t.Errorf("%s: class %d is %v, want %s", name, i, row, want)
			}
		}
	}
	held := succeeds(t, "eval", "--model", m, "--data", filepath.Join(whole, "all"))
	if !strings.Contains(held.out, "3 (validation)") || !strings.Contains(held.err, "--split all takes every one") {
		t.Errorf("eval of class folders:\n%s%s", held.out, held.err)
	}
	fails(t, []string{`"cake"`, "3 classes"}, "eval", "--model", m, "--data", filepath.Dir(filepath.Dir(pictureIn(t, "cake/1.jpg"))), "--split", "all")
	fails(t, []string{"no training images", "--split"}, "eval", "--model", m, "--data", filepath.Join(whole, "some"), "--split", "training")
	fails(t, []string{"training folder"}, "train", "--data", filepath.Join(whole, "some"), "--out", t.TempDir())
	fails(t, []string{"one class", `"tulip"`}, "train", "--data", filepath.Join(whole, "one"), "--out", t.TempDir())
}

// pictureIn writes a picture into a folder of its own.
func pictureIn(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeJPEG(t, path, 1)
	return path
}

// TestEvalOfOtherNormalForm is the second half of the case class-names-nfd.
func TestEvalOfOtherNormalForm(t *testing.T) {
	dir, out := pictureFolder(t, 3, "éclair", "beer"), t.TempDir()
	succeeds(t, "train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "1", "--batch", "6", "--out", out)
	other := pictureFolder(t, 3, "e\u0301clair", "beer")
	v := decode(t, succeeds(t, "eval", "--json", "--model", filepath.Join(out, "best.safetensors"), "--data", other).out)
	if v["n"] != 4.0 {
		t.Errorf("%v images", v["n"])
	}
}

// TestConvertClassList has the case class-list-bom, and lists that are refused.
func TestConvertClassList(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	torchModel(t, in, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, asNamed)
	list := filepath.Join("..", "..", "engine", "data", "classlist", "testdata", "bom.txt")
	succeeds(t, "convert", in, out, "--classes", list)
	if v := decode(t, succeeds(t, "summary", out, "--json").out); fmt.Sprint(v["classes"]) != "[apple beer cake]" {
		t.Errorf("classes %q", v["classes"])
	}
	bad := filepath.Join(dir, "bad.txt")
	for text, want := range map[string]string{"a\nb\na\n": "lines 1 and 3", "a\nb\x1b[2J\nc\n": "U+001B"} {
		write(t, bad, []byte(text))
		fails(t, []string{bad, want}, "convert", in, out, "--classes", bad)
	}
}

// TestNoControlCharacters: names of files and classes do nothing to a terminal.
func TestNoControlCharacters(t *testing.T) {
	const evil = "e\x1b[31mvil\u202e\u009b"
	dir, out := t.TempDir(), t.TempDir()
	for i := range 3 {
		writeJPEG(t, filepath.Join(dir, evil, fmt.Sprintf("%d.jpg", i)), uint8(i))
		writeJPEG(t, filepath.Join(dir, "good", fmt.Sprintf("%d.jpg", i)), uint8(90+i))
	}
	write(t, filepath.Join(dir, "good", evil+".jpg"), []byte("no picture"))
	r := succeeds(t, "train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "1", "--batch", "4", "--out", out)
	m := filepath.Join(out, "best.safetensors")
	all := r.out + r.err
	for _, args := range [][]string{
		{"eval", "--model", m, "--data", dir, "--confusion"}, {"eval", "--model", m, "--data", dir, "--json"}, {"summary", m},
		{"predict", "--model", m, dir}, {"predict", "--model", m, "--json", dir}, {"predict", "--model", m, filepath.Join(dir, evil)},
	} {
		r := potstill(t, args...)
		if all += r.out + r.err; !strings.Contains(r.out+r.err, "vil") {
			t.Errorf("%q says nothing of it:\n%s%s", args, r.out, r.err)
		}
		if args[len(args)-1] == "--json" && decode(t, r.out)["classes"].([]any)[0].(map[string]any)["class"] != evil {
			t.Error("the JSON has another name")
		}
	}
	if i := strings.IndexAny(all, "\x1b\u202e\u009b"); i >= 0 {
		t.Errorf("standard output or error has %q", all[i:min(i+20, len(all))])
	}
}

func TestPlainWriter(t *testing.T) {
	var b bytes.Buffer
	w := &plainWriter{w: &b}
	for _, part := range []string{"a\tb\x1b[m\n", "é"[:1], "é"[1:], "\xff", "\x7f"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if want := "a\tb\\u001b[m\né\ufffd\\u007f"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestLabelsFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	var table strings.Builder
	for i := range 8 {
		writeJPEG(t, filepath.Join(dir, "images", fmt.Sprintf("%d.jpg", i)), uint8(30*i))
		fmt.Fprintf(&table, "%d.jpg,%s\n", i, []string{"cat", "dog"}[i/4])
	}
	args := []string{"train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "1", "--batch", "4", "--json", "--out"}
	fails(t, []string{"8 pictures are of one class", "labels.csv"}, with(args, t.TempDir())...)
	write(t, filepath.Join(dir, "labels.csv"), []byte(table.String()))
	if r := succeeds(t, with(args, t.TempDir())...); !strings.Contains(r.err, "the labels are those of labels.csv") {
		t.Errorf("standard error: %s", r.err)
	}
	fails(t, []string{"of one class"}, with(args, t.TempDir(), "--labels", "none")...)
	fails(t, []string{`"no.csv"`}, with(args, t.TempDir(), "--labels", "no.csv")...)
}

// TestTrainResized: the cache keeps scaled pictures, and the run is the same.
func TestTrainResized(t *testing.T) {
	dir := pictureFolder(t, 4, "daisy", "rose")
	run := func(cache string, more ...string) string {
		out := t.TempDir()
		succeeds(t, with([]string{"train", "--data", dir, "--base", "4", "--size", "16", "--resize", "20", "--epochs", "1", "--batch", "4", "--cache", cache, "--out", out}, more...)...)
		return string(read(t, filepath.Join(out, "best.safetensors")))
	}
	cache := t.TempDir()
	want := run(cache)
	found, err := filepath.Glob(filepath.Join(cache, "*-20.images"))
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if got := run(t.TempDir(), "--cache-limit", "1"); got != want {
		t.Error("with another cache the weights differ")
	}
}

func TestCacheCommand(t *testing.T) {
	cache := t.TempDir()
	m := flowers(t)
	var dirs []string
	for i := range 3 {
		dir := pictureFolder(t, 3+i, "tulip", "daisy", "rose")
		dirs = append(dirs, dir)
		succeeds(t, "eval", "--model", m, "--data", dir, "--cache", cache)
		time.Sleep(20 * time.Millisecond) // the times of use differ
	}
	show := func() (names []string, bytes float64) {
		v := decode(t, succeeds(t, "cache", "show", "--cache", cache, "--json").out)
		has(t, v, "dir", "bytes", "datasets")
		for _, d := range v["datasets"].([]any) {
			has(t, d, "name", "source", "file", "images", "bytes", "used", "in_use")
			names = append(names, d.(map[string]any)["source"].(string))
		}
		return names, v["bytes"].(float64)
	}
	names, size := show()
	if !slices.Equal(names, []string{dirs[2], dirs[1], dirs[0]}) {
		t.Errorf("the cache has %q", names)
	}
	if text := succeeds(t, "cache", "--cache", cache).out; !strings.Contains(text, dirs[1]) || !strings.Contains(text, "just now") || !strings.Contains(text, "in "+cache) {
		t.Errorf("the table is\n%s", text)
	}
	old := time.Now().Add(-40 * 24 * time.Hour)
	v := decode(t, succeeds(t, "cache", "show", "--cache", cache, "--json").out)
	if err := os.Chtimes(v["datasets"].([]any)[2].(map[string]any)["file"].(string), old, old); err != nil {
		t.Fatal(err)
	}
	p := decode(t, succeeds(t, "cache", "prune", "--cache", cache, "--older-than", "30d", "--json").out)
	has(t, p, "dir", "removed", "bytes", "left")
	if names, left := show(); !slices.Equal(names, []string{dirs[2], dirs[1]}) || p["left"] != left || len(p["removed"].([]any)) != 1 || p["bytes"].(float64)+left != size {
		t.Errorf("after pruning by age: %q, %v", names, p)
	}
	succeeds(t, "cache", "prune", "--cache", cache, "--max-size", fmt.Sprint(int(size/2)))
	if names, _ := show(); !slices.Equal(names, []string{dirs[2]}) {
		t.Errorf("after pruning by size: %q", names)
	}
	write(t, filepath.Join(cache, "potstill-1.tmp"), []byte("left by a killed run"))
	write(t, filepath.Join(cache, "mine.txt"), []byte("not ours"))
	if text := succeeds(t, "cache", "clear", "--cache", cache).out; !strings.Contains(text, "removed 1 dataset") {
		t.Errorf("clear says %q", text)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 || left[0].Name() != "mine.txt" {
		t.Errorf("left %v, %v", left, err)
	}
	fails(t, []string{"--max-size", "clear"}, "cache", "prune", "--cache", cache)
	succeeds(t, "cache", "--cache", filepath.Join(cache, "none"))
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "500MB": 5e8, "2GiB": 2 << 30, "1.5k": 1500, "16 GB": 16e9, "7": 7, "none": math.MaxInt64} {
		var s byteSize
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s is %d, %v", text, s, err)
		}
	}
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "2w": 336 * time.Hour, "12h": 12 * time.Hour, "1.5d": 36 * time.Hour} {
		var a age
		if err := a.UnmarshalText([]byte(text)); err != nil || time.Duration(a) != want {
			t.Errorf("%s is %s, %v", text, time.Duration(a), err)
		}
	}
	for _, text := range []string{"", "x", "-1GB", "1XB", "1e30TB"} {
		if new(byteSize).UnmarshalText([]byte(text)) == nil {
			t.Errorf("the size %q is accepted", text)
		}
	}
	for _, text := range []string{"", "d", "-3d", "3", "1e9d"} {
		if new(age).UnmarshalText([]byte(text)) == nil {
			t.Errorf("the time %q is accepted", text)
		}
	}
	now := time.Now()
	for d, want := range map[time.Duration]string{time.Second: "just now", 61 * time.Second: "1 minute ago", 3 * time.Hour: "3 hours ago", 50 * time.Hour: "2 days ago"} {
		if got := ago(now.Add(-d)); got != want {
			t.Errorf("%s ago is %q", d, got)
		}
	}
}

// TestFit: pictures that a model's crop does not suit are told.
func TestFit(t *testing.T) {
	f := newCoverage(checkpoint.Preprocess{Size: 256})
	for _, size := range [][2]int{{256, 256}, {512, 512}, {3000, 4000}, {2000, 3000}, {128, 300}} {
		f.add(size[0], size[1])
	}
	if line := f.line(); !strings.Contains(line, "the center crop to 256 shows less than a tenth of 2 of 5 pictures (the largest is 3000x4000) and puts a black frame round 1 of 5 pictures") {
		t.Error(line)
	}
	for _, p := range []checkpoint.Preprocess{{Size: 256, Resize: 300}, {}, {Size: 100}} {
		f := newCoverage(p)
		if f.add(120, 120); f.line() != "" {
			t.Errorf("%+v: %s", p, f.line())
		}
	}
	r := succeeds(t, "predict", "--model", model(t), pictureIn(t, "a.jpg")) // 24 pixels, cropped to 28
	if strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "the center crop to 28 puts a black frame round 1 of 1 pictures") {
		t.Errorf("predict says %q", r.err)
	}
}

// TestEXIF: --exif turns a picture that says so, and leaves others alone.
func TestEXIF(t *testing.T) {
	plain, turned := pictureIn(t, "a.jpg"), filepath.Join(t.TempDir(), "b.jpg")
	text := read(t, plain)
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	write(t, turned, append([]byte(string(text[:2])+exif), text[2:]...))
	logits := func(args ...string) string {
		v := decode(t, succeeds(t, with([]string{"predict", "--json", "--model", model(t)}, args...)...).out)
		return fmt.Sprint(v["logits"])
	}
	as := logits(plain)
	if logits(turned) != as || logits("--exif", plain) != as {
		t.Error("a picture is turned that should not be")
	}
	if logits("--exif", turned) == as {
		t.Error("--exif does not turn the picture")
	}
	dir, cache := pictureFolder(t, 4, "daisy", "rose"), t.TempDir()
	for _, name := range []string{"0.jpg", "1.jpg"} {
		text := read(t, filepath.Join(dir, "training", "rose", name))
		write(t, filepath.Join(dir, "training", "rose", name), append([]byte(string(text[:2])+exif), text[2:]...))
	}
	losses := map[string]bool{}
	for _, more := range [][]string{nil, {"--exif"}} {
		v := decode(t, succeeds(t, with([]string{"train", "--data", dir, "--base", "4", "--size", "16", "--epochs", "1", "--batch", "4", "--json", "--cache", cache, "--out", t.TempDir()}, more...)...).out)
		losses[fmt.Sprint(v["history"].([]any)[0].(map[string]any)["train_loss"])] = true
	}
	if len(losses) != 2 {
		t.Errorf("with and without --exif a training has the loss %v", losses)
	}
}
