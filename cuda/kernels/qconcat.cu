/* Codes that change their places. */

#include "codes.cuh"

/* Rows of c codes of x go to rows of yc codes of y, from the first given on. */
typedef struct {
	const u8 *x;
	u8 *y;
	i64 n, c, yc, first;
} qconcat_args;

KERNEL(qconcat)(qconcat_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.y[i / a.c * a.yc + a.first + i % a.c] = a.x[i];
}

/* Pictures of `pixels` pixels of c codes, channel by channel. */
typedef struct {
	const u8 *x;
	u8 *y;
	i64 n, pixels, c;
} qflatten_args;

KERNEL(qflatten)(qflatten_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		i64 image = i / (a.pixels * a.c), at = i % (a.pixels * a.c);
		a.y[i] = a.x[image * a.pixels * a.c + at % a.pixels * a.c + at / a.pixels];
	}
}
