/* Programs as bytes: random programs are saved and loaded again, then damaged in many
 * ways with the checksum put right, and whatever still loads is run. Meant for the
 * address sanitizer, which sees what a damaged program would touch. Prints "ok". */
#include "blocks_pair.h"
#include "guard.h"
#include "program/program.h"

enum { INPUTS = 4, LARGEST = 200000 };

static uint32_t checksum(const unsigned char *bytes, size_t count)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void repair(unsigned char *bytes, size_t size)
{
    const uint32_t crc = checksum(bytes, size - 4);
    for (int i = 0; i < 4; i++)
        bytes[size - 4 + (size_t)i] = (unsigned char)(crc >> 8 * i);
}

/* ---- programs --------------------------------------------------------------------- */

static void guard(pair *p)
{
    uint8_t outcomes[64] = {0};
    const array *x = any_on_tape(p), *y = any(p);
    size_t count = x->count < y->count ? x->count : y->count;
    count = count < 64 ? count : 64;
    const int relation = (int)draw(4);
    NEED(pyad_tape_guard_block(p->blocks, relation, count, vector(p, x, 0, count),
                               draw(2) ? vector(p, y, 0, count) : number(p, y, 0),
                               outcomes) == PYAD_OK);
    const pyad_operand a = {x->numbers[0].value, x->node};
    const pyad_operand b = {uniform(), PYAD_CONSTANT};
    NEED(pyad_tape_guard(p->blocks, relation, a, b) == PYAD_OK);
}

/* Additions of many numbers, which become a list; like operations, which become a group.
 */
static void loop(pair *p)
{
    array *x = any_on_tape(p), *r;
    if (x->count > 60)
        return;
    r = array_new(p, 1);
    pyad_operand sum = {0, PYAD_CONSTANT}, term;
    if (x->block != PYAD_NO_BLOCK)
        pyad_block_mark(p->blocks, x->block);
    for (size_t i = 0; i < x->count; i++) {
        const pyad_operand u = {x->numbers[i].value, x->node + (uint32_t)i};
        NEED(pyad_tape_apply(p->blocks, PYAD_OP_TANH, u, none, &term) == PYAD_OK);
        NEED(pyad_tape_apply(p->blocks, PYAD_OP_ADD, sum, term, &sum) == PYAD_OK);
    }
    r->node = sum.node;
    r->numbers[0] = (pyad_operand){sum.value, PYAD_CONSTANT};
}

static pyad_program *random_program(unsigned seed)
{
    static void (*const kinds[])(pair *) = {
        map, map, partial, spread, collect, linear, product, cumsum, scalar, guard, loop};
    pair p;
    pyad_input inputs[INPUTS];
    pyad_operand outputs[8];
    pyad_program *result;
    state = seed;
    program = seed;
    pair_new(&p);
    NEED(pyad_tape_guard_begin(p.blocks) == PYAD_OK);
    for (int i = 0; i < INPUTS; i++) {
        leaf(&p, seed % 5 == 2 ? 300 : 1 + draw(12)); /* of 256 on: chains */
        inputs[i] = (pyad_input){p.arrays[i].node, (uint32_t)p.arrays[i].count, i != 2};
    }
    constant(&p, 7);
    const uint32_t steps = 1 + draw(25);
    for (uint32_t i = 0; i < steps; i++)
        kinds[draw(sizeof kinds / sizeof *kinds)](&p);
    for (int i = 0; i < 8; i++) {
        const array *a = &p.arrays[draw(p.count)];
        const uint32_t k = draw((uint32_t)a->count);
        outputs[i] = a->node == PYAD_CONSTANT
                         ? (pyad_operand){a->numbers[k].value, PYAD_CONSTANT}
                         : (pyad_operand){a->numbers[k].value, a->node + k};
    }
    NEED(pyad_program_new(p.blocks, 0, INPUTS, inputs, 8, outputs, &result) == PYAD_OK);
    pyad_tape_guard_end(p.blocks);
    pair_free(&p);
    return result;
}

/* ---- running ---------------------------------------------------------------------- */

typedef struct {
    double *values, *gradient;
    size_t outputs, inputs;
    int holds;
} ran;

static ran run(const pyad_program *p, uint64_t point)
{
    ran r = {.outputs = pyad_program_outputs(p), .inputs = pyad_program_inputs(p)};
    double *room = malloc(pyad_program_room(p) * sizeof *room);
    double *x = malloc((r.inputs + 1) * sizeof *x);
    double *seeds = malloc((r.outputs + 1) * sizeof *seeds);
    r.values = malloc(r.outputs * sizeof *r.values);
    r.gradient = malloc(r.inputs * sizeof *r.gradient);
    NEED(room && x && seeds);
    const uint64_t kept = state;
    state = point;
    for (size_t i = 0; i < r.inputs; i++)
        x[i] = 0.2 + uniform();
    for (size_t i = 0; i < r.outputs; i++)
        seeds[i] = uniform() - 0.5;
    state = kept;
    pyad_program_prepare(p, room);
    int status = pyad_program_value(p, room, x, r.values, &r.holds);
    if (!status)
        status = pyad_program_gradient(p, room, seeds, r.gradient);
    if (!status) /* the way of both at once */
        (void)pyad_program_value_gradient(p, room, x, seeds, r.values, r.gradient,
                                          &r.holds);
    free(room);
    free(x);
    free(seeds);
    return r;
}

static void ran_free(ran r)
{
    free(r.values);
    free(r.gradient);
}

static void compare(const pyad_program *p, const pyad_program *q)
{
    for (unsigned point = 1; point < 5; point++) {
        ran a = run(p, point), b = run(q, point);
        NEED(a.inputs == b.inputs && a.outputs == b.outputs && a.holds == b.holds);
        NEED(memcmp(a.values, b.values, a.outputs * sizeof(double)) == 0);
        NEED(memcmp(a.gradient, b.gradient, a.inputs * sizeof(double)) == 0);
        ran_free(a);
        ran_free(b);
    }
}

/* ---- damage ----------------------------------------------------------------------- */

static uint64_t field(const unsigned char *bytes, int width)
{
    uint64_t x = 0;
    for (int i = 0; i < width; i++)
        x |= (uint64_t)bytes[i] << 8 * i;
    return x;
}

/* A number that a check may have forgotten. */
static uint64_t awkward(uint64_t x)
{
    static const uint64_t some[] = {0,          1,          2,          3,
                                    255,        65535,      1u << 30,   0x7fffffff,
                                    1u << 31,   0xfffffffe, 0xffffffff, 1ull << 32,
                                    1ull << 62, 1ull << 63, UINT64_MAX, UINT64_MAX - 1};
    switch (draw(6)) {
    case 0:
        return x + 1;
    case 1:
        return x - 1;
    case 2:
        return draw(64);
    case 3:
        return x * 2;
    case 4:
        return 0 - x;
    default:
        return some[draw(sizeof some / sizeof *some)];
    }
}

static void damage(unsigned char *bytes, size_t size)
{
    static const int widths[] = {1, 2, 4, 4, 4, 8, 8};
    const int width = widths[draw(7)];
    size_t at = 8 + draw((uint32_t)(size - 20));
    if (draw(4))
        at = at / 4 * 4; /* most fields begin at a multiple of 4 */
    if (draw(8) == 0) {  /* a stretch from elsewhere */
        const size_t from = 8 + draw((uint32_t)(size - 40)), length = 1 + draw(24);
        if (at + length < size - 4)
            memmove(bytes + at, bytes + from, length);
        return;
    }
    const uint64_t x = awkward(field(bytes + at, width));
    for (int i = 0; i < width; i++)
        bytes[at + (size_t)i] = (unsigned char)(x >> 8 * i);
}

/* 1 if the bytes are a program, which has then been run; 0 if they were refused. */
static int is_run(const unsigned char *bytes, size_t size)
{
    pyad_program *p;
    unsigned char *exact = malloc(size + !size);
    NEED(exact);
    memcpy(exact, bytes, size);
    const int status = pyad_program_load(NULL, size, exact, &p);
    free(exact);
    NEED((status == PYAD_OK) == (p != NULL));
    NEED(status == PYAD_OK || status == PYAD_ERROR_BAD_FILE ||
         status == PYAD_ERROR_FILE_VERSION || status == PYAD_ERROR_RULE_IN_FILE);
    if (p && pyad_program_room(p) + pyad_program_inputs(p) < LARGEST)
        ran_free(run(p, 7));
    pyad_program_free(p);
    return status == PYAD_OK;
}

static unsigned long check(unsigned seed, unsigned mutations)
{
    pyad_program *p = random_program(seed), *q;
    unsigned char *bytes, *copy;
    size_t size;
    unsigned long loaded = 0;
    NEED(pyad_program_save(p, 0, &size, &bytes) == PYAD_OK);
    NEED(pyad_program_load(NULL, size, bytes, &q) == PYAD_OK);
    compare(p, q);
    copy = malloc(size + 16);
    NEED(copy);
    memcpy(copy, bytes, size);
    if (seed % 16 == 1)
        for (size_t i = 0; i < size; i++)
            NEED(!is_run(bytes, i)); /* cut short */
    for (size_t bit = seed % 61; bit < 8 * size; bit += 61) {
        copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
        NEED(!is_run(copy, size)); /* the checksum finds it */
        copy[bit / 8] = bytes[bit / 8];
    }
    for (unsigned i = 0; i < mutations; i++) {
        memcpy(copy, bytes, size);
        for (uint32_t n = 1 + draw(3) * draw(2); n-- > 0;)
            damage(copy, size);
        repair(copy, size);
        loaded += (unsigned)is_run(copy, size);
    }
    free(copy);
    pyad_buffer_release(bytes);
    pyad_program_free(p);
    pyad_program_free(q);
    return loaded;
}

int main(int count, char **arguments)
{
    const unsigned programs = count > 1 ? (unsigned)atoi(arguments[1]) : 100;
    const unsigned mutations = count > 2 ? (unsigned)atoi(arguments[2]) : 500;
    (void)write_program;
    unsigned long loaded = 0;
    for (unsigned seed = 1; seed <= programs; seed++)
        loaded += check(seed, mutations);
    /* Some damage makes another program: then the checks behind the checksum were passed.
     */
    NEED(loaded > programs && loaded < (unsigned long)programs * mutations);
    printf("ok\n");
    return 0;
}
