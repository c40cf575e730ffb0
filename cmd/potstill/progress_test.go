package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/potstill/potstill/engine"
)

// A clock stands until it is moved.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func testConsole(terminal bool, columns int) (*console, *bytes.Buffer, *clock) {
	var b bytes.Buffer
	at := &clock{time.Unix(1e9, 0)}
	return &console{w: &b, terminal: terminal, columns: func() int { return columns }, now: at.now}, &b, at
}

// Without a terminal, progress is lines, ever rarer, with the time that is left
// of the whole task.
func TestConsole(t *testing.T) {
	c, b, at := testConsole(false, 0)
	log := slog.New(&handler{console: c})
	log.Debug("not shown")
	log.With("dataset", "x").Warn("picture skipped", "file", "a.jpg", "error", errors.New("two\nlines"))
	c.begin("training", 1000)
	for i := range 1000 {
		c.describe(fmt.Sprintf("epoch %d/10", i/100+1))
		c.advance(i+1, 1000, "loss 0.5")
		at.t = at.t.Add(time.Second)
	}
	c.end()
	want := "warning: picture skipped: dataset x, file a.jpg, error two; lines\n" +
		"epoch 1/10: 11 of 1000 (1 %), 16 min 29 s left, loss 0.5\n" +
		"epoch 1/10: 31 of 1000 (3 %), 16 min 9 s left, loss 0.5\n" +
		"epoch 1/10: 71 of 1000 (7 %), 15 min 29 s left, loss 0.5\n" +
		"epoch 2/10: 151 of 1000 (15 %), 14 min 9 s left, loss 0.5\n" +
		"epoch 4/10: 311 of 1000 (31 %), 11 min 29 s left, loss 0.5\n" +
		"epoch 7/10: 611 of 1000 (61 %), 6 min 29 s left, loss 0.5\n" +
		"epoch 10/10: 911 of 1000 (91 %), 1 min 29 s left, loss 0.5\n"
	if b.String() != want {
		t.Errorf("the console shows\n%swant\n%s", b.String(), want)
	}
}

// Of several tasks under way at the same time, a log has lines of each, and a
// terminal has one line that is never too wide.
func TestConsoleWithSeveralTasks(t *testing.T) {
	c, b, at := testConsole(false, 0)
	p := &studyProgress{console: c}
	p.Begin("student", 2, 9, 100)
	p.Begin("plain", 3, 9, 50)
	for i := range 25 {
		at.t = at.t.Add(time.Second)
		p.Advance("student", i+1, "loss 0.5")
		p.Advance("plain", i+1, "loss 0.7")
		if i == 14 {
			p.End("plain", "81.00 %", false)
		}
	}
	p.End("student", "82.00 %", true)
	want := "[2/9] student: 10 of 100 (10 %), 1 min 30 s left, loss 0.5\n" +
		"[3/9] plain: 10 of 50 (20 %), 40 s left, loss 0.7\n" +
		"[3/9] plain: 81.00 %\n" +
		"[2/9] student: 82.00 % (done before)\n"
	if b.String() != want {
		t.Errorf("the console shows\n%swant\n%s", b.String(), want)
	}

	for columns, want := range map[int]string{
		200: "[1/4] first 25%, 30 s left | [2/4] the 日本 50%, 10 s left | [3/4] third 0%",
		66:  "[1/4] first 25% | [2/4] the 日本 50% | [3/4] third 0%",
		50:  "[1/4] first 25% | [2/4] the 日本 50% | 1 more",
		30:  "[1/4] first 25% | 2 more",
		12:  "[1/4] firs…",
	} {
		c, b, at := testConsole(true, columns)
		p := &studyProgress{console: c}
		p.Begin("first", 1, 4, 40)
		p.Begin("the 日本", 2, 4, 20)
		p.Begin("third", 3, 4, 10)
		p.Advance("first", 0, "")
		p.Advance("the 日本", 0, "")
		at.t = at.t.Add(10 * time.Second)
		p.Advance("first", 10, "a note")
		p.Advance("the 日本", 10, "")
		at.t = at.t.Add(redraw)
		p.Advance("third", 0, "")
		lines := strings.Split(b.String(), "\r")
		if got := strings.TrimRight(lines[len(lines)-1], " "); got != want {
			t.Errorf("%d columns: %q, want %q", columns, got, want)
		}
		p.End("first", "done", false)
		if got := b.String(); !strings.Contains(got, "\r[1/4] first: done\n") || !strings.Contains(got[strings.LastIndex(got, "\n"):], "[2/4] the") && columns > 20 {
			t.Errorf("%d columns: after the end of a task: %q", columns, got)
		}
	}
}

// On a terminal of any width progress is one line, which lines above it do not
// disturb.
func TestConsoleOnTerminal(t *testing.T) {
	for _, columns := range []int{1, 2, 10, 20, 45, 80, 100, 200} {
		c, b, at := testConsole(true, columns)
		c.begin("training", 3000)
		for i := range 40 {
			c.describe("a model of that name: epoch 1/30 日本語")
			c.advance(1000+i, 3000, "loss 0.5123, 12345 images/s")
			at.t = at.t.Add(time.Second)
			if i == 20 {
				c.line("a line that stays")
			}
		}
		screen := b.String()
		c.end()
		lines := strings.Split(screen, "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[0], "\ra line that stays") {
			t.Fatalf("%d columns: %q", columns, screen)
		}
		for _, text := range append(strings.Split(lines[0], "\r"), strings.Split(lines[1], "\r")...) {
			if w := uniseg.StringWidth(text); w > columns-1 && w > 1 && text != "a line that stays" {
				t.Errorf("%d columns: %q has %d", columns, text, w)
			}
		}
		last := screen[strings.LastIndex(screen, "\r")+1:]
		for _, want := range []struct {
			from int
			text string
		}{{20, "34%"}, {45, "32 min 41 s left"}, {100, "loss 0.5123"}, {200, "34% |████████ "}} {
			if columns >= want.from && !strings.Contains(last, want.text) {
				t.Errorf("%d columns: %q lacks %q", columns, last, want.text)
			}
		}
		if rest := b.String()[len(screen):]; strings.Trim(rest, " \r") != "" || !strings.HasSuffix(rest, "\r") {
			t.Errorf("%d columns: at the end %q is left", columns, rest)
		}
	}
}

func TestSpoken(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1499 * time.Millisecond: "1 s", 61 * time.Second: "1 min 1 s", 3*time.Hour + 59*time.Minute: "3 h 59 min", 75 * time.Hour: "3 days 3 h",
	} {
		if got := spoken(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// That the CPU computes is said once, and where a card was to be expected.
func TestSayCPU(t *testing.T) {
	c, b, _ := testConsole(false, 0)
	a := &app{log: slog.New(&handler{console: c})}
	t.Setenv("POTSTILL_CUDA_PATH", "")
	if !cardPresent("/") {
		if (deviceFlags{}).sayCPU(a, engine.ErrNoDevice); b.Len() > 0 {
			t.Errorf("without any sign of a card: %q", b)
		}
	}
	t.Setenv("POTSTILL_CUDA_PATH", "/somewhere")
	for range 2 {
		deviceFlags{}.sayCPU(a, fmt.Errorf("%w: cuda: no libcuda", engine.ErrNoDevice))
	}
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "computing on the CPU: no libcuda") {
		t.Errorf("said %q", got)
	}
	r := succeeds(t, "explain", "cnn-dwpw", "--base", "4", "--input", "3x28x28", "--device", "cpu")
	if r.err != "" {
		t.Errorf("with --device cpu: %q", r.err)
	}

	root := t.TempDir()
	card := filepath.Join(root, "sys/bus/pci/devices/0000:01:00.0")
	for _, s := range []struct {
		vendor, class string
		want          bool
	}{{"0x10de", "0x030200", true}, {"0x10de", "0x040300", false}, {"0x8086", "0x030000", false}} { // a card; its sound; another's card
		write(t, filepath.Join(card, "vendor"), []byte(s.vendor+"\n"))
		write(t, filepath.Join(card, "class"), []byte(s.class+"\n"))
		if got := cardPresent(root); got != s.want {
			t.Errorf("vendor %s, class %s: %t", s.vendor, s.class, got)
		}
	}
	if err := os.RemoveAll(root); err != nil || cardPresent(root) {
		t.Error("a card in an empty system")
	}
}
