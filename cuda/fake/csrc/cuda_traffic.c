// The stand-in libcuda: what has run, by name, and the device memory that it
// moved. Kernels are watched under FAKE_RACES alone (cuda_races.c), a byte counting
// once a launch that reads it and once a launch that writes it; copies and fills
// count whole; the other stand-ins say what they move.
#include "fake.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 512 };

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

void fake_worked(const char *name) {
	int i = 0;
	while (i < t.n && strcmp(t.work[i].name, name))
		i++;
	if (*name && i < NAMES) {
		if (i == t.n)
			snprintf(t.work[t.n++].name, sizeof t.work->name, "%s", name);
		t.work[i].count++;
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
