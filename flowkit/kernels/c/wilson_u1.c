/* Links of U(1) with Wilson's action, REAL = float and double: angles. */
#define MOST 1
#define RECORD 1
#define ALGEBRA 1
#define ORDER 0 /* of the Bessel function in the normaliser */
#include "lanes.h"
#include "draws.h"
#include "growth.h"

typedef Vector Link;
typedef Complex Sum;

INLINE Link take(const REAL *const *at) {
    Vector v;
    gather(&v, at, 1);
    return v;
}

INLINE void give(REAL *const *at, const Link *v, int64_t lanes) {
    for (int l = 0; l < lanes; l++) at[l][0] = (*v)[l];
}

SHARED void add(Sum *sum, const Link *a, const Link *b, const Link *c, int64_t below) {
    *sum = plus(*sum, unit(below ? *b + *c - *a : *a + *b - *c));
}

/* In [-pi, pi): an angle inside stays as it is, and NaN NaN. */
INLINE Vector wrapped(Vector x) {
    const REAL magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const Vector turns = (x * (1 / (2 * PI)) + magic) - magic, y = x - turns * (2 * PI);
    return select(absolute(y) >= PI, all(-PI), y);
}

/* An angle in (-2 pi, 2 pi) of density exp(k cos a). Large k: a normal law, 1 - cos a >= 2 a^2 / pi^2. Small k: uniform. */
SHARED Vector u1_angle(Vector k, Stream *s) {
    const Mask peaked = k > (REAL)1.4;
    Mask waiting = k < (REAL)INFINITY;
    Vector found = all((REAL)NAN);
    for (int t = 0; t < TRIES && any(waiting); t++) {
        Vector u[4];
        uniforms(s, u);
        if (any(waiting & peaked)) {
            const Vector square = -2 * logarithm(u[0]);
            const Vector a = root(square / k) * (PI / 2) * unit(2 * PI * u[2]).r, sine = unit(a * (REAL)0.5).i;
            const Vector excess = k * (a * a * (2 / (PI * PI)) - 2 * sine * sine);
            const Mask inside = absolute(a) < PI;
            const Mask yes = waiting & peaked & inside & (u[1] < exponential(smaller(excess, (Vector){0})));
            found = select(yes, a, found);
            waiting &= ~yes;
        }
        if (any(waiting & ~peaked)) {
            Mask down;
            const Vector a = PI * (u[0] - (REAL)0.5);
            const Mask yes = waiting & ~peaked & kept(u[1], k, unit(a).r, &down);
            found = select(yes, select(down, a + PI, a), found);
            waiting &= ~yes;
        }
    }
    return found;
}

SHARED Link draw(const Link *v, const Sum *sum, REAL beta, Stream *s) {
    return wrapped(angle(*sum) + u1_angle(beta * root(norm2(*sum)), s));
}

/* The link anew while its staples grow from A to A + h S. */
INLINE Link grow(const Link *v, const Sum *A, const Sum *S, REAL h, const Series *series, Stream *s, Vector *log) {
    const Vector length = root(norm2(*A));
    const Vector more = longer(length, A->r * S->r + A->i * S->i, norm2(*S), h);
    const Sum after = plus(*A, scaled(all(h), *S));
    *log = log_growth(series, length, more);
    return draw(v, &after, 1, s);
}

INLINE Link reflect(const Link *v, const Sum *sum) { return wrapped(2 * angle(*sum) - *v); }

SHARED Link restore(const Link *v) { return *v; }

SHARED Vector trace(const Link *a, const Link *b, const Link *c, const Link *d) {
    return unit(*a + *b - *c - *d).r;
}

SHARED void slope(Vector *w, const Link *v, const Sum *sum) {
    const Complex e = unit(*v);
    w[0] = e.r * sum->i - e.i * sum->r;
}

INLINE Complex angle_law(Vector k, Stream *s) { return unit(u1_angle(k, s)); }

#include "wilson.h"
#include "anneal.h"

#define WRAP_EVERY 8 /* drifts: angles stay small enough for all their digits to count */

/* WIDE chains from the first one on, [chains, links], to lanes, and back; lanes without a chain repeat the last one. */
static void NAME(to_lanes)(Vector *to, const REAL *from, int64_t chains, int64_t links) {
    int64_t i = 0;
    for (; i + WIDE <= links; i += WIDE) {
        UNROLL for (int m = 0; m < WIDE; m++) to[i + m] = get(from + (m < chains ? m : chains - 1) * links + i);
        transpose(to + i, WIDE);
    }
    for (; i < links; i++)
        for (int m = 0; m < WIDE; m++) to[i][m] = from[(m < chains ? m : chains - 1) * links + i];
}

static void NAME(from_lanes)(REAL *to, const Vector *from, int64_t chains, int64_t links) {
    int64_t i = 0;
    for (; i + WIDE <= links; i += WIDE) {
        Vector row[WIDE];
        UNROLL for (int m = 0; m < WIDE; m++) row[m] = from[i + m];
        transpose(row, WIDE);
        for (int m = 0; m < WIDE && m < chains; m++) set(to + m * links + i, row[m]);
    }
    for (; i < links; i++)
        for (int m = 0; m < WIDE && m < chains; m++) to[m * links + i] = from[i][m];
}

/* sin x: `unit` without its cosine. */
INLINE Vector sine(Vector x) {
    const REAL magic = IS_FLOAT ? 12582912.0f : 6755399441055744.0;
    const Vector shifted = x * (1 / PI) + magic, k = shifted - magic; /* x - k pi in [-pi/2, pi/2] */
    const REAL low = IS_FLOAT ? (REAL)-8.74227800037248567e-8 : (REAL)1.2246467991473532072e-16;
    const Vector half = ((x - k * PI) - k * low) * (REAL)0.5, square = half * half;
    const Vector value = 2 * sine_near_zero(half, square) * cosine_near_zero(square);
    return select(((Mask)shifted & 1) != 0, -value, value);
}

typedef struct {
    const int64_t *table, *around; /* links of the plaquettes a + b - c - d; the rows ahead of each row, then those behind */
    const double *drifts, *kicks;
    int64_t links, plaquettes, ndim, rows, n, turns;
    double beta;
} Motion;

/* Of WIDE chains, the last `WIDE - chains` of which repeat one: a chain in each lane. */
static void NAME(move_in_lanes)(const Motion *m, REAL *x, REAL *p, const double *steps, int64_t chains) {
    const int64_t links = m->links;
    void *whole = __builtin_malloc(3 * links * sizeof(Vector) + BYTES);
    Vector *X = (Vector *)(((uintptr_t)whole + BYTES - 1) / BYTES * BYTES), *P = X + links, *F = P + links, h;
    for (int l = 0; l < WIDE; l++) h[l] = (REAL)steps[l < chains ? l : chains - 1];
    NAME(to_lanes)(X, x, chains, links);
    NAME(to_lanes)(P, p, chains, links);
    for (int64_t i = 0; i < links; i++) X[i] += (REAL)m->drifts[0] * h * P[i];
    for (int64_t turn = 0; turn < m->turns; turn++) {
        const Vector kick = (REAL)(m->kicks[turn] * m->beta) * h, drift = (REAL)m->drifts[turn + 1] * h;
        memset(F, 0, links * sizeof(Vector));
        for (const int64_t *row = m->table; row < m->table + 4 * m->plaquettes; row += 4) {
            const Vector s = sine(X[row[0]] + X[row[1]] - X[row[2]] - X[row[3]]);
            F[row[0]] -= s;
            F[row[1]] -= s;
            F[row[2]] += s;
            F[row[3]] += s;
        }
        const int wrap = turn % WRAP_EVERY == WRAP_EVERY - 1;
        for (int64_t i = 0; i < links; i++) {
            P[i] += kick * F[i];
            X[i] += drift * P[i];
            if (wrap) X[i] = wrapped(X[i]);
        }
    }
    for (int64_t i = 0; i < links; i++) X[i] = wrapped(X[i]);
    NAME(from_lanes)(x, X, chains, links);
    NAME(from_lanes)(p, P, chains, links);
    __builtin_free(whole);
}

#define UP(count) (((count) + WIDE - 1) / WIDE * WIDE)

/* Of one chain: lanes are sites of a row of n, which lie `stride` apart with a periodic copy behind the end, and for sines
   before the start. What vectors compute behind the copy is not used. */
static void NAME(move_in_rows)(const Motion *m, REAL *x, REAL *p, const double step) {
    const int64_t rows = m->rows, n = m->n, d = m->ndim, stride = UP(n + 1) + WIDE, field = d * rows * stride;
    REAL *whole = __builtin_calloc(3 * field + (rows + 1) * stride, sizeof(REAL));
    REAL *X = whole, *P = X + field, *F = P + field, *S = F + field + WIDE;
    for (int64_t r = 0; r < d * rows; r++) {
        memcpy(X + r * stride, x + r * n, n * sizeof(REAL));
        memcpy(P + r * stride, p + r * n, n * sizeof(REAL));
    }
    for (int64_t turn = -1; turn < m->turns; turn++) {
        const REAL kick = turn < 0 ? 0 : (REAL)(m->kicks[turn] * m->beta * step);
        const REAL drift = (REAL)(m->drifts[turn + 1] * step);
        for (int64_t mu = 0; turn >= 0 && mu < d; mu++)
            for (int64_t nu = mu + 1; nu < d; nu++) {
                const int along = nu == d - 1;
                const int64_t *up_mu = m->around + mu * rows, *down_mu = up_mu + (d - 1) * rows;
                const int64_t *up_nu = m->around + nu * rows, *down_nu = up_nu + (d - 1) * rows;
                REAL *A = X + mu * rows * stride, *B = X + nu * rows * stride;
                REAL *of_mu = F + mu * rows * stride, *of_nu = F + nu * rows * stride;
                for (int64_t r = 0; r < rows; r++) {
                    const REAL *a = A + r * stride, *b = B + up_mu[r] * stride, *e = B + r * stride;
                    const REAL *c = along ? a + 1 : A + up_nu[r] * stride;
                    REAL *s = S + r * stride;
                    for (int64_t j = 0; j < n; j += WIDE)
                        set(s + j, sine(get(a + j) + get(b + j) - get(c + j) - get(e + j)));
                    s[-1] = s[n - 1];
                }
                for (int64_t r = 0; r < rows; r++) {
                    const REAL *s = S + r * stride, *t = S + down_mu[r] * stride;
                    const REAL *u = along ? s - 1 : S + down_nu[r] * stride;
                    REAL *f = of_mu + r * stride, *g = of_nu + r * stride;
                    for (int64_t j = 0; j < n; j += WIDE) {
                        const Vector here = get(s + j);
                        set(f + j, get(f + j) + (get(u + j) - here));
                        set(g + j, get(g + j) + (here - get(t + j)));
                    }
                }
            }
        const int wrap = turn % WRAP_EVERY == WRAP_EVERY - 1 || turn == m->turns - 1;
        for (int64_t r = 0; r < d * rows; r++) {
            REAL *to = X + r * stride, *speed = P + r * stride, *force = F + r * stride;
            for (int64_t j = 0; j < n; j += WIDE) {
                const Vector v = get(speed + j) + kick * get(force + j), y = get(to + j) + drift * v;
                set(speed + j, v);
                set(to + j, wrap ? wrapped(y) : y);
                set(force + j, (Vector){0});
            }
            to[n] = to[0];
        }
    }
    for (int64_t r = 0; r < d * rows; r++) {
        memcpy(x + r * n, X + r * stride, n * sizeof(REAL));
        memcpy(p + r * n, P + r * stride, n * sizeof(REAL));
    }
    __builtin_free(whole);
}

/* The trajectory of HMC: drifts x += d p and kicks p += k F(x) in turn. x and p, [chains, links], are moved where they
   are. */
void NAME(trajectory)(REAL *x, REAL *p, const int64_t *table, const int64_t *around, const double *drifts,
                      const double *kicks, const double *steps, int64_t chains, int64_t ndim, int64_t rows, int64_t n,
                      int64_t plaquettes, int64_t turns, double beta) {
    const Motion motion = {table, around, drifts, kicks, ndim * rows * n, plaquettes, ndim, rows, n, turns, beta};
    const int64_t links = motion.links, left = chains % WIDE;
    const int64_t in_lanes = left * UP(n) > WIDE * n ? chains : chains - left; /* the rest fills rows better */
    const int64_t blocks = (in_lanes + WIDE - 1) / WIDE, jobs = blocks + chains - in_lanes;
    PRAGMA(omp parallel for schedule(static) if (jobs > 1))
    for (int64_t job = 0; job < jobs; job++) {
        const int64_t first = job < blocks ? job * WIDE : in_lanes + job - blocks, some = chains - first;
        if (job < blocks)
            NAME(move_in_lanes)(&motion, x + first * links, p + first * links, steps + first, some < WIDE ? some : WIDE);
        else
            NAME(move_in_rows)(&motion, x + first * links, p + first * links, steps[first]);
    }
}
