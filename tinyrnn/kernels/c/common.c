/* Functions of numbers and products that exported models call, blocks between blank lines: those of a model are the ones
   it needs. tr_real is its float; see scalar_math.py, of which these are the translation. */

static inline tr_real tr_sigmoid(tr_real x)
{
    return F(1) / (F(1) + tr_exp(-x));
}

static inline tr_real tr_maximum(tr_real a, tr_real b)
{
    return tr_pick((a > b) | (a != a), a, b);
}

static inline tr_real tr_minimum(tr_real a, tr_real b)
{
    return tr_pick((a < b) | (a != a), a, b);
}

static inline tr_real tr_where(tr_real c, tr_real a, tr_real b)
{
    return tr_pick(c != 0, a, b);
}

static inline tr_real tr_sign(tr_real x)
{
    return tr_pick(x > 0, F(1), tr_pick(x < 0, F(-1), x));
}

static inline tr_real tr_softplus(tr_real x)
{
    return tr_maximum(x, F(0)) + tr_log1p(tr_exp(-tr_abs(x)));
}

static inline tr_real tr_logaddexp(tr_real a, tr_real b)
{
    return tr_maximum(a, b) + tr_log1p(tr_exp(tr_pick(a == b, F(0), -tr_abs(a - b))));
}

static inline tr_real tr_mod(tr_real a, tr_real b)
{
    const tr_real rest = tr_fmod(a, b);
    return tr_pick((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest);
}

static inline float tr_from_bfloat16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* out [width] = row [depth] times a matrix, whose columns lie in panels of 32, [depth, 32] each, and a narrower one */
static inline void tr_multiply(const tr_real *TR_R row, const tr_weight *TR_R matrix, tr_real *TR_R out, int depth, int width)
{
    int rest = width, j, k;
    for (; rest >= 32; rest -= 32, out += 32, matrix += (size_t)32 * depth) {
        const tr_weight *TR_R w = matrix;
        tr_real sums[32] = {0};
        for (k = 0; k + 4 <= depth; k += 4, w += 128) {
            const tr_real a = row[k], b = row[k + 1], c = row[k + 2], d = row[k + 3];
            for (j = 0; j < 32; j++)
                sums[j] += (a * tr_wide(w[j]) + b * tr_wide(w[j + 32])) + (c * tr_wide(w[j + 64]) + d * tr_wide(w[j + 96]));
        }
        for (; k < depth; k++, w += 32)
            for (j = 0; j < 32; j++) sums[j] += row[k] * tr_wide(w[j]);
        for (j = 0; j < 32; j++) out[j] = sums[j];
    }
    for (j = 0; j < rest; j++) out[j] = 0;
    for (k = 0; k < depth; k++, matrix += rest)
        for (j = 0; j < rest; j++) out[j] += row[k] * tr_wide(matrix[j]);
}

/* out [width] = row [depth] times the transpose of a matrix [width, depth]; sixteen sums, which are one vector */
static inline void tr_multiply_turned(const tr_real *TR_R row, const tr_weight *TR_R matrix, tr_real *TR_R out, int depth, int width)
{
    for (int j = 0; j < width; j++) {
        const tr_weight *TR_R w = matrix + (size_t)j * depth;
        tr_real sums[16] = {0}, sum = 0;
        int k = 0;
        for (; k + 16 <= depth; k += 16)
            for (int i = 0; i < 16; i++) sums[i] += row[k + i] * tr_wide(w[k + i]);
        for (; k < depth; k++) sum += row[k] * tr_wide(w[k]);
        for (int i = 0; i < 16; i++) sum += sums[i];
        out[j] = sum;
    }
}

/* a row of a table */
static inline void tr_fetch(const tr_weight *TR_R row, tr_real *TR_R out, int width)
{
    for (int j = 0; j < width; j++) out[j] = tr_wide(row[j]);
}

static inline void tr_scale(const tr_real *TR_R scale, tr_real *TR_R out, int width)
{
    for (int j = 0; j < width; j++) out[j] *= scale[j];
}
