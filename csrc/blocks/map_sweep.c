/* Sweeps of maps. A reverse sweep takes a run of them together, tile by tile: block n - 1
 * for numbers 0 ... 511, block n - 2 for the same, and so on, then the next tile. So the
 * adjoints between them stay in the first cache, and those that nobody else looks at are
 * never written to memory at all.
 *
 * A run is a batch of maps (pending.h): blocks of one length that use each other element
 * by element. What they use outside of the run may be anything. */
#include <string.h>

#include "life.h"
#include "sweep.h"

enum {
    LONGEST = PYAD_RUN + 1, /* links of a run: the maps and a sum */
    TILES = 8,              /* adjoints that live in scratch */
    PARTIALS = 2,           /* partials that are computed with values */
};

/* A pointer to adjoints: of a tile, or (moves) of all numbers. */
typedef struct {
    double *at;
    size_t moves; /* 1, or 0 */
} place;

typedef struct {
    const pyad_block *map;
    place own;
    enum pyad_mode mode[2];
    place to[2];
    double sum[2]; /* of PYAD_SUM so far: added when the run is done, so that the order of
                      additions does not depend on what else is in the run */
} link;

typedef struct {
    const pyad_sweep *s;
    uint32_t low, top; /* the maps of the run */
    size_t count, links;
    link link[LONGEST];
    place held[LONGEST]; /* of block top - i: where its adjoint is in scratch; at NULL */
    unsigned free;       /* tiles, a bit each */
    double (*tiles)[PYAD_TILE];
    pyad_tiles values;
    double *tile[PYAD_RUN];    /* for values that are not on the tape */
    double *partial[PYAD_RUN]; /* and for partials that come with them */
    uint32_t wanted;           /* which of them, a bit for each map */
    double *sum; /* the adjoint of a sum of everything that ends the run, or NULL */
} run;

/* ---- where the adjoints of a run stand --------------------------------------------- */

static int is_inside(const run *r, uint32_t block)
{
    return block != PYAD_NO_BLOCK && block >= r->low && block <= r->top;
}

/* Blocks that are used in part have to hold numbers before any other is stored into. */
static void touch_parts(const run *r)
{
    const pyad_tape *tape = r->s->tape;
    for (uint32_t b = r->low; b <= r->top; b++) {
        const pyad_source *source = pyad_block_sources(tape, &tape->blocks[b]);
        for (size_t i = 0; i < tape->blocks[b].source_count; i++)
            if (pyad_sweep_has(r->s, &source[i]) && source[i].block != PYAD_NO_BLOCK &&
                !pyad_source_is_whole(tape, &source[i]))
                pyad_sweep_touch(r->s, source[i].block);
    }
}

/* A place for the adjoint of a block: a tile if only the run will see it. */
static place find_place(run *r, uint32_t block, enum pyad_mode *mode)
{
    const pyad_sweep *s = r->s;
    *mode = PYAD_ADD;
    if (pyad_sweep_is_touched(s, block))
        return (place){pyad_sweep_row(s, s->tape->blocks[block].start), 1};
    place *held = is_inside(r, block) && !pyad_sweep_keeps(s, block)
                      ? &r->held[r->top - block]
                      : NULL;
    if (held && held->at)
        return *held;
    *mode = PYAD_SET;
    for (unsigned t = 0; held && t < TILES; t++)
        if (r->free & 1u << t) {
            r->free &= ~(1u << t);
            return *held = (place){r->tiles[t], 0};
        }
    s->touched[block - s->first_block] = 1;
    return (place){pyad_sweep_row(s, s->tape->blocks[block].start), 1};
}

static place share_of(run *r, const pyad_source *source, enum pyad_mode *mode)
{
    *mode = PYAD_NOWHERE;
    if (!pyad_sweep_has(r->s, source))
        return (place){NULL, 0};
    if (source->block != PYAD_NO_BLOCK && pyad_source_is_whole(r->s->tape, source))
        return find_place(r, source->block, mode);
    *mode = source->step ? PYAD_ADD : PYAD_SUM;
    return (place){pyad_sweep_row(r->s, source->node), source->step};
}

/* From the last block up; one whose adjoint nobody has touched is left out. */
static void plan(run *r)
{
    const pyad_sweep *s = r->s;
    touch_parts(r);
    if (r->sum) {
        enum pyad_mode mode;
        link *l = &r->link[r->links++];
        l->map = NULL;
        l->to[0] = find_place(r, r->top, &mode);
        l->mode[0] = mode;
        l->mode[1] = PYAD_NOWHERE;
    }
    for (uint32_t b = r->top + 1; b-- > r->low;) {
        const pyad_block *map = &s->tape->blocks[b];
        const pyad_source *source = pyad_block_sources(s->tape, map);
        place *held = &r->held[r->top - b];
        link *l = &r->link[r->links];
        if (!held->at && !pyad_sweep_is_touched(s, b))
            continue;
        r->links++;
        l->map = map;
        l->sum[0] = l->sum[1] = 0;
        l->own = held->at ? *held : (place){pyad_sweep_row(s, map->start), 1};
        l->mode[1] = PYAD_NOWHERE;
        for (size_t i = 0; i < map->source_count; i++)
            l->to[i] = share_of(r, &source[i], &l->mode[i]);
        if (held->at) /* free again once this link is done */
            r->free |= 1u << ((size_t)(held->at - r->tiles[0]) / PYAD_TILE);
    }
}

/* ---- values that are not on the tape --------------------------------------------- */

/* Want what the weights of a link take. */
static void need_values(run *r, const link *l)
{
    const pyad_tape *tape = r->s->tape;
    const pyad_source *x = pyad_block_sources(tape, l->map);
    for (int i = 0; i < 2; i++) {
        if (l->mode[i] == PYAD_NOWHERE)
            continue;
        const int takes = pyad_map_takes(tape, l->map, i);
        const uint32_t blocks[] = {x->block, l->map->source_count > 1 ? x[1].block : 0,
                                   (uint32_t)(l->map - tape->blocks)};
        for (int k = 0; k < 3; k++)
            if (takes & 1 << k && is_inside(r, blocks[k]) &&
                tape->blocks[blocks[k]].flags & PYAD_BLOCK_UNSTORED)
                r->wanted |= UINT32_C(1) << (blocks[k] - r->low);
    }
}

/* Tiles for the unstored values that the sweep takes, and for what these are made of. */
static void plan_values(run *r, double (*tiles)[PYAD_TILE], double (*partials)[PYAD_TILE])
{
    const pyad_tape *tape = r->s->tape;
    uint32_t used = 0, both = 0;
    r->values = (pyad_tiles){tape, r->low, 0, r->tile, r->partial};
    r->wanted = 0;
    if (!tape->unstored)
        return;
    r->values.maps = r->top - r->low + 1;
    for (size_t n = 0; n < r->links; n++)
        if (r->link[n].map)
            need_values(r, &r->link[n]);
    for (uint32_t i = r->values.maps; i-- > 0;) {
        const pyad_block *map = &tape->blocks[r->low + i];
        const pyad_source *x = pyad_block_sources(tape, map);
        r->tile[i] = r->partial[i] = NULL;
        if (!(r->wanted >> i & 1))
            continue;
        r->tile[i] = tiles[used++];
        if (both < PARTIALS && x->step && pyad_has_both_at_once(map))
            r->partial[i] = partials[both++];
        for (uint32_t k = 0; k < map->source_count; k++)
            if (is_inside(r, x[k].block) &&
                tape->blocks[x[k].block].flags & PYAD_BLOCK_UNSTORED)
                r->wanted |= UINT32_C(1) << (x[k].block - r->low);
    }
}

static void compute_values(const run *r, size_t at, size_t count)
{
    for (uint32_t i = 0; r->wanted >> i; i++)
        if (r->tile[i])
            pyad_tile_compute(&r->values, &r->s->tape->blocks[r->low + i], at, count,
                              r->tile[i]);
}

/* ---- the sweep --------------------------------------------------------------------- */

static void sweep_tile(run *r, size_t at, size_t count, double *scratch)
{
    for (size_t n = 0; n < r->links; n++) {
        link *l = &r->link[n];
        for (int i = 0; i < 2; i++) {
            if (l->mode[i] == PYAD_NOWHERE)
                continue;
            double *to =
                l->mode[i] == PYAD_SUM ? &l->sum[i] : l->to[i].at + l->to[i].moves * at;
            if (l->map)
                pyad_share(l->mode[i], count, l->own.at + l->own.moves * at,
                           pyad_tile_weights(&r->values, l->map, i, at, count, scratch),
                           to);
            else
                pyad_share_number(l->mode[i], count, *r->sum, to);
        }
    }
}

static int sweep_run(run *r)
{
    double tiles[TILES][PYAD_TILE], values[PYAD_UNSTORED][PYAD_TILE];
    double partials[PARTIALS][PYAD_TILE], scratch[2 * PYAD_TILE];
    r->tiles = tiles;
    r->free = (1u << TILES) - 1;
    plan(r);
    plan_values(r, values, partials);
    for (size_t at = 0; r->links && at < r->count; at += PYAD_TILE) {
        size_t rest = r->count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        compute_values(r, at, count);
        sweep_tile(r, at, count, scratch);
    }
    for (size_t n = 0; n < r->links; n++)
        for (int i = 0; i < 2; i++)
            if (r->link[n].mode[i] == PYAD_SUM)
                *r->link[n].to[i].at += r->link[n].sum[i];
    return PYAD_OK;
}

/* Whether this block is the sum of all numbers of the map before it. */
static int sums_a_map(const pyad_sweep *s, uint32_t block)
{
    const pyad_tape *tape = s->tape;
    const pyad_block *b = &tape->blocks[block];
    if (b->kind != PYAD_BLOCK_COLLECT || b->count != 1 || block == s->first_block)
        return 0;
    const pyad_source *source = pyad_block_sources(tape, b);
    return source->block == block - 1 && b[-1].kind == PYAD_BLOCK_MAP &&
           b[-1].start + b[-1].count == b->start && pyad_source_is_whole(tape, source);
}

int pyad_is_run_of_maps(const pyad_sweep *s, uint32_t block)
{
    return s->tape->blocks[block].kind == PYAD_BLOCK_MAP || sums_a_map(s, block);
}

int pyad_maps_reverse(const pyad_sweep *s, uint32_t *block)
{
    run r = {.s = s, .low = *block, .top = *block};
    const pyad_tape *tape = s->tape;
    if (sums_a_map(s, *block)) {
        r.sum = pyad_sweep_row(s, tape->blocks[*block].start);
        r.low = r.top = *block - 1;
    }
    r.count = tape->blocks[r.top].count;
    r.low = tape->blocks[r.top].batch;
    if (r.low < s->first_block)
        r.low = s->first_block;
    if (r.sum && *r.sum == 0)
        r.sum = NULL;
    *block = r.low;
    return sweep_run(&r);
}

int pyad_map_reverse_rows(const pyad_sweep *s, uint32_t block)
{
    const pyad_tape *tape = s->tape;
    const pyad_block *map = &tape->blocks[block];
    double scratch[2 * PYAD_TILE];
    for (size_t at = 0; at < map->count; at += PYAD_TILE) {
        size_t rest = map->count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        const double *own = pyad_sweep_row(s, map->start) + at * s->seeds;
        for (size_t i = 0; i < map->source_count; i++) {
            const pyad_source *x = pyad_block_sources(tape, map) + i;
            if (pyad_sweep_has(s, x))
                pyad_share_rows(s->seeds, count, own, 1,
                                pyad_map_weights(tape, map, (int)i, at, count, scratch),
                                pyad_sweep_row(s, x->node) + at * x->step * s->seeds,
                                x->step);
        }
    }
    return PYAD_OK;
}

int pyad_map_forward(const pyad_sweep *s, uint32_t block)
{
    const pyad_tape *tape = s->tape;
    const pyad_block *map = &tape->blocks[block];
    double scratch[2 * PYAD_TILE];
    for (size_t at = 0; at < map->count; at += PYAD_TILE) {
        size_t rest = map->count - at, count = rest < PYAD_TILE ? rest : PYAD_TILE;
        double *own = pyad_sweep_row(s, map->start) + at * s->seeds;
        for (size_t i = 0; i < map->source_count; i++) {
            const pyad_source *x = pyad_block_sources(tape, map) + i;
            if (!pyad_sweep_has(s, x))
                continue;
            const double *of = pyad_sweep_row(s, x->node) + at * x->step * s->seeds;
            pyad_weights w = pyad_map_weights(tape, map, (int)i, at, count, scratch);
            if (s->seeds == 1 && x->step)
                pyad_share(PYAD_ADD, count, of, w, own);
            else
                pyad_share_rows(s->seeds, count, of, x->step, w, own, 1);
        }
    }
    return PYAD_OK;
}
