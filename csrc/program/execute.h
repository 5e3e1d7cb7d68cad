/* The executor of programs, for LANES points at once: included with LANES and NAME(X)
 * defined. The numbers of slot s stand side by side, at v[s * LANES]; those of a run of
 * slots are a run LANES times as long, so that what works on runs works on any LANES. */
#include <string.h>

#include "../blocks/lanes.h"
#include "../buffer.h"
#include "../number.h"
#include "chain.h"

enum { NAME(TILE) = PYAD_TILE / LANES }; /* elements */

#define AT(SLOT) ((size_t)(SLOT) * LANES)
/* Left as a loop until the vectorizer has seen it: of unrolled choices it makes none. */
#if defined(__GNUC__) && !defined(__clang__) && LANES > 1
#define EACH_LANE                                                                        \
    _Pragma("GCC ivdep") _Pragma("GCC unroll 1") for (size_t l = 0; l < LANES; l++)
#else
#define EACH_LANE for (size_t l = 0; l < LANES; l++)
#endif
/* A zero adjoint passes nothing on, whatever the partial. In one lane it was asked
 * before. In several the weights are computed first: where they are needed for some lanes
 * only, compilers load them under a mask, which takes longer than the product. */
#define PASSED(OWN, WEIGHT) (LANES > 1 && (OWN) == 0 ? 0 : (OWN) * (WEIGHT))

/* ---- groups ----------------------------------------------------------------------- */

EXECUTOR
static operand NAME(operand_at)(const pyad_program *p, const program_group *g, int which,
                                size_t start, size_t count, const double *v, double *tile)
{
    if (g->mode[which] == MODE_RUN)
        return (operand){v + AT(g->at[which] + start), 1};
    if (g->mode[which] == MODE_ONE) {
        if (LANES == 1)
            return (operand){v + g->at[which], 0};
        for (size_t i = 0; i < count; i++)
            memcpy(tile + AT(i), v + AT(g->at[which]), LANES * sizeof *tile);
    } else {
        const uint32_t *places = p->places + g->at[which] + start;
        for (size_t i = 0; i < count; i++)
            memcpy(tile + AT(i), v + AT(places[i]), LANES * sizeof *tile);
    }
    return (operand){tile, 1};
}

static void NAME(value_of_group)(const pyad_program *p, const program_group *g, double *v,
                                 double *tiles)
{
    for (size_t start = 0; start < g->count; start += NAME(TILE)) {
        const size_t count = smaller(g->count - start, NAME(TILE));
        operand x[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
        for (int i = 0; i < g->operands; i++)
            x[i] = NAME(operand_at)(p, g, i, start, count, v, tiles + i * PYAD_TILE);
        double *out = v + AT(g->out + start);
        program_group_value(p->loops, g, AT(count), x, out);
    }
}

typedef struct {
    const pyad_program *p;
    const program_group *g;
    size_t start;
    double *adjoints;
} NAME(part);

/* See program_group_pass; `numbers` is LANES times as many as elements. */
EXECUTOR
static void NAME(pass_on)(const void *data, int which, size_t numbers, const double *own,
                          double scale, const double *w, size_t step)
{
    const NAME(part) *part = data;
    const pyad_program *p = part->p;
    const program_group *g = part->g;
    double *adjoints = part->adjoints;
    const size_t start = part->start, count = numbers / LANES;
    if (g->mode[which] == MODE_RUN) {
        program_pass(AT(count), own, scale, w, step, adjoints + AT(g->at[which] + start));
        return;
    }
    if (LANES == 1 && g->mode[which] == MODE_ONE) {
        adjoints[g->at[which]] += program_pass_to_one(count, own, scale, w, step);
        return;
    }
    const uint32_t *places =
        g->mode[which] == MODE_ONE ? NULL : p->places + g->at[which] + start;
    for (size_t i = 0; i < count; i++) {
        double *to = adjoints + AT(places ? places[i] : g->at[which]);
        const double *from = own + AT(i), *weight = w ? w + AT(i) * step : &scale;
        if (w && step)
            EACH_LANE to[l] += from[l] == 0 ? 0 : from[l] * (scale * weight[l]);
        else
            EACH_LANE to[l] += from[l] == 0 ? 0 : from[l] * (w ? scale * *weight : scale);
    }
}

/* The adjoints of the results are zero afterwards. */
static void NAME(adjoint_of_group)(const pyad_program *p, const program_group *g,
                                   const double *v, double *adjoints, double *tiles)
{
    for (size_t start = 0; start < g->count; start += NAME(TILE)) {
        const size_t count = smaller(g->count - start, NAME(TILE));
        const NAME(part) part = {p, g, start, adjoints};
        double *own = adjoints + AT(g->out + start);
        operand x[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
        const int sum = !g->order && (g->op == PYAD_OP_ADD || g->op == PYAD_OP_SUB);
        for (int i = 0; i < g->operands && !sum && g->active; i++)
            x[i] = NAME(operand_at)(p, g, i, start, count, v, tiles + i * PYAD_TILE);
        if (g->active)
            program_group_pass(p->loops, g, AT(count), x, v + AT(g->out + start), own,
                               tiles + 3 * PYAD_TILE, NAME(pass_on), &part);
        memset(own, 0, AT(count) * sizeof *own);
    }
}

/* ---- lists ------------------------------------------------------------------------ */

EXECUTOR
static void NAME(fold)(const pyad_program *p, const program_list *list, const double *v,
                       double *out)
{
    const uint32_t *places = p->places + list->at;
    double sums[4][LANES] = {{0}};
    if (list->mode == MODE_RUN && LANES == 1) {
        for (size_t i = 0; i < list->count; i++)
            sums[i & 3][0] += program_sum(v + places[2 * i], places[2 * i + 1]);
    } else if (list->mode == MODE_RUN) {
        for (size_t i = 0; i < list->count; i++)
            for (size_t k = 0; k < places[2 * i + 1]; k++) {
                const double *x = v + AT(places[2 * i] + k);
                EACH_LANE sums[k & 3][l] += x[l];
            }
    } else {
        for (size_t i = 0; i < list->count; i++) {
            const double *x = v + AT(places[i]);
            EACH_LANE sums[i & 3][l] += x[l];
        }
    }
    EACH_LANE out[l] = (sums[0][l] + sums[1][l]) + (sums[2][l] + sums[3][l]);
}

EXECUTOR
static void NAME(unfold)(const pyad_program *p, const program_list *list,
                         const double *own, double *adjoints)
{
    const uint32_t *places = p->places + list->at;
    for (size_t i = 0; i < list->count; i++) {
        const size_t run = list->mode == MODE_RUN ? places[2 * i + 1] : 1;
        double *to = adjoints + AT(places[list->mode == MODE_RUN ? 2 * i : i]);
        if (LANES == 1 && run > 1)
            program_add_to(run, *own, to);
        else
            for (size_t k = 0; k < run; k++, to += LANES)
                EACH_LANE to[l] += own[l];
    }
}

/* An operation of any number of arguments: the value, or the adjoints passed on. */
static int NAME(many)(const pyad_program *p, const program_list *list, double *v,
                      const double *own, double *adjoints)
{
    const uint32_t *places = p->places + list->at;
    const size_t count = list->count;
    pyad_operand *x = pyad_buffer_new((count + 1) * (sizeof *x + sizeof(double)));
    double *partials = (double *)(x + count);
    int status = x ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    for (size_t l = 0; l < LANES && !status; l++) {
        double value;
        if (own && own[l] == 0)
            continue;
        for (size_t i = 0; i < count; i++)
            x[i] = (pyad_operand){v[AT(places[i]) + l], PYAD_CONSTANT};
        status = pyad_op_many(list->op, count, x, &value, partials);
        if (!own)
            v[AT(list->out) + l] = value;
        for (size_t i = 0; own && !status && i < count; i++)
            adjoints[AT(places[i]) + l] += own[l] * partials[i];
    }
    pyad_buffer_release(x);
    return status;
}

/* ---- blocks ----------------------------------------------------------------------- */

/* A layout of elements of LANES numbers each; to be freed if it is not the given one. */
static const pyad_layout *NAME(widened)(const pyad_layout *layout)
{
    if (LANES == 1)
        return layout;
    const size_t n = layout->ndim;
    pyad_layout *wide = pyad_buffer_new(sizeof *wide + (2 * n + 2) * sizeof(int64_t));
    if (!wide)
        return NULL;
    wide->ndim = n + 1;
    wide->offset = layout->offset * LANES;
    for (size_t i = 0; i < n; i++) {
        wide->sides[i] = layout->sides[i];
        wide->sides[n + 1 + i] = layout->sides[n + i] * LANES;
    }
    wide->sides[n] = LANES;
    wide->sides[2 * n + 1] = 1;
    return wide;
}

static void NAME(narrowed)(const pyad_layout *layout)
{
    if (LANES > 1)
        pyad_buffer_release(layout);
}

/* A block that knows one point only: its value, or (adjoints not NULL) what it passes on.
 * With more lanes the numbers of each are brought together. */
static int NAME(one_by_one)(const pyad_program *p, const program_block *b, double *v,
                            double *adjoints)
{
    const program_source *x = p->sources + b->source;
    size_t numbers = b->count;
    for (uint32_t i = 0; i < b->sources; i++)
        numbers += x[i].count;
    const size_t room = LANES > 1 ? 2 * numbers : 0;
    const double **from = pyad_buffer_new((2 * (size_t)b->sources + 1) * sizeof *from +
                                          room * sizeof(double));
    if (!from)
        return PYAD_ERROR_NO_MEMORY;
    double **shares = (double **)(from + b->sources);
    double *values = (double *)(from + 2 * b->sources), *passed = values + numbers;
    int status = PYAD_OK;
    for (size_t l = 0; l < LANES && !status; l++) {
        double *out = v + b->out, *own = adjoints ? adjoints + b->out : NULL;
        double *at = values, *share = passed;
        for (uint32_t i = 0; i < b->sources; i++) {
            const int wanted = adjoints && x[i].active;
            from[i] = LANES == 1 ? v + x[i].at : at;
            shares[i] = !wanted ? NULL : LANES == 1 ? adjoints + x[i].at : share;
            if (LANES == 1 && x[i].loose) {
                const program_place *place = &program_places(p, v)[x[i].loose - 1];
                from[i] = place->values;
                shares[i] = wanted ? place->gradient : NULL;
            }
            for (size_t k = 0; LANES > 1 && k < x[i].count; k++) {
                at[k] = v[AT(x[i].at + k) + l];
                share[k] = 0;
            }
            at += x[i].count;
            share += x[i].count;
        }
        if (LANES > 1) {
            out = at;
            own = adjoints ? share : NULL;
            for (size_t k = 0; k < b->count; k++) {
                out[k] = v[AT(b->out + k) + l];
                if (own)
                    own[k] = adjoints[AT(b->out + k) + l];
            }
        }
        status = own ? program_block_pass(p, b, from, out, own, shares)
                     : program_block_value(p, b, from, out);
        if (LANES == 1 || status)
            continue;
        for (size_t k = 0; !own && k < b->count; k++)
            v[AT(b->out + k) + l] = out[k];
        for (uint32_t i = 0; own && i < b->sources; i++)
            for (size_t k = 0; shares[i] && k < x[i].count; k++)
                adjoints[AT(x[i].at + k) + l] += shares[i][k];
    }
    pyad_buffer_release(from);
    return status;
}

static int NAME(value_of_block)(const pyad_program *p, const program_block *b, double *v)
{
    const program_source *x = p->sources + b->source;
    const void *data = p->store + b->data;
    double *out = v + AT(b->out);
    switch (b->kind) {
    case PYAD_BLOCK_SPREAD:
    case PYAD_BLOCK_COLLECT: {
        const pyad_layout *layout = NAME(widened)(data);
        if (!layout)
            return PYAD_ERROR_NO_MEMORY;
        if (b->kind == PYAD_BLOCK_SPREAD) {
            pyad_layout_read(layout, v + AT(x->at), out);
        } else {
            memset(out, 0, AT(b->count) * sizeof *out);
            pyad_layout_add(layout, v + AT(x->at), out);
        }
        NAME(narrowed)(layout);
        return PYAD_OK;
    }
    case PYAD_BLOCK_LINEAR: {
        const program_entries e = program_entries_of(p, b);
        for (uint32_t i = 0; i < b->count; i++, out += LANES) {
            EACH_LANE out[l] = e.base[i];
            for (uint32_t k = e.first[i]; k < e.first[i + 1]; k++) {
                const double *from = v + AT(e.slots[k]);
                EACH_LANE out[l] += e.weights[k] * from[l];
            }
        }
        return PYAD_OK;
    }
    case PYAD_BLOCK_CUMSUM: {
        pyad_cumsum c = *(const pyad_cumsum *)data;
        c.inner *= LANES;
        pyad_cumsum_value(&c, v + AT(x->at), out);
        return PYAD_OK;
    }
    default:
        return NAME(one_by_one)(p, b, v, NULL);
    }
}

static int NAME(adjoint_of_block)(const pyad_program *p, const program_block *b,
                                  double *v, double *adjoints)
{
    const program_source *x = p->sources + b->source;
    const void *data = p->store + b->data;
    double *own = adjoints + AT(b->out);
    int status = PYAD_OK;
    switch (b->active ? b->kind : PYAD_BLOCK_LEAF) {
    case PYAD_BLOCK_LEAF:
        break;
    case PYAD_BLOCK_SPREAD:
    case PYAD_BLOCK_COLLECT: { /* x += own[layout] */
        const pyad_layout *layout = NAME(widened)(data);
        double *read = NULL;
        if (layout && b->kind == PYAD_BLOCK_SPREAD)
            pyad_layout_add(layout, own, adjoints + AT(x->at));
        else if (layout && (read = pyad_buffer_new(AT(x->count + 1) * sizeof *read))) {
            pyad_layout_read(layout, own, read);
            program_pass(AT(x->count), read, 1, NULL, 0, adjoints + AT(x->at));
        }
        status = layout && (read || b->kind == PYAD_BLOCK_SPREAD) ? PYAD_OK
                                                                  : PYAD_ERROR_NO_MEMORY;
        pyad_buffer_release(read);
        NAME(narrowed)(layout);
        break;
    }
    case PYAD_BLOCK_LINEAR: {
        const program_entries e = program_entries_of(p, b);
        const double *from = own;
        for (uint32_t i = 0; i < b->count; i++, from += LANES)
            for (uint32_t k = e.first[i]; k < e.first[i + 1]; k++) {
                double *to = adjoints + AT(e.slots[k]);
                EACH_LANE to[l] += from[l] == 0 ? 0 : e.weights[k] * from[l];
            }
        break;
    }
    case PYAD_BLOCK_CUMSUM: {
        pyad_cumsum c = *(const pyad_cumsum *)data;
        c.inner *= LANES;
        pyad_cumsum_reverse(&c, own, adjoints + AT(x->at));
        break;
    }
    default:
        status = NAME(one_by_one)(p, b, v, adjoints);
    }
    if (LANES > 1 || !b->set_by_chain)
        memset(own, 0, AT(b->count) * sizeof *own);
    return status;
}

/* ---- guards ----------------------------------------------------------------------- */

/* holds[l] = whether the guards give the same as in the recording; returns how many do.
 */
static size_t NAME(check)(const pyad_program *p, const double *v, unsigned char *holds)
{
    size_t good = LANES;
    for (size_t l = 0; l < LANES; l++)
        holds[l] = 1;
    for (size_t i = 0; i < p->guard_count && good; i++) {
        const program_guard *g = &p->guards[i];
        const unsigned char *outcomes =
            g->outcomes == SIZE_MAX ? &g->outcome : p->store + g->outcomes;
        const size_t step = g->outcomes == SIZE_MAX ? 0 : 1;
        unsigned char bad[LANES] = {0};
        for (size_t k = 0; k < g->count; k++) {
            const double *a = v + AT(g->a + k * g->step_a),
                         *b = v + AT(g->b + k * g->step_b);
            for (size_t l = 0; l < LANES; l++)
                bad[l] |=
                    pyad_guard_compare(g->relation, a[l], b[l]) != outcomes[k * step];
            if (LANES == 1 && bad[0])
                break;
        }
        for (size_t l = 0; l < LANES; l++)
            if (bad[l] && holds[l]) {
                holds[l] = 0;
                good--;
            }
    }
    return good;
}

/* ---- steps ------------------------------------------------------------------------ */

/* Operations whose value and partials are quick and have vector instructions; the others
 * run, in several lanes, through the kernels of maps. */
static inline int NAME(is_light)(int op)
{
    return LANES == 1 || op == PYAD_OP_ADD || op == PYAD_OP_SUB || op == PYAD_OP_MUL ||
           op == PYAD_OP_DIV || op == PYAD_OP_NEG || op == PYAD_OP_SQUARE ||
           op == PYAD_OP_RECIPROCAL || op == PYAD_OP_ABS || op == PYAD_OP_SQRT;
}

/* The chain that begins with a step, or NULL. */
static const program_chain *NAME(chain_from)(const pyad_program *p, const program_step *t)
{
    for (size_t i = 0; LANES == 1 && i < p->chain_count; i++)
        if (t == p->steps + p->chains[i].first)
            return &p->chains[i];
    return NULL;
}

static const program_chain *NAME(chain_to)(const pyad_program *p, const program_step *t)
{
    for (size_t i = 0; LANES == 1 && i < p->chain_count; i++)
        if (t == p->steps + p->chains[i].first + p->chains[i].steps - 1)
            return &p->chains[i];
    return NULL;
}

static program_memory NAME(memory)(const pyad_program *p, double *v, double *tiles)
{
    double *adjoints = v + p->slots;
    return (program_memory){v, adjoints, v + p->constants, adjoints + p->constants,
                            tiles};
}

/* Single operations are where scalar programs spend all their time. One lane goes from
 * each to the next by a jump of its own (direct threading), several by a switch: a
 * function that jumps to labels cannot be compiled for several sets of instructions.
 *
 * Most steps read the result of the step before (schedule.c): it stays in a register,
 * `last`, and on the way back its adjoint does, which saves the way through memory. So
 * each operation has a label for each operand that may be the last result (LAST: 0 none,
 * 1 a, 2 b, 3 c), and in the sweep for each choice of operands that it passes something
 * to (MASK). */
#if LANES == 1 && defined(__GNUC__)
#define DIRECT 1
#define DISPATCH(CODE) goto *labels[t->code];
#define ON(CODE, LABEL)                                                                  \
    LABEL:
#define ON_OTHERS(LABEL)                                                                 \
    LABEL:
#define LASTS_1(EACH, ...) EACH(0, __VA_ARGS__) EACH(1, __VA_ARGS__)
#define LASTS_2(EACH, ...) LASTS_1(EACH, __VA_ARGS__) EACH(2, __VA_ARGS__)
#define LASTS_3(EACH, ...) LASTS_2(EACH, __VA_ARGS__) EACH(3, __VA_ARGS__)
#define LABEL_AT(LAST, OP, MASK, LABEL) [((OP) * 8 + MASK) * 4 + LAST] = &&LABEL,
#define OPERAND(LAST, WHICH, FROM) (LAST == WHICH ? last : (FROM)[l])
#define KEEP(VALUE) (last = (VALUE))
#else
#define DIRECT 0
#define DISPATCH(CODE) switch (CODE)
#define ON(CODE, LABEL) case CODE:
#define ON_OTHERS(LABEL) default:
#define LASTS_1(EACH, ...) EACH(0, __VA_ARGS__)
#define LASTS_2(EACH, ...) EACH(0, __VA_ARGS__)
#define LASTS_3(EACH, ...) EACH(0, __VA_ARGS__)
#define OPERAND(LAST, WHICH, FROM) ((FROM)[l])
#define KEEP(VALUE) (VALUE)
#endif
#define MASKS_3(EACH, ...) EACH(1, __VA_ARGS__) EACH(2, __VA_ARGS__) EACH(3, __VA_ARGS__)
#define MASKS_7(EACH, ...)                                                               \
    MASKS_3(EACH, __VA_ARGS__)                                                           \
    EACH(4, __VA_ARGS__) EACH(5, __VA_ARGS__) EACH(6, __VA_ARGS__) EACH(7, __VA_ARGS__)
#define X (v + AT(t->a))
#define Y (v + AT(t->b))
#define Z (v + AT(t->c))

/* The results of single operations from `t` on, the first in slot `first`; returns the
 * first step that is none. */
EXECUTOR
static const program_step *NAME(value_singles)(const program_step *t,
                                               const pyad_loops *loops, double *v,
                                               size_t first)
{
#if DIRECT
    __extension__ static const void *const labels[PROGRAM_CODES] = {
#define LABEL_OF(LAST, ENUM, OP, MASK) LABEL_AT(LAST, OP, MASK, on_##LAST##_##ENUM)
#define MASK_1(MASK, ENUM) LASTS_1(LABEL_OF, ENUM, PYAD_OP_##ENUM, MASK)
#define MASK_2(MASK, ENUM) LASTS_2(LABEL_OF, ENUM, PYAD_OP_##ENUM, MASK)
#define MASK_3(MASK, ENUM) LASTS_3(LABEL_OF, ENUM, PROGRAM_##ENUM, MASK)
#define UNARY(ENUM, ...) MASK_1(0, ENUM) MASK_1(1, ENUM)
#define BINARY(ENUM, ...) MASK_2(0, ENUM) MASKS_3(MASK_2, ENUM)
#define NARY(ENUM, ...)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
        MASK_3(0, MULADD) MASKS_7(MASK_3, MULADD) MASK_3(0, MULSUB)
            MASKS_7(MASK_3, MULSUB) MASK_3(0, SUBMUL) MASKS_7(MASK_3, SUBMUL)
                LABEL_AT(0, PROGRAM_FOLD, 0, on_others)};
#undef LABEL_OF
#undef MASK_1
#undef MASK_2
#undef MASK_3
#define NEXT                                                                             \
    t++, out += LANES;                                                                   \
    goto *labels[t->code];
    double last = 0;
#else
#define NEXT break;
#endif
    (void)loops;
    for (double *out = v + AT(first);; t++, out += LANES) {
        DISPATCH(t->op)
        {
#define ON_UNARY(LAST, ENUM, OP, VALUE)                                                  \
    ON(OP, on_##LAST##_##ENUM)                                                           \
    if (NAME(is_light)(OP))                                                              \
        EACH_LANE                                                                        \
        {                                                                                \
            const double a = OPERAND(LAST, 1, X);                                        \
            out[l] = KEEP(VALUE);                                                        \
        }                                                                                \
    else                                                                                 \
        pyad_map_part(loops, OP, PYAD_VALUE, LANES, X, 1, NULL, 0, NULL, out);           \
    NEXT
#define ON_BINARY(LAST, ENUM, OP, VALUE)                                                 \
    ON(OP, on_##LAST##_##ENUM)                                                           \
    if (NAME(is_light)(OP))                                                              \
        EACH_LANE                                                                        \
        {                                                                                \
            const double a = OPERAND(LAST, 1, X), b = OPERAND(LAST, 2, Y);               \
            out[l] = KEEP(VALUE);                                                        \
        }                                                                                \
    else                                                                                 \
        pyad_map_part(loops, OP, PYAD_VALUE, LANES, X, 1, Y, 1, NULL, out);              \
    NEXT
#define ON_MULTIPLY_ADD(LAST, ENUM, VALUE)                                               \
    ON(PROGRAM_##ENUM, on_##LAST##_##ENUM)                                               \
    EACH_LANE                                                                            \
    {                                                                                    \
        const double a = OPERAND(LAST, 1, X), b = OPERAND(LAST, 2, Y),                   \
                     c = OPERAND(LAST, 3, Z);                                            \
        out[l] = KEEP(VALUE);                                                            \
    }                                                                                    \
    NEXT
#define UNARY(ENUM, NAME_, NUMPY, VALUE, ...)                                            \
    LASTS_1(ON_UNARY, ENUM, PYAD_OP_##ENUM, VALUE)
#define BINARY(ENUM, NAME_, NUMPY, VALUE, ...)                                           \
    LASTS_2(ON_BINARY, ENUM, PYAD_OP_##ENUM, VALUE)
#define NARY(...)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
            LASTS_3(ON_MULTIPLY_ADD, MULADD, a * b + c)
            LASTS_3(ON_MULTIPLY_ADD, MULSUB, a * b - c)
            LASTS_3(ON_MULTIPLY_ADD, SUBMUL, c - a * b)
            ON_OTHERS(on_others)
            return t;
        }
    }
#undef NEXT
#undef ON_UNARY
#undef ON_BINARY
#undef ON_MULTIPLY_ADD
}

/* The results of a step that is no single operation, or of the chain that begins with it;
 * `*out` is the slot of the first, then the one behind the last. */
static int NAME(value_of_many)(const pyad_program *p, const program_step **t, size_t *out,
                               double *v, double *tiles)
{
    const program_chain *chain = NULL;
    int status = PYAD_OK;
    switch ((*t)->op) {
    case PROGRAM_FOLD:
        NAME(fold)(p, &p->lists[(*t)->a], v, v + AT(*out));
        break;
    case PROGRAM_MANY:
        status = NAME(many)(p, &p->lists[(*t)->a], v, NULL, NULL);
        break;
    case PROGRAM_GROUP:
        chain = NAME(chain_from)(p, *t);
        if (chain) {
            const program_memory memory = NAME(memory)(p, v, tiles);
            program_chain_values(p, chain, &memory);
            *t += chain->steps - 1;
            *out = program_out(p, *t);
        } else {
            NAME(value_of_group)(p, &p->groups[(*t)->a], v, tiles);
        }
        break;
    default:
        status = NAME(value_of_block)(p, &p->blocks[(*t)->a], v);
    }
    *out += program_results(p, *t);
    ++*t;
    return status;
}

/* The results of the steps from `t` to `end`, which begin in slot `out`. Behind `end`
 * stands a step that is no single operation (program.h). */
static int NAME(values)(const pyad_program *p, const program_step *t,
                        const program_step *end, size_t out, double *v, double *tiles)
{
    for (;;) {
        const program_step *many = NAME(value_singles)(t, p->loops, v, out);
        out += (size_t)(many - t);
        t = many;
        if (t >= end)
            return PYAD_OK;
        const int status = NAME(value_of_many)(p, &t, &out, v, tiles);
        if (status)
            return status;
    }
}

/* The part of the sweep that is no single operation: the results' adjoints, from `out`
 * on, are passed on and cleared. */
static int NAME(pass_to_many)(const pyad_program *p, const program_step *t, double *v,
                              double *adjoints, size_t out, double *tiles)
{
    int status = PYAD_OK;
    switch (t->op) {
    case PROGRAM_GROUP:
        NAME(adjoint_of_group)(p, &p->groups[t->a], v, adjoints, tiles);
        return PYAD_OK;
    case PROGRAM_BLOCK:
        return NAME(adjoint_of_block)(p, &p->blocks[t->a], v, adjoints);
    case PROGRAM_FOLD:
        if (p->lists[t->a].active)
            NAME(unfold)(p, &p->lists[t->a], adjoints + out, adjoints);
        break;
    default:
        if (p->lists[t->a].active)
            status = NAME(many)(p, &p->lists[t->a], v, adjoints + out, adjoints);
    }
    memset(adjoints + out, 0, LANES * sizeof *adjoints);
    return status;
}

/* The sweep through single operations, from before `t` back to the last step that is
 * none; returns the one behind that. `results` is the slot behind the last result. */
EXECUTOR
static const program_step *NAME(sweep_singles)(const program_step *first,
                                               const program_step *t,
                                               const pyad_loops *loops,
                                               const double *restrict v,
                                               double *restrict adjoints, size_t results)
{
#if DIRECT
    __extension__ static const void *const labels[PROGRAM_CODES] = {
#define LABEL_OF(LAST, ENUM, OP, MASK)                                                   \
    LABEL_AT(LAST, OP, MASK, on_##LAST##_##MASK##_##ENUM)
#define NONE(LAST, OP) LABEL_AT(LAST, OP, 0, on_none)
#define MASK_2(MASK, ENUM) LASTS_2(LABEL_OF, ENUM, PYAD_OP_##ENUM, MASK)
#define MASK_3(MASK, ENUM) LASTS_3(LABEL_OF, ENUM, PROGRAM_##ENUM, MASK)
#define UNARY(ENUM, ...)                                                                 \
    LASTS_1(NONE, PYAD_OP_##ENUM) LASTS_1(LABEL_OF, ENUM, PYAD_OP_##ENUM, 1)
#define BINARY(ENUM, ...) LASTS_2(NONE, PYAD_OP_##ENUM) MASKS_3(MASK_2, ENUM)
#define NARY(ENUM, ...)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
        LASTS_3(NONE, PROGRAM_MULADD) MASKS_7(MASK_3, MULADD)
            LASTS_3(NONE, PROGRAM_MULSUB) MASKS_7(MASK_3, MULSUB)
                LASTS_3(NONE, PROGRAM_SUBMUL) MASKS_7(MASK_3, SUBMUL)
                    LABEL_AT(0, PROGRAM_FOLD, 0, on_others)};
#undef LABEL_OF
#undef NONE
#undef MASK_2
#undef MASK_3
/* The adjoint of the last result is in memory, or (where an operand is that result) what
 * is there and the share of this step. */
#define NEXT(LAST)                                                                       \
    if (!LAST && t == first)                                                             \
        return t;                                                                        \
    t--, own--;                                                                          \
    one = LAST ? before : *own;                                                          \
    goto *labels[t->code];
#define BEGIN(LAST) double before = LAST ? own[-1] : 0;
#define GIVE(LAST, WHICH, TO, SHARE)                                                     \
    {                                                                                    \
        enum { l = 0 };                                                                  \
        if (LAST == WHICH)                                                               \
            before += SHARE;                                                             \
        else                                                                             \
            *(TO) += SHARE;                                                              \
    }
#else
#define NEXT(LAST) break;
#define BEGIN(LAST)                                                                      \
    const double one = *own;                                                             \
    (void)one;
#define GIVE(LAST, WHICH, TO, SHARE) EACH_LANE(TO)[l] += SHARE;
#endif
    (void)loops;
    /* A zero adjoint passes nothing on, whatever the partial: asked here in one lane, by
     * PASSED in several, where a copy of it would go through memory. */
#define FROM (LANES == 1 ? one : own[l])
#define IF_PASSED if (LANES > 1 || one != 0)
#define SHARE(LAST, WHICH, OP, PART, TO, WEIGHT, Y_)                                     \
    {                                                                                    \
        double weights[LANES];                                                           \
        const double *result = v + (own - adjoints);                                     \
        if (NAME(is_light)(OP))                                                          \
            EACH_LANE                                                                    \
            {                                                                            \
                const double A = X[l], B = (Y_)[l], V = result[l];                       \
                (void)A, (void)B, (void)V;                                               \
                weights[l] = WEIGHT;                                                     \
            }                                                                            \
        else                                                                             \
            pyad_map_part(loops, OP, PART, LANES, X, 1, Y_, 1, result, weights);         \
        GIVE(LAST, WHICH, TO, PASSED(FROM, weights[l]))                                  \
    }
#define PRODUCT_SHARE(LAST, WHICH, TO, WEIGHT)                                           \
    {                                                                                    \
        double weights[LANES];                                                           \
        EACH_LANE weights[l] = WEIGHT;                                                   \
        GIVE(LAST, WHICH, TO, PASSED(FROM, weights[l]))                                  \
    }
#define TO_X (adjoints + AT(t->a))
#define TO_Y (adjoints + AT(t->b))
#define TO_Z (adjoints + AT(t->c))
    if (t == first)
        return t;
    t--;
    double *own = adjoints + AT(results) - LANES;
#if DIRECT
    double one = *own;
#endif
    for (;; t--, own -= LANES) {
        DISPATCH(t->code / 4)
        {
#define ON_UNARY(LAST, ENUM, OP, DA)                                                     \
    ON(OP * 8 + 1, on_##LAST##_1_##ENUM){                                                \
        BEGIN(LAST) IF_PASSED SHARE(LAST, 1, OP, PYAD_DA, TO_X, DA, X) NEXT(LAST)}
/* Both operands may be the same: one loop for each. */
#define ON_BINARY(LAST, MASK, ENUM, OP, DA, DB)                                          \
    ON(OP * 8 + MASK, on_##LAST##_##MASK##_##ENUM){BEGIN(LAST) IF_PASSED{                \
        if (MASK & 1) SHARE(LAST, 1, OP, PYAD_DA, TO_X, DA, Y) if (MASK & 2)             \
            SHARE(LAST, 2, OP, PYAD_DB, TO_Y, DB, Y)} NEXT(LAST)}
#define ON_MULTIPLY_ADD(LAST, MASK, ENUM, SIGN, REST)                                    \
    ON(PROGRAM_##ENUM * 8 + MASK, on_##LAST##_##MASK##_##ENUM){BEGIN(LAST) IF_PASSED{    \
        if (MASK & 1) PRODUCT_SHARE(LAST, 1, TO_X, SIGN Y[l]) if (MASK & 2)              \
            PRODUCT_SHARE(LAST, 2, TO_Y, SIGN X[l]) if (MASK & 4){                       \
                GIVE(LAST, 3, TO_Z, REST FROM)}} NEXT(LAST)}
#define MASK_2(MASK, ...) LASTS_2(ON_BINARY, MASK, __VA_ARGS__)
#define MASK_3(MASK, ...) LASTS_3(ON_MULTIPLY_ADD, MASK, __VA_ARGS__)
#define UNARY(ENUM, NAME_, NUMPY, VALUE, DA, ...)                                        \
    LASTS_1(ON_UNARY, ENUM, PYAD_OP_##ENUM, DA)
#define BINARY(ENUM, NAME_, NUMPY, VALUE, DA, DB, ...)                                   \
    MASKS_3(MASK_2, ENUM, PYAD_OP_##ENUM, DA, DB)
#define NARY(...)
#include "../ops.def"
#undef UNARY
#undef BINARY
#undef NARY
            MASKS_7(MASK_3, MULADD, +, +)
            MASKS_7(MASK_3, MULSUB, +, -)
            MASKS_7(MASK_3, SUBMUL, -, +)
            ON(PROGRAM_FOLD * 8, on_others)
            return t + 1;
            ON_OTHERS(on_none)
            {
                BEGIN(0)
                NEXT(0)
            }
        }
        if (LANES > 1) /* while it is at hand; one lane clears all at once */
            EACH_LANE own[l] = 0;
        if (t == first)
            return t;
    }
#undef NEXT
#undef BEGIN
#undef GIVE
#undef FROM
#undef IF_PASSED
#undef SHARE
#undef PRODUCT_SHARE
#undef ON_UNARY
#undef ON_BINARY
#undef ON_MULTIPLY_ADD
#undef MASK_2
#undef MASK_3
#undef TO_X
#undef TO_Y
#undef TO_Z
}
#undef X
#undef Y
#undef Z
#undef DIRECT
#undef DISPATCH
#undef ON
#undef ON_OTHERS
#undef LASTS_1
#undef LASTS_2
#undef LASTS_3
#undef LABEL_AT
#undef OPERAND
#undef KEEP
#undef MASKS_3
#undef MASKS_7

/* The sweep from before `t` back to `first`; the last results are those before slot
 * `out`. Adjoints of results are zero before the first sweep and afterwards. */
static int NAME(sweep)(const pyad_program *p, const program_step *first,
                       const program_step *t, size_t out, double *v, double *adjoints,
                       double *tiles)
{
    while (t > first) {
        const program_step *from =
            NAME(sweep_singles)(first, t, p->loops, v, adjoints, out);
        const size_t singles = (size_t)(t - from);
        out -= singles;
        if (LANES == 1)
            memset(adjoints + out, 0, singles * sizeof *adjoints);
        if (from == first)
            break;
        t = from - 1;
        const program_chain *chain = NAME(chain_to)(p, t);
        if (chain) {
            const program_memory memory = NAME(memory)(p, v, tiles);
            program_chain_adjoints(p, chain, &memory);
            t = p->steps + chain->first;
            out = program_out(p, t);
            continue;
        }
        out -= program_results(p, t);
        const int status = NAME(pass_to_many)(p, t, v, adjoints, AT(out), tiles);
        if (status)
            return status;
    }
    return PYAD_OK;
}

/* Working memory: values of all slots, adjoints of all slots, tiles. */
enum { NAME(TILES) = 4 * PYAD_TILE };

static void NAME(prepare)(const pyad_program *p, double *room)
{
    for (size_t i = 0; i < p->constants; i++)
        EACH_LANE room[AT(i) + l] = p->constant[i];
    memset(room + AT(p->slots), 0, AT(p->slots) * sizeof *room);
}

/* All of it. */
static int NAME(run)(const pyad_program *p, double *room)
{
    return NAME(values)(p, p->steps, p->steps + p->step_count, p->constants + p->inputs,
                        room, room + 2 * AT(p->slots));
}

static void NAME(seed)(const pyad_program *p, double *adjoints, const double *seeds)
{
    for (size_t i = 0; i < p->output_count; i++) {
        double *to = adjoints + AT(p->outputs[i]);
        if (p->outputs[i] >= p->constants)
            EACH_LANE to[l] += seeds[AT(i) + l];
    }
}

/* The sweep from given adjoints of the outputs, seeds[i * LANES + l], to those of the
 * inputs, which the caller clears before the next one (NAME(clear)). */
static int NAME(reverse)(const pyad_program *p, double *room, const double *seeds)
{
    double *adjoints = room + AT(p->slots);
    NAME(seed)(p, adjoints, seeds);
    const int status = NAME(sweep)(p, p->steps, p->steps + p->step_count, p->slots, room,
                                   adjoints, room + 2 * AT(p->slots));
    if (status) /* it stopped in the middle */
        memset(adjoints, 0, AT(p->slots) * sizeof *adjoints);
    return status;
}

#if LANES > 1
static void NAME(clear)(const pyad_program *p, double *room)
{
    double *adjoints = room + AT(p->slots);
    /* Lists pass something to constants, too. */
    const size_t from = p->list_count ? 0 : p->constants;
    memset(adjoints + AT(from), 0,
           AT(p->constants + p->inputs - from) * sizeof *adjoints);
}
#endif
