/* Links with Wilson's action, S = -(beta / N) sum Re Tr U_P, in any dimension: what wilson_u1.c, wilson_su2.c and
   wilson_su3.c share.

   Where there are as many chains as lanes and their fields fit into a cache, each lane is a chain: a field is then an array
   of Link, transposed once. Elsewhere lanes are links of one sublattice, of as many chains as fill them, read and
   transposed one by one. Both call the same functions, SHARED so that they round alike, with the same random numbers.

   A field of a chain is `links` records of RECORD reals. A row of `table` is a link and the three links of each of its
   staples, a b c^dagger on one side and a^dagger b c on the other in turn. The files bring

       Link, Sum    one link, and a sum of staples
       take, give   read and write links at WIDE addresses
       add          a staple
       ORDER, grow  annealing: the order of the Bessel function in the normaliser, and the link anew while its staples
                    grow, with the logarithm of the weight
       draw         the link anew, from exp((beta / N) Re Tr V A^dagger) or by a step that keeps it
       reflect      overrelaxation
       restore      back to the group, from a rounding error off it
       trace        Re Tr a b c^dagger d^dagger / N
       slope        d/dw^a of Re Tr(exp(w) V A^dagger) / N at w = 0, ALGEBRA numbers

   and `angle_law`, from which `draw` takes its angles. */
typedef struct {
    const int64_t *table, *parts;
    int64_t links, staples, heat, sweeps;
    const int64_t *key;
    REAL beta;
} Plan;

#define ROW (1 + 3 * plan->staples)

typedef struct {
    const int64_t *row[WIDE];
    REAL *field[WIDE];
    int64_t lanes; /* that hold jobs; the others repeat the last one */
    Stream stream;
} Block;

/* Block b of jobs (chain, link), `active` links of each chain. */
INLINE void choose_jobs(Block *block, const Plan *plan, REAL *x, int64_t start, int64_t active, int64_t first,
                        int64_t chains, int64_t b) {
    int64_t chain = b * WIDE / active, link = b * WIDE % active;
    block->lanes = chains * active - b * WIDE < WIDE ? chains * active - b * WIDE : WIDE;
    for (int l = 0; l < WIDE; l++) {
        block->row[l] = plan->table + (start + link) * ROW;
        block->field[l] = x + (first + chain) * plan->links * RECORD;
        block->stream.link[l] = (uint32_t)block->row[l][0];
        block->stream.chain[l] = (uint32_t)(first + chain);
        if (l + 1 < block->lanes && ++link == active) chain++, link = 0;
    }
}

INLINE Link link_at(const Block *block, int64_t place) {
    const REAL *at[WIDE];
    for (int l = 0; l < WIDE; l++) at[l] = block->field[l] + block->row[l][place] * RECORD;
    return take(at);
}

INLINE Sum staple_sum(const Block *block, const Plan *plan) {
    Sum sum;
    memset(&sum, 0, sizeof sum);
    for (int64_t s = 0; s < plan->staples; s++) {
        const Link a = link_at(block, 1 + 3 * s), b = link_at(block, 2 + 3 * s), c = link_at(block, 3 + 3 * s);
        add(&sum, &a, &b, &c, s & 1);
    }
    return sum;
}

INLINE Link updated(const Plan *plan, const Link *v, const Sum *sum, int64_t sweep, Stream *stream) {
    stream->sweep = (uint32_t)sweep;
    stream->count = 0;
    memcpy(stream->key, plan->key, sizeof stream->key);
    const Link new = sweep < plan->heat ? draw(v, sum, plan->beta, stream) : reflect(v, sum);
    return sweep == plan->sweeps - 1 ? restore(&new) : new;
}

static void NAME(update)(const Plan *plan, REAL *x, int64_t sweep, int64_t part, int64_t first, int64_t chains,
                         int64_t b) {
    Block block;
    choose_jobs(&block, plan, x, plan->parts[part], plan->parts[part + 1] - plan->parts[part], first, chains, b);
    const Sum sum = staple_sum(&block, plan);
    const Link v = link_at(&block, 0), new = updated(plan, &v, &sum, sweep, &block.stream);
    REAL *at[WIDE];
    for (int l = 0; l < WIDE; l++) at[l] = block.field[l] + block.row[l][0] * RECORD;
    give(at, &new, block.lanes);
}

/* ---------------------------------------------------------------- a chain in each lane */

#define CACHE 4194304 /* bytes */

INLINE Sum sum_in_lanes(const Link *field, const int64_t *row, int64_t staples) {
    Sum sum;
    memset(&sum, 0, sizeof sum);
    for (int64_t s = 0; s < staples; s++, row += 3) add(&sum, field + row[1], field + row[2], field + row[3], s & 1);
    return sum;
}

/* WIDE chains as an array of links, aligned; to be freed at `memory`. */
static Link *NAME(in_lanes)(const REAL *x, int64_t links, void **memory) {
    *memory = __builtin_malloc(links * sizeof(Link) + BYTES);
    Link *field = (Link *)(((uintptr_t)*memory + BYTES - 1) / BYTES * BYTES);
    for (int64_t i = 0; i < links; i++) {
        const REAL *at[WIDE];
        for (int l = 0; l < WIDE; l++) at[l] = x + (l * links + i) * RECORD;
        field[i] = take(at);
    }
    return field;
}

static void NAME(update_in_lanes)(const Plan *plan, Link *field, int64_t sweep, int64_t first, const int64_t *row) {
    Stream stream;
    for (int l = 0; l < WIDE; l++) stream.link[l] = (uint32_t)row[0], stream.chain[l] = (uint32_t)(first + l);
    const Sum sum = sum_in_lanes(field, row, plan->staples);
    field[row[0]] = updated(plan, field + row[0], &sum, sweep, &stream);
}

static void NAME(sweeps_in_lanes)(const Plan *plan, REAL *x, int64_t count, int64_t first, int together) {
    void *memory;
    x += first * plan->links * RECORD;
    Link *field = NAME(in_lanes)(x, plan->links, &memory);
    for (int64_t sweep = 0; sweep < plan->sweeps; sweep++)
        for (int64_t p = 0; p < count; p++) {
            PRAGMA(omp parallel for schedule(static) if (together))
            for (int64_t i = plan->parts[p]; i < plan->parts[p + 1]; i++)
                NAME(update_in_lanes)(plan, field, sweep, first, plan->table + i * ROW);
        }
    for (int64_t i = 0; i < plan->links; i++) {
        REAL *at[WIDE];
        for (int l = 0; l < WIDE; l++) at[l] = x + (l * plan->links + i) * RECORD;
        give(at, field + i, WIDE);
    }
    __builtin_free(memory);
}

/* Chains that are worked on with one in each lane. */
INLINE int64_t in_full_lanes(int64_t chains, int64_t links) {
    return links * (int64_t)sizeof(Link) <= CACHE ? chains / WIDE * WIDE : 0;
}

/* ---------------------------------------------------------------- all chains */

/* `heat` sweeps of heatbath, then those of overrelaxation. Chains are taken a few at a time, which stay in the cache, by
   one thread; or all threads work on the links of a part. */
void NAME(sweeps)(REAL *x, const int64_t *table, const int64_t *parts, const int64_t *key, int64_t chains,
                  int64_t links, int64_t count, int64_t staples, int64_t heat, int64_t over, int64_t threads,
                  double beta) {
    const Plan plan = {table, parts, links, staples, heat, heat + over, key, (REAL)beta};
    int64_t least = links;
    for (int64_t p = 0; p < count; p++) least = parts[p + 1] - parts[p] < least ? parts[p + 1] - parts[p] : least;
    const int64_t full = in_full_lanes(chains, links);
    PRAGMA(omp parallel for schedule(static) if (threads > 1 && full / WIDE >= threads))
    for (int64_t first = 0; first < full; first += WIDE)
        NAME(sweeps_in_lanes)(&plan, x, count, first, threads > 1 && full / WIDE < threads);
    const int64_t several = (4 * WIDE + least - 1) / least, groups = (chains - full + several - 1) / several;
    const int apart = groups >= threads;
    PRAGMA(omp parallel for schedule(static) if (apart && threads > 1))
    for (int64_t g = 0; g < groups; g++) {
        const int64_t first = full + g * several, some = chains - first < several ? chains - first : several;
        for (int64_t sweep = 0; sweep < heat + over; sweep++)
            for (int64_t p = 0; p < count; p++) {
                const int64_t blocks = (some * (parts[p + 1] - parts[p]) + WIDE - 1) / WIDE;
                PRAGMA(omp parallel for schedule(static) if (!apart && blocks > 8))
                for (int64_t b = 0; b < blocks; b++) NAME(update)(&plan, x, sweep, p, first, some, b);
            }
    }
}

SHARED void NAME(put_force)(REAL *const *to, const Link *v, const Sum *sum, REAL beta, int64_t lanes) {
    Vector w[ALGEBRA];
    REAL records[WIDE * ALGEBRA];
    slope(w, v, sum);
    UNROLL for (int e = 0; e < ALGEBRA; e++) w[e] *= beta;
    store(records, w, ALGEBRA);
    for (int l = 0; l < lanes; l++) memcpy(to[l], records + ALGEBRA * l, ALGEBRA * sizeof(REAL));
}

/* The force on each link in algebra coordinates, [chains, links, ALGEBRA]. */
void NAME(force)(const REAL *x, const int64_t *table, REAL *forces, int64_t chains, int64_t links, int64_t staples,
                 double beta) {
    const Plan all_links = {table, 0, links, staples, 0, 0, 0, (REAL)beta}, *plan = &all_links;
    const int64_t full = in_full_lanes(chains, links);
    PRAGMA(omp parallel for schedule(static))
    for (int64_t first = 0; first < full; first += WIDE) {
        void *memory;
        const Link *field = NAME(in_lanes)(x + first * links * RECORD, links, &memory);
        for (int64_t i = 0; i < links; i++) {
            const int64_t *row = table + i * ROW;
            const Sum sum = sum_in_lanes(field, row, staples);
            REAL *to[WIDE];
            for (int l = 0; l < WIDE; l++) to[l] = forces + ((first + l) * links + row[0]) * ALGEBRA;
            NAME(put_force)(to, field + row[0], &sum, plan->beta, WIDE);
        }
        __builtin_free(memory);
    }
    const int64_t blocks = ((chains - full) * links + WIDE - 1) / WIDE;
    PRAGMA(omp parallel for schedule(static) if (blocks > 16))
    for (int64_t b = 0; b < blocks; b++) {
        Block block;
        choose_jobs(&block, plan, (REAL *)x, 0, links, full, chains - full, b);
        const Sum sum = staple_sum(&block, plan);
        const Link v = link_at(&block, 0);
        REAL *to[WIDE];
        for (int l = 0; l < WIDE; l++) to[l] = forces + ((block.field[l] - x) / RECORD + block.row[l][0]) * ALGEBRA;
        NAME(put_force)(to, &v, &sum, plan->beta, block.lanes);
    }
}

/* The sum of Re Tr U_P / N over all plaquettes, WIDE of them at a time; `table` lists four links of each. Its order
   depends neither on the threads nor on what lanes are. */
void NAME(traces)(const REAL *x, const int64_t *table, double *sums, double *parts, int64_t chains, int64_t links,
                  int64_t count) {
    const int64_t full = in_full_lanes(chains, links);
    PRAGMA(omp parallel for schedule(static))
    for (int64_t first = 0; first < full; first += WIDE) {
        void *memory;
        const Link *field = NAME(in_lanes)(x + first * links * RECORD, links, &memory);
        double total[WIDE] = {0}, part[WIDE] = {0};
        for (int64_t i = 0; i < count; i++) {
            const int64_t *row = table + 4 * i;
            const Vector found = trace(field + row[0], field + row[1], field + row[2], field + row[3]);
            for (int l = 0; l < WIDE; l++) part[l] += found[l];
            if ((i + 1) % WIDE == 0 || i + 1 == count)
                for (int l = 0; l < WIDE; l++) total[l] += part[l], part[l] = 0;
        }
        memcpy(sums + first, total, sizeof total);
        __builtin_free(memory);
    }
    const int64_t blocks = (count + WIDE - 1) / WIDE;
    PRAGMA(omp parallel for schedule(static) if ((chains - full) * blocks > 64))
    for (int64_t job = full * blocks; job < chains * blocks; job++) {
        const int64_t chain = job / blocks, first = job % blocks * WIDE;
        const REAL *field = x + chain * links * RECORD, *at[4][WIDE];
        for (int l = 0; l < WIDE; l++) {
            const int64_t *row = table + 4 * (first + l < count ? first + l : count - 1);
            for (int k = 0; k < 4; k++) at[k][l] = field + row[k] * RECORD;
        }
        const Link a = take(at[0]), b = take(at[1]), c = take(at[2]), d = take(at[3]);
        const Vector found = trace(&a, &b, &c, &d);
        double sum = 0;
        for (int l = 0; l < WIDE; l++) sum += first + l < count ? found[l] : 0;
        parts[job] = sum;
    }
    for (int64_t chain = full; chain < chains; chain++) {
        double sum = 0;
        for (int64_t b = 0; b < blocks; b++) sum += parts[chain * blocks + b];
        sums[chain] = sum;
    }
}

/* For each k four uniform numbers, and cos and sin of an angle of the law of the heatbath. */
void NAME(angles)(const REAL *k, REAL *numbers, REAL *cosines, REAL *sines, const int64_t *key, int64_t count) {
    for (int64_t b = 0; b < BLOCKS; b++) {
        Stream stream;
        Vector some, u[4];
        stream.count = stream.sweep = 0;
        memcpy(stream.key, key, sizeof stream.key);
        for (int l = 0; l < WIDE; l++) {
            const int64_t at = b * WIDE + l;
            stream.link[l] = (uint32_t)at, stream.chain[l] = 0;
            some[l] = k[at < count ? at : count - 1];
        }
        uniforms(&stream, u);
        const Complex found = angle_law(some, &stream);
        for (int l = 0; l < WIDE && b * WIDE + l < count; l++) {
            const int64_t at = b * WIDE + l;
            for (int e = 0; e < 4; e++) numbers[4 * at + e] = u[e][l];
            cosines[at] = found.r[l], sines[at] = found.i[l];
        }
    }
}
