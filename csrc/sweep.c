/* The sweeps: products with the recorded matrix and its transpose. They read indices and
 * weights only, never the operation. In `adjoint` and `tangent` below node i has row i +
 * 1, so that the index of a constant, 2**32 - 1, wraps round to row 0 and the loop needs
 * no test for it. */
#include <math.h>
#include <string.h>

#include "buffer.h"
#include "tape.h"

static inline size_t row_of(uint32_t index) { return (uint32_t)(index + 1u); }

/* ---- one seed --------------------------------------------------------------------- */

/* A zero adjoint is skipped: quicker, and a branch not taken (0) times an infinite weight
 * stays 0. */
static void reverse_one(const pyad_tape *tape, size_t node, double *adjoint)
{
    const uint32_t *first = tape->first, *indices = tape->indices;
    const double *weights = tape->weights;
    for (size_t i = node + 1; i-- > 0;) {
        double own = adjoint[i + 1];
        if (own == 0)
            continue;
        for (size_t k = first[i]; k < first[i + 1]; k++)
            adjoint[row_of(indices[k])] += own * weights[k];
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
    tape->adjoints[row_of(node)] = seed;
    reverse_one(tape, node, tape->adjoints);
    return PYAD_OK;
}

double pyad_tape_adjoint(const pyad_tape *tape, uint32_t node)
{
    return node < tape->adjoint_count ? tape->adjoints[row_of(node)] : 0;
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

/* Seeds of one node lie side by side, so the inner loop is over them and runs in vector
 * lanes; the widest set of instructions of the machine is chosen at load time. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) &&                    \
    !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define WIDEST_LANES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST_LANES
#endif

/* to += weight * from, where 0 * inf is 0. */
WIDEST_LANES
static void add_scaled(size_t seeds, double weight, const double *restrict from,
                       double *restrict to)
{
    for (size_t s = 0; s < seeds; s++)
        to[s] += from[s] == 0 ? 0 : weight * from[s];
}

static int all_zero(size_t seeds, const double *row)
{
    for (size_t s = 0; s < seeds; s++)
        if (row[s] != 0)
            return 0;
    return 1;
}

void pyad_tape_reverse(const pyad_tape *tape, size_t seeds, double *rows)
{
    memset(rows, 0, seeds * sizeof(double));
    for (size_t i = tape->length; i-- > 0;) {
        const double *own = rows + (i + 1) * seeds;
        if (all_zero(seeds, own))
            continue;
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k], own,
                       rows + row_of(tape->indices[k]) * seeds);
    }
    memset(rows, 0, seeds * sizeof(double));
}

void pyad_tape_forward(const pyad_tape *tape, size_t seeds, double *rows)
{
    memset(rows, 0, seeds * sizeof(double));
    for (size_t i = 0; i < tape->length; i++)
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            add_scaled(seeds, tape->weights[k], rows + row_of(tape->indices[k]) * seeds,
                       rows + (i + 1) * seeds);
}
