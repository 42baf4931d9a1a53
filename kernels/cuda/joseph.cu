// Joseph's projector in 2D and its exact adjoint; the twin of cpu/joseph.py, which states the mathematics.
//
// x (batch, ny, nx), sinograms (batch, views, cols), coef (views, 6) = a0 a1 ex0 ex1 ey0 ey1, t (cols,),
// steps = (dy, dx). No atomics: every output element is summed by its owner in a fixed order.

#include "common.cuh"
#include "window.cuh"

// ------------------------------------------------------------------------------------------ forward
// A block owns 32 bins of a view; eight threads share a ray and take every eighth row of it. Rays that cross
// rows put a warp's lanes on neighbouring bins, which read neighbouring pixels. Rays that cross columns would
// read a cache line per lane that way, so there a warp takes 4 bins times 8 consecutive columns. A ray
// belongs to exactly one of the two passes; a fan may hold both kinds in one block.

constexpr int BINS = 32, PHASES = 8, THREADS = BINS * PHASES;

struct Range {
    int begin, end;
};

// Rows (of n) where the ray is over the c pixels of a row, 0 < X < c + 1; one row to spare for rounding.
__device__ __forceinline__ Range rows_inside(const Ray& ray, int n, int c)
{
    const REAL far = REAL(c + 1);
    if (ray.m == REAL(0)) {
        const bool hit = ray.p > REAL(0) && ray.p < far;
        return {0, hit ? n : 0};
    }
    const REAL middle = REAL(0.5) * REAL(n - 1);
    const REAL one = -ray.p / ray.m + middle, other = (far - ray.p) / ray.m + middle;
    const REAL low = floor(fmin(one, other)) - REAL(1), high = ceil(fmax(one, other)) + REAL(2);
    return {int(fmin(fmax(low, REAL(0)), REAL(n))), int(fmin(fmax(high, REAL(0)), REAL(n)))};
}

// Partial line integrals of a ray through `IMAGES` images, every eighth row from `phase` on.
template <bool COLUMNS>
__device__ __forceinline__ void march(
    const Ray& ray, int phase, const REAL* __restrict__ x, const Offset (&image)[IMAGES], int ny, int nx,
    REAL (&sum)[IMAGES])
{
    const int n = COLUMNS ? nx : ny, c = COLUMNS ? ny : nx;
    const Offset along = COLUMNS ? 1 : nx, across = COLUMNS ? nx : 1;
    const Range rows = rows_inside(ray, n, c);
#pragma unroll
    for (int b = 0; b < IMAGES; ++b) sum[b] = REAL(0);
#pragma unroll 2
    for (int i = rows.begin + phase; i < rows.end; i += PHASES) {
        const REAL X = crossing(ray.p, ray.m, centred(i, n));
        const REAL left = floor(X);
        const REAL w0 = tent(X, left), w1 = tent(X, left + REAL(1));
        const int j = int(left) - 1;
        const bool in0 = unsigned(j) < unsigned(c), in1 = unsigned(j + 1) < unsigned(c);
        const Offset at = i * along + j * across;
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) {
            const REAL v0 = in0 ? __ldg(x + image[b] + at) : REAL(0);
            const REAL v1 = in1 ? __ldg(x + image[b] + at + across) : REAL(0);
            sum[b] = fma(w0, v0, fma(w1, v1, sum[b]));
        }
    }
}

// grid: x = views * ceil(cols / BINS), z = ceil(batch / IMAGES) (or fewer); block: THREADS
extern "C" __global__ void __launch_bounds__(THREADS) forward(
    const REAL* __restrict__ x, REAL* __restrict__ out, const REAL* __restrict__ coef,
    const REAL* __restrict__ t, const REAL* __restrict__ steps, REAL fan_step,
    int batch, int ny, int nx, int views, int cols)
{
    __shared__ Ray rays[BINS];
    __shared__ REAL part[IMAGES][PHASES][BINS];
    const int tid = threadIdx.x;
    const int tiles = (cols + BINS - 1) / BINS;
    const int view = blockIdx.x / tiles, first = (blockIdx.x % tiles) * BINS;
    if (tid < BINS) {
        const REAL here = __ldg(t + min(first + tid, cols - 1));
        rays[tid] = ray_of(coef + Offset(6) * view, here, steps, ny, nx);
    }
    __syncthreads();

    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        Offset image[IMAGES];  // beyond the batch: the last image again, read and not stored
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) image[b] = element(min(b0 + b, batch - 1), ny, nx, 0, 0);
        REAL sum[IMAGES];
        {
            const int bin = tid % BINS, phase = tid / BINS;
            if (!rays[bin].flat) {
                march<false>(rays[bin], phase, x, image, ny, nx, sum);
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) part[b][phase][bin] = sum[b];
            }
        }
        {
            const int bin = tid / PHASES, phase = tid % PHASES;
            if (rays[bin].flat) {
                march<true>(rays[bin], phase, x, image, ny, nx, sum);
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) part[b][phase][bin] = sum[b];
            }
        }
        __syncthreads();
        for (int s = tid; s < IMAGES * BINS; s += THREADS) {
            const int bin = s % BINS, b = s / BINS;
            if (b0 + b < batch && first + bin < cols) {
                REAL total = REAL(0);
#pragma unroll
                for (int phase = 0; phase < PHASES; ++phase) total += part[b][phase][bin];
                out[element(b0 + b, views, cols, view, first + bin)] = total * rays[bin].path;
            }
        }
        __syncthreads();
    }
}

// ------------------------------------------------------------------------------------------ adjoint
// A block owns a tile of 32 x 16 pixels and walks the views eight at a time. Warp w computes the rays of the
// w-th view that can reach the tile, once, into shared memory; then every thread gathers for its two pixels
// the few bins whose crossing is less than one pixel away. More than CAP bins are served in several rounds.

constexpr int WARP = 32, VIEWS = 8, PIXELS = 2, CAP = 64;
static_assert(TILE_X == WARP && TILE_Y == VIEWS * PIXELS, "a thread owns PIXELS pixels of a column");

struct Line {
    REAL p, m;
};

// Readings of one bin, times its path, of all images: one vector load from shared memory.
constexpr int PACK_BYTES = IMAGES * int(sizeof(REAL));
struct __align__(PACK_BYTES < 16 ? PACK_BYTES : 16) Pack {
    REAL v[IMAGES];
};

// CAP bins of one view.
struct Staged {
    Pack packs[CAP];
    Line lines[CAP];
    unsigned char flat[CAP];
};

// A pixel as rays see it: its row and column about the middle, and its padded position along either.
struct Pixel {
    REAL row, col, row_place, col_place;
};

// Adds the staged bins start .. stop to one pixel of all images.
template <int KIND>
__device__ __forceinline__ void gather(
    const Staged& view, int start, int stop, const Pixel& pixel, REAL (&sum)[IMAGES])
{
    for (int s = start; s < stop; ++s) {
        const Line line = view.lines[s];
        const bool columns = KIND == FLAT || (KIND == MIXED && view.flat[s]);
        const REAL X = crossing(line.p, line.m, columns ? pixel.col : pixel.row);
        const REAL weight = tent(X, columns ? pixel.row_place : pixel.col_place);
        const Pack pack = view.packs[s];
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) sum[b] = fma(weight, pack.v[b], sum[b]);
    }
}

// grid: x = ceil(nx / TILE_X) * ceil(ny / TILE_Y), z = ceil(batch / IMAGES) (or fewer); block: WARP * VIEWS
extern "C" __global__ void __launch_bounds__(WARP * VIEWS) adjoint(
    const REAL* __restrict__ y, REAL* __restrict__ out, const REAL* __restrict__ coef,
    const REAL* __restrict__ t, const REAL* __restrict__ steps, REAL fan_step,
    int batch, int ny, int nx, int views, int cols)
{
    __shared__ Window windows[VIEWS];
    __shared__ Staged staged[VIEWS];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int tiles = (nx + TILE_X - 1) / TILE_X;
    const int j0 = int(blockIdx.x % tiles) * TILE_X, i0 = int(blockIdx.x / tiles) * TILE_Y;
    const REAL u0 = REAL(0.5) * REAL(TILE_X - 1), v0 = REAL(0.5) * REAL(TILE_Y - 1);  // middle of the tile

    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        REAL sum[PIXELS][IMAGES];
#pragma unroll
        for (int q = 0; q < PIXELS; ++q)
#pragma unroll
            for (int b = 0; b < IMAGES; ++b) sum[q][b] = REAL(0);

        for (int group = 0; group < views; group += VIEWS) {
            const int view = group + warp;
            int first = 0, count = 0;
            if (view < views) {
                const REAL x_mid = centred(j0, nx) + u0, y_mid = centred(i0, ny) + v0;
                const REAL* one = coef + Offset(6) * view;
                const Window mine = window_of(one, t, fan_step, x_mid, y_mid, ny, nx, cols);
                first = mine.first, count = mine.count;
                if (lane == 0) windows[warp] = mine;
            } else if (lane == 0) {
                windows[warp].count = 0;
            }

            int begin = 0, longest = 0;
            do {
                for (int s = lane; s < min(CAP, count - begin); s += WARP) {
                    const int bin = first + begin + s;
                    const Ray ray = ray_of(coef + Offset(6) * view, __ldg(t + bin), steps, ny, nx);
                    staged[warp].lines[s] = {ray.p, ray.m};
                    staged[warp].flat[s] = ray.flat;
#pragma unroll
                    for (int b = 0; b < IMAGES; ++b) {
                        const Offset at = element(min(b0 + b, batch - 1), views, cols, view, bin);
                        staged[warp].packs[s].v[b] = ray.path * __ldg(y + at);
                    }
                }
                __syncthreads();
                for (int v = 0; v < VIEWS; ++v) {
                    const Window& w = windows[v];
                    longest = max(longest, w.count);
                    const int end = min(w.count - begin, CAP);
                    if (end <= 0) continue;
                    const int taps = int(REAL(2) * w.reach) + 1;
#pragma unroll
                    for (int q = 0; q < PIXELS; ++q) {
                        const int di = warp + q * VIEWS, i = i0 + di, j = j0 + lane;
                        const Pixel pixel = {centred(i, ny), centred(j, nx), REAL(i + 1), REAL(j + 1)};
                        const REAL bin = bin_of(w, REAL(lane) - u0, REAL(di) - v0, fan_step);
                        const int from = int(ceil(bin - w.reach)) - begin;
                        const int start = max(from, 0), stop = min(from + taps, end);
                        if (w.kind == STEEP)
                            gather<STEEP>(staged[v], start, stop, pixel, sum[q]);
                        else if (w.kind == FLAT)
                            gather<FLAT>(staged[v], start, stop, pixel, sum[q]);
                        else
                            gather<MIXED>(staged[v], start, stop, pixel, sum[q]);
                    }
                }
                __syncthreads();
                begin += CAP;
            } while (begin < longest);
        }

#pragma unroll
        for (int q = 0; q < PIXELS; ++q) {
            const int i = i0 + warp + q * VIEWS, j = j0 + lane;
            if (i >= ny || j >= nx) continue;
#pragma unroll
            for (int b = 0; b < IMAGES; ++b)
                if (b0 + b < batch) out[element(b0 + b, ny, nx, i, j)] = sum[q][b];
        }
    }
}
