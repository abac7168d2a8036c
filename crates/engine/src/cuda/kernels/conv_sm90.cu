// Convolution over pictures and over time for Hopper (sm_90a): wgmma on pixels that the tensor memory accelerator
// (TMA) brings. The contract is in conv_common.cu, which the host puts in front, then hopper.cu. Here the border is
// zeros, the stride at most 8 and the channels of the input are a multiple of 8; conv.cu does the rest.
//
// A tile is TILE_H x TILE_W kernels of one frame and phase by TILE_N channels. For each frame under the kernels and
// each chunk of 64 (at the end: 32) channels one box of pixels, as large as the tile and the border that its
// kernels reach, comes into shared memory; boxes may reach beyond the picture, where TMA writes zeros. All taps_y *
// taps_x taps are then products of the *same* box with their own weights: a tap only moves the address at which
// wgmma begins to read. That works because both TMA and wgmma permute the 16-byte pieces of a row by bits of its
// address in shared memory, wherever a matrix begins, and because eight neighbouring pixels of a line are the eight
// rows of a core matrix, with one line of the box as the stride between core matrices. So a pixel travels from L2
// about 1.3 times for each frame under the kernel instead of once for each tap (implicit GEMM: Chetlur et al. 2014,
// "cuDNN: Efficient Primitives for Deep Learning"). Where kernels are `stride` pixels apart there are stride *
// stride boxes, each of every stride-th pixel of every stride-th line, with the taps that fall on them.
//
// One thread feeds two rings, of boxes and of weights; GROUPS warpgroups multiply, each MATRICES times 64 pixels. The
// grid is persistent: while a tile is finished, the next one's first boxes and weights arrive.
//
// Launch: conv_sm90<<<min(tiles, multiprocessors * BLOCKS), GROUPS * 128 + 128, shared>>>, where
//   tiles = ceil(outputs / TILE_N) * groups * scale^2 * positions * ceil(columns / TILE_W) * ceil(rows / TILE_H)
//   box_h = TILE_H + ceil(taps_y / stride) - 1, box_w = TILE_W + ceil(taps_x / stride) - 1
//   shared = BOXES * (box_h * box_w * 128, rounded up to 1024) + WEIGHTS * TILE_N * 128 + 1024 bytes
//
// Tensor maps (bf16, no interleave, zeros outside), fastest dimension first:
//   x, past:  dimensions [channels, width, height, frames or past_frames],
//             box [chunk, box_w * stride, box_h * stride, 1], element strides [1, stride, stride, 1]
//   weights:  dimensions [channels, groups * scale^2 * outputs, kernel_frames * taps_y * taps_x],
//             strides [pitch, channels] elements, box [chunk, TILE_N, 1]
// once for chunks of 64 channels in the 128-byte swizzle, and once, as *_tail, of 32 in the 64-byte swizzle. (TMA
// is slow where a row is partly outside, so 96 channels are 64 and 32.) Where channels are a multiple of 64 the
// second three are not read, and below 64 the first; any map will do. The same holds for `past` without past
// frames.
//
// With NORM a second result is Wan's norm of the first, over the channels of each pixel, and SiLU. All of these are
// then in one tile, TILE_N of them, and the lanes that have a pixel add up its squares. The first result is rounded
// as it is stored, and not stored where `out` is null.
//
// Defines: TILE_H, TILE_W (multiples of 8), TILE_N (16, 32, 64, 96, 128 or 192), GROUPS, BOXES (default 2) and
// WEIGHTS (stages of the rings), BLOCKS (for each multiprocessor, default 1), NORM (with ACTIVATION 0).

#ifndef BOXES
#define BOXES 2
#endif

#define CHUNK 64                                  // channels in a row of shared memory
#define TAIL 32                                   // at the end
#define MATRICES (TILE_H * TILE_W / 64 / GROUPS)  // of each warpgroup, 8 x 8 pixels each
#define WEIGHT_BYTES (TILE_N * CHUNK * 2)         // of one tap
#define ALIGNMENT 1024                            // the 128-byte swizzle repeats

// Channels of a row that are finished at once: as many as registers allow.
#if TILE_N <= 96
#define PART TILE_N
#elif TILE_N == 192 && TILE_H * TILE_W / GROUPS == 64
#define PART 96
#else
#define PART 64
#endif
#define PARTS (TILE_N / PART)

// Parts whose residual waits in registers.
#define HELD (GROUPS == 3 ? 2 : MATRICES * 2 * PARTS)

// What is behind the convolution with NORM, and null without.
struct Norm {
    const float* gamma;  // byte 0: [TILE_N]
    Value* out;          // 8: of the result's shape
};  // 16 bytes

// Barriers of the two rings: full ones count bytes, empty ones consumer warps.
struct Barriers {
    u64 box_full[BOXES], box_empty[BOXES], weights_full[WEIGHTS], weights_empty[WEIGHTS];
};

// What a block works on.
struct Tile {
    Phase phase;
    int phase_index, channel, position, row, column;
};

__device__ __forceinline__ int tiles_of(const Conv& job) {
    return ceil_div(job.outputs, TILE_N) * job.groups * job.scale * job.scale * job.positions *
           ceil_div(job.columns, TILE_W) * ceil_div(job.rows, TILE_H);
}

// Tiles that read the same pixels are neighbours: channels, phases, then time, which shares all but one frame.
__device__ __forceinline__ Tile tile_of(const Conv& job, int index) {
    Tile tile;
    const int across = ceil_div(job.outputs, TILE_N), phases = job.groups * job.scale * job.scale;
    tile.channel = index % across * TILE_N;
    index /= across;
    tile.phase_index = index % phases;
    tile.phase = phase_of(job, tile.phase_index);
    index /= phases;
    tile.position = index % job.positions;
    index /= job.positions;
    const int wide = ceil_div(job.columns, TILE_W);
    tile.column = index % wide * TILE_W;
    tile.row = index / wide * TILE_H;
    return tile;
}

#ifdef NORM
__device__ __forceinline__ float low_of(u32 pair) {
    return __uint_as_float(pair << 16);
}

__device__ __forceinline__ float high_of(u32 pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

__device__ __forceinline__ void add_squares(float& squares, u32 pair) {
    squares += low_of(pair) * low_of(pair) + high_of(pair) * high_of(pair);
}

// x sigmoid(x) in few instructions: the tensor cores wait meanwhile.
__device__ __forceinline__ float silu_of(float x) {
    float power, sigmoid;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * -1.4426950408889634f));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(sigmoid) : "f"(1.0f + power));
    return x * sigmoid;
}
#endif

struct Rings {
    Barriers* barriers;
    u32 boxes, weights, box_stride;
};

__device__ __forceinline__ int box_height(const Conv& job) {
    return TILE_H + ceil_div(job.taps_y, job.stride) - 1;
}

__device__ __forceinline__ int box_width(const Conv& job) {
    return TILE_W + ceil_div(job.taps_x, job.stride) - 1;
}

// The channels of the next chunk.
__device__ __forceinline__ int chunk_of(int left) {
    return left >= CHUNK ? CHUNK : TAIL;
}

// What TMA reads, in chunks of one size.
struct Maps {
    const TensorMap *x, *past, *weights;
};

// The thread that feeds the rings.
struct Producer {
    const Rings& rings;
    const int box_pixels;
    Turn<BOXES> box;
    Turn<WEIGHTS> weight;

    // The boxes of one frame and chunk, each followed by the weights of its taps. (x, y) is the pixel of the first
    // tap.
    __device__ __forceinline__ void load(const Conv& job, const Maps& maps, int chunk, int channel, int x, int y,
                                         int tap, const Tile& tile) {
        const int frame = tile.position * job.frame_stride + tap - job.before;
        const TensorMap& pixels = frame < 0 ? *maps.past : *maps.x;
        for (int line = 0; line < min(job.stride, job.taps_y); ++line) {
            for (int column = 0; column < min(job.stride, job.taps_x); ++column) {
                u64* full = &rings.barriers->box_full[box.stage];
                wait(&rings.barriers->box_empty[box.stage], box.parity ^ 1);
                expect_bytes(full, box_pixels * chunk * 2);
                load_box(rings.boxes + box.stage * rings.box_stride, pixels, full, channel, x + column, y + line,
                         frame < 0 ? frame + job.past_frames : frame);
                box.next();
                for (int tap_y = line; tap_y < job.taps_y; tap_y += job.stride)
                    for (int tap_x = column; tap_x < job.taps_x; tap_x += job.stride)
                        load_tap(job, maps, chunk, channel, (tap * job.taps_y + tap_y) * job.taps_x + tap_x, tile);
            }
        }
    }

    __device__ __forceinline__ void load_tap(const Conv& job, const Maps& maps, int chunk, int channel, int tap,
                                             const Tile& tile) {
        u64* full = &rings.barriers->weights_full[weight.stage];
        wait(&rings.barriers->weights_empty[weight.stage], weight.parity ^ 1);
        expect_bytes(full, TILE_N * chunk * 2);
        load_weights(rings.weights + weight.stage * WEIGHT_BYTES, *maps.weights, full, channel,
                     tile.phase_index * job.outputs + tile.channel, tap);
        weight.next();
    }

    __device__ __forceinline__ void run(const Conv& job, const Maps& wide, const Maps& tail) {
        const int tiles = tiles_of(job);
        for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
            const Tile tile = tile_of(job, index);
            const int x = tile.column * job.stride + job.origin[1][tile.phase.column];
            const int y = tile.row * job.stride + job.origin[0][tile.phase.line];
            for (int tap = first_tap(job, tile.position); tap < job.kernel_frames; ++tap) {
                for (int channel = 0, chunk; channel < job.channels; channel += chunk) {
                    chunk = chunk_of(job.channels - channel);
                    const bool whole = chunk == CHUNK;
                    const Maps maps = {whole ? wide.x : tail.x, whole ? wide.past : tail.past,
                                       whole ? wide.weights : tail.weights};
                    load(job, maps, chunk, channel, x, y, tap, tile);
                }
            }
        }
    }
};

// A warpgroup's part of every tile.
struct Consumer {
    Rings rings;
    Turn<BOXES> box;
    Turn<WEIGHTS> weight;
    int group, width;  // of a box
    // Barriers of what the products in flight read, freed once they are done.
    u64 *used_box = 0, *used_weights = 0;

    __device__ __forceinline__ void release(u64*& barrier) {
        if (barrier && threadIdx.x % 32 == 0) arrive(barrier);
        barrier = 0;
    }

    // All products of one frame and chunk, with rows of ROW bytes, STEPS times 16 channels deep.
    template <int ROW, int STEPS>
    __device__ __forceinline__ void multiply_boxes(const Conv& job, float (&sums)[MATRICES][SUMS]) {
        for (int line = 0; line < min(job.stride, job.taps_y); ++line)
            for (int column = 0; column < min(job.stride, job.taps_x); ++column)
                multiply_box<ROW, STEPS>(sums, ceil_div(job.taps_y - line, job.stride),
                                         ceil_div(job.taps_x - column, job.stride));
    }

    // Those of one box, on which so many taps fall.
    template <int ROW, int STEPS>
    __device__ __forceinline__ void multiply_box(float (&sums)[MATRICES][SUMS], int taps_y, int taps_x) {
        wait(&rings.barriers->box_full[box.stage], box.parity);
        u64 pixels[MATRICES];
#pragma unroll
        for (int m = 0; m < MATRICES; ++m) {
            const int matrix = group * MATRICES + m;
            const int row = matrix / (TILE_W / 8) * 8, column = matrix % (TILE_W / 8) * 8;
            pixels[m] =
                descriptor<ROW>(rings.boxes + box.stage * rings.box_stride + (row * width + column) * ROW, width * ROW);
        }
        u64* box_empty = &rings.barriers->box_empty[box.stage];
        int tap_x = 0;
        u32 tap = 0;  // distance of the tap's first pixel in the box
        for (int left = taps_y * taps_x; left > 0; --left) {
            wait(&rings.barriers->weights_full[weight.stage], weight.parity);
            const u64 weights = descriptor<ROW>(rings.weights + weight.stage * WEIGHT_BYTES, 8 * ROW);
            asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
            for (int k = 0; k < STEPS; ++k) {
#pragma unroll
                for (int m = 0; m < MATRICES; ++m)
                    multiply(sums[m], shifted(pixels[m], tap * ROW + k * 32), shifted(weights, k * 32));
            }
            asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
            wait_products<1>(sums);
            release(used_weights);
            release(used_box);
            used_weights = &rings.barriers->weights_empty[weight.stage];
            weight.next();
            ++tap;
            if (++tap_x == taps_x) tap_x = 0, tap += width - taps_x;
        }
        used_box = box_empty;
        box.next();
    }

    __device__ __forceinline__ void start_sums(const Conv& job, const Tile& tile, float (&sums)[MATRICES][SUMS]) {
#pragma unroll
        for (int n = 0; n < TILE_N; n += 8) {
            const int channel = tile.channel + n + threadIdx.x % 4 * 2;
            const float bias0 = bias_of(job, tile.phase.group, channel),
                        bias1 = bias_of(job, tile.phase.group, channel + 1);
#pragma unroll
            for (int m = 0; m < MATRICES; ++m) {
                float* eight = &sums[m][n / 2];
                eight[0] = eight[2] = bias0, eight[1] = eight[3] = bias1;
            }
        }
    }

    // Part `index` of the warp's 2 * MATRICES rows of eight pixels, its residual on the way.
    __device__ __forceinline__ Finish<PART> part(const Conv& job, const Tile& tile, int index) {
        const int line = index / PARTS, matrix = group * MATRICES + line / 2, warp = threadIdx.x / 32 % 4;
        const int row = tile.row + matrix / (TILE_W / 8) * 8 + warp * 2 + line % 2;
        const int column = tile.column + matrix % (TILE_W / 8) * 8 + threadIdx.x % 32 / 4;
        Finish<PART> part;
        part.at = row < job.rows && column < job.columns ? output_at(job, tile.position, tile.phase, row, column) : -1;
        part.channel = tile.channel + index % PARTS * PART;
        part.load(job);
        return part;
    }

    // `held` are the first parts.
    template <bool SINGLE>
    __device__ __forceinline__ void finish_tile(const Conv& job, const Tile& tile, float (&sums)[MATRICES][SUMS],
                                                Finish<PART> (&held)[HELD]) {
#pragma unroll
        for (int p = 0; p < MATRICES * 2 * PARTS; ++p) {
            const Finish<PART> end = held[p % HELD];
            if (p + HELD < MATRICES * 2 * PARTS) held[p % HELD] = part(job, tile, p + HELD);
            const int line = p / PARTS;
#pragma unroll
            for (int n = 0; n < PART; n += 16) {
                const float* eights = &sums[line / 2][(p % PARTS * PART + n) / 2 + line % 2 * 2];
                if (SINGLE)
                    end.run_single(job, n / 16, eights[0], eights[1], eights[4], eights[5]);
                else
                    end.run(job, n / 16, eights[0], eights[1], eights[4], eights[5]);
            }
        }
    }

#ifdef NORM
    // The same with the norm behind it. `gamma` is in shared memory.
    __device__ __forceinline__ void finish_normed(const Conv& job, const Norm& norm, const float* gamma,
                                                  const Tile& tile, float (&sums)[MATRICES][SUMS],
                                                  Finish<PART> (&held)[HELD]) {
#pragma unroll
        for (int line = 0; line < MATRICES * 2; ++line) {
            uint2 rounded[TILE_N / 16];  // four channels each
            const int begin = line * PARTS;
            const long long at = held[begin % HELD].at;
            const int first = held[begin % HELD].first();
            float squares = 0.0f;
#pragma unroll
            for (int p = begin; p < begin + PARTS; ++p) {
                const Finish<PART>& end = held[p % HELD];
#pragma unroll
                for (int n = 0; n < PART; n += 16) {
                    const float* eights = &sums[line / 2][(p % PARTS * PART + n) / 2 + line % 2 * 2];
                    uint2& four = rounded[(p % PARTS * PART + n) / 16];
                    float values[4];
                    end.gather(n / 16, eights[0], eights[1], eights[4], eights[5], values);
                    four = {pack(values[0], values[1]), pack(values[2], values[3])};
                    store_if(job.out && at >= 0, job.out + at + end.first() + n, four.x, four.y);
                    add_squares(squares, four.x), add_squares(squares, four.y);
                    // One four after the other, as there are no registers for several on their way.
                    __syncwarp();
                }
            }
            // Pairs stay pairs until they are needed again, for the same reason.
#pragma unroll
            for (int i = 0; i < TILE_N / 16; ++i) asm volatile("" : "+r"(rounded[i].x), "+r"(rounded[i].y));
            // The next residual arrives while this line is finished.
#pragma unroll
            for (int p = begin; p < begin + PARTS; ++p)
                if (p + HELD < MATRICES * 2 * PARTS) held[p % HELD] = part(job, tile, p + HELD);
            squares += __shfl_xor_sync(0xffffffffu, squares, 1);
            squares += __shfl_xor_sync(0xffffffffu, squares, 2);
            const float scale = sqrtf((float)TILE_N) / fmaxf(sqrtf(squares), 1e-12f);
#pragma unroll
            for (int i = 0; i < TILE_N / 16; ++i) {
                const int channel = first + i * 16;
                const float4 factors = *(const float4*)(gamma + channel);
                const u32 low = pack(silu_of(low_of(rounded[i].x) * scale * factors.x),
                                     silu_of(high_of(rounded[i].x) * scale * factors.y));
                const u32 high = pack(silu_of(low_of(rounded[i].y) * scale * factors.z),
                                      silu_of(high_of(rounded[i].y) * scale * factors.w));
                store_if(at >= 0, norm.out + at + channel, low, high);
            }
        }
    }
#endif
};

__device__ __forceinline__ void consume(const Conv& job, const Norm& norm, const float* gamma, const Rings& rings,
                                        int group) {
    Consumer consumer;
    consumer.rings = rings;
    consumer.group = group;
    consumer.width = box_width(job);
    const int tiles = tiles_of(job);
    for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
        const Tile tile = tile_of(job, index);
        float sums[MATRICES][SUMS];
        consumer.start_sums(job, tile, sums);
        // The residual of the first parts arrives while the products are made.
        Finish<PART> held[HELD];
#pragma unroll
        for (int p = 0; p < HELD; ++p) held[p] = consumer.part(job, tile, p);
        for (int tap = first_tap(job, tile.position); tap < job.kernel_frames; ++tap)
            for (int left = job.channels; left > 0; left -= chunk_of(left)) {
                if (left >= CHUNK)
                    consumer.multiply_boxes<CHUNK * 2, CHUNK / 16>(job, sums);
                else if (left > 16)
                    consumer.multiply_boxes<TAIL * 2, 2>(job, sums);
                else
                    consumer.multiply_boxes<TAIL * 2, 1>(job, sums);
            }
        wait_products<0>(sums);
        consumer.release(consumer.used_weights);
        consumer.release(consumer.used_box);
#ifdef NORM
        consumer.finish_normed(job, norm, gamma, tile, sums, held);
#else
        if (job.outputs % 4)
            consumer.finish_tile<true>(job, tile, sums, held);
        else
            consumer.finish_tile<false>(job, tile, sums, held);
#endif
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_sm90(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap past,
              const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap x_tail,
              const __grid_constant__ TensorMap past_tail, const __grid_constant__ TensorMap weights_tail,
              const __grid_constant__ Conv job, const __grid_constant__ Norm norm) {
    extern __shared__ unsigned char memory[];
    __shared__ Barriers barriers;
    const float* factors = 0;
#ifdef NORM
    __shared__ alignas(16) float gamma[TILE_N];
    for (int i = threadIdx.x; i < TILE_N; i += THREADS) gamma[i] = norm.gamma[i];
    factors = gamma;
#endif
    Rings rings;
    rings.barriers = &barriers;
    const int box_pixels = box_height(job) * box_width(job);
    rings.box_stride = ceil_div(box_pixels * CHUNK * 2, ALIGNMENT) * ALIGNMENT;
    rings.boxes = ceil_div(shared_address(memory), ALIGNMENT) * ALIGNMENT;
    rings.weights = rings.boxes + BOXES * rings.box_stride;
    if (threadIdx.x == 0) {
        for (int i = 0; i < BOXES; ++i)
            init_barrier(&barriers.box_full[i], 1), init_barrier(&barriers.box_empty[i], GROUPS * 4);
        for (int i = 0; i < WEIGHTS; ++i)
            init_barrier(&barriers.weights_full[i], 1), init_barrier(&barriers.weights_empty[i], GROUPS * 4);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    // Uniform over the warp, so that descriptors live in uniform registers.
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    if (warp >= GROUPS * 4) {
        set_registers<false, REGISTERS_PRODUCER>();
        if (threadIdx.x == GROUPS * 128)
            Producer{rings, box_pixels}.run(job, {&x, &past, &weights}, {&x_tail, &past_tail, &weights_tail});
    } else {
        set_registers<true, REGISTERS_CONSUMER>();
        consume(job, norm, factors, rings, warp / 4);
    }
}
