package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is the command under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "potstill-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "potstill.exe") // the suffix does no harm where it is not needed
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	for name, value := range map[string]string{"POTSTILL_CACHE": filepath.Join(dir, "cache"), "POTSTILL_DEVICE": "cpu"} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// A result is what a run of the command came to.
type result struct {
	out, err string
	code     int
}

// command returns the command, to be killed if it takes far too long.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// potstill runs the command.
func potstill(t *testing.T, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// succeeds runs the command, which must succeed, and returns its result.
func succeeds(t *testing.T, args ...string) result {
	t.Helper()
	r := potstill(t, args...)
	if r.code != 0 {
		t.Fatalf("potstill %s: exit status %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r
}

// fails runs the command, which must fail with status 1 and say why in one line
// of standard error that holds all of want.
func fails(t *testing.T, want []string, args ...string) {
	t.Helper()
	r := potstill(t, args...)
	if r.code != 1 {
		t.Errorf("potstill %s: exit status %d, want 1\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	line, rest, _ := strings.Cut(r.err, "\n")
	if rest != "" || !strings.HasPrefix(line, "potstill: ") {
		t.Errorf("potstill %s: want exactly one line on standard error, got:\n%s", strings.Join(args, " "), r.err)
	}
	for _, w := range want {
		if !strings.Contains(line, w) {
			t.Errorf("potstill %s: %q lacks %q", strings.Join(args, " "), line, w)
		}
	}
	if testing.Verbose() {
		t.Log(line)
	}
}

// decode parses the one JSON value that text must consist of.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not one JSON object: %v\n%s", err, text)
	}
	return v
}

// has checks that v has the keys.
func has(t *testing.T, v any, keys ...string) {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%v is no JSON object", v)
	}
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			t.Errorf("field %q is missing in %v", k, m)
		}
	}
}

// tiny are the flags of a run that takes a moment.
var tiny = []string{"--data", "builtin:fashion", "--base", "4", "--limit", "60", "--epochs", "1", "--batch", "20", "--threads", "2"}

// small is a subcommand with the flags of tiny and more.
func small(cmd string, more ...string) []string { return append(with([]string{cmd}, tiny...), more...) }

// fromFile is small from the weights of a model's file.
func fromFile(cmd, path string, more ...string) []string {
	return with([]string{cmd, "--data", "builtin:fashion", "--limit", "60", "--epochs", "1", "--batch", "20", "--threads", "2", "--init", path}, more...)
}

// with appends to a copy of args.
func with(args []string, more ...string) []string {
	return append(append([]string{}, args...), more...)
}

// model returns the file of a model of the ten built-in classes, trained once.
var model = func() func(t *testing.T) string {
	var once sync.Once
	var path string
	return func(t *testing.T) string {
		t.Helper()
		once.Do(func() {
			out := filepath.Join(filepath.Dir(binary), "model")
			succeeds(t, small("train", "--out", out)...)
			path = filepath.Join(out, "best.safetensors")
		})
		if path == "" {
			t.Fatal("the model could not be trained")
		}
		return path
	}
}()

// pictureFolder writes a dataset of the classes, a folder each, with n training
// and two validation JPEGs of 24×24 pixels.
func pictureFolder(t *testing.T, n int, classes ...string) string {
	t.Helper()
	dir := t.TempDir()
	for k, class := range classes {
		for i := range n {
			writeJPEG(t, filepath.Join(dir, "training", class, fmt.Sprintf("%d.jpg", i)), uint8(40*k+4*i))
		}
		for i := range 2 { // none of training's
			writeJPEG(t, filepath.Join(dir, "validation", class, fmt.Sprintf("%d.jpg", i)), uint8(40*k+4*i+2))
		}
	}
	return dir
}

func writeJPEG(t *testing.T, path string, shade uint8) {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 24, 24))
	for y := range 24 {
		for x := range 24 {
			img.Set(x, y, color.RGBA{shade, uint8(10 * x), uint8(10 * y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.Bytes())
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lastLine is the last line of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
