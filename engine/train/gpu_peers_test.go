package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/rendezvous"
)

// onCards runs a test in n processes, each a rank with a card of its own over the stand-ins:
// do is called at each, with the others.
func onCards(t *testing.T, n int, do func(p engine.Peers)) {
	t.Helper()
	r := fake.ThisRank(t)
	if r == nil {
		fake.StartRanks(t, n, "FAKE_QUEUE=lazy").Done()
		return
	}
	w, err := rendezvous.Open(rendezvous.Options{Rank: r.Rank, Size: n, Addr: "127.0.0.1", Port: r.Port, Name: t.Name(), Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	dir := fake.Dir(t)
	b, err := gpu.New(gpu.Options{Device: r.Rank, Search: []string{dir}, CacheDir: filepath.Join(dir, "cache"), NoLibraries: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Join(w)
	if err != nil {
		t.Fatal(err)
	}
	old := backend
	defer func() { backend = old }()
	backend = func(testing.TB) engine.Backend { return b }
	do(p)
	if err := errors.Join(w.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// TestRanksAreAccumulationOnGPU is TestRanksAreAccumulation where the ranks are cards: every
// byte of every snapshot is that of one card that accumulates.
func TestRanksAreAccumulationOnGPU(t *testing.T) {
	for _, x := range []struct {
		name string
		n    int
		set  func(c *Config)
	}{
		{"adamw", 2, func(c *Config) { c.ClipNorm, c.EMA = 0.5, 0.9 }},
		{"adamw", 3, func(c *Config) { c.Batch = 3 }}, // a rank has no batch in an epoch's last step
		{"nesterov", 2, func(c *Config) { c.LabelSmoothing = 0.1 }},
	} {
		t.Run(fmt.Sprint(x.name, x.n), func(t *testing.T) {
			onCards(t, x.n, func(p engine.Peers) {
				ds := noisyData(t)
				c := base()
				resumeConfigs[x.name](&c)
				x.set(&c)
				c.Accumulate = 0
				one := c
				c.Peers = p
				var got, want recorder
				res, err := start(t, ds, c, 1, Hooks{Save: got.save}).Run(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if p.Rank() > 0 {
					if got.last != nil {
						t.Error("a rank other than 0 has saved")
					}
					return
				}
				one.Accumulate = x.n
				alone, err := start(t, ds, one, 1, Hooks{Save: want.save}).Run(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if len(want.last) == 0 || len(want.last) != len(got.last) || len(want.best) != len(got.best) {
					t.Fatalf("%d and %d snapshots, want %d and %d", len(got.last), len(got.best), len(want.last), len(want.best))
				}
				for i := range want.last {
					same(t, fmt.Sprintf("last %d", i), got.last[i], want.last[i])
				}
				for i := range want.best {
					same(t, fmt.Sprintf("best %d", i), got.best[i], want.best[i])
				}
				if res.Best.ValLoss != alone.Best.ValLoss {
					t.Errorf("validation losses %v and %v", res.Best.ValLoss, alone.Best.ValLoss)
				}
			})
		})
	}
}
