// Queries and keys on their way to attention: the root-mean-square norm of the whole vector, the rotation of every head, and
// where they go, in one pass over memory.

// Frames of a call at most; the same number stands in `ops::norm_rope`.
constexpr int MOST_FRAMES = 32;

struct NormRope {
    const Real* x;
    void* out;
    // One for each feature; without weights there is no norm either: rows only go to their places.
    const float* weight;
    float eps;
    // What results are multiplied with before they are rounded to e4m3; 0 keeps them as they are.
    float f8_factor;
    int rows;
    int features;
    // Features from row to row of x.
    int stride;
    int head;
    // Without a rotation, there is only the norm.
    int rotates;
    Rope rope;
    // Rows of a frame, and the frames' places among those of `out`; a frame of place -1 goes nowhere. Without rows of a frame,
    // rows stay in order.
    int frame_rows;
    int places[MOST_FRAMES];
};

// Angles of the complex numbers of a pack.
struct Angles {
    float2 of[PACK / 2];
};

__device__ __forceinline__ void read_angles(Angles& angles, const NormRope& p, const int position[3], int first) {
    int column = first % p.head / 2;
#pragma unroll
    for (int i = 0; i < PACK / 2; i++) angles.of[i] = rope_angle(p.rope, position, column + i);
}

// Queries, keys and values of the same rows.
constexpr int MOST_JOBS = 3;

struct Jobs {
    NormRope of[MOST_JOBS];
};

// A team for each row of x, [rows, heads · head]. The size of a head is a multiple of PACK.
template <bool WARP_ROWS>
__device__ __forceinline__ void norm_rope_row(const NormRope& p) {
    __shared__ float shared[MAX_WARPS];
    Team<WARP_ROWS> team(shared);
    if (team.row >= p.rows) return;
    int row = team.row;
    i64 target = row;
    if (p.frame_rows > 0) {
        int place = p.places[row / p.frame_rows];
        if (place < 0) return;
        target = (i64)place * p.frame_rows + row % p.frame_rows;
    }
    int packs = p.features / PACK;
    Pack<Real> held[ROW_PACKS];
    const Pack<Real>* source = (const Pack<Real>*)(p.x + (i64)row * p.stride);
    float squares = 0;
    team.each(packs, [&](int n, int pack) {
        held[n] = source[pack];
#pragma unroll
        for (int i = 0; i < PACK; i++) squares += widen(held[n].values[i]) * widen(held[n].values[i]);
    });
    float deviation = p.weight ? rsqrtf(team.sum(squares) / p.features + p.eps) : 1.0f;
    int position[3] = {
        p.rope.start + row / max(p.rope.height * p.rope.width, 1),
        row / max(p.rope.width, 1) % max(p.rope.height, 1),
        row % max(p.rope.width, 1),
    };
    // All packs of a lane lie at the same place of their heads, if a step of the team is a number of whole heads.
    bool same = team.lanes * PACK % p.head == 0;
    Angles angles;
    if (p.rotates && same) read_angles(angles, p, position, team.lane * PACK);
    team.each(packs, [&](int n, int pack) {
        float values[PACK];
#pragma unroll
        for (int i = 0; i < PACK; i++) values[i] = widen(held[n].values[i]) * deviation;
        if (p.weight) {
            Pack<float> weight = *(const Pack<float>*)(p.weight + pack * PACK);
#pragma unroll
            for (int i = 0; i < PACK; i++) values[i] *= weight.values[i];
        }
        if (p.rotates) {
            if (!same) read_angles(angles, p, position, pack * PACK);
#pragma unroll
            for (int i = 0; i < PACK / 2; i++) {
                float real = values[2 * i], imaginary = values[2 * i + 1];
                values[2 * i] = real * angles.of[i].x - imaginary * angles.of[i].y;
                values[2 * i + 1] = real * angles.of[i].y + imaginary * angles.of[i].x;
            }
        }
        i64 at = target * p.features + pack * PACK;
        if (p.f8_factor != 0) {
            store_f8((u8*)p.out + at, p.f8_factor, [&](int i) { return values[i]; });
        } else {
#pragma unroll
            for (int i = 0; i < PACK; i++) held[n].values[i] = narrow<Real>(values[i]);
            *(Pack<Real>*)((Real*)p.out + at) = held[n];
        }
    });
}

// The jobs along the second axis of the grid.
extern "C" __global__ void __launch_bounds__(256) norm_rope(const __grid_constant__ Jobs jobs) { norm_rope_row<true>(jobs.of[blockIdx.y]); }

extern "C" __global__ void __launch_bounds__(1024, 1) norm_rope_long(const __grid_constant__ Jobs jobs) {
    norm_rope_row<false>(jobs.of[blockIdx.y]);
}
