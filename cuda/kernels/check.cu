/* Whether all elements of many tensors are finite: one launch, sixteen bytes at
 * a time. A block takes one stretch of one tensor; the tables are those of
 * optimizer.cu. */

#define THREADS 256
#define TENSORS 250
#define DEPTH 4
#define STRETCH (THREADS * VEC * DEPTH)

typedef struct {
	const real *x[TENSORS];
	u32 *bad; /* set to one if an element is infinite or not a number, else left alone */
	int n[TENSORS], first[TENSORS];
	int count;
} all_finite_args;

/* A finite number minus itself is zero; all others give a NaN. */
DEVICE int finite(float v) { return v - v == 0.f; }

KERNEL(all_finite)(all_finite_args a) {
	WAIT_FOR_EARLIER();
	int t = 0;
	for (int hi = a.count - 1; t < hi;) {
		int mid = (t + hi + 1) / 2;
		if (a.first[mid] <= (int)blockIdx.x) t = mid;
		else hi = mid - 1;
	}
	const real *x = a.x[t];
	int n = a.n[t], start = ((int)blockIdx.x - a.first[t]) * STRETCH + (int)threadIdx.x * VEC, ok = 1;
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = start + u * THREADS * VEC;
		if (i + VEC <= n) {
			float v[VEC];
			ldv(x + i, v);
			UNROLL
			for (int l = 0; l < VEC; l++) ok &= finite(v[l]);
		} else {
			for (int j = i; j < n; j++) ok &= finite(ld(x + j));
		}
	}
	if (!ok) atomicOr(a.bad, 1u);
}
