/* The inner loops of programs, along runs of numbers. */
#pragma once
#include "../guard.h"
#include "../rows.h"
#include "program.h"

/* Numbers one after the other (step 1), or one number throughout (step 0). */
typedef struct {
    const double *x;
    size_t step;
} operand;

/* out[i] = the value of `op`, one of program.h or ops.h. out may be an operand. */
void program_map(const pyad_loops *loops, int op, size_t count, operand a, operand b,
                 operand c, double *out);
/* to[i] += own[i] * scale * w[i] (w NULL: scale), and nothing where own[i] is 0. */
void program_pass(size_t count, const double *own, double scale, const double *w,
                  size_t step, double *to);
/* The same where to[] holds nothing yet. */
void program_pass_first(size_t count, const double *own, double scale, const double *w,
                        size_t step, double *to);
/* The sum of the same. */
double program_pass_to_one(size_t count, const double *own, double scale, const double *w,
                           size_t step);
double program_sum(const double *x, size_t count);
void program_add_to(size_t count, double own, double *to);
void program_fill(size_t count, double number, double *to);

/* The results of a block of kind PRODUCT or CALL from the numbers of its sources, and the
 * adjoints passed on to them (shares[i] NULL: not wanted). */
int program_block_value(const pyad_program *p, const program_block *b,
                        const double *const *x, double *results);
int program_block_pass(const pyad_program *p, const program_block *b,
                       const double *const *x, const double *results, const double *own,
                       double *const *shares);
/* The values of a group, or a part of it, and the adjoints that it passes on: by
 * pass(data, operand, count, own, scale, w, step), as in program_pass. `weights` is a
 * tile; results and own are what the group has there. */
static inline void program_group_value(const pyad_loops *loops, const program_group *g,
                                       size_t count, const operand *x, double *out)
{
    program_map(loops, g->op, count, x[0], x[1], x[2], out);
    if (g->order) /* out is the value that the partial needs */
        pyad_map_part(loops, g->op, g->order == 1 ? PYAD_DA : PYAD_DB, count, x[0].x,
                      x[0].step, x[1].x, x[1].step, out, out);
}

/* The partial in operand i of the operation, of its partial in a, of that in b. */
static const enum pyad_part program_parts[3][2] = {
    {PYAD_DA, PYAD_DB}, {PYAD_DAA, PYAD_DAB}, {PYAD_DAB, PYAD_DBB}};

typedef void program_passing(const void *data, int which, size_t count, const double *own,
                             double scale, const double *w, size_t step);

INLINED void program_group_pass(const pyad_loops *loops, const program_group *g,
                                size_t count, const operand *x, const double *results,
                                const double *own, double *weights, program_passing *pass,
                                const void *data)
{
    const int on_a = g->active & 1, on_b = g->active & 2, on_c = g->active & 4;
    double sign = 1;
#define PASS(ON, WHICH, SCALE, W, STEP)                                                  \
    if (ON)                                                                              \
    pass(data, WHICH, count, own, SCALE, W, STEP)
    switch (g->order ? PROGRAM_OPS : g->op) {
    case PYAD_OP_ADD:
    case PYAD_OP_SUB:
        PASS(on_a, 0, 1, NULL, 0);
        PASS(on_b, 1, g->op == PYAD_OP_ADD ? 1 : -1, NULL, 0);
        return;
    case PROGRAM_SUBMUL:
        sign = -1; /* fall through */
    case PROGRAM_MULADD:
    case PROGRAM_MULSUB:
        PASS(on_c, 2, g->op == PROGRAM_MULSUB ? -1 : 1, NULL, 0);
        /* fall through */
    case PYAD_OP_MUL:
        PASS(on_a, 0, sign, x[1].x, x[1].step);
        PASS(on_b, 1, sign, x[0].x, x[0].step);
        return;
    case PYAD_OP_SQUARE:
        PASS(on_a, 0, 2, x[0].x, x[0].step);
        return;
    case PYAD_OP_NEG:
        PASS(on_a, 0, -1, NULL, 0);
        return;
    case PYAD_OP_EXP:
        PASS(on_a, 0, 1, results, 1);
        return;
    case PYAD_OP_DIV:
        if (!x[1].step && !on_b) {
            const double weight = 1 / *x[1].x;
            PASS(on_a, 0, 1, &weight, 0);
            return;
        }
        break;
    default:
        break;
    }
    for (int i = 0; i < g->operands; i++) {
        if (!(g->active >> i & 1))
            continue;
        const double *value = results;
        if (g->order) {
            program_map(loops, g->op, count, x[0], x[1], x[2], weights);
            value = weights;
        }
        pyad_map_part(loops, g->op, program_parts[g->order][i], count, x[0].x, x[0].step,
                      x[1].x, x[1].step, value, weights);
        PASS(1, i, 1, weights, 1);
    }
#undef PASS
}

/* The first slot of the results of a group or block. */
static inline size_t program_out(const pyad_program *p, const program_step *t)
{
    return t->op == PROGRAM_GROUP ? p->groups[t->a].out : p->blocks[t->a].out;
}

/* LINEAR: see program_linear. */
typedef struct {
    const uint32_t *first, *slots;
    const double *weights, *base;
} program_entries;
static inline program_entries program_entries_of(const pyad_program *p,
                                                 const program_block *b)
{
    const program_linear *l = (const program_linear *)(p->store + b->data);
    return (program_entries){
        (const uint32_t *)(p->store + l->first), (const uint32_t *)(p->store + l->slots),
        (const double *)(p->store + l->weights), (const double *)(p->store + l->base)};
}
