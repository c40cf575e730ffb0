// Runs lists of commands of many sizes on pools of one to six threads, and counts how often
// each task is run. For TestPool, which compiles it with the sanitizer of threads.
#include "../pool.c"

#include <stdio.h>
#include <string.h>

enum { COMMANDS = 40, TASKS = 64 };

typedef struct {
  _Atomic int runs[TASKS];
  int plain[TASKS]; // what the sanitizer watches: tasks write their own, the caller reads
} counts;

static void count(const void *args, int64_t task) {
  counts *c = (counts *)args;
  atomic_fetch_add(&c->runs[task], 1);
  c->plain[task]++;
  for (volatile int64_t i = 0; i < task * 37 % 200; i++) {}
}

#define TABLE(name) const ps_kernel name[PS_KERNEL_COUNT] = {[0 ... PS_KERNEL_COUNT - 1] = count};
TABLE(ps_generic) TABLE(ps_generic_bf16)
#if defined(__x86_64__)
TABLE(ps_avx2) TABLE(ps_avx2_bf16) TABLE(ps_avx512) TABLE(ps_avx512_bf16) TABLE(ps_avx512bf16_bf16) TABLE(ps_avx512bf16fma_bf16)
TABLE(ps_dottiles) TABLE(ps_dottiles_emulated) TABLE(ps_dot512) TABLE(ps_dot256)
int ps_tiles_right(void) { return 0; }
#else
TABLE(ps_dot128)
#endif

void *ps_pages(size_t n) { return aligned_alloc(64, (n + 63) / 64 * 64); }

// Runs some lists; the numbers of their commands begin at `first`.
static int run_lists(int threads, uint32_t first, int lists) {
  static counts c[COMMANDS];
  ps_command commands[COMMANDS];
  ps_pool *p = ps_pool_new(threads, 0, PS_BY_PAIRS);
  if (!p) return printf("no pool of %d threads\n", threads);
  p->first = first;
  for (int l = 0; l < lists; l++) {
    for (int i = 0; i < COMMANDS; i++) {
      memset(&c[i], 0, sizeof c[i]);
      commands[i] = (ps_command){.kernel = 0, .args = &c[i], .tasks = 1 + (l * 7 + i * 13) % (i % 2 ? TASKS : 4)};
    }
    ps_run(p, commands, COMMANDS);
    for (int i = 0; i < COMMANDS; i++)
      for (int t = 0; t < TASKS; t++)
        if (c[i].runs[t] != (t < commands[i].tasks) || c[i].plain[t] != c[i].runs[t])
          return printf("%d threads, list %d: task %d of command %d is run %d times\n", threads, l, t, i, c[i].runs[t]);
    if (l % 50 == 49) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); // all go to sleep
  }
  ps_pool_free(p);
  return 0;
}

// A command of very many tasks, of which the first waits until all others are done, by whoever
// takes them, or for some seconds.
static _Atomic int64_t others;
static void long_first(const void *args, int64_t task) {
  if (task) {
    atomic_fetch_add(&others, 1);
    return;
  }
  for (int i = 0; i < 5000 && atomic_load(&others) < *(const int64_t *)args - 1; i++) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int run_many(void) {
  int64_t tasks = 5 * (int64_t)BIAS;
  ps_pool *p = ps_pool_new(2, 0, PS_BY_PAIRS);
  if (!p) return printf("no pool of two threads\n");
  p->table[0] = long_first;
  ps_run(p, &(ps_command){.args = &tasks, .tasks = tasks}, 1);
  ps_pool_free(p);
  return others == tasks - 1 ? 0 : printf("%lld of %lld tasks are run\n", (long long)others, (long long)tasks);
}

int main(void) {
  if (run_many()) return 1;
  for (int threads = 1; threads <= 6; threads++)
    if (run_lists(threads, 0, 150)) return 1;
  return run_lists(3, IDLE - 500, 50) != 0; // the numbers come to their end and begin again
}
