// LocalResponseNorm: each channel over a power of the squares of its neighbors.

// Σ x[j], or Σ x[j]², for j from c-before to c+behind within [0, n), of the channels
// c, c+1, …
INLINE vf lr_sum(const float *x, int64_t c, int64_t n, int64_t before, int64_t behind, const int squares) {
  vf s = splat(0);
  if (c >= before && c + VL + behind <= n) {
    for (int64_t d = -before; d <= behind; d++) {
      const vf v = load(x + c + d);
      s += squares ? v * v : v;
    }
    return s;
  }
  for (int64_t j = 0; j < min64(VL, n - c); j++) {
    float sum = 0;
    for (int64_t q = max64(c + j - before, 0); q <= min64(c + j + behind, n - 1); q++) sum += squares ? x[q] * x[q] : x[q];
    s[j] = sum;
  }
  return s;
}

// log s of the channels from c on.
INLINE vf lr_log(const local_response_args *a, const float *x, int64_t c) {
  return logarithm(splat((float)a->k) + splat((float)a->scale) * lr_sum(x, c, a->c, a->before, a->behind, 1));
}

static void local_response(const void *args, int64_t task) {
  const local_response_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t row = lo; row < hi; row++) {
    const float *x = a->x + row * a->c;
    for (int64_t c = 0; c < a->c; c += VL)
      store_n(a->y + row * a->c + c, a->c - c, load_n(x + c, a->c - c) * exponential(splat((float)-a->beta) * lr_log(a, x, c)));
  }
}

static void local_response_backward(const void *args, int64_t task) {
  const local_response_args *a = args;
  float *others = a->scratch + task * a->c; // dy·x·s^(-β-1)
  const vf beta = splat((float)a->beta), scale = splat((float)(2 * a->scale * a->beta));
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t row = lo; row < hi; row++) {
    const float *x = a->x + row * a->c, *dy = a->dy + row * a->c;
    float *dx = a->y + row * a->c;
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf l = lr_log(a, x, c), own = load_n(dy + c, n) * exponential(-beta * l);
      store_n(dx + c, n, own);
      store_n(others + c, n, own * load_n(x + c, n) * exponential(-l));
    }
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf s = lr_sum(others, c, a->c, a->behind, a->before, 0);
      store_n(dx + c, n, load_n(dx + c, n) - scale * load_n(x + c, n) * s);
    }
  }
}
