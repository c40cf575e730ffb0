package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// A console is standard error: lines of text, and on a terminal at most one line
// of progress below them, which is never wider than the terminal. It may be used
// from several goroutines.
type console struct {
	w        io.Writer
	silent   io.Writer // what w is when it is to speak again; nil: it speaks
	terminal bool
	columns  func() int       // of the terminal
	now      func() time.Time // time.Now, but for tests

	mu    sync.Mutex
	tasks []*task   // under way
	shown int       // columns of the progress line that is on the terminal
	last  time.Time // when it was last written
}

// Without a terminal, progress is lines of a log: a task's first after firstPause,
// each pause twice the one before, up to longestPause.
const (
	firstPause   = 10 * time.Second
	longestPause = 5 * time.Minute
	redraw       = 100 * time.Millisecond // on a terminal
)

func newConsole(f *os.File) *console {
	fd := int(f.Fd())
	c := &console{w: f, terminal: term.IsTerminal(fd), now: time.Now}
	c.columns = func() int {
		if w, _, err := term.GetSize(fd); err == nil && w > 0 {
			return w
		}
		return 80
	}
	return c
}

// hush has nothing written until speak.
func (c *console) hush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent == nil {
		c.w, c.silent = io.Discard, c.w
	}
}

// speak ends hush.
func (c *console) speak() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil {
		c.w, c.silent = c.silent, nil
	}
}

// line writes a line above the progress.
func (c *console) line(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	fmt.Fprintln(c.w, plain(s))
	c.draw()
}

// begin starts a task of so many parts, in place of what was under way; 0 if their
// number is not known.
func (c *console) begin(text string, total int) {
	c.end()
	c.start(text, total)
}

// start starts a task beside those under way.
func (c *console) start(text string, total int) *task {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	t := &task{text: plain(text), total: total, begun: now, told: now, pause: firstPause}
	c.tasks = append(c.tasks, t)
	c.last = now
	c.draw()
	return t
}

// describe changes the text of the task under way.
func (c *console) describe(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tasks) > 0 {
		c.tasks[0].text = plain(text)
	}
}

// advance says that done parts of total are done of the task under way, with a
// note on how it goes.
func (c *console) advance(done, total int, note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tasks) > 0 {
		c.update(c.tasks[0], done, total, note)
	}
}

// advanceTask is advance of one of several tasks.
func (c *console) advanceTask(t *task, done int, note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.update(t, done, t.total, note)
}

func (c *console) update(t *task, done, total int, note string) {
	now := c.now()
	t.advance(now, done, total, plain(note))
	switch {
	case c.terminal && now.Sub(c.last) >= redraw:
		c.draw()
		c.last = now
	case !c.terminal && now.Sub(t.told) >= t.pause:
		fmt.Fprintln(c.w, t.report(now))
		t.told, t.pause = now, min(2*t.pause, longestPause)
	}
}

// finish removes a task, and writes a line above the progress of the others.
func (c *console) finish(t *task, s string) {
	c.mu.Lock()
	c.tasks = slices.DeleteFunc(c.tasks, func(o *task) bool { return o == t })
	c.mu.Unlock()
	c.line(s)
}

// end removes the progress.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clear()
	c.tasks = nil
}

// draw writes the progress line over the one that is there. The last column stays
// free, for terminals that go to the next line behind it.
func (c *console) draw() {
	if !c.terminal || len(c.tasks) == 0 {
		return
	}
	line := together(c.tasks, c.now(), max(c.columns()-1, 1))
	width := uniseg.StringWidth(line)
	fmt.Fprint(c.w, "\r", line, strings.Repeat(" ", max(c.shown-width, 0)))
	c.shown = width
}

// clear removes the progress line.
func (c *console) clear() {
	if c.shown > 0 {
		fmt.Fprint(c.w, "\r", strings.Repeat(" ", min(c.shown, max(c.columns()-1, 1))), "\r")
		c.shown = 0
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
