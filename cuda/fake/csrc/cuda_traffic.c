// The stand-in libcuda: what has run, by name, and the device memory that it
// moved. What kernels move is known under FAKE_TRAFFIC alone, a byte counting
// once a launch that reads it and once a launch that writes it; copies and fills
// count whole; the other stand-ins say what they move.
#include "fake.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { NAMES = 512, PAGE = 4096, PAGES = 1 << 17 };

// A page is a page of the device's memory: a bit for each byte that the launch
// has read, and one for each that it has written.
typedef struct {
	uintptr_t number;
	unsigned launch;
	uint64_t seen[2][PAGE / 64];
} page;

static struct {
	page *pages; // by number, each at the first free place from its own on
	unsigned launch, used;
} p;

static struct {
	fake_work work[NAMES];
	int n;
	long read, written; // of what runs
} t;

void fake_moved(long read, long written) {
	t.read += read;
	t.written += written;
}

API void fakeMoved(size_t read, size_t written) { fake_moved((long)read, (long)written); }

void fake_traffic_launch(void) {
	if (!p.pages) {
		void *m = mmap(0, PAGES * sizeof(page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		p.pages = m == MAP_FAILED ? 0 : m;
	}
	p.launch++;
	p.used = 0;
}

static page *page_of(uintptr_t number) {
	for (size_t i = number % PAGES; p.pages; i = (i + 1) % PAGES) {
		page *q = &p.pages[i];
		if (q->launch == p.launch && q->number == number)
			return q;
		if (q->launch == p.launch)
			continue;
		if (++p.used > PAGES / 4 * 3)
			break;
		memset(q, 0, sizeof *q);
		q->launch = p.launch;
		q->number = number;
		return q;
	}
	fake_kernel_failed("traffic: it comes to too much memory to be counted");
}

void fake_traffic(uintptr_t at, size_t size, int write) {
	long fresh = 0;
	for (uintptr_t end = at + size; at < end;) {
		uint64_t *seen = &page_of(at / PAGE)->seen[write != 0][at % PAGE / 64];
		uintptr_t bit = at % 64, n = 64 - bit < end - at ? 64 - bit : end - at;
		uint64_t mask = (n == 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << bit;
		fresh += __builtin_popcountll(mask & ~*seen);
		*seen |= mask;
		at += n;
	}
	fake_moved(write ? 0 : fresh, write ? fresh : 0);
}

void fake_worked(const char *name, int overlaps) {
	int i = 0;
	while (i < t.n && strcmp(t.work[i].name, name))
		i++;
	if (*name && i < NAMES) {
		if (i == t.n)
			snprintf(t.work[t.n++].name, sizeof t.work->name, "%s", name);
		t.work[i].count++;
		t.work[i].overlaps += overlaps;
		t.work[i].read += t.read;
		t.work[i].written += t.written;
	}
	t.read = t.written = 0;
}

// fakeWork fills in what has run since it was called last, and returns how many
// names there are.
API int fakeWork(fake_work *work, int most);
int fakeWork(fake_work *work, int most) {
	int n = t.n < most ? t.n : most;
	memcpy(work, t.work, (size_t)n * sizeof *work);
	memset(&t, 0, sizeof t);
	return n;
}
