package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A console is standard error: lines of text, and on a terminal at most one
// progress bar below them. It may be used from several goroutines.
type console struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	text string    // of the task under way
	last time.Time // when its last line was written
}

// every is the time between two lines of progress where there is no terminal.
const every = 5 * time.Second

func newConsole(f *os.File) *console {
	return &console{w: f, terminal: term.IsTerminal(int(f.Fd()))}
}

// line writes a line above the progress bar.
func (c *console) line(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		_ = c.bar.Clear() // what goes wrong on a terminal cannot be told on it
	}
	fmt.Fprintln(c.w, plain(s))
	if c.bar != nil {
		_ = c.bar.RenderBlank()
	}
}

// begin starts a task of so many parts; 0 if their number is not known.
func (c *console) begin(text string, total int) {
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	text = plain(text)
	c.text, c.last = text, time.Now()
	if !c.terminal {
		return
	}
	if total <= 0 {
		total = -1
	}
	c.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(c.w), progressbar.OptionSetDescription(text),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(24),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
}

// advance says that done parts of total are done, with a note on how it goes.
func (c *console) advance(done, total int, note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.text
	if note != "" {
		text += "  " + note
	}
	switch {
	case c.bar != nil:
		c.bar.Describe(text)
		_ = c.bar.Set(done)
	case !c.terminal && time.Since(c.last) >= every:
		c.last = time.Now()
		fmt.Fprintf(c.w, "%s  %d/%d\n", text, done, total)
	}
}

// end removes the progress bar.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		_ = c.bar.Clear()
		c.bar = nil
	}
}

// A handler writes log records to the console: "warning: message: key value, …".
type handler struct {
	console *console
	attrs   []slog.Attr
	level   slog.Level
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if r.Level >= slog.LevelWarn {
		b.WriteString(strings.ToLower(strings.Replace(r.Level.String(), "WARN", "WARNING", 1)) + ": ")
	}
	b.WriteString(r.Message)
	sep := ": "
	add := func(a slog.Attr) bool {
		fmt.Fprintf(&b, "%s%s %v", sep, a.Key, a.Value)
		sep = ", "
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	h.console.line(oneLine(b.String()))
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	return &n
}

func (h *handler) WithGroup(string) slog.Handler { return h }
