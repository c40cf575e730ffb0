//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// anyLibrary is the path of some shared library of this machine.
func anyLibrary(t *testing.T) string {
	t.Helper()
	l := &library{known: known{name: "libm", so: []string{"libm.so.6"}}}
	l.open([]string{loaderPath})
	if l.err != nil || !filepath.IsAbs(l.path) {
		t.Skip("this system has no libm.so.6:", l.err)
	}
	return l.path
}

func place(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	touch(t, to, string(b))
}

func TestLibraryIsOpenedOnce(t *testing.T) {
	some := anyLibrary(t)
	dir := t.TempDir()
	place(t, some, filepath.Join(dir, "libnvrtc.so.12"))
	l := newLoader([]string{dir}, 13)
	libs := make([]*library, 8)
	var wg sync.WaitGroup
	for i := range libs {
		wg.Go(func() {
			lib, err := l.library("libnvrtc")
			if err != nil {
				t.Error(err)
			}
			libs[i] = lib
		})
	}
	wg.Wait()
	for _, lib := range libs {
		if lib != libs[0] {
			t.Fatal("two callers have two libraries")
		}
	}
	if want := filepath.Join(dir, "libnvrtc.so.12"); libs[0].path != want {
		t.Errorf("path is %q, want %q", libs[0].path, want)
	}
	if p, err := libs[0].symbol("cos"); err != nil || p == nil {
		t.Errorf("libm has no cos: %v", err)
	}
	_, err := libs[0].symbol("nvrtcVersion")
	if err == nil || !strings.Contains(err.Error(), "nvrtcVersion") || !strings.Contains(err.Error(), libs[0].path) {
		t.Errorf("a missing symbol gives %v", err)
	}
}

func TestAbsentLibraries(t *testing.T) {
	dir := t.TempDir()
	l := newLoader([]string{dir}, 12)
	for _, r := range l.report() {
		if !errors.Is(r.Err, ErrNotFound) || !strings.Contains(r.Err.Error(), dir) || r.Fix == "" || r.Path != "" {
			t.Errorf("%+v", r)
		}
		_, err := l.library(r.Name)
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), r.Fix) {
			t.Errorf("%s: %v", r.Name, err)
		}
		if strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v: not a short line", r.Name, err)
		}
	}
	if _, err := l.library("libother"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown library gives %v", err)
	}
}

func TestBrokenLibrary(t *testing.T) {
	dir := t.TempDir()
	touch(t, filepath.Join(dir, "libcudnn.so.9"), "not a library")
	_, err := newLoader([]string{dir}, 12).library("libcudnn")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), filepath.Join(dir, "libcudnn.so.9")) {
		t.Errorf("a text file gives %v", err)
	}
}

func TestNewerLibraryIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	place(t, anyLibrary(t), filepath.Join(dir, "libcublasLt.so.13"))
	if _, err := newLoader([]string{dir}, 12).library("libcublasLt"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a driver of CUDA 12 gets CUDA 13's library: %v", err)
	}
	if _, err := newLoader([]string{dir}, 13).library("libcublasLt"); err != nil {
		t.Error(err)
	}
}

// dnnOf builds a libcudnn.so.9 that says which CUDA it is built for.
func dnnOf(t *testing.T, cudart int) string {
	t.Helper()
	dir := t.TempDir()
	compileC(t, filepath.Join(dir, "libcudnn.so.9"), fmt.Sprintf(
		"unsigned long cudnnGetVersion(void) { return 91100; }\nunsigned long cudnnGetCudartVersion(void) { return %d; }\n", cudart))
	return dir
}

// TestLibrariesForADroppedDevice: what CUDA 13 no longer supports gets CUDA 12's
// libraries, though 13's come first, and is told what it lacks in one line.
func TestLibrariesForADroppedDevice(t *testing.T) {
	old, now := dnnOf(t, 12090), dnnOf(t, 13000)
	place(t, anyLibrary(t), filepath.Join(now, "libcublasLt.so.13"))
	place(t, anyLibrary(t), filepath.Join(now, "libcublasLt.so.12"))
	place(t, anyLibrary(t), filepath.Join(now, "libnvrtc.so.13"))
	place(t, anyLibrary(t), filepath.Join(old, "libnvrtc.so"))
	volta, turing := Device{Name: "Tesla V100", Major: 7}, Device{Name: "Tesla T4", Major: 7, Minor: 5}
	on := func(l *loader, d Device) *Context { return &Context{driver: &Driver{loader: l}, device: d} }
	both := newLoader([]string{now, old}, 13)
	for _, c := range []struct {
		device    Device
		name, dir string
		so        string
	}{
		{turing, "libcudnn", now, "libcudnn.so.9"}, {turing, "libcublasLt", now, "libcublasLt.so.13"},
		{volta, "libcudnn", old, "libcudnn.so.9"}, {volta, "libcublasLt", now, "libcublasLt.so.12"},
	} {
		lib, err := on(both, c.device).library(c.name)
		if err != nil || lib.path != filepath.Join(c.dir, c.so) {
			t.Errorf("%s has of %s %+v: %v", c.device.Name, c.name, lib, err)
		}
	}
	for _, devices := range [][]Device{nil, {volta, turing}} {
		if r := both.reportFor(devices); r[1].Path != filepath.Join(now, "libnvrtc.so.13") || r[2].Path != filepath.Join(now, "libcudnn.so.9") {
			t.Errorf("for %v there are %+v", devices, r)
		}
	}
	r := both.reportFor([]Device{volta, volta})
	if len(r) != 5 || r[0].Name != "libcuda" || !strings.Contains(r[0].Fix, "driver") || !errors.Is(r[1].Err, ErrNotFound) || !strings.Contains(r[1].Fix, "-cu12") {
		t.Errorf("for an old device there are %+v", r)
	}
	if r[2].Path != filepath.Join(old, "libcudnn.so.9") || r[3].Path != filepath.Join(now, "libcublasLt.so.12") {
		t.Errorf("for an old device there are %+v", r)
	}
	_, err := on(newLoader([]string{now}, 13), volta).library("libcudnn")
	for _, want := range []string{"Tesla V100 (sm_70)", "built for CUDA 13.0", filepath.Join(now, "libcudnn.so.9"), "-cu12"} {
		if err == nil || !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("without cuDNN of CUDA 12: %v, which does not say %q", err, want)
		}
	}
	// A driver of CUDA 12 has no use for CUDA 13's either.
	if lib, err := newLoader([]string{now, old}, 12).library("libcudnn"); err != nil || lib.path != filepath.Join(old, "libcudnn.so.9") {
		t.Errorf("a driver of CUDA 12 has %+v: %v", lib, err)
	}
}

func TestLoadOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	place(t, anyLibrary(t), filepath.Join(dir, "libcuda.so.1"))
	_, err := Load(Options{Search: []string{dir}})
	if err == nil || !strings.Contains(err.Error(), "has no cuInit") || !strings.Contains(err.Error(), "525") {
		t.Errorf("Load returns %v", err)
	}
	libs := Libraries(Options{Search: []string{dir}})
	if len(libs) != 5 || libs[0].Name != "libcuda" || libs[0].Err == nil || libs[0].Path == "" {
		t.Errorf("Libraries returns %+v", libs)
	}
}

// driverOf builds a libcuda.so.1 that is of a version and whose every other
// function returns a result.
func driverOf(t *testing.T, version, versionResult, result int) string {
	t.Helper()
	header, err := os.ReadFile("driver.h")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`X\((cu\w+),`).FindAllSubmatch(header, -1)
	if len(names) < 40 {
		t.Fatalf("driver.h names %d functions", len(names))
	}
	var c strings.Builder
	for _, n := range names {
		switch name := string(n[1]); name {
		case "cuDriverGetVersion":
			fmt.Fprintf(&c, "int %s(int *v) { *v = %d; return %d; }\n", name, version, versionResult)
		case "cuGetErrorName", "cuGetErrorString":
			fmt.Fprintf(&c, "int %s(int r, const char **s) { *s = %q; return 0; }\n", name, "["+name+"]")
		default:
			fmt.Fprintf(&c, "int %s(void) { return %d; }\n", name, result)
		}
	}
	dir := t.TempDir()
	compileC(t, filepath.Join(dir, "libcuda.so.1"), c.String())
	return dir
}

// compileC makes a shared library of a text.
func compileC(t *testing.T, path, text string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	cmd := exec.Command(cc, "-shared", "-fPIC", "-w", "-x", "c", "-o", path, "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
}

func TestDriversThatDoNotWork(t *testing.T) {
	for _, c := range []struct {
		name                    string
		version, asking, result int
		want                    []string
	}{
		{"no device", 13000, 0, 100, []string{"no device", "cuInit", "(100)", "nvidia-smi", "CUDA_VISIBLE_DEVICES"}},
		{"stub", 0, 34, 34, []string{"cuDriverGetVersion", "(34)", "stub"}},
		{"old", 11080, 0, 0, []string{"CUDA 11.8", "12.0", "525"}},
		{"mismatch", 12040, 0, 803, []string{"cuInit", "(803)", "restart"}},
		{"other", 12040, 0, 304, []string{"cuInit", "(304)", "[cuGetErrorName]", "[cuGetErrorString]", "nvidia-smi"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Search: []string{driverOf(t, c.version, c.asking, c.result)}}
			_, err := Load(o)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Load returns %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoes not say %q", err, w)
				}
			}
			if lib := Libraries(o)[0]; lib.Err == nil || lib.Path == "" || lib.Err.Error() != err.Error() {
				t.Errorf("Libraries says %+v", lib)
			}
		})
	}
}

func TestDriverWithNoDevice(t *testing.T) {
	dir := driverOf(t, 13000, 0, 0)
	d, err := Load(Options{Search: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	if d.Version() != 13000 {
		t.Errorf("version is %d", d.Version())
	}
	if lib, err := d.library("libcuda"); err != nil || lib.version != "13.0" {
		t.Errorf("the driver's library: %+v, %v", lib, err)
	}
	// Its cuDeviceGetCount leaves the count at 0.
	if _, err := d.Open(0); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("Open returns %v", err)
	}
}
