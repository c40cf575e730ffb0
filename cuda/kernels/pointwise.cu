/* Two tensors of one shape, element by element: WHAT of engine/gpu's pointwise.go
 * is known when the kernel is compiled. */

#include "vectors.cuh"

#define PRODUCT 0
#define QUOTIENT 1
#define LARGER 2
#define SMALLER 3
#define LARGER_BACKWARD 4
#define SMALLER_BACKWARD 5

#ifndef WHAT
#define WHAT PRODUCT
#endif

typedef struct {
	const real *a, *b, *dy;
	real *y;
	i64 n;
} pointwise_args;

/* The gradient: dy where a was chosen, half of it where both are equal. */
DEVICE float pointwise_of(float a, float b, float dy) {
	switch (WHAT) {
	case PRODUCT: return a * b;
	case QUOTIENT: return a / b;
	case LARGER: return max_nan(a, b);
	case SMALLER: return min_nan(a, b);
	case LARGER_BACKWARD: return a > b ? dy : a == b ? 0.5f * dy : 0.f;
	}
	return a < b ? dy : a == b ? 0.5f * dy : 0.f;
}

KERNEL(pointwise)(pointwise_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float u[VEC], v[VEC], d[VEC];
		ldv(a.a + i, u);
		ldv(a.b + i, v);
		if (WHAT >= LARGER_BACKWARD) ldv(a.dy + i, d);
		UNROLL
		for (int l = 0; l < VEC; l++) u[l] = pointwise_of(u[l], v[l], WHAT >= LARGER_BACKWARD ? d[l] : 0.f);
		stv(a.y + i, u);
	}
	REST(i, a.n) st(a.y + i, pointwise_of(ld(a.a + i), ld(a.b + i), WHAT >= LARGER_BACKWARD ? ld(a.dy + i) : 0.f));
}
