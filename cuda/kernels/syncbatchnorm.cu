/* Batch normalization over several ranks: the kernels behind the exchange of the statistics,
 * and of the gradient's sums, which batchnorm.cu and batchnorm_backward.cu compute of a rank's own
 * batch. One channel a thread, in double, in the order of the ranks.
 *
 * A rank sends [elements of a channel / 4096, and what that leaves over, 0, 0], and behind
 * them two vectors of its channels, each of a multiple of four floats. One that is absent
 * sends no elements. */

#define THREADS 128
#define HEAD 4

typedef struct {
	const float *all; /* [ranks, stride] */
	const float *run_mean, *run_var;
	float *mu, *r, *new_mean, *new_var;
	int ranks, stride, channels, second; /* second: where the second vector begins */
	float eps, momentum;
} sync_bn_join_args;

DEVICE double elements(const float *rank) { return (double)rank[0] * 4096 + (double)rank[1]; }

/* The ranks' means and variances (divided by their elements - 1) are merged; the running
 * statistics are moved as bn_finish does. */
KERNEL(sync_bn_join)(sync_bn_join_args a) {
	WAIT_FOR_EARLIER();
	int c = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (c >= a.channels) return;
	double n = 0, mean = 0, m2 = 0;
	for (int i = 0; i < a.ranks; i++) {
		const float *p = a.all + (size_t)i * (size_t)a.stride;
		double count = elements(p);
		if (count == 0) continue;
		double d = (double)p[HEAD + c] - mean, total = n + count;
		mean += d * count / total;
		m2 += (count > 1 ? (double)p[a.second + c] * (count - 1) : 0) + d * d * n * count / total;
		n = total;
	}
	double m = (double)a.momentum, keep = 1 - m;
	a.mu[c] = (float)mean;
	a.r[c] = (float)(1 / sqrt(m2 / n + (double)a.eps));
	a.new_mean[c] = (float)fma(m, (double)(float)mean, keep * a.run_mean[c]);
	a.new_var[c] = (float)fma(m, (double)(float)(m2 / (n - 1)), keep * a.run_var[c]);
}

typedef struct {
	const float *all;
	const float *gamma, *r;
	float *coef; /* [2, channels]: see bn_dx */
	double own;  /* this rank's elements */
	int ranks, stride, channels, second;
} sync_bn_grad_join_args;

/* Of all ranks' dβ and dγ, each weighed by its share of the elements, come the
 * coefficients of dx. */
KERNEL(sync_bn_grad_join)(sync_bn_grad_join_args a) {
	WAIT_FOR_EARLIER();
	int c = (int)(blockIdx.x * THREADS + threadIdx.x);
	if (c >= a.channels) return;
	double n = 0, s = 0, t = 0;
	for (int i = 0; i < a.ranks; i++) n += elements(a.all + (size_t)i * (size_t)a.stride);
	for (int i = 0; i < a.ranks; i++) {
		const float *p = a.all + (size_t)i * (size_t)a.stride;
		double share = elements(p) / n;
		if (share == 0) continue;
		s += share * p[HEAD + c];
		t += share * p[a.second + c];
	}
	double r = a.r[c], scale = a.gamma[c] * r;
	a.coef[c] = (float)(-scale * r * t / a.own);
	a.coef[a.channels + c] = (float)(-scale * s / a.own);
}
