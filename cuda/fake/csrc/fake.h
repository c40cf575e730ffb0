// What the parts of the stand-in libcuda share with each other, and what the
// stand-ins for cuDNN and cuBLASLt may call in it (the part below "For other
// stand-ins"). Device memory is host memory here: a device address is an
// ordinary pointer.
#ifndef FAKE_H
#define FAKE_H

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;
typedef int CUdevice;
typedef struct fake_context *CUcontext;
typedef struct fake_stream *CUstream;
typedef struct fake_event *CUevent;
typedef struct fake_module *CUmodule;
typedef struct fake_function *CUfunction;
typedef struct fake_graph *CUgraph;
typedef struct fake_exec *CUgraphExec;

enum {
	OK = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	INVALID_DEVICE = 101,
	INVALID_IMAGE = 200,
	INVALID_CONTEXT = 201,
	INVALID_HANDLE = 400,
	ILLEGAL_STATE = 401,
	NOT_FOUND = 500,
	NOT_READY = 600,
	ILLEGAL_ADDRESS = 700,
	LAUNCH_OUT_OF_RESOURCES = 701,
	MISALIGNED_ADDRESS = 716,
	LAUNCH_FAILED = 719,
	NOT_SUPPORTED = 801,
	CAPTURE_UNSUPPORTED = 900,
	CAPTURE_INVALIDATED = 901,
	CAPTURE_UNMATCHED = 903,
	CAPTURE_UNJOINED = 904,
	CAPTURED_EVENT = 907,
	UNKNOWN = 999,
};

// For other stand-ins.

// fakeEnqueue has fn(arg) run in the order of the stream, on a copy of the
// given bytes: at once, or at each launch of the graph that is being captured.
// fn returns 0 or a CUresult, which then is the context's error.
CUresult fakeEnqueue(CUstream s, const char *name, CUresult (*fn)(const void *arg), const void *arg, size_t bytes);
// fakeHolds says whether bytes from p on lie within one live allocation of the device.
int fakeHolds(const void *p, size_t bytes);
// fakeMoved says what the work that runs reads and writes of the device's memory.
void fakeMoved(size_t read, size_t written);
// fakeInjected counts a call by its name and returns the error that a test
// wants of it, or 0.
CUresult fakeInjected(const char *call);

// Within libcuda.

#define API __attribute__((visibility("default")))

// A call's name and how often it was made.
typedef struct fake_call {
	const char *name;
	long count;
	struct fake_call *next;
} fake_call;

enum { NEED_NOTHING, NEED_INIT, NEED_CONTEXT };

void fake_lock(void);
void fake_unlock(int *held);
CUresult fake_enter(fake_call *call, int need);
// fake_fault makes code the context's lasting error and keeps the detail for cuGetErrorString.
CUresult fake_fault(CUresult code, const char *format, ...) __attribute__((format(printf, 2, 3)));
CUresult fake_sticky(void);
const char *fake_detail(void);

// ENTER takes the one lock until the function returns, and returns early with
// an injected or lasting error, or where need is not met.
#define ENTER(need)                                                      \
	static fake_call call_ = { __func__, 0, 0 };                         \
	__attribute__((cleanup(fake_unlock))) int held_ = 1;                 \
	fake_lock();                                                         \
	CUresult entered_ = fake_enter(&call_, need);                        \
	(void)held_;                                                         \
	if (entered_)                                                        \
	return entered_

// Objects are never given back to malloc, so that a stale handle is told from a live one.
enum { STREAM = 0x57524541, EVENT = 0x45564e54, MODULE = 0x4d4f4455, FUNCTION = 0x46554e43, GRAPH = 0x47524150, EXEC = 0x45584543 };
#define LIVE(p, kind) ((p) && (p)->magic == (kind))
enum { LIVE_MEMORY, LIVE_HOST, LIVE_STREAMS, LIVE_EVENTS, LIVE_MODULES, LIVE_GRAPHS, LIVE_CONTEXTS, LIVE_KINDS };
extern long fake_live[LIVE_KINDS];
void *fake_object(size_t bytes, unsigned magic);
long fake_setting(const char *name, long otherwise);

struct fake_stream {
	unsigned magic;
	CUcontext owner; // NULL of the default stream
	CUgraph capture; // what the stream is captured into
	int origin;      // the capture began here
	// Of a stream that has joined a capture: what it has been given there, and how much
	// of it another stream of the capture waits for.
	long work, awaited;
};
// fake_stream_of returns the default stream for none. fake_capture is the graph
// that is being captured into, or none.
CUstream fake_stream_of(CUstream s);
extern CUgraph fake_capture;
// fake_capture_join has a stream join the capture, unless it has.
void fake_capture_join(CUstream s);

// A node is one entry of a stream: run at once, kept in a graph, or queued.
typedef struct fake_node {
	struct fake_node *next;
	CUresult (*run)(struct fake_node *);
	CUstream stream;
	CUfunction function;
	CUevent event;
	CUresult (*call)(const void *);
	char name[64];
	void *to;
	const void *from;
	unsigned grid[3], block[3], shared;
	int overlaps;
	size_t bytes; // of args, or to copy or fill
	unsigned char value;
	_Alignas(16) unsigned char args[];
} fake_node;

// fake_submit takes the node over.
CUresult fake_submit(CUstream s, fake_node *n);
fake_node *fake_node_new(CUresult (*run)(fake_node *), size_t args);
CUresult fake_drain(void);           // runs what is queued
int fake_capturing_unsafely(void);   // a capture forbids calls like cuMemAlloc
CUresult fake_capture_break(void);   // such a call was made: the capture is invalid
CUresult fake_check_guards(void);
void fake_reset_context(void);
void fake_memory_reset(void);
void fake_stream_reset(void);

typedef struct fake_context {
	int retained;
} fake_context;
// fake_current is the calling thread's context. fake_is_context says whether c
// is the primary context or was made by cuCtxCreate.
CUcontext fake_current(void);
int fake_is_context(CUcontext c);
int fake_created(CUcontext c);
void fake_destroy_created(void);
// fake_block finds the live allocation of the device that p lies in; it returns 0 if there is none.
int fake_block(CUdeviceptr p, CUdeviceptr *base, size_t *bytes, CUcontext *owner);

// Kernels: what a module made by the stand-in libnvrtc exports.
typedef struct { unsigned x, y, z; } fake_uint3;
typedef struct fake_now {
	fake_uint3 thread, block, block_dim, grid_dim;
	void *dynamic;
	int overlaps; // the launch may have begun before what is earlier has ended
} fake_now;
typedef struct fake_watch { // see cuda_watch.c
	void (*access)(unsigned long at, unsigned long size, int write);
	void (*atomic)(unsigned long at, int begins);
	void (*fence)(void);
} fake_watch;
typedef struct fake_calls {
	unsigned long (*sync_threads)(int line, int kind, unsigned long value);
	unsigned long (*warp)(int line, int kind, unsigned mask, unsigned long value, int lane, int width);
	void (*fail)(int code, const char *what, unsigned long value, const char *type, int line);
	void (*waited)(void); // for what is earlier
	const fake_watch *watch;
} fake_calls;
typedef struct fake_kernel {
	void (*entry)(const void *args);
	unsigned args, max_threads;
} fake_kernel;

struct fake_module {
	unsigned magic;
	void *handle;
	fake_now *now;
	char *shared, *shared_end;
};
struct fake_function {
	unsigned magic;
	CUmodule module;
	const fake_kernel *kernel;
	unsigned dynamic_limit;
	char name[64];
	struct fake_function *next;
};

// fake_run_grid runs a checked launch to its end. One that overlaps must wait for
// what is earlier in its stream in every thread, before it touches the device's memory.
CUresult fake_run_grid(CUfunction f, const void *args, const unsigned grid[3], const unsigned block[3], unsigned shared, int overlaps);
// fake_guarded runs fn so that its crashes become errors of the context.
// fake_escape leaves fn for good, from any stack. fake_where writes the block and
// the thread that run, nothing if no kernel does.
CUresult fake_guarded(const char *name, CUresult (*fn)(void *), void *arg);
void fake_escape(void) __attribute__((noreturn));
void fake_where(char *text, size_t size);
extern const fake_calls fake_kernel_calls;
// fake_thread is the number in its block of the thread that runs.
// fake_on_stack says whether p lies on a thread's stack. fake_kernel_failed
// leaves the kernel for good, with what went wrong.
// fake_early says whether that thread has yet to wait for what is earlier.
int fake_thread(void);
int fake_early(void);
int fake_on_stack(const char *p);
void fake_kernel_failed(const char *what) __attribute__((noreturn));

// What has run, by name. fake_moved adds to what the work that runs has moved, which
// fake_worked enters under the work's name; that of an event is empty.
typedef struct {
	char name[64];
	long count, overlaps, read, written;
} fake_work;
void fake_moved(long read, long written);
void fake_worked(const char *name, int overlaps);
void fake_traffic_launch(void);
void fake_traffic(uintptr_t at, size_t size, int write);

// Accesses to memory: what a launch and a block tell, and how far an address lies
// within its allocation or its block's shared memory.
extern const fake_watch fake_watch_calls;
void fake_watch_launch(unsigned blocks, char *shared, char *shared_end, char *dynamic, size_t dynamic_bytes, int overlaps);
void fake_watch_block(unsigned block);
void fake_watch_end(void);
unsigned long fake_watch_offset(uintptr_t at, int shared);

// Races: what a launch, a block, a barrier, a __syncwarp() of a warp, an access, an
// atomic operation (before it and behind it) and a fence tell. A launch of which it
// returns 0 cannot be watched.
int fake_race_launch(unsigned blocks);
void fake_race_block(unsigned block);
void fake_race_access(uintptr_t at, size_t size, int write, int shared);
void fake_race_atomic(uintptr_t at, int begins);
void fake_race_fence(void);
void fake_race_barrier(void);
void fake_race_warp_barrier(void);
void fake_race_warp_lane(int thread);

#endif
