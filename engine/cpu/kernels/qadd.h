// Sums and products of two tensors of codes: engine.QAdd and QMul have the formulas.

// What makes numbers in steps of a sum of the codes that are added.
typedef struct {
  vi xzero, bzero;
  vf mx, mb;
} qterms;

INLINE qterms qterms_of(const codes_args *a) {
  return (qterms){splat_int((int32_t)a->xzero), splat_int((int32_t)a->bzero), splat(a->m), splat(a->mb)};
}

// The sum of the codes x and of n codes at b.
INLINE vf qadd_sum(const qterms *t, vi x, const uint8_t *b, int64_t n) {
  vf u = as_floats(x - t->xzero) * t->mx, v = as_floats(load_codes(b, n) - t->bzero) * t->mb;
  ROUNDED(u);
  ROUNDED(v);
  return u + v;
}

static void qadd(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x, *b = a->b;
  uint8_t *y = a->y;
  const qcoder coder = CODER(a);
  const qterms terms = qterms_of(a);
  int64_t i = lo;
  for (; i + 4 * VL <= hi; i += 4 * VL) {
    vf v[4];
    uint8_t *to[4];
    for (int k = 0; k < 4; k++) {
      const int64_t at = i + k * VL;
      v[k] = qadd_sum(&terms, load_codes(x + at, VL), b + at, VL), to[k] = y + at;
    }
    store_four(to, &coder, v, 1);
  }
  for (; i < hi; i += VL) store_codes(y + i, hi - i, codes_of(&coder, qadd_sum(&terms, load_codes(x + i, hi - i), b + i, hi - i)));
}

// A task: some of the n rows of c codes; `pixels` rows have one row of b.
static void qmul(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const qcoder coder = CODER(a);
  const vi xzero = splat_int((int32_t)a->xzero), bzero = splat_int((int32_t)a->bzero);
  const vf m = splat(a->m);
  const int64_t n = a->c;
  for (int64_t r = lo; r < hi; r++) {
    const uint8_t *x = (const uint8_t *)a->x + r * n, *b = (const uint8_t *)a->b + r / a->pixels * n;
    uint8_t *y = (uint8_t *)a->y + r * n;
    for (int64_t c = 0; c < n; c += VL) {
      const vi p = (load_codes(x + c, n - c) - xzero) * (load_codes(b + c, n - c) - bzero);
      store_codes(y + c, n - c, codes_of(&coder, as_floats(p) * m));
    }
  }
}
