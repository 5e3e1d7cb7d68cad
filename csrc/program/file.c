/* Programs as bytes, little-endian on every machine:
 *
 *   magic                     8 bytes
 *   version, names            u32, u32
 *   length                    u64, of all of it
 *   the fields of `sizes`     u64 each
 *   names                     16 bytes each, ended by 0: the operations that are used
 *   constants                 f64 each
 *   instructions              below: tag u8, active u8, name u16, and what the tag needs
 *   outputs                   u32 each, slots
 *   guards                    relation, outcome, step_a, step_b u8; a, b, count, several
 *                             u32; if several: `count` outcomes u8
 *   CRC-32                    u32, of all before it: that of zlib, gzip and PNG
 *
 *   STEP    a slot for each operand, u32
 *   GROUP   order, mode[3] u8; count u32; for each operand its `at`, or the slots of a
 * list LIST    mode u8, 0 u8 three times; count u32; slots, or pairs (first, count) BLOCK
 * count, sources u32; for each source at, count, active u32; what its kind needs
 *
 * Operations are named, so that a row added to ops.def leaves old files as they are. What
 * follows from the rest (where a result stands) is not in the file. Reading trusts
 * nothing: each field is checked before it is used, operands stand before the result, and
 * what is reserved is at most 8 times the size of the file. */
#include <string.h>

#include "../blocks/life.h"
#include "../buffer.h"
#include "program.h"

enum { VERSION = 1, NAME = 16, HEADER = 24, STORE_TIMES = 4, LONGEST_REPEAT = 1 << 24 };
static const unsigned char MAGIC[8] = {0x89, 'p', 'y', 'a', 'd', 'P', '\r', '\n'};

enum tag { TAG_STEP, TAG_GROUP, TAG_LIST, TAG_BLOCK, TAGS };

typedef struct {
    uint64_t constants, inputs, steps, groups, lists, blocks, sources, places, store;
    uint64_t outputs, guards, nodes, recorded, shared, live, summed, combined;
} sizes;
enum { SIZES = sizeof(sizes) / sizeof(uint64_t) };

/* ---- names ------------------------------------------------------------------------ */

/* Operations of programs, then kinds of blocks. */
enum { KINDS = PYAD_BLOCK_CALL + 1, NAMES = PROGRAM_OPS + KINDS };

static const char *name_of(int number)
{
    static const char *const more[] = {"muladd", "mulsub", "submul", "fold"};
    static const char *const kinds[KINDS] = {
        [PYAD_BLOCK_SPREAD] = "@spread", [PYAD_BLOCK_COLLECT] = "@collect",
        [PYAD_BLOCK_LINEAR] = "@linear", [PYAD_BLOCK_PRODUCT] = "@product",
        [PYAD_BLOCK_CUMSUM] = "@cumsum", [PYAD_BLOCK_CALL] = "@call"};
    if (number < PYAD_OP_COUNT)
        return pyad_op_describe(number)->name;
    if (number <= PROGRAM_FOLD)
        return more[number - PROGRAM_MULADD];
    return number >= PROGRAM_OPS ? kinds[number - PROGRAM_OPS] : NULL;
}

static int number_of(const char *name)
{
    for (int number = 0; number < NAMES; number++)
        if (name_of(number) && strcmp(name_of(number), name) == 0)
            return number;
    return -1;
}

/* Of a step or a group; 0 for what is neither. */
static int operands_of(int op)
{
    if (op >= PROGRAM_MULADD)
        return op <= PROGRAM_SUBMUL ? 3 : 0;
    const int arguments = pyad_op_describe(op)->arguments;
    return arguments > 0 ? arguments : 0;
}

/* ---- checksum --------------------------------------------------------------------- */

/* It finds every run of damaged bits up to 32 long, and any two bits in less than 500 MB.
 * It is no protection against intent: that is what the checks below are for. */
static uint32_t checksum(const unsigned char *bytes, size_t count)
{
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < count; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 255];
    return ~crc;
}

/* ---- writing ---------------------------------------------------------------------- */

/* Goes through twice: without `to` it measures and numbers the names. */
typedef struct {
    unsigned char *to;
    size_t at;
    uint16_t number[NAMES], names; /* in the file, + 1 */
} writer;

static void put(writer *w, uint64_t x, int bytes)
{
    for (int i = 0; w->to && i < bytes; i++)
        w->to[w->at + (size_t)i] = (unsigned char)(x >> 8 * i);
    w->at += (size_t)bytes;
}

static void put_numbers(writer *w, const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        put(w, bits, 8);
    }
}

static void put_slots(writer *w, const uint32_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(w, x[i], 4);
}

static void put_head(writer *w, enum tag tag, int active, int number)
{
    if (!w->number[number])
        w->number[number] = ++w->names;
    put(w, tag, 1);
    put(w, (unsigned)active, 1);
    put(w, w->number[number] - 1u, 2);
}

static void put_step(writer *w, const program_step *t)
{
    const uint32_t x[] = {t->a, t->b, t->c};
    put_head(w, TAG_STEP, program_active(t), t->op);
    put_slots(w, x, (size_t)operands_of(t->op));
}

static void put_group(writer *w, const pyad_program *p, const program_group *g)
{
    put_head(w, TAG_GROUP, g->active, g->op);
    put(w, g->order, 1);
    for (int i = 0; i < 3; i++)
        put(w, g->mode[i], 1);
    put(w, g->count, 4);
    for (int i = 0; i < g->operands; i++)
        if (g->mode[i] == MODE_LIST)
            put_slots(w, p->places + g->at[i], g->count);
        else
            put(w, g->at[i], 4);
}

static void put_list(writer *w, const pyad_program *p, const program_list *list)
{
    put_head(w, TAG_LIST, list->active, list->op);
    put(w, list->mode, 4);
    put(w, list->count, 4);
    put_slots(w, p->places + list->at, list->count * (list->mode == MODE_RUN ? 2u : 1u));
}

static void put_linear(writer *w, const pyad_program *p, const program_block *b)
{
    const program_linear *l = (const program_linear *)(p->store + b->data);
    const uint32_t *first = (const uint32_t *)(p->store + l->first);
    put_slots(w, first, (size_t)b->count + 1);
    put_slots(w, (const uint32_t *)(p->store + l->slots), first[b->count]);
    put_numbers(w, (const double *)(p->store + l->weights), first[b->count]);
    put_numbers(w, (const double *)(p->store + l->base), b->count);
}

static void put_matrix(writer *w, const pyad_matrix *x)
{
    put(w, (uint64_t)x->offset, 8);
    put(w, (uint64_t)x->batch_stride, 8);
    put(w, (uint64_t)x->row, 8);
    put(w, (uint64_t)x->column, 8);
}

static void put_block(writer *w, const pyad_program *p, const program_block *b)
{
    const void *data = p->store + b->data;
    put_head(w, TAG_BLOCK, b->active, PROGRAM_OPS + b->kind);
    put(w, b->count, 4);
    put(w, b->sources, 4);
    for (uint32_t i = 0; i < b->sources; i++) {
        const program_source *x = &p->sources[b->source + i];
        put(w, x->at, 4);
        put(w, x->count, 4);
        put(w, x->active != 0, 4);
    }
    if (b->kind == PYAD_BLOCK_SPREAD || b->kind == PYAD_BLOCK_COLLECT) {
        const pyad_layout *layout = data;
        put(w, layout->ndim, 8);
        put(w, (uint64_t)layout->offset, 8);
        for (size_t i = 0; i < 2 * layout->ndim; i++)
            put(w, (uint64_t)layout->sides[i], 8);
    } else if (b->kind == PYAD_BLOCK_PRODUCT) {
        const pyad_product *product = data;
        put(w, product->batch, 8);
        put(w, product->m, 8);
        put(w, product->k, 8);
        put(w, product->n, 8);
        put_matrix(w, &product->a);
        put_matrix(w, &product->b);
    } else if (b->kind == PYAD_BLOCK_CUMSUM) {
        const pyad_cumsum *c = data;
        put(w, c->outer, 8);
        put(w, c->n, 8);
        put(w, c->inner, 8);
        put(w, c->from_end != 0, 8);
    } else if (b->kind == PYAD_BLOCK_LINEAR) {
        put_linear(w, p, b);
    }
}

static void put_guard(writer *w, const pyad_program *p, const program_guard *g)
{
    const int several = g->outcomes != SIZE_MAX;
    put(w, g->relation, 1);
    put(w, g->outcome, 1);
    put(w, g->step_a, 1);
    put(w, g->step_b, 1);
    put(w, g->a, 4);
    put(w, g->b, 4);
    put(w, g->count, 4);
    put(w, (unsigned)several, 4);
    for (uint32_t k = 0; several && k < g->count; k++)
        put(w, p->store[g->outcomes + k], 1);
}

static void put_instruction(writer *w, const pyad_program *p, const program_step *t)
{
    switch (t->op) {
    case PROGRAM_GROUP:
        put_group(w, p, &p->groups[t->a]);
        break;
    case PROGRAM_BLOCK:
        put_block(w, p, &p->blocks[t->a]);
        break;
    case PROGRAM_FOLD:
    case PROGRAM_MANY:
        put_list(w, p, &p->lists[t->a]);
        break;
    default:
        put_step(w, t);
    }
}

static void put_names(writer *w)
{
    for (uint32_t i = 1; i <= w->names; i++)
        for (int number = 0; number < NAMES; number++)
            if (w->number[number] == i) {
                if (w->to)
                    strncpy((char *)w->to + w->at, name_of(number), NAME);
                w->at += NAME;
            }
}

static void put_program(writer *w, const pyad_program *p, size_t length)
{
    const sizes s = {.constants = p->constants,
                     .inputs = p->inputs,
                     .steps = p->step_count,
                     .groups = p->group_count,
                     .lists = p->list_count,
                     .blocks = p->block_count,
                     .sources = p->source_count,
                     .places = p->place_count,
                     .store = p->store_length,
                     .outputs = p->output_count,
                     .guards = p->guard_count,
                     .nodes = p->nodes,
                     .recorded = p->recorded,
                     .shared = p->shared,
                     .live = p->live,
                     .summed = p->summed,
                     .combined = p->combined};
    uint64_t all[SIZES];
    memcpy(all, &s, sizeof all);
    for (size_t i = 0; i < sizeof MAGIC; i++)
        put(w, MAGIC[i], 1);
    put(w, VERSION, 4);
    put(w, w->names, 4);
    put(w, length, 8);
    for (int i = 0; i < SIZES; i++)
        put(w, all[i], 8);
    put_names(w);
    put_numbers(w, p->constant, p->constants);
    for (size_t i = 0; i < p->step_count; i++)
        put_instruction(w, p, &p->steps[i]);
    put_slots(w, p->outputs, p->output_count);
    for (size_t i = 0; i < p->guard_count; i++)
        put_guard(w, p, &p->guards[i]);
}

int pyad_program_save(const pyad_program *p, int rules, size_t *size,
                      unsigned char **bytes)
{
    for (size_t i = 0; i < p->block_count; i++)
        if (p->blocks[i].kind == PYAD_BLOCK_CALL && !rules)
            return PYAD_ERROR_RULE_IN_FILE;
    writer w = {.to = NULL};
    put_program(&w, p, 0); /* numbers the names, which stand before the instructions */
    *size = w.at + (size_t)w.names * NAME + 4;
    w.to = pyad_buffer_new(*size);
    if (!w.to)
        return PYAD_ERROR_NO_MEMORY;
    w.at = 0;
    put_program(&w, p, *size);
    put(&w, checksum(w.to, w.at), 4);
    *bytes = w.to;
    return PYAD_OK;
}

/* ---- reading ---------------------------------------------------------------------- */

typedef struct {
    const unsigned char *at, *end;
    int status; /* of the first field that is wrong; all fields after it are 0 */
    pyad_program *p;
    sizes most;
    int names;
    int number[NAMES]; /* of each name of the file */
    uint64_t out;      /* the slot of the next result: operands stand before it */
} reader;

static void refuse(reader *r, int status)
{
    if (!r->status)
        r->status = status;
    r->at = r->end;
}

static int expect(reader *r, int holds)
{
    if (!holds)
        refuse(r, PYAD_ERROR_BAD_FILE);
    return !r->status;
}

static size_t left(const reader *r) { return (size_t)(r->end - r->at); }

static uint64_t get(reader *r, int bytes)
{
    uint64_t x = 0;
    if (!expect(r, left(r) >= (size_t)bytes))
        return 0;
    for (int i = 0; i < bytes; i++)
        x |= (uint64_t)*r->at++ << 8 * i;
    return x;
}

/* A field that is at most `most`. */
static uint64_t get_most(reader *r, int bytes, uint64_t most)
{
    const uint64_t x = get(r, bytes);
    return expect(r, x <= most) ? x : 0;
}

static uint32_t get_slot(reader *r, uint64_t below)
{
    const uint64_t x = get(r, 4);
    return expect(r, x < below) ? (uint32_t)x : 0;
}

static uint32_t get_count(reader *r) { return (uint32_t)get(r, 4); }

static void get_numbers(reader *r, double *to, uint64_t count)
{
    if (!expect(r, count <= left(r) / 8))
        return;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t bits = get(r, 8);
        memcpy(&to[i], &bits, sizeof bits);
    }
}

/* A run of slots before `below`: `count` of them from one on. */
static uint32_t get_run(reader *r, uint64_t count, uint64_t below)
{
    const uint64_t at = get(r, 4);
    return expect(r, at + count <= below) ? (uint32_t)at : 0;
}

/* Room for slots of a list: where they begin, or 0 if there is none. */
static uint32_t take_places(reader *r, uint64_t count)
{
    pyad_program *p = r->p;
    const size_t at = p->place_count;
    if (!expect(r, count <= r->most.places - at && count <= left(r) / 4))
        return 0;
    p->place_count += count;
    return (uint32_t)at;
}

/* Bytes of the store, as an offset. */
static size_t take_store(reader *r, uint64_t bytes)
{
    const size_t at = r->p->store_length;
    if (!expect(r,
                bytes <= r->most.store && pyad_store_round(bytes) <= r->most.store - at))
        return 0;
    r->p->store_length += pyad_store_round(bytes);
    return at;
}

/* ---- instructions ----------------------------------------------------------------- */

static void get_step(reader *r, int op, int active)
{
    uint32_t x[3] = {0, 0, 0};
    const int operands = operands_of(op);
    expect(r, operands > 0 && active < 1 << operands);
    for (int i = 0; i < operands; i++)
        x[i] = get_slot(r, r->out);
    r->p->steps[r->p->step_count++] = (program_step){
        (uint16_t)op, program_code((unsigned)op, (unsigned)active), x[0], x[1], x[2]};
    r->out++;
}

static void get_group(reader *r, int op, int active)
{
    pyad_program *p = r->p;
    const int operands = operands_of(op);
    program_group g = {.op = (uint16_t)op,
                       .active = (uint8_t)active,
                       .operands = (uint8_t)operands,
                       .order = (uint8_t)get(r, 1)};
    for (int i = 0; i < 3; i++)
        g.mode[i] = (uint8_t)get_most(r, 1, i < operands ? MODE_LIST : 0);
    g.count = get_count(r);
    g.out = (uint32_t)r->out;
    expect(r, operands > 0 && active < 1 << operands && p->group_count < r->most.groups);
    expect(r, g.order <= (op < PYAD_OP_COUNT ? operands : 0));
    for (int i = 0; i < operands && !r->status; i++) {
        if (g.mode[i] != MODE_LIST) {
            g.at[i] = get_run(r, g.mode[i] == MODE_RUN ? g.count : 1, r->out);
            continue;
        }
        g.at[i] = take_places(r, g.count);
        for (uint32_t k = 0; k < g.count && !r->status; k++)
            p->places[g.at[i] + k] = get_slot(r, r->out);
    }
    if (r->status)
        return;
    p->steps[p->step_count++] =
        (program_step){.op = PROGRAM_GROUP, .a = (uint32_t)p->group_count};
    p->groups[p->group_count++] = g;
    r->out += g.count;
}

static void get_list(reader *r, int op, int active)
{
    pyad_program *p = r->p;
    program_list list = {.op = (uint16_t)op,
                         .active = (uint8_t)active,
                         .mode = (uint8_t)get_most(r, 4, MODE_LIST),
                         .count = get_count(r),
                         .out = (uint32_t)r->out};
    const int pairs = list.mode == MODE_RUN;
    expect(r, active <= 1 && list.mode != MODE_ONE && p->list_count < r->most.lists);
    if (op != PROGRAM_FOLD) /* pairs of arguments come whole */
        expect(r,
               op >= PYAD_OP_SUM && op < PYAD_OP_COUNT && !pairs &&
                   ((op != PYAD_OP_DOT && op != PYAD_OP_LINCOMB) || list.count % 2 == 0));
    list.at = take_places(r, (uint64_t)list.count * (pairs ? 2 : 1));
    for (uint32_t k = 0; k < list.count && !r->status; k++) {
        uint32_t *place = &p->places[list.at + (pairs ? 2 * (size_t)k : k)];
        place[0] = get_slot(r, r->out);
        if (pairs)
            place[1] = (uint32_t)get_most(r, 4, r->out - place[0]);
    }
    if (r->status)
        return;
    p->steps[p->step_count++] =
        (program_step){.op = op == PROGRAM_FOLD ? PROGRAM_FOLD : PROGRAM_MANY,
                       .a = (uint32_t)p->list_count};
    p->lists[p->list_count++] = list;
    r->out++;
}

/* Whether (length - 1) * step moves by less than `count`; then *reach is how far. */
static int fits(uint64_t length, uint64_t step, uint64_t count, uint64_t *reach)
{
    *reach = 0;
    if (length <= 1)
        return step <= UINT32_MAX;
    if (!count || step > (count - 1) / (length - 1))
        return 0;
    *reach = (length - 1) * step;
    return 1;
}

/* A layout of `size` numbers on the contiguous side, of `count` on the other. */
static size_t get_layout(reader *r, uint64_t size, uint64_t count)
{
    const uint64_t ndim = get_most(r, 8, 64), offset = get(r, 8);
    const size_t at = take_store(r, sizeof(pyad_layout) + 2 * ndim * sizeof(int64_t));
    if (!expect(r, offset < count))
        return 0;
    pyad_layout *layout = (pyad_layout *)(r->p->store + at);
    layout->ndim = (size_t)ndim;
    layout->offset = (int64_t)offset;
    uint64_t numbers = 1, above = offset, below = offset, reach;
    for (uint64_t i = 0; i < 2 * ndim && !r->status; i++)
        layout->sides[i] = (int64_t)get(r, 8);
    for (uint64_t i = 0; i < ndim && !r->status; i++) {
        const uint64_t length = (uint64_t)layout->sides[i];
        const int64_t stride = layout->sides[ndim + i];
        const uint64_t step = stride < 0 ? 0 - (uint64_t)stride : (uint64_t)stride;
        if (!expect(r, length > 0 && length <= size / numbers) ||
            !expect(r, fits(length, step, count, &reach)))
            return 0;
        numbers *= length;
        if (stride > 0)
            above += reach;
        else
            expect(r, reach <= below);
        below -= stride > 0 || r->status ? 0 : reach;
    }
    expect(r, numbers == size && above < count);
    return at;
}

static pyad_matrix get_matrix(reader *r, const pyad_product *p, uint64_t rows,
                              uint64_t columns, uint64_t count)
{
    uint64_t x[4], batch, down, along;
    for (int i = 0; i < 4; i++)
        x[i] = get_most(r, 8, 1u << 30);
    if (p->batch && rows && columns)
        expect(r, x[0] < count && fits(p->batch, x[1], count, &batch) &&
                      fits(rows, x[2], count, &down) &&
                      fits(columns, x[3], count, &along) &&
                      x[0] + batch + down + along < count);
    return (pyad_matrix){(int64_t)x[0], (int64_t)x[1], (int64_t)x[2], (int64_t)x[3]};
}

static size_t get_product(reader *r, uint64_t size, const program_source *x)
{
    const size_t at = take_store(r, sizeof(pyad_product));
    uint64_t side[4];
    for (int i = 0; i < 4; i++)
        side[i] = get_most(r, 8, UINT32_MAX);
    if (r->status)
        return 0;
    pyad_product p = {.batch = (size_t)side[0],
                      .m = (size_t)side[1],
                      .k = (size_t)side[2],
                      .n = (size_t)side[3]};
    p.a = get_matrix(r, &p, p.m, p.k, x[0].count);
    p.b = get_matrix(r, &p, p.k, p.n, x[1].count);
    /* Where both repeat numbers along k, these do not bound how long it takes. */
    expect(r, p.k <= LONGEST_REPEAT || p.a.column > 0 || p.b.row > 0);
    const uint64_t stack = side[0] * side[1]; /* below 2**64 */
    expect(r, side[3] == 0 || stack <= size / side[3]);
    if (expect(r, stack * side[3] == size))
        memcpy(r->p->store + at, &p, sizeof p);
    return at;
}

static size_t get_cumsum(reader *r, uint64_t size)
{
    const size_t at = take_store(r, sizeof(pyad_cumsum));
    uint64_t side[3];
    for (int i = 0; i < 3; i++)
        side[i] = get_most(r, 8, UINT32_MAX);
    const int from_end = (int)get_most(r, 8, 1);
    const uint64_t plane = side[0] * side[1];
    expect(r, side[2] == 0 || plane <= size / side[2]);
    if (expect(r, plane * side[2] == size)) {
        const pyad_cumsum c = {(size_t)side[0], (size_t)side[1], (size_t)side[2],
                               from_end};
        memcpy(r->p->store + at, &c, sizeof c);
    }
    return at;
}

static size_t get_linear(reader *r, uint32_t count)
{
    const size_t at = take_store(r, sizeof(program_linear));
    program_linear l = {.first = take_store(r, ((uint64_t)count + 1) * sizeof(uint32_t))};
    uint32_t last = 0;
    if (!expect(r, count < left(r) / 4))
        return 0;
    for (uint32_t i = 0; i <= count; i++) {
        const uint32_t next = get_count(r);
        expect(r, i == 0 ? next == 0 : next >= last);
        ((uint32_t *)(r->p->store + l.first))[i] = last = next;
    }
    l.slots = take_store(r, (uint64_t)last * sizeof(uint32_t));
    l.weights = take_store(r, (uint64_t)last * sizeof(double));
    l.base = take_store(r, (uint64_t)count * sizeof(double));
    if (!expect(r, last <= left(r) / 4))
        return 0;
    for (uint32_t k = 0; k < last; k++)
        ((uint32_t *)(r->p->store + l.slots))[k] = get_slot(r, r->out);
    get_numbers(r, (double *)(r->p->store + l.weights), last);
    get_numbers(r, (double *)(r->p->store + l.base), count);
    memcpy(r->p->store + at, &l, sizeof l);
    return at;
}

static void get_block(reader *r, int kind, int active)
{
    static const uint32_t sources[KINDS] = {[PYAD_BLOCK_SPREAD] = 1,
                                            [PYAD_BLOCK_COLLECT] = 1,
                                            [PYAD_BLOCK_PRODUCT] = 2,
                                            [PYAD_BLOCK_CUMSUM] = 1};
    pyad_program *p = r->p;
    program_block b = {.kind = (uint8_t)kind,
                       .active = (uint8_t)active,
                       .count = get_count(r),
                       .out = (uint32_t)r->out,
                       .source = (uint32_t)p->source_count,
                       .sources = get_count(r)};
    if (kind == PYAD_BLOCK_CALL)
        refuse(r, PYAD_ERROR_RULE_IN_FILE);
    if (!expect(r, active <= 1 && b.sources == sources[kind] &&
                       p->block_count < r->most.blocks) ||
        !expect(r, b.sources <= r->most.sources - p->source_count))
        return;
    program_source *x = p->sources + p->source_count;
    for (uint32_t i = 0; i < b.sources; i++) {
        const uint64_t at = get(r, 4), count = get(r, 4);
        x[i] =
            (program_source){(uint32_t)at, (uint32_t)count, (int)get_most(r, 4, 1), 0, 0};
        expect(r, at + count <= r->out);
    }
    p->source_count += b.sources;
    if (r->status)
        return;
    if (kind == PYAD_BLOCK_SPREAD)
        b.data = get_layout(r, b.count, x->count);
    else if (kind == PYAD_BLOCK_COLLECT)
        b.data = get_layout(r, x->count, b.count);
    else if (kind == PYAD_BLOCK_PRODUCT)
        b.data = get_product(r, b.count, x);
    else if (kind == PYAD_BLOCK_CUMSUM && expect(r, x->count == b.count))
        b.data = get_cumsum(r, b.count);
    else if (kind == PYAD_BLOCK_LINEAR)
        b.data = get_linear(r, b.count);
    if (r->status)
        return;
    p->steps[p->step_count++] =
        (program_step){.op = PROGRAM_BLOCK, .a = (uint32_t)p->block_count};
    p->blocks[p->block_count++] = b;
    r->out += b.count;
}

static void get_instruction(reader *r)
{
    const uint64_t tag = get_most(r, 1, TAGS - 1);
    const int active = (int)get(r, 1);
    const uint64_t name = get(r, 2);
    if (!expect(r, name < (uint64_t)r->names))
        return;
    const int number = r->number[name];
    if (!expect(r, (tag == TAG_BLOCK) == (number >= PROGRAM_OPS)))
        return;
    if (tag == TAG_STEP)
        get_step(r, number, active);
    else if (tag == TAG_GROUP)
        get_group(r, number, active);
    else if (tag == TAG_LIST)
        get_list(r, number, active);
    else
        get_block(r, number - PROGRAM_OPS, active);
    expect(r, r->out < PYAD_CONSTANT);
}

static void get_guard(reader *r)
{
    pyad_program *p = r->p;
    program_guard g = {.relation = (uint8_t)get_most(r, 1, PYAD_NOT_EQUAL),
                       .outcome = (uint8_t)get_most(r, 1, 1),
                       .step_a = (uint8_t)get_most(r, 1, 1),
                       .step_b = (uint8_t)get_most(r, 1, 1),
                       .outcomes = SIZE_MAX};
    const uint64_t a = get(r, 4), b = get(r, 4);
    g.a = (uint32_t)a;
    g.b = (uint32_t)b;
    g.count = get_count(r);
    const uint64_t several = get_most(r, 4, 1), last = (uint64_t)g.count - 1;
    expect(r,
           g.count > 0 && (several || g.count == 1) && p->guard_count < r->most.guards);
    expect(r, a + g.step_a * last < r->out && b + g.step_b * last < r->out);
    if (several) {
        g.outcomes = take_store(r, g.count);
        if (!expect(r, g.count <= left(r)))
            return;
        for (uint32_t k = 0; k < g.count; k++)
            p->store[g.outcomes + k] = (unsigned char)get_most(r, 1, 1);
    }
    if (!r->status)
        p->guards[p->guard_count++] = g;
}

/* ---- all of it -------------------------------------------------------------------- */

/* Counts are believed so far as the file has the bytes for them. */
static void get_sizes(reader *r)
{
    uint64_t all[SIZES];
    for (int i = 0; i < SIZES; i++)
        all[i] = get(r, 8);
    memcpy(&r->most, all, sizeof r->most);
    const sizes *s = &r->most;
    const uint64_t size = left(r);
    expect(r, s->constants <= size && s->steps <= size && s->groups <= size &&
                  s->lists <= size && s->blocks <= size && s->sources <= size &&
                  s->places <= size && s->store <= STORE_TIMES * size &&
                  s->outputs <= size && s->guards <= size);
    expect(r, 8 * s->constants + 8 * s->steps + 8 * s->groups + 4 * s->lists +
                      8 * s->blocks + 12 * s->sources + 4 * s->places + 4 * s->outputs +
                      20 * s->guards <=
                  size);
    expect(r, s->inputs < PYAD_CONSTANT && s->constants + s->inputs < PYAD_CONSTANT);
    r->out = s->constants + s->inputs;
}

static void get_names(reader *r, uint64_t count)
{
    if (!expect(r, count <= NAMES && count <= left(r) / NAME))
        return;
    for (; (uint64_t)r->names < count && !r->status; r->at += r->status ? 0 : NAME) {
        const char *name = (const char *)r->at;
        if (!expect(r, memchr(name, 0, NAME) != NULL))
            return;
        r->number[r->names++] = number_of(name);
        if (r->number[r->names - 1] < 0)
            refuse(r, PYAD_ERROR_FILE_VERSION);
    }
}

static int make_room(reader *r)
{
    pyad_program *p = r->p;
    const sizes *s = &r->most;
    p->constant = pyad_buffer_new((s->constants + 1) * sizeof *p->constant);
    p->steps = pyad_buffer_new((s->steps + 1) * sizeof *p->steps);
    p->groups = pyad_buffer_new((s->groups + 1) * sizeof *p->groups);
    p->lists = pyad_buffer_new((s->lists + 1) * sizeof *p->lists);
    p->blocks = pyad_buffer_new((s->blocks + 1) * sizeof *p->blocks);
    p->sources = pyad_buffer_new((s->sources + 1) * sizeof *p->sources);
    p->places = pyad_buffer_new((s->places + 1) * sizeof *p->places);
    p->outputs = pyad_buffer_new((s->outputs + 1) * sizeof *p->outputs);
    p->guards = pyad_buffer_new((s->guards + 1) * sizeof *p->guards);
    p->store = pyad_buffer_new(s->store + 8);
    if (!p->constant || !p->steps || !p->groups || !p->lists || !p->blocks ||
        !p->sources || !p->places || !p->outputs || !p->guards || !p->store)
        return PYAD_ERROR_NO_MEMORY;
    memset(p->store, 0, s->store + 8);
    return PYAD_OK;
}

static void get_program(reader *r)
{
    pyad_program *p = r->p;
    const sizes *s = &r->most;
    p->constants = s->constants;
    p->inputs = s->inputs;
    p->nodes = s->nodes;
    p->recorded = s->recorded;
    p->shared = s->shared;
    p->live = s->live;
    p->summed = s->summed;
    p->combined = s->combined;
    get_numbers(r, p->constant, s->constants);
    while (p->step_count < s->steps && !r->status)
        get_instruction(r);
    p->slots = (size_t)r->out;
    for (; p->output_count < s->outputs && !r->status; p->output_count++)
        p->outputs[p->output_count] = get_slot(r, r->out);
    for (uint64_t i = 0; i < s->guards && !r->status; i++)
        get_guard(r);
    expect(r, left(r) == 0 && p->group_count == s->groups && p->list_count == s->lists &&
                  p->block_count == s->blocks && p->source_count == s->sources &&
                  p->place_count == s->places); /* the store may have been wider */
}

int pyad_program_load(const pyad_tape *tape, size_t size, const unsigned char *bytes,
                      pyad_program **result)
{
    *result = NULL;
    if (size < HEADER + 8 * SIZES + 4 || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return PYAD_ERROR_BAD_FILE;
    reader r = {.at = bytes + sizeof MAGIC, .end = bytes + size};
    if (get(&r, 4) != VERSION)
        return PYAD_ERROR_FILE_VERSION;
    const uint64_t names = get(&r, 4), length = get(&r, 8);
    r.end -= 4;
    reader last = {.at = r.end, .end = bytes + size};
    if (length != size || get(&last, 4) != checksum(bytes, size - 4))
        return PYAD_ERROR_BAD_FILE;
    get_sizes(&r);
    get_names(&r, names);
    if (r.status)
        return r.status;
    r.p = pyad_buffer_new(sizeof *r.p);
    if (!r.p)
        return PYAD_ERROR_NO_MEMORY;
    *r.p = (pyad_program){.loops = tape ? tape->loops : NULL};
    r.status = make_room(&r);
    if (!r.status)
        get_program(&r);
    if (!r.status)
        r.status = program_find_chains(r.p);
    if (r.status)
        pyad_program_free(r.p);
    else
        *result = r.p;
    return r.status;
}

size_t pyad_program_inputs(const pyad_program *p) { return p->inputs; }

size_t pyad_program_outputs(const pyad_program *p) { return p->output_count; }
