// Interpolation from a regular grid at arbitrary points and its exact transpose; the twin of cpu/gridding.py.
//
// Grids (batch, nz, ny, nx) and samples (batch, points) are complex, pairs of REAL next to each other (re, im);
// sizes and offsets count complex numbers. DIM axes are real ones, the others have length 1. A point reaches
// WIDTH nodes per axis from `cell` on, around the end of the axis; cell and offset are (points, DIM), the slow
// axis first. No atomics: each sample and each node is summed by one thread in a fixed order.

#ifndef DIM
#define DIM 2
#endif
#ifndef WIDTH
#define WIDTH 7
#endif

typedef long long Offset;

constexpr int THREADS = 64;  // nodes of a tile, and points looked at together
constexpr int TILE_X = DIM == 1 ? 64 : DIM == 2 ? 8 : 4, TILE_Y = DIM == 1 ? 1 : DIM == 2 ? 8 : 4;
constexpr int TILE_Z = DIM == 3 ? 4 : 1;
constexpr int WIDTH_Y = DIM > 1 ? WIDTH : 1, WIDTH_Z = DIM > 2 ? WIDTH : 1;

// exp(beta (sqrt(1 - z^2) - 1)) at node j of the WIDTH nodes around a point: both kernels take every weight
// from here. The point lies `offset` beyond the place from which the first node is WIDTH / 2 away.
__device__ __forceinline__ REAL weight_of(REAL offset, int j, REAL beta)
{
    const REAL z = (offset + (REAL(j) - REAL(0.5) * REAL(WIDTH))) * (REAL(2) / REAL(WIDTH));
    return exp(beta * (sqrt(fmax(REAL(1) - z * z, REAL(0))) - REAL(1)));
}

__device__ __forceinline__ int wrapped(int i, int n)
{
    return i < n ? i : i - n;
}

// out[b, p] <- sum over nodes of weight * grid[b, node]; a thread owns a point, in the order of the tiles.
// grid: x = ceil(points / THREADS), z = ceil(batch / IMAGES) (or fewer); block: THREADS
extern "C" __global__ void __launch_bounds__(THREADS) interpolate(
    const REAL* __restrict__ grid, REAL* __restrict__ out, const int* __restrict__ cell,
    const REAL* __restrict__ offset, const int* __restrict__ order, REAL beta, int batch, Offset points, int nz,
    int ny, int nx)
{
    const Offset t = Offset(blockIdx.x) * THREADS + threadIdx.x;
    if (t >= points) return;
    const Offset p = order[t];
    const int* c = cell + p * DIM;
    const REAL* f = offset + p * DIM;
    REAL along[WIDTH];
    int column[WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        along[j] = weight_of(f[DIM - 1], j, beta);
        column[j] = wrapped(c[DIM - 1] + j, nx);
    }
    const Offset nodes = Offset(nz) * ny * nx;
    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        const REAL* image[IMAGES];  // beyond the batch: the last one again, read and not stored
        REAL re[IMAGES], im[IMAGES];
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) {
            image[b] = grid + 2 * nodes * min(b0 + b, batch - 1);
            re[b] = im[b] = REAL(0);
        }
        for (int jz = 0; jz < WIDTH_Z; ++jz) {
            const REAL wz = DIM > 2 ? weight_of(f[0], jz, beta) : REAL(1);
            const Offset plane = DIM > 2 ? Offset(wrapped(c[0] + jz, nz)) * ny : 0;
            for (int jy = 0; jy < WIDTH_Y; ++jy) {
                const REAL wy = DIM > 1 ? wz * weight_of(f[DIM > 1 ? DIM - 2 : 0], jy, beta) : wz;
                const Offset row = (plane + (DIM > 1 ? wrapped(c[DIM > 1 ? DIM - 2 : 0] + jy, ny) : 0)) * nx;
#pragma unroll
                for (int jx = 0; jx < WIDTH; ++jx) {
                    const REAL w = wy * along[jx];
                    const Offset at = 2 * (row + column[jx]);
#pragma unroll
                    for (int b = 0; b < IMAGES; ++b) {
                        re[b] = fma(w, __ldg(image[b] + at), re[b]);
                        im[b] = fma(w, __ldg(image[b] + at + 1), im[b]);
                    }
                }
            }
        }
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) {
            if (b0 + b >= batch) break;
            out[2 * ((b0 + b) * points + p)] = re[b];
            out[2 * ((b0 + b) * points + p) + 1] = im[b];
        }
    }
}

// Node `i` of an axis as seen by a point whose first node is `cell`: 0 .. WIDTH - 1, or it is not reached.
__device__ __forceinline__ int seen(int i, int cell, int n)
{
    const int j = i - cell;
    return j < 0 ? j + n : j;
}

// out[b, node] <- sum over points of weight * samples[b, p]; a block owns a tile of nodes, a thread one of them,
// and goes through the points that reach the tile, entries[starts[tile] .. starts[tile + 1]], THREADS at a time.
// grid: x = tiles, z = ceil(batch / IMAGES) (or fewer); block: THREADS
extern "C" __global__ void __launch_bounds__(THREADS) spread(
    const REAL* __restrict__ samples, REAL* __restrict__ out, const int* __restrict__ cell,
    const REAL* __restrict__ offset, const long long* __restrict__ starts, const int* __restrict__ entries,
    REAL beta, int batch, Offset points, int nz, int ny, int nx)
{
    __shared__ REAL weight[DIM][WIDTH][THREADS];
    __shared__ int first[DIM][THREADS];
    __shared__ REAL value[IMAGES][2][THREADS];
    const int tid = threadIdx.x;
    const int across = (nx + TILE_X - 1) / TILE_X, down = (ny + TILE_Y - 1) / TILE_Y;
    const int x = int(blockIdx.x % across) * TILE_X + tid % TILE_X;
    const int y = int(blockIdx.x / across % down) * TILE_Y + tid / TILE_X % TILE_Y;
    const int z = int(blockIdx.x / across / down) * TILE_Z + tid / TILE_X / TILE_Y;
    const bool mine = x < nx && y < ny && z < nz;
    const Offset begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    const Offset nodes = Offset(nz) * ny * nx, node = (Offset(z) * ny + y) * nx + x;

    for (int b0 = blockIdx.z * IMAGES; b0 < batch; b0 += gridDim.z * IMAGES) {
        REAL re[IMAGES], im[IMAGES];
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) re[b] = im[b] = REAL(0);
        for (Offset from = begin; from < end; from += THREADS) {
            const int here = int(min(Offset(THREADS), end - from));
            if (tid < here) {
                const Offset p = entries[from + tid];
#pragma unroll
                for (int d = 0; d < DIM; ++d) {
                    first[d][tid] = cell[p * DIM + d];
                    const REAL f = offset[p * DIM + d];
#pragma unroll
                    for (int j = 0; j < WIDTH; ++j) weight[d][j][tid] = weight_of(f, j, beta);
                }
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) {
                    const Offset at = 2 * (min(b0 + b, batch - 1) * points + p);
                    value[b][0][tid] = samples[at];
                    value[b][1][tid] = samples[at + 1];
                }
            }
            __syncthreads();
            for (int s = 0; mine && s < here; ++s) {
                const int jx = seen(x, first[DIM - 1][s], nx);
                const int jy = DIM > 1 ? seen(y, first[DIM > 1 ? DIM - 2 : 0][s], ny) : 0;
                const int jz = DIM > 2 ? seen(z, first[0][s], nz) : 0;
                if (jx >= WIDTH || jy >= WIDTH_Y || jz >= WIDTH_Z) continue;
                const REAL wz = DIM > 2 ? weight[0][jz][s] : REAL(1);
                const REAL wy = DIM > 1 ? wz * weight[DIM > 1 ? DIM - 2 : 0][jy][s] : wz;
                const REAL w = wy * weight[DIM - 1][jx][s];
#pragma unroll
                for (int b = 0; b < IMAGES; ++b) {
                    re[b] = fma(w, value[b][0][s], re[b]);
                    im[b] = fma(w, value[b][1][s], im[b]);
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int b = 0; b < IMAGES; ++b) {
            if (!mine || b0 + b >= batch) break;
            out[2 * ((b0 + b) * nodes + node)] = re[b];
            out[2 * ((b0 + b) * nodes + node) + 1] = im[b];
        }
    }
}
