// Enough of CUDA to run a kernel on the CPU, one block after the other.
//
// A CUDA thread is a fiber; __syncthreads() hands over to the next one, so a block needs one OS thread and
// its __shared__ memory is a static variable. Fibers run in ascending or descending order between two
// barriers: a kernel that forgets a barrier gives different results in the two.

#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
static dim3 gridDim, blockDim, blockIdx, threadIdx;

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __align__(n) alignas(n)
#define __launch_bounds__(...)

using std::atan;
using std::ceil;
using std::exp;
using std::fabs;
using std::floor;
using std::fma;
using std::fmax;
using std::fmin;
using std::max;
using std::min;
using std::sqrt;
using std::tan;
template <class T> inline T __ldg(const T* p) { return *p; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }

namespace emulation {
constexpr std::size_t STACK = 64 * 1024;
struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK]};
    bool alive = false;
};
static ucontext_t scheduler;
static Fiber* current;
static std::function<void()> body;

inline void enter()
{
    body();
    current->alive = false;
}

inline void run_block(unsigned threads, bool descending)
{
    static std::vector<Fiber> fibers;
    while (fibers.size() < threads) fibers.emplace_back();
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& f = fibers[i];
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = &scheduler;
        f.alive = true;
        makecontext(&f.context, enter, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned s = 0; s < threads; ++s) {
            const unsigned i = descending ? threads - 1 - s : s;
            if (!fibers[i].alive) continue;
            any = true;
            current = &fibers[i];
            threadIdx = {i, 0, 0};
            swapcontext(&scheduler, &current->context);
        }
    }
}

// Blocks start .. stop of the grid (x fastest), each with `threads` threads along x.
template <class Kernel>
void launch(
    const unsigned* grid, unsigned threads, long long start, long long stop, bool descending, Kernel kernel)
{
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads, 1, 1};
    body = kernel;
    for (long long b = start; b < stop; ++b) {
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        run_block(threads, descending);
    }
}
}  // namespace emulation

inline void __syncthreads() { swapcontext(&emulation::current->context, &emulation::scheduler); }
