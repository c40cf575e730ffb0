// Max, average and global average pooling over NHWC.

// Runs body for the pixels (u, v) of the window of spans r and q.
#define POOL_WINDOW(a, r, q)                                      \
  for (int64_t u = (r).first; u < (r).end; u += (a)->dilh)        \
    for (int64_t v = (q).first; v < (q).end; v += (a)->dilw)

// Runs body for every window of rows [lo, hi), of spans r and q: x is its
// picture, y its place.
#define POOL_ROWS(a, lo, hi, body)                                    \
  for (int64_t row = lo; row < hi; row++) {                           \
    const elem *x = (a)->x + row / (a)->oh * (a)->h * (a)->w * (a)->c; \
    const pool_span r = (a)->row_spans[row % (a)->oh];                \
    for (int64_t j = 0; j < (a)->ow; j++) {                           \
      elem *y = (a)->y + (row * (a)->ow + j) * (a)->c;               \
      const pool_span q = (a)->col_spans[j];                          \
      body                                                            \
    }                                                                 \
  }

// The largest of k×k pixels at x, in rows of so many elements, of all channels.
INLINE void maxpool_window(const elem *x, const int k, int64_t row, int64_t channels, elem *y) {
  for (int64_t c = 0; c < channels; c += VL) {
    const int64_t n = channels - c;
    vf best = load_n(x + c, n);
#pragma GCC unroll 3
    for (int u = 0; u < k; u++)
#pragma GCC unroll 3
      for (int v = u == 0; v < k; v++) best = larger(load_n(x + u * row + v * channels + c, n), best);
    store_n(y + c, n, best);
  }
}

// Rows [lo, hi) of y, counted through all pictures.
static void maxpool_rows(const pool_args *a, int64_t lo, int64_t hi) {
  const int near = a->dilh == 1 && a->dilw == 1;
  POOL_ROWS(a, lo, hi, {
    const elem *first = x + (r.first * a->w + q.first) * a->c;
    if (near && r.end - r.first == 2 && q.end - q.first == 2) {
      maxpool_window(first, 2, a->w * a->c, a->c, y);
      continue;
    }
    if (near && r.end - r.first == 3 && q.end - q.first == 3) {
      maxpool_window(first, 3, a->w * a->c, a->c, y);
      continue;
    }
    for (int64_t c = 0; c < a->c; c += VL) {
      vf best = splat(-INFINITY);
      POOL_WINDOW(a, r, q) best = larger(load_n(x + (u * a->w + v) * a->c + c, a->c - c), best);
      store_n(y + c, a->c - c, best);
    }
  })
}

static void maxpool(const void *args, int64_t task) {
  const pool_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  maxpool_rows(a, lo, hi);
}

// The gradient where windows do not overlap: each value of dx is written once.
INLINE void maxpool_apart(const pool_args *a, const elem *x, const elem *dy, elem *dx) {
  int64_t done = 0; // rows of dx
  for (int64_t i = 0; i < a->oh; i++) {
    const pool_span r = a->row_spans[i];
    memset(dx + done * a->w * a->c, 0, (r.first - done) * a->w * a->c * sizeof *dx);
    done = r.end;
    const pool_span left = a->col_spans[0], right = a->col_spans[a->ow - 1];
    for (int64_t u = r.first; u < r.end; u++) {
      memset(dx + u * a->w * a->c, 0, left.first * a->c * sizeof *dx);
      memset(dx + (u * a->w + right.end) * a->c, 0, (a->w - right.end) * a->c * sizeof *dx);
    }
    for (int64_t j = 0; j < a->ow; j++, dy += a->c) {
      const pool_span q = a->col_spans[j];
      for (int64_t c = 0; c < a->c; c += VL) {
        const int64_t n = a->c - c;
        vf best = splat(-INFINITY);
        vi at = (vi){0} + (int32_t)(r.first * a->w + q.first);
        for (int64_t u = r.first; u < r.end; u++)
          for (int64_t v = q.first; v < q.end; v++) {
            const vf p = load_n(x + (u * a->w + v) * a->c + c, n);
            const vm m = above(p, best);
            best = choose(m, p, best);
            at = choose_int(m, (vi){0} + (int32_t)(u * a->w + v), at);
          }
        const vf d = load_n(dy + c, n);
        for (int64_t u = r.first; u < r.end; u++)
          for (int64_t v = q.first; v < q.end; v++)
            store_n(dx + (u * a->w + v) * a->c + c, n, choose(same(at, (vi){0} + (int32_t)(u * a->w + v)), d, splat(0)));
      }
    }
  }
  memset(dx + done * a->w * a->c, 0, (a->h - done) * a->w * a->c * sizeof *dx);
}

// For each window the place of the first largest x is found again. above lets a
// later NaN replace an earlier one; PyTorch does the same.
static void maxpool_backward(const void *args, int64_t task) {
  const pool_args *a = args;
  const elem *x = a->x + task * a->h * a->w * a->c;
  const elem *dy = a->dy + task * a->oh * a->ow * a->c;
  elem *y = a->y + task * a->h * a->w * a->c;
  if (a->apart) {
    maxpool_apart(a, x, dy, y);
    return;
  }
  float *dx = sums_at(y, a->scratch + task * a->h * a->w * a->c);
  memset(dx, 0, a->h * a->w * a->c * sizeof *dx);
  for (int64_t i = 0; i < a->oh; i++) {
    const pool_span r = a->row_spans[i];
    for (int64_t j = 0; j < a->ow; j++, dy += a->c) {
      const pool_span q = a->col_spans[j];
      for (int64_t c = 0; c < a->c; c += VL) {
        const int64_t n = a->c - c;
        vf best = splat(-INFINITY);
        vi at = (vi){0} + (int32_t)(r.first * a->w + q.first);
        POOL_WINDOW(a, r, q) {
          const vf p = load_n(x + (u * a->w + v) * a->c + c, n);
          const vm m = above(p, best);
          best = choose(m, p, best);
          at = choose_int(m, (vi){0} + (int32_t)(u * a->w + v), at);
        }
        const vf d = load_n(dy + c, n);
        POOL_WINDOW(a, r, q) {
          float *p = dx + (u * a->w + v) * a->c + c;
          store_n(p, n, load_n(p, n) + choose(same(at, (vi){0} + (int32_t)(u * a->w + v)), d, splat(0)));
        }
      }
    }
  }
  settle(y, dx, a->h * a->w * a->c);
}

INLINE vf pool_scale(pool_span r, pool_span q) { return splat(1.0f / (float)(r.divisor * q.divisor)); }

static void avgpool_rows(const pool_args *a, int64_t lo, int64_t hi) {
  POOL_ROWS(a, lo, hi, {
    const vf scale = pool_scale(r, q);
    for (int64_t c = 0; c < a->c; c += VL) {
      vf s = splat(0);
      POOL_WINDOW(a, r, q) s += load_n(x + (u * a->w + v) * a->c + c, a->c - c);
      store_n(y + c, a->c - c, s * scale);
    }
  })
}

static void avgpool(const void *args, int64_t task) {
  const pool_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  avgpool_rows(a, lo, hi);
}

static void avgpool_backward(const void *args, int64_t task) {
  const pool_args *a = args;
  const elem *dy = a->dy + task * a->oh * a->ow * a->c;
  elem *y = a->y + task * a->h * a->w * a->c;
  float *dx = sums_at(y, a->scratch + task * a->h * a->w * a->c);
  memset(dx, 0, a->h * a->w * a->c * sizeof *dx);
  for (int64_t i = 0; i < a->oh; i++) {
    const pool_span r = a->row_spans[i];
    for (int64_t j = 0; j < a->ow; j++, dy += a->c) {
      const pool_span q = a->col_spans[j];
      const vf scale = pool_scale(r, q);
      POOL_WINDOW(a, r, q)
        for (int64_t c = 0; c < a->c; c += VL) {
          float *p = dx + (u * a->w + v) * a->c + c;
          store_n(p, a->c - c, load_n(p, a->c - c) + scale * load_n(dy + c, a->c - c));
        }
    }
  }
  settle(y, dx, a->h * a->w * a->c);
}

// A task: `rows` channels of a picture.
static void globalpool(const void *args, int64_t task) {
  const pool_args *a = args;
  const int64_t m = a->h * a->w, chunks = (a->c + a->rows - 1) / a->rows, n = task / chunks;
  const elem *x = a->x + n * m * a->c;
  float *wide = (float *)a->y;
  const vf scale = splat(1.0f / (float)m);
  TASK_RANGE(lo, hi, task % chunks, a->rows, a->c);
  for (int64_t c = lo; c < hi; c += VL) {
    vf s = splat(0);
    for (int64_t i = 0; i < m; i++) s += load_n(x + i * a->c + c, a->c - c);
    if (a->wide) store_n(wide + n * a->c + c, a->c - c, s * scale);
    else store_n(a->y + n * a->c + c, a->c - c, s * scale);
  }
}

static void globalpool_backward(const void *args, int64_t task) {
  const pool_args *a = args;
  const int64_t m = a->h * a->w;
  const vf scale = splat(1.0f / (float)m);
  const float *wide = (const float *)a->dy;
  for (int64_t i = 0; i < m; i++)
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t at = task * a->c + c, n = a->c - c;
      store_n(a->y + (task * m + i) * a->c + c, n, scale * (a->wide ? load_n(wide + at, n) : load_n(a->dy + at, n)));
    }
}
