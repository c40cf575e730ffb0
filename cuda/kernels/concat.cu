/* Concat, Slice and its gradient: channels are moved, as they are, from rows of
 * one length to rows of another. A unit is what a thread moves, UNIT bytes: 16,
 * 8, 4 or 2, the most that divides the rows, the first channels and their number. */

#ifndef UNIT
#define UNIT 16
#endif
#if UNIT == 16
typedef struct ALIGNED(16) { u32 a, b, c, d; } unit;
#elif UNIT == 8
typedef struct ALIGNED(8) { u32 a, b; } unit;
#elif UNIT == 4
typedef struct { u32 a; } unit;
#else
typedef struct { unsigned short a; } unit;
#endif

/* y[r, y_first+c] = x[r, x_first+c] for 0 ≤ c < count, in units. Threads run over
 * units of y: those from `from` on in each row, as many as the divisor says. One
 * that lies outside of what is moved becomes zero. */
typedef struct {
	const unit *x;
	unit *y;
	u32 items;
	int x_row, x_first, y_row, y_first, count, from;
	fastdiv by_row;
} strip_args;

KERNEL(strip)(strip_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		u32 r = div_by(i, a.by_row);
		int k = a.from + (int)mod_by(i, r, a.by_row), c = k - a.y_first;
		unit v = {0};
		if (c >= 0 && c < a.count) v = a.x[(i64)r * a.x_row + a.x_first + c];
		a.y[(i64)r * a.y_row + k] = v;
	}
}
