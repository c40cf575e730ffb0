/* The second stage of what was summed in parts:
 *
 *   y[i]    = f(Σ_s part[s,i] + bias[i mod C] + residual[i])  for i < count
 *   tail[j] = Σ_s part[s,count+j]                              for j < more
 *
 * A warp takes 32 neighboring elements; the WARPS warps of a block take every
 * WARPS-th part of the same 32 elements, and their sums are added in order. */

#ifndef WARPS
#define WARPS 4
#endif
#if ON_DEVICE
#define UNROLL4 _Pragma("unroll 4")
#else
#define UNROLL4
#endif

typedef struct {
	const float *part; /* [splits][count+more] */
	const float *bias; /* [C] or 0 */
	const real *residual; /* [count] or 0 */
	real *y;
	float *tail;
	i64 stride; /* floats from one part to the next */
	i64 count;
	int more;
	int splits;
	int channels; /* C */
	int act;
} split_sum_args;

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(32 * WARPS)

KERNEL(split_sum)(split_sum_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float sums[WARPS][32];
	const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
	const i64 i = (i64)blockIdx.x * 32 + lane;
	float sum = 0.f;
	if (i < a.count + a.more) {
		const float *part = a.part + i;
		UNROLL4
		for (int s = warp; s < a.splits; s += WARPS) sum += part[s * a.stride];
	}
	sums[warp][lane] = sum;
	__syncthreads();
	if (warp > 0 || i >= a.count + a.more) return;
	UNROLL
	for (int w = 1; w < WARPS; w++) sum += sums[w][lane];
	if (i >= a.count) {
		a.tail[i - a.count] = sum;
		return;
	}
	if (a.bias) sum += a.bias[i % a.channels];
	if (a.residual) sum += ld(a.residual + i);
	st(a.y + i, act(a.act, sum));
}
