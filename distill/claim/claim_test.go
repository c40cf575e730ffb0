package claim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables that turn the test's binary into a process that claims.
const (
	helperDir  = "POTSTILL_TEST_CLAIM_DIR"
	helperWork = "POTSTILL_TEST_CLAIM_WORK" // file to which each piece of work that is done adds a line
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if err := helper(dir, os.Getenv(helperWork)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper does fifty pieces of work of which others may do some, or, without a
// file for them, claims one and keeps it until it is killed.
func helper(dir, work string) error {
	f, err := Open(dir)
	if err != nil {
		return err
	}
	if work == "" {
		if _, err := f.Try("work", false); err != nil {
			return err
		}
		fmt.Println("claimed")
		time.Sleep(time.Minute)
		return nil
	}
	for i := range 50 {
		name := fmt.Sprintf("piece.%d", i)
		for {
			c, err := f.Try(name, false)
			var held *HeldError
			if errors.As(err, &held) {
				time.Sleep(time.Millisecond)
				continue
			} else if err != nil {
				return err
			}
			done := filepath.Join(filepath.Dir(work), name)
			if _, err := os.Stat(done); err != nil {
				if err := appendLine(work, name); err != nil {
					return err
				}
				if err := os.WriteFile(done, nil, 0o666); err != nil {
					return err
				}
			}
			if err := c.Done(); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func appendLine(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	return errors.Join(err, f.Close())
}

func process(dir, work string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir, helperWork+"="+work)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// elsewhere returns the folder as a process on another machine has it.
func elsewhere(t *testing.T, dir string) *Folder {
	f := open(t, dir)
	f.self.Machine, f.self.Host = "other", "other"
	f.Beat, f.Stale = 20*time.Millisecond, 700*time.Millisecond
	return f
}

// Four processes race for fifty pieces of work, and each is done once.
func TestProcesses(t *testing.T) {
	dir, work := t.TempDir(), filepath.Join(t.TempDir(), "done")
	var all []*exec.Cmd
	for range 4 {
		cmd := process(dir, work)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(work)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if seen[line] {
			t.Errorf("done twice: %s", line)
		}
		seen[line] = true
	}
	if left, _ := os.ReadDir(dir); len(seen) != 50 || len(left) != 0 {
		t.Errorf("%d pieces done; left behind: %v", len(seen), left)
	}
}

// A process that is killed holds its claim no longer, and one that lives does.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := process(dir, "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "claimed" {
		t.Fatal(s.Text())
	}
	f := open(t, dir)
	f.Stale = 0 // so that nothing but the lock says that the process lives
	var held *HeldError
	for range 2 {
		if _, err := f.Try("work", false); !errors.As(err, &held) || held.By.PID != cmd.Process.Pid || !strings.Contains(held.By.String(), fmt.Sprint(cmd.Process.Pid)) {
			t.Fatalf("error %v", err)
		}
	}
	if others, err := f.Others(); err != nil || len(others) != 1 || others[0].PID != cmd.Process.Pid {
		t.Errorf("others %v, %v", others, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	c, err := f.Try("work", false)
	if err != nil {
		t.Fatal(err)
	}
	if others, err := f.Others(); err != nil || len(others) != 0 {
		t.Errorf("others %v, %v", others, err)
	}
	if err := c.Done(); err != nil {
		t.Fatal(err)
	}
}

// A claim of another machine is alive as long as its holder writes to it.
func TestSilence(t *testing.T) {
	dir := t.TempDir()
	there, here := elsewhere(t, dir), open(t, dir)
	here.Stale = there.Stale
	c, err := there.Try("work", true)
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	for end := time.Now().Add(2 * here.Stale); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := here.Try("work", false); !errors.As(err, &held) || held.By.Host != "other" || !held.By.Alone {
			t.Fatalf("error %v", err)
		}
	}
	if others, err := here.Others(); err != nil || len(others) != 0 {
		t.Errorf("claims of another machine are of this one: %v, %v", others, err)
	}
	ctx, cancel := c.Guard(t.Context())
	defer cancel()
	c.halt() // as a process that is suspended
	var taken *Claim
	begun := time.Now()
	for ; taken == nil; time.Sleep(10 * time.Millisecond) {
		if taken, err = here.Try("work", false); err != nil && !errors.As(err, &held) {
			t.Fatal(err)
		}
	}
	if d := time.Since(begun); d < here.Stale/2 || d > 20*here.Stale {
		t.Errorf("taken over after %v", d)
	}
	c.quit, c.over = make(chan struct{}), make(chan struct{})
	go c.beat(there.Beat) // as it wakes
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), ErrLost) || !errors.Is(c.Check(), ErrLost) {
		t.Errorf("cause %v, %v", context.Cause(ctx), c.Check())
	}
	if err := taken.Check(); err != nil {
		t.Error(err)
	}
	if err := taken.Done(); err != nil {
		t.Fatal(err)
	}
	if c.held, c.lost = context.WithCancelCause(t.Context()); !errors.Is(c.Check(), ErrLost) { // as if it woke only now
		t.Error("a claim that another process took over and gave back is not lost")
	}
}

// A claim that was given back without a result is free at once, everywhere.
func TestFree(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		f := open(t, dir)
		if i%2 == 1 {
			f = elsewhere(t, dir)
		}
		c, err := f.Try("work", false)
		if err != nil {
			t.Fatal(i, err)
		}
		if err := c.Free(); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "work.3" {
		t.Errorf("left behind: %v", left)
	}
}

// However many find a claim free, or dead, at the same time, one of them takes it.
func TestTakeover(t *testing.T) {
	dir := t.TempDir()
	const rounds = 20
	for round := range rounds + 1 {
		c, err := elsewhere(t, dir).Try("work", false)
		if err != nil {
			t.Fatal(err)
		}
		stale, patience := time.Minute, 50*time.Millisecond
		if round < rounds {
			err = c.Free()
		} else {
			c.halt() // it is dead when it has been silent for a second
			stale, patience = time.Second, 1500*time.Millisecond
		}
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		claims := make(chan *Claim, 8)
		for k := range 8 {
			f := elsewhere(t, dir)
			f.self.Machine = fmt.Sprint("machine ", k)
			f.Stale = stale
			all.Go(func() {
				for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					if c, err := f.Try("work", false); err == nil {
						claims <- c
						return
					}
				}
			})
		}
		all.Wait()
		if n := len(claims); n != 1 {
			t.Fatalf("round %d: %d have taken it over", round, n)
		}
		if err := (<-claims).Done(); err != nil {
			t.Fatal(err)
		}
	}
}

// What another process is writing, or has left half written, is judged by time.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "work.7"), []byte(`{"name": "wo`), 0o666); err != nil {
		t.Fatal(err)
	}
	f := open(t, dir)
	f.Stale = 50 * time.Millisecond
	var held *HeldError
	if _, err := f.Try("work", false); !errors.As(err, &held) || held.By.String() != "another process" {
		t.Fatalf("error %v", err)
	}
	time.Sleep(2 * f.Stale)
	c, err := f.Try("work", false)
	if err != nil {
		t.Fatal(err)
	}
	if c.number != 8 {
		t.Errorf("number %d", c.number)
	}
	if err := c.Done(); err != nil {
		t.Fatal(err)
	}
}

func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "claims")); err == nil {
		t.Error("a folder below a file")
	}
	f := open(t, filepath.Join(t.TempDir(), "claims"))
	if err := os.Remove(f.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Try("work", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
