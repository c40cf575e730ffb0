// The stand-in libcuda: events. All streams' work is done in the order of its
// submission.
#include "fake.h"

#include <time.h>

struct fake_event {
	unsigned magic;
	CUgraph capture;
	CUstream from; // within a capture: what it was recorded in, and behind how much
	long work;
	int recorded, timing, blocking, pending;
	struct timespec at;
};

API CUresult cuEventCreate(CUevent *e, unsigned flags) {
	ENTER(NEED_CONTEXT);
	if (flags > 7)
		return INVALID_VALUE;
	*e = fake_object(sizeof **e, EVENT);
	if (!*e)
		return OUT_OF_MEMORY;
	(*e)->timing = !(flags & 2);
	(*e)->blocking = flags & 1;
	fake_live[LIVE_EVENTS]++;
	return OK;
}

API CUresult cuEventDestroy_v2(CUevent e) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(e, EVENT))
		return INVALID_HANDLE;
	CUresult rc = fake_drain();
	e->magic = 0;
	fake_live[LIVE_EVENTS]--;
	return rc;
}

static CUresult run_event(fake_node *n) {
	n->event->pending--;
	clock_gettime(CLOCK_MONOTONIC, &n->event->at);
	return OK;
}

API CUresult cuEventRecord(CUevent e, CUstream s) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(e, EVENT) || !LIVE(s, STREAM))
		return INVALID_HANDLE;
	e->capture = s->capture;
	e->from = s;
	e->work = s->work;
	if (s->capture)
		return OK;
	fake_node *n = fake_node_new(run_event, 0);
	if (!n)
		return OUT_OF_MEMORY;
	n->event = e;
	e->recorded = 1;
	e->pending++;
	return fake_submit(s, n);
}

// All streams' work is done in the order of its submission, so that waiting is
// nothing more to do, but a stream that waits for a captured event joins the capture.
API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM) || !LIVE(e, EVENT))
		return INVALID_HANDLE;
	if (flags > 1)
		return INVALID_VALUE;
	if (e->capture && e->capture == fake_capture) {
		fake_capture_join(s);
		if (e->from->awaited < e->work)
			e->from->awaited = e->work;
		if (s != e->from && !e->from->origin)
			s->work++; // somebody must wait for this one now
	} else if (s->capture)
		return fake_capture_break(); // an event from outside the capture
	return OK;
}

API CUresult cuEventSynchronize(CUevent e) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(e, EVENT))
		return INVALID_HANDLE;
	if (e->capture)
		return CAPTURED_EVENT;
	if (e->blocking) { // nothing sleeps here, but it is counted
		static fake_call blocks = { "CU_EVENT_BLOCKING_SYNC", 0, 0 };
		CUresult rc = fake_enter(&blocks, NEED_CONTEXT);
		if (rc)
			return rc;
	}
	CUresult rc = fake_drain();
	return rc ? rc : fake_check_guards();
}

API CUresult cuEventQuery(CUevent e) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(e, EVENT))
		return INVALID_HANDLE;
	if (e->capture)
		return CAPTURED_EVENT;
	if (e->pending) {
		CUresult rc = fake_drain(); // the next query finds it done
		return rc ? rc : NOT_READY;
	}
	return OK;
}

API CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(from, EVENT) || !LIVE(to, EVENT) || !from->timing || !to->timing || !from->recorded || !to->recorded)
		return INVALID_HANDLE;
	if (from->pending || to->pending)
		return NOT_READY;
	*ms = (float)((double)(to->at.tv_sec - from->at.tv_sec) * 1e3 + (double)(to->at.tv_nsec - from->at.tv_nsec) / 1e6);
	return OK;
}

API CUresult cuEventElapsedTime_v2(float *ms, CUevent from, CUevent to) { return cuEventElapsedTime(ms, from, to); }
