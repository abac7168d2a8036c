// Resizing pictures and moving their pixels.

// The two source pixels of a target pixel along one axis, and the share of the second.
struct Tap {
    int first, second;
    float share;
};

__device__ Tap tap_at(float at, int source) {
    int first = (int)at;
    if (first > source - 1) first = source - 1;
    return {first, first + 1 < source ? first + 1 : source - 1, at - first};
}

// Pixel centres lie at half-integers, or with `corners` the outermost stay where they are.
__device__ Tap tap(int index, int source, int target, int corners) {
    if (corners) return tap_at((float)(source - 1) / (float)((target > 2 ? target : 2) - 1) * (float)index, source);
    return tap_at(fmaxf((float)source / (float)target * ((float)index + 0.5f) - 0.5f, 0.0f), source);
}

__device__ float between(float a, float b, float share) { return fmaf(1.0f - share, a, share * b); }

struct Sizes {
    int source_height, source_width, height, width, channels;
};

__device__ float widen(u8 value) { return (float)value; }

// Target element `i`, interpolated between four.
template <class Source>
__device__ float bilinear(const Source* x, u64 i, const Sizes& s, int corners) {
    int channel = i % s.channels;
    u64 rest = i / s.channels;
    Tap across = tap(rest % s.width, s.source_width, s.width, corners);
    rest /= s.width;
    Tap down = tap(rest % s.height, s.source_height, s.height, corners);
    const Source* picture = x + rest / s.height * s.source_height * s.source_width * s.channels + channel;
    auto at = [&](int y, int x) { return widen(picture[((i64)y * s.source_width + x) * s.channels]); };
    float left = between(at(down.first, across.first), at(down.second, across.first), down.share);
    float right = between(at(down.first, across.second), at(down.second, across.second), down.share);
    return between(left, right, across.share);
}

extern "C" __global__ void resize(const Real* x, Real* out, i64 count, Sizes s, int corners) {
    u64 i = thread_index();
    if (i < count) out[i] = narrow<Real>(bilinear(x, i, s, corners));
}

// 0 becomes `low` and 255 `high`, exactly.
extern "C" __global__ void resize_bytes(const u8* x, Real* out, i64 count, Sizes s, float low, float high) {
    u64 i = thread_index();
    if (i < count) out[i] = narrow<Real>(fmaf(bilinear(x, i, s, 0) / 255.0f, high - low, low));
}

// Four source pixels of a target pixel along one axis, as the host made them.
struct CubicTap {
    int pixel[4];
    float share[4];
};

extern "C" __global__ void resize_cubic(const Real* x, Real* out, const CubicTap* rows, const CubicTap* columns, i64 count, Sizes s) {
    u64 i = thread_index();
    if (i >= count) return;
    int channel = i % s.channels;
    u64 rest = i / s.channels;
    CubicTap across = columns[rest % s.width];
    rest /= s.width;
    CubicTap down = rows[rest % s.height];
    const Real* picture = x + rest / s.height * s.source_height * s.source_width * s.channels + channel;
    float sum = 0;
    for (int column = 0; column < 4; column++) {
        float line = 0;
        for (int row = 0; row < 4; row++)
            line = fmaf(widen(picture[((i64)down.pixel[row] * s.source_width + across.pixel[column]) * s.channels]), down.share[row], line);
        sum = fmaf(line, across.share[column], sum);
    }
    out[i] = narrow<Real>(sum);
}

// The two pixels around a coordinate; beyond the edges the outermost continue. NaN ends at the lower edge.
__device__ Tap around(float at, int size) {
    return tap_at(fminf(fmaxf(at, 0.0f), (float)(size - 1)), size);
}

// out[f, y, x] = pictures at (x + flow[channel], y + flow[channel + 1]).
extern "C" __global__ void warp(const Real* pictures, const float* flow, Real* out, i64 count, int height, int width, int channels, int flow_channels, int channel) {
    u64 i = thread_index();
    if (i >= count) return;
    u64 pixel = i / channels;
    int x = pixel % width, y = pixel / width % height;
    const float* vector = flow + pixel * flow_channels + channel;
    Tap across = around((float)x + vector[0], width), down = around((float)y + vector[1], height);
    const Real* picture = pictures + pixel / ((u64)width * height) * height * width * channels + i % channels;
    auto at = [&](int y, int x) { return widen(picture[((i64)y * width + x) * channels]); };
    float a = at(down.first, across.first), b = at(down.first, across.second);
    float c = at(down.second, across.first), d = at(down.second, across.second);
    float above = fmaf(b - a, across.share, a), below = fmaf(d - c, across.share, c);
    out[i] = narrow<Real>(fmaf(below - above, down.share, above));
}
