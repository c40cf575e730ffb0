// Numbers rounded to those that codes stand for: engine.FakeQuant has the formulas.
// x is rows of channels; w are scales, b zero points, of each channel or one for
// all.

typedef struct {
  vf scale, least, most; // least and most are less the zero point
} ps_quantizer;

INLINE ps_quantizer quantizer_at(const channel_args *a, int64_t c, int64_t n) {
  ps_quantizer q = {.scale = splat(a->w[0]), .least = splat(a->lo), .most = splat(a->hi)};
  vf zero = splat(a->b ? a->b[0] : 0);
  if (!a->one) {
    q.scale = load_n(a->w + c, n);
    if (n < VL) // the rest of the vector divides by one
      for (int64_t i = n; i < VL; i++) q.scale[i] = 1;
    if (a->b) zero = load_n(a->b + c, n);
  }
  q.least -= zero, q.most -= zero;
  return q;
}

static void fake_quant(const void *args, int64_t task) {
  const channel_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const ps_quantizer q = quantizer_at(a, c, n);
    for (int64_t i = lo * a->c + c; i < hi * a->c; i += a->c) {
      vf v = load_n(a->x + i, n) / q.scale;
      v = pick(v < q.least, q.least, v);
      v = pick(v > q.most, q.most, v);
      store_n(a->y + i, n, nearest(v) * q.scale);
    }
  }
}

// dx, and part[task] = [Σdy·t·gain, …] a channel, in double over short float sums.
static void fake_quant_backward(const void *args, int64_t task) {
  const channel_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  double *dot = a->part + task * 2 * a->c;
  memset(dot, 0, 2 * a->c * sizeof *dot);
  for (int64_t r = lo; r < hi; r += bn_block(a->c)) {
    const int64_t end = min64(hi, r + bn_block(a->c));
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const ps_quantizer q = quantizer_at(a, c, n);
      vf d = splat(0);
      for (int64_t i = r * a->c + c; i < end * a->c; i += a->c) {
        const vf u = load_n(a->x + i, n) / q.scale, g = load_n(a->dy + i, n);
        vf v = pick(u < q.least - splat(1), q.least - splat(1), u);
        v = nearest(pick(u > q.most + splat(1), q.most + splat(1), v));
        const vi below = v < q.least, above = v > q.most;
        d += g * pick(below, q.least, pick(above, q.most, v - u));
        store_n(a->y + i, n, pick(below | above, splat(0), g));
      }
      for (int64_t j = 0; j < min64(VL, n); j++) dot[c + j] += d[j] * a->gain;
    }
  }
}
