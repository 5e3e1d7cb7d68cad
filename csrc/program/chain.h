/* Running chains (see program.h). */
#pragma once
#include "kernels.h"

/* What a run has: values and adjoints of all slots; those of the inputs, which may stand
 * elsewhere; tiles. */
typedef struct {
    double *v, *adjoints;
    const double *inputs;
    double *gradient;
    double *tiles; /* program_tiles numbers */
} program_memory;

/* The room of one run: values and adjoints of all slots, `program_tiles` numbers, and the
 * places of the loose inputs. */
size_t program_tiles(const pyad_program *p);
program_place *program_places(const pyad_program *p, double *room);
void program_chain_values(const pyad_program *p, const program_chain *c,
                          const program_memory *m);
/* After the values; adjoints of the results are zero afterwards. */
void program_chain_adjoints(const pyad_program *p, const program_chain *c,
                            const program_memory *m);
/* Both at once: only if the adjoints of the results are known before. */
void program_chain_both(const pyad_program *p, const program_chain *c,
                        const program_memory *m);
