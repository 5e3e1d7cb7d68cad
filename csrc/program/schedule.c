/* Ordering a draft into steps. Each node gets a time after those of its operands; nodes
 * of one time and kind become a group, a run of results that one instruction computes.
 *
 * The earliest time of a node is 1 + that of its last operand; the latest is what its
 * users leave it. A node takes whichever of the two has more nodes of its kind, so that
 * the logarithms along a sequential chain, say, wait for each other. (Compare the agenda
 * of G. Neubig, Y. Goldberg, C. Dyer, "On-the-fly operation batching in dynamic
 * computation graphs", 2017.) Linear in the number of nodes. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../blocks/life.h"
#include "../buffer.h"
#include "build.h"

enum { SMALLEST_GROUP = 4 };

/* A node of a run of single operations, while it is put in order. Of the nodes of the run
 * that read it, a list: each link is 3 * node + which operand + 1, 0 the end. */
typedef struct {
    uint32_t run;   /* the number of the run, from 1 on; 0: none so far */
    uint32_t waits; /* for so many operands, or DONE */
    uint32_t reader, next[3];
} chained;

typedef struct {
    draft *d;
    uint32_t *early, *late;  /* of each node */
    uint32_t *slot;          /* of each element */
    uint32_t time;           /* of the node that is looked at */
    uint64_t *key;           /* what to sort by */
    uint32_t *order, *spare; /* nodes */
    uint64_t *spare_key;
    uint64_t *counted; /* a hash table: time, kind, how many; 0: free */
    size_t counted_size;
    uint32_t last; /* the last time */
    chained *chained;
    pyad_program *p;
    size_t slots;
} schedule;

/* ---- time ------------------------------------------------------------------------- */

static void be_after(draft *d, uint32_t element, uint32_t count, void *data)
{
    schedule *s = data;
    const uint32_t time = s->early[d->owner[element]];
    (void)count;
    if (time >= s->time)
        s->time = time + 1;
}

/* The earliest time after all operands. */
static uint32_t earliest(schedule *s, const draft_node *n)
{
    s->time = 0;
    draft_each_operand(s->d, n, be_after, s);
    return s->time;
}

static void be_before(draft *d, uint32_t element, uint32_t count, void *data)
{
    schedule *s = data;
    uint32_t *late = &s->late[d->owner[element]];
    (void)count;
    if (*late >= s->time)
        *late = s->time - 1;
}

static void find_times(schedule *s)
{
    const draft *d = s->d;
    s->last = 0;
    for (size_t i = 0; i < d->count; i++) {
        s->early[i] = d->nodes[i].live ? earliest(s, &d->nodes[i]) : 0;
        s->last = s->early[i] > s->last ? s->early[i] : s->last;
    }
    for (size_t i = 0; i < d->count; i++)
        s->late[i] = s->last;
    for (size_t i = d->count; i-- > 0;)
        if (d->nodes[i].live) {
            s->time = s->late[i];
            draft_each_operand(s->d, &d->nodes[i], be_before, s);
        }
}

/* Which operands have a derivative. */
static uint8_t activity(const draft *d, const draft_node *n)
{
    uint8_t active = 0;
    for (int i = 0; i < n->operands; i++)
        if (!is_constant(operand_of(n, i)) && owner_of(d, operand_of(n, i))->active)
            active |= (uint8_t)(1 << i);
    return active;
}

/* Which nodes one instruction can compute: the operation, which operands are constants,
 * which have a derivative. Arrays stand alone. */
static uint32_t kind_of(const draft *d, const draft_node *n)
{
    uint32_t kind = n->op | (uint32_t)activity(d, n) << 8;
    if (n->kind != DRAFT_ONE)
        return 0xc000u | n->kind;
    for (int i = 0; i < n->operands; i++)
        kind |= (uint32_t)is_constant(operand_of(n, i)) << (11 + i);
    return kind;
}

static uint64_t key_of(uint32_t time, uint32_t kind)
{
    return (uint64_t)time << 16 | (kind & 0xffff);
}

/* The counter of a key: in its low 16 bits how many nodes have it, no more than they can
 * hold. Keys of times that are close lie close together in the table, which follows the
 * nodes through the recording then; far ones are scattered, so that no stretch fills. */
static uint64_t *count_of_key(schedule *s, uint64_t key)
{
    const uint64_t near = key * 0x9e3779b97f4a7c15u >> 57;
    const uint64_t far = (key >> 20) * 0xff51afd7ed558ccdu >> 32;
    size_t at = (far << 7 | near) & (s->counted_size - 1);
    while (s->counted[at] && s->counted[at] >> 16 != key + 1)
        at = (at + 1) & (s->counted_size - 1);
    return &s->counted[at];
}

static void count_key(schedule *s, uint64_t key)
{
    uint64_t *counter = count_of_key(s, key);
    if (!*counter)
        *counter = (key + 1) << 16;
    *counter += (*counter & 0xffff) != 0xffff;
}

static unsigned counted(schedule *s, uint32_t time, uint32_t kind)
{
    return *count_of_key(s, key_of(time, kind)) & 0xffff;
}

static void choose_times(schedule *s)
{
    const draft *d = s->d;
    uint32_t *kinds = s->order; /* not needed before the nodes are put in order */
    for (size_t i = 0; i < d->count; i++) {
        const draft_node *n = &d->nodes[i];
        if (!n->live || n->kind == DRAFT_INPUT)
            continue;
        kinds[i] = kind_of(d, n);
        count_key(s, key_of(s->early[i], kinds[i]));
        if (s->late[i] != s->early[i])
            count_key(s, key_of(s->late[i], kinds[i]));
    }
    /* From the first node on: `early` becomes the time that was chosen. */
    for (size_t i = 0; i < d->count; i++) {
        const draft_node *n = &d->nodes[i];
        if (!n->live || n->kind == DRAFT_INPUT)
            continue;
        const uint32_t early = earliest(s, n);
        s->early[i] = early == s->late[i] || counted(s, early, kinds[i]) >=
                                                 counted(s, s->late[i], kinds[i])
                          ? early
                          : s->late[i];
        s->key[i] = key_of(s->early[i], kinds[i]);
    }
}

/* ---- order ------------------------------------------------------------------------ */

enum { FEW = 24 };

static void sort_few(size_t count, uint32_t *order, uint64_t *keys)
{
    for (size_t i = 1; i < count; i++) {
        const uint32_t node = order[i];
        const uint64_t key = keys[i];
        size_t to = i;
        for (; to && keys[to - 1] > key; to--) {
            order[to] = order[to - 1];
            keys[to] = keys[to - 1];
        }
        order[to] = node;
        keys[to] = key;
    }
}

/* Sorts by key, stably, byte by byte; bytes that are all equal are passed over. */
static void sort(schedule *s, size_t count, uint32_t *order, uint64_t *keys)
{
    uint64_t differ = 0;
    int sorted = 1;
    for (size_t i = 1; i < count; i++) {
        differ |= keys[i] ^ keys[0];
        sorted &= keys[i - 1] <= keys[i];
    }
    if (sorted)
        return;
    if (count <= FEW) {
        sort_few(count, order, keys);
        return;
    }
    for (int shift = 0; shift < 64; shift += 8) {
        if (!(differ >> shift & 255))
            continue;
        size_t at[257] = {0};
        for (size_t i = 0; i < count; i++)
            at[(keys[i] >> shift & 255) + 1]++;
        for (int b = 0; b < 256; b++)
            at[b + 1] += at[b];
        for (size_t i = 0; i < count; i++) {
            const size_t to = at[keys[i] >> shift & 255]++;
            s->spare[to] = order[i];
            s->spare_key[to] = keys[i];
        }
        memcpy(order, s->spare, count * sizeof *order);
        memcpy(keys, s->spare_key, count * sizeof *keys);
    }
}

static size_t order_nodes(schedule *s)
{
    const draft *d = s->d;
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++)
        if (d->nodes[i].live && d->nodes[i].kind != DRAFT_INPUT) {
            s->order[count] = (uint32_t)i;
            s->key[count++] = s->key[i];
        }
    sort(s, count, s->order, s->key);
    return count;
}

/* ---- steps ------------------------------------------------------------------------ */

/* Until the number of constants is known, their slots have CONSTANT_BIT. */
static uint32_t slot_of(const schedule *s, uint32_t id)
{
    return is_constant(id) ? id : s->slot[id];
}

static void emit_many(schedule *s, const draft_node *n, uint32_t out)
{
    pyad_program *p = s->p;
    program_list *list = &p->lists[p->list_count];
    *list = (program_list){.op = n->op,
                           .active = n->active,
                           .mode = MODE_LIST,
                           .count = n->b,
                           .out = out,
                           .at = (uint32_t)p->place_count};
    uint32_t *places = p->places + p->place_count;
    for (uint32_t k = 0; k < n->b; k++) {
        places[k] = slot_of(s, s->d->arguments[n->a + k]);
        s->key[k] = places[k];
    }
    if (n->op == PROGRAM_FOLD)
        sort(s, n->b, places, s->key);
    size_t runs = 1;
    for (uint32_t k = 1; k < n->b; k++)
        runs += places[k] != places[k - 1] + 1;
    if (n->op == PROGRAM_FOLD && 4 * runs <= n->b) { /* (first, count) of each run */
        list->mode = MODE_RUN;
        list->count = (uint32_t)runs;
        size_t to = 0; /* aside: the second pair may reach beyond a first run of one */
        for (uint32_t k = 0, start = 0; k < n->b; k++)
            if (k + 1 == n->b || places[k + 1] != places[k] + 1) {
                s->spare[to] = places[start];
                s->spare[to + 1] = k + 1 - start;
                to += 2;
                start = k + 1;
            }
        memcpy(places, s->spare, to * sizeof *places);
        p->place_count += to;
    } else {
        p->place_count += n->b;
    }
    p->steps[p->step_count++] =
        (program_step){.op = n->op == PROGRAM_FOLD ? PROGRAM_FOLD : PROGRAM_MANY,
                       .a = (uint32_t)p->list_count};
    p->list_count++;
}

/* How the operands number `which` of the nodes order[0 ... count - 1] are addressed. */
static void address(schedule *s, const uint32_t *order, size_t count, int which,
                    program_group *group)
{
    draft *d = s->d;
    pyad_program *p = s->p;
    uint32_t *places = p->places + p->place_count;
    int one = 1, run = 1;
    for (size_t k = 0; k < count; k++) {
        places[k] = slot_of(s, operand_of(&d->nodes[order[k]], which));
        one &= places[k] == places[0];
        run &= places[k] == places[0] + k;
    }
    group->at[which] = places[0];
    if (one) {
        group->mode[which] = MODE_ONE;
    } else if (is_constant(places[0])) { /* a vector of its own */
        group->mode[which] = MODE_RUN;
        group->at[which] = (uint32_t)d->constant_count | CONSTANT_BIT;
        for (size_t k = 0; k < count; k++)
            d->constants[d->constant_count++] = constant_of(d, places[k]);
    } else if (run) {
        group->mode[which] = MODE_RUN;
    } else {
        group->mode[which] = MODE_LIST;
        group->at[which] = (uint32_t)p->place_count;
        p->place_count += count;
    }
}

static void emit_group(schedule *s, const uint32_t *order, size_t count, uint32_t out)
{
    pyad_program *p = s->p;
    const draft_node *n = &s->d->nodes[order[0]];
    program_group *group = &p->groups[p->group_count];
    *group = (program_group){.op = n->op,
                             .active = activity(s->d, n),
                             .operands = n->operands,
                             .count = (uint32_t)count,
                             .out = out};
    for (int i = 0; i < group->operands; i++)
        address(s, order, count, i, group);
    p->steps[p->step_count++] =
        (program_step){.op = PROGRAM_GROUP, .a = (uint32_t)p->group_count++};
}

static void emit_map(schedule *s, const draft_node *n, uint32_t out)
{
    pyad_program *p = s->p;
    program_group *group = &p->groups[p->group_count];
    *group = (program_group){.op = n->op,
                             .active = activity(s->d, n),
                             .operands = n->operands,
                             .order = n->order,
                             .count = n->count,
                             .out = out};
    for (int i = 0; i < group->operands; i++) {
        group->mode[i] = n->steps >> i & 1 ? MODE_RUN : MODE_ONE;
        group->at[i] = slot_of(s, operand_of(n, i));
    }
    p->steps[p->step_count++] =
        (program_step){.op = PROGRAM_GROUP, .a = (uint32_t)p->group_count++};
}

/* The rows of a LINEAR block on the tape; NULL as in record.h. */
typedef struct {
    const uint32_t *first, *rows;
    const double *weights, *base;
} tape_rows;

static tape_rows rows_of(const pyad_tape *tape, const pyad_linear *l)
{
#define PART(OFFSET) ((OFFSET) == SIZE_MAX ? NULL : pyad_store_at(tape, OFFSET))
    return (tape_rows){PART(l->first), PART(l->rows), PART(l->weights), PART(l->base)};
#undef PART
}

static double rows_value(const pyad_tape *tape, uint32_t row)
{
    return row ? tape->values[row - 1] : 0;
}

/* The constant part of a sum whose base is not known: what the terms leave of the value,
 * unless that is rounding. */
static double base_left(double value, double sum, double size, uint32_t terms, int whole)
{
    const double rest = value - sum;
    return whole && !(fabs(rest) > terms * 4 * DBL_EPSILON * size) ? 0 : rest;
}

/* A term that is a constant is in no derivative; it becomes part of the base. */
static void emit_linear(schedule *s, const pyad_block *b)
{
    pyad_program *p = s->p;
    const pyad_tape *tape = s->d->tape;
    const pyad_linear *l = pyad_store_at(tape, b->data);
    const tape_rows r = rows_of(tape, l);
    program_linear *linear = (program_linear *)(p->store + p->store_length);
    linear->first = p->store_length + pyad_store_round(sizeof *linear);
    linear->slots = linear->first + pyad_store_round((b->count + 1) * sizeof *r.first);
    linear->weights = linear->slots + pyad_store_round(l->entries * sizeof *r.rows);
    linear->base = linear->weights + l->entries * sizeof *r.weights;
    uint32_t *to_first = (uint32_t *)(p->store + linear->first);
    uint32_t *to_slots = (uint32_t *)(p->store + linear->slots);
    double *to_weights = (double *)(p->store + linear->weights);
    double *base = (double *)(p->store + linear->base);
    uint32_t used = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint32_t end = r.first ? r.first[i + 1] : i + 1;
        const double value = tape->values[b->start + i];
        double sum = 0, size = fabs(value), constant = r.base ? r.base[i] : 0;
        int whole = 1;
        to_first[i] = used;
        for (uint32_t k = r.first ? r.first[i] : i; k < end; k++) {
            const double weight = r.weights ? r.weights[k] : 1;
            const double x = rows_value(tape, r.rows[k]);
            const double term = x == 0 ? 0 : weight * x;
            const uint32_t element = r.rows[k] && r.rows[k] - 1 >= s->d->from
                                         ? draft_find(s->d, r.rows[k] - 1)
                                         : CONSTANT_BIT;
            whole &= !is_constant(element);
            if (is_constant(element)) {
                constant += term;
                continue;
            }
            to_slots[used] = slot_of(s, element);
            to_weights[used++] = weight;
            sum += term;
            size += fabs(term);
        }
        base[i] =
            r.base ? constant : base_left(value, sum, size, used - to_first[i], whole);
    }
    to_first[b->count] = used;
    p->store_length = linear->base + b->count * sizeof *base;
}

static void emit_block(schedule *s, const draft_node *n, uint32_t out)
{
    pyad_program *p = s->p;
    draft *d = s->d;
    const pyad_block *b = &d->tape->blocks[n->block];
    const pyad_source *x = pyad_block_sources(d->tape, b);
    program_block *to = &p->blocks[p->block_count];
    *to = (program_block){.kind = b->kind,
                          .active = n->active,
                          .count = n->count,
                          .out = out,
                          .source = (uint32_t)p->source_count,
                          .sources = b->source_count,
                          .data = p->store_length};
    for (uint32_t i = 0; i < b->source_count; i++) {
        const uint32_t first = draft_run_of(d, &x[i]);
        p->sources[p->source_count++] =
            (program_source){slot_of(s, first), (uint32_t)x[i].count,
                             !is_constant(first) && owner_of(d, first)->active, 0, 0};
    }
    const size_t bytes = draft_data_size(d->tape, b);
    if (bytes)
        memcpy(p->store + p->store_length, pyad_store_at(d->tape, b->data), bytes);
    p->store_length += pyad_store_round(bytes);
    if (b->kind == PYAD_BLOCK_LINEAR)
        emit_linear(s, b);
    if (b->rule)
        to->rule = b->rule->retain(b->rule);
    p->steps[p->step_count++] =
        (program_step){.op = PROGRAM_BLOCK, .a = (uint32_t)p->block_count++};
}

static void emit_one(schedule *s, uint32_t id)
{
    const draft_node *n = &s->d->nodes[id];
    const int operands = n->operands;
    s->p->steps[s->p->step_count++] = (program_step){
        .op = n->op,
        .code = program_code(n->op, activity(s->d, n)),
        .a = slot_of(s, n->a),
        .b = operands > 1 ? slot_of(s, n->b) : 0,
        .c = operands > 2 ? slot_of(s, n->c) : 0,
    };
}

/* The nodes of a group stand in the order of their operands, which makes these runs. */
static void sort_group(schedule *s, uint32_t *order, size_t count)
{
    const draft *d = s->d;
    for (size_t k = 0; k < count; k++) {
        const draft_node *n = &d->nodes[order[k]];
        const uint32_t a = slot_of(s, n->a), b = n->operands > 1 ? slot_of(s, n->b) : 0;
        s->key[k] = is_constant(a) ? b : (uint64_t)a << 32 | b;
    }
    sort(s, count, order, s->key);
}

static size_t emit_alone(schedule *s, uint32_t id)
{
    const draft_node *n = &s->d->nodes[id];
    const uint32_t out = (uint32_t)s->slots;
    for (uint32_t k = 0; k < n->count; k++)
        s->slot[n->first + k] = out + k;
    if (n->kind == DRAFT_ONE)
        emit_one(s, id);
    else if (n->kind == DRAFT_MANY)
        emit_many(s, n, out);
    else if (n->kind == DRAFT_MAP)
        emit_map(s, n, out);
    else
        emit_block(s, n, out);
    return n->count;
}

/* ---- runs of single operations ----------------------------------------------------
 *
 * Where a step reads the result of the one before, the number need not go through memory
 * (execute.h). So after a step comes one that waits for nothing else; of several the one
 * that has the least time left. After some of these the first that is left gets its turn,
 * so that chains that do not depend on each other go side by side. */

enum { LONGEST_RUN = 8, DONE = UINT32_MAX };

static void list_readers(schedule *s, size_t from, size_t to, uint32_t run)
{
    const draft *d = s->d;
    for (size_t k = from; k < to; k++)
        s->chained[s->order[k]] = (chained){.run = run};
    for (size_t k = from; k < to; k++) {
        const uint32_t id = s->order[k];
        const draft_node *n = &d->nodes[id];
        for (uint32_t i = 0; i < n->operands; i++) {
            if (is_constant(operand_of(n, (int)i)))
                continue;
            chained *x = &s->chained[d->owner[operand_of(n, (int)i)]];
            if (x->run != run)
                continue;
            s->chained[id].next[i] = x->reader;
            x->reader = 3 * id + i + 1;
            s->chained[id].waits++;
        }
    }
}

/* Its readers wait for one operand less; the most urgent of those that wait for no other,
 * or DONE. */
static uint32_t follower(schedule *s, uint32_t id)
{
    uint32_t found = DONE;
    for (uint32_t link = s->chained[id].reader; link;) {
        const uint32_t reader = (link - 1) / 3;
        chained *x = &s->chained[reader];
        link = x->next[(link - 1) % 3];
        if (!--x->waits && (found == DONE || s->late[reader] <= s->late[found]))
            found = reader;
    }
    return found;
}

static void emit_singles(schedule *s, size_t from, size_t to, uint32_t run)
{
    list_readers(s, from, to, run);
    for (size_t k = from; k < to; k++) {
        uint32_t id = s->order[k];
        for (int i = 0; i < LONGEST_RUN && id != DONE && s->chained[id].waits != DONE;
             i++) {
            s->slots += emit_alone(s, id);
            s->chained[id].waits = DONE;
            id = follower(s, id);
        }
    }
}

/* Whether nodes of one key make a group. */
static int is_grouped(const schedule *s, size_t from, size_t end)
{
    return end - from >= SMALLEST_GROUP && s->d->nodes[s->order[from]].kind == DRAFT_ONE;
}

static size_t end_of_key(const uint64_t *keys, size_t from, size_t count)
{
    size_t end = from + 1;
    while (end < count && keys[end] == keys[from])
        end++;
    return end;
}

static void emit(schedule *s, size_t count, const uint64_t *keys)
{
    const draft *d = s->d;
    uint32_t runs = 0;
    for (size_t i = 0, end; i < count; i = end) {
        end = end_of_key(keys, i, count);
        if (d->nodes[s->order[i]].kind != DRAFT_ONE) {
            for (size_t k = i; k < end; k++)
                s->slots += emit_alone(s, s->order[k]);
            continue;
        }
        if (!is_grouped(s, i, end)) {
            for (size_t next = end; next < count; end = next) {
                next = end_of_key(keys, end, count);
                if (is_grouped(s, end, next) || d->nodes[s->order[end]].kind != DRAFT_ONE)
                    break;
            }
            emit_singles(s, i, end, ++runs);
            continue;
        }
        sort_group(s, s->order + i, end - i);
        for (size_t k = i; k < end; k++)
            s->slot[d->nodes[s->order[k]].first] = (uint32_t)(s->slots + k - i);
        emit_group(s, s->order + i, end - i, (uint32_t)s->slots);
        s->slots += end - i;
    }
}

/* ---- guards ----------------------------------------------------------------------- */

/* A number that neither was known to be constant nor can change is no guard. */
static void emit_guards(schedule *s)
{
    draft *d = s->d;
    pyad_program *p = s->p;
    const pyad_guards *guards = d->tape->guards;
    for (size_t i = 0; guards && i < guards->count; i++) {
        const pyad_guard *g = &guards->all[i];
        const uint32_t a = draft_operand(d, g->a), b = draft_operand(d, g->b);
        if (is_constant(a) && is_constant(b))
            continue;
        p->guards[p->guard_count++] = (program_guard){.relation = g->relation,
                                                      .outcome = g->outcome,
                                                      .a = slot_of(s, a),
                                                      .b = slot_of(s, b),
                                                      .count = 1,
                                                      .outcomes = SIZE_MAX};
    }
    for (size_t i = 0; guards && i < guards->block_count; i++) {
        const pyad_block_guard *g = &guards->blocks[i];
        const uint32_t a = draft_guarded_run(d, &g->a), b = draft_guarded_run(d, &g->b);
        if ((is_constant(a) && is_constant(b)) || !g->count)
            continue;
        p->guards[p->guard_count++] = (program_guard){.relation = g->relation,
                                                      .step_a = (uint8_t)g->a.step,
                                                      .step_b = (uint8_t)g->b.step,
                                                      .a = slot_of(s, a),
                                                      .b = slot_of(s, b),
                                                      .count = (uint32_t)g->count,
                                                      .outcomes = p->store_length};
        memcpy(p->store + p->store_length, guards->store + g->outcomes, g->count);
        p->store_length += pyad_store_round(g->count);
    }
}

/* The constants come first: slots of the others are moved behind them. */
static void settle(schedule *s)
{
    pyad_program *p = s->p;
    const uint32_t behind = (uint32_t)s->d->constant_count;
    p->constants = behind;
    if (behind)
        memcpy(p->constant, s->d->constants, behind * sizeof *p->constant);
#define SETTLE(X) ((X) = is_constant(X) ? (X) & ~CONSTANT_BIT : (X) + behind)
    for (size_t i = 0; i < p->step_count; i++) {
        program_step *t = &p->steps[i];
        if (t->op < PROGRAM_FOLD) {
            SETTLE(t->a);
            SETTLE(t->b);
            SETTLE(t->c);
        }
    }
    for (size_t i = 0; i < p->place_count; i++)
        SETTLE(p->places[i]);
    for (size_t i = 0; i < p->group_count; i++) {
        program_group *g = &p->groups[i];
        g->out += behind;
        for (int k = 0; k < g->operands; k++)
            if (g->mode[k] != MODE_LIST)
                SETTLE(g->at[k]);
    }
    for (size_t i = 0; i < p->list_count; i++) {
        p->lists[i].out += behind;
        if (p->lists[i].mode == MODE_RUN)
            for (size_t k = 0; k < p->lists[i].count; k++) /* counts are no slots */
                p->places[p->lists[i].at + 2 * k + 1] -= behind;
    }
    for (size_t i = 0; i < p->output_count; i++)
        SETTLE(p->outputs[i]);
    for (size_t i = 0; i < p->source_count; i++)
        SETTLE(p->sources[i].at);
    for (size_t i = 0; i < p->guard_count; i++) {
        SETTLE(p->guards[i].a);
        SETTLE(p->guards[i].b);
    }
    for (size_t i = 0; i < p->block_count; i++) {
        p->blocks[i].out += behind;
        if (p->blocks[i].kind != PYAD_BLOCK_LINEAR)
            continue;
        const program_linear *l = (program_linear *)(p->store + p->blocks[i].data);
        uint32_t *slots = (uint32_t *)(p->store + l->slots);
        for (size_t k = 0; k < ((uint32_t *)(p->store + l->first))[p->blocks[i].count];
             k++)
            SETTLE(slots[k]);
    }
    p->slots = behind + s->slots;
#undef SETTLE
}

/* ---- all of it -------------------------------------------------------------------- */

typedef struct {
    size_t blocks, sources, constants, bytes, guards;
} block_room;

static block_room room_of_blocks(const draft *d)
{
    const pyad_tape *tape = d->tape;
    block_room room = {0};
    for (size_t i = 0; i < d->count; i++) {
        const draft_node *n = &d->nodes[i];
        if (n->kind != DRAFT_BLOCK || !n->live)
            continue;
        const pyad_block *b = &tape->blocks[n->block];
        const pyad_source *x = pyad_block_sources(tape, b);
        room.blocks++;
        room.sources += b->source_count;
        for (uint32_t k = 0; k < b->source_count; k++)
            room.constants += x[k].count;
        room.bytes += pyad_store_round(draft_data_size(tape, b));
        if (b->kind == PYAD_BLOCK_LINEAR) {
            const pyad_linear *l = pyad_store_at(tape, b->data);
            room.bytes += sizeof(program_linear) + 32 + 12 * ((size_t)b->count + 1) +
                          12 * l->entries;
        }
    }
    const pyad_guards *guards = tape->guards;
    room.guards = guards ? guards->count + guards->block_count : 0;
    room.constants += 2 * room.guards;
    for (size_t i = 0; guards && i < guards->block_count; i++) {
        room.bytes += pyad_store_round(guards->blocks[i].count);
        room.constants += guards->blocks[i].a.count + guards->blocks[i].b.count;
    }
    return room;
}

static int make_room(schedule *s, const block_room *more)
{
    const draft *d = s->d;
    const size_t n = d->count + 1;
    size_t live = 0;
    for (size_t i = 0; i < d->count; i++)
        live += d->nodes[i].live;
    s->counted_size = 256;
    while (s->counted_size < 3 * live)
        s->counted_size *= 2;
    size_t keys = n > d->argument_count ? n : d->argument_count;
    s->early = pyad_buffer_new(n * sizeof *s->early);
    s->late = pyad_buffer_new(n * sizeof *s->late);
    s->slot = pyad_buffer_new((d->elements + 1) * sizeof *s->slot);
    s->key = pyad_buffer_new(keys * sizeof *s->key);
    s->order = pyad_buffer_new(n * sizeof *s->order);
    s->spare = pyad_buffer_new(keys * sizeof *s->spare);
    s->spare_key = pyad_buffer_new(keys * sizeof *s->spare_key);
    s->counted = pyad_buffer_new(s->counted_size * sizeof *s->counted);
    s->chained = pyad_buffer_new(n * sizeof *s->chained);
    pyad_program *p = s->p;
    p->constant = pyad_buffer_new((d->constant_count + more->constants + 3 * n) *
                                  sizeof *p->constant);
    p->steps = pyad_buffer_new(n * sizeof *p->steps);
    p->groups = pyad_buffer_new(n * sizeof *p->groups);
    p->lists = pyad_buffer_new(n * sizeof *p->lists);
    p->blocks = pyad_buffer_new((more->blocks + 1) * sizeof *p->blocks);
    p->sources = pyad_buffer_new((more->sources + 1) * sizeof *p->sources);
    p->places = pyad_buffer_new((d->argument_count + 4 * n) * sizeof *p->places);
    p->outputs = pyad_buffer_new((d->output_count + 1) * sizeof *p->outputs);
    p->store = pyad_buffer_new(more->bytes + 8);
    p->guards = pyad_buffer_new((more->guards + 1) * sizeof *p->guards);
    if (!s->early || !s->late || !s->slot || !s->key || !s->order || !s->spare ||
        !s->spare_key || !s->counted || !s->chained || !p->constant || !p->steps ||
        !p->groups || !p->lists || !p->blocks || !p->sources || !p->places ||
        !p->outputs || !p->store || !p->guards)
        return PYAD_ERROR_NO_MEMORY;
    memset(s->counted, 0, s->counted_size * sizeof *s->counted);
    memset(s->chained, 0, n * sizeof *s->chained);
    return PYAD_OK;
}

static void release(schedule *s)
{
    pyad_buffer_release(s->early);
    pyad_buffer_release(s->late);
    pyad_buffer_release(s->slot);
    pyad_buffer_release(s->key);
    pyad_buffer_release(s->order);
    pyad_buffer_release(s->spare);
    pyad_buffer_release(s->spare_key);
    pyad_buffer_release(s->counted);
    pyad_buffer_release(s->chained);
}

/* Constants of sources of blocks are made while the steps are: room for them. */
static int more_constants(draft *d, size_t more)
{
    double *constants =
        pyad_buffer_new((d->constant_count + more + 1) * sizeof *d->constants);
    if (!constants)
        return PYAD_ERROR_NO_MEMORY;
    if (d->constant_count)
        memcpy(constants, d->constants, d->constant_count * sizeof *constants);
    pyad_buffer_release(d->constants);
    d->constants = constants;
    return PYAD_OK;
}

int draft_schedule(draft *d, pyad_program *p)
{
    schedule s = {.d = d, .p = p};
    const block_room more = room_of_blocks(d);
    int status = make_room(&s, &more);
    if (!status)
        status = more_constants(d, more.constants + 3 * d->count);
    if (!status) {
        find_times(&s);
        choose_times(&s);
        p->output_count = d->output_count;
        for (size_t i = 0; i < d->inputs; i++) { /* the first nodes */
            const draft_node *n = &d->nodes[i];
            for (uint32_t k = 0; k < n->count; k++)
                s.slot[n->first + k] = (uint32_t)(s.slots + k);
            s.slots += n->count;
        }
        p->inputs = s.slots;
        const size_t count = order_nodes(&s);
        uint64_t *keys = pyad_buffer_new((count + 1) * sizeof *keys);
        if (keys) {
            memcpy(keys, s.key, count * sizeof *keys);
            emit(&s, count, keys);
            for (size_t i = 0; i < d->output_count; i++)
                p->outputs[i] = slot_of(&s, d->outputs[i]);
            emit_guards(&s);
            settle(&s);
        } else {
            status = PYAD_ERROR_NO_MEMORY;
        }
        pyad_buffer_release(keys);
    }
    release(&s);
    return status;
}
