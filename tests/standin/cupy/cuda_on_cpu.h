// Runs CUDA kernels on the CPU, so that what they compute can be tested where there is no GPU.
//
// Every CUDA thread is a fiber. Barriers of a warp, a block and the grid are points where fibers wait for each other.
// Fibers run one at a time, in an order drawn from a seed: a kernel that lacks a barrier gives other results for other
// seeds, and so tests find it. Shared memory begins as NaN: nothing may rely on zeros.
#pragma once
#define CUDA_ON_CPU
#include <math.h>
#include <setjmp.h>
#include <ucontext.h>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

struct Index { unsigned x = 0; };

namespace cuda_on_cpu {
constexpr size_t STACK = 1 << 16;

struct Barrier { unsigned size = 0, waiting = 0, phase = 0; };
struct Warp { Barrier barrier; double slots[32]; unsigned held[32][6]; };
struct Block { std::vector<char> shared; Barrier barrier; std::vector<Warp> warps; };
struct Thread {
    jmp_buf at;
    ucontext_t start;
    std::unique_ptr<char[]> stack;
    Index thread, block;
    Block *home;
    unsigned lane, warp;
    Barrier *waits_for = nullptr;
    unsigned phase = 0, grid_phase = 0;
    bool started = false, done = false;
};

inline Thread *now;
inline jmp_buf scheduler;
inline ucontext_t scheduler_context;
inline Barrier grid_barrier;
inline Index block_size, grid_size;
inline std::function<void()> kernel;

// After its start a fiber is left and entered by _setjmp and _longjmp, which make no system calls.
inline void leave() { if (!_setjmp(now->at)) _longjmp(scheduler, 1); }

inline void wait(Barrier &barrier) {
    if (++barrier.waiting == barrier.size) {  // the last to arrive opens it
        barrier.waiting = 0;
        ++barrier.phase;
        return;
    }
    now->waits_for = &barrier;
    now->phase = barrier.phase;
    leave();
}

// The barrier of the grid in two halves.
inline void arrive() {
    now->grid_phase = grid_barrier.phase;
    if (++grid_barrier.waiting == grid_barrier.size) grid_barrier.waiting = 0, ++grid_barrier.phase;
}
inline void wait_for_all() {
    if (grid_barrier.phase != now->grid_phase) return;
    now->waits_for = &grid_barrier;
    now->phase = now->grid_phase;
    leave();
}

inline void run_thread() { kernel(); now->done = true; _longjmp(scheduler, 1); }

inline void enter(Thread &thread) {
    now = &thread;
    if (_setjmp(scheduler)) return;
    if (thread.started) _longjmp(thread.at, 1);
    thread.started = true;
    swapcontext(&scheduler_context, &thread.start);
}

// Run `f` in every thread of the grid. Returns false if threads wait for a barrier that never opens.
inline bool launch(unsigned blocks, unsigned size, size_t shared_bytes, unsigned seed, std::function<void()> f) {
    grid_size.x = blocks;
    block_size.x = size;
    kernel = std::move(f);
    grid_barrier = Barrier{size * blocks};
    std::vector<Block> homes(blocks);
    std::vector<Thread> threads(size_t(size) * blocks);
    for (unsigned i = 0; i < blocks; i++) {
        Block &home = homes[i];
        home.shared.assign(shared_bytes, char(0xFF));  // NaN
        home.barrier = Barrier{size};
        home.warps.resize((size + 31) / 32);
        for (unsigned w = 0; w < home.warps.size(); w++) home.warps[w].barrier.size = std::min(32u, size - 32 * w);
        for (unsigned k = 0; k < size; k++) {
            Thread &t = threads[size_t(i) * size + k];
            t.thread.x = k, t.block.x = i, t.home = &home, t.lane = k % 32, t.warp = k / 32;
            t.stack.reset(new char[STACK]);
            getcontext(&t.start);
            t.start.uc_stack.ss_sp = t.stack.get();
            t.start.uc_stack.ss_size = STACK;
            t.start.uc_link = nullptr;
            makecontext(&t.start, run_thread, 0);
        }
    }
    std::mt19937 random(seed);
    std::vector<Thread *> order;
    for (Thread &t : threads) order.push_back(&t);
    for (size_t left = order.size(); left;) {
        std::shuffle(order.begin(), order.end(), random);
        bool moved = false;
        for (Thread *t : order) {
            if (t->done || (t->waits_for && t->waits_for->phase == t->phase)) continue;
            t->waits_for = nullptr;
            enter(*t);
            moved = true;
            left -= t->done;
        }
        if (!moved) return false;
    }
    return true;
}

template <class T> T exchange(T value, unsigned from) {  // every lane of the warp takes part
    Warp &warp = now->home->warps[now->warp];
    static_assert(sizeof(T) <= sizeof(double));
    std::memcpy(&warp.slots[now->lane], &value, sizeof(T));
    wait(warp.barrier);
    T out;
    std::memcpy(&out, &warp.slots[from], sizeof(T));
    wait(warp.barrier);
    return out;
}

// c[16, 8] += a[16, 8 * N] @ b[8 * N, 8], numbers of 32 / N bits. Of lane = 4 * group + pair: a holds rows group and
// group + 8 of columns N * pair and the next N - 1, then the same of the second half; b that of column group; c rows
// group and group + 8 of columns 2 * pair and 2 * pair + 1. (PTX ISA, "Matrix fragments for mma.m16n8k16" and ".m16n8k8".)
template <int N> void mma(float *c, const unsigned *a, const unsigned *b) {
    struct Held { unsigned a[4], b[2]; };
    Warp &warp = now->home->warps[now->warp];
    Held own = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    std::memcpy(warp.held[now->lane], &own, sizeof own);
    wait(warp.barrier);
    auto number = [](unsigned word, int part) {
        unsigned bits = N == 2 ? (part ? word & 0xffff0000u : word << 16) : word & ~0x1fffu;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return x;
    };
    for (int h = 0; h < 4; h++)
        for (int k = 0; k < 8 * N; k++) {
            int row = now->lane / 4 + h / 2 * 8, column = now->lane % 4 * 2 + h % 2, pair = k % (4 * N) / N;
            Held left, right;
            std::memcpy(&left, warp.held[row % 8 * 4 + pair], sizeof left);
            std::memcpy(&right, warp.held[column * 4 + pair], sizeof right);
            c[h] += number(left.a[row / 8 + k / (4 * N) * 2], k % N) * number(right.b[k / (4 * N)], k % N);
        }
    wait(warp.barrier);
}
}  // namespace cuda_on_cpu

#define __global__
#define __device__ inline
#define __forceinline__
#define __launch_bounds__(...)
#define threadIdx (cuda_on_cpu::now->thread)
#define blockIdx (cuda_on_cpu::now->block)
#define blockDim (cuda_on_cpu::block_size)
#define gridDim (cuda_on_cpu::grid_size)
#define DYNAMIC_SHARED(T, name) T *name = reinterpret_cast<T *>(cuda_on_cpu::now->home->shared.data())
#define GRID_ARRIVE(...) cuda_on_cpu::arrive()
#define GRID_WAIT(...) cuda_on_cpu::wait_for_all()
#define WARP_SHUFFLE_XOR(value, mask) cuda_on_cpu::exchange(value, cuda_on_cpu::now->lane ^ (mask))
#define __syncthreads() cuda_on_cpu::wait(cuda_on_cpu::now->home->barrier)
#define __syncwarp() cuda_on_cpu::wait(cuda_on_cpu::now->home->warps[cuda_on_cpu::now->warp].barrier)
#define MMA_BFLOAT16(c, a, b) cuda_on_cpu::mma<2>(c, a, b)
#define MMA_TF32(c, a, b) cuda_on_cpu::mma<1>(c, a, b)
#define ADD(address, value) (*(address) += (value))
#define PREFETCH(address) ((void)(address))
struct alignas(16) float4 { float x, y, z, w; };
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof x);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
inline unsigned bfloat16(float x) {
    unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline unsigned bfloat16x2(float low, float high) { return bfloat16(low) | bfloat16(high) << 16; }
inline unsigned tf32(float x) { return x != x ? 0x7fffffff : (__float_as_uint(x) + 0x1000) & ~0x1fffu; }
template <class T> T __ldcg(const T *p) { return *p; }
