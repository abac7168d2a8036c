// e4m3 numbers (OCP 8-bit floating point specification 1.0): bias 7, subnormals, no infinities, NaN where all bits but the
// sign are set.

constexpr float F8_LARGEST = 448.0f;

__device__ __forceinline__ float f8_to_float(u8 byte) {
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    float magnitude = exponent == 0 ? mantissa * 0.001953125f : (1.0f + mantissa / 8.0f) * exp2f((float)(exponent - 7));
    if (exponent == 15 && mantissa == 7) magnitude = __uint_as_float(0x7fc00000);
    return byte & 128 ? -magnitude : magnitude;
}

// The nearest e4m3 number, ties to even; beyond 448 the largest.
__device__ __forceinline__ u8 float_to_f8(float value) {
    u8 sign = __float_as_uint(value) >> 31 ? 128 : 0;
    float magnitude = fabsf(value);
    if (!(magnitude == magnitude)) return sign | 127;
    if (magnitude >= 448.0f) return sign | 126;
    int exponent = magnitude < 0.015625f ? -6 : (int)(__float_as_uint(magnitude) >> 23) - 127;
    // Whole steps between representable numbers; sixteen carry into the exponent by themselves.
    int steps = __float2int_rn(magnitude * exp2f((float)(3 - exponent)));
    return sign | (u8)((exponent + 6) * 8 + steps);
}

// Both of them; `first` goes to the lower address.
__device__ __forceinline__ u16 floats_to_f8(float first, float second) {
#if __CUDA_ARCH__ >= 890
    u16 pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return (u16)(float_to_f8(first) | float_to_f8(second) << 8);
#endif
}

// The scale of numbers whose largest magnitude this is: they are divided by it. Below 2^-100 all of them become zeros.
__device__ __forceinline__ float f8_scale(float largest) { return largest < 0x1p-100f ? 1.0f : largest / F8_LARGEST; }

// Eight numbers, `value` of 0 to 7, times a factor at an address that is a multiple of eight.
template <class Value>
__device__ __forceinline__ void store_f8(u8* out, float factor, Value value) {
    u16 pairs[4];
    for (int i = 0; i < 4; i++) pairs[i] = floats_to_f8(value(2 * i) * factor, value(2 * i + 1) * factor);
    *(u64*)out = (u64)pairs[0] | (u64)pairs[1] << 16 | (u64)pairs[2] << 32 | (u64)pairs[3] << 48;
}
