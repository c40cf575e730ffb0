/* What every kernel source starts with. kernels.Source puts it first.
 *
 * The sources are written in the common subset of CUDA C++ and C: NVRTC compiles
 * them for the card, cuda/fake compiles them with a C compiler for the host. A
 * kernel is KERNEL(name)(name_args a) { WAIT_FOR_EARLIER(); ... } and takes one
 * struct by value.
 * Variants are made by options: -DBF16 stores activations as bfloat16.
 *
 * Where the fake brings a macro of its own, it defines it before this file. */

#ifdef __CUDACC__
#define ON_DEVICE 1
#pragma nv_diag_suppress 177 /* not every source needs every function here */
#else
#define ON_DEVICE 0
#endif

/* KERNEL_BOUNDS stands in every KERNEL. A source that wants launch bounds
 * defines it anew before a kernel, as in
 *   #undef KERNEL_BOUNDS
 *   #define KERNEL_BOUNDS __launch_bounds__(256, 4)
 * and has them until it is defined anew. The fake has no bounds. */
#define KERNEL_BOUNDS

#ifndef KERNEL
#if ON_DEVICE
#define KERNEL(name) extern "C" __global__ void KERNEL_BOUNDS name
#else
#define KERNEL(name) void name
#endif
#endif

#ifndef DEVICE
#if ON_DEVICE
#define DEVICE static __device__ __forceinline__
#else
#define DEVICE static inline __attribute__((unused))
#endif
#endif

/* WAIT_FOR_EARLIER begins every kernel. One that is launched so that it may begin
 * before the kernel ahead of it in the stream has ended waits here until that one
 * has, and what it wrote can be seen; only then may the kernel behind this one
 * begin. As that one waits, too, whoever has come through sees all that is earlier.
 * No thread may end without having waited, nor touch the device's memory before. */
#ifndef WAIT_FOR_EARLIER
#if ON_DEVICE && __CUDA_ARCH__ >= 900
#define WAIT_FOR_EARLIER() asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory")
#else
#define WAIT_FOR_EARLIER() ((void)0)
#endif
#endif

/* DYNAMIC_SHARED(type, name) declares name as the launch's shared memory,
 * aligned to 16 bytes. */
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name)                         \
	extern __shared__ __align__(16) unsigned char name##_[]; \
	type *name = (type *)name##_
#endif

/* ROLLED stands before a loop over a grid's stride: what is in flight comes from
 * the number of threads, and counting the rounds of a stride would take a division. */
#if ON_DEVICE
#define ROLLED _Pragma("unroll 1")
#define UNROLL _Pragma("unroll")
#define UNROLL2 _Pragma("unroll 2")
#define UNROLL8 _Pragma("unroll 8")
#define ALIGNED(n) __align__(n)
#else
#define ROLLED
#define UNROLL
#define UNROLL2
#define UNROLL8
#define ALIGNED(n) __attribute__((aligned(n)))
#endif

#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))

#define INFINITE bits_float(0x7f800000u)

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64; /* an index into what may have more than 2^31 elements */

/* ---- bits ---- */

DEVICE u32 float_bits(float v) {
	union { float f; u32 u; } b;
	b.f = v;
	return b.u;
}

DEVICE float bits_float(u32 v) {
	union { float f; u32 u; } b;
	b.u = v;
	return b.f;
}

/* The upper 32 bits of a·b. */
DEVICE u32 mul_hi(u32 a, u32 b) { return (u32)(((u64)a * b) >> 32); }

/* ---- bfloat16: the upper half of a float ---- */

typedef unsigned short bf16;

/* Rounds to nearest, ties to even. A NaN stays a NaN, overflow gives infinity. */
DEVICE bf16 to_bf16(float v) {
#if ON_DEVICE && __CUDA_ARCH__ >= 800
	bf16 r;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v));
	return r;
#else
	u32 u = float_bits(v);
	if ((u & 0x7fffffffu) > 0x7f800000u) return (bf16)((u >> 16) | 0x40u);
	return (bf16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
#endif
}

/* Two at a time: lo in the lower half of the word, as it lies in memory. */
DEVICE u32 to_bf16x2(float lo, float hi) {
#if ON_DEVICE && __CUDA_ARCH__ >= 800
	u32 r;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
	return r;
#else
	return (u32)to_bf16(lo) | ((u32)to_bf16(hi) << 16);
#endif
}

DEVICE float from_bf16(bf16 v) { return bits_float((u32)v << 16); }
DEVICE float low_bf16(u32 v) { return bits_float(v << 16); }
DEVICE float high_bf16(u32 v) { return bits_float(v & 0xffff0000u); }

typedef struct ALIGNED(8) { u32 a, b; } bf16x4;
typedef struct ALIGNED(16) { u32 a, b, c, d; } bf16x8;

DEVICE float4 unpack_bf16x4(bf16x4 r) {
	return make_float4(low_bf16(r.a), high_bf16(r.a), low_bf16(r.b), high_bf16(r.b));
}

DEVICE bf16x4 pack_bf16x4(float4 v) {
	bf16x4 r;
	r.a = to_bf16x2(v.x, v.y);
	r.b = to_bf16x2(v.z, v.w);
	return r;
}

/* ---- loads and stores ----
 *
 * real is the storage type of activations: float, or bf16 under BF16. All
 * arithmetic is in float. ld4/st4 move four reals, at a pointer aligned to four
 * of them; ldv/stv move VEC reals, sixteen bytes, at a pointer aligned to these.
 * ldf4/stf4 move four floats whatever real is: weights, vectors, workspace. */

#ifdef BF16
typedef bf16 real;
typedef bf16x4 real4;
#define VEC 8
DEVICE float from_real(real v) { return from_bf16(v); }
DEVICE real to_real(float v) { return to_bf16(v); }
DEVICE float4 from_real4(real4 v) { return unpack_bf16x4(v); }
DEVICE real4 to_real4(float4 v) { return pack_bf16x4(v); }
#else
typedef float real;
typedef float4 real4;
#define VEC 4
DEVICE float from_real(real v) { return v; }
DEVICE real to_real(float v) { return v; }
DEVICE float4 from_real4(real4 v) { return v; }
DEVICE real4 to_real4(float4 v) { return v; }
#endif

DEVICE float ld(const real *p) { return from_real(*p); }
DEVICE void st(real *p, float v) { *p = to_real(v); }
DEVICE float4 ld4(const real *p) { return from_real4(*(const real4 *)p); }
DEVICE void st4(real *p, float4 v) { *(real4 *)p = to_real4(v); }
DEVICE float4 ldf4(const float *p) { return *(const float4 *)p; }
DEVICE void stf4(float *p, float4 v) { *(float4 *)p = v; }

/* v has VEC elements. */
DEVICE void ldv(const real *p, float *v) {
#ifdef BF16
	bf16x8 r = *(const bf16x8 *)p;
	v[0] = low_bf16(r.a), v[1] = high_bf16(r.a), v[2] = low_bf16(r.b), v[3] = high_bf16(r.b);
	v[4] = low_bf16(r.c), v[5] = high_bf16(r.c), v[6] = low_bf16(r.d), v[7] = high_bf16(r.d);
#else
	float4 r = *(const float4 *)p;
	v[0] = r.x, v[1] = r.y, v[2] = r.z, v[3] = r.w;
#endif
}

DEVICE void stv(real *p, const float *v) {
#ifdef BF16
	bf16x8 r;
	r.a = to_bf16x2(v[0], v[1]), r.b = to_bf16x2(v[2], v[3]);
	r.c = to_bf16x2(v[4], v[5]), r.d = to_bf16x2(v[6], v[7]);
	*(bf16x8 *)p = r;
#else
	*(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
#endif
}

/* ---- four floats ---- */

DEVICE float4 splat4(float v) { return make_float4(v, v, v, v); }
DEVICE float4 zero4(void) { return splat4(0.f); }
DEVICE float4 add4(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
DEVICE float4 sub4(float4 a, float4 b) { return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w); }
DEVICE float4 mul4(float4 a, float4 b) { return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
DEVICE float4 scale4(float a, float4 b) { return make_float4(a * b.x, a * b.y, a * b.z, a * b.w); }
/* a·b + c */
DEVICE float4 fma4(float4 a, float4 b, float4 c) {
	return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}

/* ---- activations, numbered as engine.Func ----
 *
 * Identity, ReLU and ReLU6 are told apart when a kernel runs, by an argument f.
 * Every other one is a variant of the kernel's own, made by -DACT_FN=number and
 * its constants (see activation.cuh); f is then not looked at. */

#define ACT_IDENTITY 0
#define ACT_RELU 1
#define ACT_RELU6 2

/* The larger and the smaller of two numbers; a NaN wins against a number. */
DEVICE float max_nan(float a, float b) {
#if ON_DEVICE && __CUDA_ARCH__ >= 800
	float r;
	asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
	return r;
#else
	return a >= b || a != a ? a : b;
#endif
}

DEVICE float min_nan(float a, float b) {
#if ON_DEVICE && __CUDA_ARCH__ >= 800
	float r;
	asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
	return r;
#else
	return a <= b || a != a ? a : b;
#endif
}

/* v between two bounds; a NaN stays a NaN. */
DEVICE float clamp(float v, float least, float most) { return min_nan(max_nan(v, least), most); }

DEVICE float4 clamp4(float4 v, float least, float most) {
	return make_float4(clamp(v.x, least, most), clamp(v.y, least, most), clamp(v.z, least, most), clamp(v.w, least, most));
}

#ifdef ACT_FN
#include "activation.cuh"
#else

/* Every f is a clamp, with bounds that depend on f alone. */
DEVICE float act_least(int f) { return f == ACT_IDENTITY ? -INFINITE : 0.f; }
DEVICE float act_most(int f) { return f == ACT_RELU6 ? 6.f : INFINITE; }
DEVICE float act(int f, float v) { return clamp(v, act_least(f), act_most(f)); }
DEVICE float4 act4(int f, float4 v) { return clamp4(v, act_least(f), act_most(f)); }

/* Whether f has slope one, as seen from y = f(x); else the slope is zero. */
DEVICE int act_slope(int f, float y) {
	return f == ACT_IDENTITY || (y > 0.f && (f == ACT_RELU || y < 6.f));
}

/* dy·f'(x), seen from y = f(x), and from x. */
DEVICE float act_back(int f, float y, float dy) { return act_slope(f, y) ? dy : 0.f; }
DEVICE float act_through(int f, float x, float dy) { return act_back(f, x, dy); }

#endif

/* ---- division by a constant ----
 *
 * Of n < 2^31, with the numbers that kernels.Divisor computes: Granlund and
 * Montgomery, "Division by invariant integers using multiplication", 1994. */

typedef struct { u32 mul, shift, div; } fastdiv;

DEVICE u32 div_by(u32 n, fastdiv d) { return (mul_hi(n, d.mul) + n) >> d.shift; }
DEVICE u32 mod_by(u32 n, u32 quotient, fastdiv d) { return n - quotient * d.div; }

/* ---- reductions ----
 *
 * All in a fixed order: two runs give the same bits. */

#define FULL_WARP 0xffffffffu

/* The sum of v over the warp, in every lane. All 32 lanes must call. */
DEVICE float warp_sum(float v) {
	UNROLL
	for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync(FULL_WARP, v, i);
	return v;
}

/* The largest v of the warp, in every lane; a NaN loses against a number. */
DEVICE float warp_max(float v) {
	UNROLL
	for (int i = 16; i > 0; i >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, i));
	return v;
}

/* The place of the thread in its block, and the block's threads. */
DEVICE int thread_index(void) { return (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)); }
DEVICE int thread_count(void) { return (int)(blockDim.x * blockDim.y * blockDim.z); }

/* The sum of v over the block, in every thread. All threads must call, in whole
 * warps; shared points to 32 floats, which are free again on return. */
DEVICE float block_sum(float v, float *shared) {
	int t = thread_index(), warps = thread_count() / 32;
	v = warp_sum(v);
	if (t % 32 == 0) shared[t / 32] = v;
	__syncthreads();
	v = t % 32 < warps ? shared[t % 32] : 0.f;
	v = warp_sum(v);
	__syncthreads();
	return v;
}

/* The largest v of the block, in every thread; as block_sum. */
DEVICE float block_max(float v, float *shared) {
	int t = thread_index(), warps = thread_count() / 32;
	v = warp_max(v);
	if (t % 32 == 0) shared[t / 32] = v;
	__syncthreads();
	v = shared[t % 32 < warps ? t % 32 : 0];
	v = warp_max(v);
	__syncthreads();
	return v;
}

/* What was written before is seen by whoever sees what is written after. */
DEVICE void fence(void) { __threadfence(); }

/* Whether this block is the last of so many to come here: it then sees all that
 * the others wrote before, and the counter, which must have been zero, is zero
 * again. A counter comes with the launch's arguments: one of the module's would
 * be shared by streams. All threads of the block must call; flag points to a shared int.
 *
 * The barriers order the block's threads and thread 0, whose fences stand between
 * them and the counter on both sides: that orders the threads of all blocks, as
 * PTX's memory model has it, and takes the stale lines out of the reader's L1. */
DEVICE int last_block(u32 *counter, u32 blocks, int *flag) {
	__syncthreads();
	if (thread_index() == 0) {
		fence();
		*flag = atomicAdd(counter, 1u) == blocks - 1u;
		if (*flag) *counter = 0u;
		fence();
	}
	__syncthreads();
	return *flag;
}
