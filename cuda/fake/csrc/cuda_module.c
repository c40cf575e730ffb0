// The stand-in libcuda: modules, functions and launches. An image is a shared
// object that the stand-in libnvrtc made.
#define _GNU_SOURCE
#include "fake.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHARED = 49152, SHARED_OPTIN = 232448 };

static struct fake_function *functions;

// image_size reads an ELF file's size off its header: the sections' table lies at its end.
static size_t image_size(const unsigned char *image) {
	uint64_t table;
	uint16_t size, n;
	memcpy(&table, image + 40, sizeof table);
	memcpy(&size, image + 58, sizeof size);
	memcpy(&n, image + 60, sizeof n);
	return table + (size_t)size * n;
}

static void *open_image(const void *image) {
	char path[] = "/tmp/potstill-fake-XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0)
		return 0;
	size_t n = image_size(image);
	int whole = write(fd, image, n) == (ssize_t)n;
	close(fd);
	void *handle = whole ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : 0;
	unlink(path);
	return handle;
}

API CUresult cuModuleLoadData(CUmodule *out, const void *image) {
	ENTER(NEED_CONTEXT);
	*out = 0;
	if (!image || memcmp(image, "\177ELF\2", 5))
		return INVALID_IMAGE;
	CUmodule m = fake_object(sizeof *m, MODULE);
	if (!m)
		return OUT_OF_MEMORY;
	m->handle = open_image(image);
	if (!m->handle)
		return INVALID_IMAGE;
	fake_now *(*link)(const fake_calls *, char **, char **) = 0;
	*(void **)&link = dlsym(m->handle, "fake_link");
	if (!link) {
		dlclose(m->handle);
		return INVALID_IMAGE;
	}
	m->now = link(&fake_kernel_calls, &m->shared, &m->shared_end);
	fake_live[LIVE_MODULES]++;
	*out = m;
	return OK;
}

API CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned n, int *options, void **values) {
	(void)n;
	(void)options;
	(void)values;
	return cuModuleLoadData(out, image);
}

API CUresult cuModuleUnload(CUmodule m) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(m, MODULE))
		return INVALID_HANDLE;
	CUresult rc = fake_drain();
	for (struct fake_function *f = functions; f; f = f->next)
		if (f->module == m)
			f->magic = 0;
	m->magic = 0;
	dlclose(m->handle);
	fake_live[LIVE_MODULES]--;
	return rc;
}

API CUresult cuModuleGetFunction(CUfunction *out, CUmodule m, const char *name) {
	ENTER(NEED_CONTEXT);
	*out = 0;
	if (!LIVE(m, MODULE))
		return INVALID_HANDLE;
	for (struct fake_function *f = functions; f; f = f->next)
		if (f->module == m && f->magic && !strcmp(f->name, name)) {
			*out = f;
			return OK;
		}
	char symbol[128];
	snprintf(symbol, sizeof symbol, "fake_kernel_%s", name);
	const fake_kernel *k = dlsym(m->handle, symbol);
	if (!k)
		return NOT_FOUND;
	struct fake_function *f = fake_object(sizeof *f, FUNCTION);
	if (!f)
		return OUT_OF_MEMORY;
	snprintf(f->name, sizeof f->name, "%s", name);
	f->module = m;
	f->kernel = k;
	f->dynamic_limit = SHARED;
	f->next = functions;
	*out = functions = f;
	return OK;
}

static unsigned max_threads(CUfunction f) { return f->kernel->max_threads ? f->kernel->max_threads : 1024; }

API CUresult cuFuncGetAttribute(int *v, int attribute, CUfunction f) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(f, FUNCTION))
		return INVALID_HANDLE;
	switch (attribute) {
	case 0: *v = (int)max_threads(f); return OK;
	case 1: case 2: case 3: *v = 0; return OK; // not known here
	case 4: *v = 32; return OK;
	case 5: case 6: *v = 90; return OK;
	case 8: *v = (int)f->dynamic_limit; return OK;
	}
	return INVALID_VALUE;
}

API CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(f, FUNCTION))
		return INVALID_HANDLE;
	if (attribute == 9) // the share of L1
		return value >= -1 && value <= 100 ? OK : INVALID_VALUE;
	if (attribute != 8 || value < 0 || value > SHARED_OPTIN)
		return INVALID_VALUE;
	f->dynamic_limit = (unsigned)value;
	return OK;
}

API CUresult cuFuncSetCacheConfig(CUfunction f, int config) {
	ENTER(NEED_CONTEXT);
	return LIVE(f, FUNCTION) && config >= 0 && config <= 3 ? OK : INVALID_HANDLE;
}

API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f, int threads, size_t shared) {
	ENTER(NEED_CONTEXT);
	if (!LIVE(f, FUNCTION))
		return INVALID_HANDLE;
	if (threads < 1 || shared > SHARED_OPTIN)
		return INVALID_VALUE;
	*blocks = 2048 / ((threads + 31) / 32 * 32);
	if (shared && *blocks > (int)(233472 / (shared + 1024)))
		*blocks = (int)(233472 / (shared + 1024));
	return OK;
}

static CUresult run_kernel(fake_node *n) {
	if (!LIVE(n->function, FUNCTION))
		return fake_fault(INVALID_HANDLE, "%s: its module has been unloaded", n->name);
	CUresult rc = fakeInjected(n->name);
	return rc ? fake_fault(rc, "injected at %s", n->name) : fake_run_grid(n->function, n->args, n->grid, n->block, n->shared, n->overlaps);
}

// arguments finds the one struct in either form of a launch; NULL if it has not the kernel's size.
static const void *arguments(CUfunction f, void **params, void **extra) {
	if (params)
		return extra ? 0 : params[0];
	const void *p = 0;
	size_t size = 0;
	for (; extra && *extra; extra += 2)
		switch ((uintptr_t)extra[0]) {
		case 1: p = extra[1]; break;
		case 2: size = *(size_t *)extra[1]; break;
		default: return 0;
		}
	return size == f->kernel->args ? p : 0;
}

static CUresult launch(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, CUstream s, int overlaps, void **params, void **extra) {
	if (!LIVE(f, FUNCTION))
		return INVALID_HANDLE;
	const void *args = arguments(f, params, extra);
	if (!args || !gx || !gy || !gz || !bx || !by || !bz || gx > 2147483647u || gy > 65535 || gz > 65535)
		return INVALID_VALUE;
	if (bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024 || shared > f->dynamic_limit)
		return INVALID_VALUE;
	if (bx * by * bz > max_threads(f))
		return LAUNCH_OUT_OF_RESOURCES;
	fake_node *n = fake_node_new(run_kernel, f->kernel->args);
	if (!n)
		return OUT_OF_MEMORY;
	snprintf(n->name, sizeof n->name, "%s", f->name);
	n->function = f;
	n->bytes = f->kernel->args;
	memcpy(n->args, args, n->bytes);
	memcpy(n->grid, (unsigned[3]){ gx, gy, gz }, sizeof n->grid);
	memcpy(n->block, (unsigned[3]){ bx, by, bz }, sizeof n->block);
	n->shared = shared;
	n->overlaps = overlaps;
	return fake_submit(s, n);
}

API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, CUstream s, void **params, void **extra) {
	ENTER(NEED_CONTEXT);
	return launch(f, gx, gy, gz, bx, by, bz, shared, s, 0, params, extra);
}

typedef struct {
	int id;
	_Alignas(8) union {
		char bytes[64];
		int programmatic;
	} value;
} attribute;
typedef struct {
	unsigned gx, gy, gz, bx, by, bz, shared;
	CUstream stream;
	const attribute *attributes;
	unsigned n;
} launch_config;

// The one attribute that it knows is programmatic stream serialization, of which
// devices before compute capability 9.0 have none.
API CUresult cuLaunchKernelEx(const launch_config *c, CUfunction f, void **params, void **extra) {
	ENTER(NEED_CONTEXT);
	int overlaps = 0;
	if (!c || (c->n && !c->attributes))
		return INVALID_VALUE;
	for (unsigned i = 0; i < c->n; i++) {
		if (c->attributes[i].id != 6)
			return INVALID_VALUE;
		overlaps = c->attributes[i].value.programmatic != 0;
	}
	if (overlaps && fake_setting("FAKE_CAPABILITY", 90) < 90)
		return NOT_SUPPORTED;
	return launch(f, c->gx, c->gy, c->gz, c->bx, c->by, c->bz, c->shared, c->stream, overlaps, params, extra);
}
