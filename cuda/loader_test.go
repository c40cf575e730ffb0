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
		if !errors.Is(r.Err, ErrNotFound) || !strings.Contains(r.Err.Error(), dir) || r.Mend == "" || r.Path != "" {
			t.Errorf("%+v", r)
		}
		_, err := l.library(r.Name)
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), r.Mend) {
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

func TestLoadOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	place(t, anyLibrary(t), filepath.Join(dir, "libcuda.so.1"))
	_, err := Load(Options{Search: []string{dir}})
	if err == nil || !strings.Contains(err.Error(), "has no cuInit") || !strings.Contains(err.Error(), "525") {
		t.Errorf("Load returns %v", err)
	}
	libs := Libraries(Options{Search: []string{dir}})
	if len(libs) != 4 || libs[0].Name != "libcuda" || libs[0].Err == nil || libs[0].Path == "" {
		t.Errorf("Libraries returns %+v", libs)
	}
}

// driverOf builds a libcuda.so.1 that is of a version and whose every other
// function returns a result.
func driverOf(t *testing.T, version, versionResult, result int) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
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
	cmd := exec.Command(cc, "-shared", "-fPIC", "-w", "-x", "c", "-o", filepath.Join(dir, "libcuda.so.1"), "-")
	cmd.Stdin = strings.NewReader(c.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return dir
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
