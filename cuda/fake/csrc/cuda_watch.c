// The stand-in libcuda: accesses to memory. Under FAKE_RACES and FAKE_TRAFFIC
// kernels are compiled so that each access calls access below, which tells those
// of shared and of device memory from those of a thread's own, and hands them to
// the check for races (cuda_races.c) and to the count of bytes (cuda_traffic.c). A
// thread of a launch that overlaps what is earlier must have waited for that.
#include "fake.h"

static struct {
	int races, traffic, overlaps;
	uintptr_t shared, shared_end, dynamic, dynamic_end;
	CUdeviceptr from, to; // the allocation that was found last
} w;

void fake_watch_launch(unsigned blocks, char *shared, char *shared_end, char *dynamic, size_t dynamic_bytes, int overlaps) {
	w.overlaps = overlaps;
	w.races = fake_setting("FAKE_RACES", 0) != 0 && fake_race_launch(blocks);
	w.traffic = fake_setting("FAKE_TRAFFIC", 0) != 0;
	w.shared = (uintptr_t)shared, w.shared_end = (uintptr_t)shared_end;
	w.dynamic = (uintptr_t)dynamic, w.dynamic_end = w.dynamic + dynamic_bytes;
	w.from = w.to = 0;
	if (w.traffic)
		fake_traffic_launch();
}

void fake_watch_end(void) { w.races = w.traffic = w.overlaps = 0; }

void fake_watch_block(unsigned block) {
	if (w.races)
		fake_race_block(block);
}

static int dynamic(uintptr_t at) { return at >= w.dynamic && at < w.dynamic_end; }

unsigned long fake_watch_offset(uintptr_t at, int shared) {
	return at - (!shared ? (uintptr_t)w.from : dynamic(at) ? w.dynamic : w.shared);
}

static void access(unsigned long at, unsigned long size, int write) {
	if (!w.races && !w.traffic && !w.overlaps)
		return;
	int shared = (at >= w.shared && at < w.shared_end) || dynamic(at);
	if (!shared && (at < w.from || at >= w.to)) {
		CUdeviceptr base;
		size_t bytes;
		CUcontext owner;
		if (fake_on_stack((char *)at) || !fake_block(at, &base, &bytes, &owner))
			return;
		w.from = base, w.to = base + bytes;
	}
	if (w.overlaps && !shared && fake_early())
		fake_kernel_failed("it touches the device's memory before it has waited for what is earlier in the stream");
	if (w.traffic && !shared)
		fake_traffic(at, size, write);
	if (w.races)
		fake_race_access(at, size, write, shared);
}

static void atomic(unsigned long at, int begins) {
	if (w.races)
		fake_race_atomic(at, begins);
}

const fake_watch fake_watch_calls = { access, atomic, fake_race_fence };
