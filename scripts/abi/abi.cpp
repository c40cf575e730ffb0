// The assertions of scripts/abi.sh: what package cuda believes of NVIDIA's
// libraries, held against their headers.
//
// A prototype of ours agrees with a declaration of theirs if each parameter,
// and the result, is passed alike: an enumeration as an integer of its size, a
// pointer as a pointer to the same or to void, everything else as the same
// type. Where our headers know POTSTILL_ABI, they name NVIDIA's own types, so
// that two handles in the wrong order do not agree either.
#define _Alignas alignas // in C11 and C++ the same
#include "../../cuda/driver.h" // before cuda.h, which renames functions by macros
#include "../../cuda/nvrtc.h"

#include <cuda.h>
#include <nvrtc.h>

#include <cublasLt.h>
#include <cudnn.h>
#include <nccl.h>

#define POTSTILL_ABI
#include "../../cuda/cublaslt.h"
#include "../../cuda/cudnn.h"
#include "../../cuda/nccl.h"

#include <cstddef>
#include <cstdio>
#include <type_traits>

template <class Theirs, class Ours> constexpr bool alike() {
    using T = std::remove_cv_t<Theirs>;
    using O = std::remove_cv_t<Ours>;
    if constexpr (std::is_same_v<T, O>) {
        return true;
    } else if constexpr (std::is_pointer_v<T> && std::is_pointer_v<O>) {
        using TP = std::remove_pointer_t<T>;
        using OP = std::remove_pointer_t<O>;
        // Ours may not promise to leave alone what theirs writes.
        if (std::is_const_v<OP> && !std::is_const_v<TP>) return false;
        if constexpr (std::is_void_v<OP> || std::is_void_v<TP>) {
            return std::is_void_v<OP> && !std::is_function_v<TP>;
        } else {
            return alike<TP, OP>();
        }
    } else if constexpr (std::is_enum_v<T> && std::is_integral_v<O>) {
        return sizeof(T) == sizeof(O);
    } else if constexpr (std::is_integral_v<T> && std::is_integral_v<O>) {
        return sizeof(T) == sizeof(O) && std::is_signed_v<T> == std::is_signed_v<O>;
    } else {
        return false;
    }
}

template <class Theirs, class Ours> struct agree : std::false_type {};
template <class TR, class... TA, class OR, class... OA> struct agree<TR (*)(TA...), OR (*)(OA...)> {
    static constexpr bool parameters() {
        if constexpr (sizeof...(TA) == sizeof...(OA)) {
            return (alike<TA, OA>() && ...);
        } else {
            return false;
        }
    }
    static constexpr bool value = parameters() && alike<TR, OR>();
};

static int prototypes, numbers, structs, wrong;

#define PROTOTYPE(name, result, params) \
    static_assert(agree<decltype(&::name), result(*) params>::value, "prototype of " #name); \
    prototypes++;

static void number(const char *name, unsigned long long theirs, unsigned long long ours) {
    numbers++;
    if (theirs != ours) {
        std::fprintf(stderr, "%s is %llu, not %llu\n", name, theirs, ours);
        wrong++;
    }
}

#define FIELD(ours, theirs, field, theirField)                                                             \
    static_assert(offsetof(ours, field) == offsetof(theirs, theirField), "place of " #theirs "." #field); \
    static_assert(sizeof(ours::field) == sizeof(theirs::theirField), "size of " #theirs "." #field);

#define PERF(theirs)                                                        \
    static_assert(sizeof(dnn_perf) == sizeof(theirs), "size of " #theirs);  \
    FIELD(dnn_perf, theirs, algo, algo)                                     \
    FIELD(dnn_perf, theirs, status, status)                                 \
    FIELD(dnn_perf, theirs, time, time)                                     \
    FIELD(dnn_perf, theirs, memory, memory)                                 \
    FIELD(dnn_perf, theirs, determinism, determinism)                       \
    FIELD(dnn_perf, theirs, mathType, mathType)                             \
    FIELD(dnn_perf, theirs, reserved, reserved)                             \
    structs++;

static void launches() {
    static_assert(sizeof(ps_launch_config) == sizeof(CUlaunchConfig), "size of CUlaunchConfig");
    static_assert(offsetof(ps_launch_config, grid) == offsetof(CUlaunchConfig, gridDimX), "place of CUlaunchConfig.gridDimX");
    static_assert(offsetof(ps_launch_config, block) == offsetof(CUlaunchConfig, blockDimX), "place of CUlaunchConfig.blockDimX");
    FIELD(ps_launch_config, CUlaunchConfig, shared, sharedMemBytes)
    FIELD(ps_launch_config, CUlaunchConfig, stream, hStream)
    FIELD(ps_launch_config, CUlaunchConfig, attributes, attrs)
    FIELD(ps_launch_config, CUlaunchConfig, n, numAttrs)
    static_assert(sizeof(ps_launch_attribute) == sizeof(CUlaunchAttribute), "size of CUlaunchAttribute");
    FIELD(ps_launch_attribute, CUlaunchAttribute, id, id)
    FIELD(ps_launch_attribute, CUlaunchAttribute, value, value)
    FIELD(ps_launch_attribute, CUlaunchAttribute, value.programmatic, value.programmaticStreamSerializationAllowed)
    structs += 2;
}

static void driver() {
    launches();
#define X(name, params) PROTOTYPE(name, int, params)
    PS_DRIVER_FUNCTIONS(X)
    PROTOTYPE(cuEventElapsedTime, int, (float *ms, void *start, void *end))
#if CUDA_VERSION >= 12080 // has them all
    PS_DRIVER_OPTIONAL(X)
#endif
    PS_NVRTC_FUNCTIONS(X)
#undef X
#define X(name, result, params) PROTOTYPE(name, result, params)
    PS_NVRTC_OPTIONAL(X)
#undef X
#define CONSTANT(name, value) number(#name, (unsigned long long)(name), value);
#include "constants.inc"
#undef CONSTANT
}

static void libraries() {
#define F(result, name, params) PROTOTYPE(name, result, params)
    DNN_FUNCTIONS(F)
    LT_FUNCTIONS(F)
    NCCL_FUNCTIONS(F)
    NCCL_OPTIONAL(F)
#undef F
#define C(name, value) number(#name, (unsigned long long)(name), value);
    DNN_CONSTANTS(C)
    LT_CONSTANTS(C)
    NCCL_CONSTANTS(C)
#undef C
    PERF(cudnnConvolutionFwdAlgoPerf_t)
    PERF(cudnnConvolutionBwdDataAlgoPerf_t)
    PERF(cudnnConvolutionBwdFilterAlgoPerf_t)
    static_assert(sizeof(lt_algo_layout) == sizeof(cublasLtMatmulAlgo_t), "size of cublasLtMatmulAlgo_t");
    static_assert(sizeof(lt_heuristic_layout) == sizeof(cublasLtMatmulHeuristicResult_t),
                  "size of cublasLtMatmulHeuristicResult_t");
    FIELD(lt_heuristic_layout, cublasLtMatmulHeuristicResult_t, algo, algo)
    FIELD(lt_heuristic_layout, cublasLtMatmulHeuristicResult_t, workspaceSize, workspaceSize)
    FIELD(lt_heuristic_layout, cublasLtMatmulHeuristicResult_t, state, state)
    FIELD(lt_heuristic_layout, cublasLtMatmulHeuristicResult_t, wavesCount, wavesCount)
    structs += 2;
}

int main(int, char **argv) {
    driver();
    int named = numbers;
    libraries();
    if (named < 8 || prototypes < 50) {
        std::fprintf(stderr, "%s: only %d constants and %d prototypes of ours were found\n", argv[1], named, prototypes);
        return 1;
    }
    if (wrong) {
        std::fprintf(stderr, "%s: mismatch\n", argv[1]);
        return 1;
    }
    std::printf("%s: cuda.h %d.%d, cublasLt.h %d.%d.%d, cudnn.h %d.%d.%d, nccl.h %d.%d.%d: %d prototypes, %d constants, %d structs agree\n",
                argv[1], CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10, CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, CUBLAS_VER_PATCH,
                CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL, NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH, prototypes, numbers, structs);
}
