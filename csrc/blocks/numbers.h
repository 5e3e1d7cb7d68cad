/* Recorded numbers by the block: what graph.h is for one operand, for a run of them. They
 * are nodes of one block (or one scalar node for all elements), or constants; operations
 * on them record one block, or fold constants, or record nothing where the result stands
 * on the tape already. A failure leaves its status in the graph. */
#pragma once
#include "../graph.h"
#include "record.h"

typedef struct {
    uint32_t node;  /* the first; PYAD_CONSTANT: constants */
    uint32_t block; /* that the nodes lie in, or PYAD_NO_BLOCK: one scalar node */
    uint32_t step;  /* 1: one after the other; 0: one number for all elements */
    int stored;     /* of constants with step 1: `data` says where, not `constants` */
    size_t count;   /* of elements, also where one number stands for all */
    union {
        double value;            /* of constants with step 0 */
        const double *constants; /* in the pool of the graph */
        size_t data;             /* byte offset in tape->store */
    };
} pyad_numbers;

/* Room for constants until pyad_numbers_release; NULL and a status if there is none. */
double *pyad_numbers_room(graph *g, size_t count);
void pyad_numbers_release(graph *g);

/* ---- what stands there already ---------------------------------------------------- */

static inline pyad_numbers pyad_numbers_uniform(double value, size_t count)
{
    return (pyad_numbers){
        .node = PYAD_CONSTANT, .block = PYAD_NO_BLOCK, .count = count, .value = value};
}

static inline int pyad_numbers_are(const pyad_numbers *x, double value)
{
    return x->node == PYAD_CONSTANT && x->step == 0 && x->value == value;
}

static inline int pyad_numbers_constant(const pyad_numbers *x)
{
    return x->node == PYAD_CONSTANT;
}

/* The values, until the next operation. */
const double *pyad_numbers_values(const graph *g, const pyad_numbers *x);
/* One operand for all of `count` elements. */
pyad_numbers pyad_numbers_same(const graph *g, pyad_operand x, size_t count);
/* Constants from pyad_numbers_room. */
pyad_numbers pyad_numbers_of_room(double *constants, size_t count);
/* The operand of a block, as `count` elements. */
pyad_numbers pyad_numbers_of_source(const graph *g, const pyad_source *x, size_t count);
/* `count` elements from `offset` on; with step 0, the one at `offset` so many times. */
pyad_numbers pyad_numbers_slice(const graph *g, pyad_numbers x, size_t offset,
                                uint32_t step, size_t count);
/* One element as an operand for scalar nodes: its block is marked. */
pyad_operand pyad_numbers_at(graph *g, const pyad_numbers *x, size_t i);

/* ---- recorded operations ---------------------------------------------------------- */

/* An operation of ops.def (order 0) or its partial in a or b. */
pyad_numbers pyad_numbers_map(graph *g, int op, int order, pyad_numbers a,
                              pyad_numbers b);
/* The partial of an operation in a (`which` 0) or b (1), at its operands and value `v`:
 * often one of these, or constants. */
pyad_numbers pyad_numbers_partial(graph *g, int op, int which, pyad_numbers a,
                                  pyad_numbers b, pyad_numbers v);
pyad_numbers pyad_numbers_add(graph *g, pyad_numbers x, pyad_numbers y);
/* A share of a sweep: a zero number times an infinite weight is 0. Where `held` (NULL:
 * nowhere) is 1, the number is 0, and the weight counts as a constant. */
pyad_numbers pyad_numbers_mul(graph *g, pyad_numbers x, pyad_numbers weight,
                              const uint8_t *held);
/* As pyad_layout_read and pyad_layout_add; the layout must not lie in the store. */
pyad_numbers pyad_numbers_spread(graph *g, pyad_numbers x, const pyad_layout *layout);
pyad_numbers pyad_numbers_collect(graph *g, pyad_numbers x, const pyad_layout *layout,
                                  size_t count);
/* The sum, as one number. */
pyad_numbers pyad_numbers_sum(graph *g, pyad_numbers x);
pyad_numbers pyad_numbers_product(graph *g, const pyad_product *product, pyad_numbers a,
                                  pyad_numbers b);
pyad_numbers pyad_numbers_cumsum(graph *g, const pyad_cumsum *cumsum, pyad_numbers x);
/* Any operands in a row. */
pyad_numbers pyad_numbers_gather(graph *g, size_t count, const pyad_operand *operands);

/* ---- sums of any nodes (rows.c) --------------------------------------------------- */

/* Element by element a sum of weighted operands, added in any order. First every term is
 * counted, then after pyad_rows_start every term is added; pyad_rows_finish makes the
 * numbers and frees. */
typedef struct {
    graph *g;
    size_t count, entries;
    uint32_t *first;
    uint32_t *rows;
    double *weights, *values;
    double *base; /* what the constant terms come to */
    int weighted, based;
} pyad_rows;

void pyad_rows_new(pyad_rows *r, graph *g, size_t count);
void pyad_rows_count(pyad_rows *r, size_t element, const pyad_numbers *x);
void pyad_rows_start(pyad_rows *r);
void pyad_rows_add(pyad_rows *r, size_t element, const pyad_numbers *x, size_t i,
                   double weight);
pyad_numbers pyad_rows_finish(pyad_rows *r);
