package fit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/potstill/potstill/engine"
)

// runRanks runs a job of every rank on a backend of its own; where one fails, the others are told.
func runRanks(t *testing.T, of func(r int) Job, n int) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for r, p := range engine.LocalPeers(n) {
		j, b := of(r), backend(t)
		j.Peers = p
		all.Go(func() {
			if _, errs[r] = Run(context.Background(), b, j); errs[r] != nil {
				p.Leave(errs[r].Error())
			}
		})
	}
	all.Wait()
	return errs
}

// TestRanksWriteOneRun distills on two ranks: rank 0 writes what one process with two
// accumulations does, rank 1 writes nothing, and both read what is resumed.
func TestRanksWriteOneRun(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	one := distilled(t, ds, filepath.Join(dir, "one"))
	one.Config.Accumulate = 2
	if _, err := Run(context.Background(), backend(t), one); err != nil {
		t.Fatal(err)
	}
	job := func(r int) Job {
		j := distilled(t, ds, filepath.Join(dir, "ranks"))
		if j.Config.Accumulate = 1; r > 0 {
			j.Dir = filepath.Join(dir, "other")
		}
		return j
	}
	if err := errors.Join(runRanks(t, job, 2)...); err != nil {
		t.Fatal(err)
	}
	a, b := read(t, one.Dir, BestFile), read(t, filepath.Join(dir, "ranks"), BestFile)
	if !bytes.Equal(a, b) {
		t.Error("the best weights of two ranks are not those of one process")
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("rank 1 has written something")
	}
	errs := runRanks(t, func(r int) Job { // what is done is done: a resumed run of as many epochs ends at once
		j := job(0)
		j.Resume = true
		return j
	}, 2)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	errs = runRanks(t, func(r int) Job { // another loss at one of them
		j := job(0)
		j.Replace = true
		if r == 1 {
			j.KD.T++
		}
		return j
	}, 2)
	for r, err := range errs {
		oneLine(t, err, "rank 1 differs from rank 0", "loss kd")
		if r == 1 && err == nil {
			t.Error("rank 1 goes on")
		}
	}
}
