/* ChannelShuffle. A thread writes WIDTH neighboring channels of a row at once,
 * and gathers them one by one: what it leaves of a line its neighbors read. */

#ifndef WIDTH
#define WIDTH VEC
#endif
#ifdef BF16
#define REAL_BYTES 2
#else
#define REAL_BYTES 4
#endif
typedef struct ALIGNED(WIDTH * REAL_BYTES) { real at[WIDTH]; } vector;

/* y[r,o] = x[r, (o mod groups)·each + ⌊o/groups⌋]; a row has groups·each
 * channels, and by_row divides by its vectors. */
typedef struct {
	const real *x;
	vector *y;
	u32 items;
	int each, channels;
	fastdiv by_row, by_groups;
} channel_shuffle_args;

KERNEL(channel_shuffle)(channel_shuffle_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		u32 r = div_by(i, a.by_row), first = mod_by(i, r, a.by_row) * WIDTH;
		const real *x = a.x + (i64)r * a.channels;
		vector v;
		UNROLL
		for (int l = 0; l < WIDTH; l++) {
			u32 o = first + (u32)l, q = div_by(o, a.by_groups);
			v.at[l] = x[(i64)mod_by(o, q, a.by_groups) * a.each + q];
		}
		a.y[i] = v;
	}
}
