// Compiles what stands between BEGIN and END for an instruction set that the
// machine may not have; pool.c looks before it calls.
#define PS_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define PS_TARGET_BEGIN(isa) PS_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define PS_TARGET_END PS_PRAGMA(clang attribute pop)
#else
#define PS_TARGET_BEGIN(isa) PS_PRAGMA(GCC push_options) PS_PRAGMA(GCC target(isa))
#define PS_TARGET_END PS_PRAGMA(GCC pop_options)
#endif
