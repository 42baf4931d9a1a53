// Pixel-driven back-projection of filtered views and its exact transpose; the twin of cpu/backproject.py.
//
// Images (batch, ny, nx), q (batch, views, cols), coef (views, 6) = a0 a1 ex0 ex1 ey0 ey1, scale (views,).
// No atomics: every output element is summed by its owner in a fixed order.

#include "common.cuh"

constexpr int WARP = 32, THREADS = 256;

// The rays x * ey - y * ex = a of a view, (a, ex, ey) affine in t, and its weight.
struct View {
    REAL a0, a1, ex0, ex1, ey0, ey1, scale;
};

__device__ __forceinline__ View view_of(const REAL* __restrict__ coef, const REAL* __restrict__ scale, int v)
{
    const REAL* c = coef + Offset(6) * v;
    return {__ldg(c), __ldg(c + 1), __ldg(c + 2), __ldg(c + 3), __ldg(c + 4), __ldg(c + 5), __ldg(scale + v)};
}

// Where a pixel lies on the detector, in padded bins (bin k sits at k + 1), and its weight there.
struct Seen {
    REAL at, weight;
};

// Both kernels take every number of a matrix entry from here. (x, y) is in pixels about the middle.
__device__ __forceinline__ Seen seen(const View& view, REAL x, REAL y, int cols, REAL fan_step)
{
    const REAL inverse = REAL(1) / (fma(x, view.ey1, -y * view.ex1) - view.a1);
    REAL t = (view.a0 - fma(x, view.ey0, -y * view.ex0)) * inverse;
    REAL weight = view.scale * inverse * inverse;
    if (fan_step != REAL(0)) {
        const REAL tangent = t * fan_step;
        weight /= fma(tangent, tangent, REAL(1));
        t = atan(tangent) / fan_step;
    }
    return {REAL(0.5) * REAL(cols - 1) + REAL(1) + t, weight};
}

// ------------------------------------------------------------------------------------------- gather
// A block owns a tile of 32 x 16 pixels, a thread two of them, and walks the views in order. The lanes of a
// warp are neighbours in a row and read neighbouring bins.

constexpr int TILE_X = WARP, PIXELS = 2, ROWS = THREADS / WARP, TILE_Y = ROWS * PIXELS;

// grid: x = ceil(nx / TILE_X) * ceil(ny / TILE_Y), z = ceil(batch / IMAGES) (or fewer); block: THREADS
extern "C" __global__ void __launch_bounds__(THREADS) gather(
    const REAL* __restrict__ q, REAL* __restrict__ out, const REAL* __restrict__ coef,
    const REAL* __restrict__ scale, REAL fan_step, int batch, int ny, int nx, int views, int cols)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int tiles = (nx + TILE_X - 1) / TILE_X;
    const int j = int(blockIdx.x % tiles) * TILE_X + lane, i0 = int(blockIdx.x / tiles) * TILE_Y + warp;

    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        Offset sinogram[IMAGES];  // beyond the batch: the last one again, read and not stored
        REAL sum[PIXELS][IMAGES];
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) {
            sinogram[b] = element(min(b0 + b, batch - 1), views, cols, 0, 0);
#pragma unroll
            for (int p = 0; p < PIXELS; ++p) sum[p][b] = REAL(0);
        }
        for (int v = 0; v < views; ++v) {
            const View view = view_of(coef, scale, v);
#pragma unroll
            for (int p = 0; p < PIXELS; ++p) {
                const Seen here = seen(view, centred(j, nx), centred(i0 + p * ROWS, ny), cols, fan_step);
                const REAL at = fmin(fmax(here.at, REAL(0)), REAL(cols + 1));
                const REAL left = floor(at);
                const REAL w0 = here.weight * tent(at, left), w1 = here.weight * tent(at, left + REAL(1));
                const int k = int(left) - 1;
                const bool in0 = unsigned(k) < unsigned(cols), in1 = unsigned(k + 1) < unsigned(cols);
                const Offset bin = Offset(v) * cols + k;
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) {
                    const REAL q0 = in0 ? __ldg(q + sinogram[b] + bin) : REAL(0);
                    const REAL q1 = in1 ? __ldg(q + sinogram[b] + bin + 1) : REAL(0);
                    sum[p][b] = fma(w0, q0, fma(w1, q1, sum[p][b]));
                }
            }
        }
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            const int i = i0 + p * ROWS;
            if (i >= ny || j >= nx) continue;
#pragma unroll
            for (int b = 0; b < IMAGES; ++b)
                if (b0 + b < batch) out[element(b0 + b, ny, nx, i, j)] = sum[p][b];
        }
    }
}

// -------------------------------------------------------------------------------------------- splat
// A block owns 32 bins of a view; eight threads share a bin and take every eighth row (or, where its ray is
// flat, column) of the image. The pixels a bin feels lie between the rays of its two neighbours: that finds
// the candidates, and `seen` decides. Warps are laid out as in the forward kernel of joseph.cu.

constexpr int BINS = 32, PHASES = THREADS / BINS;

// In the row at distance r from the middle, the pixels between p0 + m0 * r and p1 + m1 * r, margin included.
struct Band {
    REAL p0, m0, p1, m1, margin;
    bool flat;   // columns instead of rows
    bool whole;  // no such bound: every pixel is a candidate
};

// With t between t0 and t1 the pixel of a row at t is x = (a + y * ex) / ey. While ey keeps its sign that is
// monotone in t, so the two ends bound it.
__device__ Band band_of(const View& view, int bin, REAL fan_step, int ny, int nx, int cols)
{
    const REAL k = centred(bin, cols);
    REAL t0 = k - REAL(1), t = k, t1 = k + REAL(1);
    Band band;
    band.whole = false;
    if (fan_step != REAL(0)) {
        // near a quarter turn the tangent is poor, beyond it wrong
        band.whole = fmax(fabs(t0), fabs(t1)) * fabs(fan_step) > REAL(1.4);
        t0 = tan(t0 * fan_step) / fan_step;
        t = tan(t * fan_step) / fan_step;
        t1 = tan(t1 * fan_step) / fan_step;
    }
    band.flat = fabs(fma(t, view.ex1, view.ex0)) > fabs(fma(t, view.ey1, view.ey0));
    const REAL ex0 = fma(t0, view.ex1, view.ex0), ex1 = fma(t1, view.ex1, view.ex0);
    const REAL ey0 = fma(t0, view.ey1, view.ey0), ey1 = fma(t1, view.ey1, view.ey0);
    const REAL a0 = fma(t0, view.a1, view.a0), a1 = fma(t1, view.a1, view.a0);
    const REAL along0 = band.flat ? ex0 : ey0, along1 = band.flat ? ex1 : ey1;
    const int n = band.flat ? nx : ny, c = band.flat ? ny : nx;
    const REAL middle = REAL(0.5) * REAL(c - 1);
    band.m0 = (band.flat ? ey0 : ex0) / along0;
    band.m1 = (band.flat ? ey1 : ex1) / along1;
    band.p0 = (band.flat ? -a0 : a0) / along0 + middle;
    band.p1 = (band.flat ? -a1 : a1) / along1 + middle;
    if (!(along0 * along1 > REAL(0) && fmax(fabs(band.m0), fabs(band.m1)) < REAL(100))) band.whole = true;

    // rounding, in pixels: of the two rays and of `seen`
    const REAL most = fmax(fabs(t0), fabs(t1)), wide = REAL(0.5) * REAL(nx), high = REAL(0.5) * REAL(ny);
    const REAL terms = fabs(view.a0) + most * fabs(view.a1)
        + high * (fabs(view.ex0) + most * fabs(view.ex1)) + wide * (fabs(view.ey0) + most * fabs(view.ey1));
    const REAL width = fabs(band.p1 - band.p0) + fabs(band.m1 - band.m0) * REAL(0.5) * REAL(n);
    band.margin = REAL(0.01)
        + REAL(4e-6) * (terms / fmin(fabs(along0), fabs(along1)) + REAL(cols) * width);
    return band;
}

// What a bin takes from `IMAGES` images, every eighth row from `phase` on.
template <bool COLUMNS>
__device__ __forceinline__ void collect(
    const View& view, const Band& band, int bin, int phase, const REAL* __restrict__ x,
    const Offset (&image)[IMAGES], REAL fan_step, int ny, int nx, int cols, REAL (&sum)[IMAGES])
{
    const int n = COLUMNS ? nx : ny, c = COLUMNS ? ny : nx;
    const Offset along = COLUMNS ? 1 : nx, across = COLUMNS ? nx : 1;
#pragma unroll
    for (int b = 0; b < IMAGES; ++b) sum[b] = REAL(0);
    for (int i = phase; i < n; i += PHASES) {
        const REAL r = centred(i, n);
        int begin = 0, end = c;
        if (!band.whole) {
            const REAL one = fma(band.m0, r, band.p0), other = fma(band.m1, r, band.p1);
            const REAL low = ceil(fmin(one, other) - band.margin);
            const REAL high = floor(fmax(one, other) + band.margin) + REAL(1);
            begin = int(fmin(fmax(low, REAL(0)), REAL(c)));
            end = int(fmin(fmax(high, REAL(0)), REAL(c)));
        }
        for (int j = begin; j < end; ++j) {
            const REAL s = centred(j, c);
            const Seen here = seen(view, COLUMNS ? r : s, COLUMNS ? s : r, cols, fan_step);
            const REAL near = tent(here.at, REAL(bin + 1));
            if (near == REAL(0)) continue;
            const REAL weight = here.weight * near;
            const Offset at = i * along + j * across;
#pragma unroll
            for (int b = 0; b < IMAGES; ++b) sum[b] = fma(weight, __ldg(x + image[b] + at), sum[b]);
        }
    }
}

// grid: x = views * ceil(cols / BINS), z = ceil(batch / IMAGES) (or fewer); block: THREADS
extern "C" __global__ void __launch_bounds__(THREADS) splat(
    const REAL* __restrict__ x, REAL* __restrict__ out, const REAL* __restrict__ coef,
    const REAL* __restrict__ scale, REAL fan_step, int batch, int ny, int nx, int views, int cols)
{
    __shared__ Band bands[BINS];
    __shared__ REAL part[IMAGES][PHASES][BINS];
    const int tid = threadIdx.x;
    const int tiles = (cols + BINS - 1) / BINS;
    const int v = blockIdx.x / tiles, first = (blockIdx.x % tiles) * BINS;
    const View view = view_of(coef, scale, v);
    if (tid < BINS) bands[tid] = band_of(view, min(first + tid, cols - 1), fan_step, ny, nx, cols);
    __syncthreads();

    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        Offset image[IMAGES];  // beyond the batch: the last image again, read and not stored
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) image[b] = element(min(b0 + b, batch - 1), ny, nx, 0, 0);
        REAL sum[IMAGES];
        {
            const int s = tid % BINS, phase = tid / BINS, bin = first + s;
            if (!bands[s].flat && bin < cols) {
                collect<false>(view, bands[s], bin, phase, x, image, fan_step, ny, nx, cols, sum);
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) part[b][phase][s] = sum[b];
            }
        }
        {
            const int s = tid / PHASES, phase = tid % PHASES, bin = first + s;
            if (bands[s].flat && bin < cols) {
                collect<true>(view, bands[s], bin, phase, x, image, fan_step, ny, nx, cols, sum);
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) part[b][phase][s] = sum[b];
            }
        }
        __syncthreads();
        for (int s = tid; s < IMAGES * BINS; s += THREADS) {
            const int bin = s % BINS, b = s / BINS;
            if (b0 + b < batch && first + bin < cols) {
                REAL total = REAL(0);
#pragma unroll
                for (int phase = 0; phase < PHASES; ++phase) total += part[b][phase][bin];
                out[element(b0 + b, views, cols, v, first + bin)] = total;
            }
        }
        __syncthreads();
    }
}
