// What the convolution kernels share: the job's description, and the end of every output element.
//
// The host puts this text in front of conv.cu, or of hopper.cu and conv_sm90.cu or conv_few_sm90.cu; it is no program
// by itself.
//
// The contract (crate::ops::conv is the operator):
//
//   out = activation(kernel * x + bias + residual)
//
// Pictures are channels-last: x is [frames, height, width, channels], past is [past_frames, height, width, channels]
// and holds the frames right before x; what came before those is zero. A kernel reads `kernel_frames` x `taps_y` x
// `taps_x` pixels. Kernel (position, row, column) of a phase begins at frame
// `position * frame_stride - before`, line `row * stride + origin[0][line phase]` and column
// `column * stride + origin[1][column phase]`.
//
// A result twice the size of its input (doubled pixels, transposed convolution) comes from scale * scale = 4
// phases, each a small kernel that makes every second pixel of every second line: output line `row * scale + line
// phase`, column likewise. A result with more frames than kernel positions comes from `groups` kernels: output
// frame `position * groups + group`. Weights are a matrix with one row of `pitch` elements for each (group, line
// phase, column phase, output channel), and in a row [kernel_frames, taps_y, taps_x, channels].
//
// Pointers are aligned to 16 bytes. `out` overlaps nothing.
//
// Defines: ACTIVATION (the only one, where it is known; else that of the job), SCOPE_F32 (everything in float; conv.cu only).

typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef SCOPE_F32
typedef float Value;
#else
typedef bf16 Value;
#endif

// In the order of crate::ops::Activation.
#define GELU 1
#define GELU_ERF 2
#define SILU 3
#define RELU 4
#define LEAKY_RELU 5
#define SIGMOID 6
#define TANH 7

struct Conv {
    const Value* x;         // byte 0
    const Value* past;      // 8: null without past frames
    const Value* weights;   // 16
    const float* bias;      // 24: [groups * outputs], or null
    const Value* residual;  // 32: of the result's shape, or null
    Value* out;             // 40
    int frames;             // 48
    int past_frames;        // 52
    int height;             // 56
    int width;              // 60
    int channels;           // 64
    int before;             // 68
    int frame_stride;       // 72
    int stride;             // 76
    int activation;         // 80: of crate::ops::Activation
    int kernel_frames;      // 84
    int taps_y;             // 88
    int taps_x;             // 92
    int origin[2][2];       // 96: of lines by line phase, of columns by column phase
    int scale;              // 112: 1 or 2
    int groups;             // 116
    int positions;          // 120: kernels in time
    int rows;               // 124: kernels in a column of the picture, for each phase
    int columns;            // 128: kernels in a line
    int outputs;            // 132: channels of the result
    int pitch;              // 136: elements from one row of weights to the next
    float slope;            // 140: of LEAKY_RELU
};  // 144 bytes

// Which of the kernels that share a position in time a block works on.
struct Phase {
    int group, line, column;
};

__device__ __forceinline__ Phase phase_of(const Conv& job, int index) {
    Phase phase;
    phase.column = index % job.scale;
    index /= job.scale;
    phase.line = index % job.scale;
    phase.group = index / job.scale;
    return phase;
}

// The first of a kernel's frames that is not all zero. Those before it are; those behind it are not.
__device__ __forceinline__ int first_tap(const Conv& job, int position) {
    int tap = job.before - job.past_frames - position * job.frame_stride;
    return min(max(tap, 0), job.kernel_frames);
}

// Where a kernel's result goes, in elements from the start of the output (and of the residual).
__device__ __forceinline__ long long output_at(const Conv& job, int position, const Phase& phase, int row, int column) {
    long long frame = (long long)position * job.groups + phase.group;
    long long line = frame * (job.rows * job.scale) + row * job.scale + phase.line;
    return (line * (job.columns * job.scale) + column * job.scale + phase.column) * job.outputs;
}

__device__ __forceinline__ float activate(float x, int activation, float slope) {
#ifdef ACTIVATION
    activation = ACTIVATION;
#endif
#ifdef SCOPE_F32
    const float sigmoid = 1.0f / (1.0f + expf(-x));
    const float hyperbolic = tanhf(x);
#else
    const float sigmoid = __fdividef(1.0f, 1.0f + __expf(-x));
    float hyperbolic;
    asm("tanh.approx.f32 %0, %1;" : "=f"(hyperbolic) : "f"(x));
#endif
    // GELU: 0.5 (1 + tanh(y)) is sigmoid(2 y).
    const float twice_y = 2.0f * 0.7978845608028654f * (x + 0.044715f * x * x * x);
    switch (activation) {
#ifdef SCOPE_F32
        case GELU:
            return x / (1.0f + expf(-twice_y));
#else
        case GELU:
            return __fdividef(x, 1.0f + __expf(-twice_y));
#endif
        case GELU_ERF:
            return 0.5f * x * (1.0f + erff(x * 0.7071067811865476f));
        case SILU:
            return x * sigmoid;
        case RELU:
            return fmaxf(x, 0.0f);
        case LEAKY_RELU:
            return x >= 0.0f ? x : slope * x;
        case SIGMOID:
            return sigmoid;
        case TANH:
            return hyperbolic;
        default:
            return x;
    }
}

__device__ __forceinline__ float widen(float value) {
    return value;
}
__device__ __forceinline__ float widen(bf16 value) {
    return __uint_as_float((u32)value << 16);
}

__device__ __forceinline__ void store(float* to, float value) {
    *to = value;
}
__device__ __forceinline__ void store(bf16* to, float value) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(*to) : "f"(value));
}

// What a sum starts from: the bias of a channel.
__device__ __forceinline__ float bias_of(const Conv& job, int group, int channel) {
    return job.bias && channel < job.outputs ? __ldg(job.bias + group * job.outputs + channel) : 0.0f;
}

// One output element.
__device__ __forceinline__ void finish(const Conv& job, long long at, int channel, float sum) {
    if (channel >= job.outputs) return;
    if (job.residual) sum += widen(job.residual[at + channel]);
    store(&job.out[at + channel], activate(sum, job.activation, job.slope));
}

#ifndef SCOPE_F32
// Rounds two numbers; `low` comes first in memory.
__device__ __forceinline__ u32 pack(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Eight bytes that nobody writes, or zeros. Reading starts here: volatile instructions keep their order.
__device__ __forceinline__ uint2 load_if(bool wanted, const Value* from) {
    uint2 pairs;
    asm volatile(
        "{\n"
        ".reg .pred wanted;\n"
        "setp.ne.b32 wanted, %3, 0;\n"
        "mov.b32 %0, 0;\n"
        "mov.b32 %1, 0;\n"
        "@wanted ld.global.nc.v2.b32 {%0, %1}, [%2];\n"
        "}"
        : "=&r"(pairs.x), "=&r"(pairs.y)
        : "l"(from), "r"((int)wanted));
    return pairs;
}

__device__ __forceinline__ void store_if(bool wanted, Value* to, u32 low, u32 high) {
    asm volatile(
        "{\n"
        ".reg .pred wanted;\n"
        "setp.ne.b32 wanted, %3, 0;\n"
        "@wanted st.global.v2.b32 [%0], {%1, %2};\n"
        "}" ::"l"(to),
        "r"(low), "r"(high), "r"((int)wanted)
        : "memory");
}

// The end of COUNT channels, a multiple of 16, of eight pixels, as the tensor cores leave them in a warp: of the
// eights of channels, lane l has channels 2 (l % 4) and the next, of pixel l / 4.
template <int COUNT>
struct Finish {
    long long at;  // of the lane's pixel in the result; negative outside
    int channel;   // of all, the first
    uint2 residual[COUNT / 16];

    // Of the lane's first four channels in run().
    __device__ __forceinline__ int first() const { return channel + threadIdx.x % 2 * 8 + threadIdx.x % 4 / 2 * 4; }

    // Starts reading the residual, well before it is needed.
    __device__ __forceinline__ void load(const Conv& job) {
        const bool wanted = job.residual && at >= 0 && job.outputs % 4 == 0;
#pragma unroll
        for (int i = 0; i < COUNT / 16; ++i)
            residual[i] = load_if(wanted && first() + i * 16 < job.outputs, job.residual + at + first() + i * 16);
    }

    // Channels 16 i to 16 i + 15 and their residual: the lane's pair of the first eight and its pair of the second.
    // Neighbouring lanes trade pairs, so that each has four channels, from first() + 16 i.
    __device__ __forceinline__ void gather(int i, float first0, float first1, float second0, float second1,
                                           float (&sums)[4]) const {
        const bool odd = threadIdx.x % 2;
        const float got0 = __shfl_xor_sync(0xffffffffu, odd ? first0 : second0, 1);
        const float got1 = __shfl_xor_sync(0xffffffffu, odd ? first1 : second1, 1);
        sums[0] = odd ? got0 : first0, sums[1] = odd ? got1 : first1;
        sums[2] = odd ? second0 : got0, sums[3] = odd ? second1 : got1;
        sums[0] += __uint_as_float(residual[i].x << 16), sums[1] += __uint_as_float(residual[i].x & 0xffff0000u);
        sums[2] += __uint_as_float(residual[i].y << 16), sums[3] += __uint_as_float(residual[i].y & 0xffff0000u);
    }

    // The end of these: each lane stores eight bytes, and four lanes fill a sector of 32.
    __device__ __forceinline__ void run(const Conv& job, int i, float first0, float first1, float second0,
                                        float second1) const {
        float sums[4];
        gather(i, first0, first1, second0, second1, sums);
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[j] = activate(sums[j], job.activation, job.slope);
        const int to = first() + i * 16;
        store_if(at >= 0 && to < job.outputs, job.out + at + to, pack(sums[0], sums[1]), pack(sums[2], sums[3]));
    }

    // The same one by one, where the result's channels are no multiple of four.
    __device__ __forceinline__ void run_single(const Conv& job, int i, float first0, float first1, float second0,
                                               float second1) const {
        const int pair = channel + i * 16 + threadIdx.x % 4 * 2;
        if (at < 0) return;
        finish(job, at, pair, first0);
        finish(job, at, pair + 1, first1);
        finish(job, at, pair + 8, second0);
        finish(job, at, pair + 9, second1);
    }
};
#endif
