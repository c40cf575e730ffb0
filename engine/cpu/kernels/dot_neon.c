// Products of codes for arm64 with the instructions of FEAT_DotProd (ARMv8.2).
#if defined(__aarch64__)
#include "target.h"
#if defined(__clang__)
PS_TARGET_BEGIN("dotprod")
#else
PS_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>
#define VL 4
#define PS_TABLE ps_dot128
#include "dot.h"
PS_TARGET_END
#endif
