// Codes that change their places.

// c codes of each of n rows, to the rows of y, of yc codes, from y0 on.
static void qconcat(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  for (int64_t r = lo; r < hi; r++) memcpy((uint8_t *)a->y + r * a->yc + a->y0, (const uint8_t *)a->x + r * a->c, a->c);
}

// n pictures of `pixels` pixels of c codes, channel by channel. A task is a picture.
static void qflatten(const void *args, int64_t task) {
  const codes_args *a = args;
  const uint8_t *x = (const uint8_t *)a->x + task * a->pixels * a->c;
  uint8_t *y = (uint8_t *)a->y + task * a->pixels * a->c;
  for (int64_t c = 0; c < a->c; c++)
    for (int64_t p = 0; p < a->pixels; p++) y[c * a->pixels + p] = x[p * a->c + c];
}
