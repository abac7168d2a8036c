// Hopper's instructions as functions, for conv_sm90.cu and conv_few_sm90.cu, which the host puts behind this text
// and this behind conv_common.cu. TILE_N (output channels of a product) and GROUPS (consumer warpgroups) are
// defined by the host.

#ifndef BLOCKS
#define BLOCKS 1
#endif

#define SUMS (TILE_N / 2)  // of each thread, for each matrix of 64 pixels
#define THREADS (GROUPS * 128 + 128)

struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

__device__ __forceinline__ u32 shared_address(const void* pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

__device__ __forceinline__ void init_barrier(u64* barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

__device__ __forceinline__ void arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void expect_bytes(u64* barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void wait(u64* barrier, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}\n" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
}

__device__ __forceinline__ int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

// A place in a ring and the parity of its current round.
template <int SIZE>
struct Turn {
    int stage = 0;
    u32 parity = 0;

    __device__ __forceinline__ void next() {
        if (++stage == SIZE) stage = 0, parity ^= 1;
    }
};

__device__ __forceinline__ void load_box(u32 to, const TensorMap& map, u64* barrier, int channel, int x, int y,
                                         int frame) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::
            "r"(to),
        "l"(&map), "r"(shared_address(barrier)), "r"(channel), "r"(x), "r"(y), "r"(frame)
        : "memory");
}

__device__ __forceinline__ void load_weights(u32 to, const TensorMap& map, u64* barrier, int channel, int row,
                                             int tap) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
            "r"(to),
        "l"(&map), "r"(shared_address(barrier)), "r"(channel), "r"(row), "r"(tap)
        : "memory");
}

// A matrix in shared memory with rows of ROW bytes: 128 in the 128-byte swizzle, or 64 in the 64-byte swizzle. From
// eight rows to the next are `stride` bytes; in a matrix without gaps, 8 * ROW (PTX ISA, "matrix descriptor").
template <int ROW>
__device__ __forceinline__ u64 descriptor(u32 address, u32 stride) {
    const u32 low = address >> 4 | 1u << 16, high = stride >> 4 | (ROW == 128 ? 1u : 2u) << 30;
    return (u64)high << 32 | low;
}

__device__ __forceinline__ u64 shifted(u64 matrix, u32 bytes) {
    return matrix + (bytes >> 4);
}

// Registers of an operand list, and their constraints.
#define LIST_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define LIST_16 LIST_8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define LIST_32 LIST_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define LIST_48 LIST_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define LIST_64 LIST_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define LIST_96                                                                                                     \
    LIST_64                                                                                                         \
        ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89," \
        "%90,%91,%92,%93,%94,%95"
#define SUM_4(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3])
#define SUM_8(i) SUM_4(i), SUM_4(i + 4)
#define SUM_16(i) SUM_8(i), SUM_8(i + 8)
#define SUM_32(i) SUM_16(i), SUM_16(i + 16)
#define SUM_48(i) SUM_32(i), SUM_16(i + 32)
#define SUM_64(i) SUM_32(i), SUM_32(i + 32)
#define SUM_96(i) SUM_64(i), SUM_32(i + 64)
#define WGMMA(n, count, a, b)                                                                                 \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" LIST_##count "}, %" #a ", %" #b \
                                                                                           ", 1, 1, 1, 0, 0;" \
                 : SUM_##count(0)                                                                             \
                 : "l"(pixels), "l"(weights))

// Adds 64 pixels x TILE_N channels over 16 elements of K.
__device__ __forceinline__ void multiply(float (&sums)[SUMS], u64 pixels, u64 weights) {
#if TILE_N == 16
    WGMMA(16, 8, 8, 9);
#elif TILE_N == 32
    WGMMA(32, 16, 16, 17);
#elif TILE_N == 64
    WGMMA(64, 32, 32, 33);
#elif TILE_N == 96
    WGMMA(96, 48, 48, 49);
#elif TILE_N == 128
    WGMMA(128, 64, 64, 65);
#elif TILE_N == 192
    WGMMA(192, 96, 96, 97);
#else
#error "TILE_N"
#endif
}

// All but the last `PENDING` groups of products are done. Nothing that uses the sums moves across.
template <int PENDING, int MATRICES>
__device__ __forceinline__ void wait_products(float (&sums)[MATRICES][SUMS]) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
    if (PENDING == 0) {
#pragma unroll
        for (int m = 0; m < MATRICES; ++m)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) asm volatile("" : "+f"(sums[m][i])::"memory");
    }
}

// The producer's registers go to the consumers. Of the 64 Ki registers each block may use its share.
#if BLOCKS == 1 && GROUPS == 3
#define REGISTERS_PRODUCER 32
#define REGISTERS_CONSUMER 160
#elif BLOCKS == 1 && GROUPS == 2
#define REGISTERS_PRODUCER 40
#define REGISTERS_CONSUMER 232
#else
#define REGISTERS_PRODUCER 0  // as they are
#define REGISTERS_CONSUMER 0
#endif

template <bool MORE, int COUNT>
__device__ __forceinline__ void set_registers() {
    if (COUNT == 0) return;
    if (MORE)
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
    else
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
