/* The second-order sweep, forward over reverse, in several directions at once: a forward
 * sweep of tangents t, then a reverse sweep that carries beside each adjoint v its
 * derivative s along each direction. Node i with arguments a, b, ... passes down
 *
 *     v_a += v_i * w_a        s_a += s_i * w_a + v_i * (d2i/da2 * t_a + d2i/dadb * t_b)
 *
 * The second partials are those of the rows of ops.def at the recorded values, computed
 * once for all directions; most nodes need none. What is 0 is skipped, as in sweep.c: a
 * branch that was not taken stays out, however infinite its partials. Blocks between the
 * scalar nodes are swept by blocks/second.c.
 * Griewank and Walther, Evaluating Derivatives (2nd ed., 2008), section 5.1. */
#include <math.h>
#include <string.h>

#include "blocks/life.h"
#include "blocks/second.h"
#include "buffer.h"
#include "number.h"
#include "record.h"
#include "rows.h"

/* ---- what a row of the table asks for ---------------------------------------------- */

enum rule {
    OTHER,  /* any number of arguments: by a function of its own */
    CURVED, /* by the second partials of its row */
    PAIRS,  /* x1*y1 + x2*y2 + ...: mul and dot */
    LINEAR, /* no second partials */
};

/* PICK(ALWAYS_##DAA) is the constant c where the row says K(c), else -1: pasted to K, the
 * partial becomes two arguments, and anything else stays one. So this is a table, which
 * costs a load; a switch costs more than the node. */
#define ALWAYS_K(NUMBER) ~, NUMBER
#define PICK(...) PICK_SECOND(__VA_ARGS__, -1, ~)
#define PICK_SECOND(FIRST, SECOND, ...) SECOND

static const uint8_t rules[PYAD_OP_COUNT] = {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    [PYAD_OP_##ENUM] = PICK(ALWAYS_##DAA) == 0 ? LINEAR : CURVED,
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    [PYAD_OP_##ENUM] = PICK(ALWAYS_##DAA) != 0 || PICK(ALWAYS_##DBB) != 0 ? CURVED       \
                       : PICK(ALWAYS_##DAB) == 0                          ? LINEAR       \
                       : PICK(ALWAYS_##DAB) == 1                          ? PAIRS        \
                                                                          : CURVED,
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    [PYAD_OP_LEAF] = LINEAR,
    [PYAD_OP_SUM] = LINEAR,
    [PYAD_OP_LINCOMB] = LINEAR,
    [PYAD_OP_DOT] = PAIRS,
};

typedef struct {
    double aa, ab, bb;
} curvature;

/* Second partials of an operation of one or two arguments. Those in a constant are left
 * out: they may be costly, and are often NaN. */
NOT_INLINED curvature curvature_of(int op, double A, double B, double V, int a_varies,
                                   int b_varies)
{
    double aa = 0, ab = 0, bb = 0;
    switch (op) {
#define UNARY(ENUM, NAME, NUMPY, VALUE, DA, DAA, ...)                                    \
    case PYAD_OP_##ENUM:                                                                 \
        aa = DAA;                                                                        \
        break;
#define BINARY(ENUM, NAME, NUMPY, VALUE, DA, DB, DAA, DAB, DBB, ...)                     \
    case PYAD_OP_##ENUM:                                                                 \
        if (a_varies)                                                                    \
            aa = DAA;                                                                    \
        if (a_varies && b_varies)                                                        \
            ab = DAB;                                                                    \
        if (b_varies)                                                                    \
            bb = DBB;                                                                    \
        break;
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
    default:
        break;
    }
    return (curvature){aa, ab, bb};
}

/* ---- the stretch that is swept ----------------------------------------------------- */

typedef struct {
    const pyad_tape *tape;
    uint32_t from, count;
    size_t directions;
    const double *tangents;
    double *adjoints, *second;
} stretch;

static inline size_t row_at(const stretch *s, size_t k)
{
    return row_of(s->tape->indices[k], s->from, s->count);
}

/* Argument k: its value, for a constant its weight. */
static inline double value_at(const stretch *s, size_t k)
{
    uint32_t index = s->tape->indices[k];
    return index == PYAD_CONSTANT ? s->tape->weights[k] : s->tape->values[index];
}

/* weight * x, where anything * 0 is 0. */
static inline double scaled(double weight, double x) { return x == 0 ? 0 : weight * x; }

/* The same with two zeros. */
static inline double product(double x, double y) { return x == 0 || y == 0 ? 0 : x * y; }

/* ---- operations of any number of arguments ----------------------------------------- */

/* The partial in x_j is the product of all before and of all after, so its derivative is
 * that of two products: two passes, and right where factors are 0. */
static int curve_prod(const stretch *s, size_t start, size_t end, double adjoint)
{
    size_t n = end - start, width = s->directions;
    double *before = pyad_buffer_new(2 * n * sizeof(double));
    if (!before)
        return PYAD_ERROR_NO_MEMORY;
    double *moved = before + n;
    for (size_t d = 0; d < width; d++) {
        double left = 1, left_moved = 0, right = adjoint, right_moved = 0;
        for (size_t j = 0; j < n; j++) {
            double x = value_at(s, start + j);
            before[j] = left;
            moved[j] = left_moved;
            left_moved = product(left_moved, x) +
                         product(left, s->tangents[row_at(s, start + j) * width + d]);
            left *= x;
        }
        for (size_t j = n; j-- > 0;) {
            size_t at = row_at(s, start + j) * width + d;
            double x = value_at(s, start + j);
            s->second[at] += product(before[j], right_moved) + product(moved[j], right);
            right_moved = product(right_moved, x) + product(right, s->tangents[at]);
            right *= x;
        }
    }
    pyad_buffer_release(before);
    return PYAD_OK;
}

/* The partial of logsumexp or norm in argument k, constant or not. */
static double partial_at(const stretch *s, size_t node, size_t k)
{
    double value = s->tape->values[node], x = s->tape->weights[k];
    if (s->tape->indices[k] != PYAD_CONSTANT)
        return x;
    return s->tape->ops[node] == PYAD_OP_NORM ? x / value : exp(x - value);
}

/* The difference of curve_mean for argument j without its term j. */
static double without_cancelling(const stretch *s, size_t node, size_t j, size_t d)
{
    const pyad_tape *tape = s->tape;
    const int is_norm = tape->ops[node] == PYAD_OP_NORM;
    const double w = tape->weights[j], t = s->tangents[row_at(s, j) * s->directions + d];
    double sum = 0;
    for (size_t k = tape->first[node]; k < tape->first[node + 1]; k++) {
        double u = partial_at(s, node, k);
        double other = s->tangents[row_at(s, k) * s->directions + d];
        if (k != j)
            sum += product(u, is_norm ? u * t - w * other : t - other);
    }
    return sum;
}

/* logsumexp and norm: with partials w and the mean tangent m = w1*t1 + w2*t2 + ...,
 *
 *     logsumexp   w_j * (t_j - m)         norm   (t_j - w_j * m) / value
 *
 * The difference cancels where one w_j outweighs all the others together; there it is
 * formed as w1*(t_j - t1) + ... or w1*(w1*t_j - w_j*t1) + ..., in which term j vanishes.
 * At the origin the partials of norm are 0 whatever the direction, as those of hypot. */
static void curve_mean(const stretch *s, size_t node, double adjoint)
{
    const pyad_tape *tape = s->tape;
    const size_t start = tape->first[node], end = tape->first[node + 1];
    const int is_norm = tape->ops[node] == PYAD_OP_NORM;
    const double value = tape->values[node];
    for (size_t d = 0; d < s->directions && !(is_norm && value == 0); d++) {
        double mean = 0;
        for (size_t k = start; k < end; k++)
            mean +=
                scaled(tape->weights[k], s->tangents[row_at(s, k) * s->directions + d]);
        for (size_t k = start; k < end; k++) {
            size_t at = row_at(s, k) * s->directions + d;
            double w = tape->weights[k], difference;
            if (at < s->directions)
                continue;
            if ((is_norm ? w * w : w) > 0.5)
                difference = without_cancelling(s, node, k, d);
            else
                difference = s->tangents[at] - (is_norm ? scaled(w, mean) : mean);
            s->second[at] +=
                product(adjoint, is_norm ? difference / value : product(w, difference));
        }
    }
}

/* Of partials alone no second derivative follows: an error, unless nothing moves. */
static int curve_given(const stretch *s, size_t start, size_t end)
{
    for (size_t k = start; k < end; k++)
        if (!is_zero(s->directions, s->tangents + row_at(s, k) * s->directions))
            return PYAD_ERROR_GIVEN_SECOND;
    return PYAD_OK;
}

NOT_INLINED int curve_other(const stretch *s, size_t node, double adjoint)
{
    size_t start = s->tape->first[node], end = s->tape->first[node + 1];
    if (s->tape->ops[node] == PYAD_OP_PROD)
        return curve_prod(s, start, end, adjoint);
    if (s->tape->ops[node] == PYAD_OP_GIVEN)
        return curve_given(s, start, end);
    curve_mean(s, node, adjoint);
    return PYAD_OK;
}

/* ---- the reverse half -------------------------------------------------------------- */

/* to += x * from + y * other. */
INLINED void add_two(size_t width, double x, const double *restrict from, double y,
                     const double *restrict other, double *restrict to)
{
    for (size_t d = 0; d < width; d++)
        to[d] += x * from[d] + y * other[d];
}

/* As pass_pair, where something is 0 or not finite. */
NOT_INLINED void pass_pair_nonzero(const stretch *s, size_t width, double own,
                                   const double *moved, size_t x, double wx, size_t y,
                                   double wy)
{
    s->adjoints[x] += scaled(wx, own);
    s->adjoints[y] += scaled(wy, own);
    add_scaled_nonzero(width, wx, moved, s->second + x * width);
    add_scaled_nonzero(width, wy, moved, s->second + y * width);
    if (own == 0)
        return;
    add_scaled_nonzero(width, own, s->tangents + y * width, s->second + x * width);
    add_scaled_nonzero(width, own, s->tangents + x * width, s->second + y * width);
}

/* Adjoint and its derivative from a node down to one pair of its arguments, whose product
 * is a term of it. x and y are rows. Numbers are finite where their sum is: one test
 * instead of three. */
INLINED void pass_pair(const stretch *s, size_t width, double own, const double *moved,
                       size_t x, double wx, size_t y, double wy)
{
    const double *tx = s->tangents + x * width, *ty = s->tangents + y * width;
    double *sx = s->second + x * width, *sy = s->second + y * width;
    if (own == 0 || !isfinite(own + wx + wy)) {
        pass_pair_nonzero(s, width, own, moved, x, wx, y, wy);
        return;
    }
    s->adjoints[x] += own * wx;
    s->adjoints[y] += own * wy;
    add_two(width, wx, moved, own, ty, sx);
    add_two(width, wy, moved, own, tx, sy);
}

/* To the one or two arguments of a node what its second partials add. */
INLINED void pass_curved(const stretch *s, size_t width, size_t node, double own)
{
    const size_t k = s->tape->first[node];
    const int two = s->tape->first[node + 1] - k == 2;
    const size_t x = row_at(s, k), y = two ? row_at(s, k + 1) : 0;
    const curvature c =
        curvature_of(s->tape->ops[node], value_at(s, k), two ? value_at(s, k + 1) : 0,
                     s->tape->values[node], x != 0, y != 0);
    const double *tx = s->tangents + x * width, *ty = s->tangents + y * width;
    double *sx = s->second + x * width, *sy = s->second + y * width;
    if (c.aa != 0)
        add_scaled(width, own * c.aa, tx, sx);
    if (c.ab != 0) {
        add_scaled(width, own * c.ab, ty, sx);
        add_scaled(width, own * c.ab, tx, sy);
    }
    if (c.bb != 0)
        add_scaled(width, own * c.bb, ty, sy);
}

/* Nodes low ... end - 1, none of them in a block. */
INLINED int reverse_second(const stretch *s, size_t width, uint32_t from, uint32_t count,
                           size_t low, size_t end)
{
    const pyad_tape *tape = s->tape;
    const uint8_t *ops = tape->ops;
    const uint32_t *first = tape->first, *indices = tape->indices;
    const double *weights = tape->weights;
    double *adjoints = s->adjoints, *second = s->second;
    for (size_t i = end; i-- > low;) {
        const double own = adjoints[i - from + 1];
        const double *moved = second + (i - from + 1) * width;
        if (own == 0 && is_zero(width, moved))
            continue;
        const enum rule rule = rules[ops[i]];
        size_t k = first[i], last = first[i + 1];
        if (rule == PAIRS) {
            for (; k < last; k += 2) {
                const size_t x = row_of(indices[k], from, count);
                const size_t y = row_of(indices[k + 1], from, count);
                pass_pair(s, width, own, moved, x, weights[k], y, weights[k + 1]);
            }
            continue;
        }
        for (; k < last; k++) {
            const size_t a = row_of(indices[k], from, count);
            adjoints[a] += scaled(weights[k], own);
            add_scaled(width, weights[k], moved, second + a * width);
        }
        if (own == 0 || rule == LINEAR)
            continue;
        if (rule == CURVED) {
            pass_curved(s, width, i, own);
        } else {
            int status = curve_other(s, i, own);
            if (status)
                return status;
        }
    }
    return PYAD_OK;
}

/* As in sweep.c: loops of known width for 4 and 8 directions. */
WIDEST_LANES
static int reverse_second_many(const stretch *s, size_t low, size_t end)
{
    if (s->directions == 1 && s->from == 0)
        return reverse_second(s, 1, 0, count_of(0, 0), low, end);
    if (s->directions == 1)
        return reverse_second(s, 1, s->from, s->count, low, end);
    if (s->directions == 4)
        return reverse_second(s, 4, s->from, s->count, low, end);
    if (s->directions == 8)
        return reverse_second(s, 8, s->from, s->count, low, end);
    return reverse_second(s, s->directions, s->from, s->count, low, end);
}

/* Scalar nodes and blocks in turn, from the last. */
static int reverse_all(const stretch *s)
{
    const pyad_tape *tape = s->tape;
    const pyad_second blocks = {tape,        s->from,     s->directions,
                                s->tangents, s->adjoints, s->second};
    const uint32_t first = pyad_tape_blocks_below(tape, s->from);
    size_t end = tape->length;
    int status = PYAD_OK;
    for (size_t b = tape->block_count; b-- > first && !status;) {
        const pyad_block *block = &tape->blocks[b];
        status = reverse_second_many(s, (size_t)block->start + block->count, end);
        if (!status)
            status = pyad_second_block(&blocks, (uint32_t)b);
        end = block->start;
    }
    return status ? status : reverse_second_many(s, s->from, end);
}

int pyad_tape_second(const pyad_tape *tape, size_t from, size_t directions,
                     double *tangents, double *adjoints, double *second)
{
    const stretch s = {
        .tape = tape,
        .from = (uint32_t)from,
        .count = count_of(from, tape->length),
        .directions = directions,
        .tangents = tangents,
        .adjoints = adjoints,
        .second = second,
    };
    int status = pyad_second_check(tape, from);
    if (!status)
        status = pyad_tape_forward(tape, from, directions, tangents);
    if (status)
        return status;
    status = reverse_all(&s);
    adjoints[0] = 0;
    memset(second, 0, directions * sizeof(double));
    return status;
}
