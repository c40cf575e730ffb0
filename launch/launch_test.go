package launch

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// TestFrom reads what each launcher sets.
func TestFrom(t *testing.T) {
	for name, x := range map[string]struct {
		env  []string
		want *Process
	}{
		"none":       {nil, nil},
		"rank alone": {[]string{"RANK", "1", "WORLD_SIZE", "2"}, nil},
		"torchrun": {[]string{"RANK", "5", "WORLD_SIZE", "8", "LOCAL_RANK", "1", "LOCAL_WORLD_SIZE", "4", "MASTER_ADDR", "10.0.0.1", "MASTER_PORT", "29400"},
			&Process{Torchrun, 5, 8, 1, 4, "10.0.0.1", 29400, " "}},
		"torchrun that listens itself": {[]string{"RANK", "5", "WORLD_SIZE", "8", "LOCAL_RANK", "1", "MASTER_ADDR", "a", "MASTER_PORT", "29400",
			"TORCHELASTIC_USE_AGENT_STORE", "True", "TORCHELASTIC_RUN_ID", "none", "TORCHELASTIC_RESTART_COUNT", "2"},
			&Process{Torchrun, 5, 8, 1, 0, "a", 29401, "none 2"}},
		"another port": {[]string{"RANK", "0", "WORLD_SIZE", "8", "LOCAL_RANK", "0", "MASTER_ADDR", "a", "POTSTILL_PORT", "4000"},
			&Process{Torchrun, 0, 8, 0, 0, "a", 4000, " "}},
		"Open MPI": {[]string{"OMPI_COMM_WORLD_RANK", "1", "OMPI_COMM_WORLD_SIZE", "2", "OMPI_COMM_WORLD_LOCAL_RANK", "1", "OMPI_COMM_WORLD_LOCAL_SIZE", "2", "PMIX_RANK", "1"},
			&Process{OpenMPI, 1, 2, 1, 2, "", 0, ""}},
		"Hydra":   {[]string{"PMI_RANK", "0", "PMI_SIZE", "3", "MPI_LOCALRANKID", "0", "MPI_LOCALNRANKS", "3"}, &Process{Hydra, 0, 3, 0, 3, "", 0, ""}},
		"MPICH 3": {[]string{"PMI_RANK", "2", "PMI_SIZE", "3"}, &Process{Hydra, 2, 3, -1, 0, "", 0, ""}},
		"srun": {[]string{"SLURM_PROCID", "3", "SLURM_NTASKS", "4", "SLURM_LOCALID", "1", "SLURM_STEP_ID", "0", "SLURM_JOB_ID", "12345", "SLURM_JOB_NODELIST", "gpu[07-08]"},
			&Process{Slurm, 3, 4, 1, 0, "gpu07", 22345, "12345"}},
		"sbatch": {[]string{"SLURM_PROCID", "0", "SLURM_NTASKS", "4", "SLURM_JOB_ID", "12345"}, nil},
		"mpirun in Slurm": {[]string{"SLURM_PROCID", "0", "SLURM_NTASKS", "4", "SLURM_STEP_ID", "0", "OMPI_COMM_WORLD_RANK", "1", "OMPI_COMM_WORLD_SIZE", "2"},
			&Process{OpenMPI, 1, 2, -1, 0, "", 0, ""}},
		"batch step": {[]string{"SLURM_PROCID", "0", "SLURM_NTASKS", "4", "SLURM_STEP_ID", "batch"}, nil},
		"mpirun in a batch step": {[]string{"SLURM_PROCID", "0", "SLURM_NTASKS", "4", "SLURM_STEP_ID", "batch", "PMI_RANK", "1", "PMI_SIZE", "2"},
			&Process{Hydra, 1, 2, -1, 0, "", 0, ""}},
		"alone": {[]string{"PMI_RANK", "0", "PMI_SIZE", "1"}, nil},
	} {
		got, err := From(env(x.env...))
		if err != nil || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, x.want)
		}
	}
	for want, pairs := range map[string][]string{
		"not a number":  {"PMI_RANK", "x", "PMI_SIZE", "2"},
		"make no sense": {"PMI_RANK", "2", "PMI_SIZE", "2"},
		"no range":      {"SLURM_PROCID", "0", "SLURM_NTASKS", "2", "SLURM_STEP_ID", "0", "SLURM_JOB_NODELIST", "a[3-x]"},
	} {
		if _, err := From(env(pairs...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", pairs, err, want)
		}
	}
}

func TestHosts(t *testing.T) {
	for list, want := range map[string][]string{
		"":                          nil,
		"login":                     {"login"},
		"node[01-03,7],login":       {"node01", "node02", "node03", "node7", "login"},
		"r[1-2]n[09-10]":            {"r1n09", "r1n10", "r2n09", "r2n10"},
		"a[1],b[2-2].cluster.local": {"a1", "b2.cluster.local"},
	} {
		got, err := Hosts(list)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", list, got, err, want)
		}
	}
	for _, list := range []string{"a[1", "a]1[", "a[2-1]", "a[1-99999999]"} {
		if got, err := Hosts(list); err == nil {
			t.Errorf("%s is read as %v", list, got)
		}
	}
}

func TestThreads(t *testing.T) {
	for _, x := range []struct{ local, online, usable, want int }{
		{2, 8, 8, 4}, {2, 8, 1, 1}, {0, 8, 8, 8}, {16, 8, 8, 1}, {3, 8, 8, 2},
	} {
		if got := (&Process{LocalSize: x.local}).Threads(x.online, x.usable); got != x.want {
			t.Errorf("%+v: %d threads", x, got)
		}
	}
}
