// Package cuda binds the parts of CUDA that training needs: the driver
// (devices, memory, streams, events, graphs), NVRTC, cuDNN, cuBLASLt and NCCL.
//
// Nothing of CUDA is needed to build it: the libraries are opened at run time,
// through prototypes of our own. The driver must be there for Load to succeed;
// the others are opened at first use, and Driver.Libraries says what became of
// each. CUDA 12 and 13 are supported, with cuDNN 9.
//
// # Where libraries are looked for
//
// Folder by folder, in this order; within one, newer versions come first. The
// first file that opens is taken.
//
//  1. Options.Search.
//  2. The folders in the environment's POTSTILL_CUDA_PATH, a list like PATH.
//     Of these and the former, each may also be a toolkit (its lib64 and lib are
//     looked in) or a Python site-packages folder (its nvidia/*/lib are).
//  3. What the dynamic loader knows: LD_LIBRARY_PATH and the system's cache.
//  4. lib64 and lib of CUDA_HOME and of CUDA_PATH.
//  5. /usr/local/cuda/lib64, then that of each /usr/local/cuda-13* and -12*.
//  6. The folders of distributions: /usr/lib/x86_64-linux-gnu (on ARM
//     aarch64-linux-gnu), /usr/lib64, /usr/lib, nvidia/current below the first,
//     /usr/lib/nvidia, /usr/lib/wsl/lib, /run/opengl-driver/lib, /opt/cuda/lib64.
//  7. The nvidia-* wheels (lib/python3*/site-packages/nvidia/*/lib) below
//     VIRTUAL_ENV, CONDA_PREFIX, the python3 of PATH, ~/.local and /usr/local.
//     Python itself is not run.
//
// Libraries of CUDA 13 are passed over when the driver supports only CUDA 12, and
// for a device that CUDA 13 has dropped (below sm_75), for which NVRTC, cuDNN and
// cuBLASLt of CUDA 12 are looked for. cuDNN has one name for both, and is asked; as
// a process can have one cuDNN only, put the folder of the right one first. For a
// device newer than NVRTC, the driver compiles on what NVRTC makes for the newest
// it knows.
//
// # Contexts and goroutines
//
// A Context is the device's primary context, which every library in the process
// shares. Each call makes it current on the thread that it happens to run on, so
// goroutines need not be locked to threads. Several goroutines may use one
// Driver and one Context; a Stream, and the events and graphs used with it,
// belong to one goroutine at a time. Every Close is idempotent, and closing a
// Context closes what is left of what it made.
//
// # Other libraries in the process
//
// Driver.Adopt takes a context that other code of the process made, and
// Context.AdoptStream a stream; Handle gives ours away. From then on contexts are
// made current at every call, as the other side may do so too.
package cuda
