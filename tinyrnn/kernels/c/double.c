/* What common.c is made of, in double. The sum with 1.5 * 2^52 rounds to an integer: no -ffast-math. What is chosen
   are bits, since GCC would make branches of the rest, and no vectors. */

static inline double tr_pick(int c, double a, double b) /* c ? a : b */
{
    const uint64_t mask = (uint64_t)-(int64_t)(c != 0);
    uint64_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}

static inline double tr_series(double r) /* (exp(r) - 1 - r) / r^2 */
{
    double y = 1.0 / 6227020800.0;
    y = y * r + 1.0 / 479001600.0;
    y = y * r + 1.0 / 39916800.0;
    y = y * r + 1.0 / 3628800.0;
    y = y * r + 1.0 / 362880.0;
    y = y * r + 1.0 / 40320.0;
    y = y * r + 1.0 / 5040.0;
    y = y * r + 1.0 / 720.0;
    y = y * r + 1.0 / 120.0;
    y = y * r + 1.0 / 24.0;
    y = y * r + 1.0 / 6.0;
    return y * r + 1.0 / 2.0;
}

static inline double tr_split(double z, uint64_t bias, double *scale) /* z = r + n log 2; scale: 2^(n + bias - 1023) */
{
    const double shifted = z * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + bias) << 52;
    memcpy(scale, &bits, sizeof bits);
    return z - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
}

static inline double tr_exp(double x)
{
    const double low = tr_pick(x < -708.4, -708.4, x), z = tr_pick(low > 710.0, 710.0, low); /* of these it is 0 and infinite */
    double scale;
    const double r = tr_split(z, 1022, &scale);
    return (tr_series(r) * r * r + r + 1.0) * scale * 2.0;
}

static inline double tr_tanh(double x) /* e / (e + 2) of e = exp(2 x) - 1 */
{
    const double low = tr_pick(x < -20.0, -20.0, x), z = 2.0 * tr_pick(low > 20.0, 20.0, low);
    double scale;
    const double r = tr_split(z, 1023, &scale), e = scale * (tr_series(r) * r * r + r) + (scale - 1.0);
    return e / (e + 2.0);
}
