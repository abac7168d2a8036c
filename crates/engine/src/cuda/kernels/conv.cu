// Convolution over pictures and over time as a matrix product of pixels that are read where they are ("implicit
// GEMM": Chetlur et al. 2014, "cuDNN: Efficient Primitives for Deep Learning", section 3). For any card from sm_80
// on; the contract is in conv_common.cu, which the host puts in front.
//
// M are kernels (pixels of the result), N output channels, K the elements under a kernel: [tap, channel]. A block
// makes TILE_M kernels of one frame and phase by TILE_N channels. A ring of STAGES slices of SLICE elements of K is
// filled by 16-byte cp.async, zeros where a pixel lies outside, and read by ldmatrix into mma.sync.m16n8k16. Rows
// of shared memory are 128 bytes; their 16-byte pieces are permuted by the row so that neither side meets a bank
// conflict.
//
// Launch: conv<<<tiles, THREADS, STAGES * (TILE_M + TILE_N) * SLICE * 2 bytes>>>, where
//   tiles = ceil(outputs / TILE_N) * groups * scale^2 * positions * ceil(rows * columns / TILE_M)
// Blocks that read the same pixels are neighbours in that order. `pitch` must be a multiple of 8, and a frame of the
// input smaller than 2^31 elements.
//
// Defines: TILE_N (32, 64, 96 or 128), STAGES (default 3), REFLECT for a mirrored border, GATHER where the input's
// channels are no multiple of 8 (then pixels are read element by element), SCOPE_F32 for float data without tensor cores
// (launch: see below).

#define TILE_M 128
#define SLICE 64
#define THREADS 256
#ifndef TILE_N
#define TILE_N 96
#endif
#ifndef STAGES
#define STAGES 3
#endif

// An element of K: which pixel under the kernel, and which of its channels.
struct Cursor {
    int frame, y, x, channel;

    __device__ __forceinline__ void advance(const Conv& job, int elements) {
        channel += elements;
        while (channel >= job.channels) {
            channel -= job.channels;
            if (++x < job.taps_x) continue;
            x = 0;
            if (++y < job.taps_y) continue;
            y = 0;
            ++frame;
        }
    }
};

__device__ __forceinline__ Cursor cursor_at(const Conv& job, int element) {
    Cursor cursor = {0, 0, 0, 0};
    const int frame = job.taps_y * job.taps_x * job.channels;
    cursor.frame = element / frame;
    cursor.advance(job, element % frame);
    return cursor;
}

// A frame under the kernels at `position`, or null where all is zero.
__device__ __forceinline__ const Value* frame_at(const Conv& job, int position, int tap) {
    const int index = position * job.frame_stride + tap - job.before;
    const long long size = (long long)job.height * job.width * job.channels;
    if (tap >= job.kernel_frames || index >= job.frames) return 0;
    if (index >= 0) return job.x + index * size;
    return index + job.past_frames >= 0 ? job.past + (index + job.past_frames) * size : 0;
}

__device__ __forceinline__ int mirrored(int at, int size) {
    at = abs(at);
    return at < size ? at : 2 * (size - 1) - at;
}

// The pixel under a kernel's first element.
struct Place {
    int y, x;
};

// Far enough from every picture that no tap comes back.
#define OUTSIDE (-(1 << 28))

__device__ __forceinline__ Place place_of(const Conv& job, const Phase& phase, int kernel) {
    if (kernel >= job.rows * job.columns) return {OUTSIDE, OUTSIDE};
    return {kernel / job.columns * job.stride + job.origin[0][phase.line],
            kernel % job.columns * job.stride + job.origin[1][phase.column]};
}

// Elements from a frame's start to a pixel, modulo 2^32: a frame has fewer than 2^31, but the pixel may lie outside.
__device__ __forceinline__ u32 pixel_at(const Conv& job, int y, int x) {
    return ((u32)y * job.width + x) * job.channels;
}

// The element under a cursor for the kernel at `place`, or null if it is zero. `first` is pixel_at(place), and `step`
// pixel_at(cursor), which many places share.
__device__ __forceinline__ const Value* element_at(const Conv& job, const Value* frame, Place place, u32 first,
                                                   const Cursor& cursor, u32 step) {
    int y = place.y + cursor.y, x = place.x + cursor.x;
#ifdef REFLECT
    if (place.y > OUTSIDE) {
        y = mirrored(y, job.height), x = mirrored(x, job.width);
        first = pixel_at(job, y, x), step = 0;
    }
#endif
    const bool inside = frame && (u32)y < (u32)job.height && (u32)x < (u32)job.width;
    return inside ? frame + (first + step + cursor.channel) : 0;
}

// What a block works on.
struct Tile {
    Phase phase;
    int channel, index, position, kernel;
};

__device__ __forceinline__ Tile tile_of(const Conv& job, int tile_m, int tile_n) {
    Tile tile;
    int index = blockIdx.x;
    const int across = (job.outputs + tile_n - 1) / tile_n, phases = job.groups * job.scale * job.scale;
    tile.channel = index % across * tile_n;
    index /= across;
    tile.index = index % phases;
    tile.phase = phase_of(job, tile.index);
    index /= phases;
    tile.position = index % job.positions;
    tile.kernel = index / job.positions * tile_m;
    return tile;
}

#ifndef SCOPE_F32

#define PIECE 8                          // elements in 16 bytes
#define PIECES (SLICE / PIECE)           // of a row
#define ROWS_AT_ONCE (THREADS / PIECES)  // that a block loads
#define LOADS_M (TILE_M / ROWS_AT_ONCE)  // of each thread
#define LOADS_N (TILE_N / ROWS_AT_ONCE)
#define SLICE_BYTES (SLICE * 2)
#define STAGE_BYTES ((TILE_M + TILE_N) * SLICE_BYTES)
#define WARPS_M 4
#define WARPS_N 2
#define FRAGMENTS_M (TILE_M / WARPS_M / 16)
#define FRAGMENTS_N (TILE_N / WARPS_N / 8)

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

// Copies 16 bytes, or writes zeros for a null pointer. `any` is a valid address to name then.
__device__ __forceinline__ void copy16(u32 to, const void* from, const void* any) {
    const int bytes = from ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from ? from : any), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void load_fragments(u32 (&fragments)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(from)
                 : "memory");
}

__device__ __forceinline__ void multiply(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Where piece `piece` of row `row` lies in a stage's half.
__device__ __forceinline__ u32 piece_at(int row, int piece) {
    return row * SLICE_BYTES + (piece ^ (row % PIECES)) * 16;
}

// Fills stages, each thread one column of pieces.
struct Loader {
    const Value* weights;
    Place places[LOADS_M];
    u32 firsts[LOADS_M];  // pixel_at(places)
    Cursor cursor;
    int element, depth;

    __device__ __forceinline__ Loader(const Conv& job, const Tile& tile, int first, int depth) : depth(depth) {
        const int row = threadIdx.x / PIECES;
        element = first + threadIdx.x % PIECES * PIECE;
        cursor = cursor_at(job, element);
#pragma unroll
        for (int i = 0; i < LOADS_M; ++i) {
            places[i] = place_of(job, tile.phase, tile.kernel + row + i * ROWS_AT_ONCE);
            firsts[i] = pixel_at(job, places[i].y, places[i].x);
        }
        weights = job.weights + ((long long)tile.index * job.outputs + tile.channel + row) * job.pitch;
    }

    // The next slice. Beyond the end of K all is zero.
    __device__ __forceinline__ void load(const Conv& job, const Tile& tile, u32 stage) {
        const int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
        const bool inside = element < depth;
        load_pixels(job, tile, stage, inside);
#pragma unroll
        for (int i = 0; i < LOADS_N; ++i) {
            const int channel = row + i * ROWS_AT_ONCE;
            const Value* from = weights + (long long)i * ROWS_AT_ONCE * job.pitch + element;
            const bool exists = inside && tile.channel + channel < job.outputs;
            copy16(stage + TILE_M * SLICE_BYTES + piece_at(channel, piece), exists ? from : 0, job.weights);
        }
        element += SLICE;
        cursor.advance(job, SLICE);
    }

#ifdef GATHER
    __device__ __forceinline__ void load_pixels(const Conv& job, const Tile& tile, u32 stage, bool inside) {
        u32 pairs[LOADS_M][PIECE / 2] = {};
        Cursor at = cursor;
#pragma unroll
        for (int i = 0; i < PIECE; ++i) {
            const Value* frame = inside ? frame_at(job, tile.position, at.frame) : 0;
            const u32 step = pixel_at(job, at.y, at.x);
#pragma unroll
            for (int m = 0; m < LOADS_M; ++m) {
                const Value* from = element_at(job, frame, places[m], firsts[m], at, step);
                if (from) pairs[m][i / 2] |= (u32)*from << (i % 2 * 16);
            }
            at.advance(job, 1);
        }
#pragma unroll
        for (int m = 0; m < LOADS_M; ++m) {
            const u32 to = stage + piece_at(threadIdx.x / PIECES + m * ROWS_AT_ONCE, threadIdx.x % PIECES);
            asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(pairs[m][0]), "r"(pairs[m][1]),
                         "r"(pairs[m][2]), "r"(pairs[m][3])
                         : "memory");
        }
    }
#else
    __device__ __forceinline__ void load_pixels(const Conv& job, const Tile& tile, u32 stage, bool inside) {
        const Value* frame = inside ? frame_at(job, tile.position, cursor.frame) : 0;
        const u32 step = pixel_at(job, cursor.y, cursor.x);
#pragma unroll
        for (int m = 0; m < LOADS_M; ++m) {
            const u32 to = stage + piece_at(threadIdx.x / PIECES + m * ROWS_AT_ONCE, threadIdx.x % PIECES);
            copy16(to, element_at(job, frame, places[m], firsts[m], cursor, step), job.weights);
        }
    }
#endif
};

// Where the warp's part of a tile begins.
__device__ __forceinline__ int warp_row() {
    return threadIdx.x / 32 / WARPS_N * (TILE_M / WARPS_M);
}

__device__ __forceinline__ int warp_channel() {
    return threadIdx.x / 32 % WARPS_N * (TILE_N / WARPS_N);
}

typedef float Sums[FRAGMENTS_M][FRAGMENTS_N][4];

__device__ __forceinline__ void multiply_slice(Sums& sums, u32 stage) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < SLICE / 16; ++k) {
        u32 a[FRAGMENTS_M][4];
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; ++m)
            load_fragments(a[m], stage + piece_at(warp_row() + m * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int n = 0; n < FRAGMENTS_N; n += 2) {
            u32 b[4];
            const int row = warp_channel() + n * 8 + lane % 8 + lane / 16 * 8;
            load_fragments(b, stage + TILE_M * SLICE_BYTES + piece_at(row, k * 2 + lane / 8 % 2));
#pragma unroll
            for (int m = 0; m < FRAGMENTS_M; ++m) {
                multiply(sums[m][n], a[m], b[0], b[1]);
                multiply(sums[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

__device__ __forceinline__ void start_sums(const Conv& job, const Tile& tile, Sums& sums) {
#pragma unroll
    for (int n = 0; n < FRAGMENTS_N; ++n) {
        const int channel = tile.channel + warp_channel() + n * 8 + threadIdx.x % 4 * 2;
        const float bias0 = bias_of(job, tile.phase.group, channel),
                    bias1 = bias_of(job, tile.phase.group, channel + 1);
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; ++m)
            sums[m][n][0] = sums[m][n][2] = bias0, sums[m][n][1] = sums[m][n][3] = bias1;
    }
}

template <bool SINGLE>
__device__ __forceinline__ void finish_tile(const Conv& job, const Tile& tile, Sums& sums) {
#pragma unroll
    for (int line = 0; line < FRAGMENTS_M * 2; ++line) {
        const int kernel = tile.kernel + warp_row() + line * 8 + threadIdx.x % 32 / 4;
        const int row = kernel / job.columns, column = kernel % job.columns;
        Finish<TILE_N / WARPS_N> end;
        end.at = row < job.rows ? output_at(job, tile.position, tile.phase, row, column) : -1;
        end.channel = tile.channel + warp_channel();
        end.load(job);
#pragma unroll
        for (int n = 0; n < FRAGMENTS_N; n += 2) {
            const float* first = &sums[line / 2][n][line % 2 * 2];
            const float* second = &sums[line / 2][n + 1][line % 2 * 2];
            if (SINGLE)
                end.run_single(job, n / 2, first[0], first[1], second[0], second[1]);
            else
                end.run(job, n / 2, first[0], first[1], second[0], second[1]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) conv(const __grid_constant__ Conv job) {
    extern __shared__ __align__(128) unsigned char stages[];
    const u32 ring = shared_address(stages);
    const Tile tile = tile_of(job, TILE_M, TILE_N);
    const int frame = job.taps_y * job.taps_x * job.channels, depth = job.kernel_frames * frame;
#ifdef GATHER
    const int first = 0;  // slices must begin at multiples of 8
#else
    const int first = first_tap(job, tile.position) * frame;
#endif
    const int slices = (depth - first + SLICE - 1) / SLICE;
    Loader loader(job, tile, first, depth);
    Sums sums;
    start_sums(job, tile, sums);

    // Every turn commits one group, an empty one at the end, so that the wait counts slices.
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < slices) loader.load(job, tile, ring + stage * STAGE_BYTES);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    int reading = 0, writing = STAGES - 1;
    for (int slice = 0; slice < slices; ++slice) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        // Also: everybody is done with the slice that the next load replaces.
        __syncthreads();
        if (slice + STAGES - 1 < slices) loader.load(job, tile, ring + writing * STAGE_BYTES);
        asm volatile("cp.async.commit_group;" ::: "memory");
        multiply_slice(sums, ring + reading * STAGE_BYTES);
        reading = reading + 1 < STAGES ? reading + 1 : 0;
        writing = writing + 1 < STAGES ? writing + 1 : 0;
    }
    if (job.outputs % 4)
        finish_tile<true>(job, tile, sums);
    else
        finish_tile<false>(job, tile, sums);
}

#else

// Everything in float, for comparisons with the CPU. Launch as above with TILE_M = TILE_N = F32_TILE and no dynamic
// shared memory; `pitch` may be any number. Sums of slices are added to sums of slices, which keeps the rounding
// error of long sums near that of one slice.

#define F32_TILE 64
#define F32_SLICE 32
#define F32_EACH 4  // kernels and channels of each thread, 16 apart

extern "C" __global__ void __launch_bounds__(THREADS) conv(const __grid_constant__ Conv job) {
    __shared__ float pixels[F32_SLICE][F32_TILE + 1], weights[F32_SLICE][F32_TILE + 1];
    const Tile tile = tile_of(job, F32_TILE, F32_TILE);
    const int depth = job.kernel_frames * job.taps_y * job.taps_x * job.channels;
    const int m = threadIdx.x / 16, n = threadIdx.x % 16;
    float sums[F32_EACH][F32_EACH];
    for (int i = 0; i < F32_EACH; ++i)
        for (int j = 0; j < F32_EACH; ++j) sums[i][j] = bias_of(job, tile.phase.group, tile.channel + n + j * 16);
    for (int slice = 0; slice < depth; slice += F32_SLICE) {
        __syncthreads();
        for (int i = threadIdx.x; i < F32_SLICE * F32_TILE; i += THREADS) {
            const int row = i / F32_SLICE, element = slice + i % F32_SLICE;
            const Value *pixel = 0, *weight = 0;
            if (element < depth) {
                const Cursor cursor = cursor_at(job, element);
                const Place place = place_of(job, tile.phase, tile.kernel + row);
                pixel = element_at(job, frame_at(job, tile.position, cursor.frame), place,
                                   pixel_at(job, place.y, place.x), cursor, pixel_at(job, cursor.y, cursor.x));
                const long long line = (long long)tile.index * job.outputs + tile.channel + row;
                if (tile.channel + row < job.outputs) weight = job.weights + line * job.pitch + element;
            }
            pixels[i % F32_SLICE][row] = pixel ? *pixel : 0.0f;
            weights[i % F32_SLICE][row] = weight ? *weight : 0.0f;
        }
        __syncthreads();
        float part[F32_EACH][F32_EACH] = {};
        for (int k = 0; k < F32_SLICE; ++k)
            for (int i = 0; i < F32_EACH; ++i)
                for (int j = 0; j < F32_EACH; ++j) part[i][j] += pixels[k][m + i * 16] * weights[k][n + j * 16];
        for (int i = 0; i < F32_EACH; ++i)
            for (int j = 0; j < F32_EACH; ++j) sums[i][j] += part[i][j];
    }
    for (int i = 0; i < F32_EACH; ++i) {
        const int kernel = tile.kernel + m + i * 16, row = kernel / job.columns, column = kernel % job.columns;
        if (row >= job.rows) break;
        const long long at = output_at(job, tile.position, tile.phase, row, column);
        for (int j = 0; j < F32_EACH; ++j) finish(job, at, tile.channel + n + j * 16, sums[i][j]);
    }
}

#endif
