/* The inner loops of programs: an operation along runs, adjoints passed along runs. */
#include "kernels.h"

#include <string.h>

#include "../blocks/lanes.h"

#define EACH(EXPRESSION)                                                                 \
    ANY_ORDER                                                                            \
    for (size_t i = 0; i < count; i++)                                                   \
        out[i] = EXPRESSION;                                                             \
    return;
/* The loops differ in which operands are one number for all. */
#define EACH_OF_TWO(EXPRESSION)                                                          \
    if (!a.step) {                                                                       \
        const double A = *a.x;                                                           \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double B = b.x[i * b.step];                                            \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    } else if (!b.step) {                                                                \
        const double B = *b.x;                                                           \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a.x[i];                                                     \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    } else {                                                                             \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a.x[i], B = b.x[i];                                         \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    }                                                                                    \
    return;
#define EACH_OF_THREE(EXPRESSION)                                                        \
    if (!c.step) {                                                                       \
        const double C = *c.x;                                                           \
        EACH_OF_TWO(EXPRESSION)                                                          \
    }                                                                                    \
    if (!a.step) {                                                                       \
        const double A = *a.x;                                                           \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double B = b.x[i * b.step], C = c.x[i];                                \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    } else if (!b.step) {                                                                \
        const double B = *b.x;                                                           \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a.x[i], C = c.x[i];                                         \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    } else {                                                                             \
        ANY_ORDER                                                                        \
        for (size_t i = 0; i < count; i++) {                                             \
            const double A = a.x[i], B = b.x[i], C = c.x[i];                             \
            out[i] = EXPRESSION;                                                         \
        }                                                                                \
    }                                                                                    \
    return;

WIDEST_LANES
void program_map(const pyad_loops *loops, int op, size_t count, operand a, operand b,
                 operand c, double *out)
{
    double reciprocal;
    if (op == PYAD_OP_DIV && !b.step && has_exact_reciprocal(*b.x, &reciprocal)) {
        op = PYAD_OP_MUL;
        b.x = &reciprocal;
    }
    switch (op) {
    case PYAD_OP_ADD:
        EACH_OF_TWO(A + B)
    case PYAD_OP_SUB:
        EACH_OF_TWO(A - B)
    case PYAD_OP_MUL:
        EACH_OF_TWO(A * B)
    case PYAD_OP_DIV:
        EACH_OF_TWO(A / B)
    case PYAD_OP_SQUARE:
        EACH(a.x[i * a.step] * a.x[i * a.step])
    case PYAD_OP_NEG:
        EACH(-a.x[i * a.step])
    case PROGRAM_MULADD:
        EACH_OF_THREE(A * B + C)
    case PROGRAM_MULSUB:
        EACH_OF_THREE(A * B - C)
    case PROGRAM_SUBMUL:
        EACH_OF_THREE(C - A * B)
    default:
        pyad_map_part(loops, op, PYAD_VALUE, count, a.x, a.step, b.x, b.step, NULL, out);
    }
}

/* to[i] += own[i] * scale * w[i], and nothing where own[i] is 0. */
#define PASS_TO_RUN(TO)                                                                  \
    if (!w) {                                                                            \
        for (size_t i = 0; i < count; i++)                                               \
            to[i] = TO scale * own[i];                                                   \
    } else if (step) {                                                                   \
        for (size_t i = 0; i < count; i++) {                                             \
            const double share = own[i] * (scale * w[i]);                                \
            to[i] = TO(own[i] == 0 ? 0 : share);                                         \
        }                                                                                \
    } else {                                                                             \
        const double weight = scale * *w;                                                \
        for (size_t i = 0; i < count; i++)                                               \
            to[i] = TO(own[i] == 0 ? 0 : own[i] * weight);                               \
    }

WIDEST_LANES
void program_pass(size_t count, const double *restrict own, double scale,
                  const double *restrict w, size_t step,
                  double *restrict to){PASS_TO_RUN(to[i] +)}

WIDEST_LANES void program_pass_first(size_t count, const double *restrict own,
                                     double scale, const double *restrict w, size_t step,
                                     double *restrict to){PASS_TO_RUN()}

WIDEST_LANES
    double program_pass_to_one(size_t count, const double *restrict own, double scale,
                               const double *restrict w, size_t step)
{
    double sums[8] = {0};
    size_t i = 0;
    if (!w) {
        for (; i + 8 <= count; i += 8)
            for (size_t k = 0; k < 8; k++)
                sums[k] += own[i + k];
        for (; i < count; i++)
            sums[0] += own[i];
    } else {
        if (step)
            for (; i + 8 <= count; i += 8)
                for (size_t k = 0; k < 8; k++)
                    sums[k] += own[i + k] == 0 ? 0 : own[i + k] * w[i + k];
        for (; i < count; i++)
            sums[0] += own[i] == 0 ? 0 : own[i] * w[i * step];
    }
    return scale * (((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                    ((sums[4] + sums[5]) + (sums[6] + sums[7])));
}

WIDEST_LANES
double program_sum(const double *x, size_t count)
{
    double sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t k = 0; k < 8; k++)
            sums[k] += x[i + k];
    double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                 ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; i++)
        sum += x[i];
    return sum;
}

WIDEST_LANES
void program_add_to(size_t count, double own, double *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] += own;
}

WIDEST_LANES
void program_fill(size_t count, double number, double *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = number;
}

int program_block_value(const pyad_program *p, const program_block *b,
                        const double *const *x, double *results)
{
    if (b->kind == PYAD_BLOCK_PRODUCT) {
        const pyad_product *product = (const pyad_product *)(p->store + b->data);
        pyad_product_value(p->loops, product, x[0], x[1], results);
        return PYAD_OK;
    }
    return b->rule->value ? b->rule->value(b->rule, x, results)
                          : PYAD_ERROR_NEEDS_RECORDING;
}

static int is_all_zero(const double *x, size_t count)
{
    size_t zeros = 0;
    while (zeros < count && x[zeros] == 0)
        zeros++;
    return zeros == count;
}

int program_block_pass(const pyad_program *p, const program_block *b,
                       const double *const *x, const double *results, const double *own,
                       double *const *shares)
{
    if (b->kind == PYAD_BLOCK_PRODUCT) {
        const pyad_product *product = (const pyad_product *)(p->store + b->data);
        double *to[2] = {shares[0], shares[1]};
        const int nothing = is_all_zero(own, b->count); /* not to an infinity either */
        for (int i = 0; i < 2; i++) {
            const program_source *source = &p->sources[b->source + (uint32_t)i];
            if (!to[i] || !source->alone)
                continue;
            if (!nothing && pyad_product_store(p->loops, product, i, source->count,
                                               x[1 - i], own, to[i]))
                to[i] = NULL;
            else
                memset(to[i], 0, source->count * sizeof(double));
        }
        if (nothing)
            return PYAD_OK;
        return to[0] || to[1] ? pyad_product_reverse(p->loops, product, x[0], x[1], own,
                                                     to[0], to[1])
                              : PYAD_OK;
    }
    return b->rule->pass(b->rule, x, results, own, shares);
}
