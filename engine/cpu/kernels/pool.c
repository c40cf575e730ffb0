// The thread pool. Each thread has a ticket, one 64-bit word, that says which command is
// being run (upper half, a number that goes on from list to list, so that no thread takes a
// new command for one that it has seen) and how many tasks are left of the thread's share
// of them (lower half, plus BIAS). A task is taken by subtracting one from a ticket, so there
// is no lock, and a thread that wakes late finds tasks of whatever command is current.
// Holding a task keeps its command current; a thread without one must not look at the list,
// which may be gone.
//
// The shares are contiguous, and the same from command to command and from run to run: a
// thread finds in its cache what it has written of the tensor before, which costs as
// much as the work of a small layer if another core has it. Who is done with its own share
// takes from those of others, one task at a time.
//
// Who has to wait spins for some tens of microseconds, since commands follow
// each other that fast; while a list is run, it then goes on looking, but lets
// other threads of the machine go first each time, for one that spins may keep
// out the one it waits for. After that it sleeps: to be woken takes longer than
// most commands.
#include "pool.h"
#include "memory.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

enum { SPIN_NANOSECONDS = 50000, YIELDS = 2000 };
#define BIAS 0x10000u // room for the threads that come too late for the last task
#define IDLE 0xffffffffu // the command number before the first

const float ps_zeros[PS_ZEROS];

// What a thread has of the current command.
typedef struct {
  _Atomic uint64_t ticket;
  int64_t end;          // behind the last task of its share; written before the ticket
  _Atomic int sleeping; // the worker
  char pad[64 - 20];
} share;

struct ps_pool {
  _Atomic int64_t done; // finished tasks of the current command
  char pad0[56];
  _Atomic int waiting; // the caller is asleep
  _Atomic int stop;    // the pool ends
  _Atomic int running; // a list is being run
  char pad1[52];
  int spins; // that take SPIN_NANOSECONDS
  ps_kernel table[2 * PS_KERNEL_COUNT]; // those for bfloat16 behind those for float32
  const ps_command *commands;
  uint32_t first; // the number of commands[0]
  pthread_mutex_t lock;
  pthread_cond_t wake, finished;
  int workers;
  share *shares; // of the caller, and behind it of each worker
  pthread_t *threads;
  float **scratch; // likewise
  int slots;
};

// The scratch memory of the thread.
static __thread float *scratch;
float *ps_scratch(void) { return scratch; }

// What a worker is started with.
typedef struct {
  ps_pool *pool;
  int number;
} start;

// Does a task of a thread's share, if there is one left, and returns the number of the command
// that the ticket was of; found says whether there was one. It looks before it subtracts: a
// thread comes by for every task that it takes of another's share, and BIAS bounds how often
// a ticket with nothing left may be subtracted from.
static uint32_t task_of(ps_pool *p, share *s, int *found) {
  uint64_t t = atomic_load(&s->ticket);
  *found = 0;
  if ((uint32_t)t <= BIAS) return t >> 32;
  t = atomic_fetch_sub(&s->ticket, 1);
  const uint32_t command = t >> 32, left = (uint32_t)t;
  if (left <= BIAS) return command;
  const ps_command *c = &p->commands[command - p->first];
  const int64_t tasks = c->tasks;
  p->table[c->kernel](c->args, s->end - (left - BIAS));
  if (atomic_fetch_add(&p->done, 1) + 1 == tasks && atomic_load(&p->waiting)) {
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->finished);
    pthread_mutex_unlock(&p->lock);
  }
  *found = 1;
  return command;
}

// Does tasks until there are none left, and returns the number of the command of which the
// thread's own share had none.
static uint32_t work(ps_pool *p, int self) {
  for (;;) {
    uint32_t seen;
    int found;
    do seen = task_of(p, &p->shares[self], &found);
    while (found);
    for (int k = 1; k <= p->workers && !found; k++) task_of(p, &p->shares[(self + k) % (p->workers + 1)], &found);
    if (!found) return seen;
  }
}

// How often RELAX fits into SPIN_NANOSECONDS: it takes from one to a hundred and
// forty cycles, as the processor has it.
static int measure_spins(void) {
  enum { TRIED = 2000 };
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < TRIED; i++) RELAX();
  clock_gettime(CLOCK_MONOTONIC, &b);
  const int64_t ns = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
  return 1 + (int)(SPIN_NANOSECONDS * (int64_t)TRIED / (ns > TRIED / 4 ? ns : TRIED / 4));
}

// Whether there is nothing to do for a worker that has seen the command.
static int nothing(ps_pool *p, int self, uint32_t seen) {
  return atomic_load(&p->shares[self].ticket) >> 32 == seen && !atomic_load(&p->stop);
}

static void *worker(void *arg) {
  ps_pool *p = ((start *)arg)->pool;
  const int self = ((start *)arg)->number;
  scratch = p->scratch[self];
  free(arg);
  uint32_t seen = IDLE;
  for (;;) {
    for (int i = 0; i < p->spins && nothing(p, self, seen); i++) RELAX();
    for (int i = 0; i < YIELDS && nothing(p, self, seen) && atomic_load(&p->running); i++) sched_yield();
    if (nothing(p, self, seen)) {
      pthread_mutex_lock(&p->lock);
      atomic_store(&p->shares[self].sleeping, 1);
      while (nothing(p, self, seen)) pthread_cond_wait(&p->wake, &p->lock);
      atomic_store(&p->shares[self].sleeping, 0);
      pthread_mutex_unlock(&p->lock);
    }
    if (atomic_load(&p->stop)) return NULL;
    seen = work(p, self);
  }
}

// The kernels of a level, for float32 or for bfloat16.
static const ps_kernel *kernels_of(int level, int bf16) {
#if defined(__x86_64__)
  if (level >= 3 && bf16) return ps_avx512bf16_bf16;
  if (level >= 2) return bf16 ? ps_avx512_bf16 : ps_avx512;
  if (level == 1) return bf16 ? ps_avx2_bf16 : ps_avx2;
#endif
  (void)level;
  return bf16 ? ps_generic_bf16 : ps_generic;
}

// The kernels of products of four bytes of a level.
static const ps_kernel *dot_kernels(int level, int by) {
#if defined(__x86_64__) && defined(__linux__)
  if (by == PS_BY_TILES) return ps_dottiles;
#endif
#if defined(__x86_64__)
  if (by == PS_BY_EMULATED_TILES) return ps_dottiles_emulated;
  return level >= 2 ? ps_dot512 : ps_dot256;
#elif defined(__aarch64__)
  (void)level, (void)by;
  return ps_dot128;
#else
  (void)by;
  return kernels_of(level, 0); // of which there are none: ps_dots has said so
#endif
}

ps_pool *ps_pool_new(int n, int level, int by) {
  ps_pool *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  for (int i = 0; i < PS_KERNEL_COUNT; i++) {
    p->table[i] = kernels_of(level, 0)[i];
    p->table[PS_KERNEL_COUNT + i] = kernels_of(level, 1)[i];
  }
#if defined(__x86_64__)
  static const int products[] = {ps_k_pack, ps_k_igemm, ps_k_wgrad}; // which agree on how weights are packed
  for (int i = 0; level == 4 && i < 3; i++) p->table[PS_KERNEL_COUNT + products[i]] = ps_avx512bf16fma_bf16[products[i]];
#endif
  static const int dots[] = {PS_DOT_KERNELS(PS_NUMBER)};
  for (unsigned i = 0; by != PS_BY_PAIRS && i < sizeof dots / sizeof *dots; i++) p->table[dots[i]] = dot_kernels(level, by)[i];
  p->spins = measure_spins();
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->finished, NULL);
  p->threads = calloc(n, sizeof *p->threads);
  p->scratch = calloc(n, sizeof *p->scratch);
  p->shares = ps_pages(n * sizeof *p->shares);
  for (int i = 0; p->shares && i < n; i++) p->shares[i] = (share){.ticket = (uint64_t)IDLE << 32 | BIAS};
  int ready = 0;
  while (p->scratch && ready < n && (p->scratch[ready] = ps_pages(PS_SCRATCH))) ready++;
  for (int i = 0; p->threads && p->shares && ready == n && i < n - 1; i++) {
    start *s = malloc(sizeof *s);
    if (!s) break;
    *s = (start){p, i + 1};
    if (pthread_create(&p->threads[i], NULL, worker, s)) {
      free(s);
      break;
    }
    p->workers++;
  }
  p->slots = n;
  if (!p->threads || !p->shares || ready != n || p->workers != n - 1) {
    ps_pool_free(p);
    return NULL;
  }
  return p;
}

void ps_pool_free(ps_pool *p) {
  if (!p) return;
  atomic_store(&p->stop, 1);
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (int i = 0; i < p->workers; i++) pthread_join(p->threads[i], NULL);
  free(p->threads);
  free(p->shares);
  for (int i = 0; p->scratch && i < p->slots; i++) free(p->scratch[i]);
  free(p->scratch);
  pthread_mutex_destroy(&p->lock);
  pthread_cond_destroy(&p->wake);
  pthread_cond_destroy(&p->finished);
  free(p);
}

// Gives each thread its share of a command's tasks. With fewer tasks than threads, some have
// none, and are not told.
static void hand_out(ps_pool *p, uint32_t command, int64_t tasks) {
  const int threads = p->workers + 1;
  int asleep = 0;
  for (int k = 0; k < threads; k++) {
    share *s = &p->shares[k];
    const int64_t begin = (tasks * k + threads - 1) / threads, end = (tasks * (k + 1) + threads - 1) / threads;
    if (begin == end) continue;
    s->end = end;
    atomic_store(&s->ticket, (uint64_t)command << 32 | (BIAS + (uint32_t)(end - begin)));
    asleep |= atomic_load(&s->sleeping);
  }
  if (!asleep) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

// Waits until all tasks of the current command are done.
static void finish(ps_pool *p, int64_t tasks) {
  for (int i = 0; i < p->spins + YIELDS; i++) {
    if (atomic_load(&p->done) == tasks) return;
    if (i < p->spins) RELAX();
    else sched_yield();
  }
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->waiting, 1);
  while (atomic_load(&p->done) < tasks) pthread_cond_wait(&p->finished, &p->lock);
  atomic_store(&p->waiting, 0);
  pthread_mutex_unlock(&p->lock);
}

void ps_run(ps_pool *p, const ps_command *commands, int64_t n) {
  p->commands = commands;
  scratch = p->scratch[0];
  if (IDLE - p->first <= n) p->first = 0; // the numbers start again
  atomic_store(&p->running, 1);
  for (int64_t i = 0; i < n; i++) {
    const ps_command *c = &commands[i];
    if (c->tasks == 1 || p->workers == 0) { // not worth telling anybody
      for (int64_t t = 0; t < c->tasks; t++) p->table[c->kernel](c->args, t);
      continue;
    }
    atomic_store(&p->done, 0);
    hand_out(p, p->first + (uint32_t)i, c->tasks);
    work(p, 0);
    finish(p, c->tasks);
  }
  atomic_store(&p->running, 0);
  p->first += n;
}

int ps_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return !__builtin_cpu_supports("avx512bf16") ? 2 : __builtin_cpu_is("intel") ? 4 : 3;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}

#if defined(__x86_64__)
// AVX-VNNI is bit 4 of EAX in part 1 of leaf 7 of CPUID. Older compilers have no name for it.
static int ps_avxvnni(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

// AMX-TILE and AMX-INT8 are bits 24 and 25 of EDX in part 0 of leaf 7. Linux gives a process the
// state of tiles when it asks for it, and refuses where it does not know of them.
static int ps_amx(void) {
#if defined(__linux__)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 3) == 3 &&
         syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 && ps_tiles_right();
#else
  return 0;
#endif
}
#endif

int ps_dots(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const int wide = __builtin_cpu_supports("avx512vnni");
  return (wide && ps_amx() ? 4 : 0) + (wide ? 2 : 0) + (ps_avxvnni() ? 1 : 0);
#elif defined(__aarch64__) && defined(__linux__)
  return getauxval(AT_HWCAP) >> 20 & 1; // HWCAP_ASIMDDP, for which older headers have no name
#elif defined(__aarch64__) && defined(__APPLE__)
  int has = 0;
  size_t bytes = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &bytes, NULL, 0) == 0 && has;
#else
  return 0;
#endif
}

#define NAME(name) #name,
static const char *const names[] = {PS_KERNELS(NAME)};
int ps_kernel_count(void) { return sizeof names / sizeof *names; }
const char *ps_kernel_name(int i) { return names[i]; }
