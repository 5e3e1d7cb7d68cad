/* Evaluating a program at many points, LANES of them side by side. */
#define LANES 8
#define NAME(X) many_##X
#define EXECUTOR WIDEST_LANES
#include "execute.h"

/* Sums that lose nothing to their length: what was rounded off is kept beside them (A.
 * Neumaier, 1974). */
static void add_exactly(double x, double *sum, double *rest)
{
    const double total = *sum + x;
    if (isfinite(total))
        *rest += fabs(*sum) >= fabs(x) ? (*sum - total) + x : (x - total) + *sum;
    *sum = total;
}

typedef struct {
    const pyad_program *p;
    const pyad_batch *b;
    double *v, *adjoints, *tiles;
    double *seeds; /* LANES of each output */
    double *rests; /* of the sums of outputs, then of the gradient */
} batch;

/* The rows from `row` on, `count` of them; lanes behind them get the last one again. */
static void read_inputs(const batch *s, size_t row, size_t count, int shared)
{
    double *to = s->v + AT(s->p->constants);
    for (size_t i = 0; i < s->b->inputs; i++) {
        const pyad_batch_input *x = &s->b->input[i];
        if ((x->step == 0) == shared)
            for (size_t l = 0; l < LANES; l++) {
                const double *from = x->x + smaller(row + l, row + count - 1) * x->step;
                for (size_t k = 0; k < x->count; k++)
                    to[AT(k) + l] = from[k];
            }
        to += AT(x->count);
    }
}

/* LANES numbers of `count` things, to their rows or to their sum, of rows that hold. */
static void write_rows(const double *from, size_t count, size_t row, size_t rows,
                       const unsigned char *holds, double *to, size_t step, double *rest)
{
    for (size_t l = 0; l < rows; l++)
        for (size_t k = 0; k < count; k++)
            if (step)
                to[(row + l) * step + k] = from[AT(k) + l];
            else if (holds[l])
                add_exactly(from[AT(k) + l], &to[k], &rest[k]);
}

static void write_outputs(const batch *s, size_t row, size_t rows,
                          const unsigned char *holds)
{
    const pyad_program *p = s->p;
    for (size_t i = 0; s->b->outputs && i < p->output_count; i++)
        write_rows(s->v + AT(p->outputs[i]), 1, row, rows, holds, s->b->outputs + i,
                   s->b->output_step, s->rests + i);
}

static int write_gradients(const batch *s, size_t row, size_t rows,
                           const unsigned char *holds)
{
    const pyad_program *p = s->p;
    for (size_t i = 0; i < p->output_count; i++)
        for (size_t l = 0; l < LANES; l++)
            s->seeds[AT(i) + l] =
                l < rows && holds[l]
                    ? s->b->seeds[i + smaller(l, rows - 1) * s->b->seed_step +
                                  row * s->b->seed_step]
                    : 0;
    const int status = many_reverse(p, s->v, s->seeds);
    if (status)
        return status;
    const double *from = s->adjoints + AT(p->constants);
    double *rest = s->rests + p->output_count;
    for (size_t i = 0; i < s->b->inputs; i++) {
        const pyad_batch_input *x = &s->b->input[i];
        if (x->gradient)
            write_rows(from, x->count, row, rows, holds, x->gradient, x->gradient_step,
                       rest);
        from += AT(x->count);
        rest += x->count;
    }
    many_clear(p, s->v);
    return PYAD_OK;
}

/* What was rounded off goes into the sums. */
static void finish_sums(const batch *s)
{
    const double *rest = s->rests;
    for (size_t i = 0; i < s->p->output_count; i++, rest++)
        if (s->b->outputs && !s->b->output_step)
            s->b->outputs[i] += *rest;
    for (size_t i = 0; i < s->b->inputs; i++) {
        const pyad_batch_input *x = &s->b->input[i];
        for (size_t k = 0; k < x->count; k++, rest++)
            if (s->b->seeds && x->gradient && !x->gradient_step)
                x->gradient[k] += *rest;
    }
}

int pyad_program_batch(const pyad_program *p, const pyad_batch *b, size_t first,
                       size_t rows)
{
    if (!rows)
        return PYAD_OK;
    const size_t rests = p->output_count + p->inputs;
    double *memory = pyad_buffer_new(
        (2 * AT(p->slots) + many_TILES + AT(p->output_count) + rests + LANES) *
        sizeof *memory);
    if (!memory)
        return PYAD_ERROR_NO_MEMORY;
    /* The lanes of a slot are one line of the cache. */
    double *room = memory + (LANES - (uintptr_t)memory / sizeof *memory % LANES) % LANES;
    batch s = {p, b, room, room + AT(p->slots), room + 2 * AT(p->slots), NULL, NULL};
    s.seeds = s.tiles + many_TILES;
    s.rests = s.seeds + AT(p->output_count);
    many_prepare(p, room);
    memset(s.rests, 0, rests * sizeof *s.rests);
    read_inputs(&s, first, 1, 1);
    int status = PYAD_OK;
    for (size_t row = first; row < first + rows && !status; row += LANES) {
        const size_t count = smaller(first + rows - row, LANES);
        unsigned char holds[LANES];
        read_inputs(&s, row, count, 0);
        status = many_run(p, s.v);
        if (status)
            break;
        const size_t good = many_check(p, s.v, holds);
        memcpy(b->holds + row, holds, count);
        write_outputs(&s, row, count, holds);
        if (b->seeds && good)
            status = write_gradients(&s, row, count, holds);
    }
    if (!status)
        finish_sums(&s);
    pyad_buffer_release(memory);
    return status;
}
