/* Running chains (see program.h). */
#pragma once
#include "kernels.h"

/* What a run has: values and adjoints of all slots; those of the inputs, which may stand
 * elsewhere; tiles. */
typedef struct {
    double *v, *adjoints;
    const double *inputs;
    double *gradient;
    double *tiles; /* program_chain_room numbers */
} program_memory;

size_t program_chain_room(const pyad_program *p);
void program_chain_values(const pyad_program *p, const program_chain *c,
                          const program_memory *m);
/* After the values; adjoints of the results are zero afterwards. */
void program_chain_adjoints(const pyad_program *p, const program_chain *c,
                            const program_memory *m);
/* Both at once: only if the adjoints of the results are known before. */
void program_chain_both(const pyad_program *p, const program_chain *c,
                        const program_memory *m);
