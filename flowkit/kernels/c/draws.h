/* Random numbers in lanes, and the laws of heatbaths by rejection.

   Philox 4x32-10 (Salmon et al., SC 2011) is a function of a counter and a key: each link of each chain has numbers of its
   own, whatever lane or thread works on it. */
typedef uint32_t WORD_float;
typedef uint64_t WORD_double; /* of which the lower half is used */
typedef JOIN(WORD, REAL) Words __attribute__((vector_size(BYTES)));
typedef uint64_t Pairs __attribute__((vector_size(BYTES)));

typedef struct {
    Words link, chain;
    uint32_t sweep, key[2], count;
} Stream;

#define PI (REAL)3.14159265358979323846
#define LOW_HALF 0xffffffffu
#define TRIES 64 /* none of them succeeds once in 10^27 times */

/* The lower and the upper half of x m. */
INLINE Words product_of(Words x, uint64_t m, Words *high) {
    const Pairs p = (Pairs)x, even = (p & LOW_HALF) * m;
    if (!IS_FLOAT) {
        *high = (Words)(even >> 32);
        return (Words)(even & LOW_HALF);
    }
    const Pairs odd = (p >> 32) * m;
    *high = (Words)((even >> 32) | (odd & ~(uint64_t)LOW_HALF));
    return (Words)((even & LOW_HALF) | (odd << 32));
}

INLINE void philox(Words *c, uint32_t k0, uint32_t k1) {
    UNROLL for (int round = 0; round < 10; round++) {
        Words high0, high2;
        const Words low0 = product_of(c[0], 0xD2511F53u, &high0), low2 = product_of(c[2], 0xCD9E8D57u, &high2);
        c[0] = high2 ^ c[1] ^ k0;
        c[1] = low2;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* In (0, 1), both ends left out. */
INLINE Vector between_ends(Words high, Words low) {
    const Words bits = IS_FLOAT ? (high >> 9) | 0x3F800000u : (high << 20) | (low >> 12) | (Words)all(1);
    return (Vector)bits - (1 - (IS_FLOAT ? (REAL)0x1p-24 : (REAL)0x1p-53));
}

/* Four numbers, uniform on (0, 1). */
SHARED void uniforms(Stream *s, Vector *u) {
    for (int k = 0; k < (IS_FLOAT ? 4 : 2); k += IS_FLOAT ? 4 : 1, u += 2) {
        Words c[4] = {s->link, s->chain, (Words){0} + s->count++, (Words){0} + s->sweep};
        philox(c, s->key[0], s->key[1]);
        u[0] = between_ends(c[0], c[1]);
        u[1] = between_ends(IS_FLOAT ? c[1] : c[2], c[3]);
        if (IS_FLOAT) {
            u[2] = between_ends(c[2], c[3]);
            u[3] = between_ends(c[3], c[3]);
        }
    }
}

INLINE Vector smaller(Vector a, Vector b) { return select(a < b, a, b); }

/* For a cosine whose modulus c is drawn from its law at k = 0: kept with probability cosh(k c) / cosh(k), with the sign
   in `down` as exp(k c) against exp(-k c). */
INLINE Mask kept(Vector u, Vector k, Vector c, Mask *down) {
    const Vector aim = u * (1 + exponential(-2 * k)), up = exponential(smaller(k * (c - 1), (Vector){0}));
    *down = aim >= up;
    return aim < up * (1 + exponential(-2 * k * c));
}
