package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/gpu"
)

// openFake returns a backend over the stand-ins of CUDA's libraries.
func openFake(t testing.TB) *gpu.Backend {
	t.Helper()
	dir := fake.Dir(t)
	b, err := gpu.New(gpu.Options{Search: []string{dir}, CacheDir: filepath.Join(dir, "cache"), NoLibraries: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// onGPU runs the rest of a test on one backend over the stand-ins, whose work is
// done when somebody waits for it.
func onGPU(t *testing.T) {
	t.Helper()
	t.Setenv("FAKE_QUEUE", "lazy")
	b := openFake(t)
	old := backend
	t.Cleanup(func() { backend = old })
	backend = func(testing.TB) engine.Backend { return b }
}

// A run on the GPU has the CPU's losses, and the same bits at every run, whole
// or stopped and resumed.
func TestResumeIsExactOnGPU(t *testing.T) {
	ds := noisyData(t)
	for _, name := range []string{"adamw", "nesterov", "all"} {
		t.Run(name, func(t *testing.T) {
			c := base()
			resumeConfigs[name](&c)
			onCPU(t, 2)
			want := new(recorder).steps(t, ds, c)
			onGPU(t)
			var whole recorder
			var got []float64
			h := Hooks{Save: whole.save, Step: func(i StepInfo) { got = append(got, i.Loss) }}
			if _, err := start(t, ds, c, 1, h).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if len(got) != len(want) || math.Abs(got[i]-want[i]) > 1e-4*(1+math.Abs(want[i])) {
					t.Fatalf("losses on the GPU %v, on the CPU %v", got, want)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var stopped, rest recorder
			h = Hooks{Save: stopped.save, Step: func(i StepInfo) {
				if i.Update == len(want)/2 {
					cancel()
				}
			}}
			if _, err := start(t, ds, c, 1, h).Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			tr := start(t, ds, c, 99, Hooks{Save: rest.save})
			if err := tr.Resume(stopped.final()); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			same(t, "resumed on the GPU", rest.final(), whole.final())
		})
	}
}

// A step on the GPU, its launch and its account, allocates nothing.
func TestAStepAllocatesNothingOnGPU(t *testing.T) {
	onGPU(t)
	c := base()
	c.Epochs, c.Batch, c.Workers, c.ClipNorm = 1, 1, 1, 1
	tr := start(t, noisyData(t), c, 1, Hooks{Step: func(StepInfo) {}})
	ctx := context.Background()
	batches := tr.source.loader.Epoch(ctx, 0, 0)
	defer batches.Close()
	group := func() {
		if err := tr.group(ctx, batches); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		group()
	}
	if n := testing.AllocsPerRun(10, group); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
	if err := tr.drain(); err != nil || tr.ledger.pos.Batches != 14 {
		t.Errorf("%d batches: %v", tr.ledger.pos.Batches, err)
	}
}

// A device that is lost ends the run with one line; what was saved is good, and
// another process, as which a new backend counts, goes on from there exactly.
func TestALostDevice(t *testing.T) {
	ds := noisyData(t)
	var whole, lost, rest recorder
	t.Run("whole", func(t *testing.T) {
		onGPU(t)
		if _, err := start(t, ds, base(), 1, Hooks{Save: whole.save}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("lost", func(t *testing.T) {
		onGPU(t)
		h := Hooks{Save: lost.save, Step: func(i StepInfo) {
			if i.Update == 6 {
				fake.Fail(t, "cuGraphLaunch", fake.IllegalAddress, 0)
			}
		}}
		_, err := start(t, ds, base(), 1, h).Run(context.Background())
		var d *DeviceError
		if !errors.As(err, &d) || !errors.Is(err, gpu.ErrLost) || strings.Contains(err.Error(), "\n") || len(lost.last) != 1 ||
			!strings.Contains(err.Error(), "cuda:0 failed in epoch 2 after step 2 of 4") ||
			!strings.Contains(err.Error(), "which was taken at the end of epoch 1") {
			t.Fatalf("%d snapshots: %v", len(lost.last), err)
		}
	})
	t.Run("resumed", func(t *testing.T) {
		onGPU(t)
		tr := start(t, ds, base(), 99, Hooks{Save: rest.save})
		if err := tr.Resume(lost.final()); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		same(t, "resumed after the loss", rest.final(), whole.final())
	})
}

// A fault of a kernel, which shows only where somebody waits, is told likewise,
// as is one that hits the evaluation.
func TestAFaultOfAKernel(t *testing.T) {
	ds := noisyData(t)
	for _, c := range []struct {
		call string
		step int
		want string
	}{
		{"cuEventSynchronize", 2, "in epoch 1 after step 2 of 4"},
		{"cuMemcpyDtoHAsync_v2", 4, "in epoch 1 after step 4 of 4"},
	} {
		t.Run(c.call, func(t *testing.T) {
			onGPU(t)
			var r recorder
			h := Hooks{Save: r.save, Step: func(i StepInfo) {
				if i.Update == c.step {
					fake.Fail(t, c.call, fake.LaunchFailed, 0)
				}
			}}
			_, err := start(t, ds, base(), 1, h).Run(context.Background())
			if err == nil || !errors.Is(err, gpu.ErrLost) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "nothing had been saved") || strings.Contains(err.Error(), "\n") || len(r.last) != 0 {
				t.Errorf("%d snapshots: %v", len(r.last), err)
			}
		})
	}
}

// wideNet has activations that are large beside everything else.
type wideNet struct{ vars []*engine.Variable }

func newWideNet() *wideNet {
	p := func(name string, shape ...int) *engine.Variable {
		return &engine.Variable{Name: name, Spec: engine.F32(shape...), Trainable: true}
	}
	return &wideNet{[]*engine.Variable{p("conv.weight", 3, 3, 3, 8), p("conv.bias", 8), p("fc.weight", 8, 3), p("fc.bias", 3)}}
}

func (n *wideNet) Variables() []*engine.Variable { return n.vars }

func (n *wideNet) Build(b *engine.Builder, x *engine.Value, _ bool) *engine.Outputs {
	v := func(i int) *engine.Value { return b.Variable(n.vars[i]) }
	x = b.One(engine.Conv2D{Pad: engine.Around(1)}, x, v(0), v(1))
	x = b.One(engine.Activation{F: engine.ReLU6}, x)
	return &engine.Outputs{Logits: b.One(engine.Linear{}, b.One(engine.GlobalAvgPool{}, x), v(2), v(3))}
}

// manyPictures has so many training pictures, a few more than two batches.
func manyPictures(t *testing.T, n int) *data.Dataset {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "many")
	for i := range n {
		writePicture(t, filepath.Join(dir, "training", fmt.Sprintf("%d_%d.png", i%3, i)), 2, noisyPixel(i%3, i))
	}
	for i := range 40 {
		writePicture(t, filepath.Join(dir, "validation", fmt.Sprintf("%d_%d.png", i%3, i)), 2, noisyPixel(i%3, 1000+i))
	}
	return open(t, dir)
}

// Where a batch is too large for the device's 256 MiB, the error says what was
// needed and what would fit: that must fit, and twice as much must not.
func TestTooLargeABatch(t *testing.T) {
	b := openFake(t)
	ds := manyPictures(t, 300)
	try := func(batch, accumulate int, host bool) error {
		net, store := newWideNet(), engine.NewStore(b)
		defer store.Close()
		c := Config{Epochs: 1, Batch: batch, Accumulate: accumulate, EMA: 0.9, Optimizer: OptimizerConfig{LR: 0.01}, HostAugment: host}
		c.Train, c.Eval = data.Transform{Size: 112}, data.Transform{Size: 112}
		tr, err := New(net, store, ds, c, Hooks{})
		if err != nil {
			t.Fatal(err)
		}
		err = tr.prepare()
		return errors.Join(err, tr.Close())
	}
	for i, accumulate := range []int{1, 3, 1, 3} {
		host := i < 2
		err := try(256, accumulate, host)
		var m *MemoryError
		if !errors.Is(err, engine.ErrOutOfMemory) || !errors.As(err, &m) {
			t.Fatal(err)
		}
		form := regexp.MustCompile(`^training step for 256 images of 112x112 on cuda:0 needs \d+\.\d MB, \d+\.\d MB are free: a batch of (\d+) would fit$`)
		match := form.FindStringSubmatch(err.Error())
		if match == nil {
			t.Fatal(err)
		}
		t.Log(err)
		fits, _ := strconv.Atoi(match[1])
		if fits != m.Batch || m.Needed <= m.Free || m.Free > 256<<20 {
			t.Errorf("%+v", m)
		}
		if err := try(fits, accumulate, host); err != nil {
			t.Errorf("a batch of %d was said to fit: %v", fits, err)
		}
		if err := try(2*fits, accumulate, host); !errors.Is(err, engine.ErrOutOfMemory) {
			t.Errorf("twice a batch of %d fits too: %v", fits, err)
		}
	}
}

// An evaluation says so too; its own memory counts, and nothing is left behind.
func TestTooLargeAnEvaluation(t *testing.T) {
	t.Setenv("FAKE_MEMORY", strconv.Itoa(32<<20))
	b := openFake(t)
	ds := manyPictures(t, 40)
	net, store := newWideNet(), engine.NewStore(b)
	defer store.Close()
	fill(t, store, net.vars, 1)
	before, _, err := b.Memory()
	if err != nil {
		t.Fatal(err)
	}
	try := func(batch int) error {
		e, err := NewEvaluator(net, store, 3, EvalOptions{Batch: batch, Transform: data.Transform{Size: 128}})
		if err != nil {
			t.Fatal(err)
		}
		err = e.prepare(ds.Val)
		return errors.Join(err, e.Close())
	}
	var m *MemoryError
	if err := try(40); !errors.As(err, &m) || m.What != "evaluation" || m.Batch < 2 || m.Images != 40 {
		t.Fatal(err)
	}
	t.Log(m)
	if err := try(m.Batch); err != nil {
		t.Error(err)
	}
	if err := try(2 * m.Batch); !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("twice a batch of %d fits too: %v", m.Batch, err)
	}
	if after, _, err := b.Memory(); err != nil || after != before {
		t.Errorf("%d bytes were free, %d are now: %v", before, after, err)
	}
	if err := try(1); err != nil {
		t.Error(err)
	}
	t.Setenv("FAKE_MEMORY", strconv.Itoa(256<<10))
	if err := try(40); !errors.As(err, &m) || m.Batch != 0 || !strings.HasSuffix(m.Error(), "not even a batch of 1 would fit; use smaller images or a smaller net") {
		t.Error(err)
	}
}
