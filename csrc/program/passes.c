/* Passes over a draft: what is needed, what has a derivative, sums, multiply-adds. Each
 * goes through the nodes once. */
#include "../blocks/life.h"
#include "build.h"

typedef struct {
    draft_visitor *visit;
    void *data;
} visiting;

static void visit_source(draft *d, const pyad_source *x, const visiting *v)
{
    if (x->node == PYAD_CONSTANT || x->node < d->from || !x->count)
        return;
    const uint32_t element = draft_find(d, x->node);
    if (!is_constant(element))
        v->visit(d, element, (uint32_t)x->count, v->data);
}

static void visit_rows(draft *d, const pyad_linear *l, const visiting *v)
{
    const uint32_t *rows = pyad_store_at(d->tape, l->rows);
    for (size_t k = 0; k < l->entries; k++) {
        if (rows[k] == 0 || rows[k] - 1 < d->from)
            continue;
        const uint32_t element = draft_find(d, rows[k] - 1);
        if (!is_constant(element))
            v->visit(d, element, 1, v->data);
    }
}

void draft_each_of_many(draft *d, const draft_node *n, draft_visitor *visit, void *data)
{
    const visiting v = {visit, data};
    switch (n->kind) {
    case DRAFT_INPUT:
        break;
    case DRAFT_MANY:
        for (uint32_t k = 0; k < n->b; k++)
            if (!is_constant(d->arguments[n->a + k]))
                visit(d, d->arguments[n->a + k], 1, data);
        break;
    case DRAFT_BLOCK: {
        const pyad_block *b = &d->tape->blocks[n->block];
        const pyad_source *x = pyad_block_sources(d->tape, b);
        if (b->kind == PYAD_BLOCK_LINEAR)
            visit_rows(d, pyad_store_at(d->tape, b->data), &v);
        for (uint32_t i = 0; i < b->source_count; i++)
            visit_source(d, &x[i], &v);
        break;
    }
    default:
        for (int i = 0; i < n->operands; i++)
            if (!is_constant(operand_of(n, i)))
                visit(d, operand_of(n, i), n->steps >> i & 1 ? n->count : 1, data);
    }
}

void draft_each_guarded(draft *d, draft_visitor *visit, void *data)
{
    const pyad_guards *guards = d->tape->guards;
    const visiting v = {visit, data};
    for (size_t i = 0; guards && i < guards->count; i++) {
        const pyad_operand both[] = {guards->all[i].a, guards->all[i].b};
        for (int k = 0; k < 2; k++) {
            const pyad_source x = {.node = both[k].node, .count = 1};
            visit_source(d, &x, &v);
        }
    }
    for (size_t i = 0; guards && i < guards->block_count; i++) {
        visit_source(d, &guards->blocks[i].a, &v);
        visit_source(d, &guards->blocks[i].b, &v);
    }
}

static void use(draft *d, uint32_t element, uint32_t count, void *data)
{
    draft_node *n = owner_of(d, element);
    (void)count, (void)data;
    n->live = 1;
    n->uses++;
}

static void decide(draft *d, uint32_t element, uint32_t count, void *data)
{
    (void)count, (void)data;
    owner_of(d, element)->decides = 1;
}

static void take_activity(draft *d, uint32_t element, uint32_t count, void *data)
{
    (void)count;
    *(uint8_t *)data |= owner_of(d, element)->active;
}

void draft_mark(draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        draft_node *n = &d->nodes[i];
        n->uses = 0;
        n->live = n->kind == DRAFT_INPUT;
        draft_each_operand(d, n, take_activity, &n->active);
    }
    for (size_t i = 0; i < d->output_count; i++)
        if (!is_constant(d->outputs[i]))
            use(d, d->outputs[i], 1, NULL);
    draft_each_guarded(d, use, NULL);
    draft_each_guarded(d, decide, NULL);
    for (size_t i = d->count; i-- > 0;) {
        if (d->nodes[i].live)
            draft_each_operand(d, &d->nodes[i], use, NULL);
        if (d->nodes[i].decides)
            draft_each_operand(d, &d->nodes[i], decide, NULL);
    }
}

/* An addition whose result goes into one addition only is a part of a longer sum. */
static int is_inner_sum(const draft *d, uint32_t id)
{
    return !is_constant(id) && owner_of(d, id)->kind == DRAFT_ONE &&
           owner_of(d, id)->op == PYAD_OP_ADD && owner_of(d, id)->uses == 1;
}

enum { SHORTEST_SUM = 8 };

void draft_fold_sums(draft *d)
{
    for (size_t i = d->count; i-- > 0;) {
        draft_node *top = &d->nodes[i];
        if (!top->live || top->decides || top->kind != DRAFT_ONE ||
            top->op != PYAD_OP_ADD)
            continue;
        /* The terms, from the last to the first. */
        uint32_t *terms = d->arguments + d->argument_count;
        size_t count = 0;
        uint32_t a = top->a, b = top->b;
        for (;;) {
            const int left = is_inner_sum(d, a);
            if (!left && !is_inner_sum(d, b))
                break;
            terms[count++] = left ? b : a;
            const draft_node *below = owner_of(d, left ? a : b);
            a = below->a;
            b = below->b;
        }
        if (count + 2 < SHORTEST_SUM)
            continue;
        terms[count++] = b;
        terms[count++] = a;
        for (size_t k = 0; k < count / 2; k++) {
            const uint32_t swap = terms[k];
            terms[k] = terms[count - 1 - k];
            terms[count - 1 - k] = swap;
        }
        /* The inner sums are no longer needed. */
        for (uint32_t x = top->a, y = top->b; is_inner_sum(d, x) || is_inner_sum(d, y);) {
            draft_node *below = owner_of(d, is_inner_sum(d, x) ? x : y);
            x = below->a;
            y = below->b;
            below->live = 0;
        }
        top->op = PROGRAM_FOLD;
        top->kind = DRAFT_MANY;
        top->a = (uint32_t)d->argument_count;
        top->b = (uint32_t)count;
        d->argument_count += count;
    }
}

/* Whether an operand of an addition is a product that nothing else reads: for runs, all
 * of it. */
static int is_product(const draft *d, const draft_node *sum, int which)
{
    const uint32_t id = operand_of(sum, which);
    const draft_node *n = is_constant(id) ? NULL : owner_of(d, id);
    if (!n || n->kind != sum->kind || n->uses != 1 || n->order ||
        n->count != sum->count || (n->op != PYAD_OP_MUL && n->op != PYAD_OP_SQUARE))
        return 0;
    return n->kind == DRAFT_ONE || (sum->steps >> which & 1 && n->first == id);
}

void draft_multiply_add(draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        draft_node *n = &d->nodes[i];
        if (!n->live || (n->kind != DRAFT_ONE && n->kind != DRAFT_MAP) || n->order ||
            (n->op != PYAD_OP_ADD && n->op != PYAD_OP_SUB))
            continue;
        const int second = is_product(d, n, 1);
        if (!second && !is_product(d, n, 0))
            continue;
        draft_node *product = owner_of(d, second ? n->b : n->a);
        const int square = product->op == PYAD_OP_SQUARE;
        const uint32_t rest = second ? n->a : n->b;
        const int rest_step = n->steps >> !second & 1;
        n->op = n->op == PYAD_OP_ADD ? PROGRAM_MULADD
                : second             ? PROGRAM_SUBMUL
                                     : PROGRAM_MULSUB;
        n->a = product->a;
        n->b = square ? product->a : product->b;
        n->c = rest;
        n->steps = (uint8_t)(square ? 3 * (product->steps & 1) : product->steps & 3);
        n->steps |= (uint8_t)(rest_step << 2);
        n->operands = 3;
        product->live = 0;
    }
}
