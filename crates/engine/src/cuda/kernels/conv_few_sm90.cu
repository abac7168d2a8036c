// Convolution to few channels for Hopper (sm_90a), as at the end of a decoder: taps * outputs <= TILE_N. The
// contract is in conv_common.cu, which the host puts in front, then hopper.cu. Here stride, scale and groups are 1,
// the border is zeros and the channels of the input are a multiple of 8.
//
// With so few channels nearly all the work of a convolution is to fetch each pixel once for each tap. Here each
// pixel is fetched once for each frame under the kernel: a product of BOX_H x BOX_W pixels with the weights of
// *all* taps, [pixels, channels] x [channels, taps * outputs], summed over frames and channels, gives every pixel's
// part in each of the results around it. Through shared memory each result then collects its taps_y * taps_x parts.
//
// A ring of STAGES boxes of 32 channels and their weights is filled by TMA; boxes may reach beyond the picture,
// where TMA writes zeros. GROUPS warpgroups multiply, each MATRICES times 64 pixels. The grid is persistent.
//
// Launch: conv_few_sm90<<<min(tiles, multiprocessors * BLOCKS), GROUPS * 128 + 128, shared>>>, where
//   tile_h = BOX_H - taps_y + 1, tile_w = BOX_W - taps_x + 1
//   tiles = positions * ceil(columns / tile_w) * ceil(rows / tile_h)
//   shared = STAGES * (BOX_H * BOX_W + TILE_N) * 64 + BOX_H * BOX_W * (TILE_N + 1) * 4 + 1024 bytes
//
// Tensor maps (bf16, 64-byte swizzle, no interleave, zeros outside, element strides 1), fastest dimension first:
//   x, past:  dimensions [channels, width, height, frames or past_frames], box [32, BOX_W, BOX_H, 1]
//   weights:  dimensions [channels, outputs, taps_y * taps_x, kernel_frames],
//             strides [pitch, channels, taps_y * taps_x * channels] elements, box [32, outputs, taps_y * taps_x, 1]
// Without past frames the map of x is given twice.
//
// Defines: BOX_H, BOX_W (a multiple of 64 * GROUPS pixels), TILE_N (32 or 64), GROUPS, STAGES, BLOCKS (default 1).

#define CHUNK 32  // channels in a row of shared memory
#define ROW_BYTES (CHUNK * 2)
#define SWIZZLE_BYTES (ROW_BYTES * 8)  // after which the swizzle repeats
#define PIXELS (BOX_H * BOX_W)
#define MATRICES (PIXELS / 64 / GROUPS)  // of each warpgroup
#define BOX_BYTES (PIXELS * ROW_BYTES)
#define STAGE_BYTES (BOX_BYTES + TILE_N * ROW_BYTES)
#define PART_PITCH (TILE_N + 1)  // numbers from one pixel's parts to the next's; odd against bank conflicts

struct Barriers {
    u64 full[STAGES], empty[STAGES];
};

struct Tile {
    int position, row, column;
};

__device__ __forceinline__ int tile_height(const Conv& job) {
    return BOX_H - job.taps_y + 1;
}

__device__ __forceinline__ int tile_width(const Conv& job) {
    return BOX_W - job.taps_x + 1;
}

__device__ __forceinline__ int tiles_of(const Conv& job) {
    return job.positions * ceil_div(job.columns, tile_width(job)) * ceil_div(job.rows, tile_height(job));
}

// Time runs fastest: neighbours share all but one frame.
__device__ __forceinline__ Tile tile_of(const Conv& job, int index) {
    Tile tile;
    tile.position = index % job.positions;
    index /= job.positions;
    const int wide = ceil_div(job.columns, tile_width(job));
    tile.column = index % wide * tile_width(job);
    tile.row = index / wide * tile_height(job);
    return tile;
}

// The thread that feeds the ring.
__device__ __forceinline__ void produce(const Conv& job, const TensorMap& x, const TensorMap& past,
                                        const TensorMap& weights, Barriers* barriers, u32 ring) {
    Turn<STAGES> turn;
    const int tiles = tiles_of(job);
    const u32 bytes = BOX_BYTES + job.taps_y * job.taps_x * job.outputs * ROW_BYTES;
    for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
        const Tile tile = tile_of(job, index);
        const int left = tile.column + job.origin[1][0], top = tile.row + job.origin[0][0];
        for (int tap = first_tap(job, tile.position); tap < job.kernel_frames; ++tap) {
            const int frame = tile.position * job.frame_stride + tap - job.before;
            for (int channel = 0; channel < job.channels; channel += CHUNK) {
                u64* full = &barriers->full[turn.stage];
                const u32 to = ring + turn.stage * STAGE_BYTES;
                wait(&barriers->empty[turn.stage], turn.parity ^ 1);
                expect_bytes(full, bytes);
                if (frame < 0)
                    load_box(to, past, full, channel, left, top, frame + job.past_frames);
                else
                    load_box(to, x, full, channel, left, top, frame);
                load_box(to + BOX_BYTES, weights, full, channel, 0, 0, tap);
                turn.next();
            }
        }
    }
}

// All consumers are here. The producer is not among them.
__device__ __forceinline__ void meet() {
    asm volatile("bar.sync 1, %0;" ::"n"(GROUPS * 128) : "memory");
}

// The parts of the warpgroup's pixels: lane l of a warp has columns 2 (l % 4) and the next of each eight, of pixels
// l / 4 and l / 4 + 8.
__device__ __forceinline__ void share_parts(float* parts, int group, float (&sums)[MATRICES][SUMS]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
    for (int m = 0; m < MATRICES; ++m) {
        const int pixel = (group * MATRICES + m) * 64 + warp * 16 + lane / 4;
#pragma unroll
        for (int n = 0; n < SUMS; n += 4) {
            float* to = parts + pixel * PART_PITCH + n * 2 + lane % 4 * 2;
            to[0] = sums[m][n], to[1] = sums[m][n + 1];
            to[8 * PART_PITCH] = sums[m][n + 2], to[8 * PART_PITCH + 1] = sums[m][n + 3];
        }
    }
}

// Each result collects its parts: that of tap (y, x) lies with the pixel y lines down and x columns right.
__device__ __forceinline__ void collect(const Conv& job, const Tile& tile, const float* parts) {
    const int width = tile_width(job), pixels = tile_height(job) * width;
    for (int i = threadIdx.x; i < pixels; i += GROUPS * 128) {
        const int row = i / width, column = i % width;
        if (tile.row + row >= job.rows || tile.column + column >= job.columns) continue;
        const long long at = output_at(job, tile.position, Phase{0, 0, 0}, tile.row + row, tile.column + column);
        for (int channel = 0; channel < job.outputs; ++channel) {
            float sum = bias_of(job, 0, channel);
            int part = channel;
            for (int y = 0; y < job.taps_y; ++y)
                for (int x = 0; x < job.taps_x; ++x, part += job.outputs)
                    sum += parts[((row + y) * BOX_W + column + x) * PART_PITCH + part];
            finish(job, at, channel, sum);
        }
    }
}

__device__ __forceinline__ void consume(const Conv& job, Barriers* barriers, u32 ring, float* parts, int group) {
    Turn<STAGES> turn;
    u64* used = 0;  // frees what the products in flight read
    const bool leader = threadIdx.x % 32 == 0;
    const int tiles = tiles_of(job);
    for (int index = blockIdx.x; index < tiles; index += gridDim.x) {
        const Tile tile = tile_of(job, index);
        float sums[MATRICES][SUMS] = {};
        const int boxes = (job.kernel_frames - first_tap(job, tile.position)) * ceil_div(job.channels, CHUNK);
        for (int box = 0; box < boxes; ++box) {
            wait(&barriers->full[turn.stage], turn.parity);
            const u32 stage = ring + turn.stage * STAGE_BYTES;
            const u64 pixels = descriptor<ROW_BYTES>(stage + group * MATRICES * 64 * ROW_BYTES, SWIZZLE_BYTES);
            const u64 weights = descriptor<ROW_BYTES>(stage + BOX_BYTES, SWIZZLE_BYTES);
            asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
            // Beyond the last channel both are zero.
#pragma unroll
            for (int k = 0; k < CHUNK / 16; ++k) {
#pragma unroll
                for (int m = 0; m < MATRICES; ++m)
                    multiply(sums[m], shifted(pixels, m * 64 * ROW_BYTES + k * 32), shifted(weights, k * 32));
            }
            asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
            wait_products<1>(sums);
            if (used && leader) arrive(used);
            used = &barriers->empty[turn.stage];
            turn.next();
        }
        wait_products<0>(sums);
        if (used && leader) arrive(used);
        used = 0;
        share_parts(parts, group, sums);
        meet();
        collect(job, tile, parts);
        meet();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_few_sm90(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap past,
                  const __grid_constant__ TensorMap weights, const __grid_constant__ Conv job) {
    extern __shared__ unsigned char memory[];
    __shared__ Barriers barriers;
    const u32 start = shared_address(memory), ring = ceil_div(start, SWIZZLE_BYTES) * SWIZZLE_BYTES;
    float* parts = (float*)(memory + (ring - start) + STAGES * STAGE_BYTES);
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; ++i)
            init_barrier(&barriers.full[i], 1), init_barrier(&barriers.empty[i], GROUPS * 4);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    // Uniform over the warp, so that descriptors live in uniform registers.
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    if (warp >= GROUPS * 4) {
        if (threadIdx.x == GROUPS * 128) produce(job, x, past, weights, &barriers, ring);
    } else {
        consume(job, &barriers, ring, parts, warp / 4);
    }
}
