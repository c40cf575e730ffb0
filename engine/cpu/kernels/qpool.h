// Pools of codes: engine.QMaxPool2D and QAvgPool2D have the formulas.

typedef uint8_t vcodes __attribute__((vector_size(4 * VL)));
typedef uint8_t vcodes_unaligned __attribute__((vector_size(4 * VL), aligned(1), may_alias));
typedef uint8_t v16 __attribute__((vector_size(16)));
typedef uint8_t v16_unaligned __attribute__((vector_size(16), aligned(1), may_alias));

INLINE v16 larger_16(v16 a, v16 b) {
#if defined(__SSE2__)
  return (v16)_mm_max_epu8((__m128i)a, (__m128i)b);
#else
  const v16 m = (v16)(a > b);
  return (m & a) | (~m & b);
#endif
}

INLINE vcodes larger_codes(vcodes a, vcodes b) {
#if defined(PS_MASK_AVX512)
  return (vcodes)_mm512_max_epu8((__m512i)a, (__m512i)b);
#elif defined(PS_MASK_AVX2)
  return (vcodes)_mm256_max_epu8((__m256i)a, (__m256i)b);
#elif VL == 4
  return (vcodes)larger_16((v16)a, (v16)b);
#else
  const vcodes m = (vcodes)(a > b);
  return (m & a) | (~m & b);
#endif
}

// The largest codes of a window, of as many channels from c on as the type has.
#define LARGEST_CODES(type, larger)                                                             \
  {                                                                                             \
    type best = {0};                                                                            \
    const uint8_t *line = from + c;                                                             \
    for (int64_t r = 0; r < rows; r++, line += row_step) {                                      \
      const uint8_t *at = line;                                                                 \
      for (int64_t s = 0; s < cols; s++, at += col_step) best = larger(best, *(const type##_unaligned *)at); \
    }                                                                                           \
    *(type##_unaligned *)(y + c) = best;                                                        \
  }

// A task is a row of windows of one picture.
static void qmaxpool(const void *args, int64_t task) {
  const qpool_args *a = args;
  const pool_span *row = &a->row_spans[task % a->oh];
  const int64_t n = a->c, dilw = a->dilw, col_step = dilw * n, row_step = a->dilh * a->w * n;
  const int64_t rows = (row->end - row->first + a->dilh - 1) / a->dilh;
  const uint8_t *x = a->x + (task / a->oh * a->h + row->first) * a->w * n;
  uint8_t *y = a->y + task * a->ow * n;
  for (int64_t j = 0; j < a->ow; j++, y += n) {
    const pool_span *col = &a->col_spans[j];
    const int64_t cols = (col->end - col->first + dilw - 1) / dilw;
    const uint8_t *from = x + col->first * n;
    int64_t c = 0;
    for (; c + 4 * VL <= n; c += 4 * VL) LARGEST_CODES(vcodes, larger_codes)
    for (; c + 16 <= n; c += 16) LARGEST_CODES(v16, larger_16)
    for (; c < n; c++) {
      uint8_t best = 0;
      for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < cols; s++) {
          const uint8_t v = from[r * row_step + s * col_step + c];
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
