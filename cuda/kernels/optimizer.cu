/* Optimizers, moving averages and the gradient's norm: one launch over all
 * parameters of a net (see tensors.cuh). */

#include "tensors.cuh"

/* What each kernel reads of it is said there. */
typedef struct {
	float *p[TENSORS];
	const float *g[TENSORS];
	float *m[TENSORS];
	float *v[TENSORS];
	const float *hyper, *scale;
	int n[TENSORS];     /* elements */
	int first[TENSORS]; /* block */
	int count, flags;
	float beta1, beta2, eps;
} adam_args, sgd_args, mix_args;

#define DECOUPLED 1
#define MOMENTUM 2
#define NESTEROV 4
#define AVERAGE 8

#define HYPER_LR 0
#define HYPER_WEIGHT_DECAY 1
#define HYPER_BIAS1 2
#define HYPER_BIAS2 3
#define HYPER_FIRST 4

typedef struct { float decay, shrink, b1, b2, step, root, eps; } adam_rates;

DEVICE float adam_moments(adam_rates r, float g, float *m, float *v, float p) {
	*m = r.b1 * *m + (1.f - r.b1) * g;
	*v = r.b2 * *v + (1.f - r.b2) * g * g;
	return p - r.step * (*m / (sqrtf(*v) * r.root + r.eps));
}

DEVICE float adam_one(adam_rates r, float g, float *m, float *v, float p) {
	return adam_moments(r, g + r.decay * p, m, v, p - r.shrink * p);
}

/* Adam, or AdamW with DECOUPLED: p, g, m, v. */
KERNEL(adam)(adam_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t];
	float *ps = a.p[t], *ms = a.m[t], *vs = a.v[t];
	const float *gs = a.g[t];
	float4 p[DEPTH], g[DEPTH], m[DEPTH], v[DEPTH];
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		p[u] = load_up_to(ps, i, n), g[u] = load_up_to(gs, i, n);
		m[u] = load_up_to(ms, i, n), v[u] = load_up_to(vs, i, n);
	}
	float lr = a.hyper[HYPER_LR], decay = a.hyper[HYPER_WEIGHT_DECAY], scale = *a.scale;
	adam_rates r;
	r.decay = a.flags & DECOUPLED ? 0.f : decay;
	r.shrink = a.flags & DECOUPLED ? lr * decay : 0.f;
	r.b1 = a.beta1, r.b2 = a.beta2, r.eps = a.eps;
	r.step = lr / a.hyper[HYPER_BIAS1], r.root = 1.f / sqrtf(a.hyper[HYPER_BIAS2]);
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		p[u].x = adam_one(r, scale * g[u].x, &m[u].x, &v[u].x, p[u].x);
		p[u].y = adam_one(r, scale * g[u].y, &m[u].y, &v[u].y, p[u].y);
		p[u].z = adam_one(r, scale * g[u].z, &m[u].z, &v[u].z, p[u].z);
		p[u].w = adam_one(r, scale * g[u].w, &m[u].w, &v[u].w, p[u].w);
		store_up_to(ps, i, n, p[u]);
		store_up_to(ms, i, n, m[u]);
		store_up_to(vs, i, n, v[u]);
	}
}

/* The new buffer, and the step along d, for SGD. keep is zero at the first step:
 * what the buffer holds is then discarded, NaN too. */
DEVICE float sgd_one(float g, float *b, float p, int flags, float lr, float mu, float keep) {
	float d = g;
	if (flags & MOMENTUM) {
		*b = keep == 0.f ? g : keep * *b + g;
		d = flags & NESTEROV ? g + mu * *b : *b;
	}
	return p - lr * d;
}

/* SGD with momentum beta1: p, g and, with MOMENTUM, m. */
KERNEL(sgd)(sgd_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t], f = a.flags;
	float *ps = a.p[t], *bs = a.m[t];
	const float *gs = a.g[t];
	float4 p[DEPTH], g[DEPTH], b[DEPTH];
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		p[u] = load_up_to(ps, i, n), g[u] = load_up_to(gs, i, n);
		b[u] = f & MOMENTUM ? load_up_to(bs, i, n) : zero4();
	}
	float lr = a.hyper[HYPER_LR], decay = a.hyper[HYPER_WEIGHT_DECAY], scale = *a.scale;
	float mu = a.beta1, keep = a.hyper[HYPER_FIRST] != 0.f ? 0.f : mu;
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		p[u].x = sgd_one(scale * g[u].x + decay * p[u].x, &b[u].x, p[u].x, f, lr, mu, keep);
		p[u].y = sgd_one(scale * g[u].y + decay * p[u].y, &b[u].y, p[u].y, f, lr, mu, keep);
		p[u].z = sgd_one(scale * g[u].z + decay * p[u].z, &b[u].z, p[u].z, f, lr, mu, keep);
		p[u].w = sgd_one(scale * g[u].w + decay * p[u].w, &b[u].w, p[u].w, f, lr, mu, keep);
		store_up_to(ps, i, n, p[u]);
		if (f & MOMENTUM) store_up_to(bs, i, n, b[u]);
	}
}

DEVICE float mix_one(float p, float g, float keep, float take) {
	float w = __fmul_rn(take, g); /* rounded before it is added: see engine.Accumulate */
	return keep == 0.f ? w : keep * p + w;
}

/* With AVERAGE p ← s·p + (1-s)·g, else p ← (1-s)·p + beta1·g, where s = *scale.
 * A p that is multiplied by zero is discarded, NaN too. */
KERNEL(mix)(mix_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t];
	float *ps = a.p[t];
	const float *gs = a.g[t];
	float4 p[DEPTH], g[DEPTH];
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		p[u] = load_up_to(ps, i, n), g[u] = load_up_to(gs, i, n);
	}
	float s = *a.scale;
	float keep = a.flags & AVERAGE ? s : 1.f - s, take = a.flags & AVERAGE ? 1.f - s : a.beta1;
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		p[u].x = mix_one(p[u].x, g[u].x, keep, take);
		p[u].y = mix_one(p[u].y, g[u].y, keep, take);
		p[u].z = mix_one(p[u].z, g[u].z, keep, take);
		p[u].w = mix_one(p[u].w, g[u].w, keep, take);
		store_up_to(ps, ELEMENT(a, t, u), n, p[u]);
	}
}

/* ---- the norm of all gradients ---- */

#define CLIP_TENSORS 250
#define CLIP_DEPTH 4
#define CLIP_STRETCH (THREADS * 4 * CLIP_DEPTH)

typedef struct {
	const float *g[CLIP_TENSORS];
	float *part;         /* the sum of squares of every block, of all launches */
	float *norm, *scale; /* null in all but the last launch */
	u32 *arrived;        /* a counter that is zero */
	int n[CLIP_TENSORS], first[CLIP_TENSORS];
	int count;
	int before; /* blocks of the launches before this one */
	float max_norm;
} clip_args;

/* norm = √Σg², scale = min(1, max_norm/(norm + 1e-6)), or 1 without a maximum.
 * The last block to finish adds the blocks' sums in the order of their numbers,
 * in double. */
KERNEL(clip)(clip_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[32];
	__shared__ double total[THREADS];
	__shared__ int last;
	FIND_TENSOR(t, a)
	int n = a.n[t], start = ((int)blockIdx.x - a.first[t]) * CLIP_STRETCH + (int)threadIdx.x * 4;
	const float *g = a.g[t];
	float sum = 0.f;
	UNROLL
	for (int u = 0; u < CLIP_DEPTH; u++) {
		float4 v = load_up_to(g, start + u * THREADS * 4, n);
		sum += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
	}
	sum = block_sum(sum, shared);
	if (threadIdx.x == 0) a.part[a.before + (int)blockIdx.x] = sum;
	if (!a.norm || !last_block(a.arrived, gridDim.x, &last)) return;
	double s = 0;
	for (int i = (int)threadIdx.x; i < a.before + (int)gridDim.x; i += THREADS) s += (double)a.part[i];
	total[threadIdx.x] = s;
	__syncthreads();
	for (int half = THREADS / 2; half > 0; half /= 2) {
		if ((int)threadIdx.x < half) total[threadIdx.x] += total[threadIdx.x + half];
		__syncthreads();
	}
	if (threadIdx.x != 0) return;
	double norm = sqrt(total[0]), scale = (double)a.max_norm / (norm + 1e-6);
	*a.norm = (float)norm;
	*a.scale = a.max_norm == 0.f || scale > 1 ? 1.f : (float)scale;
}
