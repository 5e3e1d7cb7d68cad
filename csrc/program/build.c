/* From a recording to a program. */
#include <string.h>

#include "../blocks/life.h"
#include "../blocks/pending.h"
#include "../buffer.h"
#include "../tape.h"
#include "build.h"

static void release(draft *d)
{
    pyad_buffer_release(d->nodes);
    pyad_buffer_release(d->owner);
    pyad_buffer_release(d->now);
    pyad_buffer_release(d->constants);
    pyad_buffer_release(d->arguments);
    pyad_buffer_release(d->table);
    pyad_buffer_release(d->constant_table);
    pyad_buffer_release(d->outputs);
}

void pyad_program_free(pyad_program *p)
{
    if (!p)
        return;
    pyad_buffer_release(p->constant);
    for (size_t i = 0; i < p->block_count; i++)
        if (p->blocks[i].rule)
            p->blocks[i].rule->release(p->blocks[i].rule);
    pyad_buffer_release(p->guards);
    pyad_buffer_release(p->blocks);
    pyad_buffer_release(p->sources);
    pyad_buffer_release(p->store);
    pyad_buffer_release(p->steps);
    pyad_buffer_release(p->groups);
    pyad_buffer_release(p->lists);
    pyad_buffer_release(p->places);
    pyad_buffer_release(p->outputs);
    pyad_buffer_release(p->chains);
    pyad_buffer_release(p->links);
    pyad_buffer_release(p->cleared);
    pyad_buffer_release(p->loose);
    pyad_buffer_release(p);
}

/* Operations that are needed still. */
static size_t count_live(const draft *d)
{
    size_t live = 0;
    for (size_t i = d->inputs; i < d->count; i++)
        live += d->nodes[i].live;
    return live;
}

int pyad_program_new(const pyad_tape *tape, size_t from, size_t inputs,
                     const pyad_input *input, size_t outputs, const pyad_operand *output,
                     pyad_program **result)
{
    draft d = {.tape = tape, .from = from, .inputs = inputs, .output_count = outputs};
    pyad_program *p = pyad_buffer_new(sizeof *p);
    d.outputs = pyad_buffer_new((outputs + 1) * sizeof *d.outputs);
    int status = p && d.outputs ? PYAD_OK : PYAD_ERROR_NO_MEMORY;
    *result = NULL;
    pyad_tape_store_values(tape);
    if (p)
        *p = (pyad_program){.nodes = tape->length - from, .loops = tape->loops};
    if (!status)
        status = draft_import(&d, input, output);
    if (!status) {
        p->recorded = d.recorded;
        p->shared = d.count - d.inputs;
        draft_mark(&d);
        p->live = count_live(&d);
        draft_fold_sums(&d);
        p->summed = count_live(&d);
        draft_multiply_add(&d);
        p->combined = count_live(&d);
        status = draft_schedule(&d, p);
    }
    if (!status)
        status = program_find_chains(p);
    release(&d);
    if (status)
        pyad_program_free(p);
    else
        *result = p;
    return status;
}

pyad_program_info pyad_program_describe(const pyad_program *p)
{
    size_t grouped = 0;
    for (size_t i = 0; i < p->group_count; i++)
        grouped += p->groups[i].count;
    return (pyad_program_info){
        .nodes = p->nodes,
        .recorded = p->recorded,
        .shared = p->shared,
        .live = p->live,
        .summed = p->summed,
        .combined = p->combined,
        .steps = p->step_count,
        .groups = p->group_count,
        .blocks = p->block_count,
        .grouped = grouped,
        .constants = p->constants,
        .guards = p->guard_count,
        .bytes = p->step_count * sizeof *p->steps + p->group_count * sizeof *p->groups +
                 p->list_count * sizeof *p->lists + p->block_count * sizeof *p->blocks +
                 p->source_count * sizeof *p->sources + p->store_length +
                 p->place_count * sizeof *p->places + p->constants * sizeof *p->constant +
                 p->guard_count * sizeof *p->guards,
    };
}
