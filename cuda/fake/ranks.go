package fake

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Rank is one of several processes in which a test runs, each with a device of its own.
type Rank struct {
	Rank, Size int
	// Dir is a folder of all of them, and Port one of this machine that rank 0 may listen at.
	Dir  string
	Port int
}

// What tells a process that it is a rank, of which test.
const (
	rankEnv = "FAKE_RANK"
	testEnv = "FAKE_RANK_TEST"
)

// ThisRank returns which rank this process is of the calling test, nil if it is the process
// that is to start them.
func ThisRank(t testing.TB) *Rank {
	t.Helper()
	if os.Getenv(testEnv) != t.Name() {
		return nil
	}
	r := &Rank{Dir: os.Getenv("TMPDIR")}
	if _, err := fmt.Sscan(os.Getenv(rankEnv), &r.Rank, &r.Size, &r.Port); err != nil {
		t.Fatalf("%s=%q: %v", rankEnv, os.Getenv(rankEnv), err)
	}
	return r
}

// Ranks are the processes of a test, as whoever has started them sees them.
type Ranks struct {
	// Dir is their folder.
	Dir string
	t   testing.TB
	all []*exec.Cmd
	out []*bytes.Buffer
}

// patience is how long the processes of a test may take.
const patience = 2 * time.Minute

// StartRanks starts the calling test in n processes, in which ThisRank is not nil, with these
// variables of the environment beside their own.
func StartRanks(t testing.TB, n int, env ...string) *Ranks {
	t.Helper()
	Dir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("this machine has no port to meet at: %v", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rs := &Ranks{Dir: t.TempDir(), t: t}
	for r := range n {
		c := exec.Command(exe, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.timeout="+patience.String(), "-test.v")
		c.Env = append(os.Environ(), testEnv+"="+t.Name(), fmt.Sprintf("%s=%d %d %d", rankEnv, r, n, port), "FAKE_DEVICES="+strconv.Itoa(n), "TMPDIR="+rs.Dir)
		c.Env = append(c.Env, env...)
		out := new(bytes.Buffer)
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			rs.Kill()
			t.Fatal(err)
		}
		rs.all, rs.out = append(rs.all, c), append(rs.out, out)
	}
	return rs
}

// Kill kills all that still run.
func (rs *Ranks) Kill() {
	for _, c := range rs.all {
		_ = c.Process.Kill()
	}
}

// KillRank kills one, as by kill -9.
func (rs *Ranks) KillRank(r int) { _ = rs.all[r].Process.Kill() }

// Wait waits for a rank and returns what it has printed, and its failure.
func (rs *Ranks) Wait(r int) (string, error) {
	err := rs.all[r].Wait()
	return rs.out[r].String(), err
}

// Done waits for all, and fails the test where one of them has failed.
func (rs *Ranks) Done() {
	rs.t.Helper()
	for r := range rs.all {
		if out, err := rs.Wait(r); err != nil {
			rs.t.Errorf("rank %d: %v\n%s", r, err, out)
		}
	}
}
