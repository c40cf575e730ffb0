//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/cuda/fake"
)

// meet returns a context, a stream and a communicator of a rank. Its number goes through a file.
func meet(t *testing.T, r *fake.Rank) (*Context, *Stream, *Comm) {
	t.Helper()
	d := must[*Driver](t)(Load(Options{Search: []string{fake.Dir(t)}}))
	c := must[*Context](t)(d.Open(r.Rank))
	t.Cleanup(func() { check(t, c.Close()) })
	path := filepath.Join(r.Dir, "id")
	var id CommID
	if r.Rank == 0 {
		id = must[CommID](t)(c.NewCommID())
		check(t, os.WriteFile(path+".part", id[:], 0o600))
		check(t, os.Rename(path+".part", path))
	} else {
		for {
			b, err := os.ReadFile(path)
			if err == nil {
				copy(id[:], b)
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	m := must[*Comm](t)(c.NewComm(id, r.Rank, r.Size))
	return c, must[*Stream](t)(c.NewStream()), m
}

// TestNCCLExchanges has ranks exchange, at once and in a graph that is launched again and
// again, with little and with much.
func TestNCCLExchanges(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		for _, queue := range []string{"", "lazy"} {
			t.Run(fmt.Sprint(n, queue), func(t *testing.T) {
				if r := fake.ThisRank(t); r != nil {
					exchange(t, r)
					return
				}
				fake.StartRanks(t, n, "FAKE_QUEUE="+queue).Done()
			})
		}
	}
}

func exchange(t *testing.T, r *fake.Rank) {
	c, s, m := meet(t, r)
	if m.Rank() != r.Rank || m.Size() != r.Size || m.Version() != "2.30.7" {
		t.Errorf("rank %d of %d, version %s", m.Rank(), m.Size(), m.Version())
	}
	for _, count := range []int{1, 7, 50000} {
		in, out := must[Ptr](t)(c.Alloc(4*count*r.Size)), must[Ptr](t)(c.Alloc(4*count*r.Size))
		work := func() error {
			if err := m.AllToAll(s, out, in, count); err != nil {
				return err
			}
			// In place: this rank's part is where it belongs.
			return m.AllGather(s, out, out+Ptr(4*count*r.Rank), count)
		}
		check(t, s.BeginCapture())
		failure := work()
		g := must[*Graph](t)(s.EndCapture())
		check(t, failure)
		for round := range 4 {
			mine := make([]float32, count*r.Size)
			for i := range mine {
				mine[i] = float32(100*r.Rank + 10*(i/count) + round)
			}
			check(t, s.Write(in, asBytes(mine)))
			if round == 0 {
				check(t, work())
			} else {
				check(t, g.Launch(s))
			}
			got := make([]float32, count*r.Size)
			check(t, s.Read(asBytes(got), out))
			for i, v := range got {
				// Rank p has, at its own place of out, what rank p has for itself.
				if want := float32(110*(i/count) + round); v != want {
					t.Fatalf("rank %d, round %d: element %d of %d is %v, want %v", r.Rank, round, i, len(got), v, want)
				}
			}
		}
		check(t, g.Close())
		check(t, c.Free(in))
		check(t, c.Free(out))
	}
	check(t, m.Failed())
	check(t, m.Close())
	check(t, m.Close())
	wantError(t, m.AllGather(s, 1, 1, 1), "closed")
}

// TestNCCLDiffers has two ranks exchange different things, which the stand-in finds out.
func TestNCCLDiffers(t *testing.T) {
	r := fake.ThisRank(t)
	if r == nil {
		rs := fake.StartRanks(t, 2)
		for k := range 2 {
			out, err := rs.Wait(k)
			if err == nil || !strings.Contains(out, "exchanges something else") {
				t.Errorf("rank %d: %v\n%s", k, err, out)
			}
		}
		return
	}
	c, s, m := meet(t, r)
	x := must[Ptr](t)(c.Alloc(4 * 100))
	check(t, m.AllGather(s, x, x+Ptr(4*r.Rank*(10+r.Rank)), 10+r.Rank))
	check(t, s.Sync())
}

// TestNCCLAbort kills a rank that the other one waits for: only an abort ends that, where
// NCCL does not notice, as between cards of one machine.
func TestNCCLAbort(t *testing.T) {
	r := fake.ThisRank(t)
	if r == nil {
		for _, notices := range []string{"0", "1"} {
			rs := fake.StartRanks(t, 2, "FAKE_NCCL_NOTICES="+notices, "FAKE_QUEUE=lazy")
			if out, err := rs.Wait(1); err == nil {
				t.Errorf("rank 1 was to end\n%s", out)
			}
			if out, err := rs.Wait(0); err != nil {
				t.Errorf("rank 0: %v\n%s", err, out)
			}
		}
		return
	}
	c, s, m := meet(t, r)
	x := must[Ptr](t)(c.Alloc(4 * 20))
	if r.Rank == 1 {
		os.Exit(3)
	}
	check(t, m.AllGather(s, x, x, 10))
	synced := make(chan error)
	go func() { synced <- s.Sync() }()
	var failed error
	for end := time.Now().Add(time.Second); time.Now().Before(end) && failed == nil; time.Sleep(time.Millisecond) {
		failed = m.Failed()
	}
	if notices := os.Getenv("FAKE_NCCL_NOTICES") == "1"; notices != (failed != nil) {
		t.Errorf("NCCL notices: %v", failed)
	} else if notices {
		wantError(t, failed, "ncclRemoteError", "remote process exited")
	}
	select {
	case err := <-synced:
		t.Errorf("nobody has waited for rank 1: %v", err)
	default:
	}
	check(t, m.Abort())
	check(t, <-synced)
	check(t, m.Abort())
	check(t, m.Failed())
	wantError(t, m.AllGather(s, x, x, 10), "aborted")
}

// TestNCCLRefuses checks what is said where NCCL is not there, is too old, or fails.
func TestNCCLRefuses(t *testing.T) {
	c, _ := opened(t, "")
	if v, err := c.NCCL(); err != nil || v != "2.30.7" {
		t.Errorf("version %q: %v", v, err)
	}
	fake.Fail(t, "ncclGetUniqueId", 2, 0)
	_, err := c.NewCommID()
	wantError(t, err, "ncclGetUniqueId", "ncclSystemError (2)", "unhandled system error")
	id := must[CommID](t)(c.NewCommID())
	fake.Fail(t, "ncclCommInitRank", 5, 0)
	_, err = c.NewComm(id, 0, 1)
	wantError(t, err, "libnccl.so.2", "rank 0 of 1", "ncclInvalidUsage")
	_, err = c.NewComm(id, 2, 2)
	wantError(t, err, "rank 2 of 2")
	m := must[*Comm](t)(c.NewComm(id, 0, 1))
	s := must[*Stream](t)(c.NewStream())
	x := must[Ptr](t)(c.Alloc(40))
	wantError(t, m.AllGather(s, x, x, 11), "ncclAllGather", "ncclInvalidArgument")
	wantError(t, m.AllToAll(s, x+40, x, 1), "ncclRecv", "ncclInvalidArgument")
	check(t, m.AllToAll(s, x, x+20, 5))
	fake.Fail(t, "ncclGroupEnd", 3, 0)
	wantError(t, m.AllToAll(s, x, x+20, 5), "ncclGroupEnd", "ncclInternalError")

	lib := newLoader([]string{t.TempDir()}, 13)
	_, err = lib.library("libnccl")
	if !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	wantError(t, err, "libnccl.so.2", "several GPUs", "pip install nvidia-nccl-cu13", "POTSTILL_CUDA_PATH")
	_, err = newLoader([]string{t.TempDir()}, 12).library("libnccl")
	wantError(t, err, "pip install nvidia-nccl-cu12")
	t.Setenv("FAKE_NCCL_VERSION", "2804")
	old, _ := opened(t, "")
	_, err = old.NCCL()
	wantError(t, err, "is NCCL 2.8.4, 2.9 is needed", "pip install")
}
