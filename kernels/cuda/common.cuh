// What the forward and the adjoint kernel must agree on to the last bit: ray, crossings and weights.
//
// The preamble (kernels/launch.py) defines REAL, float or double, and IMAGES, how many images one thread
// carries. Everything that enters a weight is written with explicit fma() and IEEE division, and the source
// is compiled with -fmad=false, so both kernels, every card and the CPU emulation in the tests round alike.

typedef long long Offset;  // element offsets: batches of large images pass 2^31

// An image row (or column, for a flat ray) is met at padded pixel X = p + m * r; pixel j sits at X = j + 1,
// so that X = 0 and X = n + 1 are the first places outside where no pixel is felt any more.
struct Ray {
    REAL p;     // crossing at the middle row, in padded pixels
    REAL m;     // pixels per row
    REAL path;  // length of the ray between two rows, in mm
    bool flat;  // crosses columns instead of rows
};

// Element (i, j) of plane `outer` of an array whose planes are `rows` by `cols`.
__device__ __forceinline__ Offset element(Offset outer, int rows, int cols, int i, int j)
{
    return (outer * rows + i) * cols + j;
}

// Distance from the middle of a row of n pixels to pixel i.
__device__ __forceinline__ REAL centred(int i, int n)
{
    return REAL(i) - REAL(0.5) * REAL(n - 1);
}

// The line x * ey - y * ex = a (pixels about the middle of the grid), (a, ex, ey) affine in t.
// Steep, |ey| >= |ex|:  x = a / ey + y * ex / ey.    Flat:  y = -a / ex + x * ey / ex.
__device__ __forceinline__ Ray ray_of(
    const REAL* __restrict__ view, REAL t, const REAL* __restrict__ steps, int ny, int nx)
{
    const REAL a = fma(t, __ldg(view + 1), __ldg(view));
    const REAL ex = fma(t, __ldg(view + 3), __ldg(view + 2));
    const REAL ey = fma(t, __ldg(view + 5), __ldg(view + 4));
    const REAL dy = __ldg(steps), dx = __ldg(steps + 1);
    Ray ray;
    ray.flat = fabs(ex) > fabs(ey);
    const REAL along = ray.flat ? ex : ey, across = ray.flat ? ey : ex;
    const REAL step = ray.flat ? dx : dy, side = ray.flat ? dy : dx;
    ray.m = across / along;
    ray.p = (ray.flat ? -a : a) / along + (REAL(0.5) * REAL((ray.flat ? ny : nx) - 1) + REAL(1));
    const REAL shift = ray.m * side;
    ray.path = sqrt(fma(shift, shift, step * step));
    return ray;
}

// Padded pixel at which a ray meets the row at distance r from the middle one.
__device__ __forceinline__ REAL crossing(REAL p, REAL m, REAL r)
{
    return fma(m, r, p);
}

// Weight of padded pixel `place` for a crossing at X: linear interpolation seen from the pixel.
__device__ __forceinline__ REAL tent(REAL X, REAL place)
{
    return fmax(REAL(0), REAL(1) - fabs(X - place));
}
