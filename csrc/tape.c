/* The life of a tape and what can be asked of it. Arrays grow by doubling and are kept
 * from one recording to the next; a field changes only after everything it stands for has
 * succeeded. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"

enum {
    NODE_BYTES = sizeof(uint8_t) + sizeof(double) + sizeof(uint32_t),
    ARGUMENT_BYTES = sizeof(uint32_t) + sizeof(double),
    SMALLEST_CAPACITY = 1024,
};
/* Node numbers and argument offsets are 32 bits; PYAD_CONSTANT is no node. */
static const size_t NODE_LIMIT = UINT32_MAX - 1;
static const size_t ARGUMENT_LIMIT = UINT32_MAX;

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
    release_nodes(tape);
    release_arguments(tape);
    pyad_buffer_release(tape->adjoints);
    free(tape);
}

/* A pinned array is left to whoever pinned it, so that a view never changes under its
 * reader. */
void pyad_tape_clear(pyad_tape *tape)
{
    tape->length = 0;
    tape->arguments = 0;
    if (pyad_buffer_is_shared(tape->ops) || pyad_buffer_is_shared(tape->values) ||
        pyad_buffer_is_shared(tape->first))
        release_nodes(tape);
    if (pyad_buffer_is_shared(tape->indices) || pyad_buffer_is_shared(tape->weights))
        release_arguments(tape);
}

static size_t recording_bytes(size_t nodes, size_t arguments)
{
    return nodes * NODE_BYTES + arguments * ARGUMENT_BYTES;
}

/* With these capacities and the adjoints of a sweep: what can be recorded can be swept.
 */
static int fits(const pyad_tape *tape, size_t nodes, size_t arguments)
{
    size_t adjoints = nodes < tape->adjoint_capacity ? tape->adjoint_capacity : nodes + 1;
    return !tape->max_bytes ||
           recording_bytes(nodes, arguments) + adjoints * sizeof(double) <=
               tape->max_bytes;
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
static size_t roomy(size_t capacity, size_t needed, size_t limit)
{
    size_t size = capacity < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : 2 * capacity;
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

/* Capacities for so many nodes and arguments within max_bytes; false if there are none.
 */
static int plan_capacity(const pyad_tape *tape, size_t *nodes, size_t *arguments)
{
    size_t needed_nodes = *nodes, needed_arguments = *arguments;
    *nodes = roomy(tape->node_capacity, needed_nodes, NODE_LIMIT);
    *arguments = roomy(tape->argument_capacity, needed_arguments, ARGUMENT_LIMIT);
    for (int exact = 0; exact < 2; exact++) {
        if (fits(tape, *nodes, *arguments))
            return 1;
        *nodes = tight(tape->node_capacity, needed_nodes, exact);
        *arguments = tight(tape->argument_capacity, needed_arguments, exact);
    }
    return fits(tape, *nodes, *arguments);
}

int pyad_tape_grow(pyad_tape *tape, size_t more_nodes, size_t count)
{
    size_t nodes = tape->length + more_nodes, arguments = tape->arguments + count;
    if (more_nodes > NODE_LIMIT - tape->length ||
        count > ARGUMENT_LIMIT - tape->arguments)
        return PYAD_ERROR_TAPE_FULL;
    if (!plan_capacity(tape, &nodes, &arguments))
        return PYAD_ERROR_NO_MEMORY;
    if (nodes > tape->node_capacity) {
        if (!RESIZE(tape->ops, tape->length, nodes) ||
            !RESIZE(tape->values, tape->length, nodes) ||
            !RESIZE(tape->first, tape->length + 1, nodes + 1))
            return PYAD_ERROR_NO_MEMORY;
        if (tape->length == 0)
            tape->first[0] = 0;
        tape->node_capacity = nodes;
    }
    if (arguments > tape->argument_capacity) {
        if (!RESIZE(tape->indices, tape->arguments, arguments) ||
            !RESIZE(tape->weights, tape->arguments, arguments))
            return PYAD_ERROR_NO_MEMORY;
        tape->argument_capacity = arguments;
    }
    return PYAD_OK;
}

int pyad_tape_append(pyad_tape *tape, const pyad_tape *other, size_t from)
{
    size_t nodes = other->length - from;
    size_t start = nodes ? other->first[from] : other->arguments;
    size_t arguments = other->arguments - start, to = tape->arguments;
    uint32_t shift = (uint32_t)tape->length - (uint32_t)from;
    int status = pyad_tape_reserve(tape, nodes, arguments);
    if (status || nodes == 0)
        return status;
    memcpy(tape->ops + tape->length, other->ops + from, nodes);
    memcpy(tape->values + tape->length, other->values + from, nodes * sizeof(double));
    for (size_t i = 0; i < nodes; i++)
        tape->first[tape->length + i + 1] =
            (uint32_t)(other->first[from + i + 1] - start + to);
    for (size_t k = 0; k < arguments; k++) {
        uint32_t index = other->indices[start + k];
        int inside = index != PYAD_CONSTANT && index >= from;
        int outside = index != PYAD_CONSTANT && index < from;
        tape->indices[to + k] = inside ? index + shift : PYAD_CONSTANT;
        tape->weights[to + k] =
            outside ? other->values[index] : other->weights[start + k];
    }
    tape->length += nodes;
    tape->arguments += arguments;
    return PYAD_OK;
}

size_t pyad_tape_length(const pyad_tape *tape) { return tape->length; }
size_t pyad_tape_arguments(const pyad_tape *tape) { return tape->arguments; }

size_t pyad_tape_nbytes(const pyad_tape *tape)
{
    return recording_bytes(tape->length, tape->arguments);
}

size_t pyad_tape_reserved(const pyad_tape *tape)
{
    return recording_bytes(tape->node_capacity, tape->argument_capacity) +
           tape->adjoint_capacity * sizeof(double);
}

const uint8_t *pyad_tape_pin_ops(const pyad_tape *tape)
{
    return pyad_buffer_retain(tape->ops);
}
const uint32_t *pyad_tape_pin_first(const pyad_tape *tape)
{
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
    return pyad_buffer_retain(tape->values);
}
const double *pyad_tape_pin_adjoints(const pyad_tape *tape, size_t *count)
{
    *count = tape->adjoints ? tape->adjoint_count + 1 : 0;
    return pyad_buffer_retain(tape->adjoints);
}
