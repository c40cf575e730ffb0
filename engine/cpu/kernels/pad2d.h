// Pad2D: pictures with something around them. Which pixel of the picture each row
// and each column repeats is read from two lists, -1 being the constant.

// A task: some rows of y.
static void pad2d(const void *args, int64_t task) {
  const pad2d_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  for (int64_t row = lo; row < hi; row++) {
    const int64_t r = a->row_from[row % a->oh];
    const elem *x = a->x + (row / a->oh * a->h + r) * a->w * a->c; // not read where r is -1
    elem *y = a->y + row * a->ow * a->c;
    for (int64_t j = 0; j < a->ow; j++, y += a->c) {
      const int64_t q = a->col_from[j];
      if (r >= 0 && q >= 0) memcpy(y, x + q * a->c, a->c * sizeof *y);
      else
        for (int64_t c = 0; c < a->c; c += VL) store_n(y + c, a->c - c, splat((float)a->value));
    }
  }
}

// x is dy and y is dx. A task: a picture.
static void pad2d_backward(const void *args, int64_t task) {
  const pad2d_args *a = args;
  const elem *dy = a->x + task * a->oh * a->ow * a->c;
  elem *y = a->y + task * a->h * a->w * a->c;
  float *dx = sums_at(y, a->scratch + task * a->h * a->w * a->c);
  memset(dx, 0, a->h * a->w * a->c * sizeof *dx);
  for (int64_t i = 0; i < a->oh; i++)
    for (int64_t j = 0; j < a->ow; j++, dy += a->c) {
      const int64_t r = a->row_from[i], q = a->col_from[j];
      if (r < 0 || q < 0) continue;
      float *p = dx + (r * a->w + q) * a->c;
      for (int64_t c = 0; c < a->c; c += VL) store_n(p + c, a->c - c, load_n(p + c, a->c - c) + load_n(dy + c, a->c - c));
    }
  settle(y, dx, a->h * a->w * a->c);
}
