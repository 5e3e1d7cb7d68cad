/* Evaluating a program at many points, LANES of them side by side. */
#define LANES 8
#define NAME(X) many_##X
#define EXECUTOR WIDEST_LANES
#include "execute.h"

/* Results of an instruction, in the mean, from which on rows run one after the other:
 * sum(exp(-x*x/2)*sin(x)) takes as long either way at n = 100, and 0.6 at n = 1000. */
enum { MOST_RESULTS = 64, MOST_BESIDE_BLOCKS = 8 };

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

/* `lanes` numbers of `count` things, to their rows or to their sum, of rows that hold. */
static void write_rows(const double *from, size_t lanes, size_t count, size_t row,
                       size_t rows, const unsigned char *holds, double *to, size_t step,
                       double *rest)
{
    for (size_t l = 0; l < rows; l++)
        for (size_t k = 0; k < count; k++)
            if (step)
                to[(row + l) * step + k] = from[k * lanes + l];
            else if (holds[l])
                add_exactly(from[k * lanes + l], &to[k], &rest[k]);
}

static void write_outputs(const batch *s, size_t row, size_t rows,
                          const unsigned char *holds)
{
    const pyad_program *p = s->p;
    for (size_t i = 0; s->b->outputs && i < p->output_count; i++)
        write_rows(s->v + AT(p->outputs[i]), LANES, 1, row, rows, holds,
                   s->b->outputs + i, s->b->output_step, s->rests + i);
}

/* The adjoints of the inputs, which stand at `from`. */
static void write_slopes(const batch *s, const double *from, size_t lanes, size_t row,
                         size_t rows, const unsigned char *holds)
{
    double *rest = s->rests + s->p->output_count;
    for (size_t i = 0; i < s->b->inputs; i++) {
        const pyad_batch_input *x = &s->b->input[i];
        if (x->gradient)
            write_rows(from, lanes, x->count, row, rows, holds, x->gradient,
                       x->gradient_step, rest);
        from += x->count * lanes;
        rest += x->count;
    }
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
    write_slopes(s, s->adjoints + AT(p->constants), LANES, row, rows, holds);
    many_clear(p, s->v);
    return PYAD_OK;
}

/* What was rounded off goes into the sums, if nobody asks for it. */
static void finish_sums(const batch *s)
{
    const double *rest = s->rests;
    if (s->b->rests)
        return;
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

/* Row by row, in the memory of one. */
static int run_rows(const pyad_program *p, const pyad_batch *b, size_t first, size_t rows)
{
    const size_t rests = p->output_count + p->inputs;
    double *memory =
        pyad_buffer_new((pyad_program_room(p) + 3 * rests + 1) * sizeof *memory);
    if (!memory)
        return PYAD_ERROR_NO_MEMORY;
    batch s = {p, b, NULL, NULL, NULL, NULL, memory};
    double *outputs = memory + rests, *given = outputs + p->output_count;
    double *gradient = given + p->inputs, *room = memory + 3 * rests;
    memset(s.rests, 0, rests * sizeof *s.rests);
    if (b->rests)
        s.rests = b->rests;
    pyad_program_prepare(p, room);
    int status = PYAD_OK;
    for (size_t row = first; row < first + rows && !status; row++) {
        const double *x = given;
        double *to = given, *slopes = gradient;
        if (b->inputs == 1) { /* where it is */
            x = b->input->x + row * b->input->step;
            if (b->input->gradient && b->input->gradient_step)
                slopes = b->input->gradient + row * b->input->gradient_step;
        }
        for (size_t i = 0; i < b->inputs && x == given; to += b->input[i++].count)
            memcpy(to, b->input[i].x + row * b->input[i].step,
                   b->input[i].count * sizeof *to);
        int fits;
        status = b->seeds ? pyad_program_value_gradient(p, room, x,
                                                        b->seeds + row * b->seed_step,
                                                        outputs, slopes, &fits)
                          : pyad_program_value(p, room, x, outputs, &fits);
        if (status)
            break;
        const unsigned char holds = fits != 0;
        b->holds[row] = holds;
        if (b->outputs)
            write_rows(outputs, 1, p->output_count, row, 1, &holds, b->outputs,
                       b->output_step, s.rests);
        if (b->seeds && holds && slopes == gradient)
            write_slopes(&s, gradient, 1, row, 1, &holds);
    }
    if (!status)
        finish_sums(&s);
    pyad_buffer_release(memory);
    return status;
}

/* Whether most of the work is loops over long runs, which have vector instructions of
 * their own and chains that stay in the cache, or blocks that know one point only. */
static int is_wide(const pyad_program *p)
{
    size_t most = MOST_RESULTS;
    for (size_t i = 0; i < p->block_count; i++) {
        const int kind = p->blocks[i].kind;
        if (kind != PYAD_BLOCK_SPREAD && kind != PYAD_BLOCK_COLLECT &&
            kind != PYAD_BLOCK_LINEAR && kind != PYAD_BLOCK_CUMSUM)
            most = MOST_BESIDE_BLOCKS;
    }
    return (p->slots - p->constants - p->inputs) / (p->step_count + 1) >= most;
}

int pyad_program_batch(const pyad_program *p, const pyad_batch *b, size_t first,
                       size_t rows)
{
    if (!rows)
        return PYAD_OK;
    if (is_wide(p))
        return run_rows(p, b, first, rows);
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
    if (b->rests)
        s.rests = b->rests;
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
