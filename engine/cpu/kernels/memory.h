// Memory for tensors.
#ifndef POTSTILL_MEMORY_H
#define POTSTILL_MEMORY_H
#include <stddef.h>

// Memory aligned to a cache line, to be given back with free; null if there is none.
void *ps_pages(size_t bytes);
#endif
