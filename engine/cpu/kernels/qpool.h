// Pools of codes: engine.QMaxPool2D and QAvgPool2D have the formulas.

// A task is a row of windows of one picture.
static void qmaxpool(const void *args, int64_t task) {
  const qpool_args *a = args;
  const pool_span *row = &a->row_spans[task % a->oh];
  const uint8_t *x = a->x + task / a->oh * a->h * a->w * a->c;
  uint8_t *y = a->y + task * a->ow * a->c;
  for (int64_t j = 0; j < a->ow; j++, y += a->c) {
    const pool_span *col = &a->col_spans[j];
    memset(y, 0, a->c);
    for (int64_t r = row->first; r < row->end; r += a->dilh)
      for (int64_t s = col->first; s < col->end; s += a->dilw) {
        const uint8_t *p = x + (r * a->w + s) * a->c;
        for (int64_t c = 0; c < a->c; c++) y[c] = p[c] > y[c] ? p[c] : y[c];
      }
  }
}

static void qavgpool(const void *args, int64_t task) {
  const qpool_args *a = args;
  const pool_span *row = &a->row_spans[task % a->oh];
  const uint8_t *x = a->x + task / a->oh * a->h * a->w * a->c;
  uint8_t *y = a->y + task * a->ow * a->c;
  for (int64_t j = 0; j < a->ow; j++, y += a->c) {
    const pool_span *col = &a->col_spans[j];
    const float m = (float)a->m / (float)(row->divisor * col->divisor);
    for (int64_t c = 0; c < a->c; c += VL) {
      vi sum = {0};
      int64_t taps = 0;
      for (int64_t r = row->first; r < row->end; r++)
        for (int64_t s = col->first; s < col->end; s++, taps++) sum += load_codes(x + (r * a->w + s) * a->c + c, a->c - c);
      store_codes(y + c, a->c - c, CODES_OF(a, as_floats(sum - splat_int((int32_t)(taps * a->xzero))) * splat(m)));
    }
  }
}
