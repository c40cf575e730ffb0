/* LocalResponseNorm: each channel over a power of the squares of its neighbors. A
 * thread makes one channel of a row; what it reads its neighbors read too. */

/* y[c] = x[c]·s[c]^-beta, s[c] = k + scale·Σx² from c-before to c+behind. */
typedef struct {
	const real *x, *dy; /* rows of channels; dy backwards */
	real *y;            /* or dx */
	i64 items;
	int c, before, behind;
	float scale, beta, k;
} local_response_args, local_response_backward_args;

/* log s of channel c of a row. */
DEVICE float log_response(local_response_args a, const real *x, int c) {
	int lo = c - a.before, hi = c + a.behind;
	lo = lo < 0 ? 0 : lo, hi = hi < a.c ? hi : a.c - 1;
	float sum = 0.f;
	for (int j = lo; j <= hi; j++) {
		const float v = ld(x + j);
		sum = fmaf(v, v, sum);
	}
	return logf(fmaf(a.scale, sum, a.k));
}

KERNEL(local_response)(local_response_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += (i64)gridDim.x * blockDim.x) {
		const i64 row = i / a.c * a.c;
		st(a.y + i, ld(a.x + i) * expf(-a.beta * log_response(a, a.x + row, (int)(i - row))));
	}
}

/* dx[c] = dy[c]·s[c]^-beta - 2·scale·beta·x[c]·Σ_j dy[j]·x[j]·s[j]^(-beta-1) over
 * the channels j whose sums have c. */
KERNEL(local_response_backward)(local_response_backward_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += (i64)gridDim.x * blockDim.x) {
		const i64 row = i / a.c * a.c;
		const int c = (int)(i - row);
		const real *x = a.x + row, *dy = a.dy + row;
		int lo = c - a.behind, hi = c + a.before;
		lo = lo < 0 ? 0 : lo, hi = hi < a.c ? hi : a.c - 1;
		float others = 0.f, own = 0.f;
		for (int j = lo; j <= hi; j++) {
			const float l = log_response(a, x, j), d = ld(dy + j) * expf(-a.beta * l);
			if (j == c) own = d;
			others = fmaf(d * ld(x + j), expf(-l), others);
		}
		st(a.y + i, own - 2.f * a.scale * a.beta * ld(x + c) * others);
	}
}
