//go:build linux && cgo

#define _GNU_SOURCE
#include "loader.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

void *ps_open(const char *path, char *err, size_t size) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *why = dlerror();
        snprintf(err, size, "%s", why ? why : "the loader does not say why");
    }
    return handle;
}

void *ps_symbol(void *handle, const char *name) { return dlsym(handle, name); }

void ps_path(void *handle, char *path, size_t size) {
    struct link_map *map = NULL;
    path[0] = 0;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name)
        snprintf(path, size, "%s", map->l_name);
}

size_t ps_version_number(void *f) { return ((size_t(*)(void))f)(); }

int ps_version_pair(void *f, int *major, int *minor) {
    return ((int (*)(int *, int *))f)(major, minor);
}
