// Two tensors of one shape, element by element: products, quotients, the larger
// and the smaller, and the gradient of these.

static void pointwise(const void *args, int64_t task) {
  const pointwise_args *p = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, p->n);
#define POINTWISE(EXPR)                                              \
  for (int64_t i = lo; i < hi; i += VL) {                            \
    const vf a = load_n(p->a + i, hi - i), b = load_n(p->b + i, hi - i); \
    store_n(p->y + i, hi - i, (EXPR));                               \
  }                                                                  \
  break
// dy where m, half of it where both are equal, else zero.
#define CHOSEN(M) pick(M, load_n(p->dy + i, hi - i), pick(a == b, splat(0.5f) * load_n(p->dy + i, hi - i), splat(0)))
  switch (p->op) { // a NaN is chosen: the comparisons are false for it, and b != b finds the other
    case PS_PRODUCT: POINTWISE(a * b);
    case PS_QUOTIENT: POINTWISE(a / b);
    case PS_LARGER: POINTWISE(pick((b > a) | (b != b), b, a));
    case PS_SMALLER: POINTWISE(pick((b < a) | (b != b), b, a));
    case PS_LARGER_BACKWARD: POINTWISE(CHOSEN(a > b));
    case PS_SMALLER_BACKWARD: POINTWISE(CHOSEN(a < b));
  }
}
