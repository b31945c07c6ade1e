/* Angles of heatbaths, REAL = float and double: what heat_torch.py computes, with its names. A number in each lane. */
#define MOST 1
#include "lanes.h"

#define LARGEST 128 /* number of points of a rule */
#define ROUNDS 12   /* of Halley's method, at most; three or four are usual */
#define MOST_TURN 60
#define NEAR (IS_FLOAT ? (REAL)5e-3 : (REAL)1e-4) /* one more round ends at a rounding error: its error is the cube */
#define EPS (IS_FLOAT ? (REAL)1.1920929e-7 : (REAL)2.220446049250313e-16)
#define TINY (IS_FLOAT ? (REAL)1.1754944e-38 : (REAL)2.2250738585072014e-308)
#define PI (REAL)3.14159265358979323846

typedef struct {
    const REAL *x, *weights;
    int64_t points, n;
    REAL reach, haar_log;
} Rule;

INLINE Vector smaller(Vector a, Vector b) { return select(a < b, a, b); }

/* sin^2(t/2), and cos^2(t/2) in `v`, for t in [0, pi]. */
INLINE Vector parts(Vector t, Vector *v) {
    const Vector y = t * (REAL)0.25, sine = sine_near_zero(y, y * y), half = sine * sine;
    *v = (1 - 2 * half) * (1 - 2 * half);
    return 4 * half * (1 - half);
}

INLINE Vector weight(Vector t, Vector kappa, Vector scale, const Rule *rule, Vector *w) {
    Vector v;
    *w = parts(t, &v);
    const Vector square = scale * 4 * *w * v;
    Vector f = exponential(-2 * kappa * *w);
    for (int64_t k = 0; k < rule->n; k += 2) f *= square;
    return f;
}

INLINE Vector scale_of(Vector kappa, const Rule *rule) { return 1 + 2 * kappa / (REAL)(rule->n + 1); }

INLINE Vector end(Vector kappa, const Rule *rule) {
    const Vector w = rule->reach / larger(2 * kappa, all(rule->reach));
    return 2 * angle(complex(root(1 - w), root(w)));
}

/* The integrals of f and, in `first`, of 2 w f. */
INLINE Vector moments(Vector start, Vector stop, Vector kappa, Vector scale, const Rule *rule, Vector *first) {
    Vector total = {0}, w, more = {0};
    for (int64_t k = 0; k < rule->points; k++) {
        const Vector f = weight(start + (stop - start) * rule->x[k], kappa, scale, rule, &w) * rule->weights[k];
        total += f;
        more += w * f;
    }
    *first = 2 * more * (stop - start);
    return total * (stop - start);
}

SHARED Vector norm(Vector kappa, const Rule *rule, Vector *mean) {
    const Vector scale = scale_of(kappa, rule);
    Vector first;
    const Vector total = moments((Vector){0}, end(kappa, rule), kappa, scale, rule, &first);
    *mean = first / total;
    return logarithm(total) - rule->haar_log - (REAL)(rule->n / 2) * logarithm(scale);
}

SHARED Vector cdf(Vector a, Vector kappa, const Rule *rule) {
    const Vector zero = {0}, last = end(kappa, rule), scale = scale_of(kappa, rule);
    Vector first;
    const Vector whole = moments(zero, last, kappa, scale, rule, &first);
    return smaller(moments(zero, smaller(larger(a, zero), last), kappa, scale, rule, &first) / whole, all(1));
}

SHARED Vector slopes(Vector a, Vector u, Vector kappa, const Rule *rule, Vector *ratio) {
    const Vector zero = {0}, last = end(kappa, rule), scale = scale_of(kappa, rule);
    const Mask upper = u > (REAL)0.5;
    Vector first, part_first, w;
    const Vector whole = moments(zero, last, kappa, scale, rule, &first);
    const Vector here = weight(a, kappa, scale, rule, &w);
    const Vector start = select(upper, a, zero), stop = select(upper, larger(last, a), a);
    const Vector part = moments(start, stop, kappa, scale, rule, &part_first);
    const Vector change = part * (first / whole) - part_first;
    *ratio = select(here > TINY, select(upper, -change, change) / larger(here, all(TINY)), zero);
    return here / whole;
}

SHARED Vector invert(Vector u, Vector kappa, const Rule *rule) {
    const Vector zero = {0}, last = end(kappa, rule), scale = scale_of(kappa, rule);
    const int64_t points = rule->points, n = rule->n;
    Vector before[LARGEST], whole = zero, w, ignored;
    for (int64_t k = 0; k < points; k++) {
        const Vector f = weight(last * rule->x[k], kappa, scale, rule, &w) * rule->weights[k];
        before[k] = whole + f * (REAL)0.5;
        whole += f;
    }
    const Vector aim_before = u * whole;
    Vector low = before[0], high = before[1], left = all(rule->x[0]), right = all(rule->x[1]);
    for (int64_t k = 1; k < points - 1; k++) {
        const Mask hit = before[k] <= aim_before;
        low = select(hit, before[k], low);
        high = select(hit, before[k + 1], high);
        left = select(hit, all(rule->x[k]), left);
        right = select(hit, all(rule->x[k + 1]), right);
    }
    const Vector t = (aim_before - low) / larger(high - low, EPS * whole);
    Vector a = last * (left + (right - left) * smaller(larger(t, zero), all(1)));
    const Vector power = exponential(smaller(logarithm(aim_before / before[0]), zero) / (REAL)(n + 1));
    a = select(aim_before < before[0], last * rule->x[0] * power, a);
    whole *= last;
    const Mask upper = u > (REAL)0.5;
    const Vector aim = select(upper, 1 - u, u), sign = select(upper, all(-1), all(1));
    const Vector allowed = NEAR * aim + select(upper, all(EPS), zero);
    const Complex half = unit(a * (REAL)0.5);
    Vector tangent = half.i / larger(half.r, all(TINY));
    Mask moving = aim > 0;
    for (int round = 0; round < ROUNDS && any(moving); round++) {
        a = 2 * angle(complex(all(1), tangent));
        const Vector start = select(upper, smaller(a, last), zero), stop = select(upper, last, a);
        Vector part = moments(start, stop, kappa, scale, rule, &ignored) / whole;
        part = smaller(larger(part, all(TINY)), all(1 - EPS));
        const Vector v = 1 / (1 + tangent * tangent), half_sine = tangent * v, rest = 1 - part;
        const Vector here = weight(a, kappa, scale, rule, &w);
        const Vector slope = larger(here * half_sine / (whole * part * rest), all(TINY));
        const Vector turn = logarithm(aim / part) - logarithm((1 - aim) / rest);
        const Vector bend = ((REAL)(n + 1) * (2 * v - 1) - 4 * kappa * half_sine * half_sine) * (REAL)0.5 -
                            sign * slope * (1 - 2 * part);
        Vector step = sign * turn / slope;
        step = step / larger(1 + step * bend * (REAL)0.5, all((REAL)0.3));
        step = smaller(larger(step, all(-MOST_TURN)), all(MOST_TURN));
        tangent = select(moving, tangent * exponential(step * (REAL)0.5), tangent);
        moving &= absolute(part - aim) > allowed;
    }
    a = 2 * angle(complex(all(1), tangent));
    return select(u <= 0, zero, select(u >= 1, all(PI), a));
}

/* ---------------------------------------------------------------- all numbers */

/* The lanes of block b; where numbers are missing, a half. */
INLINE Vector lanes_of(const REAL *from, int64_t b, int64_t count) {
    if (__builtin_expect((b + 1) * WIDE <= count, 1)) return get(from + b * WIDE);
    Vector some = all((REAL)0.5);
    memcpy(&some, from + b * WIDE, sizeof(REAL) * (count - b * WIDE));
    return some;
}

INLINE void lanes_to(REAL *to, Vector some, int64_t b, int64_t count) {
    const int64_t left = count - b * WIDE;
    memcpy(to + b * WIDE, &some, sizeof(REAL) * (left < WIDE ? left : WIDE));
}

#define RULE const REAL *x, const REAL *weights, int64_t points, int64_t n, double reach, double haar_log
#define EACH(body)                                                       \
    const Rule rule = {x, weights, points, n, reach, haar_log};          \
    PARALLEL(1024)                                                       \
    for (int64_t b = 0; b < BLOCKS; b++) {                               \
        body                                                             \
    }
#define AT(name) lanes_of(name, b, count)

/* some, and NaN where x is: the comparisons above are false there. */
INLINE Vector unless_nan(Vector some, Vector x) { return select(x == x, some, x); }

void NAME(norm)(const REAL *kappa, REAL *logs, REAL *mean, RULE, int64_t count) {
    EACH(Vector first; lanes_to(logs, norm(AT(kappa), &rule, &first), b, count); lanes_to(mean, first, b, count);)
}

void NAME(cdf)(const REAL *a, const REAL *kappa, REAL *u, RULE, int64_t count) {
    EACH(const Vector at = AT(a); const Vector k = AT(kappa);
         lanes_to(u, unless_nan(unless_nan(cdf(at, k, &rule), at), k), b, count);)
}

void NAME(slopes)(const REAL *a, const REAL *u, const REAL *kappa, REAL *p, REAL *ratio, RULE, int64_t count) {
    EACH(Vector r; const Vector at = AT(a); const Vector k = AT(kappa);
         lanes_to(p, slopes(at, AT(u), k, &rule, &r), b, count);
         lanes_to(ratio, unless_nan(unless_nan(r, at), k), b, count);)
}

void NAME(angle)(const REAL *u, const REAL *kappa, REAL *a, RULE, int64_t count) {
    EACH(const Vector at = AT(u); const Vector k = AT(kappa);
         lanes_to(a, unless_nan(unless_nan(invert(at, k, &rule), at), k), b, count);)
}
