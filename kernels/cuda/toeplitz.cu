// The passes around the transforms of a Toeplitz gram; the twin of cpu/toeplitz.py.
//
// Complex numbers are pairs of REAL, (re, im) next to each other: sizes and offsets count complex numbers,
// pointers REAL. A transform `a` holds, along its last axis, the length even frequencies and then the length
// odd ones: those of z exp(-i pi n / length), `phase` holding that factor. Nothing is summed by two threads.

typedef long long Offset;

constexpr int THREADS = 256, TILE = 32, ROWS = THREADS / TILE;

struct Complex {
    REAL re, im;
};

__device__ __forceinline__ Complex load(const REAL* __restrict__ p, Offset k)
{
    return {p[2 * k], p[2 * k + 1]};
}

__device__ __forceinline__ void store(REAL* p, Offset k, Complex z)
{
    p[2 * k] = z.re;
    p[2 * k + 1] = z.im;
}

__device__ __forceinline__ Complex times(Complex a, Complex b)
{
    return {fma(a.re, b.re, -a.im * b.im), fma(a.re, b.im, a.im * b.re)};
}

// conj(a) * b
__device__ __forceinline__ Complex against(Complex a, Complex b)
{
    return {fma(a.re, b.re, a.im * b.im), fma(a.re, b.im, -a.im * b.re)};
}

__device__ __forceinline__ Complex sum(Complex a, Complex b)
{
    return {a.re + b.re, a.im + b.im};
}

// a[g, k, r] <- (z, z phase), z = maps[g, r] x[k, r], or without maps x[g, k, r], and zeros from n on.
// grid: x = ceil(coils * components * rows * length / THREADS)
extern "C" __global__ void __launch_bounds__(THREADS) enter(
    const REAL* __restrict__ x, const REAL* __restrict__ maps, const REAL* __restrict__ phase,
    REAL* __restrict__ a, int with_maps, Offset coils, Offset components, Offset rows, Offset n, Offset length)
{
    const Offset t = Offset(blockIdx.x) * THREADS + threadIdx.x;
    const Offset i = t % length, row = t / length, r = row % rows, k = row / rows % components;
    const Offset g = row / rows / components;
    if (g >= coils) return;
    Complex even = {REAL(0), REAL(0)}, odd = even;
    if (i < n) {
        even = load(x, ((with_maps ? 0 : g * components * rows) + k * rows + r) * n + i);
        if (with_maps) even = times(even, load(maps, (g * rows + r) * n + i));
        odd = times(even, load(phase, i));
    }
    store(a, 2 * row * length + i, even);
    store(a, (2 * row + 1) * length + i, odd);
}

// out[k, r] <- sum over g of conj(maps[g, r]) (even + odd conj(phase)), added to what is there if `add`;
// without maps out[g, k, r] <- even + odd conj(phase).
// grid: x = ceil((with_maps ? 1 : coils) * components * rows * n / THREADS)
extern "C" __global__ void __launch_bounds__(THREADS) leave(
    const REAL* __restrict__ a, const REAL* __restrict__ maps, const REAL* __restrict__ phase,
    REAL* __restrict__ out, int with_maps, int add, Offset coils, Offset components, Offset rows, Offset n,
    Offset length)
{
    const Offset t = Offset(blockIdx.x) * THREADS + threadIdx.x;
    const Offset i = t % n, row = t / n;
    if (row >= (with_maps ? 1 : coils) * components * rows) return;
    const Complex turn = load(phase, i);
    if (!with_maps) {
        const Complex even = load(a, 2 * row * length + i), odd = load(a, (2 * row + 1) * length + i);
        store(out, t, sum(even, against(turn, odd)));
        return;
    }
    Complex total = {REAL(0), REAL(0)};
    if (add) total = {out[2 * t], out[2 * t + 1]};
    const Offset r = row % rows;
    for (Offset g = 0; g < coils; ++g) {
        const Offset from = g * components * rows + row;
        const Complex even = load(a, 2 * from * length + i), odd = load(a, (2 * from + 1) * length + i);
        total = sum(total, against(load(maps, (g * rows + r) * n + i), sum(even, against(turn, odd))));
    }
    store(out, t, total);
}

// A tile of columns by places along the axis that is transformed; both passes turn it in shared memory, so
// that reads and writes are contiguous.
struct Tile {
    Offset column, place, outer;
};

__device__ __forceinline__ Tile own_tile(Offset count, Offset length)
{
    const Offset across = (count + TILE - 1) / TILE, along = (length + TILE - 1) / TILE;
    const Offset t = blockIdx.x;
    return {t % across * TILE, t / across % along * TILE, t / across / along};
}

// a[o, c] <- (z, z phase), z = x[o, :, first + c], and zeros from n on; x (outer, n, inner),
// a (outer, count, 2 length). grid: x = outer * ceil(count / TILE) * ceil(length / TILE)
extern "C" __global__ void __launch_bounds__(THREADS) expand(
    const REAL* __restrict__ x, const REAL* __restrict__ phase, REAL* __restrict__ a, Offset n, Offset inner,
    Offset first, Offset count, Offset length)
{
    __shared__ REAL re[TILE][TILE + 1], im[TILE][TILE + 1];
    const Tile tile = own_tile(count, length);
    const int lane = threadIdx.x % TILE, warp = threadIdx.x / TILE;
    for (int s = warp; s < TILE; s += ROWS) {
        const Offset i = tile.place + s, c = tile.column + lane;
        Complex z = {REAL(0), REAL(0)};
        if (i < n && c < count) z = load(x, (tile.outer * n + i) * inner + first + c);
        re[s][lane] = z.re;
        im[s][lane] = z.im;
    }
    __syncthreads();
    for (int s = warp; s < TILE; s += ROWS) {
        const Offset i = tile.place + lane, c = tile.column + s;
        if (i >= length || c >= count) continue;
        const Complex even = {re[lane][s], im[lane][s]};
        const Offset row = 2 * (tile.outer * count + c);
        store(a, row * length + i, even);
        store(a, (row + 1) * length + i, i < n ? times(even, load(phase, i)) : even);
    }
}

// out[o, :, first + c] <- even + odd conj(phase). grid: x = outer * ceil(count / TILE) * ceil(n / TILE)
extern "C" __global__ void __launch_bounds__(THREADS) contract(
    const REAL* __restrict__ a, const REAL* __restrict__ phase, REAL* __restrict__ out, Offset n, Offset inner,
    Offset first, Offset count, Offset length)
{
    __shared__ REAL re[TILE][TILE + 1], im[TILE][TILE + 1];
    const Tile tile = own_tile(count, n);
    const int lane = threadIdx.x % TILE, warp = threadIdx.x / TILE;
    for (int s = warp; s < TILE; s += ROWS) {
        const Offset i = tile.place + lane, c = tile.column + s;
        if (i >= n || c >= count) continue;
        const Offset row = 2 * (tile.outer * count + c);
        const Complex odd = load(a, (row + 1) * length + i);
        const Complex z = sum(load(a, row * length + i), against(load(phase, i), odd));
        re[s][lane] = z.re;
        im[s][lane] = z.im;
    }
    __syncthreads();
    for (int s = warp; s < TILE; s += ROWS) {
        const Offset i = tile.place + s, c = tile.column + lane;
        if (i < n && c < count)
            store(out, (tile.outer * n + i) * inner + first + c, {re[lane][s], im[lane][s]});
    }
}

// a[g, :, c] <- kernel[:, first + c] a[g, :, c] at every frequency. One component: a product. More: a
// Hermitian matrix over components, whose upper triangle the kernel (pairs, inner, length) holds, real
// (`parts` 1) or complex (2). a (coils, components, count, length), components <= MOST.
// grid: x = ceil(count * length / THREADS), y = coils (or fewer)
constexpr int MOST = 16;

extern "C" __global__ void __launch_bounds__(THREADS) multiply(
    REAL* __restrict__ a, const REAL* __restrict__ kernel, int parts, Offset coils, int components,
    Offset inner, Offset first, Offset count, Offset length)
{
    const Offset t = Offset(blockIdx.x) * THREADS + threadIdx.x, plane = count * length;
    if (t >= plane) return;
    for (Offset g = blockIdx.y; g < coils; g += gridDim.y) {
        Complex z[MOST];
        for (int k = 0; k < components; ++k) z[k] = load(a, (g * components + k) * plane + t);
        for (int k = 0; k < components; ++k) {
            Complex total = {REAL(0), REAL(0)};
            for (int j = 0; j < components; ++j) {
                const int low = min(j, k), high = max(j, k);
                const Offset pair = Offset(low) * components - Offset(low) * (low - 1) / 2 + high - low;
                const Offset at = (pair * inner + first) * length + t;
                Complex weight = {kernel[parts * at], REAL(0)};
                if (parts == 2) weight.im = kernel[2 * at + 1];
                total = sum(total, j < k ? against(weight, z[j]) : times(weight, z[j]));
            }
            store(a, (g * components + k) * plane + t, total);
        }
    }
}
