// The gradient of a 3x3 convolution's weights by minimal filtering: for each place
// of the tile, dU = Σ_tiles (Bᵀ·x·B)·(A·dy·Aᵀ), an outer product a tile, and then
// dw = Gᵀ·dU·G.

// Writes A·dy·Aᵀ of a tile, which is the `index`-th of `count`, in panels of columns:
// d[place·stride + panel·count + index·width]; adds the tile's dy to db, if there is one.
INLINE void wino_tile_dy(const wino_grad_args *a, const int t, int64_t tile, int64_t index, int64_t count, float *d,
                         int64_t stride, float *db) {
  const int64_t n = tile / (a->th * a->tw), i0 = tile / a->tw % a->th * (t - 2), j0 = tile % a->tw * (t - 2);
  const float *p[WINO_MAX][WINO_MAX];
  for (int64_t r = 0; r < t - 2; r++)
    for (int64_t s = 0; s < t - 2; s++)
      p[r][s] = i0 + r < a->oh && j0 + s < a->ow ? a->dy + ((n * a->oh + i0 + r) * a->ow + j0 + s) * a->yc : ps_zeros;
  for (panel q = {0}; next_panel(&q, a->o);)
    for (int v = 0; v < q.vectors; v++) {
      const int64_t col = q.start + v * VL, left = a->o - col;
      float *to = d + q.start * count + index * q.vectors * VL + v * VL;
      vf m[WINO_MAX][WINO_MAX], sum = splat(0);
      for (int s = 0; s < t - 2; s++) {
        vf y[WINO_MAX], out[WINO_MAX];
        for (int r = 0; r < t - 2; r++) {
          y[r] = left > 0 ? load_n(p[r][s] + col, left) : splat(0);
          sum += y[r];
        }
        wino_a(t, y, out);
        for (int r = 0; r < t; r++) m[r][s] = out[r];
      }
      for (int r = 0; r < t; r++) {
        vf out[WINO_MAX];
        wino_a(t, m[r], out);
        for (int s = 0; s < t; s++) store(to + (r * t + s) * stride, out[s]);
      }
      if (db && left > 0) store_n(db + col, left, load_n(db + col, left) + sum);
    }
}

INLINE void wino_tiles_dy(const wino_grad_args *a, const int t, int64_t lo, int64_t hi, int64_t first, int64_t count, float *d,
                          int64_t stride, float *db) {
  for (int64_t tile = lo; tile < hi; tile++) wino_tile_dy(a, t, tile, tile - first, count, d, stride, db);
}

// A task: the transform of some tiles of dy.
static void wino_dy(const void *args, int64_t task) {
  const wino_grad_args *a = args;
  const int64_t tiles = a->n * a->th * a->tw;
  TASK_RANGE(lo, hi, task, a->block, tiles);
  float *db = a->db ? a->db + task * a->o : NULL;
  if (db) memset(db, 0, a->o * sizeof *db);
  if (a->t == 6) wino_tiles_dy(a, 6, lo, hi, 0, tiles, a->d, a->d_stride, db);
  else wino_tiles_dy(a, 4, lo, hi, 0, tiles, a->d, a->d_stride, db);
}

// Adds to rows [k0, k1) of du, at one place, the outer products of the tiles
// [lo, hi) of `count`; `first` sets them.
static void wino_outer(const wino_grad_args *a, const float *v, const float *d, int64_t count, int64_t lo, int64_t hi,
                       int64_t k0, int64_t k1, float *du, int first) {
  const float *x[WGRAD_PIXELS];
  for (; lo < hi; lo += WGRAD_PIXELS, first = 0) {
    const int64_t n = min64(WGRAD_PIXELS, hi - lo);
    for (int64_t i = 0; i < n; i++) x[i] = v + (lo + i) * a->c;
    for (panel p = {0}; next_panel(&p, a->o);) {
      const int64_t width = p.vectors * VL;
      const wgrad_out o = {du + p.start, a->o, p.cols, first};
      wgrad_panel(x, k0, k1, d + p.start * count + lo * width, width, n, p.vectors, &o);
    }
  }
}

// All places of a task's tiles, `block` at a time.
INLINE void wino_grad_split(const wino_grad_args *a, const int t, int64_t task) {
  const int64_t tiles = a->n * a->th * a->tw, each = (tiles + a->splits - 1) / a->splits;
  TASK_RANGE(lo, hi, task, each, tiles);
  const wino_args in = {.x = a->x, .n = a->n, .h = a->h, .w = a->w, .c = a->c, .xc = a->xc, .top = a->top, .left = a->left, .th = a->th, .tw = a->tw};
  const int64_t v_stride = a->block * a->c + WINO_SPREAD;
  float *v = ps_scratch(), *d = v + t * t * v_stride;
  float *du = a->du + task * t * t * a->du_stride, *db = a->db ? a->db + task * a->o : NULL;
  if (db) memset(db, 0, a->o * sizeof *db);
  if (lo >= hi) memset(du, 0, t * t * a->du_stride * sizeof *du);
  for (int64_t at = lo; at < hi; at += a->block) {
    const int64_t end = min64(hi, at + a->block), n = end - at;
    wino_tiles_in(&in, t, at, end, v, v_stride);
    wino_tiles_dy(a, t, at, end, at, n, d, a->d_stride, db);
    for (int64_t k = 0; k < t * t; k++)
      wino_outer(a, v + k * v_stride, d + k * a->d_stride, n, 0, n, 0, a->c, du + k * a->du_stride, at == lo);
  }
}

// A task: with x and dy transformed already, some rows of du at one place, over all
// tiles; else all of du, over one of `splits` parts of the tiles.
static void wino_grad(const void *args, int64_t task) {
  const wino_grad_args *a = args;
  if (a->v) {
    const int64_t parts = (a->c + a->kblock - 1) / a->kblock, k = task / parts, tiles = a->n * a->th * a->tw;
    TASK_RANGE(k0, k1, task % parts, a->kblock, a->c);
    wino_outer(a, a->v + k * a->v_stride, a->d + k * a->d_stride, tiles, 0, tiles, k0, k1, a->du + k * a->du_stride, 1);
  } else if (a->t == 6) {
    wino_grad_split(a, 6, task);
  } else {
    wino_grad_split(a, 4, task);
  }
}

INLINE void wino_grad_row(const wino_grad_args *a, const int t, int64_t k) {
  for (int64_t col = 0; col < a->o; col += VL) {
    const int64_t n = a->o - col;
    vf m[3][WINO_MAX];
    for (int s = 0; s < t; s++) {
      vf u[WINO_MAX], w[3];
      for (int r = 0; r < t; r++) {
        const float *from = a->du + (r * t + s) * a->du_stride + k * a->o + col;
        u[r] = load_n(from, n);
        for (int64_t i = 1; i < a->splits; i++) u[r] += load_n(from + i * t * t * a->du_stride, n);
      }
      wino_gt(t, u, w);
      for (int r = 0; r < 3; r++) m[r][s] = w[r];
    }
    for (int r = 0; r < 3; r++) {
      vf w[3];
      wino_gt(t, m[r], w);
      for (int s = 0; s < 3; s++) {
        float *to = a->dw + ((r * 3 + s) * a->kb + k % a->kb) * a->yc + col;
        if (a->kb == a->c) store_n(to, n, w[s]);
        else
          for (int64_t j = 0; j < min64(VL, n); j++)
            if ((col + j) / a->nb == k / a->kb) to[j] = w[s][j];
      }
    }
  }
}

// A task: some rows of the weights' matrix, of the sum of all splits.
static void wino_grad_weight(const void *args, int64_t task) {
  const wino_grad_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->c);
  for (int64_t k = lo; k < hi; k++)
    if (a->t == 6) wino_grad_row(a, 6, k);
    else wino_grad_row(a, 4, k);
}
