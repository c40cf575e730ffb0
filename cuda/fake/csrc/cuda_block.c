// The stand-in libcuda: how a grid runs. Blocks run one after the other. The
// threads of a block run as calls on one stack until one must wait at a barrier
// or in a shuffle: it then keeps that stack, and the others go on on another.
// So a kernel without barriers costs a call a thread. A thread runs as far as it
// can before the next one starts: the most unequal of the orders that a device
// may choose, which is what shows a missing barrier. FAKE_ORDER=reverse runs
// threads and blocks from the last to the first; FAKE_ORDER=interleave has all
// threads come to their next barrier or shuffle before one goes on behind it,
// which is what shows warps that get in each other's way.
#include "fake.h"
#include "cuda_switch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 1024, STACK = 64 << 10, SLOTS = 8, DYNAMIC = 232448, POISON = 0xff, GUARD = 4096 };
enum { NEW, RUNNING, AT_BARRIER, IN_WARP, READY, DONE };
enum { SYNC, BALLOT, ALL, IDX, XOR, DOWN, UP };
static const char *const warp_names[] = { "__syncwarp()", "a vote", "__all_sync()", "__shfl_sync()", "__shfl_xor_sync()", "__shfl_down_sync()", "__shfl_up_sync()" };

// A warp operation that waits for the lanes of its mask.
typedef struct {
	int line, kind;
	unsigned mask, arrived;
} slot;

static struct {
	int threads, started, done;          // of the block that runs
	int reverse, interleave;             // the order
	int current, stack;                  // the thread that runs, and its stack
	const fake_kernel *kernel;
	const void *args;
	const char *name;
	fake_now *now;
	unsigned char state[THREADS];
	unsigned char early[THREADS]; // has yet to wait for what is earlier in the stream
	short stack_of[THREADS], queue[THREADS]; // queue: of those that are READY
	int head, queued;
	unsigned long value[THREADS], result[THREADS];
	int lane[THREADS], width[THREADS];
	int arrived, line, kind; // at the barrier
	unsigned long votes;
	unsigned alive[THREADS / 32];
	slot slots[THREADS / 32][SLOTS];
	int pending[THREADS / 32];
	void *base; // where the grid's loop was left
	void *top[THREADS];
	short idle[THREADS]; // stacks in no use
	int n_idle, n_stacks;
} b;

static char *stacks, *dynamic;

void fake_where(char *text, size_t size) {
	*text = 0;
	if (!b.now)
		return;
	fake_uint3 k = b.now->block, t = b.now->thread;
	snprintf(text, size, ", block (%u,%u,%u), thread (%u,%u,%u)", k.x, k.y, k.z, t.x, t.y, t.z);
}

// fail_at leaves the kernel for good.
static void fail_at(CUresult code, const char *what, int line) {
	char where[120];
	fake_where(where, sizeof where);
	fake_fault(code, "%s: %s in line %d%s", b.name, what, line, where);
	fake_escape();
}

void fake_kernel_failed(const char *what) {
	fail_at(LAUNCH_FAILED, what, 0);
	__builtin_unreachable();
}

int fake_thread(void) { return b.current; }
int fake_early(void) { return b.early[b.current]; }

static void waited(void) { b.early[b.current] = 0; }

int fake_on_stack(const char *p) { return p >= stacks && p < stacks + (size_t)THREADS * STACK; }

static void kernel_fail(int code, const char *format, unsigned long value, const char *type, int line) {
	char what[200];
	snprintf(what, sizeof what, format, value, type);
	fail_at(code, what, line);
}

// Stacks.

static int make_stacks(void) {
	if (stacks)
		return 1;
	char *p = mmap(0, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *d = mmap(0, DYNAMIC + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || d == MAP_FAILED)
		return 0;
	for (int i = 0; i < THREADS; i++)
		mprotect(p + (size_t)i * STACK, 4096, PROT_NONE);
	stacks = p;
	dynamic = d;
	return 1;
}

static void threads(void);

// take_stack readies a stack on which threads start. Their tops are spread over the cache's lines.
static int take_stack(void) {
	int s = b.n_idle ? b.idle[--b.n_idle] : b.n_stacks++;
	b.top[s] = fake_stack(stacks + (size_t)s * STACK, STACK - (size_t)(s % 16) * 448, threads);
	return s;
}

// The scheduler.

static int id_of(int k) { return b.reverse ? b.threads - 1 - k : k; }

static void set_thread(int t) {
	unsigned x = b.now->block_dim.x, y = b.now->block_dim.y;
	b.current = t;
	b.now->thread.x = (unsigned)t % x;
	b.now->thread.y = (unsigned)t / x % y;
	b.now->thread.z = (unsigned)t / (x * y);
}

static void ready(int t) {
	b.state[t] = READY;
	b.queue[(b.head + b.queued++) % THREADS] = (short)t;
}

// ready_first is for a warp's threads: unless interleaved, a warp runs on before
// the others do.
static void ready_first(int t) {
	if (b.interleave) {
		ready(t);
		return;
	}
	b.state[t] = READY;
	b.head = (b.head + THREADS - 1) % THREADS;
	b.queue[b.head] = (short)t;
	b.queued++;
}

static int next_ready(void) {
	int t = b.queue[b.head];
	b.head = (b.head + 1) % THREADS;
	b.queued--;
	return t;
}

static void stuck(void) {
	int waiting = 0, line = 0, kind = 0, other = 0, ended = b.done;
	for (int t = 0; t < b.threads; t++) {
		if (b.state[t] == AT_BARRIER) {
			waiting++;
			line = b.line;
		} else if (b.state[t] == IN_WARP)
			other++;
	}
	if (!waiting)
		for (int w = 0; w < THREADS / 32; w++)
			for (int i = 0; i < SLOTS; i++)
				if (b.slots[w][i].arrived) {
					line = b.slots[w][i].line;
					kind = b.slots[w][i].kind;
				}
	char what[200];
	snprintf(what, sizeof what, "divergence: %d threads wait for ever at %s while %d have ended and %d wait elsewhere",
		waiting ? waiting : other, waiting ? "__syncthreads()" : warp_names[kind], ended, waiting ? other : 0);
	fail_at(LAUNCH_FAILED, what, line);
}

// leave gives the processor to who can go on. The caller waits, or has ended (gone).
static void leave(int t, int gone) {
	void *dead, **from = gone ? &dead : &b.top[b.stack];
	if (gone)
		b.idle[b.n_idle++] = (short)b.stack;
	else
		b.stack_of[t] = (short)b.stack;
	if (b.queued && !(b.interleave && b.started < b.threads)) {
		int next = next_ready();
		b.state[next] = RUNNING;
		b.stack = b.stack_of[next];
		set_thread(next);
	} else if (b.started < b.threads)
		b.stack = take_stack();
	else if (b.done == b.threads) {
		fake_switch(from, b.base);
		return;
	} else
		stuck();
	fake_switch(from, b.top[b.stack]);
}

static void warp_retry(int w);

// threads starts threads on this stack until none is left, then ends.
static void threads(void) {
	for (;;) {
		int t = 0;
		while (b.started < b.threads && (b.interleave || !b.queued)) {
			t = id_of(b.started++);
			set_thread(t);
			b.state[t] = RUNNING;
			b.kernel->entry(b.args);
			t = b.current; // the same thread, but the stack may have rested
			if (b.early[t])
				fake_kernel_failed("a thread ends that has not waited for what is earlier in the stream");
			b.state[t] = DONE;
			b.done++;
			b.alive[t / 32] &= ~(1u << t % 32);
			if (b.pending[t / 32])
				warp_retry(t / 32);
		}
		leave(t, 1);
	}
}

static unsigned long sync_threads(int line, int kind, unsigned long value) {
	int t = b.current;
	if (!b.arrived) {
		b.line = line;
		b.kind = kind;
		b.votes = 0;
	} else if (b.line != line || b.kind != kind) {
		char what[120];
		snprintf(what, sizeof what, "divergence: a thread is at another __syncthreads() than those that wait in line %d", b.line);
		fail_at(LAUNCH_FAILED, what, line);
	}
	b.votes += value;
	if (++b.arrived < b.threads) {
		b.state[t] = AT_BARRIER;
		leave(t, 0);
		return b.result[t];
	}
	unsigned long all = (unsigned long)b.threads, r = kind == 2 ? b.votes == all : kind == 3 ? b.votes != 0 : b.votes;
	b.arrived = 0;
	fake_race_barrier();
	for (int k = 0; k < b.threads; k++) {
		int u = id_of(k);
		b.result[u] = r;
		if (u != t)
			ready(u);
	}
	return r;
}

// complete gives each lane of a slot its result.
static void complete(int w, slot *s, int current) {
	unsigned long ballot = 0;
	if (s->kind == SYNC) {
		fake_race_warp_barrier();
		for (int l = 0; l < 32; l++)
			if (s->arrived >> l & 1)
				fake_race_warp_lane(w * 32 + l);
	}
	for (int l = 0; l < 32; l++)
		if (s->arrived >> l & 1 && b.value[w * 32 + l] && (s->kind == BALLOT || s->kind == ALL))
			ballot |= 1ul << l;
	for (int k = 0; k < 32; k++) { // the first that is to run is the last to be put in front
		int l = b.reverse == b.interleave ? 31 - k : k, t = w * 32 + l;
		if (!(s->arrived >> l & 1))
			continue;
		int from = l, width = b.width[t], first = l & ~(width - 1), d = b.lane[t];
		switch (s->kind) {
		case IDX: from = first | (d & (width - 1)); break;
		case XOR: from = (l ^ d) < first + width ? l ^ d : l; break;
		case DOWN: from = l + d < first + width ? l + d : l; break;
		case UP: from = l - d >= first ? l - d : l; break;
		}
		if (s->kind == BALLOT)
			b.result[t] = ballot;
		else if (s->kind == ALL)
			b.result[t] = ballot == s->arrived;
		else if (from >= 0 && from < 32 && s->arrived >> from & 1)
			b.result[t] = b.value[w * 32 + from];
		else
			b.result[t] = ~0ul; // of no lane that takes part: undefined
		if (t != current)
			ready_first(t);
	}
	s->arrived = 0;
	b.pending[w]--;
}

// warp_retry completes what waited only for threads that have ended.
static void warp_retry(int w) {
	for (int i = 0; i < SLOTS; i++) {
		slot *s = &b.slots[w][i];
		if (s->arrived && s->arrived == (s->mask & b.alive[w]))
			complete(w, s, -1);
	}
}

static unsigned long warp(int line, int kind, unsigned mask, unsigned long value, int lane, int width) {
	int t = b.current, w = t / 32;
	slot *s = 0, *free_slot = 0;
	if (!(mask >> t % 32 & 1))
		fail_at(LAUNCH_FAILED, "the mask of a warp operation lacks the calling lane", line);
	if (width < 1 || width > 32 || width & (width - 1))
		fail_at(LAUNCH_FAILED, "the width of a shuffle is no power of two up to 32", line);
	for (int i = 0; i < SLOTS && !s; i++) {
		slot *c = &b.slots[w][i];
		if (!c->arrived)
			free_slot = free_slot ? free_slot : c;
		else if (c->mask == mask && c->line == line && c->kind == kind)
			s = c;
	}
	if (!s) {
		if (!free_slot)
			fail_at(LAUNCH_FAILED, "divergence: a warp's lanes wait in too many places", line);
		s = free_slot;
		*s = (slot){ line, kind, mask, 0 };
		b.pending[w]++;
	}
	s->arrived |= 1u << t % 32;
	b.value[t] = value;
	b.lane[t] = lane;
	b.width[t] = width;
	int last = s->arrived == (mask & b.alive[w]);
	if (last)
		complete(w, s, b.interleave ? -1 : t);
	if (last && !b.interleave)
		return b.result[t];
	if (!last)
		b.state[t] = IN_WARP;
	leave(t, 0);
	return b.result[t];
}

const fake_calls fake_kernel_calls = { sync_threads, warp, kernel_fail, waited, &fake_watch_calls };

// Blocks and grids.

static void run_block(void) {
	b.started = b.done = b.head = b.queued = b.arrived = 0;
	b.n_idle = b.n_stacks = 0;
	int warps = (b.threads + 31) / 32;
	memset(b.state, NEW, (size_t)b.threads);
	memset(b.early, b.now->overlaps, (size_t)b.threads);
	memset(b.pending, 0, (size_t)warps * sizeof *b.pending);
	memset(b.slots, 0, (size_t)warps * sizeof *b.slots);
	memset(b.alive, 0xff, sizeof b.alive);
	if (b.threads % 32)
		b.alive[warps - 1] = (1u << b.threads % 32) - 1;
	b.stack = take_stack();
	fake_switch(&b.base, b.top[b.stack]);
}

struct grid {
	CUfunction f;
	const unsigned *grid;
	unsigned shared;
};

static CUresult run_blocks(void *p) {
	struct grid *g = p;
	struct fake_module *m = g->f->module;
	unsigned long x = g->grid[0], y = g->grid[1], n = x * y * g->grid[2];
	size_t used = g->shared + GUARD;
	if (used > DYNAMIC + GUARD)
		used = DYNAMIC + GUARD;
	b.now->dynamic = dynamic;
	fake_watch_launch((unsigned)n, m->shared, m->shared_end, dynamic, g->shared, b.now->overlaps);
	for (unsigned long i = 0; i < n; i++) {
		unsigned long k = b.reverse ? n - 1 - i : i;
		b.now->block = (fake_uint3){ (unsigned)(k % x), (unsigned)(k / x % y), (unsigned)(k / (x * y)) };
		if (m->shared != m->shared_end)
			memset(m->shared, POISON, (size_t)(m->shared_end - m->shared));
		if (g->shared)
			memset(dynamic, POISON, used);
		fake_watch_block((unsigned)k);
		run_block();
		if (!g->shared)
			continue;
		for (size_t at = g->shared; at < used; at++)
			if ((unsigned char)dynamic[at] != POISON) {
				char what[100];
				snprintf(what, sizeof what, "dynamic shared memory of %u bytes was written at %zu", g->shared, at);
				fail_at(ILLEGAL_ADDRESS, what, 0);
			}
	}
	return OK;
}

CUresult fake_run_grid(CUfunction f, const void *args, const unsigned grid[3], const unsigned block[3], unsigned shared, int overlaps) {
	if (!make_stacks())
		return OUT_OF_MEMORY;
	const char *order = getenv("FAKE_ORDER");
	b.reverse = order && !strcmp(order, "reverse");
	b.interleave = order && !strcmp(order, "interleave");
	b.kernel = f->kernel;
	b.args = args;
	b.name = f->name;
	b.now = f->module->now;
	b.threads = (int)(block[0] * block[1] * block[2]);
	b.now->block_dim = (fake_uint3){ block[0], block[1], block[2] };
	b.now->grid_dim = (fake_uint3){ grid[0], grid[1], grid[2] };
	b.now->overlaps = overlaps;
	struct grid g = { f, grid, shared };
	CUresult rc = fake_guarded(f->name, run_blocks, &g);
	fake_watch_end();
	b.now = 0;
	return rc;
}
