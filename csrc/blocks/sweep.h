/* Sweeps over blocks: what csrc/sweep.c calls between two stretches of scalar nodes. */
#pragma once
#include "block.h"

/* A sweep at work on the nodes from `from` on. Row i - from + 1 belongs to node i and
 * holds `seeds` numbers; row 0 takes what goes to constants.
 *
 * With `touched` (one seed, reverse) the rows of a block hold nothing until it is
 * touched: then the first share is stored, not added. Nobody clears memory that is going
 * to be overwritten, which would cost as much as the sweep. Without, all rows hold
 * numbers from the start. */
typedef struct {
    const pyad_tape *tape;
    size_t from, seeds;
    double *rows;
    uint32_t first_block;   /* the first from `from` on */
    unsigned char *touched; /* of block b at b - first_block; NULL: all are */
    int keep_all;           /* rows of all blocks are wanted: see pyad_sweep_keeps */
} pyad_sweep;

/* The row of a node of the stretch. */
static inline double *pyad_sweep_row(const pyad_sweep *s, uint32_t node)
{
    return s->rows + (node - s->from + 1) * s->seeds;
}

/* Whether an operand takes part in the sweep. */
static inline int pyad_sweep_has(const pyad_sweep *s, const pyad_source *source)
{
    return source->node != PYAD_CONSTANT && source->node >= s->from;
}

static inline int pyad_sweep_is_touched(const pyad_sweep *s, uint32_t block)
{
    return !s->touched || s->touched[block - s->first_block];
}

/* Whether the rows of a block are wanted after the sweep. */
static inline int pyad_sweep_keeps(const pyad_sweep *s, uint32_t block)
{
    const pyad_block *b = &s->tape->blocks[block];
    return s->keep_all || b->kind == PYAD_BLOCK_LEAF || b->flags & PYAD_BLOCK_HELD;
}

/* Whether a source is the whole of its block. */
static inline int pyad_source_is_whole(const pyad_tape *tape, const pyad_source *source)
{
    const pyad_block *b = &tape->blocks[source->block];
    return source->step == 1 && source->node == b->start && source->count == b->count;
}

/* Rows that hold numbers from now on: zeros if they held nothing. */
void pyad_sweep_touch(const pyad_sweep *s, uint32_t block);

/* The reverse sweep of *block, or of a run of maps that ends with it, for one seed or
 * several; *block becomes the lowest that was swept. Forward, of one block. A status. */
int pyad_blocks_reverse(const pyad_sweep *s, uint32_t *block);
int pyad_blocks_forward(const pyad_sweep *s, uint32_t block);

/* ---- parts ------------------------------------------------------------------------- */

enum {
    PYAD_RUN = 31,     /* maps that are swept, or evaluated, together */
    PYAD_UNSTORED = 8, /* tiles for values that are not on the tape */
};

/* Where the values of maps stand that are at work together: of block first + i, i < maps,
 * in a tile if tile[i] is set; of all others on the tape. partial[i], if there is one, is
 * a tile for its partial, computed with the value: pyad_has_both_at_once. */
typedef struct {
    const pyad_tape *tape;
    uint32_t first, maps;
    double **tile, **partial;
} pyad_tiles;

/* Values from number `at` on, of an operand and of a block. */
static inline double *pyad_tile_of(const pyad_tiles *t, uint32_t block)
{
    return block - t->first < t->maps ? t->tile[block - t->first] : NULL;
}
static inline double *pyad_tile_of_partial(const pyad_tiles *t, uint32_t block)
{
    return t->partial && block - t->first < t->maps ? t->partial[block - t->first] : NULL;
}
static inline const double *pyad_tile_source(const pyad_tiles *t, const pyad_source *x,
                                             size_t at)
{
    const double *tile = pyad_tile_of(t, x->block);
    return tile ? tile : pyad_source_values(t->tape, x) + at * x->step;
}
/* Compute `count` <= PYAD_TILE values of a map of order 0, from number `at` on, and its
 * partial if that has a tile. */
void pyad_tile_compute(const pyad_tiles *t, const pyad_block *map, size_t at,
                       size_t count, double *out);
/* A sine or a cosine: the value and the partial take hardly longer than one of them. */
static inline int pyad_has_both_at_once(const pyad_block *map)
{
    return map->order == 0 && (map->op == PYAD_OP_SIN || map->op == PYAD_OP_COS);
}

/* The weights of `count` <= PYAD_TILE numbers of a map from number `at` on, in operand 0
 * or 1: number i has at[i * step]. `scratch` has room for two tiles. */
typedef struct {
    const double *at;
    size_t step;
} pyad_weights;
pyad_weights pyad_map_weights(const pyad_tape *tape, const pyad_block *map, int operand,
                              size_t at, size_t count, double *scratch);
pyad_weights pyad_tile_weights(const pyad_tiles *t, const pyad_block *map, int operand,
                               size_t at, size_t count, double *scratch);
/* Which values that takes: 1 of operand 0, 2 of operand 1, 4 of the result. */
enum { PYAD_TAKES_A = 1, PYAD_TAKES_B = 2, PYAD_TAKES_V = 4 };
int pyad_map_takes(const pyad_tape *tape, const pyad_block *map, int operand);

/* How a share goes to where it belongs. */
enum pyad_mode {
    PYAD_NOWHERE,
    PYAD_SET, /* to[i] = own[i] * weight[i] */
    PYAD_ADD, /* to[i] += own[i] * weight[i] */
    PYAD_SUM, /* to[0] += the sum of them */
};
/* Where own[i] is 0 the share is 0, whatever the weight. `to` may be `own` only if SET.
 */
void pyad_share(enum pyad_mode mode, size_t count, const double *own, pyad_weights w,
                double *to);
/* to[i] = value, or += */
void pyad_share_number(enum pyad_mode mode, size_t count, double value, double *to);
/* to[i * step_to] += of[i * step_of] * weight[i], 0 where of[..] is 0; rows of `seeds`.
 */
void pyad_share_rows(size_t seeds, size_t count, const double *of, size_t step_of,
                     pyad_weights w, double *to, size_t step_to);

/* Maps (map_sweep.c): a run of them for one seed, one of them for any number. */
int pyad_is_run_of_maps(const pyad_sweep *s, uint32_t block);
int pyad_maps_reverse(const pyad_sweep *s, uint32_t *block);
int pyad_map_reverse_rows(const pyad_sweep *s, uint32_t block);
int pyad_map_forward(const pyad_sweep *s, uint32_t block);
