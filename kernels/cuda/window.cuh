// Which bins can see a tile of pixels in a view, and which of them a single pixel: candidates, no weights.

constexpr int TILE_X = 32, TILE_Y = 16;
enum Kind { STEEP, FLAT, MIXED };

// Where the pixels of a tile project in one view. At offset (u, v) from the middle of the tile, in pixels,
//     t = t0 + (a u + b v) / (1 + c u + d v),
// the inverse (N0 + Nx u + Ny v) / (D0 + Dx u + Dy v) of the line with t0 = N0 / D0, a = (Nx - t0 Dx) / D0
// and c = Dx / D0.
struct Window {
    REAL a, b, c, d, t0;
    REAL k0;     // bin of the middle of the tile, counted from `first`
    REAL reach;  // bins on either side of a pixel's own that may touch it
    int first, count, kind;
};

// Only finds candidates: a quotient good to a few ulp will do.
__device__ __forceinline__ float quotient(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ double quotient(double a, double b) { return a / b; }

// STEEP or FLAT only if all bins first .. last are. fma is monotone in t: the two ends bound all between.
__device__ __forceinline__ int kind_of(const REAL* __restrict__ view, REAL t_first, REAL t_last)
{
    const REAL ex0 = __ldg(view + 2), ex1 = __ldg(view + 3), ey0 = __ldg(view + 4), ey1 = __ldg(view + 5);
    const REAL x1 = fma(t_first, ex1, ex0), x2 = fma(t_last, ex1, ex0);
    const REAL y1 = fma(t_first, ey1, ey0), y2 = fma(t_last, ey1, ey0);
    const REAL least_x = (x1 < 0) == (x2 < 0) ? fmin(fabs(x1), fabs(x2)) : REAL(0);
    const REAL least_y = (y1 < 0) == (y2 < 0) ? fmin(fabs(y1), fabs(y2)) : REAL(0);
    if (least_y >= fmax(fabs(x1), fabs(x2))) return STEEP;
    if (least_x > fmax(fabs(y1), fabs(y2))) return FLAT;
    return MIXED;
}

// The window of the tile whose middle is at (x, y).
//
// A steep ray that touches a pixel crosses its row less than one pixel away, a flat one its column; so the
// candidates lie between the bins of the four neighbours. One pixel further, t moves by
// (Nx - t Dx) / (D + Dx), which the tile's largest |t - t0| and smallest |D| bound; arctan only shortens it.
// With the source in or near the tile the bound is poor, the difference of arctangents in bin_of may pass a
// quarter turn, and every bin is a candidate.
__device__ Window window_of(
    const REAL* __restrict__ view, const REAL* __restrict__ t, REAL fan_step, REAL x, REAL y, int ny, int nx,
    int cols)
{
    const REAL a0 = __ldg(view), a1 = __ldg(view + 1);
    const REAL ex0 = __ldg(view + 2), ex1 = __ldg(view + 3), ey0 = __ldg(view + 4), ey1 = __ldg(view + 5);
    const REAL u = REAL(0.5) * REAL(TILE_X - 1), v = REAL(0.5) * REAL(TILE_Y - 1);
    const REAL D = fma(x, ey1, -y * ex1) - a1, N = a0 - fma(x, ey0, -y * ex0);
    Window w;
    w.t0 = N / D;
    w.c = ey1 / D;
    w.d = -ex1 / D;
    w.a = -ey0 / D - w.t0 * w.c;
    w.b = ex0 / D - w.t0 * w.d;
    const REAL least = REAL(1) - (fabs(w.c) * u + fabs(w.d) * v);  // |D| / |D0| over the tile
    const REAL beside = least - fmax(fabs(w.c), fabs(w.d));
    if (!(beside > REAL(0.6))) {
        w.a = w.b = w.c = w.d = w.t0 = w.k0 = REAL(0);
        w.reach = REAL(cols);
        w.first = 0;
        w.count = cols;
        w.kind = MIXED;
        return w;
    }
    const REAL spread = (fabs(w.a) * u + fabs(w.b) * v) / least;
    const REAL step = fmax(fabs(w.a) + spread * fabs(w.c), fabs(w.b) + spread * fabs(w.d)) / beside;
    // rounding, in bins: of the rays' crossings, of t0 and of the position inside the tile
    const REAL terms = fabs(a0 / D) + fabs(x * ey0 / D) + fabs(y * ex0 / D) + REAL(nx + ny) * step;
    w.reach = step + REAL(1e-3) + REAL(2e-6) * (REAL(cols) + terms);
    const REAL bins = fan_step != REAL(0) ? atan(w.t0 * fan_step) / fan_step : w.t0;
    const REAL k = REAL(0.5) * REAL(cols - 1) + bins;
    const REAL low = fmax(ceil(k - spread - w.reach), REAL(0));
    const REAL high = fmin(floor(k + spread + w.reach), REAL(cols - 1));
    w.count = low <= high ? int(high) - int(low) + 1 : 0;
    w.first = w.count ? int(low) : 0;
    w.k0 = k - REAL(w.first);
    w.kind = w.count ? kind_of(view, __ldg(t + w.first), __ldg(t + w.first + w.count - 1)) : STEEP;
    return w;
}

// Bin, counted from `first`, of the pixel at offset (u, v) from the middle of the tile.
__device__ __forceinline__ REAL bin_of(const Window& w, REAL u, REAL v, REAL fan_step)
{
    REAL dt = fma(w.a, u, w.b * v);
    if (w.c != REAL(0) || w.d != REAL(0)) dt = quotient(dt, fma(w.c, u, fma(w.d, v, REAL(1))));
    if (fan_step == REAL(0)) return w.k0 + dt;
    // the difference of two arctangents, without cancellation
    const REAL turn = quotient(dt * fan_step, fma(w.t0 * fan_step, (w.t0 + dt) * fan_step, REAL(1)));
    return w.k0 + atan(turn) / fan_step;
}
