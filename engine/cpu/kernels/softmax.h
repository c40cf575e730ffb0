// Softmax over the channels, row by row, its logarithm, and their gradients.

// The n floats at x, n ≤ VL, and `rest` behind them.
INLINE vf load_filled(const float *x, int64_t n, float rest) {
  if (n >= VL) return load(x);
  float t[VL];
  for (int64_t j = 0; j < VL; j++) t[j] = j < n ? x[j] : rest;
  return load(t);
}

static void softmax(const void *args, int64_t task) {
  const softmax_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t i = lo; i < hi; i++) {
    const float *x = a->x + i * a->c;
    float *y = a->y + i * a->c;
    vf most = splat(-INFINITY), sum = splat(0);
    for (int64_t c = 0; c < a->c; c += VL) {
      const vf v = load_filled(x + c, a->c - c, -INFINITY);
      most = pick(v > most, v, most);
    }
    float top = most[0];
    for (int j = 1; j < VL; j++) top = most[j] > top ? most[j] : top;
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf z = load_n(x + c, n) - splat(top), e = exponential(z);
      sum += ln_first(e, n);
      store_n(y + c, n, a->log ? z : e);
    }
    const double total = ln_total(sum);
    const vf scale = splat((float)(1 / total)), less = splat((float)log(total));
    for (int64_t c = 0; c < a->c; c += VL) {
      const vf v = load_n(y + c, a->c - c);
      store_n(y + c, a->c - c, a->log ? v - less : v * scale);
    }
  }
}

// x is y.
static void softmax_backward(const void *args, int64_t task) {
  const softmax_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t i = lo; i < hi; i++) {
    const float *y = a->x + i * a->c, *dy = a->dy + i * a->c;
    vf sum = splat(0);
    for (int64_t c = 0; c < a->c; c += VL) {
      const vf d = load_n(dy + c, a->c - c);
      sum += a->log ? d : d * load_n(y + c, a->c - c);
    }
    const vf total = splat((float)ln_total(sum));
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf v = load_n(y + c, n), d = load_n(dy + c, n);
      store_n(a->y + i * a->c + c, n, a->log ? d - exponential(v) * total : v * (d - total));
    }
  }
}
