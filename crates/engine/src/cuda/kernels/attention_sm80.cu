// Flash attention with mma.sync for every GPU from sm_80 on: out = softmax(scale * q * k^T + bias) * v for each head.
//
// Algorithm: FlashAttention-2 (Dao, 2023). A block of threads holds a tile of queries and walks over the keys; cp.async brings the tiles of K and
// V in one step ahead. All shared-memory tiles are rows of 16-byte pieces, piece p of row r stored at p ^ (r % 8), which makes every ldmatrix
// free of bank conflicts. A row's scores are taken relative to a reference that moves only when the row's maximum has outgrown it by
// RESCALE_SLACK (FlashAttention-4, Dao et al., 2025), so the outputs are rarely rescaled. Tiles that do not fill a whole wave of the grid are
// split along the keys over all blocks of threads (Stream-K, Osama et al., 2023); the last one to finish a tile adds the parts up, in a fixed
// order, so results are the same in every run.
//
// Contract
//   q, out    bf16 [queries, heads, HEAD_DIM], contiguous; 16-byte aligned, as k and v.
//   k, v      bf16, up to MAX_RUNS runs; run i is [count_i, heads, HEAD_DIM], contiguous. Its scores get bias_i added. The runs are walked as
//             one list of keys, so short runs share tiles.
//   zero_keys further keys have score 0 and value 0: they only enter the denominator.
//   With RELATIVE_BIAS defined, score (query, key) also gets relative_bias[head][key - query + queries - 1] added, f32 [heads, queries + keys - 1]
//   (T5's position bias, already gathered by distance).
//   scale > 0, and at least one key. Accumulation, softmax and split parts are f32.
//
// Launch: block of 32 * WARPS threads, (BLOCK_QUERIES + 4 * BLOCK_KEYS) * HEAD_DIM * 2 bytes of dynamic shared memory.
//   The work is tiles * key blocks: tiles = heads * ceil(queries / BLOCK_QUERIES), key blocks = ceil(keys / BLOCK_KEYS).
//   Tiles [0, whole_tiles) are computed whole, tile t by block t % gridDim.x. The others are cut evenly into gridDim.x parts; the host must
//   then see to split = tiles - whole_tiles < gridDim.x <= split * key_blocks, and split * key_blocks * (gridDim.x + 1) < 2^32. The grid is
//   `tiles` blocks where none is split, otherwise as many as are resident at once.
//   `partials` holds 2 * gridDim.x * PARTIAL_VECTORS * 16 bytes (null will do if whole_tiles = tiles), `arrivals` gridDim.x ints that are 0
//   before the first launch; every launch leaves them 0. Launches that share the two must not overlap.
//
// Defines: HEAD_DIM 64 or 128; BLOCK_KEYS, the keys of a tile, a multiple of 16; WARPS; WARP_TILES, the 16-row tiles of a warp
//   (BLOCK_QUERIES = 16 * WARPS * WARP_TILES); MIN_BLOCKS, the blocks of threads that the registers of a multiprocessor must suffice for.

#ifndef HEAD_DIM
#define HEAD_DIM 128
#endif
#ifndef BLOCK_KEYS
#define BLOCK_KEYS (HEAD_DIM == 128 ? 32 : 64)
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef WARP_TILES
#define WARP_TILES 2
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 2
#endif

typedef unsigned int u32;
typedef unsigned short bf16;

constexpr int MAX_RUNS = 8;
constexpr int THREADS = 32 * WARPS;
constexpr int WARP_ROWS = 16 * WARP_TILES;
constexpr int BLOCK_QUERIES = WARPS * WARP_ROWS;

constexpr int ROW_BYTES = HEAD_DIM * 2;
constexpr int PIECES = ROW_BYTES / 16;           // 16-byte pieces of a row
constexpr int LOAD_ROWS = THREADS / PIECES;      // rows that the block copies at a time
constexpr int KEY_TILES = BLOCK_KEYS / 8;        // 8-column tiles of the scores
constexpr int DIM_TILES = HEAD_DIM / 8;          // 8-column tiles of the output
constexpr int DIM_STEPS = HEAD_DIM / 16;         // mma steps over the depth of Q * K^T
constexpr int KEY_STEPS = BLOCK_KEYS / 16;       // mma steps over the depth of P * V

constexpr int QUERY_BYTES = BLOCK_QUERIES * ROW_BYTES;
constexpr int KEY_BYTES = BLOCK_KEYS * ROW_BYTES;
constexpr int STAGES = 2;
constexpr int STAGE_BYTES = 2 * KEY_BYTES;  // a tile of K and one of V

constexpr int PARTIAL_VECTORS = (WARP_TILES * DIM_TILES + WARP_TILES) * THREADS;  // float4s that a block of threads leaves for a part of a tile

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float RESCALE_SLACK = 8.0f;  // log2 units: P stays below 256, far from any overflow
constexpr u32 WHOLE_WARP = 0xffffffffu;

static_assert(LOAD_ROWS % 8 == 0, "a thread's piece must stay in one column of the swizzle");
static_assert(BLOCK_KEYS % LOAD_ROWS == 0 && BLOCK_QUERIES % LOAD_ROWS == 0, "tiles are whole copies");

struct Run {
    const bf16 *k;
    const bf16 *v;
    int count;
    float bias;
};

struct Arguments {
    const bf16 *q;
    bf16 *out;
    const float *relative_bias;  // null without RELATIVE_BIAS
    float4 *partials;
    int *arrivals;
    float scale;
    int queries;
    int heads;
    int keys;  // of all runs together
    int zero_keys;
    int runs;
    int tiles;
    int query_tiles;  // tiles of one head
    int whole_tiles;
    int key_blocks;
    Run run[MAX_RUNS];
};

// ---- instructions ---------------------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void copy_async(u32 target, const bf16 *source, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(valid ? 16 : 0) : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

__device__ __forceinline__ void load_matrices(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void load_matrices_transposed(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same with d = 0 before.
__device__ __forceinline__ void mma_first(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

__device__ __forceinline__ u32 pack_bf16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

__device__ __forceinline__ float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 1));
    return fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(WHOLE_WARP, x, 1);
    return x + __shfl_xor_sync(WHOLE_WARP, x, 2);
}

// ---- tiles in shared memory -----------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ u32 piece_address(u32 tile, int row, int piece) { return tile + row * ROW_BYTES + (piece ^ (row % 8)) * 16; }

// A thread's way through the runs, one block of keys at a time.
struct Walk {
    int run;
    int left;       // keys of the run from the block's first on; less than BLOCK_KEYS where the block spans runs or the end
    const bf16 *k;  // what this thread copies first if the block lies in one run
    const bf16 *v;

    __device__ __forceinline__ Walk(const Arguments &a, int block, int head) : run(0), left(a.run[0].count - block * BLOCK_KEYS) { enter_run(a, head); }

    __device__ __forceinline__ void advance(const Arguments &a, int head) {
        const long long step = (long long)BLOCK_KEYS * a.heads * HEAD_DIM;
        left -= BLOCK_KEYS;
        k += step;
        v += step;
        if (left <= 0) enter_run(a, head);
    }

    // Starts the copies of one block. Rows after the last key become 0.
    __device__ __forceinline__ void load(u32 keys, u32 values, const Arguments &a, int head) const {
        const u32 offset = piece_address(0, first_row(), piece());
        const int stride = a.heads * HEAD_DIM;
        if (left >= BLOCK_KEYS) {
#pragma unroll
            for (int row = 0; row < BLOCK_KEYS; row += LOAD_ROWS) copy_async(keys + offset + row * ROW_BYTES, k + row * stride, true);
#pragma unroll
            for (int row = 0; row < BLOCK_KEYS; row += LOAD_ROWS) copy_async(values + offset + row * ROW_BYTES, v + row * stride, true);
            return;
        }
#pragma unroll 1
        for (int row = 0; row < BLOCK_KEYS; row += LOAD_ROWS) {
            int key_run = run, key = first_row() + row, keys_left = left;
            while (key >= keys_left && key_run < a.runs) {
                key -= keys_left;
                key_run++;
                keys_left = key_run < a.runs ? a.run[key_run].count : 0;
            }
            const bool valid = key_run < a.runs;
            if (key_run == run) key += a.run[run].count - left;
            const long long element = ((long long)key * a.heads + head) * HEAD_DIM + piece() * 8;
            copy_async(keys + offset + row * ROW_BYTES, valid ? a.run[key_run].k + element : a.q, valid);
            copy_async(values + offset + row * ROW_BYTES, valid ? a.run[key_run].v + element : a.q, valid);
        }
    }

  private:
    static __device__ __forceinline__ int first_row() { return threadIdx.x / PIECES; }
    static __device__ __forceinline__ int piece() { return threadIdx.x % PIECES; }

    // Moves on to the run that holds the block's first key.
    __device__ __forceinline__ void enter_run(const Arguments &a, int head) {
        while (left <= 0 && run + 1 < a.runs) left += a.run[++run].count;
        const int row = a.run[run].count - left + first_row();
        const long long element = ((long long)row * a.heads + head) * HEAD_DIM + piece() * 8;
        k = a.run[run].k + element;
        v = a.run[run].v + element;
    }
};

__device__ __forceinline__ void load_queries(u32 tile, const Arguments &a, int first_query, int head) {
    const int piece = threadIdx.x % PIECES, first = threadIdx.x / PIECES;
    const u32 target = piece_address(tile, first, piece);
#pragma unroll
    for (int row = 0; row < BLOCK_QUERIES; row += LOAD_ROWS) {
        const int query = first_query + first + row;
        const bool valid = query < a.queries;
        copy_async(target + row * ROW_BYTES, a.q + ((long long)(valid ? query : 0) * a.heads + head) * HEAD_DIM + piece * 8, valid);
    }
}

// ---- one block of keys ----------------------------------------------------------------------------------------------------------------------
// Fragment layouts of mma.m16n8k16: elements 0, 1 of an accumulator are row lane / 4, columns 2 * (lane % 4) + {0, 1}; elements 2, 3 the same
// columns 8 rows below.

typedef float Scores[WARP_TILES][KEY_TILES][4];
typedef float Outputs[WARP_TILES][DIM_TILES][4];

// The softmax state of a thread's rows: two of each 16-row tile.
struct Rows {
    float reference[WARP_TILES][2];  // subtracted from every score of the row; log2 units
    float sum[WARP_TILES][2];        // this lane's share of the denominator
};

__device__ __forceinline__ void multiply_keys(Scores &s, u32 queries, u32 keys) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < DIM_STEPS; step++) {
        u32 a[WARP_TILES][4];
#pragma unroll
        for (int tile = 0; tile < WARP_TILES; tile++)
            load_matrices(a[tile], piece_address(queries + tile * 16 * ROW_BYTES, lane % 16, 2 * step + lane / 16));
#pragma unroll
        for (int pair = 0; pair < KEY_TILES / 2; pair++) {
            u32 b[4];
            load_matrices(b, piece_address(keys + pair * 16 * ROW_BYTES, lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
#pragma unroll
            for (int tile = 0; tile < WARP_TILES; tile++) {
                if (step == 0) {
                    mma_first(s[tile][2 * pair], a[tile], b[0], b[1]);
                    mma_first(s[tile][2 * pair + 1], a[tile], b[2], b[3]);
                } else {
                    mma(s[tile][2 * pair], a[tile], b[0], b[1]);
                    mma(s[tile][2 * pair + 1], a[tile], b[2], b[3]);
                }
            }
        }
    }
}

__device__ __forceinline__ void multiply_values(Outputs &o, const Scores &p, u32 values) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int step = 0; step < KEY_STEPS; step++) {
        u32 a[WARP_TILES][4];
#pragma unroll
        for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
            for (int i = 0; i < 4; i++) a[tile][i] = pack_bf16(p[tile][2 * step + i / 2][i % 2 * 2], p[tile][2 * step + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int pair = 0; pair < DIM_TILES / 2; pair++) {
            u32 b[4];
            load_matrices_transposed(b, piece_address(values + step * 16 * ROW_BYTES, lane % 16, 2 * pair + lane / 16));
#pragma unroll
            for (int tile = 0; tile < WARP_TILES; tile++) {
                mma(o[tile][2 * pair], a[tile], b[0], b[1]);
                mma(o[tile][2 * pair + 1], a[tile], b[2], b[3]);
            }
        }
    }
}

// For a block of keys that spans runs, or the end of the keys: turns scores into log2 units with their runs' biases, and removes what is no key.
__device__ __forceinline__ void add_run_biases(Scores &s, const Arguments &a, int first_run, int left, float scale) {
    const int first_column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
        for (int i = 0; i < KEY_TILES * 4; i++) s[tile][i / 4][i % 4] *= scale;

    int start = 0, end = left;
#pragma unroll 1
    for (int run = first_run; start < BLOCK_KEYS; run++) {
        const bool is_key = run < a.runs;
        const float bias = is_key ? a.run[run].bias * LOG2_E : -infinity();
#pragma unroll
        for (int i = 0; i < KEY_TILES * 2; i++) {
            const int column = first_column + i / 2 * 8 + i % 2;
            const float term = column >= start && column < end ? bias : 0.0f;
#pragma unroll
            for (int tile = 0; tile < WARP_TILES; tile++) {
                s[tile][i / 2][i % 2] += term;
                s[tile][i / 2][i % 2 + 2] += term;
            }
        }
        start = end;
        end = run + 1 < a.runs ? end + a.run[run + 1].count : BLOCK_KEYS;
    }
}

#ifdef RELATIVE_BIAS
__device__ __forceinline__ void add_relative_bias(Scores &s, const Arguments &a, int first_query, int first_key, int head) {
    const int entries = a.queries + a.keys - 1;
    const float *table = a.relative_bias + (long long)head * entries;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
        for (int i = 0; i < KEY_TILES * 4; i++) {
            const int key = first_key + i / 4 * 8 + lane % 4 * 2 + i % 2;
            const int query = first_query + tile * 16 + lane / 4 + i / 2 % 2 * 8;
            const int entry = min(max(key - query + a.queries - 1, 0), entries - 1);  // rows and keys past the end read anything
            s[tile][i / 4][i % 4] = fmaf(__ldg(table + entry), LOG2_E, s[tile][i / 4][i % 4]);
        }
}
#endif

// Turns scores into 2^(scale * s + bias - reference) and adds them to the row sums. When a row of the warp has outgrown its reference, all
// move to their maxima, and the outputs so far are rescaled.
__device__ __forceinline__ void softmax(Scores &s, Outputs &o, Rows &rows, float scale, float bias) {
    float maximum[WARP_TILES][2];
    bool outgrown = false;
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
        for (int row = 0; row < 2; row++) {
            float top[2] = {s[tile][0][2 * row], s[tile][0][2 * row + 1]};
#pragma unroll
            for (int i = 1; i < KEY_TILES; i++) {
                top[0] = fmaxf(top[0], s[tile][i][2 * row]);
                top[1] = fmaxf(top[1], s[tile][i][2 * row + 1]);
            }
            maximum[tile][row] = fmaf(quad_max(fmaxf(top[0], top[1])), scale, bias);
            outgrown |= maximum[tile][row] > rows.reference[tile][row] + RESCALE_SLACK;
        }

    if (__any_sync(WHOLE_WARP, outgrown)) {
#pragma unroll
        for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
            for (int row = 0; row < 2; row++) {
                const float reference = fmaxf(rows.reference[tile][row], maximum[tile][row]);
                const float factor = exp2_fast(rows.reference[tile][row] - reference);
                rows.reference[tile][row] = reference;
                rows.sum[tile][row] *= factor;
#pragma unroll
                for (int i = 0; i < DIM_TILES; i++) {
                    o[tile][i][2 * row] *= factor;
                    o[tile][i][2 * row + 1] *= factor;
                }
            }
    }

#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float shift = bias - rows.reference[tile][row];
            float sum[2] = {0, 0};
#pragma unroll
            for (int i = 0; i < KEY_TILES; i++)
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    float &p = s[tile][i][2 * row + column];
                    p = exp2_fast(fmaf(p, scale, shift));
                    sum[column] += p;
                }
            rows.sum[tile][row] += sum[0] + sum[1];
        }
}

// ---- schedule -------------------------------------------------------------------------------------------------------------------------------

// A range of key blocks of one tile.
struct Work {
    int tile;
    int begin;
    int end;
};

// What this block of threads computes: first its share of the split tiles, then whole tiles. The share is walked tile by tile from its end: the
// blocks of a head then start near its first keys together, share them in L2, and mostly find the other parts of their tile done when they merge.
struct Schedule {
    int unit;      // in split tiles * key blocks
    int unit_end;
    int tile;

    __device__ __forceinline__ Schedule(const Arguments &a) {
        unit = share(a, blockIdx.x);
        unit_end = share(a, blockIdx.x + 1);
        tile = blockIdx.x;
    }

    // Where the share of a block of threads begins.
    static __device__ __forceinline__ int share(const Arguments &a, int block) {
        return (u32)(a.tiles - a.whole_tiles) * a.key_blocks * block / gridDim.x;
    }

    // The block of threads whose share holds a unit.
    static __device__ __forceinline__ int owner(const Arguments &a, int unit) {
        return ((unit + 1) * gridDim.x - 1) / ((u32)(a.tiles - a.whole_tiles) * a.key_blocks);
    }

    __device__ __forceinline__ bool next(const Arguments &a, Work &work) {
        if (unit < unit_end) {
            const int split_tile = (unit_end - 1) / a.key_blocks;
            const int first = split_tile * a.key_blocks;
            work.tile = a.whole_tiles + split_tile;
            work.begin = max(unit - first, 0);
            work.end = unit_end - first;
            unit_end = first + work.begin;
            return true;
        }
        work.tile = tile;
        work.begin = 0;
        work.end = a.key_blocks;
        tile += gridDim.x;
        return work.tile < a.whole_tiles;
    }
};

// Brings the parts of a split tile together. The last block of threads to get here sums all parts up, in the order of the keys, and returns true;
// the others leave theirs in `partials`.
__device__ __forceinline__ bool merge_parts(const Arguments &a, const Work &work, Outputs &o, Rows &rows) {
    __shared__ int is_last;
    const int split_tile = work.tile - a.whole_tiles;
    const int first = Schedule::owner(a, split_tile * a.key_blocks);
    const int last = Schedule::owner(a, (split_tile + 1) * a.key_blocks - 1);
    // A block's share touches at most two tiles, since there are fewer split tiles than blocks.
    auto part = [&](int block) {
        const int slot = 2 * block + (Schedule::share(a, block) / a.key_blocks != split_tile);
        return a.partials + slot * PARTIAL_VECTORS + threadIdx.x;
    };
    int *arrivals = &a.arrivals[split_tile];

    float4 *own = part(blockIdx.x);
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++) {
        float4 *to = own + tile * (DIM_TILES + 1) * THREADS;
        __stcg(to, make_float4(rows.reference[tile][0], rows.reference[tile][1], rows.sum[tile][0], rows.sum[tile][1]));
#pragma unroll
        for (int i = 0; i < DIM_TILES; i++) __stcg(to + (i + 1) * THREADS, make_float4(o[tile][i][0], o[tile][i][1], o[tile][i][2], o[tile][i][3]));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        is_last = atomicAdd(arrivals, 1) == last - first;
        if (is_last) *arrivals = 0;
        __threadfence();
    }
    __syncthreads();
    if (!is_last) return false;

#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++) {
        const int offset = tile * (DIM_TILES + 1) * THREADS;
        float reference[2] = {rows.reference[tile][0], rows.reference[tile][1]};
        for (int block = first; block <= last; block++) {
            const float4 state = __ldcg(part(block) + offset);
            reference[0] = fmaxf(reference[0], state.x);
            reference[1] = fmaxf(reference[1], state.y);
        }
        rows.sum[tile][0] = rows.sum[tile][1] = 0;
#pragma unroll
        for (int i = 0; i < DIM_TILES * 4; i++) o[tile][i / 4][i % 4] = 0;
        for (int block = first; block <= last; block++) {
            const float4 *from = part(block) + offset;
            const float4 state = __ldcg(from);
            const float factor[2] = {exp2_fast(state.x - reference[0]), exp2_fast(state.y - reference[1])};
            rows.sum[tile][0] += state.z * factor[0];
            rows.sum[tile][1] += state.w * factor[1];
#pragma unroll
            for (int i = 0; i < DIM_TILES; i++) {
                const float4 o4 = __ldcg(from + (i + 1) * THREADS);
                o[tile][i][0] += o4.x * factor[0];
                o[tile][i][1] += o4.y * factor[0];
                o[tile][i][2] += o4.z * factor[1];
                o[tile][i][3] += o4.w * factor[1];
            }
        }
    }
    return true;
}

// Normalises the outputs and writes them through the warp's own rows of the query tile, 16 bytes a lane.
__device__ __forceinline__ void store_outputs(const Outputs &o, const Rows &rows, u32 stage, const Arguments &a, int first_query, int head) {
    const int lane = threadIdx.x % 32;
    __syncwarp();
#pragma unroll
    for (int tile = 0; tile < WARP_TILES; tile++)
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float inverse = 1.0f / quad_sum(rows.sum[tile][row]);
#pragma unroll
            for (int i = 0; i < DIM_TILES; i++) {
                const u32 address = piece_address(stage, tile * 16 + row * 8 + lane / 4, i) + lane % 4 * 4;
                const u32 pair = pack_bf16(o[tile][i][2 * row] * inverse, o[tile][i][2 * row + 1] * inverse);
                asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(pair) : "memory");
            }
        }
    __syncwarp();
#pragma unroll 4
    for (int i = lane; i < WARP_ROWS * PIECES; i += 32) {
        const int row = i / PIECES, piece = i % PIECES;
        if (first_query + row >= a.queries) break;
        uint4 value;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                     : "r"(piece_address(stage, row, piece))
                     : "memory");
        *reinterpret_cast<uint4 *>(a.out + ((long long)(first_query + row) * a.heads + head) * HEAD_DIM + piece * 8) = value;
    }
}

// One range of key blocks of one tile.
__device__ __forceinline__ void attend(const Arguments &a, const Work &work, u32 query_tile) {
    const u32 stages = query_tile + QUERY_BYTES;
    const int head = work.tile / a.query_tiles;
    const int tile_query = work.tile % a.query_tiles * BLOCK_QUERIES;
    const int warp = threadIdx.x / 32;
    const u32 warp_queries = query_tile + warp * WARP_ROWS * ROW_BYTES;
    const int first_query = tile_query + warp * WARP_ROWS;  // of the warp
    const float scale = a.scale * LOG2_E;

    Scores s;
    Outputs o;
    Rows rows;
    const bool counts_zero_keys = a.zero_keys > 0 && work.begin == 0;
#pragma unroll
    for (int i = 0; i < WARP_TILES * DIM_TILES * 4; i++) o[i / (DIM_TILES * 4)][i / 4 % DIM_TILES][i % 4] = 0;
#pragma unroll
    for (int i = 0; i < WARP_TILES * 2; i++) {
        rows.reference[i / 2][i % 2] = counts_zero_keys ? 0.0f : -infinity();
        rows.sum[i / 2][i % 2] = counts_zero_keys && threadIdx.x % 4 == 0 ? (float)a.zero_keys : 0.0f;
    }

    Walk walk(a, work.begin, head);
    __syncthreads();  // the tile before is out of shared memory
    load_queries(query_tile, a, tile_query, head);
    walk.load(stages, stages + KEY_BYTES, a, head);
    commit_copies();
    for (int block = work.begin; block < work.end; block++) {
        const int run = walk.run, left = walk.left;
        const u32 keys = stages + (block - work.begin) % STAGES * STAGE_BYTES;
        const u32 next = stages + (block + 1 - work.begin) % STAGES * STAGE_BYTES;
        wait_copies();
        __syncthreads();  // this block of keys is there, and every warp is done with the last one
        if (block + 1 < work.end) {
            walk.advance(a, head);
            walk.load(next, next + KEY_BYTES, a, head);
            commit_copies();
        }
        multiply_keys(s, warp_queries, keys);

        float remaining_scale = scale, bias = 0;
#ifdef RELATIVE_BIAS
        const bool one_bias = false;
#else
        const bool one_bias = left >= BLOCK_KEYS;
#endif
        if (one_bias) {
            bias = a.run[run].bias * LOG2_E;
        } else {
            add_run_biases(s, a, run, left, scale);
            remaining_scale = 1;
        }
#ifdef RELATIVE_BIAS
        add_relative_bias(s, a, first_query, block * BLOCK_KEYS, head);
#endif
        softmax(s, o, rows, remaining_scale, bias);
        multiply_values(o, s, keys + KEY_BYTES);
    }

    const bool whole = work.end - work.begin == a.key_blocks;
    if (whole || merge_parts(a, work, o, rows)) store_outputs(o, rows, warp_queries, a, first_query, head);
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) attention_sm80(const __grid_constant__ Arguments a) {
    extern __shared__ __align__(128) unsigned char storage[];
    const u32 query_tile = (u32)__cvta_generic_to_shared(storage);
    Schedule schedule(a);
    Work work;
    while (schedule.next(a, work)) attend(a, work, query_tile);
}
