/* Guards: see guard.h. */
#include "guard.h"

#include "blocks/pending.h"

#include <string.h>

#include "blocks/life.h"
#include "buffer.h"

/* ---- begin and end ---------------------------------------------------------------- */

int pyad_tape_guard_begin(pyad_tape *tape)
{
    if (!tape->guards) {
        tape->guards = pyad_buffer_new(sizeof *tape->guards);
        if (!tape->guards)
            return PYAD_ERROR_NO_MEMORY;
        *tape->guards = (pyad_guards){.depth = 0};
    }
    tape->guards->depth++;
    return PYAD_OK;
}

void pyad_tape_guard_end(pyad_tape *tape)
{
    if (!tape->guards || --tape->guards->depth)
        return;
    pyad_guards_free(tape->guards);
    tape->guards = NULL;
}

void pyad_guards_free(pyad_guards *guards)
{
    if (!guards)
        return;
    pyad_buffer_release(guards->all);
    pyad_buffer_release(guards->blocks);
    pyad_buffer_release(guards->store);
    pyad_buffer_release(guards);
}

/* ---- room ------------------------------------------------------------------------- */

/* Room for `more` items of `size` bytes beside those in use; false if there is none. */
static int reserve(void **array, size_t used, size_t *capacity, size_t more, size_t size)
{
    if (more <= *capacity - used)
        return 1;
    if (more > SIZE_MAX / 4 / size - used)
        return 0;
    size_t wanted = used + more < 2 * *capacity ? 2 * *capacity : used + more + 64;
    void *grown = pyad_buffer_resize(*array, used * size, wanted * size);
    if (!grown)
        return 0;
    *array = grown;
    *capacity = wanted;
    return 1;
}
#define RESERVE(ARRAY, USED, CAPACITY, MORE)                                             \
    reserve((void **)&(ARRAY), USED, &(CAPACITY), MORE, sizeof *(ARRAY))

/* ---- comparing -------------------------------------------------------------------- */

int pyad_tape_guard(pyad_tape *tape, int relation, pyad_operand a, pyad_operand b)
{
    pyad_guards *g = tape->guards;
    if (!g || (a.node == PYAD_CONSTANT && b.node == PYAD_CONSTANT))
        return PYAD_OK;
    if (!RESERVE(g->all, g->count, g->capacity, 1))
        return PYAD_ERROR_NO_MEMORY;
    g->all[g->count++] =
        (pyad_guard){.a = a,
                     .b = b,
                     .relation = (uint8_t)relation,
                     .outcome = (uint8_t)pyad_guard_compare(relation, a.value, b.value)};
    return PYAD_OK;
}

/* The numbers of an operand, which the tape may have. */
static const double *numbers_of(const pyad_tape *tape, const pyad_vector *x)
{
    return x->node == PYAD_CONSTANT ? x->values : tape->values + x->node;
}

static size_t constant_bytes(const pyad_vector *x, size_t count)
{
    return x->node == PYAD_CONSTANT ? (x->step ? count : 1) * sizeof(double) : 0;
}

/* The operand as a source; constants go to the store, where there is room. */
static pyad_source source_of(pyad_guards *g, const pyad_vector *x, size_t count)
{
    pyad_source s = {x->node, x->block, x->step, x->step ? count : 1, SIZE_MAX};
    size_t bytes = constant_bytes(x, count);
    if (bytes) {
        s.block = PYAD_NO_BLOCK;
        s.data = g->store_length;
        memcpy(g->store + s.data, x->values, bytes);
        g->store_length += bytes;
    }
    return s;
}

int pyad_tape_guard_block(pyad_tape *tape, int relation, size_t count, pyad_vector a,
                          pyad_vector b, uint8_t *outcomes)
{
    pyad_guards *g = tape->guards;
    pyad_tape_store_values(tape);
    const double *x = numbers_of(tape, &a), *y = numbers_of(tape, &b);
    for (size_t i = 0; i < count; i++)
        outcomes[i] =
            (uint8_t)pyad_guard_compare(relation, x[a.step ? i : 0], y[b.step ? i : 0]);
    if (!g || !count || (a.node == PYAD_CONSTANT && b.node == PYAD_CONSTANT))
        return PYAD_OK;
    if (count == 1)
        return pyad_tape_guard(tape, relation, (pyad_operand){*x, a.node},
                               (pyad_operand){*y, b.node});
    size_t bytes =
        pyad_store_round(count) + constant_bytes(&a, count) + constant_bytes(&b, count);
    if (!RESERVE(g->blocks, g->block_count, g->block_capacity, 1) ||
        !RESERVE(g->store, g->store_length, g->store_capacity, bytes))
        return PYAD_ERROR_NO_MEMORY;
    pyad_block_guard guard = {.count = count, .relation = (uint8_t)relation};
    guard.a = source_of(g, &a, count);
    guard.b = source_of(g, &b, count);
    guard.outcomes = g->store_length;
    memcpy(g->store + guard.outcomes, outcomes, count);
    g->store_length += pyad_store_round(count);
    g->blocks[g->block_count++] = guard;
    return PYAD_OK;
}

void pyad_tape_read(pyad_tape *tape)
{
    if (tape->guards)
        tape->guards->reads++;
}

/* ---- asking ----------------------------------------------------------------------- */

size_t pyad_tape_reads(const pyad_tape *tape)
{
    return tape->guards ? tape->guards->reads : 0;
}

const pyad_guard *pyad_tape_guards(const pyad_tape *tape, size_t *count)
{
    *count = tape->guards ? tape->guards->count : 0;
    return *count ? tape->guards->all : NULL;
}

const double *pyad_guard_values(const pyad_tape *tape, const pyad_source *x)
{
    return x->node == PYAD_CONSTANT
               ? (const double *)(const void *)(tape->guards->store + x->data)
               : tape->values + x->node;
}

/* ---- taking back ------------------------------------------------------------------ */

static int is_above(uint32_t node, size_t length)
{
    return node != PYAD_CONSTANT && node >= length;
}

/* The values of a source that is taken back become constants; false without memory. */
static int keep_values(pyad_tape *tape, pyad_source *x, size_t length)
{
    pyad_guards *g = tape->guards;
    size_t bytes = x->count * sizeof(double);
    if (!is_above(x->node, length))
        return 1;
    if (!RESERVE(g->store, g->store_length, g->store_capacity, bytes))
        return 0;
    memcpy(g->store + g->store_length, tape->values + x->node, bytes);
    *x = (pyad_source){PYAD_CONSTANT, PYAD_NO_BLOCK, x->step, x->count, g->store_length};
    g->store_length += bytes;
    return 1;
}

typedef struct {
    pyad_tape *tape;
    size_t length;
    int open; /* whether the stretch depends on what stays; -1: not asked yet */
} taking_back;

static int is_lost(taking_back *t)
{
    if (t->open < 0)
        t->open = pyad_tape_touches(t->tape, t->length);
    return t->open;
}

/* Whether a guard stays; its operands above become constants. */
static int stays(taking_back *t, pyad_guard *guard)
{
    const int a = is_above(guard->a.node, t->length),
              b = is_above(guard->b.node, t->length);
    if (!a && !b)
        return 1;
    if (is_lost(t)) {
        t->tape->guards->reads++;
        return 0;
    }
    if (a)
        guard->a.node = PYAD_CONSTANT;
    if (b)
        guard->b.node = PYAD_CONSTANT;
    return guard->a.node != PYAD_CONSTANT || guard->b.node != PYAD_CONSTANT;
}

static int block_stays(taking_back *t, pyad_block_guard *guard)
{
    const int a = is_above(guard->a.node, t->length),
              b = is_above(guard->b.node, t->length);
    if (!a && !b)
        return 1;
    if (!is_lost(t) && (a || guard->a.node == PYAD_CONSTANT) &&
        (b || guard->b.node == PYAD_CONSTANT))
        return 0;
    if (is_lost(t) || !keep_values(t->tape, &guard->a, t->length) ||
        !keep_values(t->tape, &guard->b, t->length)) {
        t->tape->guards->reads++;
        return 0;
    }
    return 1;
}

void pyad_guards_truncate(pyad_tape *tape, size_t length, int open)
{
    pyad_guards *g = tape->guards;
    if (!g || length >= tape->length)
        return;
    taking_back t = {tape, length, open ? 1 : -1};
    size_t kept = 0;
    for (size_t i = 0; i < g->count; i++)
        if (stays(&t, &g->all[i]))
            g->all[kept++] = g->all[i];
    g->count = kept;
    kept = 0;
    for (size_t i = 0; i < g->block_count; i++)
        if (block_stays(&t, &g->blocks[i]))
            g->blocks[kept++] = g->blocks[i];
    g->block_count = kept;
}
