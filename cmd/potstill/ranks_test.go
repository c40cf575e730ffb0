package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/launch"
)

// torchrun runs the command in n processes, as torchrun does on one machine with a card for
// each, and returns what has come of each.
func torchrun(t *testing.T, n int, args ...string) []result {
	t.Helper()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("this machine has no port to meet at: %v", err)
	}
	at.Close()
	t.Setenv("FAKE_DEVICES", fmt.Sprint(n))
	t.Setenv("TMPDIR", t.TempDir())
	all := make([]result, n)
	var done sync.WaitGroup
	for r := range n {
		c := command(t, args...)
		if c.Env == nil {
			c.Env = os.Environ()
		}
		c.Env = append(c.Env, fmt.Sprint("RANK=", r), fmt.Sprint("LOCAL_RANK=", r), fmt.Sprint("WORLD_SIZE=", n), fmt.Sprint("LOCAL_WORLD_SIZE=", n),
			"MASTER_ADDR=127.0.0.1", fmt.Sprint("MASTER_PORT=", at.Addr().(*net.TCPAddr).Port))
		var out, errs bytes.Buffer
		c.Stdout, c.Stderr = &out, &errs
		done.Go(func() {
			err := c.Run()
			all[r] = result{out: out.String(), err: errs.String(), code: c.ProcessState.ExitCode()}
			if err != nil && c.ProcessState.ExitCode() < 0 {
				t.Errorf("rank %d: %v", r, err)
			}
		})
	}
	done.Wait()
	return all
}

// onCards are the arguments of a short training.
var onCards = []string{"train", "--data", "builtin:fashion", "--arch", "cnn-dwpw", "--base", "4", "--limit", "48", "--batch", "8", "--epochs", "1", "--device", "cuda", "--own-kernels", "--json"}

// TestRanksOnCards trains on two cards over the stand-in of NCCL, as torchrun starts it: the
// best weights are, byte for byte, those of one card that accumulates two batches.
func TestRanksOnCards(t *testing.T) {
	onFake(t)
	dir := t.TempDir()
	out, alone := filepath.Join(dir, "out"), filepath.Join(dir, "alone")
	ranks := torchrun(t, 2, with(onCards, "--out", out)...)
	for r, x := range ranks {
		if x.code != 0 || r > 0 && x.out+x.err != "" {
			t.Fatalf("rank %d: exit status %d\n%s%s", r, x.code, x.out, x.err)
		}
	}
	o := decode(t, ranks[0].out)["ranks"].(map[string]any)
	if over := o["over"].(string); !strings.Contains(over, "NCCL 2.30.7") || !strings.Contains(over, "TCP") || o["sent_bytes"].(float64) < 1 {
		t.Errorf("ranks are %v", o)
	}
	succeeds(t, with(onCards, "--out", alone, "--accumulate", "2")...)
	if !bytes.Equal(read(t, filepath.Join(out, "best.safetensors")), read(t, filepath.Join(alone, "best.safetensors"))) {
		t.Error("the best weights of two ranks are not those of one process that accumulates")
	}
}

// TestRanksWithoutNCCL checks what is said where there is no NCCL.
func TestRanksWithoutNCCL(t *testing.T) {
	onFake(t)
	dir := t.TempDir()
	for _, name := range []string{"libcuda.so.1", "libnvrtc.so.12", "prelude.h"} {
		if err := os.Symlink(filepath.Join(fake.Dir(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("POTSTILL_CUDA_PATH", dir)
	for r, x := range torchrun(t, 2, with(onCards, "--out", filepath.Join(dir, "out"))...) {
		if strings.Contains(x.err, "exchange over NCCL") {
			t.Skip("this machine has NCCL where it is always looked for")
		}
		for _, part := range []string{"libnccl.so.2", "not found", "pip install nvidia-nccl-cu13", "POTSTILL_CUDA_PATH"} {
			if x.code != exitFailure || !strings.Contains(x.err, part) {
				t.Errorf("rank %d does not say %q: %s", r, part, x.err)
			}
		}
	}
}

// TestCardOfARank checks which card a rank takes, and what is said where there is none for it.
func TestCardOfARank(t *testing.T) {
	for _, x := range []struct {
		local, visible, want int
		says                 string
	}{
		{0, 1, 0, ""}, {3, 1, 0, ""}, {-1, 1, 0, ""}, {0, 4, 0, ""}, {3, 4, 3, ""},
		{4, 4, 0, "start at most 4 processes there"}, {-1, 2, 0, "CUDA_VISIBLE_DEVICES"},
	} {
		r := ranks{process: &launch.Process{Launcher: launch.Hydra, Rank: 5, Size: 8, Local: x.local}}
		got, err := r.card(x.visible)
		if got != x.want || (err == nil) != (x.says == "") || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("number %d on a machine with %d cards: %d, %v", x.local, x.visible, got, err)
		}
	}
	t.Setenv("PMI_RANK", "0")
	t.Setenv("PMI_SIZE", "2")
	a := &app{}
	err := a.join(deviceFlags{Device: "cuda:1"})
	if err == nil || !strings.Contains(err.Error(), "give --device cuda") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a card of that number: %v", err)
	}
}
