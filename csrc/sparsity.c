/* The sparsity patterns of Jacobians and Hessians: reads a recording as a stretch,
 * chooses between bit vectors (few inputs or outputs, or dense patterns) and index sets
 * (many, and local patterns), and orders what they find. The tape is only read. */
#include "sparsity.h"

#include "buffer.h"
#include "index_sets.h"
#include "tape.h"

/* Up to so many inputs or outputs one sweep with a word for each node does it. */
enum { FEW = 64 };

/* ---- the stretch ------------------------------------------------------------------ */

/* Numbers on the tape as numbers in the stretch, a new buffer; what lies before it is
 * NO_NODE. */
static int local_nodes(const pyad_tape *tape, size_t from, size_t count,
                       const uint32_t *nodes, uint32_t **result)
{
    uint32_t *local = count > SIZE_MAX / 4 / sizeof *local
                          ? NULL
                          : pyad_buffer_new(count * sizeof *local);
    if (!local)
        return PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] >= tape->length && nodes[i] != PYAD_CONSTANT) {
            pyad_buffer_release(local);
            return PYAD_ERROR_NODE_RANGE;
        }
        local[i] = nodes[i] == PYAD_CONSTANT || nodes[i] < from
                       ? (uint32_t)NO_NODE
                       : nodes[i] - (uint32_t)from;
    }
    *result = local;
    return PYAD_OK;
}

/* An input has to be in the stretch. */
static int stretch_new(pyad_stretch *s, const pyad_tape *tape, size_t from, size_t inputs,
                       const uint32_t *nodes)
{
    if (from > tape->length)
        return PYAD_ERROR_NODE_RANGE;
    for (size_t j = 0; j < inputs; j++)
        if (nodes[j] < from || nodes[j] >= tape->length)
            return PYAD_ERROR_NODE_RANGE;
    *s = (pyad_stretch){
        .from = (uint32_t)from,
        .count = (uint32_t)(tape->length - from),
        .ops = tape->length ? tape->ops + from : NULL,
        .first = tape->length ? tape->first + from : NULL,
        .indices = tape->indices,
        .inputs = inputs,
    };
    for (int op = 0; op < PYAD_OP_COUNT; op++)
        s->structure[op] = (uint8_t)pyad_op_structure(op);
    return local_nodes(tape, from, inputs, nodes, &s->nodes);
}

/* ---- from runs to patterns -------------------------------------------------------- */

/* Twice transposed, the entries of every row are in order; a symmetric pattern is its own
 * transpose. Replaces the pattern, or leaves it to be freed. */
static int transpose(pyad_pattern *pattern, int times)
{
    while (times-- > 0) {
        pyad_pattern other;
        int status = pyad_pattern_transpose(pattern, &other);
        if (status)
            return status;
        pyad_pattern_free(pattern);
        *pattern = other;
    }
    return PYAD_OK;
}

/* Takes over the runs, of a pattern that is to be transposed so many times. */
static int finish(int status, pyad_runs *runs, size_t rows, size_t columns, int times,
                  pyad_pattern *result)
{
    pyad_pattern pattern = {0};
    if (!status)
        status = pyad_runs_pattern(runs, rows, columns, &pattern);
    pyad_runs_free(runs);
    if (!status)
        status = transpose(&pattern, times);
    if (status)
        pyad_pattern_free(&pattern);
    else
        *result = pattern;
    return status;
}

int pyad_jacobian_pattern(const pyad_tape *tape, size_t from, size_t inputs,
                          const uint32_t *input_nodes, size_t outputs,
                          const uint32_t *output_nodes, pyad_pattern *result)
{
    pyad_stretch s;
    pyad_runs runs = {0};
    uint32_t *nodes = NULL;
    int transposed = 0, by_sets = inputs > FEW && outputs > FEW;
    int status = stretch_new(&s, tape, from, inputs, input_nodes);
    if (status)
        return status;
    status = local_nodes(tape, from, outputs, output_nodes, &nodes);
    if (!status && by_sets) {
        status = pyad_jacobian_by_sets(&s, outputs, nodes, &runs);
        by_sets = status != PYAD_SETS_FULL;
    }
    if (!by_sets && (!status || status == PYAD_SETS_FULL))
        status = pyad_jacobian_by_bits(&s, outputs, nodes, &transposed, &runs);
    pyad_buffer_release(nodes);
    pyad_buffer_release(s.nodes);
    return finish(status, &runs, transposed ? inputs : outputs,
                  transposed ? outputs : inputs, by_sets ? 2 : transposed, result);
}

int pyad_hessian_pattern(const pyad_tape *tape, size_t from, size_t inputs,
                         const uint32_t *input_nodes, uint32_t output,
                         pyad_pattern *result)
{
    pyad_stretch s;
    pyad_runs runs = {0};
    int by_sets = inputs > FEW;
    if (output >= tape->length && output != PYAD_CONSTANT)
        return PYAD_ERROR_NODE_RANGE;
    int status = stretch_new(&s, tape, from, inputs, input_nodes);
    if (status)
        return status;
    const int constant = output == PYAD_CONSTANT || output < from;
    output -= s.from;
    if (!constant && by_sets) {
        status = pyad_hessian_by_sets(&s, output, &runs);
        by_sets = status != PYAD_SETS_FULL;
    }
    if (!constant && !by_sets)
        status = pyad_hessian_by_bits(&s, output, &runs);
    pyad_buffer_release(s.nodes);
    return finish(status, &runs, inputs, inputs, by_sets, result);
}

/* ---- fingerprint ------------------------------------------------------------------ */

static uint64_t hashed(uint64_t hash, uint64_t next)
{
    return (hash ^ hash >> 29 ^ next) * 0xbf58476d1ce4e5b9u;
}

/* A node as seen from the start of the stretch: all that lies before it is alike. */
static uint64_t place_of(uint32_t node, size_t from)
{
    return node == PYAD_CONSTANT || node < from ? UINT64_MAX : node - from;
}

uint64_t pyad_tape_fingerprint(const pyad_tape *tape, size_t from, size_t count,
                               const uint32_t *nodes)
{
    uint64_t hash = hashed(count, tape->length - from);
    for (size_t i = 0; i < count; i++)
        hash = hashed(hash, place_of(nodes[i], from));
    for (size_t i = from; i < tape->length; i++) {
        uint64_t arguments = tape->first[i + 1] - tape->first[i];
        hash = hashed(hash, tape->ops[i] + 256 * arguments);
        for (size_t k = tape->first[i]; k < tape->first[i + 1]; k++)
            hash = hashed(hash, place_of(tape->indices[k], from));
    }
    return hash ^ hash >> 32;
}
