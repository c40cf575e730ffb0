#define _GNU_SOURCE
#include "memory.h"

#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };

// A step walks over hundreds of megabytes, and with pages of 4 KB waits for page
// tables as long as for memory. The system is asked for large pages; it may refuse,
// which changes nothing but the time.
void *ps_pages(size_t bytes) {
  void *p = NULL;
  const int large = bytes >= 2 * HUGE_PAGE;
  if (posix_memalign(&p, large ? HUGE_PAGE : CACHE_LINE, bytes)) return NULL;
#if defined(MADV_HUGEPAGE)
  if (large) madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
  return p;
}
