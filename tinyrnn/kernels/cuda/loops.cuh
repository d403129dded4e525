// What generated loops over time call on a GPU. F is float or double. PRECISION says what products are made of: of F (0),
// or by tensor cores, with sums in float: of numbers rounded to bfloat16 (1) or TensorFloat-32 (2), or of floats as sums
// of two TensorFloat-32 numbers (3). A block multiplies ROWS rows (16, 32 or 64) by TILE columns (8, 16 or 32) at once.
// THREADS: of a block, at most. QUADS: rows to multiply are multiples of 4 numbers wide (their arrays are our own, and
// aligned).
//
// A loop is a sequence of phases: a pass over the rows of the batch, which are dealt to blocks, or products, whose
// tiles are; a product may be one phase with the pass over rows that follows it. Blocks see what others wrote in
// earlier phases. The same source runs in one launch for all steps (then the grid waits between phases, and must be
// resident as a whole) or in one launch a phase.
//
// It needs no header of CUDA's, so that NVRTC compiles it anywhere. Run on a CPU by tests, through cuda_on_cpu.h,
// which defines these macros itself.
#ifndef CUDA_ON_CPU
#define DYNAMIC_SHARED(T, name)                     \
    extern __shared__ __align__(16) char shared_bytes[]; \
    T *name = reinterpret_cast<T *>(shared_bytes)
#define WARP_SHUFFLE_XOR(value, mask) __shfl_xor_sync(0xffffffffu, value, mask)
#define GRID_ARRIVE(arrived) grid_arrive(arrived)
#define GRID_WAIT(arrived, goal) grid_wait(arrived, goal)
// c[16, 8] += a[16, DEPTH] @ b[DEPTH, 8] by all lanes of a warp; who holds which element: `multiply_tile` below.
#define MMA(shape, c, a, b)                                                                                        \
    asm("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"               \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                           \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define MMA_BFLOAT16(c, a, b) MMA("m16n8k16.row.col.f32.bf16.bf16.f32", c, a, b)
#define MMA_TF32(c, a, b) MMA("m16n8k8.row.col.f32.tf32.tf32.f32", c, a, b)
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// To a number of which no other thread knows: in order, and without waiting for what is there.
#define ADD(address, value) atomicAdd(address, value)
// Two numbers rounded to bfloat16, to nearest, ties to even; one rounded to TensorFloat-32, ties away from 0.
__device__ __forceinline__ unsigned bfloat16x2(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
__device__ __forceinline__ unsigned tf32(float x) {
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}
#define PREFETCH(address) asm volatile("prefetch.global.L2 [%0];" ::"l"(address))

// What the block wrote before is released; when all blocks have arrived, it is acquired by whoever waits for that.
__device__ __forceinline__ void grid_arrive(unsigned *arrived) {
    __syncthreads();
    if (threadIdx.x == 0) asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
}
__device__ __forceinline__ void grid_wait(unsigned *arrived, unsigned &goal) {
    if (threadIdx.x == 0) {
        unsigned seen;
        goal += gridDim.x;
        do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrived) : "memory");
        while (int(seen - goal) < 0);
    }
    __syncthreads();
}
#endif

typedef long long I;
constexpr int DEPTH = 16;                                  // of the inner sum, that a warp takes at once
constexpr int SPLIT = THREADS > 256 && ROWS > 16 ? 2 : 1;  // warps that share the rows of a tile
constexpr int OWN = ROWS / SPLIT;                          // rows of a warp
constexpr int PITCH = TILE + 4;                            // of a row of results in shared memory
// Times DEPTH of the inner sum that are read before the first is multiplied: as many as registers hold.
constexpr int AHEAD = (OWN * TILE > (THREADS > 256 ? 256 : 1024) ? 64 : 128) / OWN;
// Elements of a part of the inner sum in shared memory; `shared_bytes` of targets/cuda.py says the same.
constexpr int WORK = ROWS * PITCH;

#if PRECISION == 1
typedef unsigned short W;  // a number of a matrix in shared memory
__device__ __forceinline__ W kept_number(F x) { return W(bfloat16x2(x, 0.f)); }
#else
typedef F W;
__device__ __forceinline__ W kept_number(F x) { return x; }
#endif

// A tile in shared memory is [TILE, depth], every column padded so that the lanes of a warp read different banks.
__device__ __forceinline__ I column_size(I depth) { return (depth + DEPTH - 1) / DEPTH * DEPTH + DEPTH; }
__device__ __forceinline__ I tile_size(I depth) { return column_size(depth) * TILE; }

// body(j) for this thread's columns, four at a time: what they read does not wait for what others before them write.
template <typename Body> __device__ __forceinline__ void over_columns(I width, Body body) {
    I j = threadIdx.x, step = blockDim.x;
    for (; j + 3 * step < width; j += 4 * step) body(j), body(j + step), body(j + 2 * step), body(j + 3 * step);
    for (; j < width; j += step) body(j);
}

// Every thread of the block gets the value of all threads put together, always in the same order.
template <typename Together> __device__ __forceinline__ F over_block(F value, F *across, Together together) {
    for (int mask = 16; mask; mask >>= 1) value = together(value, WARP_SHUFFLE_XOR(value, mask));
    int warps = blockDim.x / 32;
    __syncthreads();  // earlier values have been read
    if (threadIdx.x % 32 == 0) across[threadIdx.x / 32] = value;
    __syncthreads();
    value = across[0];
    for (int w = 1; w < warps; w++) value = together(value, across[w]);
    return value;
}

// A matrix is [depth, GROUPS * span]: in each of its groups (the gates of a cell) column j belongs to unit j. A tile is
// the columns of TILE / GROUPS units next to each other, all groups of them, for one of `parts` parts of the rows. Tiles
// are dealt to blocks.

// The first tile of this block, where `before` tiles of other products of the phase were dealt already.
__device__ __forceinline__ I first_tile(I before) {
    return (blockIdx.x + gridDim.x - before % gridDim.x) % gridDim.x;
}

template <int GROUPS> __device__ __forceinline__ I tiles(I span, I parts) {
    return (span + TILE / GROUPS - 1) / (TILE / GROUPS) * parts;
}

// The column of the matrix that is column c of a tile's columns, or -1.
template <int GROUPS> __device__ __forceinline__ I column_of(I columns, int c, I span) {
    constexpr int UNITS = TILE / GROUPS;
    I unit = columns * UNITS + c % UNITS;
    return c < UNITS * GROUPS && unit < span ? c / UNITS * span + unit : -1;
}

// Copy this block's tiles of a matrix to `kept`; returns their end.
template <int GROUPS>
__device__ __forceinline__ W *keep(const F *matrix, I depth, I span, I parts, I before, W *kept) {
    I step = column_size(depth);
    for (I tile = first_tile(before); tile < tiles<GROUPS>(span, parts); tile += gridDim.x, kept += tile_size(depth))
        for (I e = threadIdx.x; e < tile_size(depth); e += blockDim.x) {
            I k = e / TILE, column = column_of<GROUPS>(tile / parts, int(e % TILE), span);
            kept[e % TILE * step + k] = kept_number(column < 0 || k >= depth ? F(0) : matrix[k * GROUPS * span + column]);
        }
    return kept;
}

#if PRECISION
// Four numbers next to each other along the inner sum, of one row or one column, as operands of two half tiles (of one
// tile, in bfloat16). Which number is which of the inner sum does not matter, as long as rows and columns agree.
struct alignas(8) Four {
#if PRECISION == 1
    unsigned half[2];
#else
    unsigned number[4];
#if PRECISION == 3
    unsigned rest[4];
#endif
#endif
};

__device__ __forceinline__ Four split(const float *x) {
    Four f;
#if PRECISION == 1
    f.half[0] = bfloat16x2(x[0], x[1]), f.half[1] = bfloat16x2(x[2], x[3]);
#else
#pragma unroll
    for (int i = 0; i < 4; i++) {
        f.number[i] = tf32(x[i]);
#if PRECISION == 3
        float rest = x[i] - __uint_as_float(f.number[i]);
        f.rest[i] = rest == rest ? __float_as_uint(rest) : 0u;  // an infinite number has none
#endif
    }
#endif
    return f;
}

// sums[16, 8] += rows[16, 16] @ columns[16, 8]
__device__ __forceinline__ void multiply_fours(float *sums, const Four &top, const Four &bottom, const Four &column) {
#if PRECISION == 1
    unsigned a[4] = {top.half[0], bottom.half[0], top.half[1], bottom.half[1]};
    MMA_BFLOAT16(sums, a, column.half);
#else
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        unsigned a[4] = {top.number[i], bottom.number[i], top.number[i + 1], bottom.number[i + 1]};
        unsigned b[2] = {column.number[i], column.number[i + 1]};
#if PRECISION == 3
        unsigned a_rest[4] = {top.rest[i], bottom.rest[i], top.rest[i + 1], bottom.rest[i + 1]};
        unsigned b_rest[2] = {column.rest[i], column.rest[i + 1]};
        MMA_TF32(sums, a_rest, b);
        MMA_TF32(sums, a, b_rest);
#endif
        MMA_TF32(sums, a, b);
    }
#endif
}

struct alignas(16) Quad {
    float number[4];
};

// The first of 4 numbers that there are `left` of; the others are 0. Other blocks wrote them: not through L1.
__device__ __forceinline__ Quad read_quad(const float *at, int left) {
    Quad q = {};
#if QUADS
    if (left > 0) {
        float4 v = __ldcg((const float4 *)at);
        q.number[0] = v.x, q.number[1] = v.y, q.number[2] = v.z, q.number[3] = v.w;
    }
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (i < left) q.number[i] = __ldcg(at + i);
#endif
    return q;
}
#endif

// `count` of ROWS rows times the columns of a tile. Warps take parts of the inner sum: work[part][ROWS, PITCH]. With
// KEPT the tile is what `keep` left, otherwise it is read from the matrix.
template <int GROUPS, bool KEPT>
__device__ __forceinline__ void multiply_tile(const F *rows, I pitch, int count, int depth, I span, const F *matrix,
                                              const W *kept, I columns, F *work) {
    int lane = threadIdx.x % 32, own = threadIdx.x / 32 % SPLIT * OWN;
    int inner = threadIdx.x / 32 / SPLIT, inners = blockDim.x / 32 / SPLIT;
    int step = int(column_size(depth));
    F *part = work + inner * WORK + own * PITCH;
    rows += own * pitch, count -= own;
#if PRECISION
    int group = lane / 4, pair = lane % 4;  // of the lanes that hold one row, and one column
    float sums[OWN / 16][TILE / 8][4] = {};
    int column[TILE / 8];
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) column[n] = int(column_of<GROUPS>(columns, 8 * n + group, span));
    for (int start = inner * DEPTH; start < depth; start += inners * DEPTH * AHEAD) {
        Quad quads[AHEAD][OWN / 8];
#pragma unroll
        for (int s = 0; s < AHEAD; s++)
#pragma unroll
            for (int r = 0; r < OWN / 8; r++) {
                int k = start + s * inners * DEPTH + 4 * pair, row = 8 * r + group;
                quads[s][r] = read_quad(rows + row * pitch + k, row < count ? depth - k : 0);
            }
#pragma unroll
        for (int s = 0; s < AHEAD; s++) {
            int k = start + s * inners * DEPTH + 4 * pair;
            if (k - 4 * pair >= depth) break;
            Four fours[TILE / 8];
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) {
#if PRECISION == 1
                if (KEPT) {
                    fours[n] = *(const Four *)(kept + (8 * n + group) * step + k);
                    continue;
                }
#endif
                Quad q;
                if (KEPT) q = *(const Quad *)(kept + (8 * n + group) * step + k);
#pragma unroll
                for (int i = 0; i < 4 && !KEPT; i++)
                    q.number[i] = column[n] < 0 || k + i >= depth ? 0.f : matrix[(k + i) * (GROUPS * span) + column[n]];
                fours[n] = split(q.number);
            }
#pragma unroll
            for (int m = 0; m < OWN / 16; m++) {
                Four top = split(quads[s][2 * m].number), bottom = split(quads[s][2 * m + 1].number);
#pragma unroll
                for (int n = 0; n < TILE / 8; n++) multiply_fours(sums[m][n], top, bottom, fours[n]);
            }
        }
    }
#pragma unroll
    for (int m = 0; m < OWN / 16; m++)
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int h = 0; h < 4; h++)
                part[(16 * m + group + h / 2 * 8) * PITCH + 8 * n + 2 * pair + h % 2] = sums[m][n][h];
#else
    for (int e = lane; e < OWN * TILE; e += 32) {
        I column = column_of<GROUPS>(columns, e % TILE, span);
        F sum = F(0);
        for (I first = inner * DEPTH; first < depth && e / TILE < count; first += inners * DEPTH)
            for (I k = first; k < depth && k < first + DEPTH; k++) {
                F number = KEPT ? kept[e % TILE * step + k] : column < 0 ? F(0) : matrix[k * GROUPS * span + column];
                sum += __ldcg(rows + e / TILE * pitch + k) * number;
            }
        part[e / TILE * PITCH + e % TILE] = sum;
    }
#endif
}

// rows[B, depth] @ matrix, for this block's tiles: `use(b, j, z)` is called for every row and unit, with the unit's
// columns in z[0] ... z[GROUPS - 1]; before, `prepare(b, j)` is, to fetch what `use` will read.
template <int GROUPS, typename Prepare, typename Use>
__device__ __forceinline__ void multiply(const F *rows, I pitch, I B, I depth, I span, const F *matrix, const W *kept,
                                         bool resident, I parts, I before, F *work, Prepare prepare, Use use) {
    constexpr int UNITS = TILE / GROUPS;
    int inners = blockDim.x / 32 / SPLIT;
    for (I tile = first_tile(before); tile < tiles<GROUPS>(span, parts); tile += gridDim.x, kept += tile_size(depth))
        for (I row = tile % parts * ROWS; row < B; row += parts * ROWS) {
            I columns = tile / parts;
            int count = B - row < ROWS ? int(B - row) : ROWS;
            const F *top = rows + row * pitch;
            for (int e = threadIdx.x; e < count * UNITS; e += blockDim.x)
                if (columns * UNITS + e % UNITS < span) prepare(row + e / UNITS, columns * UNITS + e % UNITS);
            if (resident) multiply_tile<GROUPS, true>(top, pitch, count, int(depth), span, matrix, kept, columns, work);
            else multiply_tile<GROUPS, false>(top, pitch, count, int(depth), span, matrix, kept, columns, work);
            __syncthreads();
            for (int e = threadIdx.x; e < count * UNITS; e += blockDim.x) {
                F z[GROUPS];
#pragma unroll
                for (int g = 0; g < GROUPS; g++) {
                    const F *part = work + e / UNITS * PITCH + g * UNITS + e % UNITS;
                    z[g] = part[0];
#pragma unroll 7
                    for (int i = 1; i < inners; i++) z[g] += part[i * WORK];
                }
                I j = columns * UNITS + e % UNITS;
                if (j < span) use(row + e / UNITS, j, (const F *)z);
            }
            __syncthreads();
        }
}

// ---------------------------------------------------------------- the next token, chosen by one block

// The index for which `value` is largest, of equal ones the first; `skip` is not looked at. NaN is the smallest: all
// threads must come to the same index.
template <typename Value> __device__ __forceinline__ I largest(I n, I skip, double *space, Value value) {
    double best = 0;
    I at = -1;
    auto meet = [&](double other, I index) {
        if (index >= 0 && (at < 0 || other > best || (other == best && index < at))) best = other, at = index;
    };
    for (I i = threadIdx.x; i < n; i += blockDim.x)
        if (i != skip) meet(value(i) == value(i) ? value(i) : -double(INFINITY), i);
    for (int mask = 16; mask; mask >>= 1) {
        double other = WARP_SHUFFLE_XOR(best, mask);
        I index = WARP_SHUFFLE_XOR(at, mask);
        meet(other, index);
    }
    __syncthreads();  // earlier values have been read
    if (threadIdx.x % 32 == 0) space[threadIdx.x / 16] = best, space[threadIdx.x / 16 + 1] = double(at);
    __syncthreads();
    for (int w = 0; w < int(blockDim.x / 32); w++) meet(space[2 * w], I(space[2 * w + 1]));
    return at;
}

// The first place at which the sum of `odds` up to it exceeds `u` of the whole.
template <typename Odds> __device__ __forceinline__ I picked(I n, double u, Odds odds) {
    double whole = 0, total = 0;
    for (I i = 0; i < n; i++) whole += odds(i);
    I last = 0;
    for (I i = 0; i < n; i++) {
        total += odds(i);
        if (odds(i) > 0) last = i;
        if (total > u * whole) return i;
    }
    return last;
}

// As `choose` of kernels/sampling.py; `odds` has room for 2 n numbers: those of all tokens, and which are ranked.
__device__ __forceinline__ I choose(const F *logits, I n, I banned, double temperature, I top_k, double top_p, double u,
                                    double *odds, F *work) {
    double *space = reinterpret_cast<double *>(work), *ranked = odds + n;
    I best = largest(n, banned, space, [&](I i) { return double(__ldcg(logits + i)); });
    if (temperature == 0) return best;
    double top = double(__ldcg(logits + best));
    for (I i = threadIdx.x; i < n; i += blockDim.x) {
        double x = exp((double(__ldcg(logits + i)) - top) / temperature);
        odds[i] = i == banned || x != x ? 0.0 : x;
    }
    __syncthreads();
    if (top_k == 0 && top_p == 1) return picked(n, u, [&](I i) { return odds[i]; });
    I kept = top_k == 0 || top_k > n ? n : top_k, count = 0;
    double goal = INFINITY, total = 0;
    if (top_k == 0) {
        goal = 0;
        for (I i = 0; i < n; i++) goal += top_p * odds[i];
    }
    while (count < kept && (!count || total < goal)) {  // a token that is ranked is marked by -1 - its odds
        I next = largest(n, I(-1), space, [&](I i) { return odds[i]; });
        total += odds[next];
        __syncthreads();
        if (threadIdx.x == 0) ranked[count] = double(next), odds[next] = -1 - odds[next];
        __syncthreads();
        count++;
    }
    auto of_rank = [&](I r) { return -1 - odds[I(ranked[r])]; };
    if (top_k && top_p < 1) {
        goal = top_p * total, total = 0, count = 0;
        while (count < kept && (!count || total < goal)) total += of_rank(count++);
    }
    return I(ranked[picked(count, u, of_rank)]);
}
