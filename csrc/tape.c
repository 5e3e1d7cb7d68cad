/* The life of a tape and what can be asked of it. Arrays grow by doubling and are kept
 * from one recording to the next; a field changes only after everything it stands for has
 * succeeded. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "blocks/life.h"
#include "blocks/pending.h"
#include "blocks/record.h"
#include "buffer.h"
#include "guard.h"

enum {
    NODE_BYTES = sizeof(uint8_t) + sizeof(double) + sizeof(uint32_t),
    ARGUMENT_BYTES = sizeof(uint32_t) + sizeof(double),
    BLOCK_BYTES = sizeof(pyad_block) + 1, /* and what a sweep notes of it */
    SOURCE_BYTES = sizeof(pyad_source),
};
/* Node numbers and argument offsets are 32 bits; PYAD_CONSTANT is no node. */
static const pyad_room SMALLEST = {1024, 1024, 32, 64, 1024},
                       LIMITS = {UINT32_MAX - 1, UINT32_MAX, UINT32_MAX - 1, UINT32_MAX,
                                 SIZE_MAX / 4};

pyad_tape *pyad_tape_new(size_t max_bytes)
{
    pyad_tape *tape = calloc(1, sizeof *tape);
    if (tape)
        tape->max_bytes = max_bytes;
    return tape;
}

static void release_nodes(pyad_tape *tape)
{
    pyad_buffer_release(tape->ops);
    pyad_buffer_release(tape->values);
    pyad_buffer_release(tape->first);
    tape->ops = NULL;
    tape->values = NULL;
    tape->first = NULL;
    tape->node_capacity = 0;
}

static void release_arguments(pyad_tape *tape)
{
    pyad_buffer_release(tape->indices);
    pyad_buffer_release(tape->weights);
    tape->indices = NULL;
    tape->weights = NULL;
    tape->argument_capacity = 0;
}

void pyad_tape_free(pyad_tape *tape)
{
    if (!tape)
        return;
    pyad_guards_free(tape->guards);
    tape->guards = NULL;
    pyad_tape_truncate(tape, 0, 0);
    release_nodes(tape);
    release_arguments(tape);
    pyad_buffer_release(tape->adjoints);
    pyad_buffer_release(tape->blocks);
    pyad_buffer_release(tape->sources);
    pyad_buffer_release(tape->store);
    free(tape);
}

/* A pinned array is left to whoever pinned it, so that a view never changes under its
 * reader. */
void pyad_tape_clear(pyad_tape *tape)
{
    pyad_tape_truncate(tape, 0, 0);
    if (pyad_buffer_is_shared(tape->ops) || pyad_buffer_is_shared(tape->values) ||
        pyad_buffer_is_shared(tape->first))
        release_nodes(tape);
    if (pyad_buffer_is_shared(tape->indices) || pyad_buffer_is_shared(tape->weights))
        release_arguments(tape);
}

static size_t bytes_of(const pyad_room *r)
{
    return r->nodes * NODE_BYTES + r->arguments * ARGUMENT_BYTES +
           r->blocks * BLOCK_BYTES + r->sources * SOURCE_BYTES + r->store;
}

static pyad_room in_use(const pyad_tape *tape)
{
    return (pyad_room){tape->length, tape->arguments, tape->block_count,
                       tape->source_count, tape->store_length};
}

static pyad_room reserved(const pyad_tape *tape)
{
    return (pyad_room){tape->node_capacity, tape->argument_capacity, tape->block_capacity,
                       tape->source_capacity, tape->store_capacity};
}

/* With these capacities and the adjoints of a sweep: what can be recorded can be swept.
 */
static int fits(const pyad_tape *tape, const pyad_room *r)
{
    size_t adjoints =
        r->nodes < tape->adjoint_capacity ? tape->adjoint_capacity : r->nodes + 1;
    return !tape->max_bytes || bytes_of(r) + adjoints * sizeof(double) <= tape->max_bytes;
}

/* Set *array to a buffer of `capacity` items that keeps the first `used`; false if there
 * is no memory. */
#define RESIZE(ARRAY, USED, CAPACITY)                                                    \
    resize((void **)&(ARRAY), (USED) * sizeof *(ARRAY), (CAPACITY) * sizeof *(ARRAY))
static int resize(void **array, size_t used, size_t bytes)
{
    void *grown = pyad_buffer_resize(*array, used, bytes);
    if (grown)
        *array = grown;
    return grown != NULL;
}

/* A capacity for `needed` items: doubled, so that growing costs a constant per item. */
static size_t roomy(size_t capacity, size_t needed, size_t smallest, size_t limit)
{
    size_t size = capacity < smallest ? smallest : 2 * capacity;
    if (needed <= capacity)
        return capacity;
    size = size < needed ? needed : size;
    return size < limit ? size : limit;
}

/* As `roomy` where that exceeds max_bytes: an eighth more, or just what is needed. */
static size_t tight(size_t capacity, size_t needed, int exact)
{
    size_t size = exact ? needed : needed + needed / 8;
    return needed <= capacity ? capacity : size;
}

/* The number i of the five in a room. */
static size_t *part(pyad_room *r, int i)
{
    size_t *const parts[] = {&r->nodes, &r->arguments, &r->blocks, &r->sources,
                             &r->store};
    return parts[i];
}
enum { PARTS = sizeof(pyad_room) / sizeof(size_t) };

/* Capacities for what is needed within max_bytes; false if there are none. */
static int plan_capacity(const pyad_tape *tape, pyad_room needed, pyad_room *planned)
{
    pyad_room have = reserved(tape), smallest = SMALLEST, limits = LIMITS;
    for (int i = 0; i < PARTS; i++)
        *part(planned, i) = roomy(*part(&have, i), *part(&needed, i), *part(&smallest, i),
                                  *part(&limits, i));
    for (int exact = 0; exact < 2 && !fits(tape, planned); exact++)
        for (int i = 0; i < PARTS; i++)
            *part(planned, i) = tight(*part(&have, i), *part(&needed, i), exact);
    return fits(tape, planned);
}

/* Room for blocks; each capacity is set as soon as its array is there. */
static int grow_blocks(pyad_tape *tape, const pyad_room *to)
{
    if (to->blocks > tape->block_capacity) {
        if (!RESIZE(tape->blocks, tape->block_count, to->blocks))
            return PYAD_ERROR_NO_MEMORY;
        tape->block_capacity = to->blocks;
    }
    if (to->sources > tape->source_capacity) {
        if (!RESIZE(tape->sources, tape->source_count, to->sources))
            return PYAD_ERROR_NO_MEMORY;
        tape->source_capacity = to->sources;
    }
    if (to->store > tape->store_capacity) {
        if (!RESIZE(tape->store, tape->store_length, to->store))
            return PYAD_ERROR_NO_MEMORY;
        tape->store_capacity = to->store;
    }
    return PYAD_OK;
}

int pyad_tape_make_room(pyad_tape *tape, const pyad_room *more)
{
    pyad_room needed = in_use(tape), room = *more, limits = LIMITS, to;
    for (int i = 0; i < PARTS; i++) {
        if (*part(&room, i) > *part(&limits, i) - *part(&needed, i))
            return PYAD_ERROR_TAPE_FULL;
        *part(&needed, i) += *part(&room, i);
    }
    if (!plan_capacity(tape, needed, &to))
        return PYAD_ERROR_NO_MEMORY;
    if (to.nodes > tape->node_capacity) {
        if (!RESIZE(tape->ops, tape->length, to.nodes) ||
            !RESIZE(tape->values, tape->length, to.nodes) ||
            !RESIZE(tape->first, tape->length + 1, to.nodes + 1))
            return PYAD_ERROR_NO_MEMORY;
        if (tape->length == 0)
            tape->first[0] = 0;
        tape->node_capacity = to.nodes;
    }
    if (to.arguments > tape->argument_capacity) {
        if (!RESIZE(tape->indices, tape->arguments, to.arguments) ||
            !RESIZE(tape->weights, tape->arguments, to.arguments))
            return PYAD_ERROR_NO_MEMORY;
        tape->argument_capacity = to.arguments;
    }
    return grow_blocks(tape, &to);
}

int pyad_tape_grow(pyad_tape *tape, size_t nodes, size_t count)
{
    pyad_room more = {.nodes = nodes, .arguments = count};
    return pyad_tape_make_room(tape, &more);
}

size_t pyad_tape_length(const pyad_tape *tape) { return tape->length; }
size_t pyad_tape_arguments(const pyad_tape *tape) { return tape->arguments; }

size_t pyad_tape_nbytes(const pyad_tape *tape)
{
    pyad_room r = in_use(tape);
    return bytes_of(&r);
}

size_t pyad_tape_reserved(const pyad_tape *tape)
{
    pyad_room r = reserved(tape);
    return bytes_of(&r) + tape->adjoint_capacity * sizeof(double);
}

const uint8_t *pyad_tape_pin_ops(const pyad_tape *tape)
{
    pyad_tape_fill_blocks(tape);
    return pyad_buffer_retain(tape->ops);
}
const uint32_t *pyad_tape_pin_first(const pyad_tape *tape)
{
    pyad_tape_fill_blocks(tape);
    return pyad_buffer_retain(tape->first);
}
const uint32_t *pyad_tape_pin_indices(const pyad_tape *tape)
{
    return pyad_buffer_retain(tape->indices);
}
const double *pyad_tape_pin_weights(const pyad_tape *tape)
{
    return pyad_buffer_retain(tape->weights);
}
const double *pyad_tape_pin_values(const pyad_tape *tape)
{
    pyad_tape_store_values(tape);
    return pyad_buffer_retain(tape->values);
}
const double *pyad_tape_pin_adjoints(const pyad_tape *tape, size_t *count)
{
    *count = tape->adjoints && !tape->adjoints_lean ? tape->adjoint_count + 1 : 0;
    return *count ? pyad_buffer_retain(tape->adjoints) : NULL;
}
