package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The verdicts of a part.
const (
	passed  = "ok"
	failed  = "FAILED"
	leftOut = "left out"
)

// A result is what came of a part.
type result struct {
	Part    string             `json:"part"`
	Verdict string             `json:"verdict"`
	Why     string             `json:"why,omitempty"` // of a failure, or of what was left out
	Seconds float64            `json:"seconds"`
	Figures map[string]float64 `json:"figures,omitempty"`
	Lines   []string           `json:"lines,omitempty"`
}

// say adds a line of the summary.
func (r *result) say(format string, args ...any) {
	r.Lines = append(r.Lines, fmt.Sprintf(format, args...))
}

// note adds a figure.
func (r *result) note(name string, value float64) {
	if r.Figures == nil {
		r.Figures = make(map[string]float64)
	}
	r.Figures[name] = value
}

// fail makes the part one that failed; the first reason stays.
func (r *result) fail(format string, args ...any) {
	if r.Verdict != failed {
		r.Verdict, r.Why = failed, fmt.Sprintf(format, args...)
	}
}

// skip leaves the part out, if it has not failed.
func (r *result) skip(format string, args ...any) {
	if r.Verdict == passed {
		r.Verdict, r.Why = leftOut, fmt.Sprintf(format, args...)
	}
}

// part runs one part within its limit and what is left of the whole.
func (v *visit) part(ctx context.Context, p part) result {
	r := result{Part: p.name, Verdict: passed}
	begin := time.Now()
	if left, known := ctx.Deadline(); ctx.Err() != nil || known && time.Until(left) < p.least {
		r.skip("no time is left for it")
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, p.most)
	defer cancel()
	p.run(ctx, v, &r)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.fail("stopped at its limit of %v", p.most)
	} else if ctx.Err() != nil {
		r.fail("interrupted")
	}
	r.Seconds = float64(time.Since(begin).Round(100*time.Millisecond)) / 1e9
	return r
}

// outputMost is how much of a command's output is kept in memory: its end.
const outputMost = 1 << 20

// command runs a command, its output into the log as it comes, and returns the
// end of it. Where the time is over, the command and all that it started is killed.
func (v *visit) command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	fmt.Fprintf(v.log, "\n==== %s %s\n", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var out tail
	w := io.MultiWriter(v.log, &out)
	cmd.Stdout, cmd.Stderr = w, w
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return out.String(), err
}

// A tail keeps the end of what is written to it.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.b.Len() > 2*outputMost {
		t.b.Next(t.b.Len() - outputMost)
	}
	return t.b.Write(p)
}

func (t *tail) String() string { return t.b.String() }

// potstill runs the command; JSON is in the output's last lines.
func (v *visit) potstill(ctx context.Context, args ...string) (string, error) {
	return v.command(ctx, nil, filepath.Join(v.bin, "potstill"), args...)
}
