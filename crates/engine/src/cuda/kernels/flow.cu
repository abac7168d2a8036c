// Operators of optical flow (Teed & Deng 2020).

// Pictures at half the size: each pixel is the mean of four.
extern "C" __global__ void halve(const Real* x, Real* out, i64 count, int source_height, int source_width, int height, int width, int channels) {
    u64 i = thread_index();
    if (i >= count) return;
    int channel = i % channels;
    u64 rest = i / channels;
    int column = rest % width;
    rest /= width;
    int line = rest % height;
    const Real* from = x + ((rest / height * source_height + 2 * line) * source_width + 2 * column) * channels + channel;
    const Real* below = from + (i64)source_width * channels;
    float sum = (widen(from[0]) + widen(from[channels])) + (widen(below[0]) + widen(below[channels]));
    out[i] = narrow<Real>(0.25f * sum);
}

constexpr int MAX_LEVELS = 8;

struct Levels {
    int count;
    const Real* pictures[MAX_LEVELS];
    int heights[MAX_LEVELS], widths[MAX_LEVELS];
};

// The whole pixel below a coordinate and how far it is from there. Places from which no pixel can be seen are brought near.
__device__ int corner(float at, int radius, int size, float& share) {
    float far = (float)(radius + 2);
    at = fminf(fmaxf(at, -far), (float)size + far);
    float low = floorf(at);
    share = at - low;
    return (int)low - radius;
}

// out[pixel, level, right, down] = the pixel's picture of that level around (pixel + flow) / 2^level, zero outside.
extern "C" __global__ void surroundings(Levels levels, const float* flow, Real* out, i64 count, int width, int radius) {
    u64 i = thread_index();
    if (i >= count) return;
    int side = 2 * radius + 1;
    int down = i % side, right = i / side % side;
    u64 rest = i / (side * side);
    int level = rest % levels.count;
    u64 pixel = rest / levels.count;
    float scale = 1.0f / (float)(1 << level);
    float across_share, down_share;
    int rows = levels.heights[level], columns = levels.widths[level];
    int left = corner(((float)(pixel % width) + flow[2 * pixel]) * scale, radius, columns, across_share) + right;
    int top = corner(((float)(pixel / width) + flow[2 * pixel + 1]) * scale, radius, rows, down_share) + down;
    const Real* picture = levels.pictures[level] + pixel * rows * columns;
    auto near = [&](int y, int x) {
        bool inside = y >= 0 && y < rows && x >= 0 && x < columns;
        return inside ? widen(picture[(i64)y * columns + x]) : 0.0f;
    };
    float above = fmaf(near(top, left + 1) - near(top, left), across_share, near(top, left));
    float below = fmaf(near(top + 1, left + 1) - near(top + 1, left), across_share, near(top + 1, left));
    out[i] = narrow<Real>(fmaf(below - above, down_share, above));
}

// Flow at `factor` times its resolution: a mean of nine neighbours, with the weights that softmax makes of the mask. A
// thread for each finer pixel.
extern "C" __global__ void enlarge_flow(const float* flow, const Real* mask, float* out, i64 count, int height, int width, int factor) {
    u64 i = thread_index();
    if (i >= count) return;
    int fine_width = width * factor;
    int fine_x = i % fine_width, fine_y = i / fine_width;
    int x = fine_x / factor, y = fine_y / factor;
    int cell = fine_y % factor * factor + fine_x % factor;
    const Real* weights = mask + ((i64)y * width + x) * 9 * factor * factor + cell;
    float highest = -3e38f, total = 0, sum[2] = {0, 0};
    for (int n = 0; n < 9; n++) highest = fmaxf(highest, widen(weights[n * factor * factor]));
    for (int n = 0; n < 9; n++) {
        float weight = __expf(widen(weights[n * factor * factor]) - highest);
        total += weight;
        int near_y = y + n / 3 - 1, near_x = x + n % 3 - 1;
        if (near_y < 0 || near_x < 0 || near_y >= height || near_x >= width) continue;
        const float* vector = flow + 2 * ((i64)near_y * width + near_x);
        sum[0] = fmaf(vector[0], weight, sum[0]);
        sum[1] = fmaf(vector[1], weight, sum[1]);
    }
    out[2 * i] = (float)factor * sum[0] / total;
    out[2 * i + 1] = (float)factor * sum[1] / total;
}
