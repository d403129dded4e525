/* What common.c is made of, in float. The sum with 1.5 * 2^23 rounds to an integer: no -ffast-math. What is chosen
   are bits, since GCC would make branches of the rest, and no vectors. */

static inline float tr_pick(int c, float a, float b) /* c ? a : b */
{
    const uint32_t mask = (uint32_t)-(c != 0);
    uint32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    memcpy(&a, &x, sizeof a);
    return a;
}

static inline float tr_series(float r) /* (exp(r) - 1 - r) / r^2 */
{
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    return y * r + 5.0000001201e-1f;
}

static inline float tr_split(float z, uint32_t bias, float *scale) /* z = r + n log 2; scale: 2^(n + bias - 127) */
{
    const float shifted = z * 1.4426950408889634f + 12582912.0f, n = shifted - 12582912.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + bias) << 23;
    memcpy(scale, &bits, sizeof bits);
    return z - n * 0.693359375f - n * -2.12194440e-4f;
}

static inline float tr_exp(float x)
{
    const float low = tr_pick(x < -87.3f, -87.3f, x), z = tr_pick(low > 89.0f, 89.0f, low); /* of these it is 0 and infinite */
    float scale;
    const float r = tr_split(z, 126, &scale);
    return (tr_series(r) * r * r + r + 1.0f) * scale * 2.0f;
}

static inline float tr_tanh(float x) /* e / (e + 2) of e = exp(2 x) - 1 */
{
    const float low = tr_pick(x < -9.5f, -9.5f, x), z = 2.0f * tr_pick(low > 9.5f, 9.5f, low);
    float scale;
    const float r = tr_split(z, 127, &scale), e = scale * (tr_series(r) * r * r + r) + (scale - 1.0f);
    return e / (e + 2.0f);
}
