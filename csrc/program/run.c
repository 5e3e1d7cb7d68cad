/* Evaluating a program at one point: values from the first step to the last, adjoints
 * back again. */
#define LANES 1
#define NAME(X) one_##X
#define EXECUTOR
#include "execute.h"

size_t pyad_program_room(const pyad_program *p)
{
    return 2 * p->slots + program_tiles(p) + 2 * p->loose_count;
}

void pyad_program_prepare(const pyad_program *p, double *room)
{
    one_prepare(p, room);
    pyad_program_take_back(p, room);
}

double *pyad_program_given(const pyad_program *p, double *room)
{
    return room + p->constants;
}

double *pyad_program_slopes(const pyad_program *p, double *room)
{
    return room + p->slots + p->constants;
}

int pyad_program_lend(const pyad_program *p, double *room, size_t from, size_t count,
                      const double *values, double *gradient)
{
    program_place *places = program_places(p, room);
    for (size_t i = 0; i < p->loose_count; i++)
        if (p->loose[i].from == from && p->loose[i].count == count) {
            if (values)
                places[i].values = values;
            if (gradient)
                places[i].gradient = gradient;
            return 1;
        }
    return 0;
}

void pyad_program_take_back(const pyad_program *p, double *room)
{
    program_place *places = program_places(p, room);
    for (size_t i = 0; i < p->loose_count; i++)
        places[i] = (program_place){pyad_program_given(p, room) + p->loose[i].from,
                                    pyad_program_slopes(p, room) + p->loose[i].from};
}

static void give(const pyad_program *p, double *room, const double *inputs)
{
    if (inputs != pyad_program_given(p, room))
        memcpy(pyad_program_given(p, room), inputs, p->inputs * sizeof *room);
}

/* The adjoints that the last sweep left; those of lists go to constants, too. */
static void clear(const pyad_program *p, double *room)
{
    double *adjoints = room + p->slots;
    if (p->list_count)
        memset(adjoints, 0, p->constants * sizeof *adjoints);
    for (size_t i = 0; i < p->cleared_count; i++)
        memset(adjoints + p->constants + p->cleared[i].from, 0,
               p->cleared[i].count * sizeof *adjoints);
}

static void hand_out(const pyad_program *p, double *room, double *gradient)
{
    if (gradient != pyad_program_slopes(p, room))
        memcpy(gradient, pyad_program_slopes(p, room), p->inputs * sizeof *gradient);
}

static int finish(const pyad_program *p, const double *v, double *outputs)
{
    unsigned char holds;
    for (size_t i = 0; i < p->output_count; i++)
        outputs[i] = v[p->outputs[i]];
    return (int)one_check(p, v, &holds);
}

int pyad_program_value(const pyad_program *p, double *room, const double *inputs,
                       double *outputs, int *holds)
{
    give(p, room, inputs);
    const int status = one_run(p, room);
    *holds = finish(p, room, outputs) && !status;
    return status;
}

int pyad_program_gradient(const pyad_program *p, double *room, const double *seeds,
                          double *gradient)
{
    clear(p, room); /* of the last sweep */
    const int status = one_reverse(p, room, seeds);
    if (!status)
        hand_out(p, room, gradient);
    return status;
}

/* The adjoints of the last chain's results are known before the chain runs, so that its
 * values and adjoints need one pass over the numbers. */
static int fused(const pyad_program *p, double *room, const double *inputs,
                 const double *seeds, double *outputs, double *gradient, int *holds)
{
    const program_chain *chain = &p->chains[p->chain_count - 1];
    const program_step *from = p->steps + chain->first, *behind = from + chain->steps;
    const program_step *end = p->steps + p->step_count;
    const program_step *last = behind - 1;
    const size_t first = program_out(p, from);
    const size_t next =
        program_out(p, last) + (last->op == PROGRAM_GROUP ? chain->count : 1);
    double *v = room, *adjoints = room + p->slots, *tiles = room + 2 * p->slots;
    program_memory memory = one_memory(p, v, tiles);
    if (p->direct) {
        memory.inputs = inputs;
        memory.gradient = gradient;
        if (!p->covered)
            memset(gradient, 0, p->inputs * sizeof *gradient);
    } else {
        give(p, room, inputs);
        clear(p, room);
    }
    one_seed(p, adjoints, seeds);
    int status = one_values(p, p->steps, from, p->constants + p->inputs, v, tiles);
    if (!status)
        status = one_sweep(p, behind, end, p->slots, v, adjoints, tiles);
    if (!status) {
        program_chain_both(p, chain, &memory);
        status = one_values(p, behind, end, next, v, tiles);
    }
    if (!status)
        status = one_sweep(p, p->steps, from, first, v, adjoints, tiles);
    if (status) {
        memset(adjoints, 0, p->slots * sizeof *adjoints);
        return status;
    }
    if (!p->direct)
        hand_out(p, room, gradient);
    *holds = finish(p, v, outputs);
    return PYAD_OK;
}

int pyad_program_value_gradient(const pyad_program *p, double *room, const double *inputs,
                                const double *seeds, double *outputs, double *gradient,
                                int *holds)
{
    if (p->fused)
        return fused(p, room, inputs, seeds, outputs, gradient, holds);
    int status = pyad_program_value(p, room, inputs, outputs, holds);
    if (!status && *holds)
        status = pyad_program_gradient(p, room, seeds, gradient);
    return status;
}
