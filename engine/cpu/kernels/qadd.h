// Sums and products of two tensors of codes: engine.QAdd and QMul have the formulas.

static void qadd(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x, *b = a->b;
  uint8_t *y = a->y;
  for (int64_t i = lo; i < hi; i += VL) {
    vf u = as_floats(load_codes(x + i, hi - i) - splat_int(a->xzero)) * splat(a->m);
    vf v = as_floats(load_codes(b + i, hi - i) - splat_int(a->bzero)) * splat(a->mb);
    ROUNDED(u);
    ROUNDED(v);
    store_codes(y + i, hi - i, CODES_OF(a, u + v));
  }
}

// A task: some of the n rows of c codes; `pixels` rows have one row of b.
static void qmul(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  for (int64_t r = lo; r < hi; r++) {
    const uint8_t *x = (const uint8_t *)a->x + r * a->c, *b = (const uint8_t *)a->b + r / a->pixels * a->c;
    uint8_t *y = (uint8_t *)a->y + r * a->c;
    for (int64_t c = 0; c < a->c; c += VL) {
      const vi p = (load_codes(x + c, a->c - c) - splat_int(a->xzero)) * (load_codes(b + c, a->c - c) - splat_int(a->bzero));
      store_codes(y + c, a->c - c, CODES_OF(a, as_floats(p) * splat(a->m)));
    }
  }
}
