// What all kernels share: number types, reductions. No header is included: the compiler comes alone.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

constexpr u32 WARP = 32;

// The upper half of an f32.
struct bf16 {
    u16 bits;
};

// Activations are of one type on a device; tensors of it are Real.
#ifdef SCOPE_F32
typedef float Real;
#else
typedef bf16 Real;
#endif

__device__ __forceinline__ float widen(float value) { return value; }

__device__ __forceinline__ float widen(bf16 value) { return __uint_as_float((u32)value.bits << 16); }

template <class T>
__device__ __forceinline__ T narrow(float value);

template <>
__device__ __forceinline__ float narrow<float>(float value) { return value; }

// To the nearest, ties to even.
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float value) {
    bf16 out;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
    return out;
}

// Eight numbers that are moved at once; their address is a multiple of their size.
constexpr int PACK = 8;

template <class T>
struct alignas(PACK * sizeof(T)) Pack {
    T values[PACK];
};

__device__ __forceinline__ u64 thread_index() { return blockIdx.x * (u64)blockDim.x + threadIdx.x; }

__device__ __forceinline__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(~0u, value, offset);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(~0u, value, offset));
    return value;
}

// The sum over all threads of a block, in every one of them. `shared` has room for a number of each warp.
__device__ __forceinline__ float block_sum(float value, float* shared) {
    value = warp_sum(value);
    u32 warps = (blockDim.x + WARP - 1) / WARP;
    __syncthreads();
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = value;
    __syncthreads();
    value = 0;
    for (u32 warp = 0; warp < warps; warp++) value += shared[warp];
    return value;
}

__device__ __forceinline__ float block_max(float value, float* shared) {
    value = warp_max(value);
    u32 warps = (blockDim.x + WARP - 1) / WARP;
    __syncthreads();
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = value;
    __syncthreads();
    value = shared[0];
    for (u32 warp = 1; warp < warps; warp++) value = fmaxf(value, shared[warp]);
    return value;
}

// Warps of the largest block.
enum { MAX_WARPS = 32 };

// What is applied to a result; the numbers are those of the host's `activation_code`.
enum Activation { NONE, GELU, GELU_ERF, SILU, RELU, LEAKY_RELU, SIGMOID, TANH };

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

__device__ __forceinline__ float activate(float x, int activation, float slope) {
    switch (activation) {
        case GELU: {
            // tanh y = 2 sigmoid(2 y) - 1
            float y = 0.7978845608028654f * (x + 0.044715f * x * x * x);
            return x * sigmoid(2.0f * y);
        }
        case GELU_ERF: return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
        case SILU: return x * sigmoid(x);
        // Comparisons are false for NaN, which must stay.
        case RELU: return x < 0.0f ? 0.0f : x;
        case LEAKY_RELU: return x < 0.0f ? slope * x : x;
        case SIGMOID: return sigmoid(x);
        case TANH: return tanhf(x);
        default: return x;
    }
}
