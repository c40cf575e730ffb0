// From the type in which activations are stored to float32, and back.

static void widen(const void *args, int64_t task) {
  const cast_args *a = args;
  const elem *x = a->x;
  float *y = a->y;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += VL) store_n(y + i, hi - i, load_n(x + i, hi - i));
}

static void narrow(const void *args, int64_t task) {
  const cast_args *a = args;
  const float *x = a->x;
  elem *y = a->y;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += VL) store_n(y + i, hi - i, load_n(x + i, hi - i));
}
