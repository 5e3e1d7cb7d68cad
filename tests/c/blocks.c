/* The kernels of blocks, without what NumPy lends: every row of the table along arrays
 * against the same row at one point, sine and cosine against libm, layouts, products and
 * running sums against loops that follow their definition. Prints ok; ends with 1 at the
 * first thing that is not as it must be. */
#include "blocks/block.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks/multiply.h"
#include "blocks/sincos.h"
#include "blocks/tanh.h"

#define NEED(CONDITION)                                                                  \
    do {                                                                                 \
        if (!(CONDITION)) {                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #CONDITION);                      \
            return 1;                                                                    \
        }                                                                                \
    } while (0)

enum { MANY = 5000 };

static uint64_t state = 1;

static uint64_t random_below(uint64_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % limit;
}

static double random_number(void) { return (double)random_below(1 << 20) / 0x1p18 - 2; }

/* Equal but for a few roundings. */
static int is_near(double x, double y)
{
    return x == y || (isnan(x) && isnan(y)) ||
           fabs(x - y) <= 20 * (nextafter(fabs(y), INFINITY) - fabs(y));
}

/* ---- maps -------------------------------------------------------------------------- */

static const double edges[] = {0,      -0.0,   INFINITY, -INFINITY, NAN,   1e308, -1e308,
                               5e-324, 1e-308, 1e-160,   1,         -1,    2,     -2,
                               0.5,    -0.5,   0.9,      -0.9,      3,     1e160, 0.25,
                               -1e160, 20,     -20,      1000,      -1000, 1e7,   170};
enum { EDGES = sizeof edges / sizeof *edges };

static double part_of(pyad_partials p, int part)
{
    const double parts[] = {p.value, p.da, p.db, p.daa, p.dab, p.dbb};
    return parts[part];
}

/* One row, steps and operands as given: all its parts, result apart from v and in it. */
static int row_along(int op, size_t count, const double *a, size_t step_a,
                     const double *b, size_t step_b)
{
    static double v[MANY], out[MANY];
    static pyad_partials points[MANY];
    double constant;
    for (size_t i = 0; i < count; i++) {
        pyad_op_partials(op, a[i * step_a], b ? b[i * step_b] : 0, &points[i]);
        v[i] = points[i].value;
    }
    for (int part = PYAD_VALUE; part <= PYAD_DBB; part++)
        for (int in_place = 0; in_place < 2; in_place++) {
            memcpy(out, v, sizeof out);
            pyad_map_part(NULL, op, (enum pyad_part)part, count, a, step_a, b, step_b,
                          in_place ? out : v, out);
            for (size_t i = 0; i < count; i++)
                NEED(is_near(out[i], part_of(points[i], part)));
            if (part && pyad_map_constant_part(op, (enum pyad_part)part, &constant))
                for (size_t i = 0; i < count; i++)
                    NEED(is_near(out[i], constant));
        }
    return 0;
}

static int rows(void)
{
    static double a[MANY], b[MANY];
    for (int op = 0; op < PYAD_OP_COUNT; op++) {
        const int arguments = pyad_op_describe(op)->arguments;
        const size_t count = op == PYAD_OP_POLYGAMMA ? 200 : 3000;
        for (size_t i = 0; i < count; i++) {
            a[i] = i < EDGES * EDGES ? edges[i % EDGES] : random_number();
            b[i] = i < EDGES * EDGES ? edges[i / EDGES] : random_number();
            if (op == PYAD_OP_POLYGAMMA)
                a[i] = (double)random_below(4);
        }
        if (arguments == 1) {
            NEED(!row_along(op, count, a, 1, NULL, 0));
            NEED(!row_along(op, 3, a, 0, NULL, 0));
        }
        if (arguments != 2)
            continue;
        NEED(!row_along(op, count, a, 1, b, 1));
        for (size_t i = 0; i < EDGES; i++) {
            NEED(!row_along(op, 100, a, 1, b + i * EDGES, 0));
            NEED(!row_along(op, 100, a + i, 0, b, 1));
            NEED(!row_along(op, 2, a + i, 0, b + i * EDGES, 0));
        }
    }
    return 0;
}

static int constants(void)
{
    double value;
    NEED(pyad_map_constant_part(PYAD_OP_SUB, PYAD_DB, &value) && value == -1);
    NEED(pyad_map_constant_part(PYAD_OP_RADIANS, PYAD_DA, &value) && value < 0.0175);
    NEED(pyad_map_constant_part(PYAD_OP_EXP, PYAD_DB, &value) && value == 0);
    NEED(!pyad_map_constant_part(PYAD_OP_MUL, PYAD_DA, &value));
    NEED(!pyad_map_constant_part(PYAD_OP_MAXIMUM, PYAD_DA, &value));
    NEED(!pyad_map_constant_part(PYAD_OP_SIN, PYAD_VALUE, &value));
    return 0;
}

static int sines(void)
{
    static double a[MANY], s[MANY], c[MANY];
    for (size_t i = 0; i < MANY; i++) {
        double k = (double)random_below(i % 3 ? 100 : 600000);
        a[i] = i % 2 ? random_number() * exp(5 * random_number())
                     : (k - 50) * 1.5707963267948966;
    }
    memcpy(a, edges, sizeof edges);
    pyad_sin_values(MANY, a, s);
    pyad_cos_values(MANY, a, c);
    for (size_t i = 0; i < MANY; i++) {
        const double ulp = 0x1p-52;
        NEED(fabs(s[i] - sin(a[i])) <= ulp * fabs(sin(a[i])) || !(fabs(a[i]) < 1e308));
        NEED(fabs(c[i] - cos(a[i])) <= ulp * fabs(cos(a[i])) || !(fabs(a[i]) < 1e308));
        NEED(isfinite(a[i]) || (isnan(s[i]) && isnan(c[i])));
        NEED(a[i] != 0 || (s[i] == 0 && !signbit(s[i]) == !signbit(a[i]) && c[i] == 1));
    }
    return 0;
}

/* Against libm, which is within one unit in the last place itself. */
static int hyperbolic_tangents(void)
{
    static double a[MANY], t[MANY];
    for (size_t i = 0; i < MANY; i++)
        a[i] = random_number() * exp2((double)random_below(20) - 15);
    memcpy(a, edges, sizeof edges);
    pyad_tanh_values(MANY, a, t);
    for (size_t i = 0; i < MANY; i++) {
        const double y = tanh(a[i]), ulp = nextafter(fabs(y), INFINITY) - fabs(y);
        NEED(isnan(a[i]) ? isnan(t[i]) : fabs(t[i] - y) <= 3 * ulp && fabs(t[i]) <= 1);
        NEED(isnan(a[i]) || !signbit(t[i]) == !signbit(a[i]));
        NEED(fabs(a[i]) < 20 || isnan(a[i]) || fabs(t[i]) == 1);
        NEED(fabs(a[i]) > 1e-10 || t[i] == a[i] || isnan(a[i]));
    }
    pyad_tanh_values(1, edges + 20, t); /* on its own as among others */
    NEED(fabs(t[0] - tanh(edges[20])) <= 0x1p-51);
    return 0;
}

/* ---- layouts ----------------------------------------------------------------------- */

/* Room for any layout below: at most 4 dimensions of 40. */
enum { DIMENSIONS = 4, ROOM = 300000 };
typedef union {
    pyad_layout layout;
    int64_t numbers[2 + 2 * DIMENSIONS];
} any_layout;

/* A layout of a random order of dimensions, some repeated (stride 0), some backwards,
 * some on top of others; the last place in x that it touches is below ROOM. */
static void draw(any_layout *any)
{
    pyad_layout *l = &any->layout;
    int64_t *shape = l->sides, step = 1;
    l->ndim = random_below(DIMENSIONS + 1);
    l->offset = 0;
    int64_t *stride = shape + l->ndim;
    for (size_t i = 0; i < l->ndim; i++) {
        shape[i] = 2 + (int64_t)random_below(l->ndim < 3 ? 150 : 12);
        stride[i] = 0;
    }
    const size_t turn = l->ndim ? random_below(l->ndim) : 0, down = random_below(2);
    for (size_t k = 0; k < l->ndim; k++) {
        const size_t i = (turn + (down ? l->ndim - 1 - k : k)) % l->ndim;
        const uint64_t kind = random_below(8);
        if (kind < 2)
            continue;
        stride[i] = kind == 2 ? 1 : step;
        step = stride[i] * shape[i] * (kind == 3 ? 2 : 1);
        if (kind == 4) {
            stride[i] = -stride[i];
            l->offset -= stride[i] * (shape[i] - 1);
        }
    }
}

/* Where number c of the contiguous side stands in x. */
static size_t place(const pyad_layout *l, size_t c)
{
    int64_t at = l->offset;
    for (size_t i = l->ndim; i-- > 0;) {
        at += (int64_t)(c % (size_t)l->sides[i]) * l->sides[l->ndim + i];
        c /= (size_t)l->sides[i];
    }
    return (size_t)at;
}

static int layouts(void)
{
    static double x[ROOM], out[ROOM], expected[ROOM];
    for (int turn = 0; turn < 400; turn++) {
        any_layout any;
        draw(&any);
        const size_t count = pyad_layout_size(&any.layout);
        NEED(count <= ROOM);
        for (size_t i = 0; i < ROOM; i++) /* whole numbers: sums are exact */
            x[i] = (double)random_below(1000);
        memcpy(expected, x, sizeof x);
        pyad_layout_read(&any.layout, x, out);
        for (size_t c = 0; c < count; c++)
            NEED(out[c] == x[place(&any.layout, c)]);
        for (size_t c = 0; c < count; c++)
            expected[place(&any.layout, c)] += out[c];
        pyad_layout_add(&any.layout, out, x);
        NEED(memcmp(expected, x, sizeof x) == 0);
    }
    return 0;
}

/* ---- products ---------------------------------------------------------------------- */

static pyad_matrix draw_matrix(size_t rows_of, size_t columns_of)
{
    const int64_t r = (int64_t)rows_of, c = (int64_t)columns_of;
    const int64_t batch = random_below(3) ? 2 * r * c + 2 * r + 2 * c : 0;
    switch (random_below(5)) {
    case 0:
        return (pyad_matrix){1, batch, 1, r};
    case 1:
        return (pyad_matrix){0, batch, 2 * c + 1, 2};
    case 2:
        return (pyad_matrix){2, batch, 0, 1};
    default:
        return (pyad_matrix){3, batch ? r * c : 0, c, 1};
    }
}

static size_t at(pyad_matrix x, size_t b, size_t i, size_t j)
{
    return (size_t)(x.offset + (int64_t)b * x.batch_stride + (int64_t)i * x.row +
                    (int64_t)j * x.column);
}

static int products(void)
{
    enum { SIDE = 70, SPACE = 4 * (2 * SIDE * SIDE + 4 * SIDE) };
    static const size_t sides[] = {1, 1, 2, 3, 5, 33, SIDE};
    static double a[SPACE], b[SPACE], c[SPACE], g[SPACE], ga[SPACE], gb[SPACE];
    static double expected_a[SPACE], expected_b[SPACE];
    for (int turn = 0; turn < 300; turn++) {
        pyad_product p = {random_below(3) + 1,
                          sides[random_below(7)],
                          sides[random_below(7)],
                          sides[random_below(7)],
                          {0},
                          {0}};
        p.a = draw_matrix(p.m, p.k);
        p.b = draw_matrix(p.k, p.n);
        for (size_t i = 0; i < SPACE; i++) {
            a[i] = (double)random_below(100);
            b[i] = (double)random_below(100);
            g[i] = (double)random_below(100);
            ga[i] = gb[i] = expected_a[i] = expected_b[i] = (double)random_below(9);
        }
        pyad_product_value(NULL, &p, a, b, c);
        for (size_t s = 0; s < p.batch; s++)
            for (size_t i = 0; i < p.m; i++)
                for (size_t j = 0; j < p.n; j++) {
                    const size_t own = (s * p.m + i) * p.n + j;
                    double sum = 0;
                    for (size_t l = 0; l < p.k; l++) {
                        const size_t x = at(p.a, s, i, l), y = at(p.b, s, l, j);
                        sum += a[x] * b[y];
                        expected_a[x] += g[own] * b[y];
                        expected_b[y] += g[own] * a[x];
                    }
                    NEED(c[own] == sum);
                }
        NEED(pyad_product_reverse(NULL, &p, a, b, g, ga, NULL) == PYAD_OK);
        NEED(pyad_product_reverse(NULL, &p, a, b, g, NULL, gb) == PYAD_OK);
        NEED(memcmp(ga, expected_a, sizeof ga) == 0);
        NEED(memcmp(gb, expected_b, sizeof gb) == 0);
    }
    return 0;
}

/* One product in all strides and around the sizes of its tiles, panels and parts. Whole
 * numbers, so that sums are exact in any order; nothing beside the result is written. */
static int large_product(size_t m, size_t k, size_t n, int x_turned, int y_turned)
{
    const size_t row = n + 3, room = m * row;
    double *x = malloc(2 * m * k * sizeof *x), *y = malloc(2 * k * n * sizeof *y);
    double *out = malloc(room * sizeof *out), *expected = malloc(room * sizeof *out);
    const ptrdiff_t x_row = x_turned == 1 ? 1 : 2 * (ptrdiff_t)k;
    const ptrdiff_t x_column = x_turned == 1 ? (ptrdiff_t)m : 1 + x_turned / 2;
    const ptrdiff_t y_row = y_turned ? 1 : (ptrdiff_t)n;
    const ptrdiff_t y_column = y_turned ? (ptrdiff_t)k : 1;
    NEED(x && y && out && expected);
    for (size_t i = 0; i < 2 * m * k; i++)
        x[i] = (double)random_below(100);
    for (size_t i = 0; i < 2 * k * n; i++)
        y[i] = (double)random_below(100);
    for (int add = 0; add < 2; add++) {
        for (size_t i = 0; i < room; i++)
            out[i] = expected[i] = (double)random_below(9) + 0.5;
        for (size_t i = 0; i < m; i++) {
            double *sums = expected + i * row;
            if (!add)
                memset(sums, 0, n * sizeof *sums);
            for (size_t l = 0; l < k; l++)
                for (size_t j = 0; j < n; j++)
                    sums[j] += x[(ptrdiff_t)i * x_row + (ptrdiff_t)l * x_column] *
                               y[(ptrdiff_t)l * y_row + (ptrdiff_t)j * y_column];
        }
        if (pyad_multiply(m, k, n, x, x_row, x_column, y, y_row, y_column, out,
                          (ptrdiff_t)row, add))
            NEED(memcmp(out, expected, room * sizeof *out) == 0);
    }
    free(x), free(y), free(out), free(expected);
    return 0;
}

static int large_products(void)
{
    static const size_t sides[][3] = {
        {1, 1, 1},     {2, 3, 7},     {3, 8, 8},        {4, 9, 9},     {5, 16, 16},
        {6, 17, 17},   {7, 5, 23},    {8, 24, 24},      {9, 25, 25},   {16, 400, 48},
        {17, 401, 49}, {65, 801, 63}, {12, 31, 239},    {12, 31, 240}, {12, 31, 500},
        {1024, 2, 9},  {1025, 3, 9},  {1100, 410, 250},
    };
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (int turned = 0; turned < 6; turned++)
            if (large_product(sides[i][0], sides[i][1], sides[i][2], turned % 3,
                              turned / 3))
                return 1;
    return 0;
}

/* No term at all: zeros. No adjoint at all: nothing is passed on, not even infinity. */
static int products_of_nothing(void)
{
    const pyad_product none = {1, 1, 0, 2, {0}, {0}};
    const pyad_product one = {1, 1, 1, 2, {0, 1, 1, 1}, {0, 2, 2, 1}};
    double a[] = {INFINITY}, b[] = {NAN, INFINITY}, c[] = {7, 7}, g[] = {0, -0.0};
    double ga[] = {1}, gb[] = {1, 1};
    pyad_product_value(NULL, &none, a, b, c);
    NEED(c[0] == 0 && c[1] == 0);
    NEED(pyad_product_reverse(NULL, &one, a, b, g, ga, gb) == PYAD_OK);
    NEED(ga[0] == 1 && gb[0] == 1 && gb[1] == 1);
    return 0;
}

/* ---- running sums ------------------------------------------------------------------ */

static int running_sums(void)
{
    static const size_t sides[] = {1, 2, 3, 17, 300};
    static double x[ROOM], out[ROOM], gx[ROOM];
    for (int turn = 0; turn < 60; turn++) {
        const pyad_cumsum c = {sides[random_below(3)], sides[random_below(5)],
                               sides[random_below(5)], turn % 2};
        const size_t count = c.outer * c.n * c.inner;
        for (size_t i = 0; i < count; i++)
            gx[i] = x[i] = (double)random_below(1000);
        pyad_cumsum_value(&c, x, out);
        pyad_cumsum_reverse(&c, x, gx);
        for (size_t i = 0; i < count; i++) {
            const size_t line = i / c.inner % c.n, first = i - line * c.inner;
            double before = 0, after = 0;
            for (size_t k = 0; k < c.n; k++) {
                before += k <= line ? x[first + k * c.inner] : 0;
                after += k >= line ? x[first + k * c.inner] : 0;
            }
            NEED(out[i] == (c.from_end ? after : before));
            NEED(gx[i] == x[i] + (c.from_end ? before : after));
        }
    }
    return 0;
}

int main(void)
{
    if (rows() || constants() || sines() || hyperbolic_tangents() || layouts() ||
        products() || large_products() || products_of_nothing() || running_sums())
        return 1;
    puts("ok");
    return 0;
}
