//go:build cgo

package kernels

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPool runs the thread pool alone under the sanitizer of threads: every task is run once, whoever
// takes it, and what a task has written is seen when the list is done.
func TestPool(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("there is no cc")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a task that is lost is waited for without end
	defer cancel()
	bin := filepath.Join(t.TempDir(), "pool")
	compile := func(flags ...string) ([]byte, error) {
		return exec.Command(cc, append(flags, "-std=gnu11", "-Wall", "-pthread", "-o", bin, filepath.Join("testdata", "pool.c"))...).CombinedOutput()
	}
	run := func() (string, error) {
		text, err := exec.CommandContext(ctx, bin).CombinedOutput()
		return string(text), err
	}
	if text, err := compile("-O1", "-g", "-fsanitize=thread"); err != nil {
		t.Logf("the compiler has no sanitizer of threads: %s", text)
	} else if text, err := run(); err == nil {
		return
	} else if strings.Contains(text, "WARNING: ThreadSanitizer") || !unusable.MatchString(text) {
		t.Fatalf("%v: %s", err, text)
	} else {
		t.Logf("the sanitizer of threads does not run here: %s", text)
	}
	if text, err := compile("-O2"); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if text, err := run(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
}

// unusable is what a program says whose sanitizer the system cannot run.
var unusable = regexp.MustCompile("unexpected memory mapping|error while loading shared libraries")
