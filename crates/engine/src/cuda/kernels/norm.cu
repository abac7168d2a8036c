// Normalisation over the last dimension. A block for each row, or for short rows a warp; parameters are f32.

// One part of a table [frames, parts, features] for rows that are split evenly among the frames.
struct Modulation {
    const Real* values;
    i64 stride;
    i64 rows_per_frame;

    __device__ const Real* row(u64 row) const { return values + row / rows_per_frame * stride; }
};

enum Norm { LAYER, LAYER_AFFINE, LAYER_MODULATED, RMS };

struct Parameters {
    const float* weight;
    const float* bias;
    Modulation scale;
    Modulation shift;
    float eps;
};

template <int NORM>
__device__ __forceinline__ float finish(float x, float mean, float deviation, u64 row, int c, const Parameters& p) {
    if (NORM == RMS) return x * deviation * p.weight[c];
    float y = (x - mean) * deviation;
    if (NORM == LAYER_AFFINE) return fmaf(y, p.weight[c], p.bias[c]);
    if (NORM == LAYER_MODULATED) return fmaf(y, 1.0f + widen(p.scale.row(row)[c]), widen(p.shift.row(row)[c]));
    return y;
}

// Mean (0 for RMS) and reciprocal deviation of the values of which each thread holds some; `each` calls its argument with
// every value of the thread.
template <int NORM, class Each>
__device__ __forceinline__ void statistics(Each each, int features, float eps, float* shared, float& mean, float& deviation) {
    mean = 0;
    if (NORM != RMS) {
        float sum = 0;
        each([&](float x) { sum += x; });
        mean = block_sum(sum, shared) / features;
    }
    float squares = 0;
    each([&](float x) { squares += (x - mean) * (x - mean); });
    deviation = rsqrtf(block_sum(squares, shared) / features + eps);
}

// Rows of any length.
template <int NORM>
__device__ void norm_row(const Real* x, Real* out, int features, const Parameters& p) {
    __shared__ float shared[MAX_WARPS];
    u64 row = blockIdx.x;
    x += row * features;
    out += row * features;
    float mean, deviation;
    auto each = [&](auto visit) {
        for (int c = threadIdx.x; c < features; c += blockDim.x) visit(widen(x[c]));
    };
    statistics<NORM>(each, features, p.eps, shared, mean, deviation);
    for (int c = threadIdx.x; c < features; c += blockDim.x)
        out[c] = narrow<Real>(finish<NORM>(widen(x[c]), mean, deviation, row, c, p));
}

// Rows of a pack for each thread of the block, at most: they are read once.
template <int NORM>
__device__ void norm_row_packed(const Real* x, Real* out, int features, const Parameters& p) {
    __shared__ float shared[MAX_WARPS];
    u64 row = blockIdx.x;
    int first = threadIdx.x * PACK;
    bool inside = first < features;
    Pack<Real> pack;
    if (inside) pack = *(const Pack<Real>*)(x + row * features + first);
    float mean, deviation;
    auto each = [&](auto visit) {
        if (inside)
            for (int i = 0; i < PACK; i++) visit(widen(pack.values[i]));
    };
    statistics<NORM>(each, features, p.eps, shared, mean, deviation);
    if (!inside) return;
    for (int i = 0; i < PACK; i++)
        pack.values[i] = narrow<Real>(finish<NORM>(widen(pack.values[i]), mean, deviation, row, first + i, p));
    *(Pack<Real>*)(out + row * features + first) = pack;
}

#define NORM_KERNELS(name, NORM)                                                                                   \
    extern "C" __global__ void name(const Real* x, Real* out, int features, Parameters p) {                       \
        norm_row<NORM>(x, out, features, p);                                                                        \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(1024) name##_packed(const Real* x, Real* out, int features, Parameters p) { \
        norm_row_packed<NORM>(x, out, features, p);                                                                 \
    }

NORM_KERNELS(layer_norm, LAYER)
NORM_KERNELS(layer_norm_affine, LAYER_AFFINE)
NORM_KERNELS(layer_norm_modulated, LAYER_MODULATED)
NORM_KERNELS(rms_norm, RMS)

// What happens before and after a normalisation of rows of at most a pack for each thread of the block.
struct Fused {
    const Real* x;
    // Added to x first, times the gate of the row's frame; null if there is nothing to add.
    const Real* sums;
    // Where the sum of both goes, which may be x.
    Real* stream;
    void* out;
    // One for each row of a result in e4m3, or null: then all rows have fixed[0].
    float* scales;
    const float* fixed;
    Modulation gate;
    Parameters norm;
    int features;
};

// The pack of the stream that is to be normalised: as it is stored, so that the result is that of two operators.
__device__ __forceinline__ Pack<Real> next_of_stream(const Fused& f, u64 row, int first) {
    u64 at = row * f.features + first;
    Pack<Real> pack = *(const Pack<Real>*)(f.x + at);
    if (!f.sums) return pack;
    Pack<Real> sums = *(const Pack<Real>*)(f.sums + at);
    Pack<Real> gate = *(const Pack<Real>*)(f.gate.row(row) + first);
    for (int i = 0; i < PACK; i++)
        pack.values[i] = narrow<Real>(fmaf(widen(gate.values[i]), widen(sums.values[i]), widen(pack.values[i])));
    *(Pack<Real>*)(f.stream + at) = pack;
    return pack;
}

template <int NORM, bool F8>
__device__ __forceinline__ void norm_row_fused(const Fused& f) {
    __shared__ float shared[MAX_WARPS];
    u64 row = blockIdx.x;
    int first = threadIdx.x * PACK;
    bool inside = first < f.features;
    Pack<Real> pack;
    if (inside) pack = next_of_stream(f, row, first);
    float mean, deviation;
    auto each = [&](auto visit) {
        if (inside)
            for (int i = 0; i < PACK; i++) visit(widen(pack.values[i]));
    };
    statistics<NORM>(each, f.features, f.norm.eps, shared, mean, deviation);
    float values[PACK], largest = 0;
    if (inside) {
        for (int i = 0; i < PACK; i++) {
            values[i] = finish<NORM>(widen(pack.values[i]), mean, deviation, row, first + i, f.norm);
            largest = fmaxf(largest, fabsf(values[i]));
        }
    }
    u64 at = row * f.features + first;
    if (F8) {
        float scale = f.scales ? f8_scale(block_max(largest, shared)) : f.fixed[0];
        if (f.scales && threadIdx.x == 0) f.scales[row] = scale;
        if (inside) store_f8((u8*)f.out + at, 1.0f / scale, [&](int i) { return values[i]; });
    } else if (inside) {
        for (int i = 0; i < PACK; i++) pack.values[i] = narrow<Real>(values[i]);
        *(Pack<Real>*)((Real*)f.out + at) = pack;
    }
}

#define FUSED_KERNELS(name, NORM)                                                                                    \
    extern "C" __global__ void __launch_bounds__(1024, 1) name##_fused(Fused f) { norm_row_fused<NORM, false>(f); }       \
    extern "C" __global__ void __launch_bounds__(1024, 1) name##_f8(Fused f) { norm_row_fused<NORM, true>(f); }

FUSED_KERNELS(layer_norm, LAYER)
FUSED_KERNELS(layer_norm_affine, LAYER_AFFINE)
FUSED_KERNELS(layer_norm_modulated, LAYER_MODULATED)

// Packs of a pixel that one lane holds, at most: 1024 channels to a warp.
constexpr int LANE_PACKS = 4;

// Each pixel's channels over their Euclidean length, times sqrt(channels) · gamma, then SiLU if asked for. `lanes` lanes
// (a power of two up to 32) share a pixel; channels are a multiple of PACK and at most lanes · LANE_PACKS · PACK.
extern "C" __global__ void channel_norm_packed(const Real* x, Real* out, const float* gamma, i64 pixels, int channels, int lanes, int silu) {
    i64 pixel = thread_index() / lanes;
    int lane = threadIdx.x % lanes;
    bool inside = pixel < pixels;
    int packs = channels / PACK;
    Pack<Real> held[LANE_PACKS];
    float squares = 0;
#pragma unroll
    for (int n = 0; n < LANE_PACKS; n++) {
        int pack = lane + n * lanes;
        if (!inside || pack >= packs) continue;
        held[n] = ((const Pack<Real>*)(x + pixel * channels))[pack];
        for (int i = 0; i < PACK; i++) squares += widen(held[n].values[i]) * widen(held[n].values[i]);
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2) squares += __shfl_xor_sync(~0u, squares, offset);
    float scale = sqrtf((float)channels) / fmaxf(sqrtf(squares), 1e-12f);
#pragma unroll
    for (int n = 0; n < LANE_PACKS; n++) {
        int pack = lane + n * lanes;
        if (!inside || pack >= packs) continue;
        for (int i = 0; i < PACK; i++) {
            float y = widen(held[n].values[i]) * scale * gamma[pack * PACK + i];
            held[n].values[i] = narrow<Real>(silu ? y * sigmoid(y) : y);
        }
        ((Pack<Real>*)(out + pixel * channels))[pack] = held[n];
    }
}

// The same for any number of channels; a warp for each pixel.
extern "C" __global__ void channel_norm(const Real* x, Real* out, const float* gamma, i64 pixels, int channels, int silu) {
    i64 pixel = thread_index() / WARP;
    int lane = threadIdx.x % WARP;
    if (pixel >= pixels) return;
    x += pixel * channels;
    out += pixel * channels;
    float squares = 0;
    for (int c = lane; c < channels; c += WARP) squares += widen(x[c]) * widen(x[c]);
    float scale = sqrtf((float)channels) / fmaxf(sqrtf(warp_sum(squares)), 1e-12f);
    for (int c = lane; c < channels; c += WARP) {
        float y = widen(x[c]) * scale * gamma[c];
        out[c] = narrow<Real>(silu ? y * sigmoid(y) : y);
    }
}

// out = residual + gate · sums, with the gate of each row's frame; out may be the residual.
extern "C" __global__ void add_gated(const Real* residual, const Real* sums, Real* out, i64 count, int features, Modulation gate) {
    u64 i = thread_index();
    if (i >= count) return;
    float factor = widen(gate.row(i / features)[i % features]);
    out[i] = narrow<Real>(fmaf(factor, widen(sums[i]), widen(residual[i])));
}

// The same for features that are a multiple of PACK; `count` is that of packs.
extern "C" __global__ void add_gated_packed(const Real* residual, const Real* sums, Real* out, i64 count, int features, Modulation gate) {
    u64 i = thread_index();
    if (i >= count) return;
    int packs = features / PACK;
    Pack<Real> old = ((const Pack<Real>*)residual)[i], sum = ((const Pack<Real>*)sums)[i];
    Pack<Real> factor = ((const Pack<Real>*)gate.row(i / packs))[i % packs];
    for (int n = 0; n < PACK; n++)
        old.values[n] = narrow<Real>(fmaf(widen(factor.values[n]), widen(sum.values[n]), widen(old.values[n])));
    ((Pack<Real>*)out)[i] = old;
}
