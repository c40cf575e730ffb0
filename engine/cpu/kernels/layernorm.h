// Layer normalization of rows [m, c], each by itself.

// The rows whose gradients are added up before they go to a task's sums.
enum { LN_BLOCK = 64 };

// What a row is normalized with.
typedef struct {
  vf mean, r;
} ln_row;

// The sum of the lanes.
INLINE double ln_total(vf v) {
  double s = 0;
  for (int j = 0; j < VL; j++) s += v[j];
  return s;
}

// The first n lanes of v, zeros behind.
INLINE vf ln_first(vf v, int64_t n) {
  if (n >= VL) return v;
  float t[VL];
  store(t, v);
  return load_part(t, n);
}

// The mean, and the squares about it: what the rounded mean leaves over is taken
// into account, so that nothing is lost however large the mean is.
INLINE ln_row ln_stats(const layer_norm_args *a, const elem *x) {
  vf s = splat(0), q = splat(0), rest = splat(0);
  for (int64_t c = 0; c < a->c; c += VL) s += load_n(x + c, a->c - c);
  const float mean = (float)(ln_total(s) / a->c);
  for (int64_t c = 0; c < a->c; c += VL) {
    const vf d = ln_first(load_n(x + c, a->c - c) - splat(mean), a->c - c);
    rest += d;
    q += d * d;
  }
  const double off = ln_total(rest) / a->c, v = ln_total(q) / a->c - off * off;
  return (ln_row){splat((float)(mean + off)), splat((float)(1 / sqrt((v < 0 ? 0 : v) + a->eps)))};
}

static void layer_norm(const void *args, int64_t task) {
  const layer_norm_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t i = lo; i < hi; i++) {
    const elem *x = a->x + i * a->c;
    const ln_row f = ln_stats(a, x);
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      store_n(a->y + i * a->c + c, n, (load_n(x + c, n) - f.mean) * f.r * load_n(a->gamma + c, n) + load_n(a->beta + c, n));
    }
  }
}

// dx of row i.
INLINE void ln_dx(const layer_norm_args *a, int64_t i, ln_row f) {
  const elem *x = a->x + i * a->c, *dy = a->dy + i * a->c;
  vf s = splat(0), d = splat(0);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const vf g = load_n(dy + c, n) * load_n(a->gamma + c, n);
    s += g;
    d += g * (load_n(x + c, n) - f.mean);
  }
  const vf c1 = f.r * f.r * splat((float)(ln_total(d) / a->c)), c2 = splat((float)(ln_total(s) / a->c));
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const vf g = load_n(dy + c, n) * load_n(a->gamma + c, n);
    store_n(a->y + i * a->c + c, n, f.r * (g - c2 - (load_n(x + c, n) - f.mean) * c1));
  }
}

// dx, and part[task] = [Σdy·x̂, Σdy] a channel, in double over short float sums.
static void layer_norm_backward(const void *args, int64_t task) {
  const layer_norm_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  double *dot = a->part + task * 2 * a->c, *sum = dot + a->c;
  memset(dot, 0, 2 * a->c * sizeof *dot);
  const int64_t block = min64(LN_BLOCK, bn_block(a->c));
  ln_row f[LN_BLOCK];
  for (int64_t r = lo; r < hi; r += block) {
    const int64_t end = min64(hi, r + block);
    for (int64_t i = r; i < end; i++) {
      f[i - r] = ln_stats(a, a->x + i * a->c);
      ln_dx(a, i, f[i - r]);
    }
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      vf s = splat(0), d = splat(0);
      for (int64_t i = r; i < end; i++) {
        const vf g = load_n(a->dy + i * a->c + c, n);
        s += g;
        d += g * ((load_n(a->x + i * a->c + c, n) - f[i - r].mean) * f[i - r].r);
      }
      for (int64_t j = 0; j < min64(VL, n); j++) sum[c + j] += s[j], dot[c + j] += d[j];
    }
  }
}

// dγ and dβ from the parts, in their order.
static void norm_total(const void *args, int64_t task) {
  const norm_total_args *a = args;
  (void)task;
  for (int64_t c = 0; c < a->c; c++) {
    double d = 0, s = 0;
    for (int64_t t = 0; t < a->parts; t++) {
      d += a->part[t * 2 * a->c + c];
      s += a->part[(t * 2 + 1) * a->c + c];
    }
    a->dgamma[c] = (float)d;
    a->dbeta[c] = (float)s;
  }
}
