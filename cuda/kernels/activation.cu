/* Activations and their gradients, element by element. They are bound by memory:
 * sixteen bytes at a time, in grid-stride loops. Tensors start at multiples of
 * sixteen bytes, so only the last few elements are taken one by one. */

#include "vectors.cuh"

/* y = f(x) */
typedef struct {
	const real *x;
	real *y;
	i64 n;
	int f;
} activation_args;

KERNEL(activation)(activation_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float v[VEC];
		ldv(a.x + i, v);
		UNROLL
		for (int l = 0; l < VEC; l++) v[l] = act(a.f, v[l]);
		stv(a.y + i, v);
	}
	REST(i, a.n) st(a.y + i, act(a.f, ld(a.x + i)));
}

/* dx = dy·f', seen from s, which is x or y as engine.Act.FromX has it. */
typedef struct {
	const real *s, *dy;
	real *dx;
	i64 n;
	int f;
} activation_backward_args;

KERNEL(activation_backward)(activation_backward_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float s[VEC], d[VEC];
		ldv(a.s + i, s);
		ldv(a.dy + i, d);
		UNROLL
		for (int l = 0; l < VEC; l++) d[l] = act_back(a.f, s[l], d[l]);
		stv(a.dx + i, d);
	}
	REST(i, a.n) st(a.dx + i, act_back(a.f, ld(a.s + i), ld(a.dy + i)));
}
