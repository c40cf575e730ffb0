//go:build linux && cgo

package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// only returns the one file of a folder.
func only(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s holds %v, %v; want one file", dir, files, err)
	}
	return filepath.Join(dir, files[0].Name())
}

func TestCompiledKernelsAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cubins")
	compiles := func(t *testing.T, want int, options ...string) *journal {
		t.Helper()
		c, j := opened(t, dir)
		defer c.Close()
		m := must[*Module](t)(c.Compile("scale", scaleSource, append([]string{"-DPLUS="}, options...)...))
		must[*Function](t)(m.Function("scale"))
		if got := j.count("cuda: compiled"); got != want {
			t.Errorf("compiled %d times, want %d:\n%s", got, want, j.out.String())
		}
		return j
	}
	compiles(t, 1)
	compiles(t, 0)
	path := only(t, dir)
	good, err := os.ReadFile(path)
	check(t, err)

	// Damaged: compiled again, and good again.
	bad := append([]byte{}, good...)
	bad[len(bad)/2] ^= 1
	touch(t, path, string(bad))
	if j := compiles(t, 1); j.count("not usable") != 1 {
		t.Error("nobody is told of the damage")
	}
	compiles(t, 0)

	// Whole, but nothing that the driver takes: the same.
	key := cacheKey(good[len(cacheMagic):])
	for _, rubbish := range []string{"", "x", "no cubin"} {
		check(t, cache{dir}.put(key, []byte(rubbish)))
		if j := compiles(t, 1); j.count("refuses") != 1 {
			t.Error("nobody is told of the driver's refusal")
		}
		compiles(t, 0)
	}

	// Other options make another kernel.
	compiles(t, 1, "-DOTHER")
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestCompileWithoutCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	touch(t, file, "")
	c, j := opened(t, filepath.Join(file, "below"))
	must[*Module](t)(c.Compile("scale", scaleSource, "-DPLUS="))
	if j.count("could not be kept") != 1 {
		t.Errorf("nobody is told that it is not kept:\n%s", j.out.String())
	}
}

func TestOptionsReachTheKernel(t *testing.T) {
	r := newRig(t, 10)
	m := must[*Module](t)(r.c.Compile("scale", scaleSource, "-DPLUS=+5.0f"))
	r.f = must[*Function](t)(m.Function("scale"))
	check(t, r.launch(2))
	r.want(t, 7)
}

func TestCompileErrors(t *testing.T) {
	c, _ := opened(t, t.TempDir())
	_, err := c.Compile("scale", scaleSource, "-DPLUS=+unknown_thing")
	wantError(t, err, "cannot compile scale", "nvrtcCompileProgram", "NVRTC_ERROR_COMPILATION (6)", "error:", "unknown_thing")
	var e *Error
	if !errors.As(err, &e) || e.Call != "nvrtcCompileProgram" {
		t.Errorf("%#v", err)
	}
	_, err = c.Compile("scale", scaleSource, "--nonsense")
	wantError(t, err, "NVRTC_ERROR_INVALID_OPTION (5)", "--nonsense")
	_, err = c.Compile("scale", "int x;\x00")
	wantError(t, err, "zero byte")
}

// With no NVRTC, all else works, and Compile says what to install.
func TestNoCompiler(t *testing.T) {
	dir := t.TempDir()
	place(t, filepath.Join(fake.Dir(t), "libcuda.so.1"), filepath.Join(dir, "libcuda.so.1"))
	d, err := Load(Options{Search: []string{dir}})
	check(t, err)
	d.loader.dirs = []string{dir} // whatever this machine has
	c := must[*Context](t)(d.Open(0))
	defer c.Close()
	must[Ptr](t)(c.Alloc(10))
	for range 2 {
		_, err = c.Compile("scale", scaleSource)
		wantError(t, err, "cannot compile scale", "libnvrtc", "pip install nvidia-cuda-nvrtc", "POTSTILL_CUDA_PATH")
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%v is not ErrNotFound", err)
		}
	}
}

// The stand-in is found where a test looks for it, and nowhere else: a program
// that also uses the real driver must get that.
func TestStandInIsNotFoundElsewhere(t *testing.T) {
	dir := fake.Dir(t)
	opened(t, "")
	for _, l := range Libraries(Options{}) {
		if l.Path != "" && filepath.Dir(l.Path) == dir {
			t.Errorf("the loader takes %s for %s", l.Path, l.Name)
		}
	}
}
