//go:build linux || darwin

package fit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Environment variables that turn the test's binary into a process that trains.
const (
	helperDir   = "POTSTILL_TEST_DIR"
	helperStop  = "POTSTILL_TEST_STOP"  // the step after which the process will be stopped
	helperKD    = "POTSTILL_TEST_KD"    // the loss under the teacher
	helperLimit = "POTSTILL_TEST_LIMIT" // set: after the first epoch no file may grow beyond 1,000 bytes
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if err := helper(dir, os.Getenv(helperLimit) != ""); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper trains in dir, going on from what is there, and prints a line a step.
func helper(dir string, limit bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer b.Close()
	ds, err := data.Open(ctx, "builtin:fashion", data.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(50), ds.Val.Subset(30)
	j := small(ds, dir)
	j.Config.SaveEvery, j.StepLog = 1, os.Stdout
	if j.Teacher, err = checkpoint.Load(filepath.Join(dir, "teacher.safetensors")); errors.Is(err, fs.ErrNotExist) {
		j.Teacher = nil
	} else if err != nil {
		return err
	}
	if j.KD.Spec = os.Getenv(helperKD); j.KD.Spec != "" {
		imitate(&j)
	}
	_, missing := os.Stat(filepath.Join(dir, LastFile))
	j.Resume = missing == nil
	// Beyond the step at which it is to be stopped, the run dawdles, or it might
	// be at its end before the signal arrives.
	stopAt, _ := strconv.Atoi(os.Getenv(helperStop))
	done := 0
	j.Step = func(train.StepInfo) {
		if done++; stopAt > 0 && done > stopAt {
			time.Sleep(300 * time.Millisecond)
		}
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	var limitErr error
	if limit {
		signal.Ignore(syscall.SIGXFSZ)
		j.Epoch = func(train.EpochInfo) {
			limitErr = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: old.Max})
		}
	}
	_, err = Run(ctx, b, j)
	return errors.Join(err, limitErr, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
}

// trainProcess runs a helper in dir, sends it a signal when it has done so many steps
// (0: never), and returns what it printed last.
func trainProcess(t *testing.T, dir string, steps int, sig os.Signal, env ...string) (last string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), helperDir+"="+dir, helperStop+"="+strconv.Itoa(steps)), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := bufio.NewScanner(out); s.Scan(); n++ {
		last = s.Text()
		if n+1 == steps {
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	return last, cmd.Wait()
}

func TestKilledAndResumed(t *testing.T) {
	for name, kd := range map[string]string{"plain": "", "distilled": "", "projectors": projected, "memory": remembered} {
		t.Run(name, func(t *testing.T) {
			whole, dir := t.TempDir(), t.TempDir()
			t.Setenv(helperKD, kd)
			if name != "plain" {
				teacher := drawn(t, layers.Arch{Family: "cnn-plain", Base: 4, Classes: 10}, 3)
				for _, d := range []string{whole, dir} {
					if _, err := checkpoint.Save(filepath.Join(d, "teacher.safetensors"), teacher); err != nil {
						t.Fatal(err)
					}
				}
			}
			if last, err := trainProcess(t, whole, 0, nil); err != nil {
				t.Fatal(last, err)
			}
			for _, stop := range []struct {
				steps int
				sig   os.Signal
			}{{2, syscall.SIGKILL}, {3, os.Interrupt}, {2, syscall.SIGKILL}, {1, syscall.SIGKILL}} {
				last, err := trainProcess(t, dir, stop.steps, stop.sig)
				if err == nil {
					t.Fatal("the process was not stopped:", last)
				}
				if stop.sig == os.Interrupt && !strings.Contains(last, filepath.Join(dir, LastFile)+"; the same command with --resume") {
					t.Errorf("interrupted: %s", last)
				}
			}
			if last, err := trainProcess(t, dir, 0, nil); err != nil {
				t.Fatal(last, err)
			}
			sameRun(t, whole, dir)
		})
	}
}

// A file that cannot be written to the end leaves the one before it whole, and
// the run can go on once there is room.
func TestAFullDisk(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	if last, err := trainProcess(t, whole, 0, nil); err != nil {
		t.Fatal(last, err)
	}
	last, err := trainProcess(t, dir, 0, nil, helperLimit+"=1")
	if err == nil {
		t.Fatal("the process did not fail:", last)
	}
	oneLine(t, errors.New(last), "write "+filepath.Join(dir, LastFile), "file too large", "as last saved is whole in "+filepath.Join(dir, LastFile))
	load(t, dir, LastFile)
	load(t, dir, BestFile)
	if left, _ := filepath.Glob(filepath.Join(dir, ".potstill-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if last, err := trainProcess(t, dir, 0, nil); err != nil {
		t.Fatal(last, err)
	}
	sameRun(t, whole, dir)
}
