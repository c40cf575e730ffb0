// The stand-in libnvrtc: a program's "cubin" is a shared object for the host,
// made by the C compiler ($CC, or cc) from prelude.h and the source. What was
// made once lies beside the library, under cache/, by the hash of all that it
// was made from.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#ifndef FAKE_VERSION
#define FAKE_VERSION 0
#endif

extern char **environ;

enum { SUCCESS, OUT_OF_MEMORY, CREATION_FAILURE, INVALID_INPUT, INVALID_PROGRAM, INVALID_OPTION, COMPILATION, BUILTIN_FAILURE };

struct program {
	char *source, *name, *log, *cubin;
	size_t cubin_size;
	int abstract; // for compute_…: there is PTX of it, but no cubin
};

API int nvrtcVersion(int *major, int *minor) {
	*major = 12;
	*minor = FAKE_VERSION; // another one for other sources of the stand-in, so that caches tell them apart
	return SUCCESS;
}

API const char *nvrtcGetErrorString(int code) {
	static const char *const names[] = { "NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE",
		"NVRTC_ERROR_INVALID_INPUT", "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION",
		"NVRTC_ERROR_BUILTIN_OPERATION_FAILURE" };
	return code >= 0 && code < (int)(sizeof names / sizeof *names) ? names[code] : "NVRTC_ERROR unknown";
}

API int nvrtcGetNumSupportedArchs(int *n) {
	*n = 2;
	return SUCCESS;
}

API int nvrtcGetSupportedArchs(int *archs) {
	archs[0] = 80;
	archs[1] = 90;
	return SUCCESS;
}

API int nvrtcCreateProgram(struct program **out, const char *source, const char *name, int headers, const char *const *texts, const char *const *names) {
	(void)texts;
	(void)names;
	*out = 0;
	if (!source || headers)
		return INVALID_INPUT;
	struct program *p = calloc(1, sizeof *p);
	if (!p)
		return OUT_OF_MEMORY;
	p->source = strdup(source);
	p->name = strdup(name && *name ? name : "default_program");
	p->log = strdup("");
	*out = p;
	return SUCCESS;
}

API int nvrtcDestroyProgram(struct program **p) {
	if (!p || !*p)
		return INVALID_PROGRAM;
	free((*p)->source);
	free((*p)->name);
	free((*p)->log);
	free((*p)->cubin);
	free(*p);
	*p = 0;
	return SUCCESS;
}

static char *slurp(const char *path, size_t *size) {
	FILE *f = fopen(path, "rb");
	if (!f)
		return 0;
	char *p = 0;
	struct stat st;
	if (!fstat(fileno(f), &st) && (p = malloc((size_t)st.st_size + 1))) {
		*size = fread(p, 1, (size_t)st.st_size, f);
		p[*size] = 0;
	}
	fclose(f);
	return p;
}

static void set_log(struct program *p, const char *text) {
	free(p->log);
	p->log = strdup(text);
}

// arguments collects the compiler's words. Their strings live as long as the words.
typedef struct {
	const char *v[256];
	int n;
	char *words;
} arguments;

static void add(arguments *a, const char *s) {
	if (a->n < 255)
		a->v[a->n++] = s;
	a->v[a->n] = 0;
}

// options sorts NVRTC's options: definitions go to the compiler, what only a
// device's compiler has is passed over, what NVRTC has not is refused.
static int options(struct program *p, arguments *a, int n, const char *const *given, char *arch, size_t arch_size) {
	static const char *const passed[] = { "--std=", "-std=", "--ptxas-options", "-Xptxas", "--fmad=", "-fmad=", "--use_fast_math",
		"-use_fast_math", "--extra-device-vectorization", "-extra-device-vectorization", "--restrict", "-restrict", "--maxrregcount=",
		"-maxrregcount=", "-default-device", "--device-as-default-execution-space", "-lineinfo", "--generate-line-info", "-G",
		"--device-debug", "-w", "--disable-warnings", "--diag-suppress", "-diag-suppress", "--ftz=", "-ftz=", "--prec-div=",
		"-prec-div=", "--prec-sqrt=", "-prec-sqrt=", "--dopt=", "-dopt=", "--relocatable-device-code=false", "-rdc=false" };
	for (int i = 0; i < n; i++) {
		const char *o = given[i], *value = 0;
		if (!strncmp(o, "--gpu-architecture=", 19))
			value = o + 19;
		else if (!strncmp(o, "-arch=", 6))
			value = o + 6;
		if (value) {
			int number;
			if ((strncmp(value, "sm_", 3) && strncmp(value, "compute_", 8)) || sscanf(strchr(value, '_') + 1, "%d", &number) != 1 ||
			    (number != 80 && number != 90))
				goto bad;
			p->abstract = *value == 'c';
			snprintf(arch, arch_size, "-D__CUDA_ARCH__=%d0", number);
			continue;
		}
		if (!strncmp(o, "--define-macro=", 15) || !strncmp(o, "-D", 2)) {
			add(a, "-D");
			add(a, o[1] == 'D' ? o + 2 : o + 15);
			continue;
		}
		int known = 0;
		for (size_t k = 0; k < sizeof passed / sizeof *passed && !known; k++)
			known = !strncmp(o, passed[k], strlen(passed[k]));
		if (known)
			continue;
	bad:;
		char text[300];
		snprintf(text, sizeof text, "nvrtc: error: invalid value for option or unknown option: %s\n", o);
		set_log(p, text);
		return 0;
	}
	return 1;
}

static uint64_t hash(uint64_t h, const char *s) {
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211ull;
	return (h ^ 255) * 1099511628211ull;
}

// compile runs the compiler with its words in the file's log. It returns its exit status.
static int compile(const arguments *a, const char *log) {
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	pid_t pid;
	int rc = posix_spawnp(&pid, a->v[0], &files, 0, (char *const *)a->v, environ), status = -1;
	posix_spawn_file_actions_destroy(&files);
	if (rc)
		return -rc;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int wanted(const char *name) {
	const char *s = getenv(name);
	return s && *s && strcmp(s, "0");
}

static void flags(arguments *a) {
	static const char *const all[] = { "-std=gnu11", "-O1", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE",
		"-fno-stack-protector", "-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types",
		"-Werror=int-conversion", "-Werror=return-type", "-Wno-unknown-pragmas", "-Wno-attributes",
		"-fsanitize=bounds,alignment,shift,integer-divide-by-zero", "-fno-sanitize-recover=all" };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		add(a, all[i]);
	if (wanted("FAKE_RACES") || wanted("FAKE_TRAFFIC")) {
		add(a, "-fsanitize=thread");
		add(a, "-DFAKE_WATCHED");
		add(a, "-Wno-tsan");
	}
#if defined(__x86_64__)
	if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) {
		add(a, "-mavx2");
		add(a, "-mfma");
	}
#endif
}

// beside returns a path beside this library. The caller frees it.
static char *beside(const char *format, unsigned long long number) {
	Dl_info info;
	char *name = 0, *path = 0;
	const char *slash = dladdr((void *)nvrtcVersion, &info) ? strrchr(info.dli_fname, '/') : 0;
	if (asprintf(&name, format, number) < 0)
		return 0;
	int n = slash ? (int)(slash - info.dli_fname) : 1;
	if (asprintf(&path, "%.*s/%s", n, slash ? info.dli_fname : ".", name) < 0)
		path = 0;
	free(name);
	return path;
}

// add_kernels writes, behind the preprocessed text, the way in to each kernel:
// to what KERNEL(name)(type argument) became.
static int add_kernels(const char *path) {
	static const char mark[] = "static inline void fake_body_";
	size_t size;
	char *text = slurp(path, &size);
	FILE *f = text ? fopen(path, "a") : 0;
	if (!f) {
		free(text);
		return 0;
	}
	for (char *p = text; (p = strstr(p, mark));) {
		char *name = p += sizeof mark - 1;
		char *open = strchr(p, '('), *close = open ? strchr(open, ')') : 0;
		if (!close)
			break;
		p = close;
		int n = (int)strcspn(name, " \t\n("), t;
		char *type = open + 1, *end = close;
		while (end > type && strchr(" \t\n", end[-1]))
			end--;
		while (end > type && !strchr(" \t\n", end[-1]))
			end--;
		t = (int)(end - type);
		fprintf(f, "\nstatic void fake_entry_%.*s(const void *args) { fake_body_%.*s(*(const %.*s *)args); }\n", n, name, n, name, t, type);
		fprintf(f, "extern const fake_kernel_t fake_kernel_%.*s;\nconst fake_kernel_t fake_kernel_%.*s = ", n, name, n, name);
		fprintf(f, "{ fake_entry_%.*s, sizeof(%.*s), fake_threads_%.*s };\n", n, name, t, type, n, name);
	}
	free(text);
	return !fclose(f);
}

// build compiles the source, in two steps, to a shared object that is kept at the path.
static int build(struct program *p, arguments *a, const char *kept, const char *c, const char *so, const char *log) {
	FILE *f = fopen(c, "w");
	if (!f) {
		set_log(p, "cannot write beside libnvrtc");
		return BUILTIN_FAILURE;
	}
	fprintf(f, "#line 1 \"%s\"\n%s\n", p->name, p->source);
	fclose(f);
	char *prelude = beside("prelude.h", 0);
	const char *const first[] = { "-x", "c", "-E", "-include", prelude, "-o", so, c };
	const char *const second[] = { "-x", "cpp-output", "-fPIC", "-shared", "-o", c, so, "-x", "none", "-nodefaultlibs", "-lm", "-lc" };
	int common = a->n;
	for (size_t i = 0; i < sizeof first / sizeof *first; i++)
		add(a, first[i]);
	int rc = compile(a, log);
	if (!rc && add_kernels(so)) {
		a->n = common;
		for (size_t i = 0; i < sizeof second / sizeof *second; i++)
			add(a, second[i]);
		rc = compile(a, log);
	}
	free(prelude);
	size_t size = 0;
	free(p->log);
	p->log = slurp(log, &size);
	if (!p->log || (rc && !size)) {
		char text[300];
		snprintf(text, sizeof text, "%s: exit status %d", a->v[0], rc);
		set_log(p, text);
	}
	if (!rc)
		p->cubin = slurp(c, &p->cubin_size);
	if (!p->cubin || rename(c, kept))
		unlink(c);
	unlink(so);
	unlink(log);
	return p->cubin ? SUCCESS : COMPILATION;
}

static int compile_program(struct program *p, arguments *a, int n, const char *const *given) {
	const char *cc = getenv("CC");
	char arch[40] = "-D__CUDA_ARCH__=520", *rest = a->words = strdup(cc && *cc ? cc : "cc");
	for (char *w; (w = strsep(&rest, " \t"));)
		if (*w)
			add(a, w);
	flags(a);
	if (!options(p, a, n, given, arch, sizeof arch))
		return INVALID_OPTION;
	add(a, arch);
	uint64_t h = 14695981039346656037ull + FAKE_VERSION;
	for (int i = 0; i < a->n; i++)
		h = hash(h, a->v[i]);
	h = hash(hash(h, p->name), p->source);
	char *cache = beside("cache", 0), *kept = beside("cache/%016llx.so", h);
	mkdir(cache, 0755);
	free(p->cubin);
	p->cubin = slurp(kept, &p->cubin_size);
	int rc = SUCCESS;
	if (!p->cubin) {
		static unsigned number;
		unsigned long long id = (unsigned long long)getpid() * 1000000 + __sync_fetch_and_add(&number, 1);
		char *c = beside("cache/%llu.c", id), *so = beside("cache/%llu.tmp", id), *log = beside("cache/%llu.log", id);
		rc = build(p, a, kept, c, so, log);
		free(c);
		free(so);
		free(log);
	}
	free(cache);
	free(kept);
	return rc;
}

API int nvrtcCompileProgram(struct program *p, int n, const char *const *given) {
	if (!p)
		return INVALID_PROGRAM;
	arguments a = { .n = 0 };
	int rc = compile_program(p, &a, n, given);
	free(a.words);
	return rc;
}

API int nvrtcGetCUBINSize(struct program *p, size_t *n) {
	if (!p)
		return INVALID_PROGRAM;
	*n = p->abstract ? 0 : p->cubin_size;
	return SUCCESS;
}

API int nvrtcGetCUBIN(struct program *p, char *to) {
	if (!p || !p->cubin || p->abstract)
		return INVALID_PROGRAM;
	memcpy(to, p->cubin, p->cubin_size);
	return SUCCESS;
}

API int nvrtcGetPTXSize(struct program *p, size_t *n) {
	if (!p)
		return INVALID_PROGRAM;
	*n = p->cubin_size;
	return SUCCESS;
}

API int nvrtcGetPTX(struct program *p, char *to) {
	if (!p || !p->cubin)
		return INVALID_PROGRAM;
	memcpy(to, p->cubin, p->cubin_size);
	return SUCCESS;
}

API int nvrtcGetProgramLogSize(struct program *p, size_t *n) {
	if (!p)
		return INVALID_PROGRAM;
	*n = strlen(p->log) + 1;
	return SUCCESS;
}

API int nvrtcGetProgramLog(struct program *p, char *to) {
	if (!p)
		return INVALID_PROGRAM;
	strcpy(to, p->log);
	return SUCCESS;
}
