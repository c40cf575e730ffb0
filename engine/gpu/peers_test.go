package gpu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/rendezvous"
)

// host joins the hosts of all ranks over TCP.
func host(t *testing.T, r *fake.Rank) *rendezvous.World {
	t.Helper()
	w, err := rendezvous.Open(rendezvous.Options{Rank: r.Rank, Size: r.Size, Addr: "127.0.0.1", Port: r.Port, Name: t.Name(), Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// joined returns a rank's backend, on a card of its own.
func joined(t *testing.T, r *fake.Rank, w engine.Peers) (*Backend, *Peers) {
	t.Helper()
	o := ours(t)
	o.Device = r.Rank
	b := openBackend(t, o)
	p, err := b.Join(w)
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// compileReduce returns an AllReduce of one tensor and the wait behind it.
func compileReduce(t *testing.T, b *Backend, p *Peers, s engine.Spec) (sum, wait engine.Kernel) {
	t.Helper()
	specs := []engine.Spec{s}
	sum, err := b.Compile(engine.AllReduce{K: 1, Peers: p}, specs, specs)
	if err != nil {
		t.Fatal(err)
	}
	if wait, err = b.Compile(engine.AllReduceWait{K: 1}, specs, specs); err != nil {
		t.Fatal(err)
	}
	return sum, wait
}

// zeros returns a tensor of zeros on the card, as a kernel takes it.
func zeros(t *testing.T, b *Backend, s engine.Spec) []engine.Tensor {
	t.Helper()
	buf, err := b.Alloc(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	x := engine.Tensor{Spec: s, Buf: buf}
	if err := x.Write(make([]byte, s.Bytes())); err != nil {
		t.Fatal(err)
	}
	return []engine.Tensor{x}
}

// TestPeers compares what several ranks compute with its definition, to the bit, over the
// stand-in for NCCL: each rank is a process with a card of its own.
func TestPeers(t *testing.T) {
	for _, n := range []int{2, 3} {
		for _, queue := range []string{"", "lazy"} {
			t.Run(fmt.Sprint(n, queue), func(t *testing.T) {
				r := fake.ThisRank(t)
				if r == nil {
					fake.StartRanks(t, n, "FAKE_QUEUE="+queue).Done()
					return
				}
				w := host(t, r)
				b, p := joined(t, r, w)
				if p.Rank() != r.Rank || p.Size() != n || !strings.Contains(p.Library(), "NCCL 2.30.7") {
					t.Errorf("rank %d of %d over %s", p.Rank(), p.Size(), p.Library())
				}
				backendtest.RunRank(t, b, p)
				backendtest.RunSyncRank(t, b, p)
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestPeerAlone has a world of one rank, whose exchanges are captured in a graph: over
// cuda/fake and, where deviceEnv asks for it, on a real card, of which NCCL takes one for each rank.
func TestPeerAlone(t *testing.T) {
	t.Run("fake", func(t *testing.T) { exchangeAlone(t, openBackend(t, ours(t))) })
	t.Run("device", func(t *testing.T) {
		if os.Getenv(deviceEnv) != "1" {
			t.Skipf("%s=1 runs it on the first NVIDIA card of this machine", deviceEnv)
		}
		b := openBackend(t, Options{NoLibraries: true})
		if _, err := b.ctx.NCCL(); errors.Is(err, cuda.ErrNotFound) {
			t.Skip(err)
		}
		exchangeAlone(t, b)
	})
}

func exchangeAlone(t *testing.T, b *Backend) {
	p, err := b.Join(engine.LocalPeers(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	backendtest.RunRank(t, b, p)
	backendtest.RunSyncRank(t, b, p)
	d := newDoubler(t, b, 5)
	if err := d.x.Write(engine.Bytes([]float32{1, 2, 3, 4, 5})); err != nil {
		t.Fatal(err)
	}
	sum, wait := compileReduce(t, b, p, d.y.Spec)
	y := []engine.Tensor{d.y}
	r, err := b.Record(func() error {
		return errors.Join(d.enqueue(), sum.Enqueue(y, y, engine.Tensor{}), wait.Enqueue(y, y, engine.Tensor{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 5)
	for range 3 {
		if err := errors.Join(r.Replay(), d.y.Read(engine.Bytes(got))); err != nil {
			t.Fatal(err)
		}
		if want := []float32{2, 4, 6, 8, 10}; !slices.Equal(got, want) {
			t.Fatalf("a world of one rank sums to %v, want %v", got, want)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestPeersSent checks what is counted as sent: 2(n-1)/n times the bytes, at each replay.
func TestPeersSent(t *testing.T) {
	r := fake.ThisRank(t)
	if r == nil {
		fake.StartRanks(t, 2).Done()
		return
	}
	w := host(t, r)
	b, p := joined(t, r, w)
	s := engine.F32(1000)
	sum, wait := compileReduce(t, b, p, s)
	x := zeros(t, b, s)
	before := p.Sent()
	rec, err := b.Record(func() error {
		return errors.Join(sum.Enqueue(x, x, engine.Tensor{}), wait.Enqueue(x, x, engine.Tensor{}))
	})
	if err != nil || p.Sent() != before {
		t.Fatalf("%d bytes sent by a recording: %v", p.Sent()-before, err)
	}
	for range 3 {
		if err := rec.Replay(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Sent()-before, int64(3*4000); got != want {
		t.Errorf("%d bytes sent, want %d", got, want)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestPeerIsKilled kills one rank of three while the others wait for it: both report its number
// within ten seconds, whether NCCL notices anything or not, and exit without an error.
func TestPeerIsKilled(t *testing.T) {
	for _, notices := range []string{"0", "1"} {
		t.Run("notices "+notices, func(t *testing.T) {
			r := fake.ThisRank(t)
			if r == nil {
				rs := fake.StartRanks(t, 3, "FAKE_QUEUE=lazy", "FAKE_NCCL_NOTICES="+notices)
				for _, k := range []string{"0", "2"} {
					for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
						if _, err := os.Stat(filepath.Join(rs.Dir, "waiting"+k)); err == nil {
							break
						}
					}
				}
				rs.KillRank(1)
				for _, k := range []int{0, 2} {
					if out, err := rs.Wait(k); err != nil {
						t.Errorf("rank %d: %v\n%s", k, err, out)
					}
				}
				_, _ = rs.Wait(1)
				return
			}
			b, p := joined(t, r, host(t, r))
			if r.Rank == 1 {
				time.Sleep(time.Hour)
			}
			s := engine.F32(10)
			sum, _ := compileReduce(t, b, p, s)
			x := zeros(t, b, s)
			if err := sum.Enqueue(x, x, engine.Tensor{}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := os.WriteFile(filepath.Join(r.Dir, fmt.Sprint("waiting", r.Rank)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				var gone *engine.PeerError
				if err := b.Sync(); !errors.As(err, &gone) || gone.Rank != 1 {
					t.Errorf("rank 1 was killed: %v", err)
				}
			}
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("noticed after %v", d)
			}
			if err := p.AllGather(make([]byte, 3), make([]byte, 1)); err == nil {
				t.Error("ranks exchange where one is gone")
			}
		})
	}
}

// TestPeersRefuse checks what is said where ranks cannot exchange: two of them on one card,
// no NCCL at one of them, ops of ranks that have not joined.
func TestPeersRefuse(t *testing.T) {
	for name, want := range map[string]string{"one card": "ranks 0 and 1 are on one card, GPU-", "failure": "rank 1: cuda: "} {
		t.Run(name, func(t *testing.T) {
			r := fake.ThisRank(t)
			if r == nil {
				fake.StartRanks(t, 2).Done()
				return
			}
			o := ours(t)
			if name != "one card" {
				o.Device = r.Rank
				if r.Rank == 1 {
					t.Setenv("FAKE_NCCL_VERSION", "2804")
					want = strings.TrimPrefix(want, "rank 1: ")
				}
			}
			b := openBackend(t, o)
			w := host(t, r)
			if _, err := b.Join(w); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("rank %d: %v, want %q", r.Rank, err, want)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	b := openBackend(t, ours(t))
	s := engine.F32(10)
	_, err := b.Compile(engine.AllReduce{K: 1, Peers: engine.LocalPeers(2)[0]}, []engine.Spec{s}, []engine.Spec{s})
	if !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "NCCL") {
		t.Errorf("ranks that have not joined: %v", err)
	}
}
