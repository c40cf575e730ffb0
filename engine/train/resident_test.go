package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// unmixed is base with every stage that a device has, and without mixup.
func unmixed() Config {
	c := base()
	c.MixupAlpha = 0
	c.Train.Rotation = 20
	c.Train.Jitter = &data.ColorJitter{Brightness: 0.3, Contrast: 0.3, Saturation: 0.3, Hue: 0.1}
	c.Train.Mean, c.Train.Std = []float32{0.4, 0.5, 0.6}, []float32{0.2, 0.3, 0.4}
	return c
}

// Training with the images on the device has the losses and the weights, bit for
// bit, of training with the loader's; a run may go over from one to the other.
func TestAugmentOnDeviceChangesNothing(t *testing.T) {
	ds := noisyData(t)
	onGPU(t)
	for name, set := range map[string]func(c *Config){
		"adamw": func(*Config) {}, "all": resumeConfigs["all"], "stale": resumeConfigs["stale"],
		"plain":        func(c *Config) { c.Train = data.Transform{} },
		"four a batch": func(c *Config) { c.Batch, c.DropLast = 4, true }, // an index as large as a dropout counter
	} {
		t.Run(name, func(t *testing.T) {
			c := unmixed()
			set(&c)
			var runs [2]recorder
			var losses [2][]float64
			for i := range runs {
				c.HostAugment = i == 1
				tr := start(t, ds, c, 1, Hooks{Save: runs[i].save, Step: func(s StepInfo) { losses[i] = append(losses[i], s.Loss) }})
				if (tr.source.resident == nil) != c.HostAugment {
					t.Fatalf("HostAugment is %v, the training set on the device: %v", c.HostAugment, tr.source.resident != nil)
				}
				if _, err := tr.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if len(losses[0]) == 0 || !slices.Equal(losses[0], losses[1]) {
				t.Errorf("losses on the device %v, on the host %v", losses[0], losses[1])
			}
			same(t, "on the device", runs[0].final(), runs[1].final())
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var stopped, rest recorder
			h := Hooks{Save: stopped.save, Step: func(i StepInfo) {
				if i.Update == len(losses[0])/2 {
					cancel()
				}
			}}
			if _, err := start(t, ds, c, 1, h).Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.HostAugment = false
			tr := start(t, ds, c, 99, Hooks{Save: rest.save})
			if err := tr.Resume(stopped.final()); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			same(t, "begun on the host, resumed on the device", rest.final(), runs[0].final())
		})
	}
}

// A step that begins with Augment allocates nothing either.
func TestAResidentStepAllocatesNothing(t *testing.T) {
	onGPU(t)
	c := unmixed()
	c.Epochs, c.Batch, c.Workers = 1, 1, 1
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
	if n := testing.AllocsPerRun(10, group); n != 0 || tr.source.resident == nil {
		t.Errorf("%v allocations a step", n)
	}
	if err := tr.drain(); err != nil {
		t.Error(err)
	}
}

// The log says where the images are augmented and why; Close gives the memory
// back.
func TestWhereImagesAreAugmented(t *testing.T) {
	uniform := noisyData(t)
	dir := filepath.Join(t.TempDir(), "mixed")
	for i := range 8 {
		writePicture(t, filepath.Join(dir, "training", fmt.Sprintf("%d_%d.png", i%3, i)), 6+i%2, noisyPixel(i%3, i))
		writePicture(t, filepath.Join(dir, "validation", fmt.Sprintf("%d_%d.png", i%3, i)), 6, noisyPixel(i%3, i))
	}
	mixed := open(t, dir)
	b := openFake(t)
	small := func(t *testing.T) engine.Backend {
		t.Setenv("FAKE_MEMORY", strconv.Itoa(8<<10))
		return openFake(t)
	}
	for want, c := range map[string]struct {
		ds      *data.Dataset
		backend func(t *testing.T) engine.Backend
		set     func(c *Config)
	}{
		"on the device\" device=cuda:0 images=20 memory=\"2.2 kB\"": {set: func(*Config) {}},
		"on the host\" why=\"as asked for\"":                        {set: func(c *Config) { c.HostAugment = true }},
		"on the host\" why=\"mixup is done there\"":                 {set: func(c *Config) { c.MixupAlpha = 1 }},
		"on the host\" why=\"the images have several sizes\"":       {ds: mixed, set: func(*Config) {}},
		"on the host\" why=\"the transform scales them":             {set: func(c *Config) { c.Train.Perspective = 0.1 }},
		"on the host\" why=\"they take 2.2 kB, more than a quarter": {backend: small, set: func(*Config) {}},
		"on the host\" why=\"ref has no memory of its own\"":        {backend: func(t *testing.T) engine.Backend { return backend(t) }, set: func(*Config) {}},
	} {
		t.Run(want, func(t *testing.T) {
			cfg, ds, on := unmixed(), uniform, engine.Backend(b)
			c.set(&cfg)
			if c.ds != nil {
				ds = c.ds
			}
			if c.backend != nil {
				on = c.backend(t)
			}
			var log bytes.Buffer
			store := engine.NewStore(on)
			defer store.Close()
			before := free(t, on)
			tr, err := New(newConvNet(0), store, ds, cfg, Hooks{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			if err != nil {
				t.Fatal(err)
			}
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="training images are augmented `+want) {
				t.Errorf("the log says %s", got)
			}
			if strings.Contains(want, "device=") == (free(t, on) == before) {
				t.Errorf("%d bytes were free, %d are now", before, free(t, on))
			}
			if err := errors.Join(tr.Close(), tr.Close()); err != nil {
				t.Error(err)
			}
			if after := free(t, on); after != before {
				t.Errorf("%d bytes were free, %d are after Close", before, after)
			}
		})
	}
}

// free returns the free memory of a backend that knows it.
func free(t *testing.T, b engine.Backend) int {
	m, ok := b.(engine.Metered)
	if !ok {
		return 0
	}
	n, _, err := m.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A device that has no room left, or fails, while the images are sent, leaves
// them to the host.
func TestUploadFails(t *testing.T) {
	onGPU(t)
	store, ds, c := newStore(t), noisyData(t), unmixed().normalized()
	r, err := fitting(ds.Train, c, store.Backend())
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	before := free(t, store.Backend())
	r.images.Shape = []int{1 << 20, 1 << 10, 1 << 10, 3}
	if err := r.upload(ds.Train, c.Train, store); !errors.Is(err, engine.ErrOutOfMemory) || free(t, store.Backend()) != before {
		t.Errorf("%v; %d bytes were free, %d are now", err, before, free(t, store.Backend()))
	}
}
