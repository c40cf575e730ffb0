// The stand-in libcuda: streams, capture and graphs. A stream's work is
// done where it is submitted, or, under FAKE_QUEUE=lazy, where somebody waits
// for it: so that a host that does not wait is found out.
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_graph {
	unsigned magic;
	fake_node *first, **end;
	int mode, broken, n_joined;
	CUstream joined[16];
};
struct fake_exec {
	unsigned magic;
	fake_node *first;
};

static struct { fake_node *first, **end; } queue;
CUgraph fake_capture; // one at a time

CUstream fake_stream_of(CUstream s) {
	static struct fake_stream zero = { .magic = STREAM };
	s = s ? s : &zero;
	if (LIVE(s, STREAM) && s->capture != fake_capture)
		s->capture = 0; // it had joined one that has ended
	return s;
}

void fake_capture_join(CUstream s) {
	if (s->capture == fake_capture)
		return;
	s->capture = fake_capture;
	s->work = s->awaited = 0;
	if (fake_capture->n_joined == 16)
		fake_capture->broken = 1;
	else
		fake_capture->joined[fake_capture->n_joined++] = s;
}

// unjoined says whether a stream of the capture has been given something that the stream
// in which it began does not wait for.
static int unjoined(CUgraph g) {
	for (int i = 0; i < g->n_joined; i++)
		if (g->joined[i]->awaited < g->joined[i]->work)
			return 1;
	return 0;
}

fake_node *fake_node_new(CUresult (*run)(fake_node *), size_t args) {
	fake_node *n = calloc(1, sizeof *n + args);
	if (n)
		n->run = run;
	return n;
}

static CUresult run_node(fake_node *n) {
	CUresult rc = fake_sticky();
	if (!rc)
		rc = n->run(n);
	fake_worked(n->name, n->overlaps);
	if (rc)
		rc = fake_fault(rc, "%s", n->name[0] ? n->name : "an event failed");
	return rc;
}

static int lazy(void) {
	const char *s = getenv("FAKE_QUEUE");
	return s && !strcmp(s, "lazy");
}

// As on a device, a failure of the work itself is told by a later call.
CUresult fake_submit(CUstream s, fake_node *n) {
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM)) {
		free(n);
		return INVALID_HANDLE;
	}
	n->stream = s;
	if (s->capture) {
		if (s->capture->broken) {
			free(n);
			return CAPTURE_INVALIDATED;
		}
		*s->capture->end = n;
		s->capture->end = &n->next;
		s->work++;
		return OK;
	}
	if (lazy()) {
		if (!queue.end)
			queue.end = &queue.first;
		*queue.end = n;
		queue.end = &n->next;
		return OK;
	}
	run_node(n);
	free(n);
	return OK;
}

CUresult fake_drain(void) {
	while (queue.first) {
		fake_node *n = queue.first;
		queue.first = n->next;
		if (!queue.first)
			queue.end = 0;
		run_node(n);
		free(n);
	}
	return fake_sticky();
}

int fake_capturing_unsafely(void) { return fake_capture && fake_capture->mode != 2; }

CUresult fake_capture_break(void) {
	if (fake_capture)
		fake_capture->broken = 1;
	return CAPTURE_UNSUPPORTED;
}

void fake_stream_reset(void) {
	while (queue.first) {
		fake_node *n = queue.first;
		queue.first = n->next;
		free(n);
	}
	queue.end = 0;
	fake_capture = 0;
}

// Streams.

API CUresult cuStreamCreate(CUstream *s, unsigned flags) {
	ENTER(NEED_CONTEXT);
	if (flags > 1)
		return INVALID_VALUE;
	*s = fake_object(sizeof **s, STREAM);
	if (!*s)
		return OUT_OF_MEMORY;
	(*s)->owner = fake_current();
	fake_live[LIVE_STREAMS]++;
	return OK;
}

API CUresult cuStreamCreateWithPriority(CUstream *s, unsigned flags, int priority) {
	(void)priority;
	return cuStreamCreate(s, flags);
}

API CUresult cuStreamDestroy_v2(CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!s || !LIVE(fake_stream_of(s), STREAM))
		return INVALID_HANDLE;
	if (s->capture)
		return fake_capture_break();
	CUresult rc = fake_drain();
	s->magic = 0;
	fake_live[LIVE_STREAMS]--;
	return rc;
}

API CUresult cuStreamSynchronize(CUstream s) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM))
		return INVALID_HANDLE;
	if (s->capture)
		return fake_capture_break();
	CUresult rc = fake_drain();
	return rc ? rc : fake_check_guards();
}

API CUresult cuStreamQuery(CUstream s) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM))
		return INVALID_HANDLE;
	if (s->capture)
		return fake_capture_break();
	if (queue.first) {
		CUresult rc = fake_drain();
		return rc ? rc : NOT_READY;
	}
	return OK;
}

API CUresult cuStreamIsCapturing(CUstream s, int *status) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM))
		return INVALID_HANDLE;
	*status = !s->capture ? 0 : s->capture->broken ? 2 : 1;
	return OK;
}

API CUresult cuStreamBeginCapture_v2(CUstream s, int mode) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(s, STREAM)) // the default stream cannot be captured
		return s ? INVALID_HANDLE : CAPTURE_UNSUPPORTED;
	if (fake_capture || mode < 0 || mode > 2)
		return fake_capture ? ILLEGAL_STATE : INVALID_VALUE;
	CUgraph g = fake_object(sizeof *g, GRAPH);
	if (!g)
		return OUT_OF_MEMORY;
	g->end = &g->first;
	g->mode = mode;
	s->capture = fake_capture = g;
	s->origin = 1;
	return OK;
}

static void free_nodes(fake_node *n) {
	while (n) {
		fake_node *next = n->next;
		free(n);
		n = next;
	}
}

API CUresult cuStreamEndCapture(CUstream s, CUgraph *out) {
	ENTER(NEED_CONTEXT);
	*out = 0;
	if (!LIVE(s, STREAM))
		return INVALID_HANDLE;
	if (!s->capture)
		return ILLEGAL_STATE;
	if (!s->origin)
		return CAPTURE_UNMATCHED;
	CUgraph g = s->capture;
	s->capture = fake_capture = 0;
	s->origin = 0;
	if (g->broken || unjoined(g)) {
		free_nodes(g->first);
		g->magic = 0;
		return g->broken ? CAPTURE_INVALIDATED : CAPTURE_UNJOINED;
	}
	fake_live[LIVE_GRAPHS]++;
	*out = g;
	return OK;
}

// Graphs.

API CUresult cuGraphGetNodes(CUgraph g, void **nodes, size_t *n) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(g, GRAPH))
		return INVALID_HANDLE;
	size_t k = 0;
	for (fake_node *p = g->first; p; p = p->next, k++)
		if (nodes && k < *n)
			nodes[k] = p;
	*n = k;
	return OK;
}

API CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph g, unsigned long long flags) {
	ENTER(NEED_CONTEXT);
	*out = 0;
	if (!LIVE(g, GRAPH) || flags & ~15ull)
		return LIVE(g, GRAPH) ? INVALID_VALUE : INVALID_HANDLE;
	CUgraphExec e = fake_object(sizeof *e, EXEC);
	if (!e)
		return OUT_OF_MEMORY;
	fake_node **end = &e->first;
	for (fake_node *n = g->first; n; n = n->next) {
		fake_node *c = fake_node_new(n->run, n->call || n->function ? n->bytes : 0);
		if (!c)
			return OUT_OF_MEMORY;
		memcpy(c, n, sizeof *n + (n->call || n->function ? n->bytes : 0));
		c->next = 0;
		*end = c;
		end = &c->next;
	}
	fake_live[LIVE_GRAPHS]++;
	*out = e;
	return OK;
}

API CUresult cuGraphInstantiate_v2(CUgraphExec *out, CUgraph g, void **node, char *log, size_t size) {
	(void)node;
	if (log && size)
		*log = 0;
	return cuGraphInstantiateWithFlags(out, g, 0);
}

static CUresult run_graph(fake_node *node) {
	CUgraphExec e = (CUgraphExec)node->from;
	CUresult rc = LIVE(e, EXEC) ? OK : INVALID_HANDLE;
	for (fake_node *n = e->first; n && !rc; n = n->next)
		rc = run_node(n);
	return rc;
}

API CUresult cuGraphLaunch(CUgraphExec e, CUstream s) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(e, EXEC))
		return INVALID_HANDLE;
	s = fake_stream_of(s);
	if (LIVE(s, STREAM) && s->capture)
		return fake_capture_break(); // a child graph: not in this stand-in
	fake_node *n = fake_node_new(run_graph, 0);
	if (!n)
		return OUT_OF_MEMORY;
	n->from = e;
	return fake_submit(s, n);
}

API CUresult cuGraphUpload(CUgraphExec e, CUstream s) {
	ENTER(NEED_CONTEXT);
	return LIVE(e, EXEC) && LIVE(fake_stream_of(s), STREAM) ? OK : INVALID_HANDLE;
}

API CUresult cuGraphDestroy(CUgraph g) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(g, GRAPH))
		return INVALID_HANDLE;
	free_nodes(g->first);
	g->magic = 0;
	fake_live[LIVE_GRAPHS]--;
	return OK;
}

API CUresult cuGraphExecDestroy(CUgraphExec e) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(e, EXEC))
		return INVALID_HANDLE;
	CUresult rc = fake_drain();
	free_nodes(e->first);
	e->magic = 0;
	fake_live[LIVE_GRAPHS]--;
	return rc;
}

// Work of other stand-ins.

struct guarded { CUresult (*call)(const void *); const void *arg; };

static CUresult run_guarded(void *p) {
	struct guarded *g = p;
	return g->call(g->arg);
}

static CUresult run_call(fake_node *n) {
	struct guarded g = { n->call, n->args };
	return fake_guarded(n->name, run_guarded, &g);
}

API CUresult fakeEnqueue(CUstream s, const char *name, CUresult (*fn)(const void *arg), const void *arg, size_t bytes) {
	ENTER(NEED_CONTEXT);
	fake_node *n = fake_node_new(run_call, bytes);
	if (!n)
		return OUT_OF_MEMORY;
	snprintf(n->name, sizeof n->name, "%s", name);
	n->call = fn;
	n->bytes = bytes;
	memcpy(n->args, arg, bytes);
	return fake_submit(s, n);
}
