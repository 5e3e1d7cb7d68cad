/* Stacks of matrix products and their adjoints. BLAS does the work, by NumPy's inner loop
 * if the tape was lent one; a product of our own where that is quicker (multiply.c); else
 * a plain blocked loop. NumPy hands a product on to BLAS
 * only where one step of each matrix is 1 and the other is no shorter than a line, so
 * matrices are brought into that form here. */
#include <string.h>

#include "../buffer.h"
#include "block.h"
#include "lanes.h"
#include "multiply.h"

/* A stack of matrices; read through `from`, or written through `to`. */
typedef struct {
    const double *from;
    ptrdiff_t batch, row, column;
} matrices;

typedef struct {
    double *to;
    ptrdiff_t batch, row, column;
} results;

enum {
    SMALL = 1024,    /* numbers kept on the stack */
    STACKED = 65536, /* numbers of a scratch array that holds several matrices */
    LARGE = 1 << 20, /* and of one that holds a part of one matrix */
    BLOCK_ROWS = 64,
    BLOCK_COLUMNS = 64,
    OWN_FROM = 100 * 100 * 100,     /* multiplications: below, OpenBLAS is quicker */
    OWN_TURNED_FROM = 60 * 60 * 60, /* the same if y lies column by column */
    OWN_SIDE = 16,
};

/* ---- a product without BLAS ----------------------------------------------------------
 */

/* out += x @ y, out and the k rows of y contiguous. */
INLINED void multiply_block(size_t m, size_t k, size_t n, matrices x, const double *y,
                            size_t y_row, double *restrict out, size_t out_row)
{
    for (size_t i = 0; i < m; i++, out += out_row) {
        const double *xi = x.from + (ptrdiff_t)i * x.row;
        size_t l = 0;
        for (; l + 4 <= k; l += 4) {
            const double x0 = xi[(ptrdiff_t)l * x.column];
            const double x1 = xi[(ptrdiff_t)(l + 1) * x.column];
            const double x2 = xi[(ptrdiff_t)(l + 2) * x.column];
            const double x3 = xi[(ptrdiff_t)(l + 3) * x.column];
            const double *y0 = y + l * y_row, *y1 = y0 + y_row, *y2 = y1 + y_row;
            const double *y3 = y2 + y_row;
            for (size_t j = 0; j < n; j++)
                out[j] += (x0 * y0[j] + x1 * y1[j]) + (x2 * y2[j] + x3 * y3[j]);
        }
        for (; l < k; l++)
            for (size_t j = 0; j < n; j++)
                out[j] += xi[(ptrdiff_t)l * x.column] * y[l * y_row + j];
    }
}

/* One product; y is copied block by block, so that its rows are contiguous. */
WIDEST_LANES
static void multiply_plainly(size_t m, size_t k, size_t n, matrices x, matrices y,
                             double *out)
{
    double block[BLOCK_ROWS * BLOCK_COLUMNS];
    memset(out, 0, m * n * sizeof *out);
    for (size_t j0 = 0; j0 < n; j0 += BLOCK_COLUMNS) {
        const size_t width = smaller(BLOCK_COLUMNS, n - j0);
        for (size_t l0 = 0; l0 < k; l0 += BLOCK_ROWS) {
            const size_t height = smaller(BLOCK_ROWS, k - l0);
            for (size_t l = 0; l < height; l++)
                for (size_t j = 0; j < width; j++)
                    block[l * width + j] = y.from[(ptrdiff_t)(l0 + l) * y.row +
                                                  (ptrdiff_t)(j0 + j) * y.column];
            const matrices part = {x.from + (ptrdiff_t)l0 * x.column, 0, x.row, x.column};
            multiply_block(m, height, width, part, block, width, out + j0, n);
        }
    }
}

/* ---- a product by NumPy's loop -------------------------------------------------------
 */

/* A step along a dimension of length 1 says nothing: made such that BLAS likes it. */
static void settle_steps(matrices *x, size_t rows, size_t columns)
{
    if (rows == 1)
        x->row = x->column == 1 ? (ptrdiff_t)columns : 1;
    if (columns == 1)
        x->column = x->row == 1 ? (ptrdiff_t)rows : 1;
}

static int is_for_blas(matrices x, size_t rows, size_t columns)
{
    return (x.column == 1 && x.row >= (ptrdiff_t)columns) ||
           (x.row == 1 && x.column >= (ptrdiff_t)rows);
}

static void run_loop(const pyad_loop *loop, size_t batch, size_t m, size_t k, size_t n,
                     matrices x, matrices y, double *out)
{
    const intptr_t size = sizeof(double);
    const intptr_t counts[] = {(intptr_t)batch, (intptr_t)m, (intptr_t)k, (intptr_t)n};
    const intptr_t steps[] = {
        x.batch * size,  y.batch * size,     (intptr_t)(m * n) * size,
        x.row * size,    x.column * size,    y.row * size,
        y.column * size, (intptr_t)n * size, size,
    };
    char *arrays[] = {(char *)(uintptr_t)x.from, (char *)(uintptr_t)y.from, (char *)out};
    loop->run(arrays, counts, steps, loop->data);
}

static void copy_matrix(matrices x, size_t rows, size_t columns, double *to)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            *to++ = x.from[(ptrdiff_t)i * x.row + (ptrdiff_t)j * x.column];
}

/* A matrix that BLAS can read: x itself, or its copy in `room`. */
static matrices for_blas(matrices x, size_t rows, size_t columns, double *room)
{
    if (is_for_blas(x, rows, columns))
        return x;
    copy_matrix(x, rows, columns, room);
    return (matrices){room, 0, (ptrdiff_t)columns, 1};
}

/* Whether pyad_multiply is to be tried: for large products, unless BLAS has several
 * threads to run them on. */
static int is_own(const pyad_loops *loops, size_t m, size_t k, size_t n, matrices y)
{
    const double size = (double)m * (double)k * (double)n;
    if (m < OWN_SIDE || k < OWN_SIDE || n < OWN_SIDE ||
        size < (y.column == 1 ? OWN_FROM : OWN_TURNED_FROM))
        return 0;
    return !loops || !loops->matmul.run ||
           (loops->matmul_threads && loops->matmul_threads() == 1);
}

/* out (+)= x @ y, out row by row. Returns how many matrices of the stack are done: all,
 * or with no memory fewer. */
static size_t multiply_own(size_t batch, size_t m, size_t k, size_t n, matrices x,
                           matrices y, results out, int add)
{
    for (size_t b = 0; b < batch; b++) {
        if (!pyad_multiply(m, k, n, x.from, x.row, x.column, y.from, y.row, y.column,
                           out.to, out.row, add))
            return b;
        x.from += x.batch;
        y.from += y.batch;
        out.to += out.batch;
    }
    return batch;
}

/* out (contiguous) = x @ y. It cannot fail: without memory for copies it is slow. */
static void multiply(const pyad_loops *loops, size_t batch, size_t m, size_t k, size_t n,
                     matrices x, matrices y, double *out)
{
    const pyad_loop *loop = loops && loops->matmul.run ? &loops->matmul : NULL;
    settle_steps(&x, m, k);
    settle_steps(&y, k, n);
    if (is_own(loops, m, k, n, y)) {
        const results to = {out, (ptrdiff_t)(m * n), (ptrdiff_t)n, 1};
        const size_t done = multiply_own(batch, m, k, n, x, y, to, 0);
        if (done == batch)
            return;
        batch -= done;
        x.from += (ptrdiff_t)done * x.batch;
        y.from += (ptrdiff_t)done * y.batch;
        out += done * m * n;
    }
    const size_t x_copy = is_for_blas(x, m, k) ? 0 : m * k;
    const size_t y_copy = is_for_blas(y, k, n) ? 0 : k * n;
    if (k == 1)
        loop = NULL; /* OpenBLAS takes twice as long over an outer product */
    if (loop && x_copy + y_copy == 0) {
        run_loop(loop, batch, m, k, n, x, y, out);
        return;
    }
    double *room = NULL;
    if (loop)
        room = pyad_buffer_new((x_copy + y_copy) * sizeof *room);
    for (size_t b = 0; b < batch; b++, out += m * n) {
        if (room)
            run_loop(loop, 1, m, k, n, for_blas(x, m, k, room),
                     for_blas(y, k, n, room + x_copy), out);
        else
            multiply_plainly(m, k, n, x, y, out);
        x.from += x.batch;
        y.from += y.batch;
    }
    pyad_buffer_release(room);
}

/* ---- a product added to its place ----------------------------------------------------
 */

/* out[i, j] += in[i, j], in contiguous. */
WIDEST_LANES
static void add_matrix(size_t m, size_t n, const double *restrict in, results out)
{
    for (size_t i = 0; i < m; i++, in += n, out.to += out.row) {
        double *restrict to = out.to;
        if (out.column == 1)
            for (size_t j = 0; j < n; j++)
                to[j] += in[j];
        else
            for (size_t j = 0; j < n; j++)
                to[(ptrdiff_t)j * out.column] += in[j];
    }
}

/* out[i, j] += x[i] * y[j], without the detour over a product of its own. */
WIDEST_LANES
static void add_outer(size_t m, size_t n, matrices x, matrices y, results out)
{
    for (size_t i = 0; i < m; i++, out.to += out.row) {
        const double xi = x.from[(ptrdiff_t)i * x.row];
        const double *restrict from = y.from;
        double *restrict to = out.to;
        if (out.column == 1 && y.column == 1)
            for (size_t j = 0; j < n; j++)
                to[j] += xi * from[j];
        else
            for (size_t j = 0; j < n; j++)
                to[(ptrdiff_t)j * out.column] += xi * from[(ptrdiff_t)j * y.column];
    }
}

/* The same for products of any k, by way of `room`: several matrices of the stack at once
 * if they are small, a part of the rows if they are large. */
static void add_by_parts(const pyad_loops *loops, size_t batch, size_t m, size_t k,
                         size_t n, matrices x, matrices y, results out, double *room,
                         size_t stack, size_t rows)
{
    for (size_t b = 0; b < batch; b += stack) {
        const size_t some = smaller(stack, batch - b);
        for (size_t i = 0; i < m; i += rows) {
            const size_t height = smaller(rows, m - i);
            matrices part = x, other = y;
            part.from += (ptrdiff_t)b * x.batch + (ptrdiff_t)i * x.row;
            other.from += (ptrdiff_t)b * y.batch;
            multiply(loops, some, height, k, n, part, other, room);
            for (size_t s = 0; s < some; s++) {
                results place = out;
                place.to += (ptrdiff_t)(b + s) * out.batch + (ptrdiff_t)i * out.row;
                add_matrix(height, n, room + s * height * n, place);
            }
        }
    }
}

/* out += x @ y, each element in its place; matrices of one place add up. */
static int add_product(const pyad_loops *loops, size_t batch, size_t m, size_t k,
                       size_t n, matrices x, matrices y, results out)
{
    if (m > 1 && (n == 1 || out.row < out.column)) { /* transposed, it lies along rows */
        const matrices xt = {y.from, y.batch, y.column, y.row};
        const matrices yt = {x.from, x.batch, x.column, x.row};
        const results turned = {out.to, out.batch, out.column, out.row};
        const size_t old_m = m;
        x = xt, y = yt, out = turned, m = n, n = old_m;
    }
    if (k == 1) {
        for (size_t b = 0; b < batch; b++) {
            add_outer(m, n, x, y, out);
            x.from += x.batch;
            y.from += y.batch;
            out.to += out.batch;
        }
        return PYAD_OK;
    }
    if (out.column == 1 && is_own(loops, m, k, n, y)) {
        const size_t done = multiply_own(batch, m, k, n, x, y, out, 1);
        if (done == batch)
            return PYAD_OK;
        batch -= done;
        x.from += (ptrdiff_t)done * x.batch;
        y.from += (ptrdiff_t)done * y.batch;
        out.to += (ptrdiff_t)done * out.batch;
    }
    double small[SMALL], *room = small;
    size_t stack = smaller(batch, m * n < STACKED ? STACKED / (m * n) : 1), rows = m;
    if (m * n > LARGE)
        rows = smaller(m, LARGE / n + BLOCK_ROWS);
    if (m * n * smaller(batch, 4) <= SMALL)
        stack = smaller(batch, SMALL / (m * n));
    else
        room = pyad_buffer_new(stack * rows * n * sizeof *room);
    if (!room)
        return PYAD_ERROR_NO_MEMORY;
    add_by_parts(loops, batch, m, k, n, x, y, out, room, stack, rows);
    if (room != small)
        pyad_buffer_release(room);
    return PYAD_OK;
}

/* ---- the block ------------------------------------------------------------------------
 */

/* A stack times one matrix is one product, if its rows follow each other. */
static pyad_product flattened(const pyad_product *p)
{
    pyad_product flat = *p;
    if (p->batch > 1 && p->b.batch_stride == 0 &&
        p->a.batch_stride == (int64_t)p->m * p->a.row) {
        flat.m = p->batch * p->m;
        flat.batch = 1;
    }
    return flat;
}

static matrices matrices_at(const double *from, pyad_matrix place)
{
    return (matrices){from + place.offset, place.batch_stride, place.row, place.column};
}

static results results_at(double *to, pyad_matrix place)
{
    return (results){to + place.offset, place.batch_stride, place.row, place.column};
}

static matrices transposed(matrices x)
{
    return (matrices){x.from, x.batch, x.column, x.row};
}

void pyad_product_value(const pyad_loops *loops, const pyad_product *product,
                        const double *a, const double *b, double *c)
{
    const pyad_product p = flattened(product);
    const size_t count = p.batch * p.m * p.n;
    if (p.k == 0 && count > 0)
        memset(c, 0, count * sizeof *c);
    else if (count > 0)
        multiply(loops, p.batch, p.m, p.k, p.n, matrices_at(a, p.a), matrices_at(b, p.b),
                 c);
}

/* Whether these matrices are all of the numbers of their source, one after the other;
 * *across: column by column. */
static int is_dense(size_t batch, size_t rows, size_t columns, size_t count,
                    pyad_matrix place, int *across)
{
    const int64_t m = (int64_t)rows, n = (int64_t)columns;
    *across = place.row == 1 && place.column == m && n > 1;
    return place.offset == 0 && count == batch * rows * columns &&
           (batch == 1 || place.batch_stride == m * n) &&
           (*across || ((place.row == n || m == 1) && (place.column == 1 || n == 1)));
}

int pyad_product_store(const pyad_loops *loops, const pyad_product *product, int operand,
                       size_t count, const double *other, const double *g, double *to)
{
    const pyad_product p = flattened(product);
    const size_t m = operand ? p.k : p.m, k = operand ? p.m : p.n,
                 n = operand ? p.n : p.k;
    const matrices own = {g, (ptrdiff_t)(p.m * p.n), (ptrdiff_t)p.n, 1};
    const matrices turned = transposed(matrices_at(other, operand ? p.a : p.b));
    const matrices x = operand ? turned : own, y = operand ? own : turned;
    int across;
    if (!m || !k || !n || !is_dense(p.batch, m, n, count, operand ? p.b : p.a, &across))
        return 0;
    if (across)
        multiply(loops, p.batch, n, k, m, transposed(y), transposed(x), to);
    else
        multiply(loops, p.batch, m, k, n, x, y, to);
    return 1;
}

/* Where g is 0 as a whole nothing is passed on, whatever a and b are; where only some of
 * its numbers are 0, an infinity in a or b makes NaN, as it does in the product. */
int pyad_product_reverse(const pyad_loops *loops, const pyad_product *product,
                         const double *a, const double *b, const double *g, double *ga,
                         double *gb)
{
    const pyad_product p = flattened(product);
    const size_t m = p.m, k = p.k, n = p.n, count = p.batch * m * n;
    size_t zeros = 0;
    while (zeros < count && g[zeros] == 0)
        zeros++;
    if (zeros == count || k == 0)
        return PYAD_OK;
    const matrices x = matrices_at(a, p.a), y = matrices_at(b, p.b);
    const matrices own = {g, (ptrdiff_t)(m * n), (ptrdiff_t)n, 1};
    int status = PYAD_OK;
    if (ga)
        status =
            add_product(loops, p.batch, m, n, k, own, transposed(y), results_at(ga, p.a));
    if (gb && !status)
        status =
            add_product(loops, p.batch, k, m, n, transposed(x), own, results_at(gb, p.b));
    return status;
}
