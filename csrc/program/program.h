/* A recording as a program: instructions over one flat array of numbers, evaluated again
 * and again at other points. build.c makes it of a tape (import.c, passes.c, schedule.c),
 * run.c evaluates it.
 *
 *   slots   [ constants | inputs | results, in the order in which they are computed ]
 *
 * An instruction computes the next result from slots before it; a group computes a run of
 * results, one for each element, by the same operation; a block those of an array
 * operation that is not element by element (blocks/block.h). */
#pragma once
#include "../blocks/block.h"
#include "../ops.h"
#include "../pyad.h"

/* Operations of a program beside those of ops.def. */
enum {
    PROGRAM_MULADD = PYAD_OP_COUNT, /* a * b + c, rounded twice */
    PROGRAM_MULSUB,                 /* a * b - c */
    PROGRAM_SUBMUL,                 /* c - a * b */
    PROGRAM_FOLD,                   /* the sum of a list */
    PROGRAM_MANY,  /* of a step: an operation of any number of arguments */
    PROGRAM_GROUP, /* of a step */
    PROGRAM_BLOCK, /* of a step */
    PROGRAM_END,   /* of the step behind the last one: nothing */
    PROGRAM_OPS
};

/* One result. For FOLD and MANY `a` is the number of the list, for GROUP and BLOCK that
 * of the group or block. `code` is where the loops over single operations jump to: of
 * those (op * 8 + which operands (1: a, 2: b, 4: c) have a derivative) * 4 + which one
 * (1: a, 2: b, 3: c) is the result of the step before; of others FOLD * 32. */
typedef struct {
    uint16_t op, code;
    uint32_t a, b, c;
} program_step;
enum { PROGRAM_CODES = PROGRAM_FOLD * 32 + 1 };

static inline uint16_t program_code(unsigned op, unsigned active)
{
    return (uint16_t)((op * 8 + active) * 4);
}

static inline int program_active(const program_step *t) { return t->code / 4 % 8; }

enum program_mode { MODE_RUN, MODE_ONE, MODE_LIST };

typedef struct {
    uint16_t op;
    uint8_t active, operands;
    uint8_t order; /* 0: the operation, 1 or 2: its partial in a or b */
    uint8_t mode[3];
    uint32_t count, out;
    uint32_t at[3]; /* the first slot, the slot, or where the list begins in `places` */
} program_group;

/* LIST: `count` slots in `places`. RUN: `count` pairs (first slot, how many). */
typedef struct {
    uint16_t op;
    uint8_t active, mode;
    uint32_t count, out, at;
} program_list;

/* An operand of a block: a run of slots. */
typedef struct {
    uint32_t at, count;
    int active;
    int alone; /* chain.c: nobody reads these slots later: their adjoints are set, not
                  added to, when those of the block are passed on */
    uint32_t loose; /* chain.c: 1 + its number among program->loose, or 0 */
} program_source;

typedef struct {
    uint8_t kind, active;
    uint8_t set_by_chain; /* chain.c: the adjoints of all results are set by a chain */
    uint32_t count, out;
    uint32_t source, sources; /* in program->sources */
    size_t data;              /* byte offset in program->store of what the kind needs */
    pyad_rule *rule;          /* of CALL, held */
} program_block;

/* LINEAR, at `data`: result k is base[k] + the sum of weights[e] * v[slots[e]], for e
 * from first[k] to first[k + 1]. */
typedef struct {
    size_t first, slots, weights, base; /* byte offsets in program->store */
} program_linear;

/* A comparison that must give the same again. `a` and `b` are runs of `count` slots, or
 * single ones (step 0). */
typedef struct {
    uint8_t relation, outcome; /* of one; of several `outcomes` */
    uint8_t step_a, step_b;
    uint32_t a, b, count;
    size_t outcomes; /* byte offset in program->store of `count` bytes, or SIZE_MAX */
} program_guard;

/* Groups of one large count, one after the other, that run in tiles: all of them on some
 * elements, then on the next. The results of most of them are read within the chain only
 * and never stored. Sums of them (COLLECT of all elements to one) are part of it. */
typedef struct {
    uint32_t first, steps; /* in program->steps */
    uint32_t count;        /* elements */
    uint32_t link;         /* of the first step, in program->links */
} program_chain;

enum { LINK_OUTSIDE = UINT16_MAX };
typedef struct {
    uint8_t kept;       /* its results are stored */
    uint16_t source[3]; /* of each operand: the step of the chain, or LINK_OUTSIDE */
    uint16_t alone[3]; /* of an operand: the number of a run of inputs, or of results of a
                          block, that is read by this chain in this place only, or
                          LINK_OUTSIDE */
} program_link;

typedef struct {
    uint32_t from, count;
} program_range;

/* Where the numbers of a run of inputs stand, and where their derivatives go. */
typedef struct {
    const double *values;
    double *gradient;
} program_place;
_Static_assert(sizeof(program_place) <= 2 * sizeof(double), "a place takes two numbers");

struct pyad_program {
    size_t constants, inputs, slots;
    size_t step_count, group_count, list_count, block_count, source_count, place_count;
    size_t output_count, guard_count, store_length;
    double *constant;
    program_step *steps; /* one more than `step_count`: END */
    program_group *groups;
    program_list *lists;
    program_block *blocks;
    program_source *sources;
    program_guard *guards;
    uint32_t *places;  /* slots, of lists */
    uint32_t *outputs; /* slots */
    unsigned char *store;
    const struct pyad_loops *loops; /* borrowed; NULL: none */
    /* Of the recording: see pyad_program_info. */
    size_t nodes, recorded, shared, live, summed, combined;
    /* chain.c, from all of the above */
    program_chain *chains;
    program_link *links;
    size_t chain_count, link_count, longest; /* the steps of the longest chain */
    program_range *cleared; /* of the inputs: those whose adjoints a sweep adds to */
    size_t cleared_count;
    program_range *loose; /* of the inputs: runs that one product reads and nobody else,
                             which may stand elsewhere than in their slots */
    size_t loose_count;
    int fused;   /* behind the last chain, adjoints depend on no value */
    int direct;  /* of the inputs it alone knows */
    int covered; /* and stores the adjoints of all of them */
};

/* How many results a step has. */
static inline size_t program_results(const pyad_program *p, const program_step *t)
{
    return t->op == PROGRAM_GROUP   ? p->groups[t->a].count
           : t->op == PROGRAM_BLOCK ? p->blocks[t->a].count
                                    : 1;
}

/* Ends the steps and finds the chains: after everything else is known. PYAD_OK, or no
 * memory. */
int program_find_chains(pyad_program *p);
