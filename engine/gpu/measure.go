package gpu

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

const (
	// runsOfEach is how often a candidate is timed; the median counts.
	runsOfEach = 7
	// hopeless is how many times slower than the best a candidate's first run is
	// that is not timed again.
	hopeless = 3
	// ahead is how long the device is kept busy before a run that is timed: longer
	// than the host takes to enqueue several launches, a library's among them, so
	// that the device never waits for the host in between. mostFills bounds it.
	ahead     = 200 * time.Microsecond
	mostFills = 64
)

// A bench is scratch memory on which implementations of an op are run.
type bench struct {
	b        *Backend
	mem      []cuda.Ptr
	in, out  []cuda.Ptr
	ws       cuda.Ptr
	wsBytes  int
	flush    cuda.Ptr // larger than the cache
	flushed  int
	clean    func() error // reads as much other memory
	fills    int          // of flush, that take as long as ahead
	from, to *cuda.Event
}

// newBench allocates op's tensors, zeroed.
func (b *Backend) newBench(op engine.Op, in, out []engine.Spec) (*bench, error) {
	t := &bench{b: b}
	err := t.open(op, in, out)
	if err != nil {
		return nil, errors.Join(b.wrap(err), t.close())
	}
	return t, nil
}

func (t *bench) open(op engine.Op, in, out []engine.Spec) error {
	for _, s := range in {
		p, err := t.alloc(s.Bytes())
		if err != nil {
			return err
		}
		t.in = append(t.in, p)
	}
	u, _ := op.(engine.Updater)
	for i, s := range out {
		if u != nil && u.Alias(i) >= 0 {
			t.out = append(t.out, t.in[u.Alias(i)])
			continue
		}
		p, err := t.alloc(s.Bytes())
		if err != nil {
			return err
		}
		t.out = append(t.out, p)
	}
	return nil
}

// alloc returns zeroed memory.
func (t *bench) alloc(bytes int) (cuda.Ptr, error) {
	p, err := t.b.ctx.Alloc(max(bytes, 1))
	if err != nil {
		return 0, err
	}
	t.mem = append(t.mem, p)
	return p, t.b.stream.Fill(p, 0, max(bytes, 1))
}

// noiseArgs are the arguments of noise.cu, field for field.
type noiseArgs struct {
	y    cuda.Ptr
	n    int64
	seed uint32
}

// noise fills the inputs that hold numbers with fractions with random ones, the
// same at every time.
func (t *bench) noise(in []engine.Spec) error {
	for i, s := range in {
		name := "noise"
		switch s.DType {
		case engine.Float32:
		case engine.BFloat16:
			name = "noise_bf16"
		default:
			continue
		}
		f, err := t.b.function("noise", name)
		if err != nil {
			return err
		}
		n := s.Len()
		grid := [3]int{t.b.resident(n, elementThreads, elementBlocks), 1, 1}
		args := &noiseArgs{y: t.in[i], n: int64(n), seed: uint32(i) * 0x9e3779b9}
		if err := launch(t.b, f, grid, [3]int{elementThreads, 1, 1}, 0, args); err != nil {
			return err
		}
	}
	return nil
}

// close frees the memory. Of a device that is lost nothing is to be freed.
func (t *bench) close() error {
	if t.b.lost != nil {
		return nil
	}
	errs := []error{t.b.stream.Sync()}
	for _, p := range append(t.mem, t.ws) {
		errs = append(errs, t.b.ctx.Free(p))
	}
	for _, e := range []*cuda.Event{t.from, t.to} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	return t.b.wrap(errors.Join(errs...))
}

// room makes sure that there is scratch memory for a candidate.
func (t *bench) room(c candidate) error {
	if c.low.ws <= t.wsBytes {
		return nil
	}
	old := t.ws
	t.ws, t.wsBytes = 0, 0
	if err := t.b.ctx.Free(old); err != nil {
		return err
	}
	p, err := t.b.ctx.Alloc(c.low.ws)
	if err == nil {
		t.ws, t.wsBytes = p, c.low.ws
	}
	return err
}

// run runs a candidate and waits.
func (t *bench) run(c candidate) error {
	if err := t.room(c); err != nil {
		return err
	}
	if err := c.low.enqueue(t.in, t.out, t.ws); err != nil {
		return err
	}
	return t.b.stream.Sync()
}

// time returns how long the device took for one run. Before it, memory larger
// than the second level cache is overwritten, as other steps of a plan would,
// and other memory read, so that the run does not pay for writing back what the
// cache holds; the device is still at it when the run is enqueued, so that the
// time is the device's and not that of enqueueing.
func (t *bench) time(c candidate) (time.Duration, error) {
	s := t.b.stream
	if err := t.room(c); err != nil {
		return 0, err
	}
	if err := t.occupy(); err != nil {
		return 0, err
	}
	err := s.Record(t.from)
	if err == nil {
		err = c.low.enqueue(t.in, t.out, t.ws)
	}
	if err := errors.Join(err, s.Record(t.to), t.to.Sync()); err != nil {
		return 0, err
	}
	t.b.timed = time.Now()
	return t.to.Since(t.from)
}

// occupy enqueues work for as long as ahead.
func (t *bench) occupy() error {
	for range t.fills {
		if err := t.b.stream.Fill(t.flush, 0, t.flushed); err != nil {
			return err
		}
	}
	return t.clean()
}

// warm runs a candidate once if its first run does what a recording cannot.
func (b *Backend) warm(op engine.Op, in, out []engine.Spec, c candidate) error {
	if !c.library {
		return nil
	}
	t, err := b.newBench(op, in, out)
	if err != nil {
		return err
	}
	return errors.Join(b.blame(c, t.run(c)), t.close())
}

// blame is wrap for the error of a candidate's run. If that took the device with
// it, what every call returns from now on says which it was, and what to do: a
// library's fault must not keep anybody from working.
func (b *Backend) blame(c candidate, err error) error {
	if err = b.wrap(err); err == nil || b.lost == nil {
		return err
	}
	advice := ""
	if c.library {
		advice = "; --own-kernels (Options.NoLibraries) does without cuDNN and cuBLASLt"
	}
	b.lost = fmt.Errorf("%w, when %s was tried%s", b.lost, c.name, advice)
	return b.lost
}

// measure times every candidate, on numbers that are not zero (see noise.cu);
// integers are. One that fails is left out, with the reason,
// unless it took the device with it.
func (b *Backend) measure(op engine.Op, in, out []engine.Spec, cs []candidate) ([]Timing, error) {
	t, err := b.newBench(op, in, out)
	if err != nil {
		return nil, err
	}
	var timings []Timing
	if err = t.noise(in); err == nil {
		timings, err = t.all(cs)
	}
	return timings, errors.Join(b.wrap(err), t.close())
}

func (t *bench) all(cs []candidate) ([]Timing, error) {
	if err := t.start(); err != nil {
		return nil, err
	}
	timings := make([]Timing, len(cs))
	times := make([][]time.Duration, len(cs))
	failed := func(i int, err error) error {
		if err = t.b.blame(cs[i], err); t.b.lost != nil {
			return err
		}
		timings[i].Failed = err.Error()
		return nil
	}
	for i, c := range cs {
		timings[i] = Timing{Name: c.name, Workspace: c.low.ws, Deterministic: c.deterministic}
		if err := t.run(c); err != nil {
			if err = failed(i, err); err != nil {
				return nil, err
			}
		}
	}
	if err := t.wake(); err != nil {
		return nil, err
	}
	// By turns, so that a clock that rises or falls meanwhile meets all alike.
	best := time.Duration(1<<63 - 1)
	for round := range runsOfEach {
		for i, c := range cs {
			if timings[i].Failed != "" || round > 0 && times[i][0]/hopeless > best {
				continue
			}
			d, err := t.time(c)
			if err != nil {
				if err = failed(i, err); err != nil {
					return nil, err
				}
				continue
			}
			times[i] = append(times[i], d)
		}
		for _, ds := range times {
			if round == 0 && len(ds) > 0 {
				best = min(best, ds[0])
			}
		}
	}
	for i, ds := range times {
		if timings[i].Failed == "" {
			slices.Sort(ds)
			timings[i].Time = ds[len(ds)/2]
		}
	}
	return timings, nil
}

const (
	// awake is how long an idle card is kept at work before candidates are timed,
	// so that its clock is up.
	awake = 20 * time.Millisecond
	// asleep is after how long without one that was timed a card counts as idle:
	// what is compiled meanwhile takes longer, and the clock falls.
	asleep = 100 * time.Millisecond
)

// start makes what times are taken with.
func (t *bench) start() (err error) {
	t.flushed = max(2*t.b.device.L2, 1<<18)
	if t.flush, err = t.alloc(t.flushed); err != nil {
		return err
	}
	if t.clean, err = t.reader(); err != nil {
		return err
	}
	if t.from, err = t.b.ctx.NewEvent(); err != nil {
		return err
	}
	t.to, err = t.b.ctx.NewEvent()
	return err
}

// reader returns what reads memory that is as large as flush and holds zeros: it
// looks for numbers that are not finite, of which there are none.
func (t *bench) reader() (func() error, error) {
	f, err := t.b.function("check", "all_finite")
	if err != nil {
		return nil, err
	}
	p, err := t.alloc(t.flushed)
	if err != nil {
		return nil, err
	}
	n := min(t.flushed/4, maxItems)
	a := &checkArgs{bad: t.flush, count: 1}
	a.x[0], a.n[0] = p, int32(n)
	grid := [3]int{ceilDiv(n, optimizerThreads*checkDepth*vector(engine.F32(1))), 1, 1}
	return func() error { return launch(t.b, f, grid, [3]int{optimizerThreads, 1, 1}, 0, a) }, nil
}

// wake has the card's clock up, after the candidates' first runs, in which
// libraries load code while it idles.
func (t *bench) wake() error {
	if time.Since(t.b.timed) > asleep {
		for from := time.Now(); time.Since(from) < awake; {
			if err := errors.Join(t.b.stream.Fill(t.flush, 0, t.flushed), t.b.stream.Sync()); err != nil {
				return err
			}
		}
	}
	return t.pace()
}

// pace finds out how many fills take as long as ahead.
func (t *bench) pace() error {
	s := t.b.stream
	err := errors.Join(s.Record(t.from), s.Fill(t.flush, 0, t.flushed), s.Record(t.to), t.to.Sync())
	if err != nil {
		return err
	}
	one, err := t.to.Since(t.from)
	t.fills = mostFills
	if one > ahead/mostFills {
		t.fills = max(int((ahead+one-1)/one), 1)
	}
	return err
}
