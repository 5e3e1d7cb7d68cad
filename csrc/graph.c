/* Recorded sweeps: a sweep over a stretch of the tape whose every step is itself
 * recorded, so that derivatives nest to any order. Slower than the sweeps of sweep.c, and
 * used only where somebody is going to differentiate the result. Partials come from the
 * same rows, in the tape's number system. */
#include "number_tape.h"

#include <string.h>

#include "buffer.h"
#include "tape.h"

/* A stretch [from, from + count) of a tape, which nodes of it depend on the variables,
 * and a number for each: its adjoint, or its tangent. */
typedef struct {
    graph g;
    size_t from, count;
    uint8_t *depends;
    pyad_operand *number;
} stretch;

static int stretch_new(stretch *s, pyad_tape *tape, size_t from, size_t count)
{
    *s = (stretch){.g = {tape, PYAD_OK}, .from = from, .count = count};
    s->depends = pyad_buffer_new(count + 1);
    s->number = pyad_buffer_new((count + 1) * sizeof *s->number);
    if (from > tape->length || count > tape->length - from)
        return PYAD_ERROR_NODE_RANGE;
    if (!s->depends || !s->number)
        return PYAD_ERROR_NO_MEMORY;
    memset(s->depends, 0, count);
    for (size_t i = 0; i < count; i++)
        s->number[i] = graph_constant(0);
    return PYAD_OK;
}

static void stretch_free(stretch *s)
{
    pyad_buffer_release(s->depends);
    pyad_buffer_release(s->number);
}

static int inside(const stretch *s, uint32_t node)
{
    return node != PYAD_CONSTANT && node >= s->from && node - s->from < s->count;
}

/* Marks every node of the stretch that is computed from one that is marked. */
static void mark_dependents(stretch *s)
{
    const pyad_tape *tape = s->g.tape;
    for (size_t i = s->from; i < s->from + s->count; i++)
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            if (inside(s, tape->indices[k]) && s->depends[tape->indices[k] - s->from])
                s->depends[i - s->from] = 1;
}

/* Unmarks every node of the stretch from which `node` is not computed. */
static int keep_ancestors(stretch *s, uint32_t node)
{
    const pyad_tape *tape = s->g.tape;
    uint8_t *needed = pyad_buffer_new(s->count + 1);
    if (!needed)
        return PYAD_ERROR_NO_MEMORY;
    memset(needed, 0, s->count);
    if (inside(s, node))
        needed[node - s->from] = 1;
    for (size_t i = s->count; i-- > 0;) {
        s->depends[i] &= needed[i];
        for (size_t k = tape->first[s->from + i];
             needed[i] && k < tape->first[s->from + i + 1]; k++)
            if (inside(s, tape->indices[k]))
                needed[tape->indices[k] - s->from] = 1;
    }
    pyad_buffer_release(needed);
    return PYAD_OK;
}

/* ---- partials as nodes
 * ------------------------------------------------------------------------ */

static pyad_operand argument(const pyad_tape *tape, size_t k)
{
    uint32_t node = tape->indices[k];
    return (pyad_operand){node == PYAD_CONSTANT ? tape->weights[k] : tape->values[node],
                          node};
}

static pyad_operand row_partial(graph *g, int op, size_t which, pyad_operand A,
                                pyad_operand B, pyad_operand V)
{
    (void)A, (void)B, (void)V, (void)which;
    switch (op) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, DOMAIN, TEXT)                           \
    case PYAD_OP_##ENUM:                                                                 \
        return DA;
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, ...)                                    \
    case PYAD_OP_##ENUM:                                                                 \
        return which == 0 ? (DA) : (DB);
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default:
        g->status = g->status ? g->status : PYAD_ERROR_GIVEN_SECOND;
        return graph_constant(PYAD_NAN);
    }
}

/* The product of all factors but one. Quadratic if it is asked for each; that it is right
 * where factors are 0 matters more in what is differentiated again. */
static pyad_operand product_of_others(graph *g, size_t node, size_t which)
{
    size_t start = g->tape->first[node], end = g->tape->first[node + 1];
    pyad_operand product = graph_constant(1);
    for (size_t k = start; k < end; k++)
        if (k - start != which)
            product = graph_mul(g, product, argument(g->tape, k));
    return product;
}

/* The partial of `node` in its argument number `which`. */
static pyad_operand partial(graph *g, size_t node, size_t which)
{
    const pyad_tape *tape = g->tape;
    size_t start = tape->first[node];
    pyad_operand x = argument(tape, start + which);
    pyad_operand v = {tape->values[node], (uint32_t)node};
    switch (tape->ops[node]) {
    case PYAD_OP_SUM:
        return graph_constant(1);
    case PYAD_OP_LINCOMB:
        return graph_constant(tape->weights[start + which]);
    case PYAD_OP_DOT:
        return argument(tape, start + (which ^ 1));
    case PYAD_OP_PROD:
        return product_of_others(g, node, which);
    case PYAD_OP_LOGSUMEXP:
        return GRAPH_1(EXP, SUB(x, v));
    case PYAD_OP_NORM:
        return v.value == 0 ? graph_constant(0) : DIV(x, v);
    default: {
        int binary = tape->first[node + 1] - start == 2;
        pyad_operand a = argument(tape, start);
        pyad_operand b = binary ? argument(tape, start + 1) : graph_constant(0);
        return row_partial(g, tape->ops[node], which, a, b, v);
    }
    }
}

/* ---- the sweeps
 * ---------------------------------------------------------------------------------- */

int pyad_tape_record_reverse(pyad_tape *tape, size_t from, pyad_operand result,
                             pyad_operand seed, size_t count, const uint32_t *variables,
                             pyad_operand *adjoints)
{
    stretch s;
    size_t nodes =
        result.node == PYAD_CONSTANT || result.node < from ? 0 : result.node - from + 1;
    int status = stretch_new(&s, tape, from, nodes);
    for (size_t i = 0; !status && i < count; i++)
        if (inside(&s, variables[i]))
            s.depends[variables[i] - from] = 1;
    if (!status)
        mark_dependents(&s);
    if (!status && nodes)
        s.number[nodes - 1] = seed;
    for (size_t i = nodes; !status && i-- > 0;) {
        pyad_operand own = s.number[i];
        if (graph_is(own, 0) || !s.depends[i])
            continue;
        size_t node = from + i, arguments = tape->first[node + 1] - tape->first[node];
        for (size_t k = 0; k < arguments; k++) {
            uint32_t to = tape->indices[tape->first[node] + k];
            if (!inside(&s, to) || !s.depends[to - from])
                continue;
            pyad_operand share = graph_mul(&s.g, own, partial(&s.g, node, k));
            s.number[to - from] = graph_add(&s.g, s.number[to - from], share);
        }
        status = s.g.status;
    }
    for (size_t i = 0; !status && i < count; i++)
        adjoints[i] =
            inside(&s, variables[i]) ? s.number[variables[i] - from] : graph_constant(0);
    stretch_free(&s);
    return status;
}

int pyad_tape_record_forward(pyad_tape *tape, size_t from, size_t count,
                             const uint32_t *variables, const pyad_operand *seeds,
                             pyad_operand result, pyad_operand *tangent)
{
    stretch s;
    size_t nodes =
        result.node == PYAD_CONSTANT || result.node < from ? 0 : result.node - from + 1;
    int status = stretch_new(&s, tape, from, nodes);
    for (size_t i = 0; !status && i < count; i++)
        if (inside(&s, variables[i])) {
            size_t row = variables[i] - from;
            s.depends[row] = 1;
            s.number[row] = graph_add(&s.g, s.number[row], seeds[i]);
        }
    if (!status)
        mark_dependents(&s);
    if (!status)
        status = keep_ancestors(&s, result.node);
    for (size_t i = 0; !status && i < nodes; i++) {
        size_t node = from + i, arguments = tape->first[node + 1] - tape->first[node];
        for (size_t k = 0; s.depends[i] && k < arguments; k++) {
            uint32_t argument = tape->indices[tape->first[node] + k];
            if (!inside(&s, argument) || graph_is(s.number[argument - from], 0))
                continue;
            pyad_operand share =
                graph_mul(&s.g, partial(&s.g, node, k), s.number[argument - from]);
            s.number[i] = graph_add(&s.g, s.number[i], share);
        }
        status = s.g.status;
    }
    if (!status)
        *tangent = nodes ? s.number[nodes - 1] : graph_constant(0);
    stretch_free(&s);
    return status;
}
