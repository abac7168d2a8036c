// Operators on single elements, for every combination of number types that they meet.

// Element types, by the numbers of the host's `kernel_type`.
enum Type { F32, BF16, F16, F8E4M3, U8, I32 };

__device__ float half_to_float(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ u16 float_to_half(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

__device__ float load(u64 address, u64 index, int type) {
    switch (type) {
        case F32: return ((const float*)address)[index];
        case BF16: return widen(((const bf16*)address)[index]);
        case F16: return half_to_float(((const u16*)address)[index]);
        case F8E4M3: return f8_to_float(((const u8*)address)[index]);
        case U8: return (float)((const u8*)address)[index];
        default: return (float)((const int*)address)[index];
    }
}

__device__ void store(u64 address, u64 index, int type, float value) {
    switch (type) {
        case F32: ((float*)address)[index] = value; break;
        case BF16: ((bf16*)address)[index] = narrow<bf16>(value); break;
        case F16: ((u16*)address)[index] = float_to_half(value); break;
        case F8E4M3: ((u8*)address)[index] = float_to_f8(value); break;
        // Integers truncate and saturate; NaN is 0.
        case U8: ((u8*)address)[index] = (u8)fminf(fmaxf(value, 0.0f), 255.0f); break;
        default: ((int*)address)[index] = __float2int_rz(value);
    }
}

// out[i] = x[i] as another type.
extern "C" __global__ void cast(u64 x, u64 out, i64 count, int x_type, int out_type) {
    u64 i = thread_index();
    if (i < count) store(out, i, out_type, load(x, i, x_type));
}

// out[i] = activation(x[i]); out and x are of one type and may be the same.
extern "C" __global__ void activate_all(u64 x, u64 out, i64 count, int type, int activation, float slope) {
    u64 i = thread_index();
    if (i < count) store(out, i, type, activate(load(x, i, type), activation, slope));
}

// out[i] = a · x[i] + b · y[i mod y_count]; out is of the type of x.
extern "C" __global__ void mix(u64 x, u64 y, u64 out, i64 count, i64 y_count, float a, float b, int x_type, int y_type) {
    u64 i = thread_index();
    if (i >= count) return;
    float other = load(y, y_count == count ? i : i % y_count, y_type);
    store(out, i, x_type, fmaf(a, load(x, i, x_type), b * other));
}

// out[i] = x[i] · y[i mod y_count]; out is of the type of x.
extern "C" __global__ void multiply(u64 x, u64 y, u64 out, i64 count, i64 y_count, int x_type, int y_type) {
    u64 i = thread_index();
    if (i < count) store(out, i, x_type, load(x, i, x_type) * load(y, i % y_count, y_type));
}

// out[i] = scale · x[i] + shift between low and high.
extern "C" __global__ void affine_clamped(u64 x, u64 out, i64 count, int type, float scale, float shift, float low, float high) {
    u64 i = thread_index();
    if (i < count) store(out, i, type, fminf(fmaxf(fmaf(load(x, i, type), scale, shift), low), high));
}

// out[i] = scale · x[i] + shift as a byte.
extern "C" __global__ void to_bytes(u64 x, u8* out, i64 count, int type, float scale, float shift) {
    u64 i = thread_index();
    if (i >= count) return;
    // The lower bound comes first: NaN is 0.
    out[i] = (u8)fminf(fmaxf(fmaf(load(x, i, type), scale, shift), 0.0f), 255.0f);
}

// Where in a picture of I420 bytes a block of two by two pixels is, by its number among all.
struct Block {
    // First byte of the picture among all, and first of its three values a pixel.
    i64 bytes, values;
    // Its upper left pixel.
    int row, column;
    // Its chroma samples, counted from the picture's first byte.
    i64 u, v;
};

__device__ __forceinline__ Block block_of(u64 i, int height, int width) {
    int across = (width + 1) / 2, down = (height + 1) / 2;
    i64 pixels = (i64)height * width, samples = (i64)down * across;
    i64 frame = i / samples, sample = i % samples;
    return {
        frame * (pixels + 2 * samples), frame * pixels * 3, (int)(sample / across) * 2, (int)(sample % across) * 2,
        pixels + sample, pixels + samples + sample,
    };
}

// Pictures of three values a pixel as I420 bytes: scale · x + shift becomes a byte as above, and these BT.601 in limited range,
// with the integers of the CPU's operator. A thread for each block of two by two pixels; the last row and column of an odd
// picture stand for those that are missing.
extern "C" __global__ void to_i420(u64 x, u8* out, i64 count, int height, int width, int type, float scale, float shift) {
    u64 i = thread_index();
    if (i >= count) return;
    Block block = block_of(i, height, width);
    u8* picture = out + block.bytes;
    int sums[3] = {2, 2, 2};
    for (int k = 0; k < 4; k++) {
        int row = block.row + k / 2, column = block.column + k % 2;
        int from_row = row < height ? row : height - 1, from_column = column < width ? column : width - 1;
        i64 pixel = (i64)from_row * width + from_column;
        int rgb[3];
        for (int c = 0; c < 3; c++) {
            rgb[c] = (u8)fminf(fmaxf(fmaf(load(x, block.values + pixel * 3 + c, type), scale, shift), 0.0f), 255.0f);
            sums[c] += rgb[c];
        }
        if (row < height && column < width) picture[pixel] = (u8)(((66 * rgb[0] + 129 * rgb[1] + 25 * rgb[2] + 128) >> 8) + 16);
    }
    int r = sums[0] >> 2, g = sums[1] >> 2, b = sums[2] >> 2;
    picture[block.u] = (u8)(((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128);
    picture[block.v] = (u8)(((112 * r - 94 * g - 18 * b + 128) >> 8) + 128);
}

__device__ __forceinline__ u8 saturated(int value) { return (u8)(value < 0 ? 0 : value > 255 ? 255 : value); }

// The way back, with three bytes a pixel: each pixel has the chroma of its block.
extern "C" __global__ void rgb_from_i420(const u8* x, u8* out, i64 count, int height, int width) {
    u64 i = thread_index();
    if (i >= count) return;
    Block block = block_of(i, height, width);
    const u8* picture = x + block.bytes;
    int d = (int)picture[block.u] - 128, e = (int)picture[block.v] - 128;
    int red = 409 * e + 128, green = -100 * d - 208 * e + 128, blue = 516 * d + 128;
    for (int k = 0; k < 4; k++) {
        int row = block.row + k / 2, column = block.column + k % 2;
        if (row >= height || column >= width) continue;
        i64 pixel = (i64)row * width + column;
        int c = 298 * ((int)picture[pixel] - 16);
        u8* target = out + block.values + pixel * 3;
        target[0] = saturated((c + red) >> 8);
        target[1] = saturated((c + green) >> 8);
        target[2] = saturated((c + blue) >> 8);
    }
}

// out[p, c] = x[p, c] · share[p] + y[p, c] · (1 - share[p]).
extern "C" __global__ void blend(u64 x, u64 y, u64 share, u64 out, i64 count, int channels, int x_type, int y_type, int share_type) {
    u64 i = thread_index();
    if (i >= count) return;
    float a = load(x, i, x_type), b = load(y, i, y_type);
    store(out, i, x_type, fmaf(a - b, load(share, i / channels, share_type), b));
}

// out[p, c] = x[p, c] where (mask[p] > 0.5) is `white`, else 0.
extern "C" __global__ void masked(u64 x, u64 mask, u64 out, i64 count, int channels, int white, int type, int mask_type) {
    u64 i = thread_index();
    if (i >= count) return;
    bool keep = (load(mask, i / channels, mask_type) > 0.5f) == (white != 0);
    store(out, i, type, keep ? load(x, i, type) : 0.0f);
}

// The sum over a block of a power of two of threads, in the first of them.
__device__ __forceinline__ double sum_of_block(double sum) {
    __shared__ double sums[MAX_WARPS * WARP];
    sums[threadIdx.x] = sum;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[0];
}

// parts[entry, share] = the sum over a share of the entry's `len` elements of (x - y)². A block for each share, the shares of
// an entry along the second axis of the grid.
extern "C" __global__ void square_differences(u64 x, u64 y, double* parts, i64 len, int x_type, int y_type) {
    double sum = 0;
    u64 first = blockIdx.x * (u64)len, step = (u64)gridDim.y * blockDim.x;
    for (u64 i = blockIdx.y * (u64)blockDim.x + threadIdx.x; i < len; i += step) {
        float difference = load(x, first + i, x_type) - load(y, first + i, y_type);
        sum += (double)(difference * difference);
    }
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) parts[blockIdx.x * (u64)gridDim.y + blockIdx.y] = sum;
}

// out[entry] = the mean over `len` elements, of which `shares` parts are the sums. A block for each entry.
extern "C" __global__ void mean_of_parts(const double* parts, float* out, i64 len, int shares) {
    double sum = 0;
    for (int share = threadIdx.x; share < shares; share += blockDim.x) sum += parts[blockIdx.x * (u64)shares + share];
    sum = sum_of_block(sum);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)(sum / len);
}
