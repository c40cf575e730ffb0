// A stand-in for libnccl.so.2: ranks are processes of one machine that exchange through a
// file that all of them have mapped, a ring of bytes from each rank to each. Work is
// done where the stream's work is, and waits for the other ranks as long as it takes, as
// NCCL does: a rank that is gone is waited for until an abort. Each message has a head with its
// kind and length, so that it is an error if ranks exchange different things. Under
// POTSTILL_ABI the compiler holds this against NVIDIA's header.
#ifdef POTSTILL_ABI
#include <nccl.h>
#endif
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef POTSTILL_ABI
typedef unsigned ncclResult_t, ncclDataType_t;
typedef struct ncclComm *ncclComm_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct { char internal[128]; } ncclUniqueId;
enum { ncclSuccess, ncclUnhandledCudaError, ncclSystemError, ncclInternalError, ncclInvalidArgument, ncclInvalidUsage, ncclRemoteError };
enum { ncclFloat32 = 7 };
#endif

enum { RANKS = 8, RING = 1 << 16, COMM = 0x4e43434c, OPS = 2 * RANKS };

// A ring carries bytes from one rank to another.
typedef struct {
	_Atomic uint64_t written, read;
	unsigned char data[RING];
} ring;

// What the ranks have in common.
typedef struct {
	_Atomic int size, joined, pid[RANKS];
	ring rings[RANKS][RANKS]; // from, to
} world;

struct ncclComm {
	unsigned magic;
	int rank, size;
	world *w;
	_Atomic int aborted;
	_Atomic unsigned error;
};

// What one call or group does, with a message to and from each peer at most.
enum { GATHER = 1, POINT };
typedef struct {
	unsigned char *p;
	size_t bytes, done; // with the head
	int peer, sends;
} op;
typedef struct {
	ncclComm_t comm;
	int kind, n;
	op ops[OPS];
} job;
typedef struct { uint64_t kind, bytes; } head;

static __thread struct { int depth; unsigned error; job job; CUstream stream; } group;

#define CALL()                                  \
	do {                                        \
		int injected_ = fakeInjected(__func__); \
		if (injected_)                          \
			return (ncclResult_t)injected_;     \
	} while (0)
#define NEED(condition, result) \
	do {                        \
		if (!(condition))       \
			return (result);    \
	} while (0)

// move carries what it can of a message and returns whether that was anything, -1 if the
// other side is at something else.
static int move(ring *r, op *o, int kind) {
	head h = { (uint64_t)kind, o->bytes };
	uint64_t w = atomic_load(&r->written), d = atomic_load(&r->read), total = o->bytes + sizeof h;
	uint64_t n = o->sends ? RING - (w - d) : w - d;
	if (!o->sends && o->done == 0) {
		if (n < sizeof h)
			return 0;
		head theirs;
		for (size_t i = 0; i < sizeof h; i++)
			((unsigned char *)&theirs)[i] = r->data[(d + i) % RING];
		if (theirs.kind != h.kind || theirs.bytes != h.bytes)
			return -1;
		o->done = sizeof h, d += sizeof h, n -= sizeof h;
		atomic_store(&r->read, d);
	}
	if (n > total - o->done)
		n = total - o->done;
	for (uint64_t i = 0; i < n; i++, o->done++) {
		if (o->sends)
			r->data[(w + i) % RING] = o->done < sizeof h ? ((unsigned char *)&h)[o->done] : o->p[o->done - sizeof h];
		else
			o->p[o->done - sizeof h] = r->data[(d + i) % RING];
	}
	if (o->sends)
		atomic_store(&r->written, w + n);
	else
		atomic_store(&r->read, d + n);
	return n > 0;
}

// With FAKE_NCCL_NOTICES NCCL notices itself that a rank is gone, as it does over a network.
static void notice(ncclComm_t c, int peer) {
	const char *s = getenv("FAKE_NCCL_NOTICES");
	if (s && *s && *s != '0' && kill(atomic_load(&c->w->pid[peer]), 0) && errno == ESRCH)
		atomic_store(&c->error, ncclRemoteError);
}

static CUresult exchange(job *j) {
	ncclComm_t c = j->comm;
	for (int i = 0; i < j->n; i++) {
		op *to = &j->ops[i];
		if (to->peer != c->rank || !to->sends)
			continue;
		for (int k = 0; k < j->n; k++)
			if (j->ops[k].peer == c->rank && !j->ops[k].sends) {
				if (to->bytes != j->ops[k].bytes)
					return LAUNCH_FAILED;
				memmove(j->ops[k].p, to->p, to->bytes);
			}
	}
	for (;;) {
		int left = 0, moved = 0;
		for (int i = 0; i < j->n; i++) {
			op *o = &j->ops[i];
			if (o->peer == c->rank || o->done == o->bytes + sizeof(head))
				continue;
			int m = move(o->sends ? &c->w->rings[c->rank][o->peer] : &c->w->rings[o->peer][c->rank], o, j->kind);
			if (m < 0) {
				fprintf(stderr, "fake NCCL: rank %d exchanges %zu bytes where rank %d exchanges something else\n", c->rank, o->bytes, o->peer);
				return LAUNCH_FAILED;
			}
			moved |= m;
			left |= o->done < o->bytes + sizeof(head);
			if (!m)
				notice(c, o->peer);
		}
		if (!left || atomic_load(&c->aborted))
			return OK;
		if (!moved)
			usleep(20);
	}
}

static CUresult run(const void *arg) {
	job j = *(const job *)arg;
	if (!LIVE(j.comm, COMM) && !atomic_load(&j.comm->aborted))
		return LAUNCH_FAILED; // destroyed before what was captured of it
	return exchange(&j);
}

API ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetVersion(int *version) {
	const char *s = getenv("FAKE_NCCL_VERSION");
	*version = s && *s ? atoi(s) : 23007;
	return ncclSuccess;
}

API const char *ncclGetErrorString(ncclResult_t r);
const char *ncclGetErrorString(ncclResult_t r) {
	static const char *const words[] = { "no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument",
		"invalid usage", "remote process exited or there was a network error" };
	return (unsigned)r < sizeof words / sizeof *words ? words[r] : "unknown result code";
}

API const char *ncclGetLastError(ncclComm_t c);
const char *ncclGetLastError(ncclComm_t c) {
	(void)c;
	return "";
}

// The id of a communicator is the path of the file.
API ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
	CALL();
	const char *dir = getenv("TMPDIR");
	memset(id, 0, sizeof *id);
	int n = snprintf(id->internal, sizeof id->internal, "%s/fake-nccl-XXXXXX", dir && *dir ? dir : "/tmp");
	NEED(n < (int)sizeof id->internal, ncclSystemError);
	int fd = mkstemp(id->internal);
	NEED(fd >= 0, ncclSystemError);
	int failed = ftruncate(fd, sizeof(world));
	close(fd);
	return failed ? ncclSystemError : ncclSuccess;
}

API ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank);
ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank) {
	CALL();
	NEED(comm && size > 0 && size <= RANKS && rank >= 0 && rank < size, ncclInvalidArgument);
	int fd = open(id.internal, O_RDWR);
	NEED(fd >= 0, ncclSystemError);
	world *w = mmap(0, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	NEED(w != MAP_FAILED, ncclSystemError);
	int none = 0, free_place = 0;
	NEED(atomic_compare_exchange_strong(&w->size, &none, size) || none == size, ncclInvalidArgument);
	NEED(atomic_compare_exchange_strong(&w->pid[rank], &free_place, (int)getpid()), ncclInvalidUsage);
	ncclComm_t c = calloc(1, sizeof *c);
	NEED(c, ncclSystemError);
	c->magic = COMM, c->rank = rank, c->size = size, c->w = w;
	if (atomic_fetch_add(&w->joined, 1) == size - 1)
		unlink(id.internal);
	while (atomic_load(&w->joined) < size)
		usleep(100);
	*comm = c;
	return ncclSuccess;
}

API ncclResult_t ncclCommDestroy(ncclComm_t c);
ncclResult_t ncclCommDestroy(ncclComm_t c) {
	CALL();
	NEED(LIVE(c, COMM), ncclInvalidArgument);
	c->magic = 0; // not freed, so that a stale one is known
	return ncclSuccess;
}

// The two that a thread calls while another one waits, which has the driver's lock: they
// may not want it.
API ncclResult_t ncclCommAbort(ncclComm_t c);
ncclResult_t ncclCommAbort(ncclComm_t c) {
	NEED(LIVE(c, COMM), ncclInvalidArgument);
	atomic_store(&c->aborted, 1);
	c->magic = 0;
	return ncclSuccess;
}

API ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error);
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
	NEED(LIVE(c, COMM) && error, ncclInvalidArgument);
	*error = atomic_load(&c->error);
	return ncclSuccess;
}

static ncclResult_t begin(void) {
	if (!group.depth++) {
		group.error = ncclSuccess;
		memset(&group.job, 0, sizeof group.job);
	}
	return ncclSuccess;
}

static ncclResult_t end(void) {
	NEED(group.depth, ncclInvalidUsage);
	if (--group.depth || group.error || !group.job.n)
		return group.error;
	return fakeEnqueue(group.stream, "ncclGroupEnd", run, &group.job, sizeof group.job) ? ncclUnhandledCudaError : ncclSuccess;
}

API ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupStart(void) {
	CALL();
	return begin();
}

API ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclGroupEnd(void) {
	CALL();
	return end();
}

// add appends one message to the group.
static ncclResult_t add(const void *p, size_t count, ncclDataType_t type, int peer, int sends, ncclComm_t c, cudaStream_t stream) {
	job *j = &group.job;
	NEED(LIVE(c, COMM) && type == ncclFloat32 && peer >= 0 && peer < c->size, ncclInvalidArgument);
	NEED((uintptr_t)p % 4 == 0 && fakeHolds(p, count * 4), ncclInvalidArgument);
	NEED(j->n < OPS && (!j->n || (j->comm == c && group.stream == (CUstream)stream && j->kind == POINT)), ncclInvalidUsage);
	for (int i = 0; i < j->n; i++)
		NEED(j->ops[i].peer != peer || j->ops[i].sends != sends, ncclInvalidUsage);
	j->comm = c, j->kind = POINT, group.stream = (CUstream)stream;
	j->ops[j->n++] = (op){ .p = (unsigned char *)p, .bytes = count * 4, .peer = peer, .sends = sends };
	return ncclSuccess;
}

// point is a message, in a group of its own if there is none.
static ncclResult_t point(const void *p, size_t count, ncclDataType_t type, int peer, int sends, ncclComm_t c, cudaStream_t stream) {
	begin();
	ncclResult_t r = add(p, count, type, peer, sends, c, stream);
	if (r)
		group.error = r;
	ncclResult_t ended = end();
	return r ? r : ended;
}

API ncclResult_t ncclSend(const void *p, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream);
ncclResult_t ncclSend(const void *p, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
	CALL();
	return point(p, count, type, peer, 1, c, stream);
}

API ncclResult_t ncclRecv(void *p, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream);
ncclResult_t ncclRecv(void *p, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
	CALL();
	return point(p, count, type, peer, 0, c, stream);
}

API ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t c, cudaStream_t stream);
ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t c, cudaStream_t stream) {
	CALL();
	NEED(LIVE(c, COMM) && type == ncclFloat32 && !group.depth, ncclInvalidArgument);
	size_t bytes = count * 4;
	NEED(fakeHolds(from, bytes) && fakeHolds(to, bytes * (size_t)c->size), ncclInvalidArgument);
	const unsigned char *a = from, *b = to;
	NEED(a == b + bytes * (size_t)c->rank || a + bytes <= b || b + bytes * (size_t)c->size <= a, ncclInvalidArgument);
	job j = { .comm = c, .kind = GATHER };
	for (int r = 0; r < c->size; r++) {
		j.ops[j.n++] = (op){ .p = (unsigned char *)from, .bytes = bytes, .peer = r, .sends = 1 };
		j.ops[j.n++] = (op){ .p = (unsigned char *)to + bytes * (size_t)r, .bytes = bytes, .peer = r };
	}
	return fakeEnqueue((CUstream)stream, "ncclAllGather", run, &j, sizeof j) ? ncclUnhandledCudaError : ncclSuccess;
}
