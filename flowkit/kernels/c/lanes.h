/* One matrix in each lane of a vector: what su2.c and su3.c share, for REAL = float and double.

   Arrays hold one record of `length` reals after another, one for each matrix. A block of WIDE records is read into
   `length` <= MOST vectors, element e of all of them in vector e, worked on there, and written back. */
#include <string.h>

#include "vectors.h"

typedef struct {
    Vector r, i;
} Complex;

/* ---------------------------------------------------------------- records to lanes and back */

/* Lane l of the two results of `exchange`, counted through the lanes of a and then of b. */
#define LOW(l, k) ((l) & (k) ? (l) - (k) + WIDE : (l))
#define HIGH(l, k) (((l) & (k) ? (l) + WIDE : (l) + (k)) % (2 * WIDE))
#define TWO(f, l, k) f(l, k), f(l + 1, k)
#define FOUR(f, l, k) TWO(f, l, k), TWO(f, l + 2, k)
#define EIGHT(f, l, k) FOUR(f, l, k), FOUR(f, l + 4, k)
#if WIDE == 16
#define LANES(f, k) EIGHT(f, 0, k), EIGHT(f, 8, k)
#elif WIDE == 8
#define LANES(f, k) EIGHT(f, 0, k)
#elif WIDE == 4
#define LANES(f, k) FOUR(f, 0, k)
#else
#define LANES(f, k) TWO(f, 0, k)
#endif
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LANE_float int32_t
#define LANE_double int64_t
typedef JOIN(LANE, REAL) Lanes __attribute__((vector_size(BYTES)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Lanes){__VA_ARGS__})
#endif

/* a, b = the even blocks of k lanes of both, and the odd ones: exchanges bit k of the lane with the choice of a or b.
   The lists of lanes are constants as they stand: not all machines shuffle by others. */
INLINE void exchange(Vector *a, Vector *b, int k) {
    const Vector x = *a, y = *b;
#define EXCHANGE(k) *a = SHUFFLE(x, y, LANES(LOW, k)), *b = SHUFFLE(x, y, LANES(HIGH, k))
    if (k == 1)
        EXCHANGE(1);
    else if (k == 2)
        EXCHANGE(2);
    else if (k == 4)
        EXCHANGE(4);
    else
        EXCHANGE(8);
#undef EXCHANGE
}

/* Exchanges the low bits of the row with those of the lane, `rows` rows. */
INLINE void transpose(Vector *row, int rows) {
    UNROLL for (int k = 1; k < rows; k *= 2)
        UNROLL for (int i = 0; i < rows; i++)
            if (!(i & k)) exchange(row + i, row + i + k, k);
}

/* WIDE records of `length` = WIDE / 2: between contiguous vectors and the rows that `transpose` takes. */
INLINE void pair(Vector *to, const Vector *from) {
    UNROLL for (int j = 0; j < WIDE / 4; j++) {
        to[2 * j] = from[j];
        to[2 * j + 1] = from[j + WIDE / 4];
        exchange(to + 2 * j, to + 2 * j + 1, WIDE / 2);
    }
}

INLINE void unpair(Vector *to, const Vector *from) {
    UNROLL for (int j = 0; j < WIDE / 4; j++) {
        to[j] = from[2 * j];
        to[j + WIDE / 4] = from[2 * j + 1];
        exchange(to + j, to + j + WIDE / 4, WIDE / 2);
    }
}

/* The records of `length` at WIDE addresses. */
INLINE void gather(Vector *to, const REAL *const *at, int length) {
    int done = 0;
    Vector row[WIDE];
    for (; done + WIDE <= length; done += WIDE) {
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = *(const Loose *)(at[m] + done);
        transpose(row, WIDE);
        UNROLL for (int e = 0; e < WIDE; e++) to[done + e] = row[e];
    }
    const int rest = length - done;
    if (rest && done) { /* the tile that ends with the record */
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = *(const Loose *)(at[m] + length - WIDE);
        transpose(row, WIDE);
        UNROLL for (int e = 0; e < WIDE; e++)
            if (e >= WIDE - rest) to[length - WIDE + e] = row[e];
    } else if (rest) {
        REAL lanes[WIDE][WIDE] __attribute__((aligned(BYTES)));
        for (int m = 0; m < WIDE; m++)
            for (int e = 0; e < rest; e++) lanes[e][m] = at[m][e];
        for (int e = 0; e < rest; e++) to[e] = *(const Vector *)lanes[e];
    }
}

INLINE void load(Vector *to, const REAL *from, int length) {
    if (WIDE > 2 && 2 * length == WIDE) {
        Vector half[WIDE / 2];
        UNROLL for (int m = 0; m < WIDE / 2; m++) half[m] = *(const Loose *)(from + m * WIDE);
        pair(to, half);
        transpose(to, WIDE / 2);
        return;
    }
    const REAL *at[WIDE];
    UNROLL for (int m = 0; m < WIDE; m++) at[m] = from + m * length;
    gather(to, at, length);
}

INLINE void store(REAL *to, const Vector *from, int length) {
    int done = 0;
    Vector row[WIDE];
    for (; done + WIDE <= length; done += WIDE) {
        UNROLL for (int e = 0; e < WIDE; e++) row[e] = from[done + e];
        transpose(row, WIDE);
        UNROLL for (int m = 0; m < WIDE; m++) *(Loose *)(to + m * length + done) = row[m];
    }
    const int rest = length - done;
    if (WIDE > 2 && !done && 2 * rest == WIDE) {
        Vector half[WIDE / 2];
        UNROLL for (int e = 0; e < WIDE / 2; e++) row[e] = from[e];
        transpose(row, WIDE / 2);
        unpair(half, row);
        UNROLL for (int m = 0; m < WIDE / 2; m++) *(Loose *)(to + m * WIDE) = half[m];
    } else if (rest) {
        REAL lanes[WIDE][WIDE] __attribute__((aligned(BYTES)));
        for (int e = 0; e < rest; e++) *(Vector *)lanes[e] = from[done + e];
        for (int m = 0; m < WIDE; m++)
            for (int e = 0; e < rest; e++) to[m * length + done + e] = lanes[e][m];
    }
}

/* The records of block b, or those that are left and zeros. */
INLINE void fetch(Vector *to, const REAL *from, int length, int64_t b, int64_t count) {
    const int64_t left = count - b * WIDE;
    const REAL *at = from + b * WIDE * length;
    if (__builtin_expect(left >= WIDE, 1)) {
        load(to, at, length);
    } else {
        REAL padded[WIDE * MOST];
        memset(padded, 0, sizeof(REAL) * WIDE * length);
        memcpy(padded, at, sizeof(REAL) * left * length);
        load(to, padded, length);
    }
}

INLINE void put(REAL *to, const Vector *from, int length, int64_t b, int64_t count) {
    const int64_t left = count - b * WIDE;
    REAL *at = to + b * WIDE * length;
    if (__builtin_expect(left >= WIDE, 1)) {
        store(at, from, length);
    } else {
        REAL padded[WIDE * MOST];
        store(padded, from, length);
        memcpy(at, padded, sizeof(REAL) * left * length);
    }
}

#define PARALLEL(least) PRAGMA(omp parallel for schedule(static) if (count > least))
#define BLOCKS ((count + WIDE - 1) / WIDE)

/* ---------------------------------------------------------------- arithmetic on lanes */

INLINE int any(Mask where) {
    int found = 0;
    UNROLL for (int l = 0; l < WIDE; l++) found |= where[l] != 0;
    return found;
}

INLINE Complex complex(Vector r, Vector i) { return (Complex){r, i}; }
INLINE Complex conjugate(Complex a) { return (Complex){a.r, -a.i}; }
INLINE Complex plus(Complex a, Complex b) { return (Complex){a.r + b.r, a.i + b.i}; }
INLINE Complex minus(Complex a, Complex b) { return (Complex){a.r - b.r, a.i - b.i}; }
INLINE Complex scaled(Vector s, Complex a) { return (Complex){s * a.r, s * a.i}; }
INLINE Complex times(Complex a, Complex b) { return (Complex){a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r}; }
INLINE Vector norm2(Complex a) { return a.r * a.r + a.i * a.i; }
INLINE Complex choose(Mask where, Complex yes, Complex no) {
    return (Complex){select(where, yes.r, no.r), select(where, yes.i, no.i)};
}

/* sin y for |y| <= pi / 4, z = y^2, and cos y: the polynomials of Cephes (S. L. Moshier). */
INLINE Vector sine_near_zero(Vector y, Vector z) {
    if (IS_FLOAT)
        return ((z * (REAL)-1.9515295891e-4 + (REAL)8.3321608736e-3) * z - (REAL)1.6666654611e-1) * z * y + y;
    Vector p = z * (REAL)1.58962301576546568060e-10 - (REAL)2.50507477628578072866e-8;
    p = (p * z + (REAL)2.75573136213857245213e-6) * z - (REAL)1.98412698295895385996e-4;
    p = (p * z + (REAL)8.33333333332211858878e-3) * z - (REAL)1.66666666666666307295e-1;
    return p * z * y + y;
}

INLINE Vector cosine_near_zero(Vector z) {
    if (IS_FLOAT)
        return ((z * (REAL)2.443315711809948e-5 - (REAL)1.388731625493765e-3) * z + (REAL)4.166664568298827e-2) * z * z -
               (REAL)0.5 * z + 1;
    Vector p = z * (REAL)-1.13585365213876817300e-11 + (REAL)2.08757008419747316778e-9;
    p = (p * z - (REAL)2.75573141792967388112e-7) * z + (REAL)2.48015872888517045348e-5;
    p = (p * z - (REAL)1.38888888888730564116e-3) * z + (REAL)4.16666666666665929218e-2;
    return p * z * z - (REAL)0.5 * z + 1;
}

/* sin and cos of x - k pi/2 in two parts. */
SHARED Complex unit(Vector x) {
    const REAL magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const Vector shifted = x * (REAL)0.63661977236758134308 + magic, k = shifted - magic;
    const Mask bits = (Mask)shifted;
    const REAL high = (REAL)1.57079632679489661923;
    const REAL low = IS_FLOAT ? (REAL)-4.37113900018624283e-8 : (REAL)6.123233995736766036e-17;
    const Vector y = (x - k * high) - k * low, z = y * y;
    const Vector sine = sine_near_zero(y, z), cosine = cosine_near_zero(z);
    const Mask odd = (bits & 1) != 0, sine_down = (bits & 2) != 0, cosine_down = ((bits + 1) & 2) != 0;
    const Vector s = select(odd, cosine, sine), c = select(odd, sine, cosine);
    return complex(select(cosine_down, -c, c), select(sine_down, -s, s));
}

/* arg z in [-pi, pi], 0 for z = 0. */
SHARED Vector angle(Complex z) {
    const Vector x = absolute(z.r), y = absolute(z.i);
    const Mask steep = y > x;
    const Vector large = select(steep, y, x), small = select(steep, x, y);
    const Mask wide = small > large * (REAL)0.41421356237309504880;
    const Vector above = select(wide, small - large, small), below = select(wide, small + large, large);
    const Vector t = above / select(below == 0, all(1), below), q = t * t; /* NaN stays NaN */
    Vector a;
    if (IS_FLOAT) {
        a = ((q * (REAL)8.05374449538e-2 - (REAL)1.38776856032e-1) * q + (REAL)1.99777106478e-1) * q;
        a = (a - (REAL)3.33329491539e-1) * q * t + t;
    } else {
        Vector p = q * (REAL)-8.750608600031904122785e-1 - (REAL)1.615753718733365076637e1;
        p = ((p * q - (REAL)7.500855792314704667340e1) * q - (REAL)1.228866684490136173410e2) * q;
        p = p - (REAL)6.485021904942025371773e1;
        Vector d = q + (REAL)2.485846490142306297962e1;
        d = ((d * q + (REAL)1.650270098316988542046e2) * q + (REAL)4.328810604912902668951e2) * q;
        d = (d + (REAL)4.853903996359136964868e2) * q + (REAL)1.945506571482613964425e2;
        a = p * q / d * t + t;
    }
    a = select(wide, a + (REAL)0.78539816339744830962, a);
    a = select(steep, (REAL)1.57079632679489661923 - a, a);
    a = select(z.r < 0, (REAL)3.14159265358979323846 - a, a);
    return select(z.i < 0, -a, a);
}
