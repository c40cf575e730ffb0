// Depthwise convolution: every channel has a kernel of its own, so there is no
// matrix product in it, and it is bound by memory.

// The taps of an output place that lie inside: u in [lo, hi) with
// 0 ≤ i·stride - pad + u·dil < n.
INLINE void dw_range(int64_t *lo, int64_t *hi, int64_t start, int64_t dil, int64_t k, int64_t n) {
  *lo = start < 0 ? (-start + dil - 1) / dil : 0;
  *hi = start >= n ? 0 : min64(k, (n - start + dil - 1) / dil);
}

// One place, any kernel, clipped at the edges.
INLINE vf dw_place(const depthwise_args *a, const elem *x, int64_t h0, int64_t w0, int64_t c, int64_t n) {
  int64_t u0, u1, v0, v1;
  dw_range(&u0, &u1, h0, a->dilh, a->kh, a->h);
  dw_range(&v0, &v1, w0, a->dilw, a->kw, a->w_);
  vf s = splat(0);
  for (int64_t u = u0; u < u1; u++)
    for (int64_t v = v0; v < v1; v++) {
      const int64_t tap = a->flip ? (a->kh - 1 - u) * a->kw + a->kw - 1 - v : u * a->kw + v;
      s += load_n(x + ((h0 + u * a->dilh) * a->w_ + w0 + v * a->dilw) * a->c + c, n) * load_n(a->w + tap * a->c + c, n);
    }
  return s;
}

// Three values of a column of x.
typedef struct {
  vf v[3];
} dw_column;

INLINE dw_column dw_read(const elem *r0, const elem *r1, const elem *r2, int64_t n) {
  return (dw_column){{load_n(r0, n), load_n(r1, n), load_n(r2, n)}};
}

// Bias and the sum over a place's three columns.
INLINE vf dw_sum(vf s, dw_column p, dw_column q, dw_column r, const vf w[9]) {
  for (int u = 0; u < 3; u++) s += p.v[u] * w[3 * u];
  for (int u = 0; u < 3; u++) s += q.v[u] * w[3 * u + 1];
  for (int u = 0; u < 3; u++) s += r.v[u] * w[3 * u + 2];
  return s;
}

// Stores the result of place j at y; residual is that of place 0, or null.
INLINE void dw_put(const depthwise_args *a, elem *y, int64_t n, vf s, const elem *residual, int64_t j) {
  if (residual) s += load_n(residual + j * a->c, n);
  store_n(y, n, activate(s, a->act));
}

// The weights of the channels at c, zero in the kernel's rows outside of [k0, k1).
INLINE void dw_weights3(const depthwise_args *a, int64_t k0, int64_t k1, int64_t c, int64_t n, vf w[9]) {
  for (int u = 0; u < 3; u++)
    for (int v = 0; v < 3; v++) {
      const int tap = a->flip ? 8 - (u * 3 + v) : u * 3 + v;
      w[u * 3 + v] = u >= k0 && u < k1 ? load_n(a->w + tap * a->c + c, n) : splat(0);
    }
}

// Three rows of x; one outside is read from one inside, and weighs nothing.
typedef struct {
  const elem *r0, *r1, *r2;
} dw_rows;

INLINE dw_rows dw_rows3(const depthwise_args *a, const elem *x, int64_t k0, int64_t k1) {
  const int64_t row = a->dilh * a->w_ * a->c;
  dw_rows r = {x + row * k0, x + row, x + row * (k1 - 1)};
  if (k0 > 1 || k1 < 2) r.r1 = r.r0;
  return r;
}

// How many places of a row have their third column inside of x.
INLINE int64_t dw_inside(const depthwise_args *a) {
  const int64_t most = a->w_ - 3 + a->left;
  return most < 0 ? 0 : min64(a->ow, most / a->sw + 1);
}

// Whether dw_line3 takes a 3x3 kernel: no place has more than one column outside.
INLINE int dw_lines(const depthwise_args *a) {
  const int64_t inside = dw_inside(a);
  return a->dilw == 1 && a->sw <= 2 && (a->left == 0 || a->left == 1) && inside > 0 &&
         (inside == a->ow || (inside == a->ow - 1 && inside * a->sw + 1 - a->left < a->w_));
}

// A row of places, `step` columns apart, for an x that begins in column 0. Columns stay
// in registers for the neighbors that share them.
INLINE void dw_line3(const depthwise_args *a, const int step, const elem *x, elem *y, int64_t k0, int64_t k1, int64_t c,
                     const int64_t n, vf bias, const elem *residual) {
  vf w[9];
  dw_weights3(a, k0, k1, c, n, w);
  const int64_t col = a->c, inside = dw_inside(a);
  const dw_column zero = {{splat(0), splat(0), splat(0)}};
  dw_rows r = dw_rows3(a, x, k0, k1);
  dw_column p = zero;
  if (!a->left) {
    p = dw_read(r.r0, r.r1, r.r2, n);
    r.r0 += col, r.r1 += col, r.r2 += col;
  }
  int64_t j = 0;
  if (step == 2) {
    for (; j < inside; j++, r.r0 += 2 * col, r.r1 += 2 * col, r.r2 += 2 * col) {
      const dw_column q = dw_read(r.r0, r.r1, r.r2, n), t = dw_read(r.r0 + col, r.r1 + col, r.r2 + col, n);
      dw_put(a, y + j * col, n, dw_sum(bias, p, q, t, w), residual, j);
      p = t;
    }
    if (j < a->ow) dw_put(a, y + j * col, n, dw_sum(bias, p, dw_read(r.r0, r.r1, r.r2, n), zero, w), residual, j);
    return;
  }
  dw_column q = dw_read(r.r0, r.r1, r.r2, n);
  r.r0 += col, r.r1 += col, r.r2 += col;
  for (; j + 3 <= inside; j += 3, r.r0 += 3 * col, r.r1 += 3 * col, r.r2 += 3 * col) {
    const dw_column t = dw_read(r.r0, r.r1, r.r2, n);
    dw_put(a, y + j * col, n, dw_sum(bias, p, q, t, w), residual, j);
    p = dw_read(r.r0 + col, r.r1 + col, r.r2 + col, n);
    dw_put(a, y + (j + 1) * col, n, dw_sum(bias, q, t, p, w), residual, j + 1);
    q = dw_read(r.r0 + 2 * col, r.r1 + 2 * col, r.r2 + 2 * col, n);
    dw_put(a, y + (j + 2) * col, n, dw_sum(bias, t, p, q, w), residual, j + 2);
  }
  for (; j < a->ow; j++, r.r0 += col, r.r1 += col, r.r2 += col) {
    const dw_column t = j < inside ? dw_read(r.r0, r.r1, r.r2, n) : zero;
    dw_put(a, y + j * col, n, dw_sum(bias, p, q, t, w), residual, j);
    p = q;
    q = t;
  }
}

// A row of places of any other 3x3 kernel that lie inside from left to right; k0..k1 are
// the kernel's rows that lie inside.
INLINE void dw_row3(const depthwise_args *a, const elem *x, elem *y, int64_t places, int64_t k0, int64_t k1,
                    int64_t c, int64_t n, vf bias, const elem *residual) {
  vf w[9];
  dw_weights3(a, k0, k1, c, n, w);
  const int64_t col = a->dilw * a->c, step = a->sw * a->c;
  dw_rows r = dw_rows3(a, x, k0, k1);
  for (int64_t j = 0; j < places; j++, r.r0 += step, r.r1 += step, r.r2 += step) {
    const dw_column p = dw_read(r.r0, r.r1, r.r2, n), q = dw_read(r.r0 + col, r.r1 + col, r.r2 + col, n);
    const dw_column t = dw_read(r.r0 + 2 * col, r.r1 + 2 * col, r.r2 + 2 * col, n);
    dw_put(a, y + j * a->c, n, dw_sum(bias, p, q, t, w), residual, j);
  }
}

// A row of places by dw_line3, of n ≥ VL channels in full vectors.
INLINE void dw_line(const depthwise_args *a, const elem *x, elem *y, int64_t k0, int64_t k1, int64_t c, int64_t n, vf bias,
                    const elem *residual) {
  if (a->sw == 1 && n >= VL) dw_line3(a, 1, x, y, k0, k1, c, VL, bias, residual);
  else if (a->sw == 1) dw_line3(a, 1, x, y, k0, k1, c, n, bias, residual);
  else if (n >= VL) dw_line3(a, 2, x, y, k0, k1, c, VL, bias, residual);
  else dw_line3(a, 2, x, y, k0, k1, c, n, bias, residual);
}

// Rows [lo, hi) of y, counted through all pictures.
static void depthwise_rows(const depthwise_args *a, int64_t lo, int64_t hi) {
  if (dww_takes(a)) {
    dww_forward(a, lo, hi);
    if (a->more.f) act_run(a->y + lo * a->ow * a->c, a->y + lo * a->ow * a->c, (hi - lo) * a->ow * a->c, &a->more);
    return;
  }
  // the places whose windows lie inside from left to right
  const int64_t first = min64(a->ow, (a->left + a->sw - 1) / a->sw);
  const int64_t span = a->w_ + a->left - a->dilw * (a->kw - 1) - 1;
  const int64_t last = span < 0 ? 0 : min64(a->ow, span / a->sw + 1);
  const int fast = a->kh == 3 && a->kw == 3 && first < last, lines = fast && dw_lines(a);
  for (int64_t row = lo; row < hi; row++) {
    const elem *x = a->x + row / a->oh * a->h * a->w_ * a->c;
    const int64_t h0 = row % a->oh * a->sh - a->top;
    elem *y = a->y + row * a->ow * a->c;
    const elem *residual = a->residual ? a->residual + row * a->ow * a->c : 0;
    int64_t k0, k1;
    dw_range(&k0, &k1, h0, a->dilh, a->kh, a->h);
    const int rowfast = fast && k0 < k1;
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf bias = a->bias ? load_n(a->bias + c, n) : splat(0);
      if (lines && k0 < k1) {
        dw_line(a, x + h0 * a->w_ * a->c + c, y + c, k0, k1, c, n, bias, residual ? residual + c : 0);
        continue;
      }
      for (int64_t j = 0; j < a->ow; j++) {
        if (rowfast && j == first) {
          const elem *at = x + (h0 * a->w_ + j * a->sw - a->left) * a->c + c;
          const elem *res = residual ? residual + j * a->c + c : 0;
          if (n >= VL) dw_row3(a, at, y + j * a->c + c, last - first, k0, k1, c, VL, bias, res);
          else dw_row3(a, at, y + j * a->c + c, last - first, k0, k1, c, n, bias, res);
          j = last - 1;
          continue;
        }
        vf s = bias + dw_place(a, x, h0, j * a->sw - a->left, c, n);
        if (residual) s += load_n(residual + j * a->c + c, n);
        store_n(y + j * a->c + c, n, activate(s, a->act));
      }
    }
    if (a->more.f) act_run(y, y, a->ow * a->c, &a->more);
  }
}

static void depthwise(const void *args, int64_t task) {
  const depthwise_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  depthwise_rows(a, lo, hi);
}

// The gradient of the input for strides above one, a gather: a task is `rows`
// rows of x.
static void depthwise_data(const void *args, int64_t task) {
  const depthwise_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->h);
  if (dww_data_takes(a)) {
    dww_data(a, lo, hi);
    return;
  }
  for (int64_t row = lo; row < hi; row++) {
    const int64_t h = row % a->h;
    const elem *dy = a->dy + row / a->h * a->oh * a->ow * a->c;
    for (int64_t w = 0; w < a->w_; w++)
      for (int64_t c = 0; c < a->c; c += VL) {
        const int64_t n = a->c - c;
        vf s = splat(0);
        for (int64_t u = 0; u < a->kh; u++) {
          const int64_t i = h + a->top - u * a->dilh;
          if (i < 0 || i % a->sh || i / a->sh >= a->oh) continue;
          for (int64_t v = 0; v < a->kw; v++) {
            const int64_t j = w + a->left - v * a->dilw;
            if (j < 0 || j % a->sw || j / a->sw >= a->ow) continue;
            s += load_n(dy + (i / a->sh * a->ow + j / a->sw) * a->c + c, n) *
                 load_n(a->w + (u * a->kw + v) * a->c + c, n);
          }
        }
        store_n(a->y + (row * a->w_ + w) * a->c + c, n, s);
      }
  }
}

INLINE void dw_weigh(vf acc[9], vf d, dw_column p, dw_column q, dw_column r) {
  for (int u = 0; u < 3; u++) {
    acc[3 * u] += d * p.v[u];
    acc[3 * u + 1] += d * q.v[u];
    acc[3 * u + 2] += d * r.v[u];
  }
}

// A run of places inside, of stride and dilation alike; their number is a multiple of three.
INLINE void dw_weight_run(const elem *x, int64_t row, int64_t col, const elem *dy, int64_t step, int64_t places, int64_t n,
                          vf acc[9], vf *db) {
  const elem *r0 = x, *r1 = x + row, *r2 = x + 2 * row;
  dw_column p = dw_read(r0, r1, r2, n), q = dw_read(r0 + col, r1 + col, r2 + col, n);
  r0 += 2 * col, r1 += 2 * col, r2 += 2 * col;
  for (int64_t j = 0; j < places; j += 3, dy += 3 * step, r0 += 3 * col, r1 += 3 * col, r2 += 3 * col) {
    const vf d0 = load_n(dy, n), d1 = load_n(dy + step, n), d2 = load_n(dy + 2 * step, n);
    const dw_column t = dw_read(r0, r1, r2, n);
    dw_weigh(acc, d0, p, q, t);
    p = dw_read(r0 + col, r1 + col, r2 + col, n);
    dw_weigh(acc, d1, q, t, p);
    q = dw_read(r0 + 2 * col, r1 + 2 * col, r2 + 2 * col, n);
    dw_weigh(acc, d2, t, p, q);
    *db += d0 + d1 + d2;
  }
}

// dw and db of one output row, added to acc[9] and *db.
INLINE void dw_weight_row3(const depthwise_args *a, const elem *x, const elem *dy, int64_t row, int64_t c, int64_t n,
                           vf acc[9], vf *db) {
  const int64_t h0 = row % a->oh * a->sh - a->top;
  int64_t k0, k1;
  dw_range(&k0, &k1, h0, a->dilh, 3, a->h);
  const int shared = k0 == 0 && k1 == 3 && a->sw == a->dilw; // neighbors share two columns
  for (int64_t j = 0; j < a->ow; j++) {
    if (shared && j * a->sw >= a->left) {
      const int64_t row3 = a->dilh * a->w_ * a->c, col = a->dilw * a->c, w0 = j * a->sw - a->left;
      const int64_t places = min64(a->ow - j, (a->w_ - w0 - 2 * a->dilw - 1) / a->dilw + 1) / 3 * 3;
      if (places > 0) {
        dw_weight_run(x + (h0 * a->w_ + w0) * a->c + c, row3, col, dy + j * a->c, a->c, places, n, acc, db);
        j += places - 1;
        continue;
      }
    }
    const int64_t w0 = j * a->sw - a->left;
    const vf d = load_n(dy + j * a->c, n);
    *db += d;
    const int inside = k0 == 0 && k1 == 3 && w0 >= 0 && w0 + 2 * a->dilw < a->w_;
    for (int u = 0; u < 3; u++)
      for (int v = 0; v < 3; v++) {
        const int64_t w = w0 + v * a->dilw;
        if (inside || (u >= k0 && u < k1 && w >= 0 && w < a->w_))
          acc[u * 3 + v] += d * load_n(x + ((h0 + u * a->dilh) * a->w_ + w) * a->c + c, n);
      }
  }
}

// Partial dw [kh·kw][c] and db [c] of a task's rows, at its place in dw and db.
static void depthwise_weight(const void *args, int64_t task) {
  const depthwise_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  const int64_t taps = a->kh * a->kw;
  float *dw = a->dw + task * taps * a->c, *db = a->db ? a->db + task * a->c : NULL;
  if (dww_weight_takes(a)) {
    dww_weight(a, lo, hi, dw, db);
    return;
  }
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    vf acc[9] = {{0}}, sum = splat(0);
    const int fast = a->kh == 3 && a->kw == 3;
    for (int64_t t = 0; t < taps; t++) store_n(dw + t * a->c + c, n, splat(0));
    for (int64_t row = lo; row < hi; row++) {
      const elem *x = a->x + row / a->oh * a->h * a->w_ * a->c;
      const elem *dy = a->dy + row * a->ow * a->c + c;
      if (fast) {
        if (n >= VL) dw_weight_row3(a, x, dy, row, c, VL, acc, &sum);
        else dw_weight_row3(a, x, dy, row, c, n, acc, &sum);
        continue;
      }
      const int64_t h0 = row % a->oh * a->sh - a->top;
      for (int64_t j = 0; j < a->ow; j++) {
        const vf d = load_n(dy + j * a->c, n);
        sum += d;
        for (int64_t t = 0; t < taps; t++) {
          const int64_t h = h0 + t / a->kw * a->dilh, w = j * a->sw - a->left + t % a->kw * a->dilw;
          if (h < 0 || h >= a->h || w < 0 || w >= a->w_) continue;
          float *p = dw + t * a->c + c;
          store_n(p, n, load_n(p, n) + d * load_n(x + (h * a->w_ + w) * a->c + c, n));
        }
      }
    }
    if (fast)
      for (int t = 0; t < 9; t++) store_n(dw + t * a->c + c, n, acc[t]);
    if (db) store_n(db + c, n, sum);
  }
}
