// The stand-in libcuda: races. With FAKE_RACES it is known of every two bytes of
// shared and of device memory who wrote and who read them last in this launch. Two
// accesses of two threads to one place, one of them a write, must be ordered:
// by a barrier of their block, by a __syncwarp() of their warp, or between blocks
// by an atomic operation, with a fence before it in the block that comes first.
// Else the launch fails.
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CELLS = 1 << 22, COUNTERS = 64, ALL = 3 };

// A who is one access: a thread of a block, and how many barriers of the block,
// barriers of the warp and fences of the block came before it.
typedef struct {
	unsigned block, barrier, fence;
	unsigned short thread, warp;
} who;

// A cell is two bytes of memory. Masks are of its bytes.
typedef struct {
	uintptr_t at;
	unsigned launch;
	unsigned char wrote, readers, read[2];
	who writer, reader[2];
} cell;

// A counter is the target of atomic operations: what of each block those see
// that come to it.
typedef struct {
	uintptr_t at;
	int *released;
} counter;

static struct {
	cell *cells;
	unsigned launch, used;
	unsigned block, blocks, barrier, fence, syncs;
	int atomic, published; // published: fences before the last one
	unsigned short warp[1024];
	int *acquired; // of each block: up to which of its fences this block sees its accesses; -1 for none
	counter counters[COUNTERS];
	int n_counters;
} r;

int fake_race_launch(unsigned blocks) {
	if (!r.cells) {
		void *p = mmap(0, CELLS * sizeof(cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			return 0;
		r.cells = p;
	}
	r.launch++;
	r.used = 0;
	r.blocks = blocks;
	for (int i = 0; i < r.n_counters; i++)
		free(r.counters[i].released);
	r.n_counters = 0;
	free(r.acquired);
	r.acquired = malloc(blocks * sizeof *r.acquired);
	return r.acquired != 0;
}

void fake_race_block(unsigned block) {
	r.block = block;
	r.barrier = r.fence = r.syncs = 0;
	r.published = -1;
	r.atomic = 0;
	memset(r.warp, 0, sizeof r.warp);
	for (unsigned i = 0; i < r.blocks; i++)
		r.acquired[i] = -1;
}

void fake_race_barrier(void) { r.barrier++; }
void fake_race_warp_barrier(void) { r.syncs++; }
void fake_race_warp_lane(int thread) { r.warp[thread] = (unsigned short)r.syncs; }

void fake_race_fence(void) { r.published = (int)r.fence++; }

static int ordered(const who *a, const who *b, int shared) {
	if (a->block != b->block)
		return shared || r.acquired[a->block] >= (int)a->fence;
	return a->thread == b->thread || a->barrier < b->barrier || (a->thread / 32 == b->thread / 32 && a->warp < b->warp);
}

static cell *cell_of(uintptr_t at) {
	for (unsigned i = (unsigned)(at >> 1) % CELLS;; i = (i + 1) % CELLS) {
		cell *c = &r.cells[i];
		if (c->launch != r.launch) {
			if (++r.used > CELLS / 4 * 3)
				return 0; // a launch too large to be watched whole
			memset(c, 0, sizeof *c);
			c->launch = r.launch;
			c->at = at;
			return c;
		}
		if (c->at == at)
			return c;
	}
}

static void race(const char *kind, uintptr_t at, int shared, const who *a, const char *did, const char *does) {
	char what[240];
	snprintf(what, sizeof what, "race: it %s byte %lu of %s memory that thread %u of block %u %s, and nothing orders the two", does,
		fake_watch_offset(at, shared), kind, a->thread, a->block, did);
	fake_kernel_failed(what);
}

static void touch(uintptr_t at, unsigned char mask, int write, int shared, const who *me) {
	cell *c = cell_of(at);
	if (!c)
		return;
	if (shared && c->wrote && c->writer.block != me->block)
		c->wrote = 0;
	if (shared && c->readers && c->reader[0].block != me->block)
		c->readers = 0;
	const char *kind = shared ? "shared" : "device";
	if (c->wrote & mask && !ordered(&c->writer, me, shared))
		race(kind, at, shared, &c->writer, "wrote", write ? "writes" : "reads");
	if (!write) {
		int k = c->readers == 0 ? 0 : c->readers == 1 ? (c->reader[0].thread == me->thread && c->reader[0].block == me->block ? 0 : 1) :
			c->reader[1].thread / 32 == me->thread / 32 || c->reader[0].thread / 32 != me->thread / 32;
		c->reader[k] = *me;
		c->read[k] = mask;
		if (c->readers <= k)
			c->readers = (unsigned char)(k + 1);
		return;
	}
	for (int k = 0; k < c->readers; k++)
		if (c->read[k] & mask && !ordered(&c->reader[k], me, shared))
			race(kind, at, shared, &c->reader[k], "read", "writes");
	if (c->wrote && ordered(&c->writer, me, shared) == 0)
		c->wrote |= mask; // another byte of the two
	else
		c->wrote = mask;
	c->writer = *me;
}

void fake_race_access(uintptr_t at, size_t size, int write, int shared) {
	if (r.atomic)
		return;
	int thread = fake_thread();
	who me = { r.block, r.barrier, r.fence, (unsigned short)thread, r.warp[thread] };
	uintptr_t end = at + size;
	for (uintptr_t a = at & ~(uintptr_t)1; a < end; a += 2)
		touch(a, (unsigned char)(ALL & ~(a < at ? 1 : 0) & ~(a + 2 > end ? 2 : 0)), write, shared, &me);
}

// atomic stands before and behind an atomic operation. The block comes to see
// what the blocks saw that were there before, and shows what it sees itself, with
// what it has done before its last fence.
void fake_race_atomic(uintptr_t at, int begins) {
	r.atomic = begins;
	if (!begins)
		return;
	int i = 0;
	while (i < r.n_counters && r.counters[i].at != at)
		i++;
	if (i == COUNTERS)
		return;
	counter *c = &r.counters[i];
	if (i == r.n_counters) {
		r.n_counters++;
		c->at = at;
		c->released = malloc(r.blocks * sizeof *c->released);
		memset(c->released, 0xff, r.blocks * sizeof *c->released);
	}
	if (r.acquired[r.block] < r.published)
		r.acquired[r.block] = r.published;
	for (unsigned k = 0; k < r.blocks; k++) {
		if (c->released[k] < r.acquired[k])
			c->released[k] = r.acquired[k];
		r.acquired[k] = c->released[k];
	}
}
