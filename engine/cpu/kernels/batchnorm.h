// Batch normalization over x [m, c], with the activation and the max pool that
// the planner has fused behind it.

// Rows of a sub-block: small enough to be read twice from the cache.
INLINE int64_t bn_block(int64_t c) { return max64(8, 4096 / c); }

// Adds a block of `count` rows with mean `mean` and centered squares `m2` to a
// running result of n rows (Chan, Golub and LeVeque, 1979).
INLINE void bn_merge(double *mu, double *m2, double n, double count, double mean, double sq) {
  const double d = mean - *mu, total = n + count;
  *mu += d * count / total;
  *m2 += sq + d * d * n * count / total;
}

// Mean and centered squares of each of the channels of x [rows, channels].
INLINE void bn_moments(const elem *x, int64_t rows, int64_t channels, double *mu, double *m2) {
  memset(mu, 0, channels * sizeof *mu);
  memset(m2, 0, channels * sizeof *m2);
  for (int64_t r = 0; r < rows; r += bn_block(channels)) {
    const int64_t end = min64(rows, r + bn_block(channels)), count = end - r;
    for (int64_t c = 0; c < channels; c += VL) {
      const int64_t n = channels - c;
      vf s = splat(0), q = splat(0);
      for (int64_t i = r; i < end; i++) s += load_n(x + i * channels + c, n);
      const vf mean = s * splat(1.0f / (float)count);
      vf rest = splat(0); // what the rounded mean leaves over
      for (int64_t i = r; i < end; i++) {
        const vf d = load_n(x + i * channels + c, n) - mean;
        rest += d;
        q += d * d;
      }
      for (int64_t j = 0; j < min64(VL, n); j++) {
        const double off = (double)rest[j] / count;
        bn_merge(mu + c + j, m2 + c + j, r, count, mean[j] + off, q[j] - off * rest[j]);
      }
    }
  }
}

// Mean and centered squares of a task's rows: part[task] = [c means, c squares].
static void bn_stats(const void *args, int64_t task) {
  const bn_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  double *part = a->part + task * 2 * a->c;
  bn_moments(a->x + lo * a->c, hi - lo, a->c, part, part + a->c);
}

// (1-m)·running + m·x, to the bit as engine.MoveStatistics has it, so that it does not
// matter where the statistics of a batch move the running ones.
INLINE float bn_move(float running, float x, double m) { return (float)fma(m, x, (1 - m) * running); }

// Merges the parts, moves the running statistics.
static void bn_finish(const void *args, int64_t task) {
  const bn_args *a = args;
  (void)task;
  for (int64_t c = 0; c < a->c; c++) {
    double mu = 0, m2 = 0;
    for (int64_t t = 0; t < a->tasks; t++) {
      const double *part = a->part + t * 2 * a->c;
      TASK_RANGE(lo, hi, t, a->rows, a->m);
      bn_merge(&mu, &m2, lo, hi - lo, part[c], part[a->c + c]);
    }
    a->mu[c] = (float)mu;
    a->r[c] = (float)(1 / sqrt(m2 / a->m + a->eps));
    const float var = (float)(m2 / (a->m - 1));
    a->run_mean[c] = bn_move(a->run_mean[c], a->mu[c], a->momentum);
    a->run_var[c] = bn_move(a->run_var[c], var, a->momentum);
  }
}

// What x is scaled by and shifted by, for the channels at c.
typedef struct {
  vf mean, scale, shift;
} bn_affine;

INLINE bn_affine bn_affine_at(const bn_args *a, int64_t c) {
  const int64_t n = a->c - c;
  bn_affine f = {.shift = load_n(a->beta + c, n)};
  if (a->eval) {
    f.mean = load_n(a->mean + c, n);
    const vf v = load_n(a->var + c, n);
    for (int j = 0; j < VL; j++) f.scale[j] = (float)(1 / sqrt(v[j] + a->eps));
  } else {
    f.mean = load_n(a->mu + c, n);
    f.scale = load_n(a->r + c, n);
  }
  f.scale *= load_n(a->gamma + c, n);
  return f;
}

INLINE vf bn_value(bn_affine f, vf x) { return (x - f.mean) * f.scale + f.shift; }

// The largest of a window's k×k values after the activation, its x, and which it is.
typedef struct {
  vf value, x;
  vi winner;
} bn_best;

INLINE bn_best bn_window(const bn_args *a, const int32_t k, const int64_t act, const elem *x, const int64_t n, bn_affine f) {
  bn_best b = {splat(-INFINITY), splat(0), {0}};
  for (int32_t u = 0; u < k; u++)
    for (int32_t v = 0; v < k; v++) {
      const vf xv = load_n(x + (u * a->w + v) * a->c, n), y = activate(bn_value(f, xv), act);
      const vm m = above(y, b.value);
      b.value = choose(m, y, b.value);
      b.x = choose(m, xv, b.x);
      b.winner = choose_int(m, (vi){0} + (u * k + v), b.winner);
    }
  return b;
}

// Calls f(a, k, act, n, …) for windows of k×k and n channels: with constants in the
// usual case.
#define BN_WINDOWS(f, a, n, ...)                                                                  \
  do {                                                                                            \
    if ((n) >= VL && (a)->kernel == 2 && (a)->act == PS_RELU) f(a, 2, PS_RELU, VL, __VA_ARGS__);  \
    else f(a, (int32_t)(a)->kernel, (a)->act, n, __VA_ARGS__);                                    \
  } while (0)

// Where the windows of a pooled row begin in x.
INLINE int64_t bn_first(const bn_args *a, int64_t row) {
  return ((row / a->oh) * a->h + (row % a->oh) * a->kernel) * a->w * a->c;
}

// A row of windows.
INLINE void bn_pool_row(const bn_args *a, const int32_t k, const int64_t act, const int64_t n, const elem *x, elem *y, bn_affine f) {
  for (int64_t j = 0; j < a->ow; j++, x += k * a->c, y += a->c) store_n(y, n, bn_window(a, k, act, x, n, f).value);
}

// y = pool(act((x-mean)·scale + β)). With pooling, the rows of a task are rows
// of the pooled picture, over all pictures.
static void bn_apply(const void *args, int64_t task) {
  const bn_args *a = args;
  if (a->kernel <= 1) {
    TASK_RANGE(lo, hi, task, a->rows, a->m);
    for (int64_t c = 0; c < a->c; c += VL) {
      const bn_affine f = bn_affine_at(a, c);
      const int64_t n = a->c - c;
      for (int64_t i = lo; i < hi; i++) {
        const vf y = activate(bn_value(f, load_n(a->x + i * a->c + c, n)), a->act);
        store_n(a->y + i * a->c + c, n, y);
      }
    }
    return;
  }
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  for (int64_t row = lo; row < hi; row++)
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      BN_WINDOWS(bn_pool_row, a, n, a->x + bn_first(a, row) + c, a->y + row * a->ow * a->c + c, bn_affine_at(a, c));
    }
}

// The gradient that arrives at BatchNorm's result, given dy behind activation
// and pool: at the window's winner, where the slope is one.
INLINE vf bn_through(int64_t act, vf y, vf dy) { return pick(slope(y, act), dy, splat(0)); }

// Adds Σg and Σg·(x-mean) of a row of windows to *s and *d.
INLINE void bn_grad_row(const bn_args *a, const int32_t k, const int64_t act, const int64_t n, const elem *x, const elem *dy,
                        bn_affine f, vf *s, vf *d) {
  for (int64_t j = 0; j < a->ow; j++, x += k * a->c, dy += a->c) {
    const bn_best b = bn_window(a, k, act, x, n, f);
    const vf g = bn_through(act, b.value, load_n(dy, n));
    *s += g;
    *d += g * (b.x - f.mean);
  }
}

// part[task] = [Σg, Σg·(x-mean)·r] per channel, in double over short float sums.
static void bn_grad(const void *args, int64_t task) {
  const bn_args *a = args;
  const int pooled = a->kernel > 1;
  TASK_RANGE(lo, hi, task, a->rows, pooled ? a->n * a->oh : a->m);
  double *sum = a->part + task * 2 * a->c, *dot = sum + a->c;
  memset(sum, 0, 2 * a->c * sizeof *sum);
  const int64_t block = pooled ? 1 : bn_block(a->c);
  for (int64_t r = lo; r < hi; r += block) {
    const int64_t end = min64(hi, r + block);
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const bn_affine f = bn_affine_at(a, c);
      vf s = splat(0), d = splat(0);
      if (pooled) {
        BN_WINDOWS(bn_grad_row, a, n, a->x + bn_first(a, r) + c, a->dy + r * a->ow * a->c + c, f, &s, &d);
      } else {
        for (int64_t i = r; i < end; i++) {
          const vf x = load_n(a->x + i * a->c + c, n);
          vf g = load_n(a->dy + i * a->c + c, n);
          if (a->act) g = bn_through(a->act, activate(bn_value(f, x), a->act), g);
          s += g;
          d += g * (x - f.mean);
        }
      }
      for (int64_t j = 0; j < min64(VL, n); j++) sum[c + j] += s[j], dot[c + j] += d[j];
    }
  }
}

// dγ, dβ and the coefficients of dx = c0·g + c1·(x-mean) + c2.
static void bn_grad_finish(const void *args, int64_t task) {
  const bn_args *a = args;
  (void)task;
  for (int64_t c = 0; c < a->c; c++) {
    double s = 0, d = 0;
    for (int64_t t = 0; t < a->tasks; t++) {
      s += a->part[t * 2 * a->c + c];
      d += a->part[(t * 2 + 1) * a->c + c];
    }
    const double r = a->eval ? 1 / sqrt(a->var[c] + a->eps) : a->r[c];
    a->dgamma[c] = (float)(d * r);
    a->dbeta[c] = (float)s;
    a->coef[c] = (float)(a->gamma[c] * r);
    a->coef[a->c + c] = a->eval ? 0 : (float)(-a->gamma[c] * r * r * r * d / a->m);
    a->coef[2 * a->c + c] = a->eval ? 0 : (float)(-a->gamma[c] * r * s / a->m);
  }
}

// One picture row that pooling leaves out, or that no window covers: g is zero.
INLINE void bn_rest(const bn_args *a, const elem *x, elem *dx, int64_t count, int64_t n, vf mean, vf c1, vf c2) {
  for (int64_t i = 0; i < count; i++)
    store_n(dx + i * a->c, n, c1 * (load_n(x + i * a->c, n) - mean) + c2);
}

// What the windows of a row, the first of which is at `first`, leave over.
INLINE void bn_left(const bn_args *a, int64_t row, int64_t first, int64_t n, vf mean, vf c1, vf c2) {
  const int64_t k = a->kernel;
  for (int64_t u = 0; u < k; u++) { // columns behind the last window
    const int64_t at = first + (u * a->w + a->ow * k) * a->c;
    bn_rest(a, a->x + at, a->y + at, a->w - a->ow * k, n, mean, c1, c2);
  }
  if (row % a->oh == a->oh - 1) { // rows behind the last window
    const int64_t at = first + k * a->w * a->c;
    bn_rest(a, a->x + at, a->y + at, (a->h - a->oh * k) * a->w, n, mean, c1, c2);
  }
}

// dx of one row of windows.
INLINE void bn_grad_windows(const bn_args *a, const int32_t k, const int64_t act, const int64_t n, int64_t row, int64_t c) {
  const bn_affine f = bn_affine_at(a, c);
  const vf c0 = load_n(a->coef + c, n), c1 = load_n(a->coef + a->c + c, n), c2 = load_n(a->coef + 2 * a->c + c, n);
  const int64_t first = bn_first(a, row) + c;
  const elem *x = a->x + first, *dy = a->dy + row * a->ow * a->c + c;
  elem *dx = a->y + first;
  for (int64_t j = 0; j < a->ow; j++, x += k * a->c, dx += k * a->c, dy += a->c) {
    const bn_best b = bn_window(a, k, act, x, n, f);
    const vf g = c0 * bn_through(act, b.value, load_n(dy, n));
    for (int32_t u = 0; u < k; u++)
      for (int32_t v = 0; v < k; v++) {
        const int64_t at = (u * a->w + v) * a->c;
        const vf base = c1 * (load_n(x + at, n) - f.mean) + c2;
        store_n(dx + at, n, base + choose(same(b.winner, (vi){0} + (u * k + v)), g, splat(0)));
      }
  }
  bn_left(a, row, first, n, f.mean, c1, c2);
}

static void bn_grad_apply(const void *args, int64_t task) {
  const bn_args *a = args;
  if (a->kernel > 1) {
    TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
    for (int64_t row = lo; row < hi; row++)
      for (int64_t c = 0; c < a->c; c += VL) BN_WINDOWS(bn_grad_windows, a, a->c - c, row, c);
    return;
  }
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const bn_affine f = bn_affine_at(a, c);
    const vf c0 = load_n(a->coef + c, n), c1 = load_n(a->coef + a->c + c, n), c2 = load_n(a->coef + 2 * a->c + c, n);
    for (int64_t i = lo; i < hi; i++) {
      const vf x = load_n(a->x + i * a->c + c, n);
      vf g = load_n(a->dy + i * a->c + c, n);
      if (a->act) g = bn_through(a->act, activate(bn_value(f, x), a->act), g);
      store_n(a->y + i * a->c + c, n, c0 * g + c1 * (x - f.mean) + c2);
    }
  }
}

enum { FOLD_ROWS = 64, FOLD_COLS = 64 };

// Folds the running statistics into weights [k, o], a task FOLD_ROWS rows, and
// bias [o], in the first task.
static void bn_fold(const void *args, int64_t task) {
  const fold_args *a = args;
  TASK_RANGE(lo, hi, task, FOLD_ROWS, a->k);
  for (int64_t o0 = 0; o0 < a->o; o0 += FOLD_COLS) {
    const int64_t cols = min64(FOLD_COLS, a->o - o0);
    double scale[FOLD_COLS];
    for (int64_t j = 0; j < cols; j++) scale[j] = a->gamma[o0 + j] / sqrt(a->var[o0 + j] + a->eps);
    for (int64_t k = lo; k < hi; k++)
      for (int64_t j = 0; j < cols; j++) a->wout[k * a->o + o0 + j] = (float)(a->w[k * a->o + o0 + j] * scale[j]);
    for (int64_t j = 0; j < cols && task == 0; j++) {
      const double b = a->bias ? a->bias[o0 + j] : 0;
      a->bout[o0 + j] = (float)((b - a->mean[o0 + j]) * scale[j] + a->beta[o0 + j]);
    }
  }
}
