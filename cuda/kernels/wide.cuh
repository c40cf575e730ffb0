/* WIDTH neighboring channels at a time: 1, 4, or what sixteen bytes hold. */

#ifndef WIDTH
#define WIDTH VEC
#endif

DEVICE void load(const real *p, float *v) {
#if WIDTH == 1
	v[0] = ld(p);
#elif WIDTH == VEC
	ldv(p, v);
#else
	float4 r = ld4(p);
	v[0] = r.x, v[1] = r.y, v[2] = r.z, v[3] = r.w;
#endif
}

DEVICE void store(real *p, const float *v) {
#if WIDTH == 1
	st(p, v[0]);
#elif WIDTH == VEC
	stv(p, v);
#else
	st4(p, make_float4(v[0], v[1], v[2], v[3]));
#endif
}
