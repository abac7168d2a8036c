// Normalisation over the last dimension; parameters of norms are f32.

// One part of a table [frames, parts, features] for rows that are split evenly among the frames.
struct Modulation {
    const Real* values;
    i64 stride;
    i64 rows_per_frame;

    __device__ const Real* row(u32 row) const { return values + row / (u32)rows_per_frame * stride; }
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
__device__ __forceinline__ float finish(float x, float mean, float deviation, u32 row, int c, const Parameters& p) {
    if (NORM == RMS) return x * deviation * p.weight[c];
    float y = (x - mean) * deviation;
    if (NORM == LAYER_AFFINE) return fmaf(y, p.weight[c], p.bias[c]);
    if (NORM == LAYER_MODULATED) return fmaf(y, 1.0f + widen(p.scale.row(row)[c]), widen(p.shift.row(row)[c]));
    return y;
}

// The parameters of a pack, moved at once.
template <int NORM>
struct PackParameters {
    Pack<float> weight, bias;
    Pack<Real> scale, shift;

    __device__ __forceinline__ PackParameters(u32 row, int first, const Parameters& p) {
        if (NORM == RMS || NORM == LAYER_AFFINE) weight = *(const Pack<float>*)(p.weight + first);
        if (NORM == LAYER_AFFINE) bias = *(const Pack<float>*)(p.bias + first);
        if (NORM == LAYER_MODULATED) {
            scale = *(const Pack<Real>*)(p.scale.row(row) + first);
            shift = *(const Pack<Real>*)(p.shift.row(row) + first);
        }
    }

    __device__ __forceinline__ void finish(const Pack<Real>& x, float mean, float deviation, float (&out)[PACK]) const {
#pragma unroll
        for (int i = 0; i < PACK; i++) {
            float y = NORM == RMS ? widen(x.values[i]) * deviation : (widen(x.values[i]) - mean) * deviation;
            if (NORM == RMS) y *= weight.values[i];
            if (NORM == LAYER_AFFINE) y = fmaf(y, weight.values[i], bias.values[i]);
            if (NORM == LAYER_MODULATED) y = fmaf(y, 1.0f + widen(scale.values[i]), widen(shift.values[i]));
            out[i] = y;
        }
    }
};

template <int NORM>
__device__ __forceinline__ void finish_pack(const Pack<Real>& x, float mean, float deviation, u32 row, int first, const Parameters& p, float (&out)[PACK]) {
    PackParameters<NORM>(row, first, p).finish(x, mean, deviation, out);
}

// Mean (0 for RMS) and reciprocal deviation of the values of which each lane holds some; `each` calls its argument with
// every value of the lane, `sum` adds up over all lanes.
template <int NORM, class Each, class Sum>
__device__ __forceinline__ void statistics(Each each, Sum sum, int features, float eps, float& mean, float& deviation) {
    mean = 0;
    if (NORM != RMS) {
        float part = 0;
        each([&](float x) { part += x; });
        mean = sum(part) / features;
    }
    float squares = 0;
    each([&](float x) { squares += (x - mean) * (x - mean); });
    deviation = rsqrtf(sum(squares) / features + eps);
}

// Rows of any length. A block for each row.
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
    auto sum = [&](float part) { return block_sum(part, shared); };
    statistics<NORM>(each, sum, features, p.eps, mean, deviation);
    for (int c = threadIdx.x; c < features; c += blockDim.x)
        out[c] = narrow<Real>(finish<NORM>(widen(x[c]), mean, deviation, row, c, p));
}

// What happens before and after a normalisation of rows that a team can hold.
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
    int rows;
};

// A pack of the stream that is to be normalised: as it is stored, so that the result is that of two operators.
__device__ __forceinline__ Pack<Real> next_of_stream(const Fused& f, u32 row, int first) {
    u64 at = (u64)row * f.features + first;
    Pack<Real> pack = *(const Pack<Real>*)(f.x + at);
    if (!f.sums) return pack;
    Pack<Real> sums = *(const Pack<Real>*)(f.sums + at);
    Pack<Real> gate = *(const Pack<Real>*)(f.gate.row(row) + first);
#pragma unroll
    for (int i = 0; i < PACK; i++)
        pack.values[i] = narrow<Real>(fmaf(widen(gate.values[i]), widen(sums.values[i]), widen(pack.values[i])));
    *(Pack<Real>*)(f.stream + at) = pack;
    return pack;
}

template <int NORM, bool F8, bool WARP_ROWS>
__device__ __forceinline__ void norm_row_fused(const Fused& f) {
    __shared__ float shared[MAX_WARPS];
    Team<WARP_ROWS> team(shared);
    if (team.row >= f.rows) return;
    int packs = f.features / PACK;
    u64 begin = (u64)team.row * f.features;
    Pack<Real> held[ROW_PACKS];
    team.each(packs, [&](int n, int pack) { held[n] = next_of_stream(f, team.row, pack * PACK); });
    float mean, deviation;
    auto each = [&](auto visit) {
        team.each(packs, [&](int n, int) {
#pragma unroll
            for (int i = 0; i < PACK; i++) visit(widen(held[n].values[i]));
        });
    };
    auto sum = [&](float part) { return team.sum(part); };
    statistics<NORM>(each, sum, f.features, f.norm.eps, mean, deviation);
    float scale = 1;
    if (F8) {
        if (f.scales) {
            float largest = 0;
            team.each(packs, [&](int n, int pack) {
                float values[PACK];
                finish_pack<NORM>(held[n], mean, deviation, team.row, pack * PACK, f.norm, values);
#pragma unroll
                for (int i = 0; i < PACK; i++) largest = fmaxf(largest, fabsf(values[i]));
            });
            scale = f8_scale(team.max(largest));
            if (team.lane == 0) f.scales[team.row] = scale;
        } else {
            scale = f.fixed[0];
        }
    }
    team.each(packs, [&](int n, int pack) {
        float values[PACK];
        finish_pack<NORM>(held[n], mean, deviation, team.row, pack * PACK, f.norm, values);
        u64 at = begin + pack * PACK;
        if (F8) {
            store_f8((u8*)f.out + at, 1.0f / scale, [&](int i) { return values[i]; });
        } else {
#pragma unroll
            for (int i = 0; i < PACK; i++) held[n].values[i] = narrow<Real>(values[i]);
            *(Pack<Real>*)((Real*)f.out + at) = held[n];
        }
    });
}

// Mean of values and their summed squared distances from it.
struct Moments {
    float mean;
    float squares;
};

// Those of a pack of every thread of a block, put together as Chan, Golub and LeVeque (1979) do. `shared` has room for those of each warp, and
// is not that of the call before.
__device__ __forceinline__ Moments block_moments(const Pack<Real>& pack, Moments* shared) {
    Moments own = {0, 0};
#pragma unroll
    for (int i = 0; i < PACK; i++) own.mean += widen(pack.values[i]);
    own.mean /= PACK;
#pragma unroll
    for (int i = 0; i < PACK; i++) own.squares += (widen(pack.values[i]) - own.mean) * (widen(pack.values[i]) - own.mean);
    float count = PACK;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        float mean = __shfl_xor_sync(~0u, own.mean, offset), squares = __shfl_xor_sync(~0u, own.squares, offset);
        float apart = mean - own.mean;
        own.squares += squares + apart * apart * (0.5f * count);
        own.mean = 0.5f * (own.mean + mean);
        count *= 2;
    }
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = own;
    __syncthreads();
    u32 warps = blockDim.x / WARP;
    Moments all = {0, 0};
    for (u32 warp = 0; warp < warps; warp++) all.mean += shared[warp].mean;
    all.mean /= warps;
    for (u32 warp = 0; warp < warps; warp++) {
        float apart = shared[warp].mean - all.mean;
        all.squares += shared[warp].squares + count * apart * apart;
    }
    return all;
}

// The same as norm_row_fused, and faster where a row is as many packs as a block has threads: a block goes from row to row, each thread with
// the same columns, and the next row is on its way while one is normalised. Scales of rows are not made here.
template <int NORM, bool F8>
__device__ __forceinline__ void norm_rows_in_turn(const Fused& f) {
    __shared__ Moments shared[2][MAX_WARPS];
    const int first = threadIdx.x * PACK;
    const float inverse = F8 ? 1.0f / f.fixed[0] : 1.0f;
    u32 row = blockIdx.x;
    Pack<Real> x, sums;
    auto fetch = [&](u32 row) {
        u64 at = (u64)row * f.features + first;
        x = *(const Pack<Real>*)(f.x + at);
        if (f.sums) sums = *(const Pack<Real>*)(f.sums + at);
    };
    fetch(row);
    for (int turn = 0; row < f.rows; row += gridDim.x, turn ^= 1) {
        u64 at = (u64)row * f.features + first;
        Pack<Real> held = x;
        if (f.sums) {
            Pack<Real> gate = *(const Pack<Real>*)(f.gate.row(row) + first);
#pragma unroll
            for (int i = 0; i < PACK; i++)
                held.values[i] = narrow<Real>(fmaf(widen(gate.values[i]), widen(sums.values[i]), widen(held.values[i])));
            *(Pack<Real>*)(f.stream + at) = held;
        }
        // All that comes from memory is on its way before the block waits for its sums.
        PackParameters<NORM> parameters(row, first, f.norm);
        if (row + gridDim.x < f.rows) fetch(row + gridDim.x);
        Moments all = block_moments(held, shared[turn]);
        // The mean square is the variance and the square of the mean.
        float square = all.squares / f.features + (NORM == RMS ? all.mean * all.mean : 0.0f);
        float values[PACK];
        parameters.finish(held, all.mean, rsqrtf(square + f.norm.eps), values);
        if (F8) {
            store_f8((u8*)f.out + at, inverse, [&](int i) { return values[i]; });
        } else {
#pragma unroll
            for (int i = 0; i < PACK; i++) held.values[i] = narrow<Real>(values[i]);
            *(Pack<Real>*)((Real*)f.out + at) = held;
        }
    }
}

// Rows of any length, and those that a warp or a block can hold, as they are or in e4m3. The numbers of threads and blocks of the rows in turn
// stand in `ops::norm`, too.
#define NORM_KERNELS(name, NORM)                                                                                     \
    extern "C" __global__ void name(const Real* x, Real* out, int features, Parameters p) {                          \
        norm_row<NORM>(x, out, features, p);                                                                         \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) name##_fused(Fused f) { norm_row_fused<NORM, false, true>(f); }  \
    extern "C" __global__ void __launch_bounds__(256) name##_f8(Fused f) { norm_row_fused<NORM, true, true>(f); }       \
    extern "C" __global__ void __launch_bounds__(192, 6) name##_in_turn(Fused f) { norm_rows_in_turn<NORM, false>(f); }          \
    extern "C" __global__ void __launch_bounds__(192, 6) name##_in_turn_f8(Fused f) { norm_rows_in_turn<NORM, true>(f); }       \
    extern "C" __global__ void __launch_bounds__(1024, 1) name##_long_fused(Fused f) { norm_row_fused<NORM, false, false>(f); } \
    extern "C" __global__ void __launch_bounds__(1024, 1) name##_long_f8(Fused f) { norm_row_fused<NORM, true, false>(f); }

NORM_KERNELS(layer_norm, LAYER)
NORM_KERNELS(layer_norm_affine, LAYER_AFFINE)
NORM_KERNELS(layer_norm_modulated, LAYER_MODULATED)
NORM_KERNELS(rms_norm, RMS)

// Packs of a pixel that one lane holds, at most: 1024 channels to a warp.
constexpr int LANE_PACKS = 4;

// Each pixel's channels over their Euclidean length, times sqrt(channels) · gamma, then SiLU if asked for. `lanes` lanes
// (a power of two up to 32) share a pixel and hold HELD packs each.
template <int HELD>
__device__ __forceinline__ void channel_norm_held(const Real* x, Real* out, const float* gamma, i64 pixels, int channels, int lanes, int silu) {
    int lane = threadIdx.x % lanes, packs = channels / PACK;
    i64 groups = (u64)gridDim.x * blockDim.x / lanes, pixel = thread_index() / lanes;
    float factors[HELD][PACK];
#pragma unroll
    for (int n = 0; n < HELD; n++) {
        int pack = lane + n * lanes;
        Pack<float> eight = {};
        if (pack < packs) eight = *(const Pack<float>*)(gamma + pack * PACK);
#pragma unroll
        for (int i = 0; i < PACK; i++) factors[n][i] = eight.values[i];
    }
    float root = sqrtf((float)channels);
    // As many rounds for all lanes of a warp: they exchange sums.
    for (i64 first = pixel - pixel % (WARP / lanes); first < pixels; first += groups) {
        i64 at = first + pixel % (WARP / lanes);
        bool inside = at < pixels;
        Pack<Real> held[HELD];
        float squares = 0;
#pragma unroll
        for (int n = 0; n < HELD; n++) {
            int pack = lane + n * lanes;
            if (!inside || pack >= packs) continue;
            held[n] = ((const Pack<Real>*)(x + at * channels))[pack];
#pragma unroll
            for (int i = 0; i < PACK; i++) squares += widen(held[n].values[i]) * widen(held[n].values[i]);
        }
        for (int offset = lanes / 2; offset > 0; offset /= 2) squares += __shfl_xor_sync(~0u, squares, offset);
        float scale = root / fmaxf(sqrtf(squares), 1e-12f);
#pragma unroll
        for (int n = 0; n < HELD; n++) {
            int pack = lane + n * lanes;
            if (!inside || pack >= packs) continue;
#pragma unroll
            for (int i = 0; i < PACK; i++) {
                float y = widen(held[n].values[i]) * scale * factors[n][i];
                held[n].values[i] = narrow<Real>(silu ? y * sigmoid(y) : y);
            }
            ((Pack<Real>*)(out + at * channels))[pack] = held[n];
        }
    }
}

// Channels are a multiple of PACK and at most lanes · LANE_PACKS · PACK.
extern "C" __global__ void __launch_bounds__(256) channel_norm_packed(const Real* x, Real* out, const float* gamma, i64 pixels, int channels, int lanes, int silu) {
    switch ((channels / PACK + lanes - 1) / lanes) {
        case 1: return channel_norm_held<1>(x, out, gamma, pixels, channels, lanes, silu);
        case 2: return channel_norm_held<2>(x, out, gamma, pixels, channels, lanes, silu);
        case 3: return channel_norm_held<3>(x, out, gamma, pixels, channels, lanes, silu);
        default: return channel_norm_held<LANE_PACKS>(x, out, gamma, pixels, channels, lanes, silu);
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
    float factor = widen(gate.row((u32)(i / features))[i % features]);
    out[i] = narrow<Real>(fmaf(factor, widen(sums[i]), widen(residual[i])));
}

// The same for features that are a multiple of PACK; `count` is that of packs.
extern "C" __global__ void add_gated_packed(const Real* residual, const Real* sums, Real* out, i64 count, int features, Modulation gate) {
    u64 i = thread_index();
    if (i >= count) return;
    int packs = features / PACK;
    Pack<Real> old = ((const Pack<Real>*)residual)[i], sum = ((const Pack<Real>*)sums)[i];
    Pack<Real> factor = ((const Pack<Real>*)gate.row((u32)(i / packs)))[i % packs];
    for (int n = 0; n < PACK; n++)
        old.values[n] = narrow<Real>(fmaf(widen(factor.values[n]), widen(sum.values[n]), widen(old.values[n])));
    ((Pack<Real>*)out)[i] = old;
}
