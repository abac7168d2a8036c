// Flash attention for Hopper (sm_90a): out = softmax(scale * q * k^T + bias) * v for each head.
//
// Algorithm: FlashAttention-3 (Shah et al., 2024): a producer warp streams K and V tiles into shared memory by TMA, two consumer warpgroups of
// 64 query rows each run wgmma. They take turns on the tensor cores ("ping-pong"): one issues Q * K^T of a key block together with P * V of the
// block before, while the other is at its softmax. Tiles that do not fill a whole wave of the grid are split along the keys over all blocks
// (Stream-K, Osama et al., 2023); the last block to finish a tile adds the parts up, in a fixed order, so results are the same in every run.
//
// Contract
//   q, out    bf16 [queries, heads, 128], contiguous; with QK_F8 q is e4m3. With `out_scale`, the address of a number on the device, out is e4m3:
//             results divided by that number.
//   k, v      bf16, up to MAX_RUNS runs; run i is [count_i, heads, 128], contiguous, count_i >= 1. Its scores get bias_i added. With QK_F8 all
//             k are e4m3.
//   zero_keys further keys have score 0 and value 0: they only enter the denominator.
//   scale > 0. Accumulation, softmax and split parts are f32.
//
// Launch: block of 384 threads (warpgroup 0 loads, 1 and 2 compute), one block per multiprocessor, sizeof(Shared) bytes of dynamic shared memory:
//   QUERY_STAGES * 32768 + 1024 * BLOCK_KEYS + 256, with QK_F8 QUERY_STAGES * 16384 + 32768 + 768 * BLOCK_KEYS + 256.
//   The work is tiles * key blocks: tiles = heads * ceil(queries / 128), key blocks = sum over runs of ceil(count_i / BLOCK_KEYS).
//   Tiles [0, whole_tiles) are computed whole, tile t by block t % gridDim.x. The others are cut evenly into gridDim.x parts; the host must
//   then see to split = tiles - whole_tiles < gridDim.x <= split * key_blocks, and split * key_blocks * (gridDim.x + 1) < 2^32.
//   `partials` holds 2 * gridDim.x * 69632 bytes (null will do if whole_tiles = tiles), `arrivals` 2 * gridDim.x ints that are 0 before the
//   first launch; every launch leaves them 0. Launches that share the two must not overlap.
//
// Tensor maps (cuTensorMapEncodeTiled): bf16, rank 3, global size {64, rows, 2 * heads}, global strides {heads * 256, 128} bytes, 128-byte
//   swizzle, no interleave, zero fill; box {64, 64, 2} for q and out, {64, BLOCK_KEYS, 2} for k and v. The third axis walks half heads, so a
//   box lands in shared memory as two [rows][64] halves, the layout that wgmma reads. With QK_F8 a head of q and k is one row of 128 bytes, which
//   the maps still call 64 bf16: global size {64, rows, heads}, global strides {heads * 128, 128} bytes, box {64, 64, 1} or {64, BLOCK_KEYS, 1}.
//   So is a head of out with `out_scale`.
//
// Defines: BLOCK_KEYS 32, 64, 128 or 176, the keys of a tile; QUERY_STAGES >= 1, query tiles in shared memory (more of them hide the loads
//   between short tiles); QK_F8, queries and keys are e4m3, taken as they are: whoever has scales for them puts these into `scale`.

#ifndef BLOCK_KEYS
#define BLOCK_KEYS 176
#endif
#ifndef QUERY_STAGES
#define QUERY_STAGES 1
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

constexpr int MAX_RUNS = 8;
constexpr int HEAD_DIM = 128;
constexpr int GROUP_ROWS = 64;  // query rows of a consumer warpgroup: the M of wgmma
constexpr int GROUPS = 2;
constexpr int TILE_ROWS = GROUPS * GROUP_ROWS;
constexpr int GROUP_THREADS = 128;
constexpr int THREADS = (GROUPS + 1) * GROUP_THREADS;
constexpr int STAGES = 2;  // tiles of K, and of V, in shared memory

#ifdef QK_F8
constexpr int QK_HALVES = 1;  // rows of the swizzle's span that a head of a query or key takes
#else
constexpr int QK_HALVES = 2;
#endif
constexpr int VALUE_HALVES = 2;

constexpr int HALF_ROW_BYTES = 128;  // 64 bf16 or 128 e4m3: the span of the 128-byte swizzle
constexpr int QUERY_HALF_BYTES = GROUP_ROWS * HALF_ROW_BYTES;  // of outputs, too
constexpr int KEY_HALF_BYTES = BLOCK_KEYS * HALF_ROW_BYTES;    // of values, too
constexpr int QUERY_BYTES = QK_HALVES * QUERY_HALF_BYTES;
constexpr int KEY_BYTES = QK_HALVES * KEY_HALF_BYTES;
constexpr int VALUE_BYTES = VALUE_HALVES * KEY_HALF_BYTES;

constexpr int SCORES = BLOCK_KEYS / 2;   // f32 accumulators per thread of a 64 x BLOCK_KEYS product
constexpr int PACKED = BLOCK_KEYS / 4;   // the same as bf16 pairs
constexpr int OUTPUTS = HEAD_DIM / 2;    // f32 accumulators per thread of the 64 x 128 output
constexpr int K_STEP = 16;               // depth of one bf16 wgmma
constexpr int STEP_BYTES = 32;           // the same in bytes, as for any other type

// setmaxnreg: 128 * 40 + 256 * 232 = 384 * 168, what __launch_bounds__ lets the kernel start with.
constexpr int PRODUCER_REGISTERS = 40;
constexpr int CONSUMER_REGISTERS = 232;

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float RESCALE_SLACK = 8.0f;  // log2 units: P stays below 256, far from any overflow

struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

struct Maps {
    TensorMap query;
    TensorMap output;
    TensorMap key[MAX_RUNS];
    TensorMap value[MAX_RUNS];
};

struct Arguments {
    float4 *partials;
    int *arrivals;
    const float *out_scale;  // null: results in bf16
    float scale;
    int queries;
    int tiles;
    int query_tiles;  // tiles of one head
    int whole_tiles;
    int key_blocks;
    int zero_keys;
    int runs;
    int count[MAX_RUNS];
    float bias[MAX_RUNS];
};

struct Shared {
    unsigned char query[QUERY_STAGES][GROUPS][QUERY_BYTES];
    unsigned char key[STAGES][KEY_BYTES];
    unsigned char value[STAGES][VALUE_BYTES];
#ifdef QK_F8
    unsigned char output[GROUPS][VALUE_HALVES * QUERY_HALF_BYTES];  // a query's stage is too small for them
#endif
    u64 query_full[QUERY_STAGES][GROUPS];
    u64 query_empty[QUERY_STAGES][GROUPS];
    u64 key_full[STAGES];
    u64 key_empty[STAGES];
    u64 value_full[STAGES];
    u64 value_empty[STAGES];
    int is_last[GROUPS];
    float out_factor;  // 0: results in bf16
};

#ifdef QK_F8
constexpr int TILE_BYTES = QUERY_STAGES * 16384 + 32768 + 768 * BLOCK_KEYS;
#else
constexpr int TILE_BYTES = QUERY_STAGES * 32768 + 1024 * BLOCK_KEYS;
#endif
static_assert(sizeof(Shared) <= TILE_BYTES + 256, "the launch reserves this much");
static_assert(sizeof(Shared) <= 232448, "a block's shared memory on sm_90");

// Named barriers; 0 is __syncthreads.
enum Barrier { TURN = 1, GROUP = TURN + GROUPS };

// ---- barriers -------------------------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ u32 shared_address(const void *pointer) { return (u32)__cvta_generic_to_shared(pointer); }

__device__ __forceinline__ void barrier_init(u64 *barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals));
}

__device__ __forceinline__ void barrier_expect(u64 *barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive(u64 *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void barrier_wait(u64 *barrier, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra finished;\n"
        "bra again;\n"
        "finished:\n"
        "}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}

__device__ __forceinline__ void named_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

__device__ __forceinline__ void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

__device__ __forceinline__ int load_acquire(const int *pointer) {
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(pointer) : "memory");
    return value;
}

__device__ __forceinline__ int add_acquire_release(int *pointer, int value) {
    int old;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;" : "=r"(old) : "l"(pointer), "r"(value) : "memory");
    return old;
}

// The place of a reader or writer in a ring of shared-memory stages.
template <int SIZE>
struct Ring {
    int stage = 0;
    u32 phase = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == SIZE) {
            stage = 0;
            phase ^= 1;
        }
    }
};

// ---- TMA ------------------------------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void load_box(void *target, const TensorMap *map, int row, int half, u64 *barrier) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(
            shared_address(target)),
        "l"(map), "r"(0), "r"(row), "r"(half), "r"(shared_address(barrier))
        : "memory");
}

__device__ __forceinline__ void store_box(const TensorMap *map, int row, int half, const void *source) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(map), "r"(0), "r"(row),
                 "r"(half), "r"(shared_address(source))
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Waits until this thread's stores have read all of their shared memory.
__device__ __forceinline__ void wait_stores() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }

// ---- wgmma ----------------------------------------------------------------------------------------------------------------------------------

// The accumulators of an instruction, as text and as operands. Text can't be counted up by the preprocessor, hence the lists.
#define REGISTERS_0_15 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define REGISTERS_0_31 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REGISTERS_32_63 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REGISTERS_64_87 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87"
#define BIND_8(d, i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define BIND_32(d, i) BIND_8(d, i), BIND_8(d, i + 8), BIND_8(d, i + 16), BIND_8(d, i + 24)

#ifdef QK_F8
#define SCORE_KIND "k32.f32.e4m3.e4m3"
#define SCORE_SIGNS "1, 1"
#else
#define SCORE_KIND "k16.f32.bf16.bf16"
#define SCORE_SIGNS "1, 1, 0, 0"  // and neither is transposed
#endif
#define SCORE_TEXT(shape, registers, a, b, accumulate) \
    "{\n" \
    ".reg .pred p;\n" \
    "setp.ne.b32 p, " accumulate ", 0;\n" \
    "wgmma.mma_async.sync.aligned." shape SCORE_KIND " {" registers "}, " a ", " b ", p, " SCORE_SIGNS ";\n" \
    "}"
#if BLOCK_KEYS == 32
#define SCORE_INSTRUCTION SCORE_TEXT("m64n32", REGISTERS_0_15, "%16", "%17", "%18")
#define SCORE_OPERANDS(s) BIND_8(s, 0), BIND_8(s, 8)
#elif BLOCK_KEYS == 64
#define SCORE_INSTRUCTION SCORE_TEXT("m64n64", REGISTERS_0_31, "%32", "%33", "%34")
#define SCORE_OPERANDS(s) BIND_32(s, 0)
#elif BLOCK_KEYS == 128
#define SCORE_INSTRUCTION SCORE_TEXT("m64n128", REGISTERS_0_31 ", " REGISTERS_32_63, "%64", "%65", "%66")
#define SCORE_OPERANDS(s) BIND_32(s, 0), BIND_32(s, 32)
#elif BLOCK_KEYS == 176
#define SCORE_INSTRUCTION SCORE_TEXT("m64n176", REGISTERS_0_31 ", " REGISTERS_32_63 ", " REGISTERS_64_87, "%88", "%89", "%90")
#define SCORE_OPERANDS(s) BIND_32(s, 0), BIND_32(s, 32), BIND_8(s, 64), BIND_8(s, 72), BIND_8(s, 80)
#else
#error "BLOCK_KEYS is 32, 64, 128 or 176"
#endif

// s (+)= a * b^T: a is 64 rows of STEP_BYTES, b BLOCK_KEYS of them, both in shared memory with the depth contiguous.
template <bool ACCUMULATE>
__device__ __forceinline__ void wgmma_scores(float (&s)[SCORES], u64 a, u64 b) {
    asm volatile(SCORE_INSTRUCTION : SCORE_OPERANDS(s) : "l"(a), "l"(b), "n"(ACCUMULATE));
}

// o += p * v: p is 64 x 16 in registers, v 16 x 128 in shared memory with the columns contiguous.
__device__ __forceinline__ void wgmma_outputs(float (&o)[OUTPUTS], const u32 *p, u64 v) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" REGISTERS_0_31 ", " REGISTERS_32_63 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
        : BIND_32(o, 0), BIND_32(o, 32)
        : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Keeps the compiler from moving uses of these registers across the wait or issue beside it.
template <int N>
__device__ __forceinline__ void pin(float (&values)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(values[i])::"memory");
}

// A wgmma matrix descriptor (128-byte swizzle; groups of 8 rows of 128 bytes lie 1024 bytes apart). `next_half` is the distance between the
// two 64-column halves where the columns are the N axis (V); where they are the depth (Q, K), wgmma ignores it.
__device__ __forceinline__ u64 descriptor(const void *pointer, int next_half) {
    constexpr u64 SWIZZLE_128 = 1ull << 62;
    constexpr u64 GROUP_STRIDE = (u64)(1024 >> 4) << 32;
    return SWIZZLE_128 | GROUP_STRIDE | (u64)(next_half >> 4) << 16 | (u64)((shared_address(pointer) & 0x3FFFF) >> 4);
}

// Issues s = q * k^T for one key block.
__device__ __forceinline__ void issue_scores(float (&s)[SCORES], u64 query, u64 key) {
    wgmma_scores<false>(s, query, key);
#pragma unroll
    for (int step = 1; step < QK_HALVES * HALF_ROW_BYTES / STEP_BYTES; step++) {
        const int half = step / 4, within = step % 4 * STEP_BYTES;
        wgmma_scores<true>(s, query + ((half * QUERY_HALF_BYTES + within) >> 4), key + ((half * KEY_HALF_BYTES + within) >> 4));
    }
    wgmma_commit();
}

// Issues o += p * v for one key block.
__device__ __forceinline__ void issue_outputs(float (&o)[OUTPUTS], const u32 (&p)[PACKED], u64 value) {
#pragma unroll
    for (int step = 0; step < BLOCK_KEYS / K_STEP; step++) wgmma_outputs(o, p + 4 * step, value + step * (K_STEP * HALF_ROW_BYTES >> 4));
    wgmma_commit();
}

// ---- softmax --------------------------------------------------------------------------------------------------------------------------------
// A thread holds two rows of an accumulator, 8 apart: elements 4j, 4j+1 are columns 8j + 2 * (lane % 4) + {0, 1} of the first, 4j+2, 4j+3 of the
// second. Four neighbouring lanes share a row.

struct Rows {
    float reference[2];  // subtracted from every score of the row; log2 units
    float sum[2];        // this lane's share of the denominator
};

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
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ __forceinline__ float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Removes the columns at and after `valid`.
__device__ __forceinline__ void mask(float (&s)[SCORES], int valid) {
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < SCORES; i++)
        if (column + i / 4 * 8 + i % 2 >= valid) s[i] = -infinity();
}

// The largest score of each of a thread's two rows, over all of the four lanes that share them.
__device__ __forceinline__ void maxima(const float (&s)[SCORES], float (&maximum)[2]) {
#ifdef QK_F8
    // Numbers that are not negative are ordered as integers are, and of these an instruction compares three.
    int bits[4];
#pragma unroll
    for (int i = 0; i < 4; i++) bits[i] = max(__float_as_int(s[i]), __float_as_int(s[SCORES - 4 + i]));
#pragma unroll
    for (int i = 4; i + 4 < SCORES; i += 8)
#pragma unroll
        for (int j = 0; j < 4; j++) bits[j] = __vimax3_s32(bits[j], __float_as_int(s[i + j]), __float_as_int(s[i + 4 + j]));
    int top[2] = {max(bits[0], bits[1]), max(bits[2], bits[3])};
#pragma unroll
    for (int row = 0; row < 2; row++) {
        top[row] = max(top[row], __shfl_xor_sync(0xffffffffu, top[row], 1));
        top[row] = max(top[row], __shfl_xor_sync(0xffffffffu, top[row], 2));
        maximum[row] = __int_as_float(top[row]);
    }
    if (!__any_sync(0xffffffffu, (top[0] | top[1]) < 0)) return;  // otherwise all scores of some row are negative
#endif
    float parts[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < SCORES; i++) parts[i % 4] = fmaxf(parts[i % 4], s[i]);
    maximum[0] = quad_max(fmaxf(parts[0], parts[1]));
    maximum[1] = quad_max(fmaxf(parts[2], parts[3]));
}

// Turns scores into 2^(scale * s + bias - reference) and adds them to the row sums. The reference of a row need not be its maximum, only near
// it: the rows of a warp move to their new maxima when one has outgrown its reference by RESCALE_SLACK (Dao et al., FlashAttention-4, 2025).
// Returns whether they did; `factor` is then what the outputs so far must be multiplied by.
__device__ __forceinline__ bool softmax(float (&s)[SCORES], Rows &rows, float scale, float bias, float (&factor)[2]) {
    float maximum[2];
    maxima(s, maximum);
    maximum[0] = fmaf(maximum[0], scale, bias);
    maximum[1] = fmaf(maximum[1], scale, bias);

    const bool moved = __any_sync(0xffffffffu, maximum[0] > rows.reference[0] + RESCALE_SLACK || maximum[1] > rows.reference[1] + RESCALE_SLACK);
    if (moved) {
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float reference = fmaxf(rows.reference[row], maximum[row]);
            factor[row] = exp2_fast(rows.reference[row] - reference);
            rows.sum[row] *= factor[row];
            rows.reference[row] = reference;
        }
    }

    const float shift[2] = {bias - rows.reference[0], bias - rows.reference[1]};
    float sum[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < SCORES; i++) {
        s[i] = exp2_fast(fmaf(s[i], scale, shift[i / 2 % 2]));
        sum[i % 4] += s[i];
    }
    rows.sum[0] += sum[0] + sum[1];
    rows.sum[1] += sum[2] + sum[3];
    return moved;
}

__device__ __forceinline__ void rescale(float (&o)[OUTPUTS], const float (&factor)[2]) {
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) o[i] *= factor[i / 2 % 2];
}

__device__ __forceinline__ void pack(u32 (&p)[PACKED], const float (&s)[SCORES]) {
#pragma unroll
    for (int i = 0; i < PACKED; i++) p[i] = pack_bf16(s[2 * i], s[2 * i + 1]);
}

// ---- schedule -------------------------------------------------------------------------------------------------------------------------------

// A range of key blocks of one tile.
struct Work {
    int tile;
    int begin;
    int end;
};

// What this thread block computes: first its share of the split tiles, then whole tiles. The share is walked tile by tile from its end: the thread
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

    // Where the share of a thread block begins.
    static __device__ __forceinline__ int share(const Arguments &a, int block) {
        return (u32)(a.tiles - a.whole_tiles) * a.key_blocks * block / gridDim.x;
    }

    // The thread block whose share holds a unit.
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

// Walks the key blocks of all runs.
struct Cursor {
    int run = 0;
    int row = 0;

    __device__ __forceinline__ Cursor(const Arguments &a, int block) {
        for (; run + 1 < a.runs; run++) {
            const int blocks = (a.count[run] + BLOCK_KEYS - 1) / BLOCK_KEYS;
            if (block < blocks) break;
            block -= blocks;
        }
        row = block * BLOCK_KEYS;
    }

    __device__ __forceinline__ void advance(const Arguments &a) {
        row += BLOCK_KEYS;
        if (row >= a.count[run]) {
            row = 0;
            run++;
        }
    }
};

// ---- producer -------------------------------------------------------------------------------------------------------------------------------

struct Producer {
    const Maps &maps;
    Shared &shared;
    Ring<STAGES> key, value;
    Ring<QUERY_STAGES> query;

    __device__ __forceinline__ Producer(const Maps &maps, Shared &shared) : maps(maps), shared(shared) {}

    __device__ __forceinline__ void load_query(int tile_row, int head) {
#pragma unroll
        for (int group = 0; group < GROUPS; group++) {
            u64 *full = &shared.query_full[query.stage][group];
            barrier_wait(&shared.query_empty[query.stage][group], query.phase ^ 1);
            barrier_expect(full, QUERY_BYTES);
            load_box(shared.query[query.stage][group], &maps.query, tile_row + group * GROUP_ROWS, QK_HALVES * head, full);
        }
        query.advance();
    }

    __device__ __forceinline__ void load_key(const Cursor &at, int head) {
        barrier_wait(&shared.key_empty[key.stage], key.phase ^ 1);
        barrier_expect(&shared.key_full[key.stage], KEY_BYTES);
        load_box(shared.key[key.stage], &maps.key[at.run], at.row, QK_HALVES * head, &shared.key_full[key.stage]);
        key.advance();
    }

    __device__ __forceinline__ void load_value(const Cursor &at, int head) {
        barrier_wait(&shared.value_empty[value.stage], value.phase ^ 1);
        barrier_expect(&shared.value_full[value.stage], VALUE_BYTES);
        load_box(shared.value[value.stage], &maps.value[at.run], at.row, VALUE_HALVES * head, &shared.value_full[value.stage]);
        value.advance();
    }
};

// Loads in the order of use: K0, then K1, V0, K2, V1, ...
__device__ __forceinline__ void produce(const Maps &maps, const Arguments &a, Shared &shared) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&maps.query) : "memory");
    asm volatile("prefetch.tensormap [%0];" ::"l"(&maps.key[0]) : "memory");
    asm volatile("prefetch.tensormap [%0];" ::"l"(&maps.value[0]) : "memory");
    Producer producer(maps, shared);
    Schedule schedule(a);
    Work work;
    while (schedule.next(a, work)) {
        const int head = work.tile / a.query_tiles;
        const int tile_row = work.tile % a.query_tiles * TILE_ROWS;
        Cursor at(a, work.begin);
        producer.load_query(tile_row, head);
        producer.load_key(at, head);
#pragma unroll 1
        for (int block = work.begin + 1; block < work.end; block++) {
            const Cursor before = at;
            at.advance(a);
            producer.load_key(at, head);
            producer.load_value(before, head);
        }
        producer.load_value(at, head);
    }
}

// ---- consumers ------------------------------------------------------------------------------------------------------------------------------

constexpr int PARTIAL_VECTORS = (OUTPUTS / 4 + 1) * GROUP_THREADS;  // float4s one warpgroup leaves for a part of a tile

// Brings the parts of a split tile together. The last warpgroup to get here sums all parts up, in the order of the keys, and returns true; the
// others leave theirs in `partials`.
__device__ __forceinline__ bool merge_parts(const Arguments &a, Shared &shared, const Work &work, int group, float (&o)[OUTPUTS], Rows &rows) {
    const int thread = threadIdx.x % GROUP_THREADS;
    const int split_tile = work.tile - a.whole_tiles;
    const int first = Schedule::owner(a, split_tile * a.key_blocks);
    const int last = Schedule::owner(a, (split_tile + 1) * a.key_blocks - 1);
    // A thread block's share touches at most two tiles, since there are fewer split tiles than thread blocks.
    auto part = [&](int block) {
        const int slot = 2 * block + (Schedule::share(a, block) / a.key_blocks != split_tile);
        return a.partials + (slot * GROUPS + group) * PARTIAL_VECTORS + thread;
    };
    int *arrivals = &a.arrivals[split_tile * GROUPS + group];
    int &is_last = shared.is_last[group];

    if (thread == 0) is_last = load_acquire(arrivals) == last - first;
    named_sync(GROUP + group, GROUP_THREADS);
    if (!is_last) {
        float4 *own = part(blockIdx.x);
#pragma unroll
        for (int i = 0; i < OUTPUTS / 4; i++) __stcg(own + i * GROUP_THREADS, make_float4(o[4 * i], o[4 * i + 1], o[4 * i + 2], o[4 * i + 3]));
        __stcg(own + OUTPUTS / 4 * GROUP_THREADS, make_float4(rows.reference[0], rows.reference[1], rows.sum[0], rows.sum[1]));
        named_sync(GROUP + group, GROUP_THREADS);
        if (thread == 0) is_last = add_acquire_release(arrivals, 1) == last - first;
        named_sync(GROUP + group, GROUP_THREADS);
        if (!is_last) return false;
    }
    if (thread == 0) *arrivals = 0;

    float reference[2] = {rows.reference[0], rows.reference[1]};
    for (int block = first; block <= last; block++) {
        if (block == blockIdx.x) continue;
        const float4 state = __ldcg(part(block) + OUTPUTS / 4 * GROUP_THREADS);
        reference[0] = fmaxf(reference[0], state.x);
        reference[1] = fmaxf(reference[1], state.y);
    }
    float total[OUTPUTS], sum[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) total[i] = 0;
    for (int block = first; block <= last; block++) {
        if (block == blockIdx.x) {
            const float factor[2] = {exp2_fast(rows.reference[0] - reference[0]), exp2_fast(rows.reference[1] - reference[1])};
            sum[0] = fmaf(rows.sum[0], factor[0], sum[0]);
            sum[1] = fmaf(rows.sum[1], factor[1], sum[1]);
#pragma unroll
            for (int i = 0; i < OUTPUTS; i++) total[i] = fmaf(o[i], factor[i / 2 % 2], total[i]);
        } else {
            const float4 *from = part(block);
            const float4 state = __ldcg(from + OUTPUTS / 4 * GROUP_THREADS);
            const float factor[2] = {exp2_fast(state.x - reference[0]), exp2_fast(state.y - reference[1])};
            sum[0] = fmaf(state.z, factor[0], sum[0]);
            sum[1] = fmaf(state.w, factor[1], sum[1]);
#pragma unroll
            for (int i = 0; i < OUTPUTS / 4; i++) {
                const float4 o4 = __ldcg(from + i * GROUP_THREADS);
                total[4 * i] = fmaf(o4.x, factor[0], total[4 * i]);
                total[4 * i + 1] = fmaf(o4.y, factor[0], total[4 * i + 1]);
                total[4 * i + 2] = fmaf(o4.z, factor[1], total[4 * i + 2]);
                total[4 * i + 3] = fmaf(o4.w, factor[1], total[4 * i + 3]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) o[i] = total[i];
    rows.sum[0] = sum[0];
    rows.sum[1] = sum[1];
    return true;
}

// Writes normalised outputs times `factor` into shared memory as e4m3, in the layout of the output map's box: a head is one row.
__device__ __forceinline__ void stage_outputs_f8(unsigned char *target, const float (&o)[OUTPUTS], const Rows &rows, float factor) {
    const float scale[2] = {factor / rows.sum[0], factor / rows.sum[1]};
    const int lane = threadIdx.x % 32;
    const int first = threadIdx.x % GROUP_THREADS / 32 * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < HEAD_DIM / 8; j++) {  // columns 8j + 2 * (lane % 4) and the next, of two rows
        const int column = 8 * j + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = first + 8 * i;
            unsigned short pair;
            asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(o[4 * j + 2 * i + 1] * scale[i]), "f"(o[4 * j + 2 * i] * scale[i]));
            *reinterpret_cast<unsigned short *>(target + row * HALF_ROW_BYTES + (column / 16 ^ row % 8) * 16 + column % 16) = pair;
        }
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Writes normalised outputs into shared memory as bf16, in the layout of the output map's box.
__device__ __forceinline__ void stage_outputs(unsigned char *target, const float (&o)[OUTPUTS], const Rows &rows) {
    const float inverse[2] = {1.0f / rows.sum[0], 1.0f / rows.sum[1]};
    const int lane = threadIdx.x % 32;
    const int row = threadIdx.x % GROUP_THREADS / 32 * 16 + lane % 16;
#pragma unroll
    for (int pair = 0; pair < HEAD_DIM / 16; pair++) {  // 16 columns, 2 of the 16-byte pieces that the swizzle permutes
        u32 r[4];
#pragma unroll
        for (int i = 0; i < 4; i++) r[i] = pack_bf16(o[8 * pair + 2 * i] * inverse[i % 2], o[8 * pair + 2 * i + 1] * inverse[i % 2]);
        const int piece = (pair * 2 + lane / 16) % 8;
        const u32 address = shared_address(target) + pair / 4 * QUERY_HALF_BYTES + row * HALF_ROW_BYTES + (piece ^ row % 8) * 16;
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                     : "memory");
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

struct Consumer {
    const Maps &maps;
    const Arguments &a;
    Shared &shared;
    const int group;
    Ring<STAGES> key, value;
    Ring<QUERY_STAGES> query;
    u64 *held = nullptr;  // with several query stages, the leader's: one to be released when the store of the outputs in it has read them

    float s[SCORES];   // of the key block at hand
    u32 p[PACKED];     // their exponentials, for the next turn's P * V
    float o[OUTPUTS];
    Rows rows;

    __device__ __forceinline__ Consumer(const Maps &maps, const Arguments &a, Shared &shared, int group)
        : maps(maps), a(a), shared(shared), group(group) {}

    __device__ __forceinline__ bool is_leader() const { return threadIdx.x % GROUP_THREADS == 0; }

    __device__ __forceinline__ void release(u64 *barrier) {
        if (threadIdx.x % 32 == 0) barrier_arrive(barrier);  // each warp on its own, once it has waited for its products
    }

    __device__ __forceinline__ void wait_key() { barrier_wait(&shared.key_full[key.stage], key.phase); }

    __device__ __forceinline__ void issue_scores_of_key() {
        pin(s);
        wgmma_fence();
        issue_scores(s, descriptor(shared.query[query.stage][group], 0), descriptor(shared.key[key.stage], 0));
    }

    __device__ __forceinline__ void issue_outputs_of_value() {
        barrier_wait(&shared.value_full[value.stage], value.phase);
        pin(o);
        wgmma_fence();
        issue_outputs(o, p, descriptor(shared.value[value.stage], KEY_HALF_BYTES));
    }

    template <int PENDING>
    __device__ __forceinline__ void wait_scores() {
        wgmma_wait<PENDING>();
        pin(s);
        release(&shared.key_empty[key.stage]);
        key.advance();
    }

    __device__ __forceinline__ void wait_outputs() {
        wgmma_wait<0>();
        pin(o);
        release(&shared.value_empty[value.stage]);
        value.advance();
    }

    // Returns whether the outputs so far must be multiplied by `factor`.
    __device__ __forceinline__ bool softmax_of(const Cursor &at, float (&factor)[2]) {
        const int valid = a.count[at.run] - at.row;
        if (valid < BLOCK_KEYS) mask(s, valid);
        return softmax(s, rows, a.scale * LOG2_E, a.bias[at.run] * LOG2_E, factor);
    }

    // The first key block of a tile: scores only.
    __device__ __forceinline__ void begin(const Cursor &at, bool counts_zero_keys) {
        rows.reference[0] = rows.reference[1] = counts_zero_keys ? 0.0f : -infinity();
        rows.sum[0] = rows.sum[1] = counts_zero_keys && threadIdx.x % 4 == 0 ? (float)a.zero_keys : 0.0f;
        barrier_wait(&shared.query_full[query.stage][group], query.phase);
        wait_key();
        issue_scores_of_key();
        if (held != nullptr) {
            wait_stores();
            barrier_arrive(held);
            held = nullptr;
        }
        wait_scores<0>();
        float factor[2];
        softmax_of(at, factor);
        pack(p, s);
#pragma unroll
        for (int i = 0; i < OUTPUTS; i++) o[i] = 0;
    }

    // A further key block: its scores, and the outputs of the one before.
    __device__ __forceinline__ void turn(const Cursor &at) {
        wait_key();
        named_sync(TURN + group, GROUPS * GROUP_THREADS);
        issue_scores_of_key();
        issue_outputs_of_value();
        named_arrive(TURN + (group ^ 1), GROUPS * GROUP_THREADS);
        wait_scores<1>();
        float factor[2];
        const bool moved = softmax_of(at, factor);
        wait_outputs();
        pin(s);
        pack(p, s);
        if (moved) rescale(o, factor);
    }

    __device__ __forceinline__ void end() {
        issue_outputs_of_value();
        wait_outputs();
        rows.sum[0] = quad_sum(rows.sum[0]);
        rows.sum[1] = quad_sum(rows.sum[1]);
    }

    // Writes the outputs by way of shared memory: a place of their own, or the tile's query stage. Gives the latter back to the producer.
    __device__ __forceinline__ void store(const Work &work, bool complete) {
#ifdef QK_F8
        unsigned char *stage = shared.output[group];
        if (is_leader()) wait_stores();  // the outputs of the tile before have left
#else
        unsigned char *stage = shared.query[query.stage][group];
#endif
        named_sync(GROUP + group, GROUP_THREADS);  // every warp has done its last product with the query
#ifdef QK_F8
        if (is_leader()) barrier_arrive(&shared.query_empty[query.stage][group]);
#endif
        const bool is_f8 = shared.out_factor != 0;
        if (complete) {
            if (is_f8)
                stage_outputs_f8(stage, o, rows, shared.out_factor);
            else
                stage_outputs(stage, o, rows);
            named_sync(GROUP + group, GROUP_THREADS);
        }
        if (is_leader()) {
            const int row = work.tile % a.query_tiles * TILE_ROWS + group * GROUP_ROWS;
            if (complete && row < a.queries) store_box(&maps.output, row, (is_f8 ? 1 : VALUE_HALVES) * (work.tile / a.query_tiles), stage);
#ifndef QK_F8
            held = &shared.query_empty[query.stage][group];
            if (QUERY_STAGES == 1) {  // the next tile can't begin before
                wait_stores();
                barrier_arrive(held);
                held = nullptr;
            }
#endif
        }
        query.advance();
    }

    __device__ __forceinline__ void run() {
        if (group == 1) named_arrive(TURN, GROUPS * GROUP_THREADS);  // the first turn is group 0's
        Schedule schedule(a);
        Work work;
        while (schedule.next(a, work)) {
            Cursor at(a, work.begin);
            begin(at, a.zero_keys > 0 && work.begin == 0);
            for (int block = work.begin + 1; block < work.end; block++) {
                at.advance(a);
                turn(at);
            }
            end();
            const bool whole = work.end - work.begin == a.key_blocks;
            store(work, whole || merge_parts(a, shared, work, group, o, rows));
        }
        if (is_leader()) wait_stores();
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) attention_sm90(const __grid_constant__ Maps maps, const __grid_constant__ Arguments a) {
    extern __shared__ __align__(1024) unsigned char storage[];
    Shared &shared = *reinterpret_cast<Shared *>(storage);

    if (threadIdx.x == 0) {
        shared.out_factor = a.out_scale == nullptr ? 0.0f : 1.0f / *a.out_scale;
        for (int group = 0; group < GROUPS; group++) {
            for (int stage = 0; stage < QUERY_STAGES; stage++) {
                barrier_init(&shared.query_full[stage][group], 1);
                barrier_init(&shared.query_empty[stage][group], 1);
            }
        }
        for (int stage = 0; stage < STAGES; stage++) {
            barrier_init(&shared.key_full[stage], 1);
            barrier_init(&shared.value_full[stage], 1);
            barrier_init(&shared.key_empty[stage], GROUPS * 4);  // one arrival a consumer warp
            barrier_init(&shared.value_empty[stage], GROUPS * 4);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();

    const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / GROUP_THREADS, 0);  // uniform, so that descriptors stay in uniform registers
    if (warpgroup == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(PRODUCER_REGISTERS));
        if (threadIdx.x == 0) produce(maps, a, shared);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMER_REGISTERS));
        Consumer(maps, a, shared, warpgroup - 1).run();
    }
}
