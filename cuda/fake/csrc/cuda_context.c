// The stand-in libcuda: contexts beside the primary one, and what a driver knows
// of things that another library made. All contexts share one memory and one
// lasting error; whose a stream or an allocation is, is known.
#include "fake.h"

#include <stdlib.h>
#include <string.h>

// Those that cuCtxCreate made. A slot is used once, so that no handle comes back.
static fake_context created[256];
static int n_created;

int fake_created(CUcontext c) {
	for (int i = 0; i < n_created; i++)
		if (c == &created[i])
			return created[i].retained;
	return 0;
}

void fake_destroy_created(void) {
	for (int i = 0; i < n_created; i++)
		created[i].retained = 0;
}

// cuCtxCreate makes the new context current, as CUDA does. The primary context
// is retained as long as it lives, for the memory that both share.
API CUresult cuCtxCreate_v2(CUcontext *c, unsigned flags, CUdevice d) {
	ENTER(NEED_INIT);
	CUcontext primary;
	if (!c || flags > 0x1f)
		return INVALID_VALUE;
	if (n_created == (int)(sizeof created / sizeof *created))
		return OUT_OF_MEMORY;
	CUresult rc = cuDevicePrimaryCtxRetain(&primary, d);
	if (rc)
		return rc;
	*c = &created[n_created++];
	(*c)->retained = 1;
	return cuCtxSetCurrent(*c);
}

API CUresult cuCtxDestroy_v2(CUcontext c) {
	ENTER(NEED_INIT);
	if (!fake_created(c))
		return INVALID_CONTEXT;
	c->retained = 0;
	if (fake_current() == c)
		cuCtxSetCurrent(0);
	return cuDevicePrimaryCtxRelease_v2(0);
}

API CUresult cuStreamGetCtx(CUstream s, CUcontext *c) {
	ENTER(NEED_CONTEXT);
	s = fake_stream_of(s);
	if (!LIVE(s, STREAM))
		return INVALID_HANDLE;
	*c = s->owner ? s->owner : fake_current();
	return OK;
}

API CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr p) {
	ENTER(NEED_CONTEXT);
	CUdeviceptr b;
	size_t n;
	CUcontext owner;
	if (!fake_block(p, &b, &n, &owner))
		return NOT_FOUND;
	if (base)
		*base = b;
	if (bytes)
		*bytes = n;
	return OK;
}

API CUresult cuPointerGetAttribute(void *value, int attribute, CUdeviceptr p) {
	ENTER(NEED_CONTEXT);
	CUdeviceptr b;
	size_t n;
	CUcontext owner;
	if (!value || attribute != 1 || !fake_block(p, &b, &n, &owner)) // CU_POINTER_ATTRIBUTE_CONTEXT
		return INVALID_VALUE;
	*(CUcontext *)value = owner;
	return OK;
}
