// Rotary position embedding in three dimensions (Su et al. 2021; axes split as in Wan2.1).

// Rotates the pairs of x, [tokens, heads, 2 · half]; out may be x. A thread for each pair.
extern "C" __global__ void rope(const Real* x, Real* out, i64 count, int heads, int half, Rope rope) {
    u64 i = thread_index();
    if (i >= count) return;
    int column = i % half;
    u64 token = i / half / heads;
    int positions[3] = {
        (int)(rope.start + token / (rope.height * rope.width)),
        (int)(token / rope.width % rope.height),
        (int)(token % rope.width),
    };
    float2 angle = rope_angle(rope, positions, column);
    float cosine = angle.x, sine = angle.y;
    float real = widen(x[2 * i]), imaginary = widen(x[2 * i + 1]);
    out[2 * i] = narrow<Real>(real * cosine - imaginary * sine);
    out[2 * i + 1] = narrow<Real>(real * sine + imaginary * cosine);
}

// Frames of a call at most; the same number stands in `ops::rope`.
constexpr int MOST_FRAMES = 32;

// The frames of `out` in order: which of x each is, and its position in time.
struct Frames {
    int slots[MOST_FRAMES];
    int positions[MOST_FRAMES];
};

// Frames of x, each of `frame_rows` rows of `features`, gathered and rotated. A thread for each of `count` packs of `out`; the
// size of a head is a multiple of PACK.
extern "C" __global__ void rope_frames(const Real* x, Real* out, i64 count, int features, int head, int frame_rows, Rope rope, const __grid_constant__ Frames frames) {
    u64 i = thread_index();
    if (i >= count) return;
    int packs = features / PACK;
    int first = i % packs * PACK;
    int row = i / packs;
    int frame = row / frame_rows, token = row % frame_rows;
    int position[3] = {frames.positions[frame], token / rope.width, token % rope.width};
    Pack<Real> pack = *(const Pack<Real>*)(x + ((i64)frames.slots[frame] * frame_rows + token) * features + first);
    int column = first % head / 2;
    for (int n = 0; n < PACK / 2; n++) {
        float2 angle = rope_angle(rope, position, column + n);
        float real = widen(pack.values[2 * n]), imaginary = widen(pack.values[2 * n + 1]);
        pack.values[2 * n] = narrow<Real>(real * angle.x - imaginary * angle.y);
        pack.values[2 * n + 1] = narrow<Real>(real * angle.y + imaginary * angle.x);
    }
    ((Pack<Real>*)out)[i] = pack;
}
