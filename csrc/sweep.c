/* The sweeps: products with the recorded matrix and its transpose. They read indices and
 * weights only, never the operation. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "rows.h"

/* ---- one seed --------------------------------------------------------------------- */

/* A zero adjoint is skipped: quicker, and a branch not taken (0) times an infinite weight
 * stays 0. */
INLINED void reverse_one(const pyad_tape *tape, size_t from, size_t end, double *adjoint)
{
    const uint32_t *first = tape->first, *indices = tape->indices;
    const uint32_t start = (uint32_t)from, count = count_of(from, end);
    const double *weights = tape->weights;
    for (size_t i = end; i-- > from;) {
        double own = adjoint[i - from + 1];
        if (own == 0)
            continue;
        for (size_t k = first[i]; k < first[i + 1]; k++)
            adjoint[row_of(indices[k], start, count)] += own * weights[k];
    }
}

/* Zeroed room for the adjoints of all nodes. Whoever pinned the last ones keeps them. */
static int reserve_adjoints(pyad_tape *tape)
{
    size_t count = tape->length + 1;
    if (count > tape->adjoint_capacity || pyad_buffer_is_shared(tape->adjoints)) {
        size_t capacity = tape->node_capacity + 1; /* max_bytes has room for them */
        double *fresh = pyad_buffer_new(capacity * sizeof(double));
        if (!fresh)
            return PYAD_ERROR_NO_MEMORY;
        pyad_buffer_release(tape->adjoints);
        tape->adjoints = fresh;
        tape->adjoint_capacity = capacity;
    }
    memset(tape->adjoints, 0, count * sizeof(double));
    tape->adjoint_count = tape->length;
    return PYAD_OK;
}

int pyad_tape_backward(pyad_tape *tape, uint32_t node, double seed)
{
    if (node >= tape->length)
        return PYAD_ERROR_NODE_RANGE;
    int status = reserve_adjoints(tape);
    if (status)
        return status;
    tape->adjoints[(size_t)node + 1] = seed;
    reverse_one(tape, 0, (size_t)node + 1, tape->adjoints);
    return PYAD_OK;
}

double pyad_tape_adjoint(const pyad_tape *tape, uint32_t node)
{
    return node < tape->adjoint_count ? tape->adjoints[(size_t)node + 1] : 0;
}

uint32_t pyad_tape_bad_adjoint(const pyad_tape *tape, uint32_t node)
{
    for (size_t i = (size_t)node + 1; i-- > 0;) {
        double own = tape->adjoints[i + 1];
        if (!isfinite(own))
            return (uint32_t)i;
        for (size_t k = tape->first[i]; own != 0 && k < tape->first[i + 1]; k++)
            if (tape->indices[k] != PYAD_CONSTANT && !isfinite(own * tape->weights[k]))
                return (uint32_t)i;
    }
    return PYAD_CONSTANT;
}

/* ---- several seeds ---------------------------------------------------------------- */

INLINED void reverse_rows(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    const uint32_t start = (uint32_t)from, count = count_of(from, tape->length);
    for (size_t i = tape->length; i-- > from;) {
        const double *own = rows + (i - from + 1) * seeds;
        if (is_zero(seeds, own))
            continue;
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k], own,
                       rows + row_of(tape->indices[k], start, count) * seeds);
    }
}

INLINED void forward_rows(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    const uint32_t start = (uint32_t)from, count = count_of(from, tape->length);
    for (size_t i = from; i < tape->length; i++)
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k],
                       rows + row_of(tape->indices[k], start, count) * seeds,
                       rows + (i - from + 1) * seeds);
}

/* Loops of a known width take a third of the time of one that has to count. */
WIDEST_LANES
static void reverse_many(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    if (seeds == 4)
        reverse_rows(tape, from, 4, rows);
    else if (seeds == 8)
        reverse_rows(tape, from, 8, rows);
    else
        reverse_rows(tape, from, seeds, rows);
}

WIDEST_LANES
static void forward_many(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    if (seeds == 4)
        forward_rows(tape, from, 4, rows);
    else if (seeds == 8)
        forward_rows(tape, from, 8, rows);
    else
        forward_rows(tape, from, seeds, rows);
}

void pyad_tape_reverse(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    memset(rows, 0, seeds * sizeof(double));
    if (seeds == 1 && from == 0)
        reverse_one(tape, 0, tape->length, rows);
    else if (seeds == 1)
        reverse_one(tape, from, tape->length, rows);
    else
        reverse_many(tape, from, seeds, rows);
    memset(rows, 0, seeds * sizeof(double));
}

void pyad_tape_forward(const pyad_tape *tape, size_t from, size_t seeds, double *rows)
{
    memset(rows, 0, seeds * sizeof(double));
    if (seeds == 1 && from == 0)
        forward_rows(tape, 0, 1, rows);
    else if (seeds == 1)
        forward_rows(tape, from, 1, rows);
    else
        forward_many(tape, from, seeds, rows);
}

/* In strides, each without a branch: quick in vector lanes, and an early answer if it is
 * yes. */
int pyad_tape_touches(const pyad_tape *tape, size_t from)
{
    enum { STRIDE = 4096 };
    if (from == 0 || from >= tape->length)
        return 0;
    for (size_t k = tape->first[from]; k < tape->arguments; k += STRIDE) {
        size_t rest = tape->arguments - k, count = rest < STRIDE ? rest : STRIDE;
        int below = 0;
        for (size_t j = 0; j < count; j++)
            below |= tape->indices[k + j] < from;
        if (below)
            return 1;
    }
    return 0;
}
