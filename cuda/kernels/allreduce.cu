/* The kernels before and behind the exchanges of several ranks: they pack tensors into one
 * vector, add up the ranks' vectors in the order of the ranks, and unpack the sums; and they move
 * the running statistics of batch norms. In the vector each tensor begins at a multiple of four
 * floats. */

#include "tensors.cuh"

typedef struct {
	float *p[TENSORS];
	float *packed;
	int n[TENSORS], first[TENSORS]; /* elements, block */
	int at[TENSORS];                /* place in packed */
	int count, absent;
} pack_args, unpack_args;

/* packed ← p, with zeros up to the next tensor; with absent -0, which adds nothing. */
KERNEL(pack)(pack_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t];
	const float *p = a.p[t];
	float *to = a.packed + a.at[t];
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		if (i < n) stf4(to + i, a.absent ? splat4(-0.f) : load_up_to(p, i, n));
	}
}

/* p ← packed */
KERNEL(unpack)(unpack_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t];
	const float *from = a.packed + a.at[t];
	UNROLL
	for (int u = 0; u < DEPTH; u++) {
		int i = ELEMENT(a, t, u);
		if (i < n) store_up_to(a.p[t], i, n, ldf4(from + i));
	}
}

typedef struct {
	const float *theirs; /* [ranks, share] */
	float *sums;         /* [share] */
	int share, ranks;
} rank_sum_args;

/* sums = (…((rank 0 + rank 1) + rank 2) + …) */
KERNEL(rank_sum)(rank_sum_args a) {
	WAIT_FOR_EARLIER();
	int i = ((int)(blockIdx.x * THREADS + threadIdx.x)) * 4;
	if (i >= a.share) return;
	float4 s = ldf4(a.theirs + i);
	for (int r = 1; r < a.ranks; r++) s = add4(s, ldf4(a.theirs + (size_t)r * (size_t)a.share + i));
	stf4(a.sums + i, s);
}

typedef struct {
	const float *running[TENSORS];
	float *moved[TENSORS];
	const float *all; /* [ranks, stride]: the statistics of each rank's batch */
	int n[TENSORS], first[TENSORS], at[TENSORS];
	float momentum[TENSORS];
	int count, stride, active;
} move_statistics_args;

/* running ← (1-m)·running + m·x for the batches of the active ranks in turn, each rounded
 * as bn_finish does. */
KERNEL(move_statistics)(move_statistics_args a) {
	WAIT_FOR_EARLIER();
	FIND_TENSOR(t, a)
	int n = a.n[t], start = ((int)blockIdx.x - a.first[t]) * STRETCH + (int)threadIdx.x;
	double m = (double)a.momentum[t], keep = 1 - m;
	for (int u = 0; u < 4 * DEPTH; u++) {
		int i = start + u * THREADS;
		if (i >= n) return;
		float v = a.running[t][i];
		const float *x = a.all + a.at[t] + i;
		for (int r = 0; r < a.active; r++) v = (float)fma(m, (double)x[(size_t)r * (size_t)a.stride], keep * v);
		a.moved[t][i] = v;
	}
}
