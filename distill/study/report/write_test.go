package report

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestBadFiguresAreRefused(t *testing.T) {
	for want, spoil := range map[string]func(*Results){
		"rows[3].val_accuracy":               func(r *Results) { r.Rows[3].ValAccuracy = new(math.NaN()) },
		"rows[0].published.val_accuracy":     func(r *Results) { r.Rows[0].Published.ValAccuracy = new(78.71) },
		"rows[1].bytes is negative":          func(r *Results) { r.Rows[1].Bytes = -1 },
		"curves[1].points[2].val_accuracy":   func(r *Results) { r.Curves[1].Points[2].ValAccuracy = math.Inf(1) },
		"training[0].epochs[4].train_loss":   func(r *Results) { r.Training[0].Epochs[4].TrainLoss = math.NaN() },
		"seconds is +Inf":                    func(r *Results) { r.Seconds = math.Inf(1) },
		"mistakes[2].prob":                   func(r *Results) { r.Mistakes[2].Prob = math.NaN() },
		"confusions[0] (student): 4 rows":    func(r *Results) { r.Confusions[0].Matrix = r.Confusions[0].Matrix[:4] },
		"confusions[0].matrix[1][0]":         func(r *Results) { r.Confusions[0].Matrix[1][0] = -3 },
		"confusions[1] (int8): row 2 has 1":  func(r *Results) { r.Confusions[1].Matrix[2] = []int{1} },
		"12 bytes of pixels for a 32×32 RGB": func(r *Results) { r.Mistakes[0].Pix = make([]uint8, 12) },
	} {
		r := sample()
		spoil(r)
		dir := filepath.Join(t.TempDir(), "new")
		_, err := WriteAll(dir, r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a folder was made all the same", want)
		}
	}
	if _, err := WriteAll(t.TempDir(), nil); err == nil {
		t.Error("nil results were written")
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := WriteAll(filepath.Join(file, "out"), sample())
	if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "report.html"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = WriteAll(dir, sample())
	if err == nil || !strings.Contains(err.Error(), "report.html") {
		t.Errorf("error %v", err)
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"report.html"}) {
		t.Errorf("left behind: %v", got)
	}
}

// fullFile takes a few bytes and then has no space left.
type fullFile struct{ tempFile }

func (f fullFile) Write(p []byte) (int, error) {
	n, err := f.tempFile.Write(p[:min(len(p), 10)])
	if err == nil {
		err = &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

func TestFullDiskLeavesNoPartialFile(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "a")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []*output{{path: old, content: make([]byte, 100)}, {path: filepath.Join(dir, "b"), content: make([]byte, 100)}}
	err := replaceAll(files, func(path string) (tempFile, error) {
		f, err := createTemp(path)
		if filepath.Base(path) == "b" {
			f = fullFile{f}
		}
		return f, err
	})
	if !errors.Is(err, syscall.ENOSPC) || strings.Count(err.Error(), filepath.Join(dir, "b")) != 1 {
		t.Errorf("error %v", err)
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"a"}) {
		t.Errorf("left behind: %v", got)
	}
	if string(read(t, old)) != "old" {
		t.Error("an earlier file was touched although not all could be written")
	}
}

func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
