/* SU(2) as pairs (p, q), the first rows of [[p, q], [-q*, p*]], and its elements at random. */
typedef struct {
    Complex p, q;
} Pair;

INLINE Pair unit_pair(void) { return (Pair){complex(all(1), all(0)), complex(all(0), all(0))}; }
INLINE Pair adjoint(Pair x) { return (Pair){conjugate(x.p), scaled(all(-1), x.q)}; }
INLINE Pair pair_product(Pair x, Pair y) {
    return (Pair){minus(times(x.p, y.p), times(x.q, conjugate(y.q))), plus(times(x.p, y.q), times(x.q, conjugate(y.p)))};
}
INLINE Pair pair_scaled(Vector s, Pair x) { return (Pair){scaled(s, x.p), scaled(s, x.q)}; }
INLINE Pair pair_choose(Mask where, Pair yes, Pair no) {
    return (Pair){choose(where, yes.p, no.p), choose(where, yes.q, no.q)};
}
INLINE Vector pair_length(Pair x) { return root(norm2(x.p) + norm2(x.q)); }

/* x / |x|, or 1 for x = 0; NaN stays NaN. */
INLINE Pair direction(Pair x, Vector length) {
    const Mask none = length <= 0;
    return pair_choose(none, unit_pair(), pair_scaled(1 / select(none, all(1), length), x));
}

/* cos a and sin a >= 0 of density sin^2 a exp(k cos a), the angle of an element of SU(2). Large k: Kennedy and Pendleton,
   Phys. Lett. B 156 (1985) 393; 1 - cos a has the gamma law of order 3/2 times a factor that decides. Small k: cos a as at
   k = 0, a coordinate of a point of the unit disc. NaN where k is no number. */
SHARED Complex su2_angle(Vector k, Stream *s) {
    const Mask peaked = k > (REAL)1.3;
    Mask waiting = k < (REAL)INFINITY;
    Complex found = complex(all((REAL)NAN), all((REAL)NAN));
    for (int t = 0; t < TRIES && any(waiting); t++) {
        Vector u[4];
        uniforms(s, u);
        const Vector turn = unit(2 * PI * u[2]).r;
        if (any(waiting & peaked)) {
            const Vector d = -(logarithm(u[0]) + turn * turn * logarithm(u[1])) / k;
            const Mask yes = waiting & peaked & (u[3] * u[3] <= 1 - d * (REAL)0.5);
            found = choose(yes, complex(1 - d, d * (2 - d)), found);
            waiting &= ~yes;
        }
        if (any(waiting & ~peaked)) {
            Mask down;
            const Vector c = root(u[0]) * absolute(turn);
            const Mask yes = waiting & ~peaked & kept(u[1], k, c, &down);
            found = choose(yes, complex(select(down, -c, c), 1 - c * c), found);
            waiting &= ~yes;
        }
    }
    found.i = root(larger(found.i, (Vector){0}));
    return found;
}

/* An element of density exp(k Re p), the draw number `place` of a link: all lanes try again until the last one succeeds,
   and what is drawn next must not depend on how often. */
INLINE Pair pair_drawn(Vector k, Stream *s, uint32_t place) {
    Vector u[4];
    s->count = place << 16;
    uniforms(s, u);
    const Complex a = su2_angle(k, s);
    const Vector z = 2 * u[0] - 1;
    return (Pair){complex(a.r, a.i * z), scaled(a.i * root(1 - z * z), unit(2 * PI * u[1]))};
}
