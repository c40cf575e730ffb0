/* The activation ACT_FN of engine.Act, with the constants ACT_A, ACT_B and ACT_C,
 * given by their bits: y = f(x) and dx = dy·f'. What act_back takes beside dy is
 * x under ACT_FROM_X, else y. All of it is known when the kernel is compiled, so
 * that the switches leave nothing behind. */

enum {
	ACT_CLIP = 3, ACT_LEAKY_RELU, ACT_THRESHOLDED_RELU, ACT_HARD_SIGMOID, ACT_HARD_SWISH, ACT_ABS, ACT_NEG,
	ACT_RECIPROCAL, ACT_SQRT, ACT_SOFTSIGN, ACT_EXP, ACT_ELU, ACT_CELU, ACT_SELU, ACT_SIGMOID, ACT_SILU, ACT_TANH,
	ACT_GELU, ACT_GELU_TANH, ACT_MISH, ACT_SOFTPLUS, ACT_LOG, ACT_ERF, ACT_POW
};

#define SQRT_HALF 0.70710678f        /* √½ */
#define DENSITY 0.39894228f          /* 1/√(2π) */
#define GELU_SCALE 1.59576912f       /* 2·√(2/π) */
#define GELU_CUBE 0.044715f
#define ERF_SLOPE 1.12837917f        /* 2/√π */

DEVICE float logistic(float v) { return 1.f / (1.f + expf(-v)); }

/* The logistic function and its complement, both to full relative precision. */
typedef struct { float up, down; } sides;

DEVICE sides logistic_sides(float v) {
	float e = expf(-fabsf(v)), d = 1.f / (1.f + e);
	sides s;
	s.up = v < 0.f ? e * d : d;
	s.down = v < 0.f ? d : e * d;
	return s;
}

/* Twice the argument of GELU's tanh, for which (1+tanh u)/2 = logistic(2u). */
DEVICE float gelu_inner(float v) { return GELU_SCALE * v * (1.f + GELU_CUBE * v * v); }

/* The normal distribution. */
DEVICE float normal_below(float v) { return 0.5f * erfcf(-SQRT_HALF * v); }

DEVICE float act(int f, float v) {
	const float a = bits_float(ACT_A), b = bits_float(ACT_B), c = bits_float(ACT_C);
	(void)f, (void)a, (void)b, (void)c;
	switch (ACT_FN) {
	case ACT_CLIP: return clamp(v, a, b);
	case ACT_LEAKY_RELU: return v > 0.f ? v : a * v;
	case ACT_THRESHOLDED_RELU: return v <= a ? 0.f : v;
	case ACT_HARD_SIGMOID: return clamp(fmaf(a, v, b), 0.f, 1.f);
	case ACT_HARD_SWISH: return v * (clamp(v + 3.f, 0.f, 6.f) * (1.f / 6));
	case ACT_ABS: return fabsf(v);
	case ACT_NEG: return -v;
	case ACT_RECIPROCAL: return 1.f / v;
	case ACT_SQRT: return sqrtf(v);
	case ACT_SOFTSIGN: return v / (1.f + fabsf(v));
	case ACT_EXP: return expf(v);
	case ACT_ELU:
	case ACT_CELU:
	case ACT_SELU: return v > 0.f ? a * v : b * expm1f(c * v);
	case ACT_SIGMOID: return logistic(v);
	case ACT_SILU: return v * logistic_sides(v).up;
	case ACT_TANH: return tanhf(v);
	case ACT_GELU: return v * normal_below(v);
	case ACT_GELU_TANH: return v * logistic(gelu_inner(v));
	case ACT_MISH: { /* tanh(log(1+e)) = t/(t+2), t = e·(e+2); beyond 20 it is 1 */
		float e = expf(v > 20.f ? 20.f : v), t = e * (e + 2.f);
		return v * (t / (t + 2.f));
	}
	case ACT_SOFTPLUS: {
		float u = a * v;
		return u > b ? v : ((u < 0.f ? 0.f : u) + log1pf(expf(-fabsf(u)))) * c;
	}
	case ACT_LOG: return logf(v);
	case ACT_ERF: return erff(v);
	case ACT_POW: return powf(v, a);
	}
	return v;
}

DEVICE float4 act4(int f, float4 v) { return make_float4(act(f, v.x), act(f, v.y), act(f, v.z), act(f, v.w)); }

/* The slope of the functions without corners. */
DEVICE float act_smooth(float s) {
	switch (ACT_FN) {
	case ACT_NEG: return -1.f;
	case ACT_RECIPROCAL: return -s * s;
	case ACT_SQRT: return 0.5f / s;
	case ACT_SOFTSIGN: return 1.f / ((1.f + fabsf(s)) * (1.f + fabsf(s)));
	case ACT_EXP: return s;
	case ACT_SIGMOID: return s * (1.f - s);
	case ACT_TANH: return 1.f - s * s;
	case ACT_SILU: {
		sides g = logistic_sides(s);
		return g.up + s * (g.up * g.down);
	}
	case ACT_GELU: return normal_below(s) + s * (DENSITY * expf(-0.5f * s * s));
	case ACT_GELU_TANH: { /* beyond 20 it is 0 or 1 */
		float v = clamp(s, -20.f, 20.f), g = logistic(gelu_inner(v));
		return g + v * (g * (1.f - g)) * (GELU_SCALE * (1.f + 3.f * GELU_CUBE * v * v));
	}
	case ACT_MISH: { /* (t + x·4e(e+1)/(t+2))/(t+2) */
		float v = s > 20.f ? 20.f : s, e = expf(v), t = e * (e + 2.f), d = 1.f / (t + 2.f);
		return (t + v * (4.f * e * (e + 1.f) * d)) * d;
	}
	case ACT_LOG: return 1.f / s;
	case ACT_ERF: return ERF_SLOPE * expf(-s * s);
	}
	return 1.f;
}

DEVICE float act_back(int f, float s, float dy) {
	const float a = bits_float(ACT_A), b = bits_float(ACT_B), c = bits_float(ACT_C);
	(void)f, (void)a, (void)b, (void)c;
	switch (ACT_FN) {
	case ACT_CLIP: return s <= a || s >= b ? 0.f : dy;
	case ACT_LEAKY_RELU: return s > 0.f ? dy : a * dy;
	case ACT_THRESHOLDED_RELU: return s <= a ? 0.f : dy;
	case ACT_HARD_SIGMOID: return s <= 0.f || s >= 1.f ? 0.f : a * dy;
	case ACT_HARD_SWISH: return s < -3.f ? 0.f : s < 3.f ? dy * (s * (1.f / 3) + 0.5f) : dy;
	case ACT_ABS: return s > 0.f ? dy : s < 0.f ? -dy : 0.f;
	case ACT_ELU:
	case ACT_CELU:
	case ACT_SELU: return dy * (s > 0.f ? a : b > 0.f ? (s + b) * c : b * c * expf(c * s));
	case ACT_SOFTPLUS: return a * s > b ? dy : dy * logistic(a * s);
	case ACT_POW: return a == 0.f ? 0.f : dy * (a * powf(s, a - 1.f));
	}
	return dy * act_smooth(s);
}

/* dy·f'(x), seen from x. */
DEVICE float act_through(int f, float x, float dy) {
#ifdef ACT_FROM_X
	return act_back(f, x, dy);
#else
	return act_back(f, act(f, x), dy);
#endif
}
