// Concat, Slice and its gradient: channels are moved from rows of one length to
// rows of another.

static void strip(const void *args, int64_t task) {
  const strip_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t r = lo; r < hi; r++) {
    const elem *x = a->x + r * a->xc + a->x0;
    elem *row = a->y + r * a->yc, *y = row + a->y0;
    if (a->fill) {
      memset(row, 0, a->y0 * sizeof *row);
      memset(y + a->n, 0, (a->yc - a->y0 - a->n) * sizeof *row);
    }
    for (int64_t c = 0; c < a->n; c += VL) store_n(y + c, a->n - c, load_n(x + c, a->n - c));
  }
}
