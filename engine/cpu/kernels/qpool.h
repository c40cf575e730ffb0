// Pools of codes: engine.QMaxPool2D and QAvgPool2D have the formulas.

typedef uint8_t v16 __attribute__((vector_size(16)));
typedef uint8_t v16_unaligned __attribute__((vector_size(16), aligned(1), may_alias));

INLINE v16 larger_codes(v16 a, v16 b) {
#if defined(__SSE2__)
  return (v16)_mm_max_epu8((__m128i)a, (__m128i)b);
#else
  const v16 m = (v16)(a > b);
  return (m & a) | (~m & b);
#endif
}

// A task is a row of windows of one picture.
static void qmaxpool(const void *args, int64_t task) {
  const qpool_args *a = args;
  const pool_span *row = &a->row_spans[task % a->oh];
  const uint8_t *x = a->x + task / a->oh * a->h * a->w * a->c;
  uint8_t *y = a->y + task * a->ow * a->c;
  for (int64_t j = 0; j < a->ow; j++, y += a->c) {
    const pool_span *col = &a->col_spans[j];
    int64_t c = 0;
    for (; c + 16 <= a->c; c += 16) {
      v16 best = {0};
      for (int64_t r = row->first; r < row->end; r += a->dilh)
        for (int64_t s = col->first; s < col->end; s += a->dilw) best = larger_codes(best, *(const v16_unaligned *)(x + (r * a->w + s) * a->c + c));
      *(v16_unaligned *)(y + c) = best;
    }
    for (; c < a->c; c++) {
      uint8_t best = 0;
      for (int64_t r = row->first; r < row->end; r += a->dilh)
        for (int64_t s = col->first; s < col->end; s += a->dilw) {
          const uint8_t v = x[(r * a->w + s) * a->c + c];
          if (v > best) best = v;
        }
      y[c] = best;
    }
  }
}

static void qavgpool(const void *args, int64_t task) {
  const qpool_args *a = args;
  const pool_span *row = &a->row_spans[task % a->oh];
  const int64_t n = a->c, line = a->w * n;
  const uint8_t *x = a->x + task / a->oh * a->h * line;
  uint8_t *y = a->y + task * a->ow * n;
  const qcoder coder = CODER(a);
  for (int64_t j = 0; j < a->ow; j++, y += n) {
    const pool_span *col = &a->col_spans[j];
    const int64_t rows = row->end - row->first, cols = col->end - col->first;
    const uint8_t *from = x + row->first * line + col->first * n;
    const vf m = splat((float)a->m / (float)(row->divisor * col->divisor));
    const vi zero = splat_int((int32_t)(rows * cols * a->xzero));
    for (int64_t c = 0; c < n; c += VL) {
      vi sum = {0};
      for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < cols; s++) sum += load_codes(from + r * line + s * n + c, n - c);
      store_codes(y + c, n - c, codes_of(&coder, as_floats(sum - zero) * m));
    }
  }
}
