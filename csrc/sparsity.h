/* Between the two ways to find a sparsity pattern (by sets, by bits) and sparsity.c,
 * which chooses: a stretch of a recording, read for what depends on what. Nodes are
 * numbered from the start of the stretch here. */
#pragma once
#include "pattern.h"
#include "structure.h"

enum { NO_NODE = UINT32_MAX };

typedef struct {
    uint32_t from;  /* number on the tape of node 0 here */
    uint32_t count; /* nodes */
    const uint8_t *ops;
    const uint32_t *first;
    const uint32_t *indices;          /* as on the tape, and indexed by `first` */
    size_t inputs;                    /* independent variables */
    uint32_t *nodes;                  /* of each input; owned */
    uint8_t structure[PYAD_OP_COUNT]; /* pyad_op_structure */
} pyad_stretch;

/* The node that argument k is, or NO_NODE for a constant and all that stands before the
 * stretch (which wraps round to a large number). */
static inline uint32_t pyad_argument(const pyad_stretch *s, size_t k)
{
    uint32_t a = s->indices[k] - s->from;
    return a < s->count ? a : NO_NODE;
}

/* The same, or NO_NODE also if node v has derivative 0 in argument k at every point. */
static inline uint32_t pyad_active_argument(const pyad_stretch *s, size_t v, size_t k)
{
    int flag = PYAD_IN_A << ((k - s->first[v]) & 1);
    return s->structure[s->ops[v]] & flag ? pyad_argument(s, k) : NO_NODE;
}

/* Second partials of node v that can be other than 0. All of them together: every
 * argument crosses with every other, and with itself. */
static inline int pyad_curvature(const pyad_stretch *s, size_t v)
{
    int curved = s->structure[s->ops[v]] & PYAD_CURVED;
    return curved == PYAD_CURVED_AA && s->first[v + 1] - s->first[v] == 1 ? PYAD_CURVED
                                                                          : curved;
}

/* By sets of inputs (or PYAD_SETS_FULL): a run for each output that depends on any, resp.
 * for each input, in no order. Outputs are numbered as in the stretch. */
int pyad_jacobian_by_sets(const pyad_stretch *s, size_t outputs, const uint32_t *nodes,
                          pyad_runs *runs);
int pyad_hessian_by_sets(const pyad_stretch *s, uint32_t output, pyad_runs *runs);

/* By bit vectors: runs in increasing order for each output, for each input (`transposed`,
 * chosen if there are fewer outputs), resp. for each input. */
int pyad_jacobian_by_bits(const pyad_stretch *s, size_t outputs, const uint32_t *nodes,
                          int *transposed, pyad_runs *runs);
int pyad_hessian_by_bits(const pyad_stretch *s, uint32_t output, pyad_runs *runs);

/* Sweeps that pyad_*_by_bits takes for so many inputs or outputs. */
static inline size_t pyad_bit_sweeps(size_t count) { return (count + 511) / 512; }
