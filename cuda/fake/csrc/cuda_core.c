// The stand-in libcuda: start, device, context, injected failures.
#include "fake.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t mutex;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialized;
static fake_call *calls;
static fake_context context;
static __thread CUcontext current;
long fake_live[LIVE_KINDS];
static long leaked[LIVE_KINDS];

// The lasting error of the context and what is known of it.
static CUresult sticky;
static char sticky_detail[600];

static void start(void) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&mutex, &a);
}

void fake_lock(void) {
	pthread_once(&once, start);
	pthread_mutex_lock(&mutex);
}

void fake_unlock(int *held) {
	if (*held)
		pthread_mutex_unlock(&mutex);
}

long fake_setting(const char *name, long otherwise) {
	const char *s = getenv(name);
	return s && *s ? strtol(s, 0, 0) : otherwise;
}

static unsigned **objects; // all there were since the context was made
static int n_objects, object_room;

void *fake_object(size_t bytes, unsigned magic) {
	if (n_objects == object_room) {
		unsigned **more = realloc(objects, (size_t)(object_room * 2 + 64) * sizeof *more);
		if (!more)
			return 0;
		objects = more;
		object_room = object_room * 2 + 64;
	}
	unsigned *p = calloc(1, bytes);
	if (p)
		*p = magic;
	if (p)
		objects[n_objects++] = p;
	return p;
}

// Injected failures: after so many good calls of a name the next one fails.
#define FAILURES 32
static struct {
	char call[64];
	int code;
	long after;
} failures[FAILURES];

// fakeFail plants a failure; a NULL call takes all away. It returns 0 where there is no room.
API int fakeFail(const char *call, int code, long after);
int fakeFail(const char *call, int code, long after) {
	__attribute__((cleanup(fake_unlock))) int held = 1;
	fake_lock();
	if (!call) {
		memset(failures, 0, sizeof failures);
		return held;
	}
	for (int i = 0; i < FAILURES; i++)
		if (!failures[i].call[0]) {
			snprintf(failures[i].call, sizeof failures[i].call, "%s", call);
			failures[i].code = code;
			failures[i].after = after;
			return 1;
		}
	return 0;
}

// The environment's failures: FAKE_FAIL=call:code:after,call:code:after.
static void environment_failures(void) {
	const char *s = getenv("FAKE_FAIL");
	while (s && *s) {
		char call[64];
		int code = 0, read = 0;
		long after = 0;
		if (sscanf(s, "%63[^:]:%d:%ld%n", call, &code, &after, &read) == 3 && read)
			fakeFail(call, code, after);
		s = strchr(s, ',');
		s = s ? s + 1 : 0;
	}
}

static int lasting(CUresult code) {
	return code == 214 || code == ILLEGAL_ADDRESS || (code >= 713 && code <= LAUNCH_FAILED) || code == UNKNOWN;
}

static CUresult injected(const char *name) {
	for (int i = 0; i < FAILURES; i++) {
		if (!failures[i].call[0] || strcmp(failures[i].call, name) || failures[i].after-- > 0)
			continue;
		CUresult code = failures[i].code;
		failures[i].call[0] = 0;
		return lasting(code) ? fake_fault(code, "injected at %s", name) : code;
	}
	return OK;
}

static fake_call *call_of(const char *name) {
	fake_call *c = calls;
	while (c && strcmp(c->name, name))
		c = c->next;
	return c;
}

API CUresult fakeInjected(const char *name) {
	__attribute__((cleanup(fake_unlock))) int held = 1;
	fake_lock();
	(void)held;
	fake_call *c = call_of(name);
	if (!c && (c = calloc(1, sizeof *c))) {
		c->name = strdup(name);
		c->next = calls;
		calls = c;
	}
	if (c)
		c->count++;
	return injected(name);
}

// fakeCount says how often a call was made.
API long fakeCount(const char *name);
long fakeCount(const char *name) {
	__attribute__((cleanup(fake_unlock))) int held = 1;
	fake_lock();
	fake_call *c = call_of(name);
	return c && held ? c->count : 0;
}

// fakeLive fills n with the numbers of live things, in the order of LIVE_MEMORY
// and so on. What was alive when a sound context was released last counts on.
API void fakeLive(long n[LIVE_KINDS]);
void fakeLive(long n[LIVE_KINDS]) {
	__attribute__((cleanup(fake_unlock))) int held = 1;
	fake_lock();
	(void)held;
	for (int i = 0; i < LIVE_KINDS; i++)
		n[i] = fake_live[i] + leaked[i];
}

CUresult fake_enter(fake_call *call, int need) {
	if (!call->count++) {
		call->next = calls;
		calls = call;
	}
	if (need >= NEED_INIT && !initialized)
		return NOT_INITIALIZED;
	if (need >= NEED_CONTEXT && (!current || !current->retained))
		return INVALID_CONTEXT;
	CUresult rc = injected(call->name);
	if (rc)
		return rc;
	return need >= NEED_CONTEXT ? sticky : OK;
}

CUresult fake_sticky(void) { return sticky; }

const char *fake_detail(void) { return sticky_detail; }

CUresult fake_fault(CUresult code, const char *format, ...) {
	if (sticky)
		return sticky; // the first one is the cause
	va_list list;
	va_start(list, format);
	vsnprintf(sticky_detail, sizeof sticky_detail, format, list);
	va_end(list);
	return sticky = code;
}

API CUresult cuInit(unsigned flags) {
	ENTER(NEED_NOTHING);
	if (flags)
		return INVALID_VALUE;
	if (!initialized)
		environment_failures();
	initialized = 1;
	return fake_setting("FAKE_DEVICES", 1) > 0 ? OK : 100;
}

API CUresult cuDriverGetVersion(int *version) {
	ENTER(NEED_NOTHING);
	*version = (int)fake_setting("FAKE_DRIVER", 13000);
	return OK;
}

static CUresult device_ok(CUdevice d) { return d >= 0 && d < fake_setting("FAKE_DEVICES", 1) ? OK : INVALID_DEVICE; }

API CUresult cuDeviceGetCount(int *n) {
	ENTER(NEED_INIT);
	*n = (int)fake_setting("FAKE_DEVICES", 1);
	return OK;
}

API CUresult cuDeviceGet(CUdevice *d, int ordinal) {
	ENTER(NEED_INIT);
	*d = ordinal;
	return device_ok(ordinal);
}

API CUresult cuDeviceGetName(char *name, int size, CUdevice d) {
	ENTER(NEED_INIT);
	snprintf(name, size, "Potstill Fake");
	return device_ok(d);
}

API CUresult cuDeviceGetUuid_v2(unsigned char uuid[16], CUdevice d) {
	ENTER(NEED_INIT);
	for (int i = 0; i < 16; i++)
		uuid[i] = (unsigned char)(0xf0 + i);
	uuid[15] = (unsigned char)d;
	return device_ok(d);
}

API CUresult cuDeviceGetUuid(unsigned char uuid[16], CUdevice d) { return cuDeviceGetUuid_v2(uuid, d); }

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice d) {
	ENTER(NEED_INIT);
	*bytes = (size_t)fake_setting("FAKE_MEMORY", 256L << 20);
	return device_ok(d);
}

API CUresult cuDeviceGetPCIBusId(char *id, int size, CUdevice d) {
	ENTER(NEED_INIT);
	snprintf(id, size, "0000:FA:%02X.0", d);
	return device_ok(d);
}

API CUresult cuDeviceGetAttribute(int *v, int attribute, CUdevice d) {
	ENTER(NEED_INIT);
	static const struct { int attribute, value; } table[] = {
		{ 1, 1024 }, { 2, 1024 }, { 3, 1024 }, { 4, 64 },            // threads of a block
		{ 5, 2147483647 }, { 6, 65535 }, { 7, 65535 },              // blocks of a grid
		{ 8, 49152 }, { 10, 32 }, { 12, 65536 }, { 13, 1000000 },   // shared memory, warp, registers, clock in kHz
		{ 16, 4 }, { 31, 1 }, { 36, 1000000 }, { 37, 64 },          // multiprocessors, concurrency, memory clock and bus
		{ 38, 1 << 17 }, { 39, 2048 }, { 41, 1 }, { 75, 90 }, { 76, 90 }, // L2, threads a multiprocessor, capability
		{ 81, 233472 }, { 97, 232448 }, { 106, 32 }, { 115, 1 },     // shared memory with consent, blocks, memory pools
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i].attribute == attribute) {
			const char *set = attribute == 16 ? "FAKE_MULTIPROCESSORS" : attribute == 75 || attribute == 76 ? "FAKE_CAPABILITY" : 0;
			long n = set ? fake_setting(set, table[i].value) : table[i].value;
			*v = (int)(attribute == 75 ? n / 10 : attribute == 76 ? n % 10 : n);
			return device_ok(d);
		}
	*v = 0;
	return attribute > 0 && attribute < 150 ? device_ok(d) : INVALID_VALUE;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
	ENTER(NEED_INIT);
	CUresult rc = device_ok(d);
	if (rc)
		return rc;
	if (!context.retained++)
		fake_live[LIVE_CONTEXTS] = 1;
	*c = &context;
	return OK;
}

// The last release takes everything in the context away, the lasting error too.
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
	ENTER(NEED_INIT);
	if (device_ok(d) || !context.retained)
		return INVALID_CONTEXT;
	if (!--context.retained)
		fake_reset_context();
	return OK;
}

API CUresult cuDevicePrimaryCtxRelease(CUdevice d) { return cuDevicePrimaryCtxRelease_v2(d); }

API CUresult cuDevicePrimaryCtxReset_v2(CUdevice d) {
	ENTER(NEED_INIT);
	fake_reset_context();
	return device_ok(d);
}

void fake_reset_context(void) {
	fake_live[LIVE_CONTEXTS] = 0;
	fake_destroy_created();
	if (!sticky)
		for (int i = 0; i < LIVE_KINDS; i++)
			leaked[i] += fake_live[i];
	fake_stream_reset();
	fake_memory_reset();
	while (n_objects)
		*objects[--n_objects] = 0; // no handle is good any more
	memset(fake_live, 0, sizeof fake_live);
	sticky = OK;
	sticky_detail[0] = 0;
}

CUcontext fake_current(void) { return current; }

int fake_is_context(CUcontext c) { return c == &context || fake_created(c); }

API CUresult cuCtxSetCurrent(CUcontext c) {
	ENTER(NEED_INIT);
	if (c && !fake_is_context(c))
		return INVALID_CONTEXT;
	current = c;
	return OK;
}

API CUresult cuCtxGetCurrent(CUcontext *c) {
	ENTER(NEED_INIT);
	*c = current;
	return OK;
}

API CUresult cuCtxPushCurrent_v2(CUcontext c) { return cuCtxSetCurrent(c); }

API CUresult cuCtxPopCurrent_v2(CUcontext *c) {
	ENTER(NEED_INIT);
	if (c)
		*c = current;
	current = 0;
	return OK;
}

API CUresult cuCtxGetDevice(CUdevice *d) {
	ENTER(NEED_CONTEXT);
	*d = 0;
	return OK;
}

API CUresult cuCtxSynchronize(void) {
	ENTER(NEED_CONTEXT);
	if (fake_capturing_unsafely())
		return fake_capture_break();
	CUresult rc = fake_drain();
	return rc ? rc : fake_check_guards();
}
