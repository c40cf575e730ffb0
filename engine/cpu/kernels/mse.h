// The mean of squared differences, and its gradient. Sums are in double, those of
// the tasks added in their order.

static void mse(const void *args, int64_t task) {
  const mse_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  double s = 0;
  for (int64_t i = lo; i < hi; i += VL) {
    const vf d = load_n(a->x + i, hi - i) - load_n(a->t + i, hi - i);
    s += ln_total(ln_first(d * d, hi - i));
  }
  a->part[task] = s;
}

static void mse_total(const void *args, int64_t task) {
  const mse_args *a = args;
  (void)task;
  double s = 0;
  for (int64_t i = 0; i < a->parts; i++) s += a->part[i];
  *a->y = (float)(s / a->n);
}

static void mse_backward(const void *args, int64_t task) {
  const mse_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const vf scale = splat((float)(2.0 * *a->dloss / a->n));
  for (int64_t i = lo; i < hi; i += VL) {
    const int64_t n = hi - i;
    store_n(a->y + i, n, scale * (load_n(a->x + i, n) - load_n(a->t + i, n)));
  }
}
