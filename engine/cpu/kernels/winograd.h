// 3x3 convolutions with stride one by Winograd's minimal filtering: a tile of t×t
// pixels gives (t-2)×(t-2) results by t² multiplications a pair of channels, where
// the sum over nine taps takes 9·(t-2)². For each of the t² places the tiles are
// rows of a matrix product. What this costs in accuracy: see winograd.go.

// Where the pixels of a tile lie in x; those outside are zeros.
INLINE void wino_places(const wino_args *a, const int t, int64_t tile, const float **p) {
  const int64_t n = tile / (a->th * a->tw);
  const int64_t i0 = tile / a->tw % a->th * (t - 2) - a->top, j0 = tile % a->tw * (t - 2) - a->left;
  for (int64_t r = 0; r < t; r++) {
    const int64_t i = i0 + r;
    const float *row = a->x + (n * a->h + i) * a->w * a->xc;
    for (int64_t s = 0; s < t; s++) {
      const int64_t j = j0 + s;
      p[r * t + s] = i >= 0 && i < a->h && j >= 0 && j < a->w ? row + j * a->xc : ps_zeros;
    }
  }
}

// v[place·stride + channel] = Bᵀ·tile·B, for all channels of a tile.
INLINE void wino_tile_in(const int t, const float *const *p, int64_t c, float *v, int64_t stride) {
  for (int64_t k = 0; k < c; k += VL) {
    const int64_t n = c - k;
    vf d[WINO_MAX][WINO_MAX];
    for (int s = 0; s < t; s++) {
      vf col[WINO_MAX];
      for (int r = 0; r < t; r++) col[r] = load_n(p[r * t + s] + k, n);
      wino_bt(t, col);
      for (int r = 0; r < t; r++) d[r][s] = col[r];
    }
    for (int r = 0; r < t; r++) {
      wino_bt(t, d[r]);
      for (int s = 0; s < t; s++) store_n(v + (r * t + s) * stride + k, n, d[r][s]);
    }
  }
}

INLINE void wino_tiles_in(const wino_args *a, const int t, int64_t lo, int64_t hi, float *v, int64_t stride) {
  const float *p[WINO_MAX * WINO_MAX];
  for (int64_t tile = lo; tile < hi; tile++, v += a->c) {
    wino_places(a, t, tile, p);
    wino_tile_in(t, p, a->c, v, stride);
  }
}

// A task: the transform of some tiles of x.
static void wino_input(const void *args, int64_t task) {
  const wino_args *a = args;
  TASK_RANGE(lo, hi, task, a->block, a->n * a->th * a->tw);
  if (a->t == 6) wino_tiles_in(a, 6, lo, hi, a->v + lo * a->c, a->v_stride);
  else wino_tiles_in(a, 4, lo, hi, a->v + lo * a->c, a->v_stride);
}

// The results of a tile, for the columns of a panel: y = Aᵀ·m·A with bias, residual
// and activation.
INLINE void wino_tile_out(const wino_args *a, const int t, int64_t tile, const float *m, int64_t stride, const panel *p) {
  const int64_t n = tile / (a->th * a->tw), i0 = tile / a->tw % a->th * (t - 2), j0 = tile % a->tw * (t - 2);
  const int64_t rows = min64(t - 2, a->oh - i0), cols = min64(t - 2, a->ow - j0);
  const int64_t at = ((n * a->oh + i0) * a->ow + j0) * a->yc + p->start;
  for (int v = 0; v < p->vectors && v * VL < p->cols; v++) {
    const int64_t count = p->cols - v * VL;
    const vf bias = a->bias ? load_n(a->bias + p->start + v * VL, count) : splat(0);
    vf d[WINO_MAX][WINO_MAX];
    for (int s = 0; s < t; s++) {
      vf col[WINO_MAX], out[WINO_MAX];
      for (int r = 0; r < t; r++) col[r] = load(m + (r * t + s) * stride + v * VL);
      wino_at(t, col, out);
      for (int r = 0; r < t - 2; r++) d[r][s] = out[r];
    }
    for (int r = 0; r < t - 2 && r < rows; r++) {
      vf out[WINO_MAX];
      wino_at(t, d[r], out);
      for (int s = 0; s < t - 2 && s < cols; s++) {
        const int64_t y = at + (r * a->ow + s) * a->yc + v * VL;
        out[s] += bias;
        if (a->res) out[s] += load_n(a->res + y, count);
        store_n(a->y + y, count, activate(out[s], a->act));
      }
    }
  }
  for (int64_t r = 0; r < rows && a->more.f; r++)
    for (int64_t s = 0; s < cols; s++) {
      float *y = a->y + at + (r * a->ow + s) * a->yc;
      act_apply(y, y, p->cols, &a->more);
    }
}

// The products of `count` tiles, transformed, at all places: m[place·stride + tile].
static void wino_products(const float *v, int64_t v_stride, int64_t count, int64_t c, const float *u, int64_t u_stride,
                          int64_t places, float *m, int64_t stride, const panel *p) {
  const int64_t width = p->vectors * VL;
  for (int64_t k = 0; k < places; k++) {
    run r = {.x = v + k * v_stride, .y = m + k * stride, .xs = c, .ys = width, .cols = width};
    run_ahead(&r, p->vectors, count, u + min64(k + 1, places - 1) * u_stride);
    run_panel(&r, p->vectors, count, c, u + k * u_stride);
  }
}

// Distances between places, in floats: a little more than what stands there, lest
// all places fall to the same lines of the cache.
enum { WINO_SPREAD = 16 };

INLINE void wino_task(const wino_args *a, const int t, int64_t task) {
  const int64_t split = task % a->splits, share = (a->o + a->splits - 1) / a->splits;
  TASK_RANGE(lo, hi, task / a->splits, a->block, a->n * a->th * a->tw);
  float *m = ps_scratch();
  const float *v = a->v + lo * a->c;
  int64_t v_stride = a->v_stride;
  if (!a->v) { // each task transforms its tiles, if they are a few
    v_stride = a->block * a->c + WINO_SPREAD;
    wino_tiles_in(a, t, lo, hi, m, v_stride);
    v = m;
    m += t * t * v_stride;
  }
  const int64_t stride = a->block * GEMM_VECTORS * VL + WINO_SPREAD;
  for (panel p = {0}; next_panel(&p, a->o);) {
    if (p.start / share != split) continue;
    wino_products(v, v_stride, hi - lo, a->c, a->u + p.start * a->c, a->u_stride, t * t, m, stride, &p);
    for (int64_t tile = lo; tile < hi; tile++)
      wino_tile_out(a, t, tile, m + (tile - lo) * p.vectors * VL, stride, &p);
  }
}

// A task: `block` tiles and one of `splits` parts of the panels.
static void wino(const void *args, int64_t task) {
  const wino_args *a = args;
  if (a->t == 6) wino_task(a, 6, task);
  else wino_task(a, 4, task);
}

// Columns [col, col+VL) of row k of a kernel's tap, zeros behind the last and outside
// of the blocks.
INLINE vf wino_columns(const wino_weight_args *a, const float *w, int64_t k, int64_t col) {
  const int64_t n = min64(VL, a->gn - col);
  if (n <= 0) return splat(0);
  if (a->n_stride == 1 && !a->kb) return load_n(w + k * a->k_stride + col, n);
  float t[VL] = {0};
  for (int64_t j = 0; j < n; j++) {
    if (!a->kb) t[j] = w[k * a->k_stride + (col + j) * a->n_stride];
    else if (k / a->kb != (col + j) / a->nb) continue;
    else if (a->n_stride == 1) t[j] = w[k % a->kb * a->k_stride + col + j];
    else t[j] = w[k * a->k_stride + (col + j) % a->nb * a->n_stride];
  }
  return load(t);
}

INLINE void wino_kernels(const wino_weight_args *a, const int t, int64_t k) {
  for (panel p = {0}; next_panel(&p, a->gn);)
    for (int v = 0; v < p.vectors; v++) {
      float *u = a->u + p.start * a->kc + k * p.vectors * VL + v * VL;
      vf d[WINO_MAX][3];
      for (int s = 0; s < 3; s++) {
        vf w[3], col[WINO_MAX];
        for (int r = 0; r < 3; r++) {
          const int64_t tap = a->flip ? 8 - (r * 3 + s) : r * 3 + s;
          w[r] = wino_columns(a, a->w + tap * a->tap_stride, k, p.start + v * VL);
        }
        wino_g(t, w, col);
        for (int r = 0; r < t; r++) d[r][s] = col[r];
      }
      for (int r = 0; r < t; r++) {
        vf row[WINO_MAX];
        wino_g(t, d[r], row);
        for (int s = 0; s < t; s++) store(u + (r * t + s) * a->u_stride, row[s]);
      }
    }
}

// A task: G·w·Gᵀ of `rows` rows of the kernel's matrix.
static void wino_weight(const void *args, int64_t task) {
  const wino_weight_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->kc);
  for (int64_t k = lo; k < hi; k++)
    if (a->t == 6) wino_kernels(a, 6, k);
    else wino_kernels(a, 4, k);
}
