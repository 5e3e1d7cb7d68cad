/* Sparsity patterns by sets of inputs, one for each node, propagated forward. Where
 * patterns are local (a stencil, a chain, a model of few parameters) all is linear in the
 * recording: equal sets are kept once (index_sets.h), and few nodes need a set at all.
 *
 * Those are the ones *wanted*: the outputs of a Jacobian; for a Hessian the operands of
 * curved operations. Of the other nodes one whose uses all lead to one owner is passed
 * over: its arguments count as arguments of the owner. So s += f(x[i]) in a loop makes
 * one union at the end and not n sets of growing length. Only a node with several owners
 * has a set of its own.
 *
 * The Hessian by index domains and nonlinear interactions: Walther, "Computing sparse
 * Hessians with automatic differentiation", ACM TOMS 34 (2008), with each pair of sets
 * that meet in an operation taken once. Where sets grow large the store reports
 * PYAD_SETS_FULL, and bit vectors take over. */
#include <string.h>

#include "buffer.h"
#include "index_sets.h"
#include "sparsity.h"

enum { NONE = UINT32_MAX };

/* A set that the owner of a node will have, in a list. */
typedef struct {
    uint32_t set, next;
} cell;

typedef struct {
    const pyad_stretch *stretch;
    pyad_sets sets;
    uint32_t *owner;      /* of each node: itself if it has a set, NONE if not needed */
    uint32_t *held;       /* of an owner: its list of cells, after its turn its set */
    uint32_t *input_at;   /* of each node: the first input that it is, or NONE */
    uint32_t *next_input; /* of each input: the next one at the same node, or NONE */
    cell *cells;
    size_t cell_count, cell_capacity;
    uint32_t free_cell; /* head of the list of cells not in use */
    uint8_t *live;      /* Hessian: nodes on which the output depends */
    pyad_list pairs;    /* Hessian: two sets each, that meet in a curved operation */
    uint32_t *buckets;  /* open addressing: places in `pairs` plus 1, or 0 */
    size_t bucket_count;
} finder;

/* ---- life ------------------------------------------------------------------------- */

static void finder_free(finder *f)
{
    pyad_sets_free(&f->sets);
    pyad_buffer_release(f->owner);
    pyad_buffer_release(f->held);
    pyad_buffer_release(f->input_at);
    pyad_buffer_release(f->next_input);
    pyad_buffer_release(f->cells);
    pyad_buffer_release(f->live);
    pyad_buffer_release(f->pairs.items);
    pyad_buffer_release(f->buckets);
}

static uint32_t *new_filled(size_t count)
{
    uint32_t *items = pyad_buffer_new(count * sizeof *items);
    if (items)
        memset(items, 0xff, count * sizeof *items);
    return items;
}

/* The limits: so much work that by bits it would be less, and memory for a dozen numbers
 * a node. `sweeps`: what it takes by bits. */
static int finder_new(finder *f, const pyad_stretch *s, size_t lines, size_t sweeps)
{
    size_t small = 16 * (s->inputs + lines) + 65536;
    *f = (finder){.stretch = s, .free_cell = NONE};
    int status =
        pyad_sets_open(&f->sets, s->inputs, (size_t)s->count * sweeps * 4 + small,
                       (size_t)s->count * 12 + small);
    f->owner = new_filled(s->count);
    f->held = new_filled(s->count);
    f->input_at = new_filled(s->count);
    f->next_input = new_filled(s->inputs);
    if (status || !f->owner || !f->held || !f->input_at || !f->next_input) {
        finder_free(f);
        return PYAD_ERROR_NO_MEMORY;
    }
    for (size_t j = s->inputs; j-- > 0;) {
        f->next_input[j] = f->input_at[s->nodes[j]];
        f->input_at[s->nodes[j]] = (uint32_t)j;
    }
    return PYAD_OK;
}

/* ---- who has a set ---------------------------------------------------------------- */

/* Node v, all of whose uses have been seen, makes its owner that of its arguments. */
static void own_arguments(finder *f, size_t v)
{
    const pyad_stretch *s = f->stretch;
    if (f->owner[v] == NONE)
        return;
    if (f->input_at[v] != NONE)
        f->owner[v] = (uint32_t)v;
    for (size_t k = s->first[v]; k < s->first[v + 1]; k++) {
        uint32_t a = pyad_active_argument(s, v, k);
        if (a != NO_NODE && f->owner[a] != f->owner[v])
            f->owner[a] = f->owner[a] == NONE ? f->owner[v] : a;
    }
}

/* ---- the sets --------------------------------------------------------------------- */

static int push_cell(finder *f, uint32_t owner, uint32_t set)
{
    uint32_t place = f->free_cell;
    if (set == 0 || (f->held[owner] != NONE && f->cells[f->held[owner]].set == set))
        return PYAD_OK;
    if (place != NONE) {
        f->free_cell = f->cells[place].next;
    } else {
        if (f->cell_count == f->cell_capacity) {
            size_t capacity = 2 * f->cell_capacity + 64;
            cell *grown = pyad_buffer_resize(f->cells, f->cell_count * sizeof *grown,
                                             capacity * sizeof *grown);
            if (!grown)
                return PYAD_ERROR_NO_MEMORY;
            f->cells = grown;
            f->cell_capacity = capacity;
        }
        place = (uint32_t)f->cell_count++;
    }
    f->cells[place] = (cell){set, f->held[owner]};
    f->held[owner] = place;
    return PYAD_OK;
}

/* The set of an owner: the union of its list and of the inputs that it is itself. */
static int close_set(finder *f, size_t v)
{
    int status = PYAD_OK;
    pyad_sets_open_union(&f->sets);
    for (uint32_t c = f->held[v], next; c != NONE && !status; c = next) {
        status = pyad_sets_add(&f->sets, f->cells[c].set);
        next = f->cells[c].next;
        f->cells[c].next = f->free_cell;
        f->free_cell = c;
    }
    for (uint32_t j = f->input_at[v]; j != NONE && !status; j = f->next_input[j])
        status = pyad_sets_add_number(&f->sets, j);
    return status ? status : pyad_sets_close_union(&f->sets, &f->held[v]);
}

/* Node v, all of whose arguments have had their turn. An argument that has no set gave
 * what it had to its owner, which is that of v. */
static int give_sets(finder *f, size_t v)
{
    const pyad_stretch *s = f->stretch;
    int status = PYAD_OK;
    if (f->owner[v] == NONE)
        return PYAD_OK;
    for (size_t k = s->first[v]; k < s->first[v + 1] && !status; k++) {
        uint32_t a = pyad_active_argument(s, v, k);
        if (a != NO_NODE && f->owner[a] == a)
            status = push_cell(f, f->owner[v], f->held[a]);
    }
    return status || f->owner[v] != v ? status : close_set(f, v);
}

/* ---- Jacobian --------------------------------------------------------------------- */

static int push_run(const pyad_sets *sets, uint32_t set, size_t line, pyad_runs *runs)
{
    size_t count = pyad_set_size(sets, set);
    int status = pyad_list_reserve(&runs->entries, count);
    if (status || count == 0)
        return status;
    memcpy(runs->entries.items + runs->entries.count, pyad_set_elements(sets, set),
           count * sizeof(uint32_t));
    runs->entries.count += count;
    return pyad_runs_close(runs, line, count);
}

int pyad_jacobian_by_sets(const pyad_stretch *s, size_t outputs, const uint32_t *nodes,
                          pyad_runs *runs)
{
    finder f;
    size_t fewer = outputs < s->inputs ? outputs : s->inputs;
    int status = finder_new(&f, s, outputs, pyad_bit_sweeps(fewer));
    if (status)
        return status;
    for (size_t r = 0; r < outputs; r++)
        if (nodes[r] != NO_NODE)
            f.owner[nodes[r]] = nodes[r];
    for (size_t v = s->count; v-- > 0;)
        own_arguments(&f, v);
    for (size_t v = 0; v < s->count && !status; v++)
        status = give_sets(&f, v);
    for (size_t r = 0; r < outputs && !status; r++)
        if (nodes[r] != NO_NODE)
            status = push_run(&f.sets, f.held[nodes[r]], r, runs);
    finder_free(&f);
    return status;
}

/* ---- Hessian: which sets meet ----------------------------------------------------- */

static int grow_pair_buckets(finder *f)
{
    size_t count = f->bucket_count ? 2 * f->bucket_count : 1024;
    uint32_t *buckets = pyad_buffer_new(count * sizeof *buckets);
    if (!buckets)
        return PYAD_ERROR_NO_MEMORY;
    memset(buckets, 0, count * sizeof *buckets);
    pyad_buffer_release(f->buckets);
    f->buckets = buckets;
    f->bucket_count = count;
    return PYAD_OK;
}

/* The bucket of a pair: the one that has it, or a free one. */
static uint32_t *pair_bucket(const finder *f, uint32_t a, uint32_t b)
{
    const uint32_t *pairs = f->pairs.items;
    size_t mask = f->bucket_count - 1;
    size_t place = (size_t)(a * 0x9e3779b97f4a7c15u ^ b * 0xc2b2ae3d27d4eb4fu) >> 20;
    for (;; place++) {
        uint32_t *bucket = &f->buckets[place & mask];
        if (!*bucket || (pairs[*bucket - 1] == a && pairs[*bucket] == b))
            return bucket;
    }
}

/* Remember, once, that every input of set a meets every input of set b. */
static int push_pair(finder *f, uint32_t a, uint32_t b)
{
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    if (low == 0)
        return PYAD_OK;
    if (f->pairs.count >= f->bucket_count) {
        int status = grow_pair_buckets(f);
        for (uint32_t k = 0; !status && k < f->pairs.count; k += 2)
            *pair_bucket(f, f->pairs.items[k], f->pairs.items[k + 1]) = k + 1;
        if (status)
            return status;
    }
    uint32_t *bucket = pair_bucket(f, low, high);
    if (*bucket)
        return PYAD_OK;
    if (pyad_list_reserve(&f->pairs, 2))
        return PYAD_ERROR_NO_MEMORY;
    f->pairs.items[f->pairs.count] = low;
    f->pairs.items[f->pairs.count + 1] = high;
    *bucket = (uint32_t)f->pairs.count + 1;
    f->pairs.count += 2;
    return PYAD_OK;
}

/* Operands of a curved operation are wanted: all together (the set of the node itself),
 * or one by one. */
static void want_operands(finder *f, size_t v)
{
    const pyad_stretch *s = f->stretch;
    int curved = pyad_curvature(s, v);
    if (curved == PYAD_CURVED)
        f->owner[v] = (uint32_t)v;
    for (size_t k = s->first[v]; curved && k < s->first[v + 1]; k++) {
        uint32_t a = pyad_argument(s, k);
        if (a != NO_NODE && curved != PYAD_CURVED)
            f->owner[a] = a;
    }
}

static int push_pairs(finder *f, size_t v)
{
    const pyad_stretch *s = f->stretch;
    int curved = pyad_curvature(s, v), status = PYAD_OK;
    if (curved == PYAD_CURVED)
        return push_pair(f, f->held[v], f->held[v]);
    for (size_t k = s->first[v], end = s->first[v + 1]; curved && k < end; k += 2) {
        uint32_t a = pyad_argument(s, k);
        uint32_t b = k + 1 < end ? pyad_argument(s, k + 1) : NO_NODE;
        a = a == NO_NODE ? 0 : f->held[a];
        b = b == NO_NODE ? 0 : f->held[b];
        if (curved & PYAD_CURVED_AA && !status)
            status = push_pair(f, a, a);
        if (curved & PYAD_CURVED_AB && !status)
            status = push_pair(f, a, b);
        if (curved & PYAD_CURVED_BB && !status)
            status = push_pair(f, b, b);
    }
    return status;
}

/* ---- Hessian: rows ---------------------------------------------------------------- */

/* Whether joining the pairs into rows takes more work or memory than the limits allow. */
static int rows_are_too_much(const finder *f)
{
    size_t work = 0, entries = 0;
    for (size_t k = 0; k < f->pairs.count; k += 2) {
        size_t a = pyad_set_size(&f->sets, f->pairs.items[k]);
        size_t b = pyad_set_size(&f->sets, f->pairs.items[k + 1]);
        work += a * b;
        entries += a + b;
        if (work > f->sets.most_work || entries > 4 * f->sets.most_elements)
            return 1;
    }
    return 0;
}

/* For each input the sets that it meets: a pattern with inputs as rows, sets as
 * columns. */
static int partners(const finder *f, pyad_pattern *result)
{
    const pyad_sets *sets = &f->sets;
    pyad_runs runs = {0};
    pyad_pattern by_pair = {0};
    int status = PYAD_OK;
    for (uint32_t k = 0; k < f->pairs.count && !status; k++)
        status = push_run(sets, f->pairs.items[k], k, &runs);
    if (!status)
        status = pyad_runs_pattern(&runs, f->pairs.count, sets->universe, &by_pair);
    pyad_runs_free(&runs);
    if (!status)
        status = pyad_pattern_transpose(&by_pair, result);
    pyad_pattern_free(&by_pair);
    /* Input i is in set k of the pairs, and meets the other set of that pair. */
    for (size_t e = 0; !status && e < result->entries; e++)
        result->indices[e] = f->pairs.items[result->indices[e] ^ 1];
    return status;
}

static int join_rows(finder *f, const pyad_pattern *met, pyad_runs *runs)
{
    pyad_sets *sets = &f->sets;
    int status = PYAD_OK;
    for (size_t i = 0; i < met->rows && !status; i++) {
        pyad_sets_open_union(sets);
        size_t start = sets->elements.count;
        for (size_t k = met->first[i]; k < met->first[i + 1] && !status; k++)
            status = pyad_sets_add(sets, met->indices[k]);
        if (sets->only && !status) {
            status = push_run(sets, sets->only, i, runs);
            continue;
        }
        size_t count = sets->elements.count - start;
        if (!status)
            status = pyad_list_reserve(&runs->entries, count);
        if (status || count == 0)
            continue;
        memcpy(runs->entries.items + runs->entries.count, sets->elements.items + start,
               count * sizeof(uint32_t));
        runs->entries.count += count;
        status = pyad_runs_close(runs, i, count);
    }
    return status;
}

int pyad_hessian_by_sets(const pyad_stretch *s, uint32_t output, pyad_runs *runs)
{
    finder f;
    int status = finder_new(&f, s, s->inputs, 2 * pyad_bit_sweeps(s->inputs));
    if (status)
        return status;
    pyad_pattern met = {0};
    f.live = pyad_buffer_new(s->count);
    if (!f.live)
        status = PYAD_ERROR_NO_MEMORY;
    else
        memset(f.live, 0, s->count);
    if (!status)
        f.live[output] = 1;
    for (size_t v = s->count; v-- > 0 && !status;) {
        for (size_t k = s->first[v]; f.live[v] && k < s->first[v + 1]; k++) {
            uint32_t a = pyad_active_argument(s, v, k);
            if (a != NO_NODE)
                f.live[a] = 1;
        }
        if (f.live[v])
            want_operands(&f, v);
        own_arguments(&f, v);
    }
    for (size_t v = 0; v < s->count && !status; v++) {
        status = give_sets(&f, v);
        if (!status && f.live[v])
            status = push_pairs(&f, v);
    }
    if (!status && rows_are_too_much(&f))
        status = PYAD_SETS_FULL;
    if (!status)
        status = partners(&f, &met);
    if (!status)
        status = join_rows(&f, &met, runs);
    pyad_pattern_free(&met);
    finder_free(&f);
    return status;
}
