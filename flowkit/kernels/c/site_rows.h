/* Rows of listed sites, batch last, as vectors.

   A vector holds `pieces` rows of `each` = WIDE / pieces numbers: of so many sites that follow one another in the list,
   at one place of the batch. So a small batch fills vectors too. Where the batch is no multiple of `each`, the last row
   of a site overlaps the one before. */
#include <string.h>

#define BYTES 64
#include "vectors.h"

#define EVERY(n, count) _Pragma("GCC unroll 16") for (int n = 0; n < (count); n++)

typedef struct {
    const REAL *x, *bias;
    const int64_t *index;
    REAL *out;
    int64_t groups, channels, taps, outputs, sites_in, sites_out, batch;
    int64_t parts, sets;  /* rows of a site; sets of sites, whose rows at one place of the batch are one vector */
    const int64_t *state; /* of each tap: whether it reads NO, ALL or SOME of the sites */
} Job;

enum { NO, ALL, SOME };

typedef struct {
    int64_t site, b; /* the first site of a unit, and its place in the batch */
} Unit;

typedef __typeof__(__builtin_choose_expr(sizeof(REAL) == 4, (int32_t)0, (int64_t)0)) Word;
typedef Word Lanes __attribute__((vector_size(BYTES))); /* all bits of a lane, or none */

typedef int64_t Bytes16 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int64_t Bytes32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int64_t Bytes64 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int64_t Eight __attribute__((aligned(4), may_alias));
typedef int32_t Four __attribute__((may_alias));
typedef int32_t Fours __attribute__((vector_size(16), may_alias));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES
#endif
#endif

#ifdef SHUFFLES
#define AT(type, i) (*(const type *)(from[i] + ahead))

INLINE Bytes16 sixteen(const REAL *const *from, int64_t ahead, const int bytes) {
    if (bytes >= 16) return AT(Bytes16, 0);
    if (bytes == 8) return (Bytes16){AT(Eight, 0), AT(Eight, 1)};
    return (Bytes16)(Fours){AT(Four, 0), AT(Four, 1), AT(Four, 2), AT(Four, 3)};
}

INLINE Bytes32 thirty_two(const REAL *const *from, int64_t ahead, const int bytes) {
    if (bytes >= 32) return AT(Bytes32, 0);
    return __builtin_shufflevector(sixteen(from, ahead, bytes), sixteen(from + 16 / bytes, ahead, bytes), 0, 1, 2, 3);
}
#endif

/* The vector of these rows, each `ahead` numbers on. */
INLINE Vector joined(const REAL *const *from, int64_t ahead, const int pieces) {
    if (pieces == 1) return get(from[0] + ahead);
#ifdef SHUFFLES
    const int bytes = BYTES / pieces;
    const Bytes32 low = thirty_two(from, ahead, bytes), high = thirty_two(from + pieces / 2, ahead, bytes);
    return (Vector)(Bytes64)__builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#else
    Vector v;
    EVERY(i, pieces) memcpy((char *)&v + i * (BYTES / pieces), from[i] + ahead, BYTES / pieces);
    return v;
#endif
}

INLINE Unit unit_of(const Job *job, int64_t set, int64_t part, const int pieces) {
    const int64_t each = WIDE / pieces, b = part * each;
    return (Unit){set * pieces, b + each <= job->batch ? b : job->batch - each};
}

/* The site of a row; those past the last repeat it. */
INLINE int64_t site_of(const Job *job, Unit unit, int i) {
    return unit.site + i < job->sites_out ? unit.site + i : job->sites_out - 1;
}

/* Which lanes of a unit exist at tap t. In memory, and a function of its own, as few taps need it. */
SHARED void lanes_of(const Job *job, Unit unit, int64_t t, int pieces, Lanes *mask) {
    for (int l = 0; l < WIDE; l++) {
        const int64_t site = job->index[t * job->sites_out + site_of(job, unit, l / (WIDE / pieces))];
        (*mask)[l] = -(site != job->sites_in);
    }
}

/* Where the rows of a unit lie in x at tap t. */
INLINE void reads(const Job *job, Unit unit, int64_t t, const int pieces, const REAL **from) {
    const int64_t *index = job->index + t * job->sites_out;
    if (job->state[t] == ALL && unit.site + pieces <= job->sites_out) {
        EVERY(i, pieces) from[i] = job->x + index[unit.site + i] * job->batch + unit.b;
        return;
    }
    EVERY(i, pieces) {
        const int64_t site = index[site_of(job, unit, i)];
        from[i] = job->x + (site != job->sites_in ? site : 0) * job->batch + unit.b;
    }
}

/* Whether the rows lie one after another, as one vector. */
INLINE int adjacent(const REAL *const *from, const int pieces) {
    int all = 1;
    EVERY(i, pieces) all &= from[i] == from[0] + i * (WIDE / pieces);
    return all;
}

/* The vectors of units as tap t reads them in a few channels from `ahead` on: to[unit][channel] */
INLINE void pack(const Job *given, int64_t t, int64_t ahead, int64_t few, int64_t begin, int64_t end, REAL *to,
                 const int pieces) {
    const Job own = *given, *job = &own; /* or a compiler reads it again after each number that is stored */
    const int64_t step = job->sites_in * job->batch, some = job->state[t] == SOME;
    int64_t s = begin / job->parts, part = begin % job->parts;
    for (int64_t u = begin; u < end; u++) {
        const REAL *from[16];
        Lanes mask;
        reads(job, unit_of(job, s, part, pieces), t, pieces, from);
        if (some) lanes_of(job, unit_of(job, s, part, pieces), t, pieces, &mask);
        const int one = adjacent(from, pieces);
        for (int64_t c = 0; c < few; c++, to += WIDE) {
            Vector x = one ? get(from[0] + ahead + c * step) : joined(from, ahead + c * step, pieces);
            if (some) x = (Vector)((Lanes)x & mask);
            set(to, x);
        }
        if (++part == job->parts) part = 0, s++;
    }
}

/* The vectors of the gradient at one of `width` outputs: to[unit][width]. Numbers of a row that the one before has too
   are 0, and so are sites past the last. */
static void pack_gradient(const Job *job, const REAL *g, int64_t begin, int64_t end, REAL *to, int64_t width,
                          int64_t pieces) {
    const int64_t each = WIDE / pieces;
    int64_t s = begin / job->parts, part = begin % job->parts;
    for (int64_t u = begin; u < end; u++, to += width * WIDE) {
        const int64_t b = part * each, twice = b + each > job->batch ? b + each - job->batch : 0;
        const int64_t sites = job->sites_out - s * pieces < pieces ? job->sites_out - s * pieces : pieces;
        const REAL *row = g + s * pieces * job->batch + b - twice;
        if (twice == 0 && sites == pieces && (pieces == 1 || each == job->batch)) {
            set(to, get(row));
        } else {
            set(to, (Vector){0});
            for (int64_t i = 0; i < sites; i++)
                for (int64_t l = twice; l < each; l++) to[i * each + l] = row[i * job->batch + l];
        }
        if (++part == job->parts) part = 0, s++;
    }
}

/* The state of each tap. */
static void look(const Job *job, int64_t *state) {
    for (int64_t t = 0; t < job->taps; t++) {
        int64_t missing = 0;
        for (int64_t j = 0; j < job->sites_out; j++) missing += job->index[t * job->sites_out + j] == job->sites_in;
        state[t] = missing == 0 ? ALL : missing == job->sites_out ? NO : SOME;
    }
}

/* Sets parts and sets for rows of WIDE >> power numbers, for the power that costs least; gives it. */
static int cut(Job *job) {
    static const double COST[5] = {1, 1.1, 1.2, 2, 3}; /* of a vector of 1, 2, 4, 8 and 16 rows */
    int best = -1;
    double least = 0;
    for (int power = 0; WIDE >> power; power++) {
        const int64_t each = WIDE >> power, parts = (job->batch + each - 1) / each;
        const double cost = COST[power] * (double)(each * parts);
        if (each <= job->batch && (best < 0 || cost < least)) {
            best = power, least = cost, job->parts = parts;
            job->sets = (job->sites_out + (1 << power) - 1) / (1 << power);
        }
    }
    return best;
}
