// Rows that are read once and held in registers, by the lanes of a warp or by a whole block.

// Packs of a row that a lane holds, at most; the same number stands in `ops::norm`.
constexpr int ROW_PACKS = 6;

// The lanes that share a row: those of a warp, with a row for each warp of the block, or of the block.
template <bool WARP_ROWS>
struct Team {
    u32 row;
    int lane;
    int lanes;
    float* shared;

    __device__ __forceinline__ explicit Team(float* shared) : shared(shared) {
        row = WARP_ROWS ? blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP : blockIdx.x;
        lane = WARP_ROWS ? threadIdx.x % WARP : threadIdx.x;
        lanes = WARP_ROWS ? WARP : blockDim.x;
    }

    __device__ __forceinline__ float sum(float value) const { return WARP_ROWS ? warp_sum(value) : block_sum(value, shared); }

    __device__ __forceinline__ float max(float value) const { return WARP_ROWS ? warp_max(value) : block_max(value, shared); }

    // Calls `visit(n, pack)` for each pack of the lane: its number with the lane and in the row.
    template <class Visit>
    __device__ __forceinline__ void each(int packs, Visit visit) const {
#pragma unroll
        for (int n = 0; n < ROW_PACKS; n++) {
            int pack = lane + n * lanes;
            if (pack < packs) visit(n, pack);
        }
    }
};
