// The inner loops of total variation; the twin of cpu/total_variation.py. A thread owns one pixel.
//
// x, force (batch, ny, nx), z (batch, 2, ny, nx) along y and x, rates (batch, 2) = rate shrink,
// numbers = (radius, relaxation, 0), scale = reciprocals of the pixel size along y and x.

typedef long long Offset;  // element offsets: batches of large images pass 2^31

struct Pixel {
    Offset image;  // offset in the images
    Offset along_y, along_x;  // and in the two components of a dual variable
    int batch, i, j;
};

// Pixel of this thread; `batch` is beyond the last one for threads that have none.
__device__ __forceinline__ Pixel own_pixel(int ny, int nx)
{
    const Offset plane = Offset(ny) * nx;
    const Offset k = Offset(blockIdx.x) * blockDim.x + threadIdx.x, b = k / plane, r = k % plane;
    return {k, 2 * b * plane + r, (2 * b + 1) * plane + r, int(b), int(r / nx), int(r % nx)};
}

extern "C" __global__ void ascend(
    const REAL* __restrict__ x, const REAL* __restrict__ z, REAL* __restrict__ out,
    const REAL* __restrict__ rates, const REAL* __restrict__ numbers, const REAL* __restrict__ scale,
    int batch, int ny, int nx)
{
    const Pixel at = own_pixel(ny, nx);
    if (at.batch >= batch) return;
    const REAL rate = rates[2 * at.batch], shrink = rates[2 * at.batch + 1];
    const REAL radius = numbers[0], relaxation = numbers[1];
    const REAL here = x[at.image], zy = z[at.along_y], zx = z[at.along_x];
    const REAL dy = at.i + 1 < ny ? scale[0] * (x[at.image + nx] - here) : REAL(0);
    const REAL dx = at.j + 1 < nx ? scale[1] * (x[at.image + 1] - here) : REAL(0);
    const REAL y_new = fma(rate, dy, zy) * shrink, x_new = fma(rate, dx, zx) * shrink;
    const REAL factor = radius / fmax(sqrt(fma(y_new, y_new, x_new * x_new)), radius);
    out[at.along_y] = fma(relaxation, fma(factor, y_new, -zy), zy);
    out[at.along_x] = fma(relaxation, fma(factor, x_new, -zx), zx);
}

extern "C" __global__ void pull(
    const REAL* __restrict__ z, const REAL* __restrict__ force, REAL* __restrict__ out,
    const REAL* __restrict__ scale, int batch, int ny, int nx)
{
    const Pixel at = own_pixel(ny, nx);
    if (at.batch >= batch) return;
    const REAL above = at.i > 0 ? z[at.along_y - nx] : REAL(0);
    const REAL left = at.j > 0 ? z[at.along_x - 1] : REAL(0);
    const REAL down = at.i + 1 < ny ? z[at.along_y] : REAL(0);
    const REAL right = at.j + 1 < nx ? z[at.along_x] : REAL(0);
    out[at.image] = force[at.image] + fma(scale[0], above - down, scale[1] * (left - right));
}
