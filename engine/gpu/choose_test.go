package gpu

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// A stage has candidates that count their runs.
type stage struct {
	b    *Backend
	log  bytes.Buffer
	runs map[string]int
}

func newStage(t *testing.T, dir string, o Options) *stage {
	t.Helper()
	s := &stage{runs: make(map[string]int)}
	o.Logger = slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.b = openBackend(t, o)
	s.b.memory = openMemory(dir, s.b.identity(), s.b.log)
	return s
}

// candidate is one that takes about so long on the host, and so on the fake
// device, or fails.
func (s *stage) candidate(name string, deterministic bool, d time.Duration, err error) candidate {
	return candidate{name: name, deterministic: deterministic, low: lowering{ws: 64, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		s.runs[name]++
		if err != nil {
			return err
		}
		time.Sleep(d)
		return s.b.stream.Fill(out[0], 1, 16)
	}}}
}

func (s *stage) standard() []candidate {
	return []candidate{
		s.candidate("slow", true, 8*time.Millisecond, nil),
		s.candidate("quick", true, 2*time.Millisecond, nil),
		s.candidate("dice", false, 0, nil),
		s.candidate("broken", true, 0, errors.New("no such shape")),
	}
}

var (
	chooseOp    = engine.Activation{F: engine.ReLU}
	chooseSpecs = []engine.Spec{engine.F32(2, 2)}
)

// choose returns the winner's name.
func (s *stage) choose(t *testing.T, cs []candidate) string {
	t.Helper()
	before := len(s.b.choices)
	low, err := s.b.choose(chooseOp, chooseSpecs, chooseSpecs, cs)
	if err != nil {
		t.Fatal(err)
	}
	if low.enqueue == nil || len(s.b.Choices()) != before+1 {
		t.Fatalf("%d choices were %d", len(s.b.Choices()), before)
	}
	return s.b.Choices()[before].Winner
}

func TestChoiceIsTimedOnce(t *testing.T) {
	dir := t.TempDir()
	s := newStage(t, dir, ours(t))
	if w := s.choose(t, s.standard()); w != "dice" {
		t.Errorf("%q wins: %+v", w, s.b.Choices())
	}
	c := s.b.Choices()[0]
	if c.Op != "Activation" || c.Settings != `{"F":"ReLU"}` || c.In[0] != "2x2" || c.Remembered || len(c.Timings) != 4 || c.Cost() != 0 {
		t.Errorf("the choice is %+v", c)
	}
	last := c.Timings[3]
	if last.Name != "broken" || !strings.Contains(last.Failed, "no such shape") || s.runs["broken"] != 1 {
		t.Errorf("what fails is %+v after %d runs", last, s.runs["broken"])
	}
	if d := c.Timings[2]; d.Name != "slow" || d.Time < 7*time.Millisecond {
		t.Errorf("the slowest is %+v", d)
	}
	if !strings.Contains(s.log.String(), "winner=dice") || !strings.Contains(s.log.String(), "ratio=") {
		t.Errorf("the log does not say what won and by how much: %s", &s.log)
	}
	// Again in the same process, and in the next.
	runs := s.runs["slow"]
	s.choose(t, s.standard())
	next := newStage(t, dir, ours(t))
	w := next.choose(t, next.standard())
	if w != "dice" || !next.b.Choices()[0].Remembered || len(next.runs) != 0 || s.runs["slow"] != runs {
		t.Errorf("%q wins after %v and %d runs, %+v", w, next.runs, s.runs["slow"]-runs, next.b.Choices())
	}
	// With other candidates it is another choice.
	w = next.choose(t, next.standard()[:2])
	if w != "quick" || next.runs["quick"] == 0 {
		t.Errorf("among the first two %q wins after %v", w, next.runs)
	}
}

func TestDeterministicChoice(t *testing.T) {
	o := ours(t)
	o.Deterministic = true
	dir := t.TempDir()
	for range 2 { // timed, and remembered
		s := newStage(t, dir, o)
		if w := s.choose(t, s.standard()); w != "quick" {
			t.Errorf("%q wins", w)
		}
		if c := s.b.Choices()[0]; c.Cost() < time.Millisecond || c.Cost() >= c.Time() {
			t.Errorf("determinism costs %v of %v", c.Cost(), c.Time())
		}
		if !strings.Contains(s.log.String(), "determinism costs time") {
			t.Errorf("the log does not state the cost: %s", &s.log)
		}
	}
}

func TestBrokenMemoryIsWrittenAnew(t *testing.T) {
	for name, text := range map[string]string{
		"cut off": `{"version": 1, "cards": {"x`, "empty": "", "another format": `{"version": 99, "cards": {}}`, "no cards": `{"version": 1}`,
		"other types": `{"version": 1, "cards": {"x": 7}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, memoryName)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			s := newStage(t, dir, ours(t))
			s.choose(t, s.standard())
			var f memoryFile
			got, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(got, &f)
			}
			if err != nil || len(f.Cards[s.b.identity()]) != 1 {
				t.Errorf("the file is %s (%v)", got, err)
			}
			if !strings.Contains(s.log.String(), "cannot be used") {
				t.Errorf("the log does not say so: %s", &s.log)
			}
			if files, _ := os.ReadDir(dir); len(files) != 1 {
				t.Errorf("%d files are left", len(files))
			}
		})
	}
}

// TestNonsenseInMemory shows that times of what is not there, or of nothing,
// are measured again.
func TestNonsenseInMemory(t *testing.T) {
	s := newStage(t, "", ours(t))
	cs := s.standard()
	s.b.memory.put(choiceKey(chooseOp, chooseSpecs, chooseSpecs)+", "+among(cs), []Timing{{Name: "gone"}, {Name: "slow", Failed: "x"}})
	if w := s.choose(t, cs); w != "dice" || s.b.Choices()[0].Remembered {
		t.Errorf("%q wins: %+v", w, s.b.Choices())
	}
}

// TestSharedMemory has several processes' memories write one file at once: what
// is there at the end is whole, and has at least the last writer's times.
func TestSharedMemory(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	var wg sync.WaitGroup
	for _, card := range []string{"a", "b", "c"} {
		wg.Go(func() {
			m := openMemory(dir, card, log)
			for _, key := range []string{"1", "2", "3", "4", "5"} {
				m.put(key, []Timing{{Name: card + key, Time: 1}})
			}
		})
	}
	wg.Wait()
	whole := 0
	for _, card := range []string{"a", "b", "c"} {
		if got := openMemory(dir, card, log).get("5"); len(got) == 1 && got[0].Name == card+"5" {
			whole++
		}
	}
	if whole == 0 {
		t.Error("nobody's times are in the file")
	}
	m := openMemory(dir, "a", log)
	m.put("6", []Timing{{Name: "a6"}})
	openMemory(dir, "d", log).put("1", []Timing{{Name: "d1"}})
	if got := openMemory(dir, "a", log).get("6"); len(got) != 1 {
		t.Error("another card's writer drops what is in the file")
	}
}

func TestMemoryThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, dir, ours(t))
	if w := s.choose(t, s.standard()); w != "dice" || !strings.Contains(s.log.String(), "cannot be kept") {
		t.Errorf("%q wins, the log is %s", w, &s.log)
	}
}

func TestNoCandidateRuns(t *testing.T) {
	s := newStage(t, "", ours(t))
	bad := errors.New("no such shape")
	_, err := s.b.choose(chooseOp, chooseSpecs, chooseSpecs, []candidate{s.candidate("a", true, 0, bad), s.candidate("b", true, 0, bad)})
	if err == nil || !strings.Contains(err.Error(), "no such shape") {
		t.Errorf("with nothing that runs: %v", err)
	}
	if _, err := s.b.choose(chooseOp, chooseSpecs, chooseSpecs, nil); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("without candidates: %v", err)
	}
}

// TestLosersAreReleased shows that what is not chosen is freed at once, the
// winner's with the backend, and what candidates share after the last of them.
func TestLosersAreReleased(t *testing.T) {
	s := newStage(t, "", ours(t))
	released := make(map[string]int)
	cs := s.standard()
	for i := range cs {
		cs[i].release = func() error { released[cs[i].name]++; return nil }
	}
	s.choose(t, cs)
	if released["slow"] != 1 || released["quick"] != 1 || released["broken"] != 1 || released["dice"] != 0 {
		t.Errorf("released are %v", released)
	}
	both := 0
	pair := []candidate{s.candidate("x", true, 0, nil), s.candidate("y", true, time.Millisecond, nil)}
	shared(pair, func() error { both++; return nil })
	s.choose(t, pair)
	if both != 0 {
		t.Error("what the winner needs is released")
	}
	if err := s.b.Close(); err != nil {
		t.Fatal(err)
	}
	if released["dice"] != 1 || both != 1 {
		t.Errorf("after Close %v and %d are released", released, both)
	}
}

// TestChooseWithLittleMemory shows that the first candidate is taken where there
// is no room to time.
func TestChooseWithLittleMemory(t *testing.T) {
	s := newStage(t, "", ours(t))
	huge := []engine.Spec{engine.F32(1<<26 + 1)}
	if _, err := s.b.choose(chooseOp, huge, huge, s.standard()); err != nil {
		t.Fatal(err)
	}
	c := s.b.Choices()[0]
	if c.Winner != "slow" || len(s.runs) != 0 || !strings.Contains(s.log.String(), "too little memory") {
		t.Errorf("%+v after %v; %s", c, s.runs, &s.log)
	}
	// A candidate that needs too much of it is left out.
	cs := s.standard()
	cs[2].low.ws = 1 << 29
	if w := s.choose(t, cs); w != "quick" {
		t.Errorf("%q wins", w)
	}
}

// TestTimedOnNoise shows that what is timed works on numbers that look like
// data, not on zeros, and different ones in each input.
func TestTimedOnNoise(t *testing.T) {
	s := newStage(t, "", ours(t))
	const n = 20001
	in := []engine.Spec{engine.F32(n), half(n), engine.F32(n), {Shape: []int{n}, DType: engine.Uint32}}
	var seen [4][]float32
	look := candidate{name: "look", low: lowering{enqueue: func(in, _ []cuda.Ptr, _ cuda.Ptr) error {
		for i := range seen {
			raw := make([]byte, 4*n)
			seen[i] = make([]float32, n)
			if i == 1 {
				raw = raw[:2*n]
			}
			if err := s.b.stream.Read(raw, in[i]); err != nil {
				return err
			}
			for k := range n {
				if i == 1 {
					seen[i][k] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*k:])) << 16)
				} else {
					seen[i][k] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
				}
			}
		}
		return nil
	}}}
	if _, err := s.b.choose(chooseOp, in, chooseSpecs, []candidate{look, s.candidate("x", true, 0, nil)}); err != nil {
		t.Fatal(err)
	}
	for i, xs := range seen {
		sum, squares, product := 0.0, 0.0, 0.0
		for k, x := range xs {
			if !(x >= -1 && x <= 1) {
				t.Fatalf("input %d[%d] is %v", i, k, x)
			}
			sum += float64(x)
			squares += float64(x) * float64(x)
			product += float64(x) * float64(seen[(i+1)%3][k])
		}
		mean, variance, with := sum/n, squares/n, product/n
		if i == 3 {
			if squares != 0 {
				t.Error("integers are not zero")
			}
		} else if math.Abs(mean) > 0.02 || math.Abs(variance-1./3) > 0.01 || math.Abs(with) > 0.01 {
			t.Errorf("input %d has mean %v, variance %v and with the next one %v", i, mean, variance, with)
		}
	}
}

// TestFaultOfACandidate: the error of an implementation that took the device
// with it says which, in one line, and how to do without if it is a library's;
// so does every call after it.
func TestFaultOfACandidate(t *testing.T) {
	for _, c := range []struct {
		name                string
		library, remembered bool
	}{{"library", true, false}, {"ours", false, false}, {"remembered", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, "", ours(t))
			bad := candidate{name: "cudnn BROKEN", library: c.library, deterministic: true, release: func() error { return s.b.ctx.Free(1) },
				low: lowering{enqueue: func(_, _ []cuda.Ptr, _ cuda.Ptr) error {
					fake.Fail(t, "cuStreamSynchronize", fake.IllegalAddress, 0)
					return nil
				}}}
			cs := []candidate{s.candidate("fine", true, 0, nil), bad}
			if c.remembered {
				s.b.memory.put(choiceKey(chooseOp, chooseSpecs, chooseSpecs)+", "+among(cs), []Timing{{Name: bad.name, Time: 1}})
			}
			_, err := s.b.choose(chooseOp, chooseSpecs, chooseSpecs, cs)
			if !errors.Is(err, ErrLost) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "CUDA_ERROR_ILLEGAL_ADDRESS") ||
				!strings.Contains(err.Error(), ", when cudnn BROKEN was tried") {
				t.Fatalf("the error is %v", err)
			}
			if advised := strings.Contains(err.Error(), "--own-kernels (Options.NoLibraries)"); advised != c.library {
				t.Errorf("the error advises %v: %v", advised, err)
			}
			if again := s.b.Sync(); again == nil || again.Error() != err.Error() {
				t.Errorf("the next call gives %v, not %v", again, err)
			}
			if s.runs["fine"] > 1 {
				t.Errorf("after the fault others were run: %v", s.runs)
			}
		})
	}
}

// TestWokenAgain: a card that has timed nothing for a while is kept at work first.
func TestWokenAgain(t *testing.T) {
	s := newStage(t, "", ours(t))
	start := func() (fills int, d time.Duration) {
		b, err := s.b.newBench(chooseOp, chooseSpecs, chooseSpecs)
		if err != nil {
			t.Fatal(err)
		}
		before, from := fake.Calls(t, "cuMemsetD8Async"), time.Now()
		err = errors.Join(b.start(), b.wake())
		fills, d = fake.Calls(t, "cuMemsetD8Async")-before, time.Since(from)
		if err := errors.Join(err, b.close()); err != nil {
			t.Fatal(err)
		}
		return fills, d
	}
	for _, ago := range []time.Duration{time.Hour, 2 * asleep} {
		s.b.timed = time.Now().Add(-ago)
		if fills, d := start(); d < awake || fills < 4 {
			t.Errorf("%v after the last one, %d fills in %v come before what is timed", ago, fills, d)
		}
	}
	s.b.timed = time.Now().Add(time.Hour) // however slow this machine is
	if fills, _ := start(); fills != 3 {  // of both memories when they are allocated, and the one that is timed
		t.Errorf("at once after the last one there are %d fills", fills)
	}
	s.b.timed = time.Time{}
	s.choose(t, s.standard())
	if d := time.Since(s.b.timed); d > time.Minute {
		t.Errorf("the last one was timed %v ago", d)
	}
}
