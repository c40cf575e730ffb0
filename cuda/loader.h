// The dynamic loader, as the bindings use it.
#ifndef POTSTILL_CUDA_LOADER_H
#define POTSTILL_CUDA_LOADER_H

#include <stddef.h>

// ps_open opens a library for itself (RTLD_LOCAL). It returns NULL and fills
// err with the loader's words if it cannot.
void *ps_open(const char *path, char *err, size_t size);

// ps_symbol returns the address of a symbol, NULL if there is none.
void *ps_symbol(void *handle, const char *name);

// ps_path writes the path of an open library's file, empty if unknown.
void ps_path(void *handle, char *path, size_t size);

// ps_version_number calls a size_t f(void).
size_t ps_version_number(void *f);

// ps_version_pair calls an int f(int *major, int *minor).
int ps_version_pair(void *f, int *major, int *minor);

#endif
