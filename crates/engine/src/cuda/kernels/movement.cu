// Moving elements without changing them: patches, parts of pictures, channels side by side.

constexpr int AXES = 5;

// out[i0, i1, i2, i3, i4] = x at the strides of x, or zero where i1 or i2 lies beyond `inside`. Counts and strides are in
// units of one element, or of as many bytes as neighbours allow to be moved at once.
struct Layout {
    i64 dims[AXES];
    i64 x_strides[AXES];
    i64 out_strides[AXES];
    i64 inside[2];
};

template <class Unit>
__device__ void copy(const Unit* x, Unit* out, const Layout& layout, i64 count) {
    u64 i = thread_index();
    if (i >= count) return;
    i64 at[AXES];
    u64 rest = i;
    for (int axis = AXES - 1; axis >= 0; axis--) {
        at[axis] = rest % layout.dims[axis];
        rest /= layout.dims[axis];
    }
    i64 from = 0, to = 0;
    for (int axis = 0; axis < AXES; axis++) {
        from += at[axis] * layout.x_strides[axis];
        to += at[axis] * layout.out_strides[axis];
    }
    Unit value = {};
    if (at[1] < layout.inside[0] && at[2] < layout.inside[1]) value = x[from];
    out[to] = value;
}

extern "C" __global__ void copy_1(const u8* x, u8* out, Layout layout, i64 count) { copy(x, out, layout, count); }

extern "C" __global__ void copy_2(const u16* x, u16* out, Layout layout, i64 count) { copy(x, out, layout, count); }

extern "C" __global__ void copy_4(const u32* x, u32* out, Layout layout, i64 count) { copy(x, out, layout, count); }

extern "C" __global__ void copy_8(const u64* x, u64* out, Layout layout, i64 count) { copy(x, out, layout, count); }

struct alignas(16) u128 {
    u64 halves[2];
};

extern "C" __global__ void copy_16(const u128* x, u128* out, Layout layout, i64 count) { copy(x, out, layout, count); }
