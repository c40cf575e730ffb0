//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/potstill/potstill/layers/checkpoint"
)

// long are the flags of a run of 480 steps, long enough to be stopped in.
func long(out string) []string {
	return []string{"train", "--data", "builtin:fashion", "--base", "4", "--limit", "480", "--epochs", "8", "--batch", "8", "--save-every", "25",
		"--schedule", "onecycle", "--ema", "0.99", "--seed", "7", "--threads", "2", "--out", out, "--log-steps", "-"}
}

// stop runs the command and sends it the signal after so many lines of steps.
func stop(t *testing.T, sig syscall.Signal, after int, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(pipe)
	for range after {
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatalf("the steps ended: %v\n%s", err, errs.String())
		}
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its status is what the caller looks at
	return result{string(rest), errs.String(), cmd.ProcessState.ExitCode()}
}

func TestResumeIsExact(t *testing.T) {
	whole := t.TempDir()
	succeeds(t, long(whole)...)

	t.Run("SIGINT", func(t *testing.T) {
		out := t.TempDir()
		for _, after := range []int{90, 130} { // in the second epoch, and again after resuming
			args := long(out)
			if after != 90 {
				args = append(args, "--resume")
			}
			r := stop(t, syscall.SIGINT, after, args...)
			lines := strings.Split(strings.TrimSpace(r.err), "\n")
			if last := lines[len(lines)-1]; r.code != 130 || !strings.HasPrefix(last, "potstill: ") || !strings.Contains(last, "--resume") {
				t.Fatalf("exit status %d, want 130 and how to resume:\n%s", r.code, r.err)
			}
		}
		succeeds(t, append(long(out), "--resume")...)
		same(t, whole, out)
	})
	for sig, name := range map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGHUP: "SIGHUP"} {
		t.Run(name, func(t *testing.T) {
			if signal.Ignored(sig) {
				t.Skip("the tests run under nohup or the like, which ignores it")
			}
			out := t.TempDir()
			if r := stop(t, sig, 10, long(out)...); r.code != 128+int(sig) || !strings.Contains(r.err, "--resume") {
				t.Errorf("exit status %d, want %d:\n%s", r.code, 128+sig, r.err)
			}
			if _, err := os.Stat(filepath.Join(out, "last.safetensors")); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("SIGHUP under nohup", func(t *testing.T) {
		signal.Ignore(syscall.SIGHUP) // which a child inherits
		defer signal.Reset(syscall.SIGHUP)
		if r := stop(t, syscall.SIGHUP, 10, with(long(t.TempDir()), "--epochs", "1")...); r.code != 0 {
			t.Errorf("exit status %d, want 0:\n%s", r.code, r.err)
		}
	})
	t.Run("SIGKILL", func(t *testing.T) {
		out := t.TempDir()
		stop(t, syscall.SIGKILL, 100, long(out)...)
		succeeds(t, append(long(out), "--resume")...)
		same(t, whole, out)
	})
	t.Run("one thread", func(t *testing.T) {
		out := t.TempDir()
		succeeds(t, append(long(out), "--threads", "1")...)
		same(t, whole, out)
	})
}

// A run that cannot come to the end of its step, for nobody reads what it
// writes, is ended by a second signal.
func TestSecondSignalQuitsAtOnce(t *testing.T) {
	out := t.TempDir()
	cmd := command(t, append(long(out), "--epochs", "100", "--batch", "4")...) // more lines than a pipe holds
	if _, err := cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(out, "last.safetensors")
	for begin, old := time.Now(), ""; ; time.Sleep(time.Second) { // until it is stuck
		b, err := os.ReadFile(last)
		if err == nil && string(b) == old {
			break
		}
		old = string(b)
		if time.Since(begin) > time.Minute {
			t.Fatal("the run goes on without a reader")
		}
	}
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatalf("the first signal has ended the run: %v", err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	_ = cmd.Wait() // its status is looked at below
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit status %d, want 130", code)
	}
}

// same checks that two runs have left the same weights, byte for byte, and the
// same state of the optimizer.
func same(t *testing.T, want, got string) {
	t.Helper()
	if !bytes.Equal(read(t, filepath.Join(want, "best.safetensors")), read(t, filepath.Join(got, "best.safetensors"))) {
		t.Error("the best weights' files differ")
	}
	w, g := last(t, want), last(t, got)
	if !reflect.DeepEqual(w.State, g.State) {
		t.Error("the last weights differ")
	}
	if len(w.Extra) == 0 || !reflect.DeepEqual(w.Extra, g.Extra) {
		t.Error("the optimizer's states or the averages differ")
	}
	if w, g := epochs(t, want), epochs(t, got); w != g {
		t.Errorf("%d epochs of metrics, want %d", g, w)
	}
}

func last(t *testing.T, dir string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Load(filepath.Join(dir, "last.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func epochs(t *testing.T, dir string) int {
	t.Helper()
	return strings.Count(string(read(t, filepath.Join(dir, "metrics.jsonl"))), "\n")
}

// A full disk ends a run with one line; the weights saved before stay whole.
func TestFullOutputFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := mountTmpfs(dir, "size=24k"); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	defer func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	}()
	fails(t, []string{dir, "free some space"}, "quantize", "--model", model(t), "--scheme", "float16", "--out", filepath.Join(dir, "a", "x.safetensors"))
	r := potstill(t, small("train", "--base", "8", "--out", dir)...)
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	if last := lines[len(lines)-1]; r.code != 1 || !strings.HasPrefix(last, "potstill: ") || !strings.Contains(last, dir) || !strings.Contains(last, "free some space") {
		t.Errorf("exit status %d: %s", r.code, r.err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".potstill-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

// TestResumeNeedsNoFlags: a run is resumed with the flags that it was begun
// with, and with those that are given again.
func TestResumeNeedsNoFlags(t *testing.T) {
	dir := t.TempDir()
	whole, stopped := filepath.Join(dir, "whole"), filepath.Join(dir, "stopped")
	flags := []string{"train", "--data", "builtin:fashion", "--limit", "60", "--base=2", "--batch", "20", "--lr", "2e-3",
		"--no-augment", "--optimizer", "sgd", "--momentum", "0.5"}
	succeeds(t, with(flags, "--epochs", "3", "--out", whole)...)
	succeeds(t, with(flags, "--epochs", "1", "--out", stopped)...)
	succeeds(t, "train", "--resume", "--epochs", "3", "--out", stopped)
	if w, g := last(t, whole), last(t, stopped); !reflect.DeepEqual(w.State, g.State) {
		t.Error("the weights differ")
	}
	if err := os.Remove(filepath.Join(stopped, commandFile)); err != nil {
		t.Error(err)
	}
	fails(t, []string{"--data"}, "train", "--resume", "--out", stopped) // as of an earlier version
	if err := os.WriteFile(filepath.Join(stopped, commandFile), []byte("["), 0o666); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{commandFile, "remove the file"}, "train", "--resume", "--out", stopped)
}
