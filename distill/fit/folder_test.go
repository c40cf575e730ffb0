//go:build linux || darwin

package fit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/potstill/potstill/engine/train"
)

// A second run in a folder is refused: during the first, whatever it says, and
// afterwards unless it resumes or replaces.
func TestFolderHoldsOneRun(t *testing.T) {
	ds, b, dir := fashion(t), backend(t), t.TempDir()
	j := small(ds, dir)
	met := 0
	j.Epoch = func(train.EpochInfo) {
		for _, set := range []func(*Job){func(*Job) {}, func(j *Job) { j.Replace = true }, func(j *Job) { j.Resume = true }} {
			other := small(ds, dir)
			set(&other)
			_, err := Run(t.Context(), b, other)
			if !errors.Is(err, ErrLocked) {
				t.Errorf("a second run in the folder: %v", err)
			}
			oneLine(t, err, dir, "in use")
			met++
		}
		oneLine(t, CheckFolder(dir), dir, "in use")
	}
	if _, err := Run(t.Context(), b, j); err != nil {
		t.Fatal(err)
	}
	if met != 9 {
		t.Fatalf("%d second runs were tried", met)
	}
	before := read(t, dir, BestFile)
	other := small(ds, dir)
	other.Config.Seed++
	_, err := Run(t.Context(), b, other)
	oneLine(t, err, dir, "--resume", "--force")
	oneLine(t, CheckFolder(dir), dir, "--resume", "--force")
	if string(before) != string(read(t, dir, BestFile)) {
		t.Error("the refused run has replaced the model")
	}
	other.Replace = true
	if _, err := Run(t.Context(), b, other); err != nil {
		t.Fatal(err)
	}
	if string(before) == string(read(t, dir, BestFile)) {
		t.Error("Replace has left the old model")
	}
	if err := CheckFolder(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
}

// The lock ends with its process, however that ends.
func TestLockDiesWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	if _, err := trainProcess(t, dir, 2, syscall.SIGKILL); err == nil {
		t.Fatal("the process was not killed")
	} else if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	path := filepath.Join(dir, LockFile)
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the killed process had no lock:", err)
	}
	unlock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file of the lock is left behind")
	}
}
