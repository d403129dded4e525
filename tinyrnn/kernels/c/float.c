/* What common.c is made of, in float. The sum with 1.5 * 2^23 rounds to an integer: no -ffast-math. */

static inline float tr_exp(float x)
{
    const float shifted = x * 1.4426950408889634f + 12582912.0f, n = shifted - 12582912.0f;
    const float r = x - n * 0.693359375f - n * -2.12194440e-4f;
    float y = 1.9875691500e-4f, scale;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 126) << 23;
    memcpy(&scale, &bits, sizeof scale);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = (y * r * r + r + 1.0f) * scale * 2.0f;
    y = x > 88.73f ? INFINITY : y;
    return x < -86.6f ? 0.0f : y;
}

static inline float tr_tanh(float x)
{
    const float z = x * x, size = x < 0.0f ? -x : x;
    const float far = 1.0f - 2.0f / (tr_exp(2.0f * size) + 1.0f);
    float y = -5.70498872745e-3f;
    y = y * z + 2.06390887954e-2f;
    y = y * z + -5.37397155531e-2f;
    y = y * z + 1.33314422036e-1f;
    y = y * z + -3.33332819422e-1f;
    return size < 0.625f ? x + x * z * y : x < 0.0f ? -far : far; /* Cephes tanhf; NaN stays */
}
