// Normal numbers that are those of the CPU to the last bit: Philox4x32-10 (Salmon et al. 2011) and the method of Box and
// Muller in plain f64 arithmetic. Compiled without the fusing of products and sums, which would change the last bits.

constexpr double LN_2 = 0.693147180559945309417232121458;
constexpr double SQRT_2 = 1.41421356237309504880168872421;
constexpr double TAU = 6.28318530717958647692528676656;

// Natural logarithm of a positive, normal number.
__device__ double natural_log(double x) {
    i64 bits = __double_as_longlong(x);
    double mantissa = __longlong_as_double((bits & 0x000FFFFFFFFFFFFFll) | 0x3FF0000000000000ll);
    int exponent = (int)((u64)bits >> 52) - 1023;
    bool large = mantissa > SQRT_2;
    if (large) mantissa = 0.5 * mantissa;
    double whole = (double)(exponent + (large ? 1 : 0));
    double ratio = (mantissa - 1.0) / (mantissa + 1.0);
    double square = ratio * ratio;
    double series = 1.0 / 17.0;
    for (int divisor = 15; divisor > 0; divisor -= 2) series = series * square + 1.0 / (double)divisor;
    return 2.0 * ratio * series + whole * LN_2;
}

// Sine and cosine of (turn + 1/2) / 2^32 turns.
__device__ void sine_cosine(u32 turn, double& sine, double& cosine) {
    u32 quarter = (turn + (1u << 29)) >> 30;
    int rest = (int)(turn - (quarter << 30));
    double angle = ((double)rest + 0.5) * (TAU / 4294967296.0);
    double square = angle * angle;
    double s = 1.0, c = 1.0;
    for (int n = 14; n >= 2; n -= 2) s = 1.0 - square / ((double)n * (double)(n + 1)) * s;
    s = angle * s;
    for (int n = 15; n >= 1; n -= 2) c = 1.0 - square / ((double)n * (double)(n + 1)) * c;
    sine = quarter & 1 ? c : s;
    cosine = quarter & 1 ? -s : c;
    if (quarter & 2) {
        sine = -sine;
        cosine = -cosine;
    }
}

__device__ void box_muller(u32 a, u32 b, float* out) {
    double radius = sqrt(-2.0 * natural_log(((double)a + 0.5) / 4294967296.0));
    double sine, cosine;
    sine_cosine(b, sine, cosine);
    out[0] = (float)(radius * cosine);
    out[1] = (float)(radius * sine);
}

// out[4 i .. 4 i + 4] = the numbers of block first + i of the seed. A thread for each block.
extern "C" __global__ void normal(float* out, i64 count, i64 seed, i64 first) {
    u64 i = thread_index();
    if (4 * i >= count) return;
    u64 index = (u64)first + i;
    u32 counter[4] = {(u32)index, (u32)(index >> 32), 0, 0};
    u32 key[2] = {(u32)seed, (u32)((u64)seed >> 32)};
    for (int round = 0; round < 10; round++) {
        u64 product_0 = (u64)counter[0] * 0xD2511F53u, product_1 = (u64)counter[2] * 0xCD9E8D57u;
        u32 next[4] = {(u32)(product_1 >> 32) ^ counter[1] ^ key[0], (u32)product_1, (u32)(product_0 >> 32) ^ counter[3] ^ key[1], (u32)product_0};
        for (int word = 0; word < 4; word++) counter[word] = next[word];
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    float numbers[4];
    box_muller(counter[0], counter[1], numbers);
    box_muller(counter[2], counter[3], numbers + 2);
    for (int n = 0; n < 4 && 4 * i + n < count; n++) out[4 * i + n] = numbers[n];
}
