/* What common.c is made of, in double. The sum with 1.5 * 2^52 rounds to an integer: no -ffast-math. */

static inline double tr_exp(double x)
{
    const double shifted = x * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
    const double r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
    double y = 1.0 / 6227020800.0, scale;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1022) << 52;
    memcpy(&scale, &bits, sizeof scale);
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
    y = y * r + 1.0 / 2.0;
    y = (y * r * r + r + 1.0) * scale * 2.0;
    y = x > 709.79 ? INFINITY : y;
    return x < -707.5 ? 0.0 : y;
}

static inline double tr_tanh(double x)
{
    const double z = x * x;
    double p = -9.64399179425052238628e-1, q = 1.0;
    p = p * z + -9.92877231001918586564e1;
    p = p * z + -1.61468768441708447952e3;
    q = q * z + 1.12811678491631932402e2;
    q = q * z + 2.23548839060100448583e3;
    q = q * z + 4.84406305325125486048e3;
    return x < 0.625 && x > -0.625 ? x + x * z * p / q : 1.0 - 2.0 / (tr_exp(2.0 * x) + 1.0);
}
