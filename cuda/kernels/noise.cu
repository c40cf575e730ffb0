/* noise, noise_bf16: y[i] for i < n, evenly spread over [-1, 1]. On such numbers
 * implementations are timed: a card that multiplies zeros draws less power, and
 * so clocks higher, than at work. */

typedef struct {
	void *y;
	i64 n;
	u32 seed;
} noise_args;

/* A permutation of 32 bits that mixes them (C. Wellons, "Prospecting for Hash
 * Functions", 2018: lowbias32). */
DEVICE u32 mix(u32 v) {
	v = (v ^ (v >> 16)) * 0x7feb352du;
	v = (v ^ (v >> 15)) * 0x846ca68bu;
	return v ^ (v >> 16);
}

/* The upper 24 bits are what a float holds exactly. */
DEVICE float noise_of(u32 seed, i64 i) { return (float)(mix(seed ^ (u32)i) >> 8) * (1.f / 8388608.f) - 1.f; }

#define EACH(i, n)                                                                        \
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x, step = (i64)gridDim.x * blockDim.x; i < (n); i += step)

KERNEL(noise)(noise_args a) {
	WAIT_FOR_EARLIER();
	float *y = (float *)a.y;
	EACH(i, a.n) y[i] = noise_of(a.seed, i);
}

KERNEL(noise_bf16)(noise_args a) {
	WAIT_FOR_EARLIER();
	bf16 *y = (bf16 *)a.y;
	EACH(i, a.n) y[i] = to_bf16(noise_of(a.seed, i));
}
