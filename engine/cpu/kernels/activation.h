// The activations of engine.Act: y = f(x) and dx = dy·f'(x) over runs of floats.
// The choice of f stands outside the loops. Identity, ReLU and ReLU6 are in
// simd.h too, for kernels that take them on the way (see act_inline).
//
// The coefficients of the polynomials are minimax fits to the functions named
// beside them; the relative error of each is below 5e-8.

INLINE vf absolute(vf v) { return (vf)((vi)v & 0x7fffffff); }
INLINE vf with_sign(vf v, vf of) { return (vf)((vi)v | ((vi)of & (int32_t)0x80000000)); }

// Bounds that let a NaN through.
INLINE vf at_least(vf v, float least) { return pick(v < splat(least), splat(least), v); }
INLINE vf at_most(vf v, float most) { return pick(v > splat(most), splat(most), v); }

// x = n·log 2 + r with |r| ≤ log(2)/2, for |x| ≤ 104: returns r. Adding 1.5·2^23
// rounds to an integer, which is then in the low bits. log 2 is cut in two, so that
// n times its head is exact.
INLINE vf exp_rest(vf x, vi *n, vf *nf) {
  const vf t = x * splat(0x1.715476p+0f) + splat(0x1.8p23f);
  *n = (vi)t - 0x4b400000;
  *nf = t - splat(0x1.8p23f);
  return (x - *nf * splat(0x1.62e3p-1f)) - *nf * splat(0x1.2fefa2p-17f);
}

// e^r - 1 for |r| ≤ log(2)/2.
INLINE vf exp_poly(vf r) {
  vf p = splat(0x1.a1a602p-13f);
  p = p * r + splat(0x1.6d7b94p-10f);
  p = p * r + splat(0x1.11108cp-7f);
  p = p * r + splat(0x1.5554a6p-5f);
  p = p * r + splat(0x1.555556p-3f);
  p = p * r + splat(0.5f);
  return r + r * r * p;
}

// v·2^n, rounded once: n may be beyond the exponents of normal numbers.
INLINE vf scaled(vf v, vi n, vf nf) {
#if defined(PS_MASK_AVX512)
  (void)n;
  return (vf)_mm512_scalef_ps((__m512)v, (__m512)nf);
#else
  (void)nf;
  const vi half = n >> 1;
  return v * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
#endif
}

// e^x.
INLINE vf exponential(vf x) {
  vi n;
  vf nf;
  const vf r = exp_rest(at_most(at_least(x, -104), 89), &n, &nf);
  return scaled(exp_poly(r) + splat(1), n, nf);
}

// e^x - 1 for x ≤ 0.
INLINE vf exponential_less1(vf x) {
  vi n;
  vf nf;
  const vf r = exp_rest(at_least(x, -87), &n, &nf), s = (vf)((n + 127) << 23);
  return s * exp_poly(r) + (s - splat(1));
}

INLINE vf logistic(vf x) { return splat(1) / (splat(1) + exponential(-x)); }

// The logistic function and its complement, both to full relative precision.
typedef struct {
  vf up, down;
} sides;

INLINE sides logistic_sides(vf x) {
  const vf e = exponential(-absolute(x)), d = splat(1) / (splat(1) + e), t = e * d;
  const vi m = x < splat(0);
  return (sides){pick(m, t, d), pick(m, d, t)};
}

INLINE vf tangent(vf x) {
  const vf t = exponential_less1(splat(-2) * absolute(x));
  return with_sign(-t / (splat(2) + t), x);
}

// erfc(z)·e^(z²) for z ≥ 0, a polynomial in t = 1/(1+z/2).
INLINE vf erfc_scaled(vf z) {
  const vf t = splat(1) / (splat(1) + splat(0.5f) * z);
  vf p = splat(-0x1.e1b222p-5f);
  p = p * t + splat(0x1.220eeap-2f);
  p = p * t + splat(-0x1.f016d0p-2f);
  p = p * t + splat(0x1.19834cp-2f);
  p = p * t + splat(-0x1.9064eep-6f);
  p = p * t + splat(0x1.9d30dep-3f);
  p = p * t + splat(0x1.f25d54p-3f);
  p = p * t + splat(0x1.211e4ep-2f);
  p = p * t + splat(0x1.20dbc4p-2f);
  return p * t;
}

INLINE vf error_function(vf x) {
  const vf z = absolute(x), u = x * x;
  vf p = splat(-0x1.273fa0p-11f);
  p = p * u + splat(0x1.4246d0p-8f);
  p = p * u + splat(-0x1.b5a35cp-6f);
  p = p * u + splat(0x1.ce0946p-4f);
  p = p * u + splat(-0x1.812674p-2f);
  p = p * u + splat(0x1.20dd74p+0f);
  const vf far = splat(1) - erfc_scaled(z) * exponential(-u);
  return with_sign(pick(z < splat(1), z * p, far), x);
}

// The normal distribution Φ(x) and its density φ(x).
typedef struct {
  vf below, density;
} gauss;

INLINE gauss normal(vf x) {
  const vf e = exponential(splat(-0.5f) * x * x);
  const vf tail = splat(0.5f) * erfc_scaled(absolute(x) * splat(0x1.6a09e6p-1f)) * e;
  return (gauss){pick(x < splat(0), tail, splat(1) - tail), e * splat(0x1.988454p-2f)};
}

// Twice the argument of GELU's tanh: 2·√(2/π)·(x+0.044715·x³), for which
// (1+tanh u)/2 is the logistic function of 2u.
INLINE vf gelu_inner(vf x) { return x * (splat(0x1.988454p+0f) + splat(0x1.2444fap-4f) * x * x); }

// log(1+t) for 0 ≤ t ≤ 1.
INLINE vf log_1plus(vf t) {
  vf p = splat(-0x1.a931eep-9f);
  p = p * t + splat(0x1.453e3ap-6f);
  p = p * t + splat(-0x1.d29c04p-5f);
  p = p * t + splat(0x1.b252fcp-4f);
  p = p * t + splat(-0x1.397544p-3f);
  p = p * t + splat(0x1.92f68cp-3f);
  p = p * t + splat(-0x1.ff0f86p-3f);
  p = p * t + splat(0x1.554c80p-2f);
  p = p * t + splat(-0x1.ffffbep-2f);
  p = p * t + splat(1);
  return p * t;
}

// log(1+e^x)
INLINE vf soft_plus(vf x) { return at_least(x, 0) + log_1plus(exponential(-absolute(x))); }

// log x = n·log 2 + log(1+f) with 1+f in [√½, √2).
INLINE vf logarithm(vf x) {
  const vi tiny = x < splat(0x1p-126f);
  const vi bits = (vi)pick(tiny, x * splat(0x1p23f), x);
  const vi n = (bits - 0x3f3504f3) >> 23;
  const vf f = (vf)(bits - (n << 23)) - splat(1);
  vf p = splat(0x1.1b40e4p-4f);
  p = p * f + splat(-0x1.e2e918p-4f);
  p = p * f + splat(0x1.e6512ep-4f);
  p = p * f + splat(-0x1.fb434ep-4f);
  p = p * f + splat(0x1.2332b8p-3f);
  p = p * f + splat(-0x1.5562e2p-3f);
  p = p * f + splat(0x1.99a546p-3f);
  p = p * f + splat(-0x1.ffffeep-3f);
  p = p * f + splat(0x1.555546p-2f);
  const vf k = __builtin_convertvector(n - (tiny & 23), vf), q = f * f;
  vf y = f * q * p + k * splat(0x1.2fefa2p-17f);
  y = y - splat(0.5f) * q + f + k * splat(0x1.62e3p-1f);
  y = pick(x == splat(INFINITY), x, y);
  y = pick(x == splat(0), splat(-INFINITY), y);
  return pick(x >= splat(0), y, splat(NAN)); // a NaN and what is negative
}

// x^p for an integer 0 ≤ p.
INLINE vf product(vf x, int64_t p) {
  vf y = splat(1);
  for (; p > 0; p >>= 1, x *= x)
    if (p & 1) y *= x;
  return y;
}

#define ACT_EACH(EXPR)                     \
  do {                                     \
    for (int64_t i = 0; i < n; i += VL) {  \
      const vf v = load_n(x + i, n - i);   \
      store_n(y + i, n - i, (EXPR));       \
    }                                      \
    return;                                \
  } while (0)

// y = x^p. What is a small integer is made by products, after the reciprocal if
// it is negative; else it is e^(p·log|x|), with the sign of an odd power.
static void act_pow(const float *x, float *y, int64_t n, double p) {
  const double whole = rint(p);
  if (p == whole && fabs(p) <= 16) {
    const int64_t k = (int64_t)fabs(p);
    if (p < 0) ACT_EACH(product(splat(1) / v, k));
    ACT_EACH(product(v, k));
  }
  if (p == 0.5) ACT_EACH(square_root(v));
  const vf e = splat((float)p);
  if (p != whole) ACT_EACH(exponential(e * logarithm(v)));
  if (fmod(fabs(p), 2) == 1) ACT_EACH(with_sign(exponential(e * logarithm(absolute(v))), v));
  ACT_EACH(exponential(e * logarithm(absolute(v))));
}

// y = f(x); y may be x.
static __attribute__((noinline)) void act_apply(const float *x, float *y, int64_t n, const ps_act *f) {
  const vf a = splat((float)f->a), b = splat((float)f->b), c = splat((float)f->c), zero = splat(0), one = splat(1);
  switch (f->f) {
    case PS_CLIP: ACT_EACH(pick(v < a, a, pick(v > b, b, v)));
    case PS_LEAKY_RELU: ACT_EACH(pick(v > zero, v, a * v));
    case PS_THRESHOLDED_RELU: ACT_EACH(pick(v <= a, zero, v));
    case PS_HARD_SIGMOID: ACT_EACH(at_most(at_least(a * v + b, 0), 1));
    case PS_HARD_SWISH: ACT_EACH(v * (at_most(at_least(v + splat(3), 0), 6) * splat(1.0f / 6)));
    case PS_ABS: ACT_EACH(absolute(v));
    case PS_NEG: ACT_EACH(-v);
    case PS_RECIPROCAL: ACT_EACH(one / v);
    case PS_SQRT: ACT_EACH(square_root(v));
    case PS_SOFTSIGN: ACT_EACH(v / (one + absolute(v)));
    case PS_EXP: ACT_EACH(exponential(v));
    case PS_ELU: case PS_CELU: case PS_SELU: ACT_EACH(pick(v > zero, a * v, b * exponential_less1(at_most(c * v, 0))));
    case PS_SIGMOID: ACT_EACH(logistic(v));
    case PS_SILU: ACT_EACH(v * logistic_sides(v).up);
    case PS_TANH: ACT_EACH(tangent(v));
    case PS_GELU: ACT_EACH(v * normal(v).below);
    case PS_GELU_TANH: ACT_EACH(v * logistic(gelu_inner(v)));
    case PS_MISH:
      for (int64_t i = 0; i < n; i += VL) { // tanh(log(1+e)) = t/(t+2), t = e·(e+2); beyond 20 it is 1
        const vf v = load_n(x + i, n - i), e = exponential(at_most(v, 20)), t = e * (e + splat(2));
        store_n(y + i, n - i, v * (t / (t + splat(2))));
      }
      return;
    case PS_SOFTPLUS: ACT_EACH(pick(a * v > b, v, soft_plus(a * v) * c));
    case PS_LOG: ACT_EACH(logarithm(v));
    case PS_ERF: ACT_EACH(error_function(v));
    case PS_POW: act_pow(x, y, n, f->a); return;
    default: ACT_EACH(activate(v, f->f));
  }
}

enum { ACT_BLOCK = 1024 }; // elements of activations that are widened at once

// dx = dy·f'(x), from x or from y as engine.Act.FromX has it.
#define ACT_BACK(EXPR)                     \
  do {                                     \
    for (int64_t i = 0; i < n; i += VL) {  \
      const vf v = load_n(x + i, n - i);   \
      const vf d = load_n(dy + i, n - i);  \
      store_n(dx + i, n - i, (EXPR));      \
    }                                      \
    return;                                \
  } while (0)

INLINE vf silu_slope(vf v) {
  const sides s = logistic_sides(v);
  return s.up + v * (s.up * s.down);
}

INLINE vf gelu_slope(vf v) {
  const gauss g = normal(v);
  return g.below + v * g.density;
}

// Beyond 20 the slope is 1 or 0, and the formula overflows.
INLINE vf gelu_tanh_slope(vf v) {
  v = at_most(at_least(v, -20), 20);
  const vf g = logistic(gelu_inner(v));
  return g + v * (g * (splat(1) - g)) * (splat(0x1.988454p+0f) + splat(3 * 0x1.2444fap-4f) * v * v);
}

// With e = eˣ and t = e·(e+2): (t + x·4e(e+1)/(t+2))/(t+2).
INLINE vf mish_slope(vf v) {
  v = at_most(v, 20);
  const vf e = exponential(v), t = e * (e + splat(2)), d = splat(1) / (t + splat(2));
  return (t + v * (splat(4) * e * (e + splat(1)) * d)) * d;
}

// dx must not be dy.
static void act_pow_back(const float *x, const float *dy, float *dx, int64_t n, double p) {
  if (p == 0) {
    for (int64_t i = 0; i < n; i += VL) store_n(dx + i, n - i, splat(0));
    return;
  }
  act_pow(x, dx, n, p - 1);
  x = dx;
  const vf a = splat((float)p);
  ACT_BACK(d * (a * v));
}

static __attribute__((noinline)) void act_back(const float *x, const float *dy, float *dx, int64_t n, const ps_act *f) {
  const vf a = splat((float)f->a), b = splat((float)f->b), c = splat((float)f->c), zero = splat(0), one = splat(1);
  switch (f->f) {
    case PS_CLIP: ACT_BACK(pick((v <= a) | (v >= b), zero, d));
    case PS_LEAKY_RELU: ACT_BACK(pick(v > zero, d, a * d));
    case PS_THRESHOLDED_RELU: ACT_BACK(pick(v <= a, zero, d));
    case PS_HARD_SIGMOID: ACT_BACK(pick((v <= zero) | (v >= one), zero, a * d));
    case PS_HARD_SWISH:
      ACT_BACK(pick(v < splat(-3), zero, pick(v < splat(3), d * (v * splat(1.0f / 3) + splat(0.5f)), d)));
    case PS_ABS: ACT_BACK(pick(v > zero, d, pick(v < zero, -d, zero)));
    case PS_NEG: act_apply(dy, dx, n, f); return;
    case PS_RECIPROCAL: ACT_BACK(-d * (v * v));
    case PS_SQRT: ACT_BACK(d * (splat(0.5f) / v));
    case PS_SOFTSIGN: ACT_BACK(d / ((one + absolute(v)) * (one + absolute(v))));
    case PS_EXP: ACT_BACK(d * v);
    case PS_ELU: case PS_CELU: case PS_SELU:
      if (f->b > 0) ACT_BACK(d * pick(v > zero, a, (v + b) * c));
      ACT_BACK(d * pick(v > zero, a, b * c * exponential(c * v)));
    case PS_SIGMOID: ACT_BACK(d * (v * (one - v)));
    case PS_SILU: ACT_BACK(d * silu_slope(v));
    case PS_TANH: ACT_BACK(d * (one - v * v));
    case PS_GELU: ACT_BACK(d * gelu_slope(v));
    case PS_GELU_TANH: ACT_BACK(d * gelu_tanh_slope(v));
    case PS_MISH: ACT_BACK(d * mish_slope(v));
    case PS_SOFTPLUS: ACT_BACK(pick(a * v > b, d, d * logistic(a * v)));
    case PS_LOG: ACT_BACK(d / v);
    case PS_ERF: ACT_BACK(d * (splat(0x1.20dd76p+0f) * exponential(-v * v)));
    case PS_POW: act_pow_back(x, dy, dx, n, f->a); return;
    default: ACT_BACK(pick(slope(v, f->f), d, zero));
  }
}

// y = f(x) of stored elements; y may be x.
static void act_run(const elem *x, elem *y, int64_t n, const ps_act *f) {
#ifdef PS_BFLOAT16
  float z[ACT_BLOCK];
  for (int64_t at = 0; at < n; at += ACT_BLOCK) {
    const int64_t m = min64(ACT_BLOCK, n - at);
    for (int64_t i = 0; i < m; i += VL) store_n(z + i, m - i, load_n(x + at + i, m - i));
    act_apply(z, z, m, f);
    for (int64_t i = 0; i < m; i += VL) store_n(y + at + i, m - i, load_n(z + i, m - i));
  }
#else
  act_apply(x, y, n, f);
#endif
}

// dx = dy·f'(x) of stored elements.
static void act_run_back(const elem *x, const elem *dy, elem *dx, int64_t n, const ps_act *f) {
#ifdef PS_BFLOAT16
  float z[ACT_BLOCK], d[ACT_BLOCK], g[ACT_BLOCK];
  for (int64_t at = 0; at < n; at += ACT_BLOCK) {
    const int64_t m = min64(ACT_BLOCK, n - at);
    for (int64_t i = 0; i < m; i += VL) {
      store_n(z + i, m - i, load_n(x + at + i, m - i));
      store_n(d + i, m - i, load_n(dy + at + i, m - i));
    }
    act_back(z, d, g, m, f);
    for (int64_t i = 0; i < m; i += VL) store_n(dx + at + i, m - i, load_n(g + i, m - i));
  }
#else
  act_back(x, dy, dx, n, f);
#endif
}

static void act(const void *args, int64_t task) {
  const act_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  if (!act_inline(a->act.f)) {
    act_run(a->x + lo, a->y + lo, hi - lo, &a->act);
    return;
  }
  for (int64_t i = lo; i < hi; i += VL)
    store_n(a->y + i, hi - i, activate(load_n(a->x + i, hi - i), a->act.f));
}

static void act_backward(const void *args, int64_t task) {
  const act_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  if (!act_inline(a->act.f)) {
    act_run_back(a->x + lo, a->dy + lo, a->y + lo, hi - lo, &a->act);
    return;
  }
  for (int64_t i = lo; i < hi; i += VL) {
    const vf y = load_n(a->x + i, hi - i);
    store_n(a->y + i, hi - i, pick(slope(y, a->act.f), load_n(a->dy + i, hi - i), splat(0)));
  }
}
