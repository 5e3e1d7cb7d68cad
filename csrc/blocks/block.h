/* Blocks: array operations on the tape. A block is one instruction that makes a run of
 * nodes, start ... start + count - 1; between blocks stand scalar nodes. So a sweep walks
 * the blocks, and the scalar nodes between two of them in one loop (sweep.c).
 *
 *   kind      result (a run of `count` nodes, contiguous)              sources
 *   LEAF      independent variables                                    none
 *   MAP       an operation of ops.def, element by element              1 or 2
 *   SPREAD    out[i, j, ..] = x[offset + i*s0 + j*s1 + ..]             1
 *   COLLECT   out[offset + i*s0 + j*s1 + ..] += x[i, j, ..]            1
 *   LINEAR    out[k] = sum of weights * any nodes; a given value       none: rows
 *   PRODUCT   a stack of matrix products                               2
 *   CUMSUM    running sums along an axis                               1
 *   CALL      a rule given by the caller (factorizations, ...)         any number
 *
 * SPREAD (views, transposes, broadcasts) and COLLECT (sums along axes) are each other's
 * adjoint. Weights are never stored where they can be read off values: the sweep computes
 * the partial of a row from the operands' values, which stay on the tape, tile by tile.
 * What is stored (constants, layouts, rows) lies in tape->store, addressed by offset. */
#pragma once
#include "../tape.h"

enum pyad_block_kind {
    PYAD_BLOCK_LEAF,
    PYAD_BLOCK_MAP,
    PYAD_BLOCK_SPREAD,
    PYAD_BLOCK_COLLECT,
    PYAD_BLOCK_LINEAR,
    PYAD_BLOCK_PRODUCT,
    PYAD_BLOCK_CUMSUM,
    PYAD_BLOCK_CALL,
};

enum { PYAD_NO_BLOCK = UINT32_MAX };

/* Where the numbers of an operand stand. Nodes of a source lie in one block, or are one
 * scalar node (step 0, block PYAD_NO_BLOCK). */
typedef struct pyad_source {
    uint32_t node;  /* the first; PYAD_CONSTANT: constants */
    uint32_t block; /* that the nodes lie in, or PYAD_NO_BLOCK */
    uint32_t step;  /* 1: one number after the other; 0: one number for all elements */
    size_t count;   /* numbers from `node` on that may be read: 1 if step is 0 */
    size_t data;    /* of constants: byte offset in tape->store */
} pyad_source;

typedef struct pyad_rule pyad_rule;

/* Blocks with this flag have nodes that scalar nodes or rows of a LINEAR block may refer
 * to one by one: a sweep clears their adjoints before it starts. All other blocks are
 * referred to by sources only. */
enum { PYAD_BLOCK_ELEMENTS = 1 };
/* With this one somebody holds the result: its adjoints are kept where those of other
 * blocks need not be. */
enum { PYAD_BLOCK_HELD = 2 };
/* With this one the values are not on the tape; with the next, nobody holds the result of
 * a map that is pending (blocks/pending.h). */
enum { PYAD_BLOCK_UNSTORED = 4, PYAD_BLOCK_DROPPED = 8 };

struct pyad_block {
    uint32_t start, count;
    uint8_t kind, op; /* op: of a MAP; of others PYAD_OP_GIVEN, of LEAF PYAD_OP_LEAF */
    uint8_t order;    /* of a MAP: 0 the operation, 1 its partial in a, 2 in b */
    uint8_t flags;
    uint32_t first_source, source_count; /* in tape->sources */
    uint32_t batch;   /* of a MAP: the first of those that are swept together */
    size_t arguments; /* tape->arguments when it was made: of the scalars before it */
    size_t store;     /* tape->store_length before it: what to go back to */
    size_t data;      /* byte offset in tape->store of what its kind needs, below */
    pyad_rule *rule;  /* of CALL, held */
};

/* SPREAD and COLLECT, at `data`: the shape of the contiguous side, and the strides (in
 * elements, any sign, 0 allowed) and offset of the other. `shape` is followed by `stride`
 * in memory: 2 * ndim numbers. Dimensions have been merged where they could be; none is 0
 * long or 1 long, and ndim may be 0. */
typedef struct {
    size_t ndim;
    int64_t offset;
    int64_t sides[]; /* shape[ndim], stride[ndim] */
} pyad_layout;

/* LINEAR, at `data`. A row is a node + 1, 0 for a constant. */
typedef struct {
    size_t entries;
    size_t
        first;   /* byte offset of uint32_t[count + 1], or SIZE_MAX: entry k for node k */
    size_t rows; /* byte offset of uint32_t[entries] */
    size_t weights; /* byte offset of double[entries], or SIZE_MAX: all 1 */
    size_t base; /* byte offset of double[count]: what the constant terms of each sum come
                    to. SIZE_MAX: what the values are more than the other terms */
} pyad_linear;

/* PRODUCT, at `data`: for each of `batch` matrices (m, k) @ (k, n) -> (m, n), whose
 * elements are x[offset + b * batch_stride + i * row + j * column]. Strides are >= 0; the
 * result is contiguous. */
typedef struct {
    int64_t offset, batch_stride, row, column;
} pyad_matrix;
typedef struct {
    size_t batch, m, k, n;
    pyad_matrix a, b;
} pyad_product;

/* CUMSUM, at `data`: x has the shape (outer, n, inner). */
typedef struct {
    size_t outer, n, inner;
    int from_end;
} pyad_cumsum;

/* CALL. Functions return a status. They are called without any lock held. */
struct pyad_rule {
    /* shares[i] (count of source i, NULL for a constant one) += the adjoint of source i
     * for the adjoints `own` of the results. */
    int (*reverse)(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                   const double *own, double *const *shares);
    /* The same away from a tape, as a program replays it: the results from the numbers of
     * the sources (0, or a status), and the adjoints at given numbers. */
    int (*value)(pyad_rule *rule, const double *const *inputs, double *results);
    int (*pass)(pyad_rule *rule, const double *const *inputs, const double *results,
                const double *own, double *const *shares);
    /* result[] = the tangents of the results for the tangents of the sources (NULL: all
     * zero). */
    int (*forward)(pyad_rule *rule, const pyad_tape *tape, uint32_t block,
                   const double *const *tangents, double *result);
    /* The same as recorded operations: shares[i][j] is set to the adjoint of number j of
     * source i. Called with the interpreter lock held. */
    int (*record_reverse)(pyad_rule *rule, pyad_tape *tape, uint32_t block,
                          const pyad_operand *own, pyad_operand *const *shares);
    int (*record_forward)(pyad_rule *rule, pyad_tape *tape, uint32_t block,
                          const pyad_operand *const *tangents, pyad_operand *result);
    pyad_rule *(*retain)(pyad_rule *rule);
    void (*release)(pyad_rule *rule);
    const char *name; /* of the operation, for readers of the tape; or NULL */
};

/* ---- inner loops of others -------------------------------------------------------- */

/* A loop as NumPy's ufuncs have them: callable without any lock. */
typedef void pyad_loop_function(char **arrays, const intptr_t *counts,
                                const intptr_t *steps, void *data);
typedef struct {
    pyad_loop_function *run; /* NULL: none, use the row's own */
    void *data;
} pyad_loop;

/* What the owner of a tape lends it; a tape without has plain loops of its own. */
struct pyad_loops {
    pyad_loop values[PYAD_OP_COUNT]; /* of doubles */
    pyad_loop sum;                   /* add, called as a reduction */
    pyad_loop matmul;
    int (*matmul_threads)(void); /* that matmul runs on now; NULL: not known */
};

/* ---- asking ----------------------------------------------------------------------- */

/* The block that a node lies in, or PYAD_NO_BLOCK. */
uint32_t pyad_tape_block_of(const pyad_tape *tape, uint32_t node);

static inline const void *pyad_store_at(const pyad_tape *tape, size_t offset)
{
    return tape->store + offset;
}

/* The values of a source; of a block they are on the tape (blocks/pending.h). */
static inline const double *pyad_source_values(const pyad_tape *tape,
                                               const pyad_source *s)
{
    return s->node == PYAD_CONSTANT ? (const double *)pyad_store_at(tape, s->data)
                                    : tape->values + s->node;
}

/* ---- kernels (map.c, layout.c, places.c, product.c, cumsum.c)
 * ------------------------------- */

/* What a MAP computes: its value, or a partial of its operation. */
enum pyad_part {
    PYAD_VALUE,
    PYAD_DA,
    PYAD_DB,
    PYAD_DAA,
    PYAD_DAB,
    PYAD_DBB,
};
enum { PYAD_TILE = 512 }; /* numbers of a tile: a few of them fit in the first cache */

/* out[i] = the part of `op` at a[i * step_a], b[i * step_b] and its value v[i] (not read
 * for PYAD_VALUE). out may be v. b may be NULL for one argument. */
void pyad_map_part(const pyad_loops *loops, int op, enum pyad_part part, size_t count,
                   const double *a, size_t step_a, const double *b, size_t step_b,
                   const double *v, double *out);
/* The part if it is the same at every point (then *value), 1; or 0. */
int pyad_map_constant_part(int op, enum pyad_part part, double *value);

/* out[] contiguous = x[layout]; and x[layout] += in[] contiguous. */
void pyad_layout_read(const pyad_layout *layout, const double *x, double *out);
void pyad_layout_add(const pyad_layout *layout, const double *in, double *x);
/* The sum of `count` numbers, pairwise as NumPy has it; 0 of none. */
double pyad_sum_values(const pyad_loops *loops, size_t count, const double *x);
/* Numbers on the contiguous side. */
size_t pyad_layout_size(const pyad_layout *layout);

/* Where each number of the contiguous side stands on the other, of `extent` numbers, as
 * doubles; a buffer, or NULL. */
double *pyad_layout_places(const pyad_layout *layout, size_t extent);
/* The other way round: what stands at place i are numbers[first[i]] to
 * numbers[first[i + 1] - 1]. PYAD_OK, or no memory; `first` is a buffer to be released,
 * in which `numbers` stands too. */
typedef struct {
    size_t *first, *numbers;
} pyad_groups;
int pyad_layout_group(const pyad_layout *layout, size_t extent, pyad_groups *groups);

/* c[] (contiguous) = a @ b, stack by stack. */
void pyad_product_value(const pyad_loops *loops, const pyad_product *p, const double *a,
                        const double *b, double *c);
/* ga += g @ b^T and gb += a^T @ g, each element in its place (ga and gb are indexed as a
 * and b are; either may be NULL). PYAD_OK, or no memory. */
int pyad_product_reverse(const pyad_loops *loops, const pyad_product *p, const double *a,
                         const double *b, const double *g, double *ga, double *gb);
/* Stores at `to` the adjoint of operand `operand` (0: a, 1: b), `count` numbers, from the
 * other operand's values and the adjoint g; returns 0, with nothing written, where the
 * operand is not the whole of its source in one of the two dense orders. */
int pyad_product_store(const pyad_loops *loops, const pyad_product *product, int operand,
                       size_t count, const double *other, const double *g, double *to);

void pyad_cumsum_value(const pyad_cumsum *c, const double *x, double *out);
/* x[] += the running sums from the other end. */
void pyad_cumsum_reverse(const pyad_cumsum *c, const double *g, double *gx);
