package mpi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLookedFor checks where a library is looked for, in which order, and what is said where
// there is none.
func TestLookedFor(t *testing.T) {
	root := t.TempDir()
	venv := filepath.Join(root, "venv")
	for _, f := range []string{"venv/bin/mpirun", "venv/lib/libmpi.so.12", "venv/lib/libmpi_abi.so.1", "own/libmpi.so.40"} {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("no library"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"PATH": filepath.Join(venv, "bin")}
	o := Options{Getenv: func(name string) string { return env[name] }}
	got := candidates(o.names(), o.folders())
	want := []string{filepath.Join(venv, "lib/libmpi_abi.so.1"), filepath.Join(venv, "lib/libmpi.so.12")}
	if len(got) < 2 || !slices.Equal(got[:2], want) {
		t.Errorf("beside mpirun: %v, want first %v", got, want)
	}
	env[LibraryEnv] = filepath.Join(root, "own")
	o.Launcher = "Open MPI"
	if got := candidates(o.names(), o.folders()); got[0] != filepath.Join(root, "own/libmpi.so.40") {
		t.Errorf("with %s: %v", LibraryEnv, got)
	}
	env[LibraryEnv] = filepath.Join(venv, "lib/libmpi.so.12")
	if got := candidates(o.names(), o.folders()); got[0] != env[LibraryEnv] {
		t.Errorf("with the file in %s: %v", LibraryEnv, got)
	}
	err := notFound(o.names(), []string{root, ""}, nil).Error()
	for _, part := range []string{"libmpi.so.12", "libmpi.so.40", "libmpi_abi.so.1", root, "the loader's path", "apt install", LibraryEnv} {
		if !strings.Contains(err, part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err, "\n") {
		t.Errorf("more than a line: %q", err)
	}
}

// TestOpen opens what is no library.
func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "libmpi.so.12")
	if err := os.WriteFile(file, []byte("no library"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{LibraryEnv: file}
	w, err := Open(Options{Getenv: func(name string) string { return env[name] }})
	if err == nil {
		t.Skipf("this machine has an MPI library where it is always looked for: %s", w.Library())
	}
	if !strings.Contains(err.Error(), LibraryEnv) && !strings.Contains(err.Error(), "no MPI") {
		t.Error(err)
	}
}
