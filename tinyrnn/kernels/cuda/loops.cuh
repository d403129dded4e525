// What generated loops over time call on a GPU. F is float or double; TILE is how many columns of a matrix a block
// multiplies by at once (8, 16 or 32); PRECISION says what products are made of: F (0), or, by tensor cores with sums
// in float, numbers rounded to bfloat16 (1) or TensorFloat-32 (2).
//
// A loop is a sequence of phases: a pass over the rows of the batch, which are dealt to blocks, or products, whose
// columns are; a product may be one phase with the pass over rows that follows it. Blocks see what others wrote in
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
#define GRID_SYNC(arrived, goal) grid_sync(arrived, goal)
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

// All blocks have arrived `goal` times. The fences make what they wrote before visible to whoever reads it after.
__device__ __forceinline__ void grid_sync(unsigned *arrived, unsigned &goal) {
    __syncthreads();
    if (threadIdx.x == 0) {
        goal += gridDim.x;
        __threadfence();
        atomicAdd(arrived, 1u);
        while (int(*(volatile unsigned *)arrived - goal) < 0) {}
        __threadfence();
    }
    __syncthreads();
}
#endif

typedef long long I;
constexpr int ROWS = 64;               // of the batch, that a product takes at once
constexpr int DEPTH = 16;              // of the inner sum, that a warp takes at once
constexpr int COLUMNS = 4;             // of one lane
constexpr int LANES = TILE / COLUMNS;  // side by side
constexpr int LANE_ROWS = ROWS * LANES / 32;
constexpr int PITCH = ROWS + 1;        // of a column of the operand in shared memory: no two lanes write to one bank

#if PRECISION == 1
typedef unsigned short W;  // a number of a matrix in shared memory
constexpr int PAD = 8;     // so that the lanes of a warp read different banks
__device__ __forceinline__ W rounded(float x) {  // to nearest, ties to even
    unsigned bits = __float_as_uint(x);
    return x != x ? W(0x7fc0) : W((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#elif PRECISION == 2
typedef unsigned W;
constexpr int PAD = 4;
__device__ __forceinline__ W rounded(float x) { return (__float_as_uint(x) + 0x1000) & ~0x1fffu; }
#else
typedef F W;
#endif

// Elements of type F that each warp works on, and of type W that a tile takes; `Shared` of targets/cuda.py says the same.
#if PRECISION
constexpr int STEP = DEPTH + PAD;  // from row to row
constexpr int STAGED = (ROWS + TILE) * STEP * int(sizeof(W)) / int(sizeof(F));
#else
constexpr int STAGED = DEPTH * PITCH;
#endif
constexpr int WORK = STAGED > ROWS * TILE ? STAGED : ROWS * TILE;

__device__ __forceinline__ I tile_size(I depth) {
#if PRECISION
    return ((depth + DEPTH - 1) / DEPTH * DEPTH + PAD) * TILE;
#else
    return depth * TILE;
#endif
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
// the columns of TILE / GROUPS units next to each other, all groups of them. Tiles are dealt to blocks.

// The first tile of this block, where `before` tiles of other products of the phase were dealt already.
__device__ __forceinline__ I first_tile(I before) {
    return (blockIdx.x + gridDim.x - before % gridDim.x) % gridDim.x;
}

// The column of the matrix that is column c of a tile, or -1.
template <int GROUPS> __device__ __forceinline__ I column_of(I tile, int c, I span) {
    constexpr int UNITS = TILE / GROUPS;
    I unit = tile * UNITS + c % UNITS;
    return c < UNITS * GROUPS && unit < span ? c / UNITS * span + unit : -1;
}

// Copy this block's tiles of a matrix to `kept`; returns their end. A tile is [depth, TILE], for tensor cores
// [TILE, depth] with every row padded.
template <int GROUPS>
__device__ __forceinline__ W *keep(const F *matrix, I depth, I span, I before, W *kept) {
    for (I tile = first_tile(before); tile * (TILE / GROUPS) < span; tile += gridDim.x, kept += tile_size(depth))
        for (I e = threadIdx.x; e < tile_size(depth); e += blockDim.x) {
#if PRECISION
            I step = tile_size(depth) / TILE, k = e % step, column = column_of<GROUPS>(tile, int(e / step), span);
            kept[e] = rounded(column < 0 || k >= depth ? F(0) : matrix[k * GROUPS * span + column]);
#else
            I column = column_of<GROUPS>(tile, int(e % TILE), span);
            kept[e] = column < 0 ? F(0) : matrix[e / TILE * GROUPS * span + column];
#endif
        }
    return kept;
}

// The first `count` of ROWS rows times a tile: work[ROWS, TILE]. Each warp takes its part of the inner sum; the parts
// are added up in the order of the warps. With KEPT the tile is what `keep` left, otherwise it is read from the matrix.
template <int GROUPS, bool KEPT>
__device__ __forceinline__ void multiply_tile(const F *rows, I pitch, I count, I depth, I span, const F *matrix,
                                              const W *kept, I tile, F *work) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
#if PRECISION
    int group = lane / 4, pair = lane % 4;  // of the lanes that hold one row of a, and one column of b
    W *own = reinterpret_cast<W *>(work + warp * WORK), *own_matrix = own + ROWS * STEP;
    float sums[ROWS / 16][TILE / 8][4] = {};
    for (I k = warp * DEPTH; k < depth; k += warps * DEPTH) {
        for (int e = lane; e < ROWS * DEPTH; e += 32) {
            I i = k + e % DEPTH;
            own[e / DEPTH * STEP + e % DEPTH] =
                rounded(e / DEPTH < count && i < depth ? __ldcg(rows + e / DEPTH * pitch + i) : F(0));
        }
        for (int e = lane; !KEPT && e < TILE * DEPTH; e += 32) {
            I i = k + e % DEPTH, column = column_of<GROUPS>(tile, e / DEPTH, span);
            own_matrix[e / DEPTH * STEP + e % DEPTH] =
                rounded(column < 0 || i >= depth ? F(0) : matrix[i * GROUPS * span + column]);
        }
        __syncwarp();
        const W *columns = KEPT ? kept + k : own_matrix;
        I step = KEPT ? tile_size(depth) / TILE : I(STEP);
        constexpr int WORDS = 4 / sizeof(W);  // numbers in a register
        constexpr int ACROSS = 8 * WORDS;     // of the inner sum, in one mma
#pragma unroll
        for (int i = 0; i < DEPTH; i += ACROSS) {
            unsigned b[TILE / 8][2];
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    b[n][h] = *(const unsigned *)(columns + (8 * n + group) * step + i + (pair + 4 * h) * WORDS);
#pragma unroll
            for (int m = 0; m < ROWS / 16; m++) {
                unsigned a[4];
#pragma unroll
                for (int h = 0; h < 4; h++)  // rows group and group + 8; then the second half of the inner sum
                    a[h] = *(const unsigned *)(own + (16 * m + group + h % 2 * 8) * STEP + i +
                                               (pair + h / 2 * 4) * WORDS);
#pragma unroll
                for (int n = 0; n < TILE / 8; n++) {
#if PRECISION == 1
                    MMA_BFLOAT16(sums[m][n], a, b[n]);
#else
                    MMA_TF32(sums[m][n], a, b[n]);
#endif
                }
            }
        }
        __syncwarp();
    }
    F *parts = work + warp * WORK;
#pragma unroll
    for (int m = 0; m < ROWS / 16; m++)
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int h = 0; h < 4; h++)
                parts[(16 * m + group + h / 2 * 8) * TILE + 8 * n + 2 * pair + h % 2] = sums[m][n][h];
#else
    int left = lane % LANES * COLUMNS, top = lane / LANES * LANE_ROWS;
    F *own = work + warp * WORK, sums[LANE_ROWS][COLUMNS];
    I column[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        column[c] = column_of<GROUPS>(tile, left + c, span);
#pragma unroll
        for (int r = 0; r < LANE_ROWS; r++) sums[r][c] = F(0);
    }
    for (I k = warp * DEPTH; k < depth; k += warps * DEPTH) {
        for (int e = lane; e < ROWS * DEPTH; e += 32) {  // other blocks wrote these: not through L1
            I i = k + e % DEPTH;
            own[e % DEPTH * PITCH + e / DEPTH] =
                e / DEPTH < count && i < depth ? __ldcg(rows + e / DEPTH * pitch + i) : F(0);
        }
        __syncwarp();
        int deep = depth - k < DEPTH ? int(depth - k) : DEPTH;
        for (int i = 0; i < deep; i++) {
            F a[LANE_ROWS], w[COLUMNS];
#pragma unroll
            for (int r = 0; r < LANE_ROWS; r++) a[r] = own[i * PITCH + top + r];
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                if (KEPT) w[c] = kept[(k + i) * TILE + left + c];
                else w[c] = column[c] < 0 ? F(0) : matrix[(k + i) * GROUPS * span + column[c]];
            }
#pragma unroll
            for (int r = 0; r < LANE_ROWS; r++)
#pragma unroll
                for (int c = 0; c < COLUMNS; c++) sums[r][c] += a[r] * w[c];
        }
        __syncwarp();
    }
#pragma unroll
    for (int r = 0; r < LANE_ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) own[(top + r) * TILE + left + c] = sums[r][c];
#endif
    __syncthreads();
    for (int e = threadIdx.x; e < ROWS * TILE; e += blockDim.x)
        for (int w = 1; w < warps; w++) work[e] += work[w * WORK + e];
    __syncthreads();
}

// rows[B, depth] @ matrix, for this block's tiles; `use(b, j, z)` is called for every row and unit, with the unit's
// columns in z[0], z[TILE / GROUPS], ...
template <int GROUPS, typename Use>
__device__ __forceinline__ void multiply(const F *rows, I pitch, I B, I depth, I span, const F *matrix, const W *kept,
                                         bool resident, I before, F *work, Use use) {
    constexpr int UNITS = TILE / GROUPS;
    for (I tile = first_tile(before); tile * UNITS < span; tile += gridDim.x, kept += tile_size(depth))
        for (I row = 0; row < B; row += ROWS) {
            I count = B - row < ROWS ? B - row : I(ROWS);
            const F *top = rows + row * pitch;
            if (resident) multiply_tile<GROUPS, true>(top, pitch, count, depth, span, matrix, kept, tile, work);
            else multiply_tile<GROUPS, false>(top, pitch, count, depth, span, matrix, kept, tile, work);
            for (int e = threadIdx.x; e < count * UNITS; e += blockDim.x) {
                I j = tile * UNITS + e % UNITS;
                if (j < span) use(row + e / UNITS, j, (const F *)work + e / UNITS * TILE + e % UNITS);
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
