// ChannelShuffle: the channels of each row are a matrix that is transposed.

INLINE void shuffle_row(const elem *restrict x, elem *restrict y, int64_t groups, int64_t each) {
  for (int64_t j = 0; j < each; j++)
    for (int64_t i = 0; i < groups; i++) y[j * groups + i] = x[i * each + j];
}

// Few groups, and the gradient of two, are the usual cases: where the number is
// known, the compiler makes vectors of them.
static void channel_shuffle(const void *args, int64_t task) {
  const shuffle_args *a = args;
  const int64_t c = a->groups * a->each;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  const elem *x = a->x + lo * c;
  elem *y = a->y + lo * c;
  for (int64_t r = lo; r < hi; r++, x += c, y += c) {
    if (a->groups == 2) shuffle_row(x, y, 2, a->each);
    else if (a->groups == 3) shuffle_row(x, y, 3, a->each);
    else if (a->groups == 4) shuffle_row(x, y, 4, a->each);
    else if (a->each == 2) shuffle_row(x, y, a->groups, 2);
    else shuffle_row(x, y, a->groups, a->each);
  }
}
