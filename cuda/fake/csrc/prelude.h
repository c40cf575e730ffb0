// What a kernel's source finds when the stand-in libnvrtc compiles it for the
// host: CUDA's keywords, vectors and intrinsics in C. A thread is a call of the
// kernel's body, which leaves it at barriers and shuffles (see cuda_block.c).
#ifndef FAKE_PRELUDE
#define FAKE_PRELUDE
#define POTSTILL_FAKE 1

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
#define bool _Bool
#define true 1
#define false 0
#ifndef NULL
#define NULL ((void *)0)
#endif

// Vectors.
#define FAKE_VECTOR2(T, N, A)                                  \
	typedef struct __attribute__((aligned(A))) { T x, y; } N; \
	static inline N make_##N(T x, T y) { N v = { x, y }; return v; }
#define FAKE_VECTOR3(T, N)                  \
	typedef struct { T x, y, z; } N;       \
	static inline N make_##N(T x, T y, T z) { N v = { x, y, z }; return v; }
#define FAKE_VECTOR4(T, N, A)                                        \
	typedef struct __attribute__((aligned(A))) { T x, y, z, w; } N; \
	static inline N make_##N(T x, T y, T z, T w) { N v = { x, y, z, w }; return v; }
FAKE_VECTOR2(float, float2, 8)
FAKE_VECTOR3(float, float3)
FAKE_VECTOR4(float, float4, 16)
FAKE_VECTOR2(int, int2, 8)
FAKE_VECTOR3(int, int3)
FAKE_VECTOR4(int, int4, 16)
FAKE_VECTOR2(unsigned, uint2, 8)
FAKE_VECTOR3(unsigned, uint3)
FAKE_VECTOR4(unsigned, uint4, 16)
FAKE_VECTOR2(short, short2, 4)
FAKE_VECTOR4(short, short4, 8)
FAKE_VECTOR2(unsigned short, ushort2, 4)
FAKE_VECTOR4(unsigned short, ushort4, 8)
FAKE_VECTOR2(signed char, char2, 2)
FAKE_VECTOR4(signed char, char4, 4)
FAKE_VECTOR2(unsigned char, uchar2, 2)
FAKE_VECTOR4(unsigned char, uchar4, 4)
FAKE_VECTOR2(double, double2, 16)
FAKE_VECTOR2(long long, longlong2, 16)
FAKE_VECTOR2(unsigned long long, ulonglong2, 16)
typedef uint3 dim3;

// The thread.
typedef struct {
	uint3 thread, block, block_dim, grid_dim;
	void *dynamic;
	int overlaps;
} fake_now_t;
typedef struct {
	unsigned long (*sync_threads)(int line, int kind, unsigned long value);
	unsigned long (*warp)(int line, int kind, unsigned mask, unsigned long value, int lane, int width);
	void (*fail)(int code, const char *what, unsigned long value, const char *type, int line);
	void (*waited)(void);
	const struct {
		void (*access)(unsigned long at, unsigned long size, int write);
		void (*atomic)(unsigned long at, int begins);
		void (*fence)(void);
	} *watch;
} fake_calls_t;
__attribute__((visibility("hidden"))) fake_now_t fake_now;
__attribute__((visibility("hidden"))) const fake_calls_t *fake_calls;
extern char __start_fake_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_fake_shared[] __attribute__((weak, visibility("hidden")));
fake_now_t *fake_link(const fake_calls_t *calls, char **shared, char **end);
fake_now_t *fake_link(const fake_calls_t *calls, char **shared, char **end) {
	fake_calls = calls;
	*shared = __start_fake_shared;
	*end = __stop_fake_shared;
	return &fake_now;
}
#define threadIdx fake_now.thread
#define blockIdx fake_now.block
#define blockDim fake_now.block_dim
#define gridDim fake_now.grid_dim
#define warpSize 32

// Keywords.
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(threads, ...) threads
#define __shared__ static __attribute__((section("fake_shared")))
#define DEVICE static inline __attribute__((always_inline, unused))
#define DYNAMIC_SHARED(type, name) type *name = (type *)fake_now.dynamic

#define WAIT_FOR_EARLIER() (fake_now.overlaps ? fake_calls->waited() : (void)0)

// KERNEL(f)(T a) { … } becomes a body. nvrtc.c finds it in the preprocessed text
// and adds a fake_kernel_t of it: the way in, and the size of its one argument.
// KERNEL_BOUNDS is the source's: nothing, or __launch_bounds__(n).
typedef struct {
	void (*entry)(const void *args);
	unsigned args, max_threads;
} fake_kernel_t;
#define KERNEL(name) FAKE_KERNEL(name, KERNEL_BOUNDS + 0)
#define FAKE_KERNEL(name, threads)       \
	enum { fake_threads_##name = threads }; \
	static inline void fake_body_##name

// Barriers, shuffles and votes. Kinds are those of cuda_block.c.
#define __syncthreads() ((void)fake_calls->sync_threads(__LINE__, 0, 0))
#define __syncthreads_count(p) ((int)fake_calls->sync_threads(__LINE__, 1, (p) != 0))
#define __syncthreads_and(p) ((int)fake_calls->sync_threads(__LINE__, 2, (p) != 0))
#define __syncthreads_or(p) ((int)fake_calls->sync_threads(__LINE__, 3, (p) != 0))
#define FAKE_SELECT(a, b, ...) b
#define __syncwarp(...) ((void)fake_calls->warp(__LINE__, 0, FAKE_SELECT(, ##__VA_ARGS__, 0xffffffffu), 0, 0, 32))
#define __ballot_sync(mask, p) ((unsigned)fake_calls->warp(__LINE__, 1, mask, (p) != 0, 0, 32))
#define __any_sync(mask, p) (fake_calls->warp(__LINE__, 1, mask, (p) != 0, 0, 32) != 0)
#define __all_sync(mask, p) (fake_calls->warp(__LINE__, 2, mask, (p) != 0, 0, 32) != 0)
#define FAKE_SHUFFLE(kind, mask, v, lane, width)                                         \
	({                                                                                   \
		__auto_type fake_v = (v);                                                        \
		unsigned long fake_b = 0;                                                        \
		_Static_assert(sizeof fake_v == 4 || sizeof fake_v == 8, "a shuffle moves 4 or 8 bytes"); \
		__builtin_memcpy(&fake_b, &fake_v, sizeof fake_v);                               \
		fake_b = fake_calls->warp(__LINE__, kind, mask, fake_b, lane, width);            \
		__builtin_memcpy(&fake_v, &fake_b, sizeof fake_v);                               \
		fake_v;                                                                          \
	})
#define __shfl_sync(mask, v, lane, ...) FAKE_SHUFFLE(3, mask, v, lane, FAKE_SELECT(, ##__VA_ARGS__, 32))
#define __shfl_xor_sync(mask, v, lane, ...) FAKE_SHUFFLE(4, mask, v, lane, FAKE_SELECT(, ##__VA_ARGS__, 32))
#define __shfl_down_sync(mask, v, lane, ...) FAKE_SHUFFLE(5, mask, v, lane, FAKE_SELECT(, ##__VA_ARGS__, 32))
#define __shfl_up_sync(mask, v, lane, ...) FAKE_SHUFFLE(6, mask, v, lane, FAKE_SELECT(, ##__VA_ARGS__, 32))
#ifdef FAKE_WATCHED
#define __threadfence() fake_calls->watch->fence()
#define FAKE_IN_ATOMIC(p, begins) fake_calls->watch->atomic((unsigned long)(p), begins)
#else
#define __threadfence() ((void)0)
#define FAKE_IN_ATOMIC(p, begins) ((void)0)
#endif
#define __threadfence_block() ((void)0)
#define __trap() fake_calls->fail(719, "__trap()%.0lu%s", 0, "", __LINE__)

// What the compiler's checks of indices, alignment and shifts call, where
// nvrtc.c asks for them: the names and the structs are the compiler's.
typedef struct {
	const char *file;
	unsigned line, column;
	const struct { unsigned short kind, info; char name[]; } *type;
} fake_place;
#define FAKE_CHECK(check, code, what)                                                                \
	__attribute__((visibility("hidden"), used, cold)) void __ubsan_handle_##check##_abort(fake_place *, unsigned long); \
	void __ubsan_handle_##check##_abort(fake_place *at, unsigned long value) {                       \
		fake_calls->fail(code, what, value, at->type->name, (int)at->line);                         \
		__builtin_trap();                                                                           \
	}
FAKE_CHECK(out_of_bounds, 700, "index %ld of %s")
FAKE_CHECK(type_mismatch_v1, 716, "address %#lx for %s")
FAKE_CHECK(shift_out_of_bounds, 719, "shift by too much%.0lu of %s")
FAKE_CHECK(divrem_overflow, 719, "division by zero%.0lu of %s")

// What the compiler's -fsanitize=thread calls at each access to memory (see
// cuda_watch.c).
#ifdef FAKE_WATCHED
#define FAKE_HOOK __attribute__((visibility("hidden"), used, no_sanitize("thread")))
FAKE_HOOK void fake_access(unsigned long at, unsigned long size, int write);
FAKE_HOOK void fake_access(unsigned long at, unsigned long size, int write) {
	if (fake_calls)
		fake_calls->watch->access(at, size, write);
}
#define FAKE_ACCESS(name, size, write)                  \
	FAKE_HOOK void __tsan_##name(unsigned long at);     \
	FAKE_HOOK void __tsan_##name(unsigned long at) { fake_access(at, size, write); }
#define FAKE_ACCESSES(size)                                                                     \
	FAKE_ACCESS(read##size, size, 0) FAKE_ACCESS(write##size, size, 1)                          \
	FAKE_ACCESS(unaligned_read##size, size, 0) FAKE_ACCESS(unaligned_write##size, size, 1)
FAKE_ACCESSES(1)
FAKE_ACCESSES(2)
FAKE_ACCESSES(4)
FAKE_ACCESSES(8)
FAKE_ACCESSES(16)
FAKE_HOOK void __tsan_read_range(unsigned long at, unsigned long size);
FAKE_HOOK void __tsan_read_range(unsigned long at, unsigned long size) { fake_access(at, size, 0); }
FAKE_HOOK void __tsan_write_range(unsigned long at, unsigned long size);
FAKE_HOOK void __tsan_write_range(unsigned long at, unsigned long size) { fake_access(at, size, 1); }
FAKE_HOOK void __tsan_init(void);
FAKE_HOOK void __tsan_init(void) {}
FAKE_HOOK void __tsan_func_entry(void *caller);
FAKE_HOOK void __tsan_func_entry(void *caller) { (void)caller; }
FAKE_HOOK void __tsan_func_exit(void);
FAKE_HOOK void __tsan_func_exit(void) {}
#endif

// Atomics, on integers only: sums of floats must not depend on the order.
#define FAKE_ATOMIC(p, v, expr)                                                                            \
	({                                                                                                     \
		__auto_type fake_p = (p);                                                                          \
		_Static_assert(_Generic(*fake_p, int: 1, unsigned: 1, unsigned long long: 1, default: 0),          \
			"atomics are on int, unsigned and unsigned long long");                                        \
		__typeof__(*fake_p) fake_new = (v);                                                                \
		FAKE_IN_ATOMIC(fake_p, 1);                                                                         \
		__typeof__(*fake_p) fake_old = *fake_p;                                                            \
		*fake_p = (expr);                                                                                  \
		FAKE_IN_ATOMIC(fake_p, 0);                                                                         \
		fake_old;                                                                                          \
	})
#define atomicAdd(p, v) FAKE_ATOMIC(p, v, fake_old + fake_new)
#define atomicSub(p, v) FAKE_ATOMIC(p, v, fake_old - fake_new)
#define atomicMax(p, v) FAKE_ATOMIC(p, v, fake_old > fake_new ? fake_old : fake_new)
#define atomicMin(p, v) FAKE_ATOMIC(p, v, fake_old < fake_new ? fake_old : fake_new)
#define atomicOr(p, v) FAKE_ATOMIC(p, v, fake_old | fake_new)
#define atomicAnd(p, v) FAKE_ATOMIC(p, v, fake_old &fake_new)
#define atomicXor(p, v) FAKE_ATOMIC(p, v, fake_old ^ fake_new)
#define atomicExch(p, v) FAKE_ATOMIC(p, v, fake_new)
#define atomicInc(p, v) FAKE_ATOMIC(p, v, fake_old >= fake_new ? 0 : fake_old + 1)
#define atomicCAS(p, c, v) \
	({ __auto_type fake_c = (c); FAKE_ATOMIC(p, v, fake_old == fake_c ? fake_new : fake_old); })

// Arithmetic.
float expf(float), exp2f(float), expm1f(float), logf(float), log2f(float), log10f(float), log1pf(float), sqrtf(float), cbrtf(float);
float fabsf(float), fmaf(float, float, float), fminf(float, float), fmaxf(float, float), fmodf(float, float), powf(float, float);
float floorf(float), ceilf(float), truncf(float), roundf(float), rintf(float), nearbyintf(float), copysignf(float, float);
float sinf(float), cosf(float), tanf(float), tanhf(float), sinhf(float), coshf(float), erff(float), erfcf(float), atan2f(float, float);
float ldexpf(float, int), hypotf(float, float);
double exp(double), exp2(double), expm1(double), log(double), log2(double), log1p(double), sqrt(double), fabs(double), pow(double, double);
double fma(double, double, double), fmin(double, double), fmax(double, double), floor(double), ceil(double), round(double), rint(double);
double sin(double), cos(double), tanh(double), copysign(double, double), fmod(double, double);
int abs(int);
long long llabs(long long);
#define isnan(x) __builtin_isnan(x)
#define isinf(x) (__builtin_isinf(x) != 0)
#define isfinite(x) __builtin_isfinite(x)
#define signbit(x) (__builtin_signbit(x) != 0)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define INT_MAX __INT_MAX__
#define FAKE_PICK(a, b, op, f, d)                                                      \
	({                                                                                 \
		__typeof__((a) + (b)) fake_x = (a), fake_y = (b);                              \
		_Generic(fake_x, float: f(fake_x, fake_y), double: d(fake_x, fake_y), default: fake_x op fake_y ? fake_x : fake_y); \
	})
#define min(a, b) FAKE_PICK(a, b, <, __builtin_fminf, __builtin_fmin)
#define max(a, b) FAKE_PICK(a, b, >, __builtin_fmaxf, __builtin_fmax)
DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
DEVICE double rsqrt(double x) { return 1.0 / sqrt(x); }

// The compiler may not fuse across it, as CUDA's _rn functions promise.
#if defined(__x86_64__)
#define FAKE_ROUNDED(x) ({ float fake_r = (x); __asm__("" : "+x"(fake_r)); fake_r; })
#elif defined(__aarch64__)
#define FAKE_ROUNDED(x) ({ float fake_r = (x); __asm__("" : "+w"(fake_r)); fake_r; })
#else
#define FAKE_ROUNDED(x) ({ float fake_r = (x); __asm__("" : "+m"(fake_r)); fake_r; })
#endif
#define __fmaf_rn(a, b, c) __builtin_fmaf(a, b, c)
#define __fmul_rn(a, b) FAKE_ROUNDED((float)(a) * (float)(b))
#define __fadd_rn(a, b) FAKE_ROUNDED(FAKE_ROUNDED((float)(a)) + FAKE_ROUNDED((float)(b)))
#define __fsub_rn(a, b) FAKE_ROUNDED(FAKE_ROUNDED((float)(a)) - FAKE_ROUNDED((float)(b)))
#define __fdiv_rn(a, b) ((float)(a) / (float)(b))
#define __fsqrt_rn(a) sqrtf(a)
#define __frcp_rn(a) (1.0f / (float)(a))
#define __frsqrt_rn(a) rsqrtf(a)
#define __fdividef(a, b) ((float)(a) / (float)(b))
static inline int fake_dp4a(int a, int b, int c) {
	for (int i = 0; i < 32; i += 8) c += (signed char)(a >> i) * (signed char)(b >> i);
	return c;
}
#define __dp4a(a, b, c) fake_dp4a(a, b, c)
#define __saturatef(x) ({ float fake_s = (x); fake_s > 0 ? (fake_s < 1 ? fake_s : 1.0f) : 0.0f; })
#define __float2int_rn(x) ((int)__builtin_rintf(x))
#define __float2int_rz(x) ((int)(float)(x))
#define __float2int_rd(x) ((int)__builtin_floorf(x))
#define __float2int_ru(x) ((int)__builtin_ceilf(x))
#define __float2uint_rn(x) ((unsigned)__builtin_rintf(x))
#define __int2float_rn(x) ((float)(int)(x))
#define __uint2float_rn(x) ((float)(unsigned)(x))
#define FAKE_BITS(from, to, x) ({ from fake_f = (x); to fake_t; __builtin_memcpy(&fake_t, &fake_f, sizeof fake_t); fake_t; })
#define __float_as_uint(x) FAKE_BITS(float, unsigned, x)
#define __float_as_int(x) FAKE_BITS(float, int, x)
#define __uint_as_float(x) FAKE_BITS(unsigned, float, x)
#define __int_as_float(x) FAKE_BITS(int, float, x)
#define __double_as_longlong(x) FAKE_BITS(double, long long, x)
#define __longlong_as_double(x) FAKE_BITS(long long, double, x)
#define __umulhi(a, b) ((unsigned)(((unsigned long long)(unsigned)(a) * (unsigned)(b)) >> 32))
#define __mulhi(a, b) ((int)(((long long)(int)(a) * (int)(b)) >> 32))
#define __umul64hi(a, b) ((unsigned long long)(((unsigned __int128)(unsigned long long)(a) * (unsigned long long)(b)) >> 64))
#define __popc(x) __builtin_popcount(x)
#define __popcll(x) __builtin_popcountll(x)
#define __clz(x) ({ unsigned fake_u = (x); fake_u ? __builtin_clz(fake_u) : 32; })
#define __ffs(x) __builtin_ffs(x)
#define __brev(x) ({ unsigned fake_u = (x), fake_o = 0; for (int fake_i = 0; fake_i < 32; fake_i++) fake_o |= (fake_u >> fake_i & 1u) << (31 - fake_i); fake_o; })
#define __ldg(p) (*(p))
#define __ldcs(p) (*(p))
#define __ldcg(p) (*(p))
#define __ldca(p) (*(p))
#define __stcs(p, v) ((void)(*(p) = (v)))
#define __stcg(p, v) ((void)(*(p) = (v)))
#define __stwt(p, v) ((void)(*(p) = (v)))

#endif
