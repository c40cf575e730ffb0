package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// makeDirs makes folders below a temporary one and returns that.
func makeDirs(t *testing.T, paths ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, p := range paths {
		if err := os.MkdirAll(filepath.Join(root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func touch(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestFoldersInOrder(t *testing.T) {
	root := makeDirs(t, "search", "own/lib64", "own/nvidia/cudnn/lib", "own[2]/nvidia/cudnn/lib", "home/lib64", "cudapath/lib",
		"venv/lib/python3.9/site-packages/nvidia/cublas/lib", "venv/lib/python3.11/site-packages/nvidia/cublas/lib",
		"conda/lib/python3.12/site-packages/nvidia/cu13/lib", "user/.local/lib/python3.12/site-packages/nvidia/cudnn/lib",
		"usr/lib/python3.10/site-packages/nvidia/nccl/lib", "real/lib/python3.10/dist-packages/nvidia/nccl/lib")
	touch(t, filepath.Join(root, "real/bin/python3"), "")
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "real/bin/python3"), filepath.Join(root, "usr/bin/python3")); err != nil {
		t.Fatal(err)
	}
	in := func(p string) string { return filepath.Join(root, p) }
	got := folders([]string{in("search"), "", in("missing")}, environment(map[string]string{
		"POTSTILL_CUDA_PATH": in("own") + ":" + ":" + in("own[2]") + ":" + in("search"),
		"CUDA_HOME":          in("home"),
		"CUDA_PATH":          in("cudapath"),
		"VIRTUAL_ENV":        in("venv"),
		"CONDA_PREFIX":       in("conda"),
		"HOME":               in("user"),
		"PATH":               in("nothing") + ":" + in("usr/bin"),
	}))
	// What this machine has of its own, we cannot know.
	got = slices.DeleteFunc(got, func(d string) bool { return d != loaderPath && !strings.HasPrefix(d, root) })
	want := []string{
		in("search"),
		in("own"), in("own/lib64"), in("own/nvidia/cudnn/lib"), in("own[2]"), in("own[2]/nvidia/cudnn/lib"),
		loaderPath,
		in("home/lib64"), in("cudapath/lib"),
		in("venv/lib/python3.11/site-packages/nvidia/cublas/lib"), in("venv/lib/python3.9/site-packages/nvidia/cublas/lib"),
		in("conda/lib/python3.12/site-packages/nvidia/cu13/lib"),
		in("usr/lib/python3.10/site-packages/nvidia/nccl/lib"), in("real/lib/python3.10/dist-packages/nvidia/nccl/lib"),
		in("user/.local/lib/python3.12/site-packages/nvidia/cudnn/lib"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("folders:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFoldersWithNoEnvironment(t *testing.T) {
	got := folders(nil, environment(nil))
	if len(got) == 0 || got[0] != loaderPath {
		t.Errorf("folders begin with %q, want the loader's path", got)
	}
	for _, d := range got[1:] {
		if !filepath.IsAbs(d) {
			t.Errorf("%q is looked in: relative to where the program happens to run", d)
		}
	}
}

func TestFindTakesTheFirstThatOpens(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	touch(t, filepath.Join(a, "lib.so.12"), "broken")
	touch(t, filepath.Join(b, "lib.so.12"), "good")
	touch(t, filepath.Join(c, "lib.so.13"), "good")
	names := []string{"lib.so.13", "lib.so.12"}
	var tried []string
	open := func(path string) error {
		tried = append(tried, path)
		if path == filepath.Base(path) {
			return errors.New(path + ": cannot open shared object file: No such file or directory")
		}
		text, err := os.ReadFile(path)
		if err == nil && string(text) != "good" {
			err = errors.New(path + ": invalid ELF header")
		}
		return err
	}
	// An older version in an earlier folder wins.
	path, _, ok := find(names, []string{a, loaderPath, b, c}, open)
	if want := filepath.Join(b, "lib.so.12"); !ok || path != want {
		t.Errorf("found %q, want %q", path, want)
	}
	if want := []string{filepath.Join(a, "lib.so.12"), "lib.so.13", "lib.so.12", filepath.Join(b, "lib.so.12")}; !slices.Equal(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
	// What cannot be opened is named, what is not there is not.
	if _, broken, ok := find(names, []string{loaderPath, a}, open); ok || broken == nil || !strings.Contains(broken.Error(), "invalid ELF") {
		t.Errorf("a broken library gives %v", broken)
	}
	if _, broken, ok := find(names, []string{loaderPath}, open); ok || broken != nil {
		t.Errorf("no library gives %v, want nothing", broken)
	}
	// A library that the loader knows but that lacks another is broken.
	needs := func(string) error { return errors.New("libother.so: cannot open shared object file") }
	if _, broken, _ := find(names, []string{loaderPath}, needs); broken == nil {
		t.Error("a library whose dependency is missing counts as missing itself")
	}
}

func TestKnownsFitTheDriver(t *testing.T) {
	for _, k := range knowns(12) {
		for _, so := range k.so {
			if strings.HasSuffix(so, ".13") {
				t.Errorf("%s is tried with a driver of CUDA 12", so)
			}
		}
		if fix := k.fix(12); strings.Contains(fix, "pip") && !strings.Contains(fix, "-cu12") {
			t.Errorf("%s: the fix for CUDA 12 is %q", k.name, fix)
		}
	}
	for _, k := range knowns(13) {
		if fix := k.fix(13); strings.Contains(fix, "-cu12") {
			t.Errorf("%s: the fix for CUDA 13 is %q", k.name, fix)
		}
	}
}
