// Rounding to e4m3 under a scale for each row, for all numbers, or one that was known before; and back.
// Every variant divides by multiplying with the reciprocal of the scale, as the CPU does: the bytes are the same.

// out[row] = x[row] / scales[row], with a row's largest magnitude over 448 as its scale. A block for each row.
extern "C" __global__ void quantise_rows(const Real* x, u8* out, float* scales, int features) {
    __shared__ float shared[MAX_WARPS];
    u64 row = blockIdx.x;
    x += row * features;
    out += row * features;
    float largest = 0;
    for (int c = threadIdx.x; c < features; c += blockDim.x) largest = fmaxf(largest, fabsf(widen(x[c])));
    float scale = f8_scale(block_max(largest, shared));
    if (threadIdx.x == 0) scales[row] = scale;
    float factor = 1.0f / scale;
    for (int c = threadIdx.x; c < features; c += blockDim.x) out[c] = (u8)floats_to_f8(widen(x[c]) * factor, 0.0f);
}

// The same for rows of a pack for each thread of the block, at most: they are read once.
extern "C" __global__ void __launch_bounds__(1024) quantise_rows_packed(const Real* x, u8* out, float* scales, int features) {
    __shared__ float shared[MAX_WARPS];
    u64 row = blockIdx.x;
    int first = threadIdx.x * PACK;
    bool inside = first < features;
    Pack<Real> pack;
    float largest = 0;
    if (inside) {
        pack = *(const Pack<Real>*)(x + row * features + first);
        for (int i = 0; i < PACK; i++) largest = fmaxf(largest, fabsf(widen(pack.values[i])));
    }
    float scale = f8_scale(block_max(largest, shared));
    if (threadIdx.x == 0) scales[row] = scale;
    if (inside) store_f8(out + row * features + first, 1.0f / scale, [&](int i) { return widen(pack.values[i]); });
}

// largest[0] = the larger of itself and every magnitude of x: the bits of numbers that are not negative are ordered as they.
extern "C" __global__ void largest_magnitude(const Real* x, u32* largest, i64 count) {
    __shared__ float shared[MAX_WARPS];
    float mine = 0;
    for (u64 i = thread_index(); i < count; i += (u64)gridDim.x * blockDim.x) mine = fmaxf(mine, fabsf(widen(x[i])));
    mine = block_max(mine, shared);
    if (threadIdx.x == 0) atomicMax(largest, __float_as_uint(mine));
}

// Every one of `count` scales = that of numbers whose largest magnitude is largest[0], or the power of two that is not below it.
extern "C" __global__ void scale_of_largest(const float* largest, float* scales, int count, int power) {
    u64 i = thread_index();
    if (i >= count) return;
    u32 bits = __float_as_uint(f8_scale(largest[0]));
    if (power && (bits & 0x7fffff)) bits = (bits & 0xff800000) + 0x800000;
    scales[i] = __uint_as_float(bits);
}

// out = x / scale[0].
extern "C" __global__ void quantise_all(const Real* x, u8* out, const float* scale, i64 count) {
    u64 i = thread_index();
    if (i < count) out[i] = (u8)floats_to_f8(widen(x[i]) * (1.0f / scale[0]), 0.0f);
}

// The same; `count` is that of packs.
extern "C" __global__ void quantise_all_packed(const Real* x, u8* out, const float* scale, i64 count) {
    u64 i = thread_index();
    if (i >= count) return;
    Pack<Real> pack = ((const Pack<Real>*)x)[i];
    store_f8(out + i * PACK, 1.0f / scale[0], [&](int n) { return widen(pack.values[n]); });
}

// out = x · scale · factor; a scale for each row of `features`, or one for all rows of `count` elements.
extern "C" __global__ void dequantise(const u8* x, const float* scales, Real* out, i64 count, i64 features, float factor) {
    u64 i = thread_index();
    if (i < count) out[i] = narrow<Real>(f8_to_float(x[i]) * (scales[i / features] * factor));
}
