package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// listing returns the names in a folder.
func listing(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestWrite(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "model.safetensors")
	for _, f := range []*File{sample(), {}} { // the second replaces the first
		want := encode(t, f)
		n, err := Write(path, f)
		if err != nil || n != int64(len(want)) {
			t.Fatalf("%d bytes, %v, want %d", n, err, len(want))
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file differs from the encoding, %v", err)
		}
		if names := listing(t, folder); names != "model.safetensors" {
			t.Errorf("the folder holds %s", names)
		}
	}
}

// TestWriteFailsWhole lets the content fail after some of it was written, as a
// full disk does, and wants the old file untouched and nothing beside it.
func TestWriteFailsWhole(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "model")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := sample()
	bad.Tensors[0].Shape[0]++
	full := &os.PathError{Op: "write", Path: "temporary", Err: syscall.ENOSPC}
	for want, write := range map[string]func() (int64, error){
		"has 3 bytes of data": func() (int64, error) { return Write(path, bad) },
		"no space left on device; free some space or choose another folder": func() (int64, error) {
			return writeAtomic(path, func(w io.Writer) error {
				if _, err := w.Write(make([]byte, 1<<18)); err != nil {
					return err
				}
				return full
			})
		},
	} {
		n, err := write()
		if n != 0 || err == nil || !strings.Contains(err.Error(), "write "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes, error %v, want one with %q", n, err, want)
		}
		if old, _ := os.ReadFile(path); string(old) != "old" {
			t.Errorf("the old file now holds %q", old)
		}
		if names := listing(t, folder); names != "model" {
			t.Errorf("the folder holds %s", names)
		}
	}
}

func TestWriteToImpossiblePlaces(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Write(filepath.Join(folder, "absent", "model"), sample())
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "create the folder first") {
		t.Errorf("absent folder: %v", err)
	}
	if _, err = Write(filepath.Join(folder, "taken"), sample()); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if names := listing(t, folder); names != "taken" {
		t.Errorf("the folder holds %s", names)
	}
	if os.Getuid() == 0 {
		t.Skip("the superuser may write everywhere")
	}
	if err := os.Chmod(folder, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o755)
	if _, err = Write(filepath.Join(folder, "model"), sample()); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "may write to") {
		t.Errorf("closed folder: %v", err)
	}
}

func Example() {
	folder, err := os.MkdirTemp("", "safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "model.safetensors")

	_, err = Write(path, &File{
		Metadata: map[string]string{"family": "cnn-dwpw"},
		Tensors:  []Tensor{FromFloat32("fc.bias", []int{2}, []float32{0.5, -1})},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := Read(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	bias, ok := f.Lookup("fc.bias")
	if !ok {
		fmt.Println("no fc.bias")
		return
	}
	values, err := Float32s(bias)
	fmt.Println(f.Metadata["family"], bias.Shape, values, err)
	// Output: cnn-dwpw [2] [0.5 -1] <nil>
}

// TestPlain writes a file without the seal, which anybody may edit.
func TestPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	want := sample()
	n, err := WritePlain(path, want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != n || bytes.Contains(b, []byte("potstill.")) {
		t.Fatalf("%d bytes, %d reported, sealed: %v (%v)", len(b), n, bytes.Contains(b, []byte("potstill.")), err)
	}
	got, err := Read(path)
	if err != nil || !equal(got, want) || got.Sealed {
		t.Errorf("came back as %v (%v)", got, err)
	}
	if _, err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || !got.Sealed {
		t.Errorf("Write gave no seal: %v (%v)", got, err)
	}
}
