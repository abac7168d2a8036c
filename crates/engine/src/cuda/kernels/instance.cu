// Normalisation of every channel, or every few, of every picture by itself.

// Pixels whose sums a block of the first pass makes.
constexpr int RUN = 1024;

// partial[frame, run, group] = count, mean and squared deviations of the run's pixels of the frame's group of channels.
// Blocks are (run, group, frame).
extern "C" __global__ void statistics(const Real* x, float* partial, i64 pixels, int channels, int groups) {
    __shared__ float shared[MAX_WARPS];
    int group = channels / groups;
    i64 first = blockIdx.x * (i64)RUN;
    i64 last = first + RUN < pixels ? first + RUN : pixels;
    const Real* picture = x + blockIdx.z * pixels * channels + blockIdx.y * group;
    i64 count = (last - first) * group;
    auto value = [&](i64 i) { return widen(picture[(first + i / group) * channels + i % group]); };
    float sum = 0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) sum += value(i);
    float mean = block_sum(sum, shared) / count;
    float squares = 0;
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) squares += (value(i) - mean) * (value(i) - mean);
    squares = block_sum(squares, shared);
    if (threadIdx.x > 0) return;
    float* out = partial + ((blockIdx.z * gridDim.x + blockIdx.x) * (i64)gridDim.y + blockIdx.y) * 3;
    out[0] = (float)count;
    out[1] = mean;
    out[2] = squares;
}

// moments[frame, group] = mean and reciprocal deviation, from those of the runs (Chan et al. 1979). A thread for each.
extern "C" __global__ void combine(const float* partial, float* moments, int runs, int groups, int frames, float eps) {
    u64 i = thread_index();
    if (i >= (u64)groups * frames) return;
    const float* from = partial + (i / groups * (u64)runs * groups + i % groups) * 3;
    double count = 0, mean = 0, squares = 0;
    for (int run = 0; run < runs; run++, from += groups * 3) {
        double added = from[0], difference = from[1] - mean, total = count + added;
        mean += difference * added / total;
        squares += from[2] + difference * difference * count * added / total;
        count = total;
    }
    moments[2 * i] = (float)mean;
    moments[2 * i + 1] = (float)(1.0 / sqrt(squares / count + (double)eps));
}

// out = activation((x - mean) · deviation · weight + bias); weight and bias may be missing.
extern "C" __global__ void apply(const Real* x, Real* out, const float* moments, const float* weight, const float* bias, i64 count, i64 pixels, int channels, int groups, int activation, float slope) {
    u64 i = thread_index();
    if (i >= count) return;
    int channel = i % channels;
    u64 frame = i / channels / pixels;
    const float* moment = moments + 2 * (frame * groups + channel / (channels / groups));
    float y = (widen(x[i]) - moment[0]) * moment[1];
    if (weight) y = fmaf(y, weight[channel], bias[channel]);
    out[i] = narrow<Real>(activate(y, activation, slope));
}
