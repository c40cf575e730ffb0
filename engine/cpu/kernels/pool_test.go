//go:build cgo

package kernels

import (
	"context"
	"os/exec"
	"path/filepath"
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
	text, err := compile("-O1", "-g", "-fsanitize=thread")
	if err == nil {
		text, err = exec.CommandContext(ctx, bin).CombinedOutput()
	}
	if err != nil && (strings.Contains(string(text), "tsan") || strings.Contains(string(text), "ThreadSanitizer: unexpected memory mapping")) {
		t.Logf("without the sanitizer, which is not at hand: %s", text)
		if text, err = compile("-O2"); err == nil {
			text, err = exec.CommandContext(ctx, bin).CombinedOutput()
		}
	}
	if err != nil {
		t.Errorf("%v: %s", err, text)
	}
}
