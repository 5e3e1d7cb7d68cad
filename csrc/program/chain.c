/* Chains of groups: see program.h. Finding them, and running them tile by tile. */
#include "chain.h"

#include <string.h>

#include "../blocks/lanes.h"
#include "../blocks/sincos.h"
#include "../buffer.h"

/* ---- finding ---------------------------------------------------------------------- */

enum { SHORTEST = 256, LONGEST = 64, MOST_VISITS = 300000000 };

typedef void visitor(void *data, size_t step, size_t slot, size_t count);

static void visit_list(const pyad_program *p, const program_list *list, size_t step,
                       visitor *visit, void *data)
{
    const uint32_t *places = p->places + list->at;
    for (size_t k = 0; k < list->count; k++)
        if (list->mode == MODE_RUN)
            visit(data, step, places[2 * k], places[2 * k + 1]);
        else
            visit(data, step, places[k], 1);
}

static void visit_group(const pyad_program *p, const program_group *g, size_t step,
                        visitor *visit, void *data)
{
    for (int i = 0; i < g->operands; i++)
        if (g->mode[i] == MODE_LIST)
            for (size_t k = 0; k < g->count; k++)
                visit(data, step, p->places[g->at[i] + k], 1);
        else
            visit(data, step, g->at[i], g->mode[i] == MODE_RUN ? g->count : 1);
}

static void visit_block(const pyad_program *p, const program_block *b, size_t step,
                        visitor *visit, void *data)
{
    for (uint32_t i = 0; i < b->sources; i++)
        visit(data, step, p->sources[b->source + i].at, p->sources[b->source + i].count);
    if (b->kind == PYAD_BLOCK_LINEAR) {
        const program_entries e = program_entries_of(p, b);
        for (uint32_t k = 0; k < e.first[b->count]; k++)
            visit(data, step, e.slots[k], 1);
    }
}

/* What a step reads. */
static void visit_step(const pyad_program *p, size_t step, visitor *visit, void *data)
{
    const program_step *t = &p->steps[step];
    if (t->op == PROGRAM_GROUP) {
        visit_group(p, &p->groups[t->a], step, visit, data);
    } else if (t->op == PROGRAM_BLOCK) {
        visit_block(p, &p->blocks[t->a], step, visit, data);
    } else if (t->op == PROGRAM_FOLD || t->op == PROGRAM_MANY) {
        visit_list(p, &p->lists[t->a], step, visit, data);
    } else {
        const int operands =
            t->op < PYAD_OP_COUNT ? pyad_op_describe(t->op)->arguments : 3;
        visit(data, step, t->a, 1);
        if (operands > 1)
            visit(data, step, t->b, 1);
        if (operands > 2)
            visit(data, step, t->c, 1);
    }
}

/* All that is read, by steps, guards, and as outputs (step SIZE_MAX). */
static void visit_all(const pyad_program *p, visitor *visit, void *data)
{
    for (size_t step = 0; step < p->step_count; step++)
        visit_step(p, step, visit, data);
    for (size_t i = 0; i < p->guard_count; i++) {
        const program_guard *g = &p->guards[i];
        visit(data, SIZE_MAX, g->a, g->step_a ? g->count : 1);
        visit(data, SIZE_MAX, g->b, g->step_b ? g->count : 1);
    }
    for (size_t i = 0; i < p->output_count; i++)
        visit(data, SIZE_MAX, p->outputs[i], 1);
}

static const program_group *group_at(const pyad_program *p, size_t step)
{
    const program_step *t = &p->steps[step];
    return t->op == PROGRAM_GROUP ? &p->groups[t->a] : NULL;
}

/* The block of a step that adds up all of a run, or NULL. */
static const program_block *sum_at(const pyad_program *p, size_t step)
{
    const program_step *t = &p->steps[step];
    const program_block *b = t->op == PROGRAM_BLOCK ? &p->blocks[t->a] : NULL;
    if (!b || b->kind != PYAD_BLOCK_COLLECT || b->count != 1)
        return NULL;
    const pyad_layout *l = (const pyad_layout *)(p->store + b->data);
    for (size_t i = 0; i < l->ndim; i++)
        if (l->sides[l->ndim + i] != 0)
            return NULL;
    return b;
}

static size_t out_of(const pyad_program *p, size_t step)
{
    return program_out(p, &p->steps[step]);
}

typedef struct {
    const pyad_program *p;
    const program_chain *chain;
    size_t from, to; /* slots of its results so far */
    int fits;
    uint16_t source; /* the last operand's */
} fitting;

/* Whether what is read is all of one result, element by element, or stands outside. */
static void fit(void *data, size_t step, size_t slot, size_t count)
{
    fitting *f = data;
    (void)step;
    f->source = LINK_OUTSIDE;
    if (slot >= f->to || slot + count <= f->from)
        return;
    for (uint32_t k = 0; k < f->chain->steps; k++)
        if (out_of(f->p, f->chain->first + k) == slot && count == f->chain->count &&
            group_at(f->p, f->chain->first + k)) {
            f->source = (uint16_t)k;
            return;
        }
    f->fits = 0;
}

/* Takes a step into the chain if it fits. */
static int join(pyad_program *p, program_chain *chain, size_t step)
{
    const program_group *g = group_at(p, step);
    const program_block *sum = sum_at(p, step);
    fitting f = {.p = p, .chain = chain, .fits = 1};
    program_link *link = &p->links[chain->link + chain->steps];
    if (chain->steps == LONGEST || (g ? g->count != chain->count : !sum))
        return 0;
    f.from = out_of(p, chain->first);
    f.to = chain->steps ? out_of(p, step) : f.from;
    *link = (program_link){.source = {LINK_OUTSIDE, LINK_OUTSIDE, LINK_OUTSIDE},
                           .alone = {LINK_OUTSIDE, LINK_OUTSIDE, LINK_OUTSIDE}};
    if (sum) {
        const program_source *x = &p->sources[sum->source];
        fit(&f, step, x->at, x->count);
        link->source[0] = f.source;
        link->kept = 1;
        if (f.source == LINK_OUTSIDE)
            return 0;
    }
    for (int i = 0; g && i < g->operands; i++)
        if (g->mode[i] == MODE_LIST) {
            for (size_t k = 0; k < g->count; k++) {
                const size_t place = p->places[g->at[i] + k];
                f.fits &= place < f.from || place >= f.to;
            }
        } else {
            fit(&f, step, g->at[i], g->mode[i] == MODE_RUN ? g->count : 1);
            link->source[i] = f.source;
        }
    if (!f.fits)
        return 0;
    chain->steps++;
    p->link_count++;
    return 1;
}

/* Sums and products, whose results are computed again rather than stored. */
static int is_quick(const program_group *g)
{
    return !g->order &&
           (g->op >= PROGRAM_MULADD || g->op == PYAD_OP_ADD || g->op == PYAD_OP_SUB ||
            g->op == PYAD_OP_MUL || g->op == PYAD_OP_SQUARE || g->op == PYAD_OP_NEG);
}

/* Results that somebody else reads are kept. */
static void keep(void *data, size_t step, size_t slot, size_t count)
{
    pyad_program *p = data;
    size_t low = 0, high = p->chain_count;
    while (low < high) { /* the last chain that begins at or before slot + count */
        const size_t middle = (low + high) / 2;
        if (out_of(p, p->chains[middle].first) < slot + count)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low-- > 0;) {
        const program_chain *c = &p->chains[low];
        const size_t end = out_of(p, c->first + c->steps - 1) + c->count;
        if (end <= slot)
            return;
        if (step >= c->first && step < c->first + c->steps)
            continue;
        for (uint32_t k = 0; k < c->steps; k++) {
            const size_t out = out_of(p, c->first + k);
            if (out < slot + count && slot < out + c->count)
                p->links[c->link + k].kept = 1;
        }
    }
}

/* Whether the sweep through a step needs no value but constants. */
static int is_linear(const pyad_program *p, size_t step)
{
    const program_step *t = &p->steps[step];
    const program_group *g = group_at(p, step);
    const int op = g ? g->op : t->op, active = g ? g->active : program_active(t);
    const size_t a = g ? g->at[0] : t->a, b = g ? g->at[1] : t->b;
    if (g && g->order)
        return !g->active;
    switch (op) {
    case PYAD_OP_ADD:
    case PYAD_OP_SUB:
    case PYAD_OP_NEG:
    case PYAD_OP_POSITIVE:
    case PROGRAM_FOLD:
        return 1;
    case PYAD_OP_MUL:
    case PROGRAM_MULADD:
    case PROGRAM_MULSUB:
    case PROGRAM_SUBMUL:
        return (!(active & 1) || b < p->constants) && (!(active & 2) || a < p->constants);
    case PYAD_OP_DIV:
        return b < p->constants;
    case PROGRAM_BLOCK: {
        const int kind = p->blocks[t->a].kind;
        return !p->blocks[t->a].active || kind == PYAD_BLOCK_SPREAD ||
               kind == PYAD_BLOCK_COLLECT || kind == PYAD_BLOCK_LINEAR ||
               kind == PYAD_BLOCK_CUMSUM;
    }
    default:
        return active == 0 && op < PYAD_OP_COUNT;
    }
}

typedef struct {
    const pyad_program *p;
    const program_chain *chain;
    size_t at;  /* a run of inputs, or SIZE_MAX: all */
    int others; /* whether others read of it */
} reading;

static void read_by_others(void *data, size_t step, size_t slot, size_t count)
{
    reading *r = data;
    const pyad_program *p = r->p;
    const size_t from = r->at == SIZE_MAX ? p->constants : r->at;
    const size_t end =
        r->at == SIZE_MAX ? p->constants + p->inputs : r->at + r->chain->count;
    const int within =
        step >= r->chain->first && step < r->chain->first + r->chain->steps;
    if (slot < end && from < slot + count)
        r->others |=
            !within || (r->at != SIZE_MAX && (slot != r->at || count != r->chain->count));
}

static int is_input(const pyad_program *p, size_t at)
{
    return at >= p->constants && at < p->constants + p->inputs;
}

/* The block whose results these are, all of them; or NULL. */
static program_block *block_of(pyad_program *p, size_t at, size_t count)
{
    for (size_t i = 0; i < p->block_count; i++)
        if (p->blocks[i].out == at && p->blocks[i].count == count)
            return &p->blocks[i];
    return NULL;
}

/* Runs of inputs, or of the results of a block, that are read by the chain in one place
 * and by nobody else. How many inputs they are. */
static size_t find_alone(pyad_program *p, const program_chain *chain)
{
    size_t found[3 * LONGEST], inputs = 0;
    uint16_t count = 0;
    for (uint32_t k = 0; k < chain->steps; k++) {
        const program_group *g = group_at(p, chain->first + k);
        program_link *link = &p->links[chain->link + k];
        for (int i = 0; g && i < g->operands; i++) {
            const size_t at = g->at[i];
            uint16_t number = 0;
            program_block *made = NULL;
            if (g->mode[i] != MODE_RUN || link->source[i] != LINK_OUTSIDE ||
                !(is_input(p, at) ? is_input(p, at + chain->count - 1)
                                  : (made = block_of(p, at, chain->count)) != NULL))
                continue;
            while (number < count && found[number] != at)
                number++;
            if (number == count) {
                reading r = {p, chain, at, 0};
                visit_all(p, read_by_others, &r);
                if (r.others)
                    continue;
                found[count++] = at;
                inputs += made ? 0 : chain->count;
                if (made)
                    made->set_by_chain = 1;
            }
            link->alone[i] = number;
        }
    }
    return inputs;
}

static void count_read(void *data, size_t step, size_t slot, size_t count)
{
    (void)step, (void)slot, (void)count;
    ++*(size_t *)data;
}

typedef struct {
    size_t step, from, end;
    int others;
} later;

static void read_later(void *data, size_t step, size_t slot, size_t count)
{
    later *l = data;
    l->others |= step > l->step && slot < l->end && l->from < slot + count;
}

enum { LARGE = 64, MOST_PRODUCTS = 64 };

/* Operands of products whose adjoints can be stored rather than added. */
static void find_last_reads(pyad_program *p)
{
    size_t products = 0;
    for (size_t i = p->step_count; i-- > 0;) {
        const program_step *t = &p->steps[i];
        const program_block *b = t->op == PROGRAM_BLOCK ? &p->blocks[t->a] : NULL;
        if (!b || b->kind != PYAD_BLOCK_PRODUCT)
            continue;
        program_source *x = p->sources + b->source;
        const int apart =
            x[0].at + x[0].count <= x[1].at || x[1].at + x[1].count <= x[0].at;
        for (int k = 0; k < 2 && products < MOST_PRODUCTS; k++) {
            later l = {i, x[k].at, (size_t)x[k].at + x[k].count, !apart};
            if (x[k].count >= LARGE && x[k].active && b->active) {
                visit_all(p, read_later, &l);
                x[k].alone = !l.others;
                products++;
            }
        }
    }
}

/* ---- inputs that may stand elsewhere --------------------------------------------------
 */

enum { LOOSE = 512, MOST_LOOSE = 32 };

static void read_elsewhere(void *data, size_t step, size_t slot, size_t count)
{
    later *l = data;
    l->others |= step != l->step && slot < l->end && l->from < slot + count;
}

static int find_loose(pyad_program *p)
{
    p->loose = pyad_buffer_new(MOST_LOOSE * sizeof *p->loose);
    if (!p->loose)
        return PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; i < p->step_count && p->loose_count < MOST_LOOSE - 1; i++) {
        const program_step *t = &p->steps[i];
        const program_block *b = t->op == PROGRAM_BLOCK ? &p->blocks[t->a] : NULL;
        if (!b || b->kind != PYAD_BLOCK_PRODUCT)
            continue;
        program_source *x = p->sources + b->source;
        if (x[0].at < x[1].at + x[1].count && x[1].at < x[0].at + x[0].count)
            continue;
        for (int k = 0; k < 2; k++) {
            const size_t end = (size_t)x[k].at + x[k].count;
            later l = {i, x[k].at, end, 0};
            if (x[k].count < LOOSE || !is_input(p, x[k].at) || !is_input(p, end - 1) ||
                (x[k].active && !x[k].alone))
                continue;
            visit_all(p, read_elsewhere, &l);
            if (l.others)
                continue;
            p->loose[p->loose_count++] =
                (program_range){(uint32_t)(x[k].at - p->constants), x[k].count};
            x[k].loose = (uint32_t)p->loose_count;
        }
    }
    return PYAD_OK;
}

/* ---- inputs whose adjoints are added to -------------------------------------------- */

typedef struct {
    const pyad_program *p;
    unsigned char *added; /* of each input */
} adding;

static void add_to_inputs(void *data, size_t step, size_t slot, size_t count)
{
    const adding *a = data;
    const size_t first = a->p->constants, end = first + a->p->inputs;
    (void)step;
    if (slot < end && slot + count > first) {
        const size_t from = slot > first ? slot : first;
        const size_t to = slot + count < end ? slot + count : end;
        memset(a->added + from - first, 1, to - from);
    }
}

static void add_by_block(const pyad_program *p, const program_block *b, adding *a)
{
    for (uint32_t i = 0; b->active && i < b->sources; i++) {
        const program_source *x = &p->sources[b->source + i];
        if (x->active && !x->alone)
            add_to_inputs(a, 0, x->at, x->count);
    }
    if (b->kind == PYAD_BLOCK_LINEAR)
        visit_block(p, b, 0, add_to_inputs, a);
}

static void add_by_group(const pyad_program *p, const program_group *g,
                         const program_link *link, adding *a)
{
    program_group rest = *g;
    rest.operands = 0;
    for (int i = 0; i < g->operands; i++) /* those that are not set by the chain */
        if (!link || link->alone[i] == LINK_OUTSIDE) {
            rest.mode[rest.operands] = g->mode[i];
            rest.at[rest.operands++] = g->at[i];
        }
    visit_group(p, &rest, 0, add_to_inputs, a);
}

/* What a run of marks is, from `at` on. */
static program_range range_at(const unsigned char *marked, size_t at, size_t count)
{
    while (at < count && !marked[at])
        at++;
    const size_t from = at;
    while (at < count && marked[at])
        at++;
    return (program_range){(uint32_t)from, (uint32_t)(at - from)};
}

enum { MOST_RANGES = 64 };

/* The inputs whose adjoints must be zero before a sweep. */
static int find_cleared(pyad_program *p)
{
    adding a = {p, pyad_buffer_new(p->inputs + 1)};
    p->cleared = pyad_buffer_new(MOST_RANGES * sizeof *p->cleared);
    if (!a.added || !p->cleared) {
        pyad_buffer_release(a.added);
        return PYAD_ERROR_NO_MEMORY;
    }
    memset(a.added, 0, p->inputs + 1);
    size_t chain = 0;
    for (size_t i = 0; i < p->step_count; i++) {
        const program_group *g = group_at(p, i);
        while (chain < p->chain_count &&
               i >= (size_t)p->chains[chain].first + p->chains[chain].steps)
            chain++;
        const program_chain *c = chain < p->chain_count ? &p->chains[chain] : NULL;
        const int inside = c && i >= c->first;
        if (g)
            add_by_group(p, g, inside ? &p->links[c->link + (i - c->first)] : NULL, &a);
        else if (p->steps[i].op == PROGRAM_BLOCK)
            add_by_block(p, &p->blocks[p->steps[i].a], &a);
        else
            visit_step(p, i, add_to_inputs, &a);
    }
    for (size_t i = 0; i < p->output_count; i++)
        add_to_inputs(&a, 0, p->outputs[i], 1);
    for (size_t at = 0; at < p->inputs;) {
        program_range r = range_at(a.added, at, p->inputs);
        if (p->cleared_count == MOST_RANGES) { /* the last one takes all that is left */
            program_range *last = &p->cleared[MOST_RANGES - 1];
            last->count = (uint32_t)(p->inputs - last->from);
            break;
        }
        if (r.count)
            p->cleared[p->cleared_count++] = r;
        at = (size_t)r.from + r.count;
    }
    pyad_buffer_release(a.added);
    return PYAD_OK;
}

/* ---- all of it ----------------------------------------------------------------------
 */

/* Which operand of a single operation is a slot, if one alone is; 0: none. (Those it
 * does not have are slot 0 or that of the first input, no results.) */
static uint16_t last_of(const program_step *t, size_t slot)
{
    const int a = t->a == slot, b = t->b == slot, c = t->c == slot;
    return a + b + c != 1 ? 0 : a ? 1 : b ? 2 : 3;
}

/* The last step, which steps the loops over single operations leave to others, and where
 * these find the last result among their operands. */
static void mark_codes(pyad_program *p)
{
    p->steps[p->step_count] = (program_step){.op = PROGRAM_END};
    size_t out = p->constants + p->inputs; /* the slot of the result */
    for (size_t i = 0; i <= p->step_count; i++) {
        program_step *t = &p->steps[i];
        if (t->op >= PROGRAM_FOLD)
            t->code = program_code(PROGRAM_FOLD, 0);
        else if (i && t[-1].op < PROGRAM_FOLD)
            t->code |= last_of(t, out - 1);
        out += program_results(p, t);
    }
}

static int find_chains(pyad_program *p);

int program_find_chains(pyad_program *p)
{
    mark_codes(p);
    for (size_t i = 0; i < p->source_count; i++)
        p->sources[i].alone = 0, p->sources[i].loose = 0;
    for (size_t i = 0; i < p->block_count; i++)
        p->blocks[i].set_by_chain = 0;
    find_last_reads(p);
    int status = find_chains(p);
    if (!status)
        status = find_loose(p);
    return status ? status : find_cleared(p);
}

static int find_chains(pyad_program *p)
{
    size_t large = 0;
    for (size_t i = 0; i < p->step_count; i++) {
        const program_group *g = group_at(p, i);
        large += (g && g->count >= SHORTEST) || sum_at(p, i);
    }
    if (!large)
        return PYAD_OK;
    p->chains = pyad_buffer_new((large + 1) * sizeof *p->chains);
    p->links = pyad_buffer_new((large + 1) * sizeof *p->links);
    if (!p->chains || !p->links)
        return PYAD_ERROR_NO_MEMORY;
    for (size_t i = 0; i < p->step_count;) {
        const program_group *g = group_at(p, i);
        if (!g || g->count < SHORTEST) {
            i++;
            continue;
        }
        program_chain *chain = &p->chains[p->chain_count];
        *chain = (program_chain){
            .first = (uint32_t)i, .count = g->count, .link = (uint32_t)p->link_count};
        while (i < p->step_count && join(p, chain, i))
            i++;
        if (chain->steps < 2) { /* as it was */
            p->link_count = chain->link;
            i = chain->first + 1;
            continue;
        }
        if (chain->steps > p->longest)
            p->longest = chain->steps;
        p->chain_count++;
    }
    if (!p->chain_count)
        return PYAD_OK;
    size_t reads = 0;
    visit_all(p, count_read, &reads);
    if (p->link_count > MOST_VISITS / reads) { /* it would take longer than it saves */
        p->chain_count = p->longest = 0;
        return PYAD_OK;
    }
    visit_all(p, keep, p);
    const program_chain *last = &p->chains[p->chain_count - 1];
    p->fused = 1;
    for (size_t i = last->first + last->steps; i < p->step_count; i++)
        p->fused &= is_linear(p, i);
    size_t alone = 0;
    for (size_t i = 0; i < p->chain_count; i++)
        alone = find_alone(p, &p->chains[i]);
    reading r = {p, last, SIZE_MAX, 0};
    visit_all(p, read_by_others, &r);
    p->direct = p->fused && !r.others;
    p->covered = alone == p->inputs;
    return PYAD_OK;
}

/* ---- running ---------------------------------------------------------------------- */

enum { TILE = 256 };

size_t program_tiles(const pyad_program *p)
{
    const size_t chains = p->chain_count ? (3 * p->longest + 4) * TILE : 0;
    return chains > 4 * PYAD_TILE ? chains : 4 * PYAD_TILE;
}

program_place *program_places(const pyad_program *p, double *room)
{
    return (program_place *)(room + 2 * p->slots + program_tiles(p));
}

typedef struct {
    const pyad_program *p;
    const program_chain *c;
    const program_link *links;
    const program_memory *m;
    int store; /* results that are computed slowly are stored for the sweep */
    size_t start, count;
    unsigned char touched[LONGEST], alone_touched[3 * LONGEST];
} run;

static double *scratch(const run *r, size_t which) { return r->m->tiles + which * TILE; }

static const double *value_at(const run *r, size_t slot)
{
    const size_t input = slot - r->p->constants;
    return slot >= r->p->constants && input < r->p->inputs ? r->m->inputs + input
                                                           : r->m->v + slot;
}

static double *adjoint_at(const run *r, size_t slot)
{
    const size_t input = slot - r->p->constants;
    return slot >= r->p->constants && input < r->p->inputs ? r->m->gradient + input
                                                           : r->m->adjoints + slot;
}

static int is_stored(const run *r, uint32_t k)
{
    const program_group *g = group_at(r->p, r->c->first + k);
    return r->links[k].kept || (r->store && g && !is_quick(g));
}

static double *results_of(const run *r, uint32_t k)
{
    return is_stored(r, k) ? r->m->v + out_of(r->p, r->c->first + k) + r->start
                           : scratch(r, 4 + k);
}

static double *own_of(const run *r, uint32_t k)
{
    return r->links[k].kept ? r->m->adjoints + out_of(r->p, r->c->first + k) + r->start
                            : scratch(r, 4 + r->c->steps + k);
}

static operand operand_at(const run *r, uint32_t k, const program_group *g, int which)
{
    const uint16_t source = r->links[k].source[which];
    if (source != LINK_OUTSIDE)
        return (operand){results_of(r, source), 1};
    if (g->mode[which] == MODE_RUN)
        return (operand){value_at(r, g->at[which]) + r->start, 1};
    if (g->mode[which] == MODE_ONE)
        return (operand){value_at(r, g->at[which]), 0};
    double *tile = scratch(r, (size_t)which);
    const uint32_t *places = r->p->places + g->at[which] + r->start;
    for (size_t i = 0; i < r->count; i++)
        tile[i] = *value_at(r, places[i]);
    return (operand){tile, 1};
}

/* In one pass the cosine comes with the sine, and the sine with the cosine. */
static double *other_of(const run *r, uint32_t k)
{
    const program_group *g = group_at(r->p, r->c->first + k);
    return !r->store && g->active && !g->order &&
                   (g->op == PYAD_OP_SIN || g->op == PYAD_OP_COS)
               ? scratch(r, 4 + 2 * r->c->steps + k)
               : NULL;
}

static void group_values(const run *r, uint32_t k, const program_group *g)
{
    operand x[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    double *out = results_of(r, k), *other = other_of(r, k);
    for (int i = 0; i < g->operands; i++)
        x[i] = operand_at(r, k, g, i);
    if (!other || !x[0].step)
        program_group_value(r->p->loops, g, r->count, x, out);
    else if (g->op == PYAD_OP_SIN)
        pyad_sin_cos_values(r->count, x[0].x, out, other);
    else
        pyad_sin_cos_values(r->count, x[0].x, other, out);
}

/* The values of a tile; again: those that were not stored. */
static void tile_values(const run *r, int again)
{
    for (uint32_t k = 0; k < r->c->steps; k++) {
        const program_group *g = group_at(r->p, r->c->first + k);
        if (again && (!g || is_stored(r, k)))
            continue;
        if (g) {
            group_values(r, k, g);
        } else {
            r->m->v[out_of(r->p, r->c->first + k)] +=
                program_sum(results_of(r, r->links[k].source[0]), r->count);
        }
    }
}

typedef struct {
    run *r;
    const program_group *g;
    uint32_t k;
} passing;

/* Where it is the first, the share is stored rather than added. */
static void pass_on(const void *data, int which, size_t count, const double *own,
                    double scale, const double *w, size_t step)
{
    const passing *q = data;
    run *r = q->r;
    const program_link *link = &r->links[q->k];
    const uint16_t source = link->source[which], alone = link->alone[which];
    const size_t at = q->g->at[which];
    if (source == LINK_OUTSIDE && q->g->mode[which] == MODE_ONE) {
        *adjoint_at(r, at) += program_pass_to_one(count, own, scale, w, step);
        return;
    }
    if (source == LINK_OUTSIDE && q->g->mode[which] == MODE_LIST) {
        const uint32_t *places = r->p->places + at + r->start;
        for (size_t i = 0; i < count; i++)
            if (own[i] != 0)
                *adjoint_at(r, places[i]) += own[i] * (w ? scale * w[i * step] : scale);
        return;
    }
    unsigned char none = 1, *touched = source != LINK_OUTSIDE  ? &r->touched[source]
                                       : alone != LINK_OUTSIDE ? &r->alone_touched[alone]
                                                               : &none;
    double *to =
        source != LINK_OUTSIDE ? own_of(r, source) : adjoint_at(r, at) + r->start;
    (*touched ? program_pass : program_pass_first)(count, own, scale, w, step, to);
    *touched = 1;
}

/* The adjoints of a tile, from the last step to the first. */
static void tile_adjoints(run *r)
{
    memset(r->alone_touched, 0, sizeof r->alone_touched);
    for (uint32_t k = 0; k < r->c->steps; k++)
        r->touched[k] = r->links[k].kept;
    for (uint32_t k = r->c->steps; k-- > 0;) {
        const program_group *g = group_at(r->p, r->c->first + k);
        double *own = own_of(r, k);
        if (!r->touched[k])
            continue;
        if (!g) {
            const program_block *sum = &r->p->blocks[r->p->steps[r->c->first + k].a];
            const uint16_t source = r->links[k].source[0];
            const double share = r->m->adjoints[sum->out];
            if (!sum->active || share == 0)
                continue;
            double *to = own_of(r, source);
            (r->touched[source] ? program_add_to : program_fill)(r->count, share, to);
            r->touched[source] = 1;
            continue;
        }
        if (g->active) {
            const passing q = {r, g, k};
            operand x[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
            for (int i = 0; i < g->operands; i++)
                x[i] = operand_at(r, k, g, i);
            const double *other = other_of(r, k);
            if (other && x[0].step)
                pass_on(&q, 0, r->count, own, g->op == PYAD_OP_SIN ? 1 : -1, other, 1);
            else
                program_group_pass(r->p->loops, g, r->count, x, results_of(r, k), own,
                                   scratch(r, 3), pass_on, &q);
        }
        if (r->links[k].kept)
            memset(own, 0, r->count * sizeof *own);
    }
}

/* Runs of inputs that nothing was passed to. */
static void clear_untouched(run *r)
{
    for (uint32_t k = 0; k < r->c->steps; k++) {
        const program_group *g = group_at(r->p, r->c->first + k);
        for (int i = 0; g && i < g->operands; i++) {
            const uint16_t alone = r->links[k].alone[i];
            if (alone == LINK_OUTSIDE || r->alone_touched[alone])
                continue;
            memset(adjoint_at(r, g->at[i]) + r->start, 0, r->count * sizeof(double));
            r->alone_touched[alone] = 1;
        }
    }
}

/* Sums begin at 0; the adjoints of sums are cleared. */
static void each_sum(const pyad_program *p, const program_chain *c, double *numbers)
{
    for (uint32_t k = 0; k < c->steps; k++)
        if (!group_at(p, c->first + k))
            numbers[out_of(p, c->first + k)] = 0;
}

static void each_tile(const pyad_program *p, const program_chain *c,
                      const program_memory *m, int values, int adjoints)
{
    run r = {.p = p, .c = c, .links = p->links + c->link, .m = m};
    r.store = !(values && adjoints);
    if (values)
        each_sum(p, c, m->v);
    for (r.start = 0; r.start < c->count; r.start += TILE) {
        r.count = smaller(c->count - r.start, TILE);
        tile_values(&r, !values);
        if (adjoints) {
            tile_adjoints(&r);
            clear_untouched(&r);
        }
    }
    if (adjoints)
        each_sum(p, c, m->adjoints);
}

void program_chain_values(const pyad_program *p, const program_chain *c,
                          const program_memory *m)
{
    each_tile(p, c, m, 1, 0);
}

void program_chain_adjoints(const pyad_program *p, const program_chain *c,
                            const program_memory *m)
{
    each_tile(p, c, m, 0, 1);
}

void program_chain_both(const pyad_program *p, const program_chain *c,
                        const program_memory *m)
{
    each_tile(p, c, m, 1, 1);
}
