/* The sweeps of one block, by its kind. The kernels add what one block passes on; here
 * stands what belongs to the sweep: where rows are, whether they hold numbers yet, and
 * several seeds.
 *
 * Rows of several seeds are blocks too: of layouts and running sums with one dimension
 * more, the last. Products and rules are swept seed by seed, through columns. */
#include "sweep.h"

#include <string.h>

#include "../buffer.h"
#include "../rows.h"
#include "life.h"

void pyad_sweep_touch(const pyad_sweep *s, uint32_t block)
{
    const pyad_block *b = &s->tape->blocks[block];
    if (pyad_sweep_is_touched(s, block))
        return;
    s->touched[block - s->first_block] = 1;
    memset(pyad_sweep_row(s, b->start), 0, b->count * sizeof(double));
}

/* The rows of an operand, which hold numbers; NULL if it takes no part. */
static double *rows_of(const pyad_sweep *s, const pyad_source *source)
{
    if (!pyad_sweep_has(s, source))
        return NULL;
    if (source->block != PYAD_NO_BLOCK)
        pyad_sweep_touch(s, source->block);
    return pyad_sweep_row(s, source->node);
}

/* ---- layouts ---------------------------------------------------------------------- */

static pyad_layout *layout_new(size_t ndim)
{
    pyad_layout *layout = pyad_buffer_new(sizeof *layout + 2 * ndim * sizeof(int64_t));
    if (layout)
        layout->ndim = ndim;
    return layout;
}

/* The layout of rows of several seeds, to be released; of one seed a copy. */
static pyad_layout *with_seeds(const pyad_layout *of, size_t seeds)
{
    size_t n = of->ndim + 1;
    pyad_layout *layout = layout_new(n);
    if (!layout)
        return NULL;
    layout->offset = of->offset * (int64_t)seeds;
    for (size_t d = 0; d + 1 < n; d++) {
        layout->sides[d] = of->sides[d];
        layout->sides[n + d] = of->sides[n - 1 + d] * (int64_t)seeds;
    }
    layout->sides[n - 1] = (int64_t)seeds;
    layout->sides[2 * n - 1] = 1;
    return layout;
}

/* The offset of outer index `i`, which counts through the first `ndim` dimensions. */
static int64_t offset_of(const pyad_layout *layout, size_t ndim, size_t i)
{
    int64_t offset = layout->offset;
    for (size_t d = ndim; d-- > 0;) {
        size_t length = (size_t)layout->sides[d];
        offset += (int64_t)(i % length) * layout->sides[layout->ndim + d];
        i /= length;
    }
    return offset;
}

NOT_INLINED void add_piece(const pyad_layout *part, const double *x, double *out)
{
    double piece[PYAD_TILE];
    const size_t count = pyad_layout_size(part);
    pyad_layout_read(part, x, piece);
    for (size_t i = 0; i < count; i++)
        out[i] += piece[i];
}

/* out[] += x[layout], through pieces that stay in cache: as many whole dimensions from
 * the last as fit, and a part of the next. */
static int add_read(const pyad_layout *layout, const double *x, double *out)
{
    size_t n = layout->ndim, split = n, inner = 1, outer = 1;
    const int64_t *shape = layout->sides;
    while (split > 0 && inner * (size_t)shape[split - 1] <= PYAD_TILE)
        inner *= (size_t)shape[--split];
    if (split == 0) {
        add_piece(layout, x, out);
        return PYAD_OK;
    }
    pyad_layout *part = layout_new(n - --split);
    if (!part)
        return PYAD_ERROR_NO_MEMORY;
    memcpy(part->sides, shape + split, part->ndim * sizeof *shape);
    memcpy(part->sides + part->ndim, shape + n + split, part->ndim * sizeof *shape);
    for (size_t d = 0; d < split; d++)
        outer *= (size_t)shape[d];
    const size_t length = (size_t)shape[split], most = PYAD_TILE / inner;
    for (size_t i = 0; i < outer; i++)
        for (size_t at = 0; at < length; at += most) {
            size_t count = length - at < most ? length - at : most;
            part->sides[0] = (int64_t)count;
            part->offset =
                offset_of(layout, split, i) + (int64_t)at * layout->sides[n + split];
            add_piece(part, x, out);
            out += count * inner;
        }
    pyad_buffer_release(part);
    return PYAD_OK;
}

/* One number spread over a whole source, or gathered from it. */
static int is_one_number(const pyad_layout *layout)
{
    return layout->ndim == 1 && layout->sides[1] == 0;
}

/* to[layout] += of[], rows of both sides. */
static int spread_back(size_t seeds, const pyad_layout *layout, const double *of,
                       double *to)
{
    pyad_layout *wide = seeds == 1 ? NULL : with_seeds(layout, seeds);
    if (seeds != 1 && !wide)
        return PYAD_ERROR_NO_MEMORY;
    pyad_layout_add(wide ? wide : layout, of, to);
    pyad_buffer_release(wide);
    return PYAD_OK;
}

/* to[] += of[layout], rows of both sides. */
static int collect_back(size_t seeds, const pyad_layout *layout, const double *of,
                        double *to)
{
    if (seeds == 1 && is_one_number(layout)) {
        pyad_share_number(PYAD_ADD, (size_t)layout->sides[0], of[layout->offset], to);
        return PYAD_OK;
    }
    pyad_layout *wide = seeds == 1 ? NULL : with_seeds(layout, seeds);
    if (seeds != 1 && !wide)
        return PYAD_ERROR_NO_MEMORY;
    int status = add_read(wide ? wide : layout, of, to);
    pyad_buffer_release(wide);
    return status;
}

static int reverse_spread(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(s->tape, b);
    double *rows = rows_of(s, x);
    return rows ? spread_back(s->seeds, pyad_store_at(s->tape, b->data),
                              pyad_sweep_row(s, b->start), rows)
                : PYAD_OK;
}

/* What nobody has touched is stored, not added: sums make the first use of most arrays
 * that a reverse sweep meets. */
static int reverse_collect(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_source *x = pyad_block_sources(s->tape, b);
    const pyad_layout *layout = pyad_store_at(s->tape, b->data);
    const double *own = pyad_sweep_row(s, b->start);
    if (pyad_sweep_has(s, x) && x->block != PYAD_NO_BLOCK &&
        !pyad_sweep_is_touched(s, x->block) && pyad_source_is_whole(s->tape, x) &&
        pyad_layout_size(layout) == x->count) {
        s->touched[x->block - s->first_block] = 1;
        if (is_one_number(layout))
            pyad_share_number(PYAD_SET, x->count, own[layout->offset],
                              pyad_sweep_row(s, x->node));
        else
            pyad_layout_read(layout, own, pyad_sweep_row(s, x->node));
        return PYAD_OK;
    }
    double *rows = rows_of(s, x);
    return rows ? collect_back(s->seeds, layout, own, rows) : PYAD_OK;
}

/* ---- rows of a LINEAR block ------------------------------------------------------- */

/* Row of entry k in the sweep, weight, and the entries of node i. */
typedef struct {
    const uint32_t *first, *rows;
    const double *weights;
    uint32_t from, count;
} entries;

static entries entries_of(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_linear *l = pyad_store_at(s->tape, b->data);
    return (entries){
        l->first == SIZE_MAX ? NULL : pyad_store_at(s->tape, l->first),
        pyad_store_at(s->tape, l->rows),
        l->weights == SIZE_MAX ? NULL : pyad_store_at(s->tape, l->weights),
        (uint32_t)s->from,
        count_of(s->from, b->start),
    };
}

static void sweep_linear(const pyad_sweep *s, const pyad_block *b, int reverse)
{
    const entries e = entries_of(s, b);
    const size_t seeds = s->seeds;
    double *own = pyad_sweep_row(s, b->start);
    for (size_t i = 0; i < b->count; i++, own += seeds) {
        size_t k = e.first ? e.first[i] : i, end = e.first ? e.first[i + 1] : i + 1;
        if (reverse && is_zero(seeds, own))
            continue;
        for (; k < end; k++) {
            double *row = s->rows + row_of(e.rows[k] - 1, e.from, e.count) * seeds;
            double weight = e.weights ? e.weights[k] : 1;
            if (reverse)
                add_scaled(seeds, weight, own, row);
            else
                add_scaled(seeds, weight, row, own);
        }
    }
}

/* ---- running sums ------------------------------------------------------------------ */

static pyad_cumsum cumsum_of(const pyad_sweep *s, const pyad_block *b)
{
    pyad_cumsum c = *(const pyad_cumsum *)pyad_store_at(s->tape, b->data);
    c.inner *= s->seeds;
    return c;
}

static int reverse_cumsum(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_cumsum c = cumsum_of(s, b);
    double *rows = rows_of(s, pyad_block_sources(s->tape, b));
    if (rows)
        pyad_cumsum_reverse(&c, pyad_sweep_row(s, b->start), rows);
    return PYAD_OK;
}

static void add_to(size_t count, const double *of, double *to)
{
    pyad_share(PYAD_ADD, count, of, (pyad_weights){(const double[]){1}, 0}, to);
}

static int forward_cumsum(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_cumsum c = cumsum_of(s, b);
    const double *rows = rows_of(s, pyad_block_sources(s->tape, b));
    const size_t count = b->count * s->seeds;
    double *sums = rows ? pyad_buffer_new(count * sizeof(double)) : NULL;
    if (!rows || !sums)
        return rows ? PYAD_ERROR_NO_MEMORY : PYAD_OK;
    pyad_cumsum_value(&c, rows, sums);
    add_to(count, sums, pyad_sweep_row(s, b->start));
    pyad_buffer_release(sums);
    return PYAD_OK;
}

/* ---- products and rules, for one seed ---------------------------------------------- */

/* The adjoint of an operand that nobody has touched is computed where it belongs, without
 * a detour over memory that is cleared and added to. */
static int reverse_product(const pyad_sweep *s, const pyad_block *b)
{
    const pyad_tape *tape = s->tape;
    const pyad_source *x = pyad_block_sources(tape, b);
    const pyad_product *product = pyad_store_at(tape, b->data);
    const double *own = pyad_sweep_row(s, b->start);
    const double *values[] = {pyad_source_values(tape, x),
                              pyad_source_values(tape, x + 1)};
    double *shares[] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        if (!pyad_sweep_has(s, &x[i]))
            continue;
        if (x[i].block != PYAD_NO_BLOCK && !pyad_sweep_is_touched(s, x[i].block) &&
            pyad_source_is_whole(tape, &x[i]) &&
            pyad_product_store(tape->loops, product, i, x[i].count, values[1 - i], own,
                               pyad_sweep_row(s, x[i].node)))
            s->touched[x[i].block - s->first_block] = 1;
        else
            shares[i] = rows_of(s, &x[i]);
    }
    if (!shares[0] && !shares[1])
        return PYAD_OK;
    return pyad_product_reverse(tape->loops, product, values[0], values[1], own,
                                shares[0], shares[1]);
}

/* shares[i] += what the block passes to source i; NULL takes no part. */
static int reverse_kernel(const pyad_tape *tape, uint32_t block, const double *own,
                          double *const *shares)
{
    const pyad_block *b = &tape->blocks[block];
    const pyad_source *x = pyad_block_sources(tape, b);
    if (b->kind == PYAD_BLOCK_CALL)
        return b->rule->reverse(b->rule, tape, block, own, shares);
    return pyad_product_reverse(
        tape->loops, pyad_store_at(tape, b->data), pyad_source_values(tape, x),
        pyad_source_values(tape, x + 1), own, shares[0], shares[1]);
}

/* own[] += the tangents of the block; `work` has room for as many. */
static int forward_kernel(const pyad_tape *tape, uint32_t block,
                          const double *const *tangents, double *work, double *own)
{
    const pyad_block *b = &tape->blocks[block];
    const pyad_source *x = pyad_block_sources(tape, b);
    if (b->kind == PYAD_BLOCK_CALL) {
        int status = b->rule->forward(b->rule, tape, block, tangents, work);
        if (!status)
            add_to(b->count, work, own);
        return status;
    }
    for (int i = 0; i < 2; i++) {
        if (!tangents[i])
            continue;
        pyad_product_value(tape->loops, pyad_store_at(tape, b->data),
                           i == 0 ? tangents[0] : pyad_source_values(tape, x),
                           i == 1 ? tangents[1] : pyad_source_values(tape, x + 1), work);
        add_to(b->count, work, own);
    }
    return PYAD_OK;
}

/* Scratch of a block that is swept seed by seed: a column of the block and of each
 * operand, in one buffer. */
typedef struct {
    double **shares; /* of the sources; NULL: takes no part */
    double *own, *work;
} columns;

static int columns_new(columns *c, const pyad_sweep *s, const pyad_block *b, int apart)
{
    const pyad_source *x = pyad_block_sources(s->tape, b);
    size_t numbers = apart ? b->count : 0, n = b->source_count;
    for (size_t i = 0; i < n; i++)
        numbers += apart && pyad_sweep_has(s, &x[i]) ? x[i].count : 0;
    c->shares = pyad_buffer_new((n + 1) * sizeof *c->shares +
                                (numbers + b->count) * sizeof(double));
    if (!c->shares)
        return PYAD_ERROR_NO_MEMORY;
    double *next = (double *)(void *)(c->shares + n + 1);
    c->work = next;
    c->own = apart ? next + b->count : pyad_sweep_row(s, b->start);
    next += 2 * b->count;
    for (size_t i = 0; i < n; i++) {
        int takes_part = pyad_sweep_has(s, &x[i]);
        c->shares[i] = !takes_part ? NULL : apart ? next : rows_of(s, &x[i]);
        next += takes_part ? x[i].count : 0;
    }
    return PYAD_OK;
}

static void read_column(const pyad_sweep *s, uint32_t node, size_t count, size_t seed,
                        double *column)
{
    const double *rows = pyad_sweep_row(s, node) + seed;
    for (size_t i = 0; i < count; i++)
        column[i] = rows[i * s->seeds];
}

static void add_column(const pyad_sweep *s, uint32_t node, size_t count, size_t seed,
                       const double *column)
{
    double *rows = pyad_sweep_row(s, node) + seed;
    for (size_t i = 0; i < count; i++)
        rows[i * s->seeds] += column[i];
}

static int reverse_column(const pyad_sweep *s, uint32_t block, size_t seed,
                          const columns *c)
{
    const pyad_block *b = &s->tape->blocks[block];
    const pyad_source *x = pyad_block_sources(s->tape, b);
    read_column(s, b->start, b->count, seed, c->own);
    if (is_zero(b->count, c->own))
        return PYAD_OK;
    for (size_t i = 0; i < b->source_count; i++)
        if (c->shares[i])
            memset(c->shares[i], 0, x[i].count * sizeof(double));
    int status = reverse_kernel(s->tape, block, c->own, c->shares);
    for (size_t i = 0; i < b->source_count && !status; i++)
        if (c->shares[i])
            add_column(s, x[i].node, x[i].count, seed, c->shares[i]);
    return status;
}

static int forward_column(const pyad_sweep *s, uint32_t block, size_t seed,
                          const columns *c)
{
    const pyad_block *b = &s->tape->blocks[block];
    const pyad_source *x = pyad_block_sources(s->tape, b);
    int any = 0;
    for (size_t i = 0; i < b->source_count; i++)
        if (c->shares[i]) {
            read_column(s, x[i].node, x[i].count, seed, c->shares[i]);
            any |= !is_zero(x[i].count, c->shares[i]);
        }
    if (!any)
        return PYAD_OK;
    memset(c->own, 0, b->count * sizeof(double));
    int status =
        forward_kernel(s->tape, block, (const double *const *)c->shares, c->work, c->own);
    if (!status)
        add_column(s, b->start, b->count, seed, c->own);
    return status;
}

static int sweep_kernel(const pyad_sweep *s, uint32_t block, int reverse)
{
    const pyad_block *b = &s->tape->blocks[block];
    columns c;
    int status = columns_new(&c, s, b, s->seeds != 1);
    if (status)
        return status;
    if (s->seeds == 1)
        status = reverse ? reverse_kernel(s->tape, block, c.own, c.shares)
                         : forward_kernel(s->tape, block, (const double *const *)c.shares,
                                          c.work, c.own);
    for (size_t seed = 0; s->seeds != 1 && seed < s->seeds && !status; seed++)
        status = reverse ? reverse_column(s, block, seed, &c)
                         : forward_column(s, block, seed, &c);
    pyad_buffer_release(c.shares);
    return status;
}

/* ---- by kind ----------------------------------------------------------------------- */

int pyad_blocks_reverse(const pyad_sweep *s, uint32_t *block)
{
    const pyad_block *b = &s->tape->blocks[*block];
    if (b->kind == PYAD_BLOCK_LEAF || !pyad_sweep_is_touched(s, *block))
        return PYAD_OK;
    if (s->seeds == 1 && pyad_is_run_of_maps(s, *block))
        return pyad_maps_reverse(s, block);
    if (b->kind == PYAD_BLOCK_MAP)
        return pyad_map_reverse_rows(s, *block);
    if (is_zero(b->count * s->seeds, pyad_sweep_row(s, b->start)))
        return PYAD_OK;
    switch (b->kind) {
    case PYAD_BLOCK_SPREAD:
        return reverse_spread(s, b);
    case PYAD_BLOCK_COLLECT:
        return reverse_collect(s, b);
    case PYAD_BLOCK_LINEAR:
        sweep_linear(s, b, 1);
        return PYAD_OK;
    case PYAD_BLOCK_CUMSUM:
        return reverse_cumsum(s, b);
    default:
        if (b->kind == PYAD_BLOCK_PRODUCT && s->seeds == 1)
            return reverse_product(s, b);
        return sweep_kernel(s, *block, 1);
    }
}

int pyad_blocks_forward(const pyad_sweep *s, uint32_t block)
{
    const pyad_block *b = &s->tape->blocks[block];
    const pyad_source *x = pyad_block_sources(s->tape, b);
    double *own = pyad_sweep_row(s, b->start);
    switch (b->kind) {
    case PYAD_BLOCK_LEAF:
        return PYAD_OK;
    case PYAD_BLOCK_MAP:
        return pyad_map_forward(s, block);
    case PYAD_BLOCK_SPREAD: /* as the reverse of COLLECT */
        return !pyad_sweep_has(s, x)
                   ? PYAD_OK
                   : collect_back(s->seeds, pyad_store_at(s->tape, b->data),
                                  pyad_sweep_row(s, x->node), own);
    case PYAD_BLOCK_COLLECT:
        return !pyad_sweep_has(s, x)
                   ? PYAD_OK
                   : spread_back(s->seeds, pyad_store_at(s->tape, b->data),
                                 pyad_sweep_row(s, x->node), own);
    case PYAD_BLOCK_LINEAR:
        sweep_linear(s, b, 0);
        return PYAD_OK;
    case PYAD_BLOCK_CUMSUM:
        return forward_cumsum(s, b);
    default:
        return sweep_kernel(s, block, 0);
    }
}
