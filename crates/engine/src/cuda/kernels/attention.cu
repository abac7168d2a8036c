// Parts of attention for every number type and head size: softmax of scores that matrix products made, and attention of
// tokens to their own past.

constexpr int MAX_RUNS = 8;

// Keys in runs, each with a constant that is added to its scores.
struct Runs {
    int count;
    int keys[MAX_RUNS];
    float bias[MAX_RUNS];
};

// weights[head, query, key] = softmax over keys of scores + bias; a block for each row. A relative bias is a table
// [heads, queries + keys - 1] in which entry key - query + queries - 1 belongs to the pair; `first` is the first of these
// queries. `zero_keys` further keys have score 0.
extern "C" __global__ void softmax(const float* scores, Real* weights, int rows, int keys, Runs runs, const float* relative, int queries, int first, int zero_keys) {
    __shared__ float shared[MAX_WARPS];
    int head = blockIdx.x / rows, row = blockIdx.x % rows;
    const float* line = scores + blockIdx.x * (i64)keys;
    const float* table = relative ? relative + head * (i64)(queries + keys - 1) + queries - 1 - (first + row) : nullptr;
    auto biased = [&](int key) {
        float score = line[key];
        int from = key;
        for (int run = 0; run < runs.count; run++) {
            if (from < runs.keys[run]) {
                score += runs.bias[run];
                break;
            }
            from -= runs.keys[run];
        }
        return table ? score + table[key] : score;
    };
    float highest = zero_keys > 0 ? 0.0f : -3e38f;
    for (int key = threadIdx.x; key < keys; key += blockDim.x) highest = fmaxf(highest, biased(key));
    highest = block_max(highest, shared);
    float total = 0;
    for (int key = threadIdx.x; key < keys; key += blockDim.x) total += __expf(biased(key) - highest);
    total = block_sum(total, shared) + zero_keys * __expf(-highest);
    Real* out = weights + blockIdx.x * (i64)keys;
    for (int key = threadIdx.x; key < keys; key += blockDim.x)
        out[key] = narrow<Real>(__expf(biased(key) - highest) / total);
}

// Fours of scores that a thread of `softmax_held` holds, at most; the same number stands in `ops::attention`.
constexpr int HELD_FOURS = 8;

// The same for a single run without a relative bias, whose keys are a multiple of four: a row is read once. A block for each
// row.
extern "C" __global__ void __launch_bounds__(256) softmax_held(const float* scores, Real* weights, int keys, float bias, int zero_keys) {
    __shared__ float shared[MAX_WARPS];
    const float4* line = (const float4*)(scores + blockIdx.x * (i64)keys);
    Real* out = weights + blockIdx.x * (i64)keys;
    int fours = keys / 4;
    float4 held[HELD_FOURS];
    float highest = zero_keys > 0 ? -bias : -3e38f;
#pragma unroll
    for (int n = 0; n < HELD_FOURS; n++) {
        int four = threadIdx.x + n * blockDim.x;
        if (four >= fours) continue;
        held[n] = line[four];
        highest = fmaxf(highest, fmaxf(fmaxf(held[n].x, held[n].y), fmaxf(held[n].z, held[n].w)));
    }
    highest = block_max(highest, shared);
    float total = 0;
#pragma unroll
    for (int n = 0; n < HELD_FOURS; n++) {
        int four = threadIdx.x + n * blockDim.x;
        if (four >= fours) continue;
        held[n] = make_float4(__expf(held[n].x - highest), __expf(held[n].y - highest), __expf(held[n].z - highest), __expf(held[n].w - highest));
        total += held[n].x + held[n].y + held[n].z + held[n].w;
    }
    total = block_sum(total, shared) + zero_keys * __expf(-bias - highest);
    float share = 1.0f / total;
#pragma unroll
    for (int n = 0; n < HELD_FOURS; n++) {
        int four = threadIdx.x + n * blockDim.x;
        if (four >= fours) continue;
        struct alignas(4 * sizeof(Real)) Four {
            Real values[4];
        };
        *(Four*)(out + 4 * four) = {narrow<Real>(held[n].x * share), narrow<Real>(held[n].y * share), narrow<Real>(held[n].z * share), narrow<Real>(held[n].w * share)};
    }
}

constexpr int MAX_STATES = 32;

struct States {
    int count;
    const Real* values[MAX_STATES];
};

// out[token, head] = softmax(q · s) s over the token's own states s, each plus its row of `places`. A warp for each head
// of each token.
extern "C" __global__ void attention_over_time(const Real* q, States states, const float* places, Real* out, i64 count, int heads, int features) {
    i64 index = thread_index() / WARP;
    int lane = threadIdx.x % WARP;
    if (index >= count) return;
    i64 token = index / heads;
    q += index * features;
    out += index * features;
    float scores[MAX_STATES];
    float highest = -3e38f;
    for (int time = 0; time < states.count; time++) {
        const Real* state = states.values[time] + token * features;
        float sum = 0;
        for (int c = lane; c < features; c += WARP) sum += widen(q[c]) * (widen(state[c]) + places[time * features + c]);
        scores[time] = warp_sum(sum);
        highest = fmaxf(highest, scores[time]);
    }
    float total = 0;
    for (int time = 0; time < states.count; time++) {
        scores[time] = __expf(scores[time] - highest);
        total += scores[time];
    }
    for (int c = lane; c < features; c += WARP) {
        float sum = 0;
        for (int time = 0; time < states.count; time++) {
            float state = widen(states.values[time][token * features + c]) + places[time * features + c];
            sum = fmaf(state, scores[time] / total, sum);
        }
        out[c] = narrow<Real>(sum);
    }
}
