/* A dense matrix product for machines with AVX-512, where it takes four fifths of the
 * time of one thread of OpenBLAS (0.3.31, 400 x 400: 76 GFlop/s, not 62), whatever the
 * strides of the operands, and can add to what stands there.
 *
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication"
 * (2008): a part of y is copied into panels of 24 columns that stay in the second cache;
 * eight rows of x at a time run over all of them, with the 8 x 24 sums in registers. */
#include "multiply.h"

#include "../buffer.h"
#include "lanes.h"

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))

enum {
    LANE = 8,       /* numbers of a register */
    TILE_ROWS = 8,  /* of a tile of sums */
    TILE_LANES = 3, /* registers of a row of it */
    PANEL = TILE_LANES * LANE,
    DEPTH = 400,              /* rows of y that are copied at once, */
    BREADTH = 10 * PANEL,     /* and columns: 750 KiB */
    HEIGHT = 128 * TILE_ROWS, /* rows of x that are copied at once, if they have to be */
    GROUP = 8 * TILE_ROWS,
    AHEAD = 6,         /* see copy_groups */
    Y_AHEAD = 16,      /* steps in a tile, whose numbers come from the second cache; */
    X_AHEAD = 16,      /* the same of x, if it was copied, */
    COLUMN_AHEAD = 16, /* and if its columns are read where they stand */
    CLASH = 512,       /* columns a multiple of that apart share one place of a cache */
    FEW = 3 * PANEL,   /* columns of y, up to which columns of x are not copied, */
    NEAR = 512,        /* if they are no further apart */
    ALIGNMENT = 64,
};

/* A matrix as it is read. */
typedef struct {
    const double *from;
    ptrdiff_t row, column;
} strided;

/* ---- a tile --------------------------------------------------------------------------
 */

/* What a tile is stored to; `last` masks the last register of a row. */
typedef struct {
    double *to;
    ptrdiff_t row;
    __mmask8 last;
    int add;
} target;

/* The rows, the lanes and `ahead` (how far columns of x are fetched; 0: not at all) are
 * constants where this is inlined, so that the sums are registers. `copy`: where the
 * columns of x go on the way, if eight numbers stand next to each other; or NULL. */
AVX512 INLINED void tile(int rows, int lanes, int ahead, size_t depth, strided x,
                         double *copy, const double *y, target out)
{
    __m512d sums[TILE_ROWS][TILE_LANES];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int j = 0; j < lanes; j++) {
            sums[i][j] = _mm512_setzero_pd();
            _mm_prefetch((const char *)(out.to + i * out.row + j * LANE), _MM_HINT_T0);
        }
#pragma GCC unroll 4
    for (size_t l = 0; l < depth; l++, x.from += x.column, y += lanes * LANE) {
        __m512d row[TILE_LANES];
        if (ahead) /* in a strip, the last number: the one above took the first's line */
            _mm_prefetch(
                (const char *)(x.from + (copy ? LANE - 1 : 0) + ahead * x.column),
                _MM_HINT_T0);
        if (copy)
            _mm512_storeu_pd(copy + l * TILE_ROWS, _mm512_loadu_pd(x.from));
#pragma GCC unroll 3
        for (int j = 0; j < lanes; j++) {
            row[j] = _mm512_loadu_pd(y + j * LANE);
            _mm_prefetch((const char *)(y + (Y_AHEAD * lanes + j) * LANE), _MM_HINT_T0);
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const __m512d factor = _mm512_set1_pd(x.from[i * x.row]);
#pragma GCC unroll 3
            for (int j = 0; j < lanes; j++)
                sums[i][j] = _mm512_fmadd_pd(factor, row[j], sums[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (int j = 0; j < lanes; j++) {
            const __mmask8 mask = j + 1 == lanes ? out.last : 0xff;
            double *to = out.to + i * out.row + j * LANE;
            __m512d sum = sums[i][j];
            if (out.add)
                sum = _mm512_add_pd(_mm512_maskz_loadu_pd(mask, to), sum);
            _mm512_mask_storeu_pd(to, mask, sum);
        }
}

AVX512 static void run_full_tile(size_t lanes, size_t depth, strided x, double *copy,
                                 const double *y, target out)
{
#define TILE(LANES)                                                                      \
    case LANES:                                                                          \
        if (copy)                                                                        \
            tile(TILE_ROWS, LANES, COLUMN_AHEAD, depth, x, copy, y, out);                \
        else if (x.column == 1)                                                          \
            tile(TILE_ROWS, LANES, 0, depth, x, NULL, y, out);                           \
        else                                                                             \
            tile(TILE_ROWS, LANES, X_AHEAD, depth, x, NULL, y, out);                     \
        return;
    switch (lanes) {
        TILE(1)
        TILE(2)
        TILE(3)
    }
#undef TILE
}

AVX512 static void run_last_tile(size_t rows, size_t lanes, size_t depth, strided x,
                                 const double *y, target out)
{
#define TILE(ROWS, LANES)                                                                \
    case (ROWS) * (TILE_LANES + 1) + (LANES):                                            \
        tile(ROWS, LANES, X_AHEAD, depth, x, NULL, y, out);                              \
        return;
#define TILES(ROWS) TILE(ROWS, 1) TILE(ROWS, 2) TILE(ROWS, 3)
    switch (rows * (TILE_LANES + 1) + lanes) {
        TILES(1)
        TILES(2)
        TILES(3)
        TILES(4)
        TILES(5)
        TILES(6)
        TILES(7)
    }
#undef TILES
#undef TILE
}

/* ---- copies --------------------------------------------------------------------------
 */

static inline size_t lanes_of(size_t columns) { return (columns + LANE - 1) / LANE; }

static inline __mmask8 mask_of(size_t numbers) /* 1 ... 8 */
{
    return (__mmask8)(0xffu >> (LANE - numbers));
}

/* Panels of y, row by row; whole registers, the rest 0. */
AVX512 static void copy_panels(size_t depth, size_t columns, strided y, double *to)
{
    for (size_t j = 0; j < columns; j += PANEL, y.from += PANEL * y.column) {
        const size_t width = smaller(PANEL, columns - j), lanes = lanes_of(width);
        const __mmask8 last = mask_of(width - (lanes - 1) * LANE);
        const size_t full = lanes * LANE;
        if (y.column == 1) {
            for (size_t l = 0; l < depth; l++, to += full) {
                const double *row = y.from + (ptrdiff_t)l * y.row;
                for (size_t p = 0; p < lanes; p++)
                    _mm512_storeu_pd(to + p * LANE,
                                     _mm512_maskz_loadu_pd(p + 1 == lanes ? last : 0xff,
                                                           row + p * LANE));
            }
            continue;
        }
        for (size_t l = 0; l < depth; l += LANE, y.from += LANE * y.row) {
            const size_t some = smaller(LANE, depth - l);
            for (size_t c = 0; c < full; c++)
                for (size_t r = 0; r < some; r++)
                    to[r * full + c] =
                        c < width ? y.from[(ptrdiff_t)r * y.row + (ptrdiff_t)c * y.column]
                                  : 0;
            to += some * full;
        }
        y.from -= (ptrdiff_t)((depth + LANE - 1) / LANE * LANE) * y.row;
    }
}

/* Some groups of eight rows of x, column by column: so many that a line of memory is
 * read at once, and so few that they can be written to side by side. Each column stands
 * on a page of its own, where no machine fetches ahead by itself. */
AVX512 static void copy_groups(size_t rows, size_t depth, strided x, double *to)
{
    for (size_t l = 0; l < depth; l++, x.from += x.column, to += TILE_ROWS)
        for (size_t i = 0; i < rows; i += TILE_ROWS) {
            const size_t some = smaller(TILE_ROWS, rows - i);
            const double *from = x.from + (ptrdiff_t)i * x.row;
            double *column = to + i * depth;
            if (x.row == 1) {
                if (l + AHEAD < depth)
                    _mm_prefetch((const char *)(from + AHEAD * x.column), _MM_HINT_T0);
                _mm512_storeu_pd(column, _mm512_maskz_loadu_pd(mask_of(some), from));
                continue;
            }
            for (size_t r = 0; r < some; r++)
                column[r] = from[(ptrdiff_t)r * x.row];
        }
}

static void copy_rows(size_t rows, size_t depth, strided x, double *to)
{
    for (size_t i = 0; i < rows; i += GROUP)
        copy_groups(smaller(GROUP, rows - i), depth,
                    (strided){x.from + (ptrdiff_t)i * x.row, x.row, x.column},
                    to + i * depth);
}

/* ---- all of it -----------------------------------------------------------------------
 */

/* out (+)= x @ the panels. With `copy` the columns of x are taken there along with the
 * first panel, for the others. */
AVX512 static void run_rows(size_t rows, size_t depth, size_t columns, strided x,
                            double *copy, const double *panels, target out)
{
    for (size_t j = 0; j < columns; j += PANEL) {
        const size_t width = smaller(PANEL, columns - j), lanes = lanes_of(width);
        out.last = mask_of(width - (lanes - 1) * LANE);
        if (rows == TILE_ROWS)
            run_full_tile(lanes, depth, x, copy, panels, out);
        else
            run_last_tile(rows, lanes, depth, x, panels, out);
        if (copy) {
            x = (strided){copy, 1, TILE_ROWS};
            copy = NULL;
        }
        panels += lanes * LANE * depth;
        out.to += PANEL;
    }
}

/* Parts of one length, as few as it takes. */
static size_t part_of(size_t length, size_t most)
{
    const size_t parts = (length + most - 1) / most;
    return (length + parts - 1) / parts;
}

/* How the rows of x are read. */
enum rows {
    IN_PLACE,
    STRIP_BY_STRIP, /* eight rows at a time, copied along with the first panel */
    COPIED,         /* before any product: whole lines of memory, or any strides */
};

static enum rows rows_of(size_t columns, ptrdiff_t row, ptrdiff_t column)
{
    if (column == 1 || (row == 1 && columns <= FEW && column <= NEAR))
        return IN_PLACE;
    return row == 1 && column % CLASH ? STRIP_BY_STRIP : COPIED;
}

/* out (+)= x @ the panels. `room`: for the strip, or holds the copy. */
static void run_strips(enum rows kind, size_t rows, size_t depth, size_t columns,
                       strided x, double *room, const double *panels, target out)
{
    for (size_t r = 0; r < rows; r += TILE_ROWS) {
        const size_t some = smaller(TILE_ROWS, rows - r);
        const strided copied = {room, 1, TILE_ROWS};
        if (kind == COPIED) {
            run_rows(some, depth, columns, copied, NULL, panels, out);
            room += TILE_ROWS * depth;
        } else if (kind == STRIP_BY_STRIP && some < TILE_ROWS) {
            copy_groups(some, depth, x, room);
            run_rows(some, depth, columns, copied, NULL, panels, out);
        } else {
            run_rows(some, depth, columns, x, kind == IN_PLACE ? NULL : room, panels,
                     out);
        }
        x.from += TILE_ROWS * x.row;
        out.to += TILE_ROWS * out.row;
    }
}

int pyad_multiply(size_t m, size_t k, size_t n, const double *x, ptrdiff_t x_row,
                  ptrdiff_t x_column, const double *y, ptrdiff_t y_row,
                  ptrdiff_t y_column, double *out, ptrdiff_t out_row, int add)
{
    if (!__builtin_cpu_supports("avx512f"))
        return 0;
    const enum rows kind = rows_of(n, x_row, x_column);
    const size_t depth = part_of(k, DEPTH), breadth = smaller(BREADTH, n);
    const size_t height = kind == COPIED ? smaller(HEIGHT, m) : m;
    const size_t panels = depth * lanes_of(breadth) * LANE;
    const size_t rows = kind == COPIED     ? (height + TILE_ROWS) * depth
                        : kind == IN_PLACE ? 0
                                           : TILE_ROWS * depth;
    void *room = pyad_buffer_new((panels + rows) * sizeof(double) + ALIGNMENT);
    if (!room)
        return 0;
    double *of_y = (double *)(((uintptr_t)room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    double *of_x = of_y + panels;
    for (size_t l = 0; l < k; l += depth)
        for (size_t i = 0; i < m; i += height) {
            const size_t high = smaller(height, m - i), deep = smaller(depth, k - l);
            const strided part = {x + (ptrdiff_t)i * x_row + (ptrdiff_t)l * x_column,
                                  x_row, x_column};
            if (kind == COPIED)
                copy_rows(high, deep, part, of_x);
            for (size_t j = 0; j < n; j += breadth) {
                const size_t broad = smaller(breadth, n - j);
                const double *corner = y + (ptrdiff_t)l * y_row + (ptrdiff_t)j * y_column;
                copy_panels(deep, broad, (strided){corner, y_row, y_column}, of_y);
                run_strips(
                    kind, high, deep, broad, part, of_x, of_y,
                    (target){out + (ptrdiff_t)i * out_row + j, out_row, 0, add || l > 0});
            }
        }
    pyad_buffer_release(room);
    return 1;
}

#else

int pyad_multiply(size_t m, size_t k, size_t n, const double *x, ptrdiff_t x_row,
                  ptrdiff_t x_column, const double *y, ptrdiff_t y_row,
                  ptrdiff_t y_column, double *out, ptrdiff_t out_row, int add)
{
    (void)m, (void)k, (void)n, (void)x, (void)x_row, (void)x_column, (void)y;
    (void)y_row, (void)y_column, (void)out, (void)out_row, (void)add;
    return 0;
}

#endif
