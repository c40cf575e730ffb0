// Depthwise convolutions of larger windows, and gradients at strides: a task
// walks down its rows with some channels, VL of them, and copies the rows of x
// (of dy, for the gradient of x) that are under the window into a ring, with
// zeros on both sides. Then every place has the same taps, at fixed distances in
// memory that is near, and several places are summed at once, so that the
// additions do not wait for each other.

enum { DW_TAPS = 64, DW_RING = 10240, DW_PLACES = 8 };

// Columns of a ring's row, and whether it can be kept.
INLINE int64_t dww_width(const depthwise_args *a) { return (a->ow - 1) * a->sw + a->kw; }
INLINE int dww_rings(int64_t rows, int64_t width, int64_t taps) { return taps <= DW_TAPS && (rows + 1) * width * VL <= DW_RING; }

// A row of `width` places from column `from` of a tensor's row, zeros outside;
// row is NULL outside of the image.
INLINE void dww_copy(float *to, const elem *row, int64_t c, int64_t n, int64_t from, int64_t width, int64_t w) {
  int64_t i = 0;
  const int64_t lo = row ? min64(width, from < 0 ? -from : 0) : width, hi = min64(width, w - from);
  for (; i < lo; i++) store(to + i * VL, splat(0));
  if (n >= VL)
    for (; i < hi; i++) store(to + i * VL, load(row + (from + i) * c));
  else
    for (; i < hi; i++) store(to + i * VL, load_part(row + (from + i) * c, n));
  for (; i < width; i++) store(to + i * VL, splat(0));
}

// The sums of `places` neighbors, each `step` further: s[p] += Σ_t src[t][p·step]·w[t].
INLINE void dww_sums(vf *s, const float *const *src, const vf *w, int64_t taps, int64_t at, int places, int64_t step) {
  vf sum[DW_PLACES];
#pragma GCC unroll 8
  for (int p = 0; p < places; p++) sum[p] = s[p];
  for (int64_t t = 0; t < taps; t++) {
    const float *x = src[t] + at * step * VL;
    const vf k = w[t];
#pragma GCC unroll 8
    for (int p = 0; p < places; p++) sum[p] += load(x + p * step * VL) * k;
  }
#pragma GCC unroll 8
  for (int p = 0; p < places; p++) s[p] = sum[p];
}

INLINE void dww_places(vf *s, const float *const *src, const vf *w, int64_t taps, int64_t at, int64_t places, int64_t step) {
  switch (places) {
  case 8: dww_sums(s, src, w, taps, at, 8, step); break;
  case 7: dww_sums(s, src, w, taps, at, 7, step); break;
  case 6: dww_sums(s, src, w, taps, at, 6, step); break;
  case 5: dww_sums(s, src, w, taps, at, 5, step); break;
  case 4: dww_sums(s, src, w, taps, at, 4, step); break;
  case 3: dww_sums(s, src, w, taps, at, 3, step); break;
  case 2: dww_sums(s, src, w, taps, at, 2, step); break;
  default: dww_sums(s, src, w, taps, at, 1, step);
  }
}

// Whether dww_forward takes a convolution. A 3x3 kernel has its own loop.
INLINE int dww_takes(const depthwise_args *a) {
  return a->kw > 3 && a->sw <= 2 && a->dilh == 1 && a->dilw == 1 && dww_rings(a->kh, dww_width(a), a->kh * a->kw);
}

// The rows under the window of output row i, of which `filled` are there.
INLINE void dww_fill(const depthwise_args *a, float *ring, const elem *x, int64_t i, int64_t *filled, int64_t c, int64_t n) {
  const int64_t width = dww_width(a);
  for (int64_t r = *filled > i * a->sh ? *filled : i * a->sh; r < i * a->sh + a->kh; r++) {
    const int64_t h = r - a->top;
    dww_copy(ring + r % a->kh * width * VL, h >= 0 && h < a->h ? x + h * a->w_ * a->c + c : NULL, a->c, n, -a->left, width, a->w_);
  }
  *filled = i * a->sh + a->kh;
}

// Rows lo to hi of y, all but an activation in a->more.
static void dww_forward(const depthwise_args *a, int64_t lo, int64_t hi) {
  float ring[DW_RING];
  const float *src[DW_TAPS];
  vf w[DW_TAPS], s[DW_PLACES];
  const int64_t taps = a->kh * a->kw, width = dww_width(a);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const vf bias = a->bias ? load_n(a->bias + c, n) : splat(0);
    for (int64_t t = 0; t < taps; t++) w[t] = load_n(a->w + (a->flip ? taps - 1 - t : t) * a->c + c, n);
    int64_t filled = 0;
    for (int64_t row = lo; row < hi; row++) {
      const int64_t i = row % a->oh;
      if (i == 0) filled = 0;
      dww_fill(a, ring, a->x + row / a->oh * a->h * a->w_ * a->c, i, &filled, c, n);
      for (int64_t t = 0; t < taps; t++) src[t] = ring + ((i * a->sh + t / a->kw) % a->kh * width + t % a->kw) * VL;
      elem *y = a->y + row * a->ow * a->c + c;
      const elem *residual = a->residual ? a->residual + row * a->ow * a->c + c : NULL;
      for (int64_t j = 0; j < a->ow; j += DW_PLACES) {
        const int64_t places = min64(DW_PLACES, a->ow - j);
        for (int64_t p = 0; p < places; p++) s[p] = bias;
        if (a->sw == 1) dww_places(s, src, w, taps, j, places, 1);
        else dww_places(s, src, w, taps, j, places, 2);
        for (int64_t p = 0; p < places; p++) {
          if (residual) s[p] += load_n(residual + (j + p) * a->c, n);
          store_n(y + (j + p) * a->c, n, activate(s[p], a->act));
        }
      }
    }
  }
}

// The gradient of x at strides. Row h of x has the kernel's rows u of which
// h + top - u is a multiple of sh, and column w likewise: with w + left = q·sw + r
// these are v = r + t·sw, which meet column q - t of dy.
INLINE int64_t dww_data_rows(const depthwise_args *a) { return (a->kh + a->sh - 1) / a->sh; }
INLINE int64_t dww_data_taps(const depthwise_args *a) { return (a->kw + a->sw - 1) / a->sw; } // along a row
INLINE int64_t dww_data_width(const depthwise_args *a) { return (a->w_ - 1 + a->left) / a->sw + dww_data_taps(a); }

INLINE int dww_data_takes(const depthwise_args *a) {
  return a->dilh == 1 && a->dilw == 1 && a->left >= 0 && a->top >= 0 &&
         dww_rings(dww_data_rows(a), dww_data_width(a), dww_data_rows(a) * dww_data_taps(a));
}

// The columns of row `out` of x that leave the rest r.
INLINE void dww_data_columns(const depthwise_args *a, elem *out, const float *const *src, const vf *w, int64_t taps, int64_t r,
                             int64_t n) {
  vf s[DW_PLACES];
  const int64_t q0 = r >= a->left ? 0 : (a->left - r + a->sw - 1) / a->sw, most = a->w_ - 1 + a->left - r;
  const int64_t q1 = most < 0 ? 0 : most / a->sw + 1;
  for (int64_t q = q0; q < q1; q += DW_PLACES) {
    const int64_t places = min64(DW_PLACES, q1 - q);
    for (int64_t p = 0; p < places; p++) s[p] = splat(0);
    dww_places(s, src, w, taps, q, places, 1);
    for (int64_t p = 0; p < places; p++) store_n(out + ((q + p) * a->sw + r - a->left) * a->c, n, s[p]);
  }
}

static void dww_data(const depthwise_args *a, int64_t lo, int64_t hi) {
  float ring[DW_RING];
  const float *src[DW_TAPS];
  vf w[DW_TAPS];
  const int64_t rows = dww_data_rows(a), along = dww_data_taps(a), width = dww_data_width(a);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    int64_t filled = 0; // one more than the last row of dy in the ring, and kh
    for (int64_t row = lo; row < hi; row++) {
      const int64_t h = row % a->h + a->top, last = h / a->sh + a->kh; // rows of dy are counted from -kh
      if (row % a->h == 0) filled = 0;
      for (int64_t i = filled > last - rows + 1 ? filled : last - rows + 1; i <= last; i++) {
        const int64_t at = i - a->kh;
        const elem *dy = at >= 0 && at < a->oh ? a->dy + (row / a->h * a->oh + at) * a->ow * a->c + c : NULL;
        dww_copy(ring + i % rows * width * VL, dy, a->c, n, 1 - along, width, a->ow);
      }
      filled = last + 1;
      for (int64_t r = 0; r < a->sw; r++) {
        int64_t taps = 0;
        for (int64_t u = h % a->sh; u < a->kh; u += a->sh)
          for (int64_t v = r, t = 0; v < a->kw; v += a->sw, t++, taps++) {
            src[taps] = ring + ((last - u / a->sh) % rows * width + along - 1 - t) * VL;
            w[taps] = load_n(a->w + (u * a->kw + v) * a->c + c, n);
          }
        dww_data_columns(a, a->y + row * a->w_ * a->c + c, src, w, taps, r, n);
      }
    }
  }
}

// Whether dww_weight takes a convolution.
INLINE int dww_weight_takes(const depthwise_args *a) { return (a->kw == 5 || a->kw == 7) && dww_takes(a); }

// dw[v] += Σ_j dy[j]·x[j·step + v] of a row, in two sums.
INLINE void dww_weight_row(vf *dw, const float *dy, const float *x, int64_t places, int kw, int64_t step) {
  vf even[8], odd[8];
#pragma GCC unroll 8
  for (int v = 0; v < kw; v++) even[v] = dw[v], odd[v] = splat(0);
  int64_t j = 0;
  for (; j + 1 < places; j += 2, x += 2 * step * VL) {
    const vf d = load(dy + j * VL), e = load(dy + (j + 1) * VL);
#pragma GCC unroll 8
    for (int v = 0; v < kw; v++) {
      even[v] += d * load(x + v * VL);
      odd[v] += e * load(x + (step + v) * VL);
    }
  }
  if (j < places) {
    const vf d = load(dy + j * VL);
#pragma GCC unroll 8
    for (int v = 0; v < kw; v++) even[v] += d * load(x + v * VL);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kw; v++) dw[v] = even[v] + odd[v];
}

// dw [kh·kw][c] and db [c] of rows lo to hi.
static void dww_weight(const depthwise_args *a, int64_t lo, int64_t hi, float *dw, float *db) {
  float ring[DW_RING], *dy = ring + a->kh * dww_width(a) * VL;
  vf acc[DW_TAPS];
  const int64_t taps = a->kh * a->kw, width = dww_width(a);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    vf sum = splat(0);
    for (int64_t t = 0; t < taps; t++) acc[t] = splat(0);
    int64_t filled = 0;
    for (int64_t row = lo; row < hi; row++) {
      const int64_t i = row % a->oh;
      if (i == 0) filled = 0;
      dww_fill(a, ring, a->x + row / a->oh * a->h * a->w_ * a->c, i, &filled, c, n);
      dww_copy(dy, a->dy + row * a->ow * a->c + c, a->c, n, 0, a->ow, a->ow);
      for (int64_t j = 0; j < a->ow; j++) sum += load(dy + j * VL);
      for (int64_t u = 0; u < a->kh; u++) {
        const int64_t h = i * a->sh + u;
        if (h < a->top || h >= a->h + a->top) continue;
        const float *x = ring + h % a->kh * width * VL;
        vf *to = acc + u * a->kw;
        if (a->kw == 5 && a->sw == 1) dww_weight_row(to, dy, x, a->ow, 5, 1);
        else if (a->kw == 5) dww_weight_row(to, dy, x, a->ow, 5, 2);
        else if (a->sw == 1) dww_weight_row(to, dy, x, a->ow, 7, 1);
        else dww_weight_row(to, dy, x, a->ow, 7, 2);
      }
    }
    for (int64_t t = 0; t < taps; t++) store_n(dw + t * a->c + c, n, acc[t]);
    if (db) store_n(db + c, n, sum);
  }
}
