// Queries and keys on their way to attention: the root-mean-square norm of the whole vector, the rotation of every head, and
// where they go, in one pass over memory.

// Frames of a call at most; the same number stands in `ops::norm_rope`.
constexpr int MOST_FRAMES = 32;

struct NormRope {
    const Real* x;
    Real* out;
    // One for each feature.
    const float* weight;
    float eps;
    int features;
    int head;
    // Without a rotation, there is only the norm.
    int rotates;
    Rope rope;
    // Rows of a frame, and the frames' places among those of `out`; a frame of place -1 goes nowhere. Without rows of a frame,
    // rows stay in order.
    int frame_rows;
    int places[MOST_FRAMES];
};

// A block for each row of x, [rows, heads · head], with a thread for each pack. The size of a head is a multiple of PACK.
extern "C" __global__ void __launch_bounds__(1024, 1) norm_rope(const __grid_constant__ NormRope p) {
    __shared__ float shared[MAX_WARPS];
    int row = blockIdx.x;
    i64 target = row;
    if (p.frame_rows > 0) {
        int place = p.places[row / p.frame_rows];
        if (place < 0) return;
        target = (i64)place * p.frame_rows + row % p.frame_rows;
    }
    int first = threadIdx.x * PACK;
    bool inside = first < p.features;
    Pack<Real> pack;
    float squares = 0;
    if (inside) {
        pack = *(const Pack<Real>*)(p.x + (i64)row * p.features + first);
        for (int i = 0; i < PACK; i++) squares += widen(pack.values[i]) * widen(pack.values[i]);
    }
    float deviation = rsqrtf(block_sum(squares, shared) / p.features + p.eps);
    if (!inside) return;
    float values[PACK];
    for (int i = 0; i < PACK; i++) values[i] = widen(pack.values[i]) * deviation * p.weight[first + i];
    if (p.rotates) {
        int position[3] = {
            p.rope.start + row / (p.rope.height * p.rope.width),
            row / p.rope.width % p.rope.height,
            row % p.rope.width,
        };
        int column = first % p.head / 2;
        for (int i = 0; i < PACK / 2; i++) {
            float2 angle = rope_angle(p.rope, position, column + i);
            float real = values[2 * i], imaginary = values[2 * i + 1];
            values[2 * i] = real * angle.x - imaginary * angle.y;
            values[2 * i + 1] = real * angle.y + imaginary * angle.x;
        }
    }
    for (int i = 0; i < PACK; i++) pack.values[i] = narrow<Real>(values[i]);
    *(Pack<Real>*)(p.out + target * p.features + first) = pack;
}
