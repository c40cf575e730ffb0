// The stand-in libcuda: memory. Each allocation has pages of its own between
// two wide forbidden zones and ends, up to the alignment, where they end. What is
// left of its pages is guarded: filled with a pattern that is NaN as a float or
// bfloat16, and held to it at every synchronisation and at the free. Memory is
// NaN before it is written first. Freed addresses stay forbidden for a while.
#include "fake.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 256, POISON = 0xff, RESTING = 256, ZONE = 64 << 20 };

typedef struct block {
	char *map, *p; // the pages with both zones; the allocation
	size_t mapped, bytes;
	int host;
	CUcontext owner;
} block;

static block *blocks; // ordered by address
static int count, room;
static size_t used;
static block resting[RESTING];
static int rested;

static size_t page(void) {
	static size_t size;
	if (!size)
		size = (size_t)sysconf(_SC_PAGESIZE);
	return size;
}

// find returns the index of the first block that ends beyond p.
static int find(const char *p) {
	int lo = 0, hi = count;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (blocks[mid].map + blocks[mid].mapped <= p)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

// holder returns the live block that holds bytes from p on, or NULL.
static block *holder(const void *p, size_t bytes, int host) {
	int i = find(p);
	if (i == count || blocks[i].host != host)
		return 0;
	const char *c = p;
	block *b = &blocks[i];
	return c >= b->p && bytes <= b->bytes && (size_t)(c - b->p) <= b->bytes - bytes ? b : 0;
}

API int fakeHolds(const void *p, size_t bytes) {
	__attribute__((cleanup(fake_unlock))) int held = 1;
	fake_lock();
	return held && holder(p, bytes, 0) != 0;
}

int fake_block(CUdeviceptr p, CUdeviceptr *base, size_t *bytes, CUcontext *owner) {
	block *b = holder((void *)(uintptr_t)p, 1, 0);
	if (!b)
		return 0;
	*base = (CUdeviceptr)(uintptr_t)b->p;
	*bytes = b->bytes;
	*owner = b->owner;
	return 1;
}

static CUresult allocate(void **out, size_t bytes, int host) {
	size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	size_t inner = (rounded + page() - 1) / page() * page();
	if (!host && (bytes > (size_t)1 << 40 || used + rounded > (size_t)fake_setting("FAKE_MEMORY", 256L << 20)))
		return OUT_OF_MEMORY;
	if (count == room) {
		block *more = realloc(blocks, (size_t)(room * 2 + 64) * sizeof *blocks);
		if (!more)
			return OUT_OF_MEMORY;
		blocks = more;
		room = room * 2 + 64;
	}
	block b = { .mapped = inner + 2 * (size_t)ZONE, .bytes = bytes, .host = host, .owner = fake_current() };
	b.map = mmap(0, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b.map == MAP_FAILED)
		return OUT_OF_MEMORY;
	if (mprotect(b.map + ZONE, inner, PROT_READ | PROT_WRITE)) {
		munmap(b.map, b.mapped);
		return OUT_OF_MEMORY;
	}
	memset(b.map + ZONE, POISON, inner);
	b.p = b.map + ZONE + inner - rounded;
	int i = find(b.map);
	memmove(blocks + i + 1, blocks + i, (size_t)(count - i) * sizeof *blocks);
	blocks[i] = b;
	count++;
	if (!host)
		used += rounded;
	fake_live[host ? LIVE_HOST : LIVE_MEMORY]++;
	*out = b.p;
	return OK;
}

static size_t intact(const char *p, size_t n) {
	size_t i = 0;
	for (; i < n && ((uintptr_t)(p + i) & 7); i++)
		if ((unsigned char)p[i] != POISON)
			return i;
	for (; i + 8 <= n; i += 8)
		if (*(const uint64_t *)(p + i) != ~(uint64_t)0)
			break;
	for (; i < n; i++)
		if ((unsigned char)p[i] != POISON)
			return i;
	return n;
}

static CUresult check(const block *b) {
	const char *first = b->map + ZONE, *last = b->map + b->mapped - ZONE, *end = b->p + b->bytes;
	size_t before = (size_t)(b->p - first), after = (size_t)(last - end), at;
	if ((at = intact(first, before)) != before)
		return fake_fault(ILLEGAL_ADDRESS, "the guard %zu bytes before an allocation of %zu bytes was written", before - at, b->bytes);
	if ((at = intact(end, after)) != after)
		return fake_fault(ILLEGAL_ADDRESS, "the guard %zu bytes behind an allocation of %zu bytes was written", at, b->bytes);
	return OK;
}

CUresult fake_check_guards(void) {
	for (int i = 0; i < count; i++) {
		CUresult rc = check(&blocks[i]);
		if (rc)
			return rc;
	}
	return fake_sticky();
}

// rest forbids a freed block's pages, and forgets those of the one that has rested longest.
static void rest(block *b) {
	block *old = &resting[rested++ % RESTING];
	if (old->map)
		munmap(old->map, old->mapped);
	*old = *b;
	if (mmap(b->map, b->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
		munmap(b->map, b->mapped);
		old->map = 0;
	}
}

static void take_out(block *b) {
	if (!b->host)
		used -= (b->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	fake_live[b->host ? LIVE_HOST : LIVE_MEMORY]--;
	rest(b);
	count--;
	memmove(b, b + 1, (size_t)(blocks + count - b) * sizeof *b);
}

static CUresult release(void *p, int host) {
	block *b = holder(p, 1, host);
	if (!b || b->p != p)
		return INVALID_VALUE;
	CUresult rc = fake_drain(); // as cuMemFree waits for the device
	if (!rc)
		rc = check(b);
	take_out(b);
	return rc;
}

void fake_memory_reset(void) {
	while (count)
		take_out(&blocks[count - 1]);
}

API CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t bytes) {
	ENTER(NEED_CONTEXT);
	if (!bytes || !p)
		return INVALID_VALUE;
	if (fake_capturing_unsafely())
		return fake_capture_break();
	void *q = 0;
	CUresult rc = allocate(&q, bytes, 0);
	*p = (CUdeviceptr)(uintptr_t)q;
	return rc;
}

API CUresult cuMemFree_v2(CUdeviceptr p) {
	ENTER(NEED_CONTEXT);
	if (!p)
		return OK;
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return release((void *)(uintptr_t)p, 0);
}

API CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
	ENTER(NEED_CONTEXT);
	*total = (size_t)fake_setting("FAKE_MEMORY", 256L << 20);
	*free = *total - used;
	return OK;
}

API CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags) {
	ENTER(NEED_CONTEXT);
	if (!bytes || !p || flags > 7)
		return INVALID_VALUE;
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return allocate(p, bytes, 1);
}

API CUresult cuMemAllocHost_v2(void **p, size_t bytes) {
	ENTER(NEED_CONTEXT);
	if (!bytes || !p)
		return INVALID_VALUE;
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return allocate(p, bytes, 1);
}

API CUresult cuMemFreeHost(void *p) {
	ENTER(NEED_CONTEXT);
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return release(p, 1);
}

// Copies and fills.

static CUresult run_copy(fake_node *n) {
	memmove(n->to, n->from, n->bytes);
	fake_moved(holder(n->from, n->bytes, 0) ? (long)n->bytes : 0, holder(n->to, n->bytes, 0) ? (long)n->bytes : 0);
	return OK;
}

static CUresult run_fill(fake_node *n) {
	memset(n->to, n->value, n->bytes);
	fake_moved(0, (long)n->bytes);
	return OK;
}

static CUresult copy(CUstream s, const char *name, void *to, const void *from, size_t bytes) {
	if (!bytes)
		return OK;
	fake_node *n = fake_node_new(run_copy, 0);
	if (!n)
		return OUT_OF_MEMORY;
	strcpy(n->name, name);
	n->to = to;
	n->from = from;
	n->bytes = bytes;
	return fake_submit(s, n);
}

// A host address must be pinned, so that the copy can be asynchronous and captured.
static int pinned(const void *p, size_t n) { return !n || holder(p, n, 1) != 0; }
static int device(CUdeviceptr p, size_t n) { return !n || holder((void *)(uintptr_t)p, n, 0) != 0; }

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!device(to, bytes) || !pinned(from, bytes))
		return INVALID_VALUE;
	return copy(s, "upload", (void *)(uintptr_t)to, from, bytes);
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!device(from, bytes) || !pinned(to, bytes))
		return INVALID_VALUE;
	return copy(s, "download", to, (void *)(uintptr_t)from, bytes);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!device(to, bytes) || !device(from, bytes))
		return INVALID_VALUE;
	return copy(s, "copy", (void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes);
}

// The synchronous ones take any host memory.
static CUresult copy_now(void *to, const void *from, size_t bytes) {
	CUresult rc = fake_drain();
	if (!rc && bytes)
		memcpy(to, from, bytes);
	return rc ? rc : fake_check_guards();
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
	ENTER(NEED_CONTEXT);
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return device(to, bytes) ? copy_now((void *)(uintptr_t)to, from, bytes) : INVALID_VALUE;
}

API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
	ENTER(NEED_CONTEXT);
	if (fake_capturing_unsafely())
		return fake_capture_break();
	return device(from, bytes) ? copy_now(to, (void *)(uintptr_t)from, bytes) : INVALID_VALUE;
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!device(to, bytes))
		return INVALID_VALUE;
	if (!bytes)
		return OK;
	fake_node *n = fake_node_new(run_fill, 0);
	if (!n)
		return OUT_OF_MEMORY;
	strcpy(n->name, "fill");
	n->to = (void *)(uintptr_t)to;
	n->value = value;
	n->bytes = bytes;
	return fake_submit(s, n);
}
