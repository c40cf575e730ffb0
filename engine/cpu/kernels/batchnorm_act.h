// Batch normalization with an activation that is not in simd.h: a block of
// BatchNorm(x) is kept in the cache, and the activation runs over it.

enum { BNA_FLOATS = 4096, BNA_POOL = 4 }; // floats of a block; the largest window

// Rows of a block, at least one.
INLINE int64_t bna_block(int64_t c) { return max64(1, BNA_FLOATS / c); }

// z = BatchNorm(x) of rows [lo, hi).
INLINE void bna_normalize(const bn_args *a, int64_t lo, int64_t hi, float *z) {
  for (int64_t c = 0; c < a->c; c += VL) {
    const bn_affine f = bn_affine_at(a, c);
    const int64_t n = a->c - c;
    for (int64_t i = lo; i < hi; i++) store_n(z + (i - lo) * a->c + c, n, bn_value(f, load_n(a->x + i * a->c + c, n)));
  }
}

// dy of rows [lo, hi) in float32: itself, or a copy in d.
INLINE const float *bna_dy(const bn_args *a, int64_t lo, int64_t hi, float *d) {
#ifdef PS_BFLOAT16
  const int64_t n = (hi - lo) * a->c;
  for (int64_t i = 0; i < n; i += VL) store_n(d + i, n - i, load_n(a->dy + lo * a->c + i, n - i));
  return d;
#else
  (void)hi, (void)d;
  return a->dy + lo * a->c;
#endif
}

// Windows of one row that are taken at once, in vectors of VL channels.
enum { BNA_WINDOWS = 8 };
typedef struct {
  float z[BNA_POOL * BNA_POOL * BNA_WINDOWS * VL]; // BatchNorm(x), by place in the window and window
  float y[BNA_POOL * BNA_POOL * BNA_WINDOWS * VL]; // f of it
  float best[BNA_WINDOWS * VL], at[BNA_WINDOWS * VL]; // the largest y, and its z
  vi winner[BNA_WINDOWS];
} bna_windows;

// The windows of count places from x on.
static void bna_pool(const bn_args *a, const elem *x, int64_t n, bn_affine f, int64_t count, bna_windows *w) {
  const int64_t places = a->kernel * a->kernel;
  for (int64_t u = 0; u < places; u++)
    for (int64_t j = 0; j < count; j++) {
      const elem *p = x + (u / a->kernel * a->w + j * a->kernel + u % a->kernel) * a->c;
      store(w->z + (u * count + j) * VL, bn_value(f, load_n(p, n)));
    }
  act_apply(w->z, w->y, places * count * VL, &a->more);
  for (int64_t j = 0; j < count; j++) {
    vf best = splat(-INFINITY), at = splat(0);
    vi winner = (vi){0};
    for (int32_t u = 0; u < places; u++) {
      const vf y = load(w->y + (u * count + j) * VL);
      const vm m = above(y, best);
      best = choose(m, y, best);
      at = choose(m, load(w->z + (u * count + j) * VL), at);
      winner = choose_int(m, (vi){0} + u, winner);
    }
    store(w->best + j * VL, best);
    store(w->at + j * VL, at);
    w->winner[j] = winner;
  }
}

static void bn_apply_act(const void *args, int64_t task) {
  const bn_args *a = args;
  if (a->kernel <= 1) {
    TASK_RANGE(lo, hi, task, a->rows, a->m);
    for (int64_t r = lo; r < hi; r += bna_block(a->c)) {
      const int64_t end = min64(hi, r + bna_block(a->c));
      float *z = sums_at(a->y + r * a->c, a->scratch + task * 3 * a->block);
      bna_normalize(a, r, end, z);
      act_apply(z, z, (end - r) * a->c, &a->more);
      settle(a->y + r * a->c, z, (end - r) * a->c);
    }
    return;
  }
  bna_windows w;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  for (int64_t row = lo; row < hi; row++)
    for (int64_t c = 0; c < a->c; c += VL) {
      const bn_affine f = bn_affine_at(a, c);
      const int64_t n = a->c - c;
      for (int64_t j = 0; j < a->ow; j += BNA_WINDOWS) {
        const int64_t count = min64(BNA_WINDOWS, a->ow - j);
        bna_pool(a, a->x + bn_first(a, row) + j * a->kernel * a->c + c, n, f, count, &w);
        for (int64_t k = 0; k < count; k++)
          store_n(a->y + (row * a->ow + j + k) * a->c + c, n, load(w.best + k * VL));
      }
    }
}

// g = dy·f' at the winners of count windows of a pooled row from j on.
INLINE void bna_gradients(const bn_args *a, int64_t row, int64_t j, int64_t c, int64_t count, bn_affine f, bna_windows *w,
                          float *g) {
  float dy[BNA_WINDOWS * VL];
  bna_pool(a, a->x + bn_first(a, row) + j * a->kernel * a->c + c, a->c - c, f, count, w);
  for (int64_t k = 0; k < count; k++) store(dy + k * VL, load_n(a->dy + (row * a->ow + j + k) * a->c + c, a->c - c));
  act_back(a->from_x ? w->at : w->best, dy, g, count * VL, &a->more);
}

// g = dy·f' of rows [lo, hi), of which there are no more than a block's.
INLINE void bna_through(const bn_args *a, int64_t lo, int64_t hi, float *z, float *g) {
  const int64_t n = (hi - lo) * a->c;
  bna_normalize(a, lo, hi, z);
  if (!a->from_x) act_apply(z, z, n, &a->more);
  act_back(z, bna_dy(a, lo, hi, g + a->block), g, n, &a->more);
}

static void bn_grad_act(const void *args, int64_t task) {
  const bn_args *a = args;
  const int pooled = a->kernel > 1;
  TASK_RANGE(lo, hi, task, a->rows, pooled ? a->n * a->oh : a->m);
  double *sum = a->part + task * 2 * a->c, *dot = sum + a->c;
  memset(sum, 0, 2 * a->c * sizeof *sum);
  float *z = a->scratch + task * 3 * a->block, *g = z + a->block;
  bna_windows w;
  for (int64_t r = lo, end; r < hi; r = end) {
    end = pooled ? r + 1 : min64(hi, r + bna_block(a->c));
    if (!pooled) bna_through(a, r, end, z, g);
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const bn_affine f = bn_affine_at(a, c);
      vf s = splat(0), d = splat(0);
      for (int64_t i = r; i < end && !pooled; i++) {
        const vf v = load_n(g + (i - r) * a->c + c, n);
        s += v;
        d += v * (load_n(a->x + i * a->c + c, n) - f.mean);
      }
      for (int64_t j = 0; pooled && j < a->ow; j += BNA_WINDOWS) {
        const int64_t count = min64(BNA_WINDOWS, a->ow - j);
        float gw[BNA_WINDOWS * VL];
        bna_gradients(a, r, j, c, count, f, &w, gw);
        for (int64_t k = 0; k < count; k++) {
          const vf v = load(gw + k * VL);
          const elem *x = a->x + bn_first(a, r) + (j + k) * a->kernel * a->c + c;
          vf at = splat(0);
          for (int32_t u = 0; u < a->kernel * a->kernel; u++)
            at = pick(w.winner[k] == u, load_n(x + (u / a->kernel * a->w + u % a->kernel) * a->c, n), at);
          s += v;
          d += v * (at - f.mean);
        }
      }
      for (int64_t j = 0; j < min64(VL, n); j++) sum[c + j] += s[j], dot[c + j] += d[j];
    }
  }
}

// dx of one row of windows.
static void bna_grad_windows(const bn_args *a, int64_t row, int64_t c) {
  const int64_t n = a->c - c, k = a->kernel, first = bn_first(a, row) + c;
  const bn_affine f = bn_affine_at(a, c);
  const vf c0 = load_n(a->coef + c, n), c1 = load_n(a->coef + a->c + c, n), c2 = load_n(a->coef + 2 * a->c + c, n);
  bna_windows w;
  for (int64_t j = 0; j < a->ow; j += BNA_WINDOWS) {
    const int64_t count = min64(BNA_WINDOWS, a->ow - j);
    float gw[BNA_WINDOWS * VL];
    bna_gradients(a, row, j, c, count, f, &w, gw);
    for (int64_t i = 0; i < count; i++) {
      const vf g = c0 * load(gw + i * VL);
      for (int32_t u = 0; u < k * k; u++) {
        const int64_t at = first + (u / k * a->w + (j + i) * k + u % k) * a->c;
        const vf base = c1 * (load_n(a->x + at, n) - f.mean) + c2;
        store_n(a->y + at, n, base + pick(w.winner[i] == u, g, splat(0)));
      }
    }
  }
  bn_left(a, row, first, n, f.mean, c1, c2);
}

static void bn_grad_apply_act(const void *args, int64_t task) {
  const bn_args *a = args;
  if (a->kernel > 1) {
    TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
    for (int64_t row = lo; row < hi; row++)
      for (int64_t c = 0; c < a->c; c += VL) bna_grad_windows(a, row, c);
    return;
  }
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  float *z = a->scratch + task * 3 * a->block, *g = z + a->block;
  for (int64_t r = lo; r < hi; r += bna_block(a->c)) {
    const int64_t end = min64(hi, r + bna_block(a->c));
    bna_through(a, r, end, z, g);
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const bn_affine f = bn_affine_at(a, c);
      const vf c0 = load_n(a->coef + c, n), c1 = load_n(a->coef + a->c + c, n), c2 = load_n(a->coef + 2 * a->c + c, n);
      for (int64_t i = r; i < end; i++) {
        const vf v = load_n(g + (i - r) * a->c + c, n);
        store_n(a->y + i * a->c + c, n, c0 * v + c1 * (load_n(a->x + i * a->c + c, n) - f.mean) + c2);
      }
    }
  }
}
