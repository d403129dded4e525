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
    const float low = x < -7.9053111f ? -7.9053111f : x, z = low > 7.9053111f ? 7.9053111f : low, s = z * z;
    float p = -2.76076847742355e-16f, q = 1.19825839466702e-06f;
    p = p * s + 2.00018790482477e-13f;
    p = p * s + -8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return z * p / q;
}
