/* Vectors of REAL = float or double as wide as the machine's registers, their exponential and logarithm.

   A kernel may define BYTES before for smaller ones. Wider ones compile too, but a compiler splits their comparisons into
   single numbers. */
#include <math.h>
#include <stdint.h>

#if defined(BYTES)
#elif defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define SIZEOF_float 4 /* sizeof(REAL) for the preprocessor */
#define SIZEOF_double 8
#define WIDE (BYTES / JOIN(SIZEOF, REAL))
#define IS_FLOAT (sizeof(REAL) == 4)
#define NAME(name) JOIN(name, REAL)
#define INLINE static inline __attribute__((always_inline))
#define SHARED static __attribute__((noinline)) /* a function of its own: quicker to compile */
#define UNROLL _Pragma("GCC unroll 24")
#define PRAGMA(text) _Pragma(#text)

typedef REAL Vector __attribute__((vector_size(BYTES)));
typedef REAL Loose __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef __typeof__((Vector){0} < (Vector){0}) Mask;

INLINE Vector get(const REAL *from) { return *(const Loose *)from; }

INLINE void set(REAL *to, Vector value) { *(Loose *)to = value; }

INLINE Vector select(Mask where, Vector yes, Vector no) {
    return (Vector)((where & (Mask)yes) | (~where & (Mask)no));
}

INLINE Vector all(REAL x) { return x - (Vector){0}; }

INLINE Vector absolute(Vector x) { return select(x < 0, -x, x); }

INLINE Vector larger(Vector a, Vector b) { return select(a > b, a, b); }

INLINE Vector root(Vector x) {
    Vector y;
    for (int l = 0; l < WIDE; l++) y[l] = IS_FLOAT ? __builtin_sqrtf(x[l]) : __builtin_sqrt(x[l]);
    return y;
}

/* 1 / n! from n = 13 on down */
static const double TAYLOR[] = {1 / 6227020800., 1 / 479001600., 1 / 39916800., 1 / 3628800., 1 / 362880., 1 / 40320.,
                                1 / 5040.,       1 / 720.,       1 / 120.,      1 / 24.,      1 / 6.,      .5};

/* e^x for x <= 0 as 2^k e^r with |r| <= log(2) / 2; 0 below the normal numbers. */
INLINE Vector exponential(Vector x) {
    const REAL magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const REAL high = IS_FLOAT ? 0.693359375f : 6.93147180369123816490e-01;
    const REAL low = IS_FLOAT ? -2.12194440e-4f : 1.90821492927058770002e-10;
    const Vector shifted = x * (REAL)1.44269504088896340736 + magic, k = shifted - magic;
    const Vector r = (x - k * high) - k * low;
    Vector p = all((REAL)TAYLOR[IS_FLOAT ? 6 : 0]);
    UNROLL for (int n = IS_FLOAT ? 7 : 1; n < 12; n++) p = p * r + (REAL)TAYLOR[n];
    p = (p * r + 1) * r + 1;
    const Mask one = (Mask)all(1), power = ((Mask)shifted << (IS_FLOAT ? 23 : 52)) + one;
    return select(x < (IS_FLOAT ? -87 : -708), (Vector){0}, p * (Vector)power);
}

/* log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]: 2 artanh s = 2 (s + s^3 / 3 + ...), s = f / (2 + f) */
INLINE Vector log_near_one(Vector f) {
    const Vector s = f / (f + 2), q = s * s;
    Vector p = all(IS_FLOAT ? (REAL)1 / 9 : (REAL)1 / 21);
    UNROLL for (int n = IS_FLOAT ? 7 : 19; n > 1; n -= 2) p = p * q + 1 / (REAL)n;
    return 2 * (s + s * q * p);
}

INLINE Vector logarithm(Vector x) {
    const REAL two = (REAL)0.69314718055994530942, magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const Mask half = (Mask)all((REAL)0.70710678118654752440);
    const int digits = IS_FLOAT ? 23 : 52;
    const Mask moved = (Mask)x - half, k = moved >> digits; /* x = 2^k m, m in [sqrt(1/2), sqrt(2)) */
    const Vector m = (Vector)((Mask)x - (k << digits));
    const Vector value = ((Vector)(k + (Mask)all(magic)) - magic) * two + log_near_one(m - 1);
    const Vector special = select(x == 0, all(-(REAL)INFINITY), all((REAL)NAN));
    return select(x > 0, select(x < (REAL)INFINITY, value, x), special);
}

/* log(1 + e^v); v itself above 20, as in torch */
INLINE Vector softplus(Vector v) {
    const Vector e = exponential(-absolute(v));
    const Mask large = e > (REAL)0.41421356237309504880;
    const Vector part = log_near_one(select(large, (e - 1) * (REAL)0.5, e));
    const Vector sum = larger(v, (Vector){0}) + (part + select(large, all((REAL)0.69314718055994530942), (Vector){0}));
    return select(v > 20, v, sum);
}

INLINE Vector sigmoid(Vector v) {
    const Vector e = exponential(-absolute(v));
    return select(v < 0, e, all(1)) / (e + 1);
}
