// Package launch reads from the environment who has started a process, and as which of
// how many: the launchers of clusters set variables, each its own.
package launch

import (
	"fmt"
	"strconv"
	"strings"
)

// The launchers.
const (
	Torchrun = "torchrun"
	OpenMPI  = "Open MPI"
	Hydra    = "MPICH" // and Intel MPI
	Slurm    = "Slurm"
)

// A Process is one of those that a launcher has started.
type Process struct {
	Launcher string
	Rank     int // from 0 to Size-1
	Size     int // processes
	Local    int // the rank among those of its machine, -1 if that is not known
	// LocalSize is how many are on this machine, 0 if that is not known.
	LocalSize int
	// Addr and Port are where the first process can be met, as far as the launcher says:
	// "" and 0 if it does not.
	Addr string
	Port int
	// Job tells this job from others on the same machines, and a job that was started again
	// from its first start; "" if the launcher does not.
	Job string
}

// A launcher's variables: each entry may have several, of which the first that is set
// counts.
type variables struct {
	launcher                     string
	rank, size, local, localSize []string
}

// all lists the launchers; the first that has set its rank and size counts. Slurm comes
// last, for mpirun and torchrun set their own within a job of Slurm's.
var all = []variables{
	{Torchrun, []string{"RANK"}, []string{"WORLD_SIZE"}, []string{"LOCAL_RANK"}, []string{"LOCAL_WORLD_SIZE"}},
	{OpenMPI, []string{"OMPI_COMM_WORLD_RANK"}, []string{"OMPI_COMM_WORLD_SIZE"}, []string{"OMPI_COMM_WORLD_LOCAL_RANK"}, []string{"OMPI_COMM_WORLD_LOCAL_SIZE"}},
	{Hydra, []string{"PMI_RANK"}, []string{"PMI_SIZE"}, []string{"MPI_LOCALRANKID"}, []string{"MPI_LOCALNRANKS"}},
	{Slurm, []string{"SLURM_PROCID"}, []string{"SLURM_NTASKS"}, []string{"SLURM_LOCALID"}, nil},
}

// From returns what the environment says of this process, nil if no launcher has started
// it, or started it alone.
func From(getenv func(string) string) (*Process, error) {
	for _, v := range all {
		if v.launcher == Torchrun && (getenv("MASTER_ADDR") == "" || getenv("LOCAL_RANK") == "") {
			continue // RANK alone may be anybody's
		}
		if step := getenv("SLURM_STEP_ID"); v.launcher == Slurm && (step == "" || step == "batch") {
			continue // the batch script itself, which srun has not started
		}
		p := &Process{Launcher: v.launcher}
		var ok [2]bool
		for i, x := range []struct {
			to    *int
			names []string
			none  int
		}{{&p.Rank, v.rank, 0}, {&p.Size, v.size, 0}, {&p.Local, v.local, -1}, {&p.LocalSize, v.localSize, 0}} {
			set, err := number(getenv, x.names, x.none, x.to)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.launcher, err)
			}
			if i < 2 {
				ok[i] = set
			}
		}
		if !ok[0] || !ok[1] {
			continue
		}
		if p.Size < 1 || p.Rank < 0 || p.Rank >= p.Size {
			return nil, fmt.Errorf("%s: rank %d of %d: its variables %s and %s make no sense", v.launcher, p.Rank, p.Size, v.rank[0], v.size[0])
		}
		if p.Size == 1 {
			return nil, nil
		}
		if err := p.meet(getenv); err != nil {
			return nil, err
		}
		return p, nil
	}
	return nil, nil
}

// number reads the first of the variables that is set.
func number(getenv func(string) string, names []string, none int, to *int) (bool, error) {
	*to = none
	for _, name := range names {
		text := getenv(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return false, fmt.Errorf("%s is %q, not a number", name, text)
		}
		*to = n
		return true, nil
	}
	return false, nil
}

// PortEnv is the environment variable that names the port of the first process, the same at
// all of them, where another one than the launcher's must serve.
const PortEnv = "POTSTILL_PORT"

// meet finds out where the first process can be met.
func (p *Process) meet(getenv func(string) string) error {
	if err := p.master(getenv); err != nil {
		return err
	}
	_, err := number(getenv, []string{PortEnv}, p.Port, &p.Port)
	return err
}

func (p *Process) master(getenv func(string) string) error {
	p.Job = getenv("SLURM_JOB_ID")
	if p.Launcher == Torchrun {
		p.Job = getenv("TORCHELASTIC_RUN_ID") + " " + getenv("TORCHELASTIC_RESTART_COUNT")
	}
	if p.Addr = getenv("MASTER_ADDR"); p.Addr != "" {
		_, err := number(getenv, []string{"MASTER_PORT"}, 29500, &p.Port)
		if getenv("TORCHELASTIC_USE_AGENT_STORE") == "True" {
			p.Port++ // torchrun itself listens there
		}
		return err
	}
	if p.Launcher != Slurm {
		return nil
	}
	nodes, err := Hosts(getenv("SLURM_JOB_NODELIST"))
	if err != nil {
		return fmt.Errorf("the list of nodes, SLURM_JOB_NODELIST: %w", err)
	}
	if len(nodes) == 0 {
		return nil
	}
	job := 0
	if _, err := number(getenv, []string{"SLURM_JOB_ID"}, 0, &job); err != nil {
		return err
	}
	if job < 0 {
		job = -job
	}
	p.Addr, p.Port = nodes[0], 20000+job%10000
	return nil
}

// Hosts expands a list of Slurm's: "node[01-03,7],login" is node01, node02, node03,
// node7 and login.
func Hosts(list string) (hosts []string, err error) {
	for list != "" {
		var name string
		if name, list, err = cut(list); err != nil {
			return nil, err
		}
		more, err := expand(name)
		if err != nil {
			return nil, err
		}
		if hosts = append(hosts, more...); len(hosts) > 1<<20 {
			return nil, fmt.Errorf("%q is too long a list", list)
		}
	}
	return hosts, nil
}

// cut returns what is before the first comma outside of brackets, and what is behind.
func cut(list string) (first, rest string, err error) {
	depth := 0
	for i, c := range list {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				return list[:i], list[i+1:], nil
			}
		}
	}
	if depth != 0 {
		return "", "", fmt.Errorf("%q has a bracket without its other", list)
	}
	return list, "", nil
}

// expand expands one name with any number of brackets.
func expand(name string) ([]string, error) {
	before, rest, ok := strings.Cut(name, "[")
	if !ok {
		return []string{name}, nil
	}
	inside, behind, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, fmt.Errorf("%q has a bracket without its other", name)
	}
	tails, err := expand(behind)
	if err != nil {
		return nil, err
	}
	var all []string
	for part := range strings.SplitSeq(inside, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		a, err := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil || a > b || b-a > 1<<16 {
			return nil, fmt.Errorf("%q in %q is no range of numbers", part, name)
		}
		for n := a; n <= b; n++ {
			for _, tail := range tails {
				all = append(all, fmt.Sprintf("%s%0*d%s", before, len(low), n, tail))
			}
		}
	}
	return all, nil
}

// Threads returns how many of a machine's processors one of its processes should take of
// those that it may use: all, unless all processes of the machine share them. online is
// how many the machine has, usable how many this process may run on.
func (p *Process) Threads(online, usable int) int {
	if p.LocalSize > 1 && usable >= online { // the launcher has bound nobody
		return max(1, usable/p.LocalSize)
	}
	return usable
}
