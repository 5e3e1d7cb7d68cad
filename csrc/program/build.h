/* A program in the making. A draft node is a scalar, or a run of elements that an array
 * operation makes; an operand is the number of an element, or of a constant with
 * CONSTANT_BIT. Elements count from the start of the recording, nodes in its order. */
#pragma once
#include "../guard.h"
#include "../rows.h"
#include "program.h"

#define CONSTANT_BIT 0x80000000u
enum { NOTHING = 0x7fffffff };

enum draft_kind {
    DRAFT_ONE,   /* an operation of ops.def, or a multiply-add */
    DRAFT_MANY,  /* of any number of arguments, or a FOLD */
    DRAFT_MAP,   /* a block of one operation, element by element */
    DRAFT_BLOCK, /* any other block */
    DRAFT_INPUT,
};

typedef struct {
    uint8_t kind, op;
    uint8_t live, active, decides; /* `decides`: a guard depends on it */
    uint8_t steps;                 /* of MAP: bit i says that operand i is a run */
    uint8_t order;                 /* of MAP */
    uint8_t operands;              /* how many ONE and MAP have */
    uint32_t first, count;         /* its elements */
    uint32_t a, b, c; /* operands; of MANY the first in `arguments`, and how many */
    uint32_t block;   /* of MAP and BLOCK: its number on the tape */
    uint32_t uses;
} draft_node;

typedef struct {
    const pyad_tape *tape;
    size_t from;
    draft_node *nodes;
    size_t count;
    size_t elements;
    uint32_t *owner; /* of each element: its node */
    uint32_t *now;   /* of each element: the element that is equal to it, or a constant */
    double *constants;
    size_t constant_count, constant_capacity;
    uint32_t *arguments;
    size_t argument_count;
    uint32_t *table, *constant_table; /* hash tables of equal nodes, of constants */
    size_t table_size, constant_table_size;
    uint32_t *outputs;
    size_t output_count, inputs;
    size_t recorded; /* operations: scalar nodes and array operations */
} draft;

static inline int is_constant(uint32_t id) { return (id & CONSTANT_BIT) != 0; }
static inline double constant_of(const draft *d, uint32_t id)
{
    return d->constants[id & ~CONSTANT_BIT];
}
static inline draft_node *owner_of(const draft *d, uint32_t element)
{
    return &d->nodes[d->owner[element]];
}
/* How many operands the nodes of an operation have that are ONE or MAP. */
int draft_operands(int op);
static inline uint32_t operand_of(const draft_node *n, int which)
{
    return which == 0 ? n->a : which == 1 ? n->b : n->c;
}

/* Calls `visit` for each operand that is an element: with the first one and their number
 * for a run. Every pass does this for every node, so it is inlined for most of them. */
typedef void draft_visitor(draft *d, uint32_t element, uint32_t count, void *data);
void draft_each_of_many(draft *d, const draft_node *n, draft_visitor *visit, void *data);
INLINED void draft_each_operand(draft *d, const draft_node *n, draft_visitor *visit,
                                void *data)
{
    if (n->kind != DRAFT_ONE) {
        draft_each_of_many(d, n, visit, data);
        return;
    }
    for (int i = 0; i < n->operands; i++)
        if (!is_constant(operand_of(n, i)))
            visit(d, operand_of(n, i), 1, data);
}

/* import.c: the nodes of a stretch, constants folded and equal ones shared. */
int draft_import(draft *d, const pyad_input *inputs, const pyad_operand *outputs);
/* The element of a node of the tape, or a constant. */
uint32_t draft_find(const draft *d, uint32_t node);
/* The first operand of the run that a source is; what is constant gets constants of its
 * own. */
uint32_t draft_run_of(draft *d, const pyad_source *x);
uint32_t draft_guarded_run(draft *d, const pyad_source *x);
uint32_t draft_operand(draft *d, pyad_operand x);
/* Bytes of what its kind needs, as on the tape. */
size_t draft_data_size(const pyad_tape *tape, const pyad_block *b);
/* Calls `visit` for what the guards look at. */
void draft_each_guarded(draft *d, draft_visitor *visit, void *data);
/* passes.c */
void draft_mark(draft *d); /* `live`, `active`, `decides`, `uses` */
/* Chains of additions, but for those that guards depend on: a tie comes out as it does
 * where additions keep their order. */
void draft_fold_sums(draft *d);
void draft_multiply_add(draft *d);
/* schedule.c */
int draft_schedule(draft *d, pyad_program *program);
