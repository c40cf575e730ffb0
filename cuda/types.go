package cuda

import "log/slog"

// A Ptr is an address in a device's memory. Zero is no address.
type Ptr uint64

// A CommID is NCCL's ncclUniqueId: one rank makes it and passes it to the others, and all of them
// join the communicator with it.
type CommID [128]byte

// Options say where Load looks and what it keeps.
type Options struct {
	// Search holds folders that are looked in before all others.
	Search []string
	// CacheDir is the folder that keeps compiled kernels. It is made when the
	// first one is written. Empty: none are kept.
	CacheDir string
	// Logger is told what was opened, compiled and passed over. Nil: nobody is.
	Logger *slog.Logger
}

// A Source is a text that Precompile compiles: its name in messages, the text,
// and options as Context.Compile takes them.
type Source struct {
	Name, Text string
	Options    []string
}

// A Library says what became of one of the libraries.
type Library struct {
	Name    string // "libcuda", "libnvrtc", "libcudnn", "libcublasLt", "libnccl"
	Path    string // the file that was opened, empty if none was
	Version string // "13.0"; empty where it could not be asked
	Err     error  // why it cannot be used, with where it was looked for
	Fix     string // what to do about Err
}

// A Device describes one CUDA device.
type Device struct {
	Index               int
	Name                string // "NVIDIA H100 80GB HBM3"
	UUID                string // "GPU-…", as nvidia-smi prints it
	Memory              int    // bytes
	Major, Minor        int    // compute capability
	Multiprocessors     int
	SharedPerBlock      int // bytes of shared memory that a block may use as it is
	SharedPerBlockOptin int // and after Function.SetDynamicShared
	L2                  int // bytes of second level cache
	MemoryClock         int // kHz, 0 where the driver does not say
	BusWidth            int // bits
	Driver              int // the newest CUDA that the driver supports: 13000 is 13.0
}
