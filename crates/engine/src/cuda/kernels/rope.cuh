// Cosines and sines [positions, columns, 2] of time, height and width; complex columns of each; where the tokens are.
struct Rope {
    const float* axes[3];
    int columns[3];
    int start;
    int height;
    int width;
};

// Cosine and sine of a complex column of a head, for a token in time, height and width.
__device__ __forceinline__ float2 rope_angle(const Rope& rope, const int position[3], int column) {
    int axis = 0;
    while (axis < 2 && column >= rope.columns[axis]) column -= rope.columns[axis++];
    return ((const float2*)rope.axes[axis])[(i64)position[axis] * rope.columns[axis] + column];
}
