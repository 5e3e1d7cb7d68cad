/* pyad: reverse- and forward-mode automatic differentiation on a flat tape. The public
 * header of the C library, and word for word the declarations that the Python binding
 * reads: hence no macros here.
 *
 * A recording is a strictly lower-triangular sparse matrix. Node i has a value; its row
 * holds the weights d(node i)/d(argument) at the indices of its arguments, all smaller
 * than i. A reverse sweep multiplies by the transpose from the last row up, a forward
 * sweep by the matrix from the first row down.
 *
 * Functions that can fail return a status: 0, or a row of errors.def; what they were
 * given is then as it was, unless they say otherwise. One tape may be used by one thread
 * at a time; different tapes are independent. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct pyad_tape pyad_tape;

/* An operand: a value, and the node that holds it or PYAD_CONSTANT (4294967295). */
typedef struct {
    double value;
    uint32_t node;
} pyad_operand;

/* ---- the life of a tape ----------------------------------------------------------- */

/* A new tape that holds at most `max_bytes` (0: no limit); NULL if there is no memory.
 * Owned. */
pyad_tape *pyad_tape_new(size_t max_bytes);
void pyad_tape_free(pyad_tape *tape);
/* Start again from zero nodes. Memory is kept for the next recording; pinned views stay
 * as they are. */
void pyad_tape_clear(pyad_tape *tape);

/* ---- recording -------------------------------------------------------------------- */

/* A new independent variable. */
int pyad_tape_leaf(pyad_tape *tape, double value, pyad_operand *result);
/* An operation of one or two arguments (`b` is not looked at for one). A result that
 * depends on constants only is itself a constant and makes no node. */
int pyad_tape_apply(pyad_tape *tape, int op, pyad_operand a, pyad_operand b,
                    pyad_operand *result);
/* An operation of any number of arguments. dot takes pairs x1, y1, x2, y2, ...; lincomb
 * takes pairs c1, x1, c2, x2, ... with constant c. */
int pyad_tape_apply_many(pyad_tape *tape, int op, size_t count,
                         const pyad_operand *arguments, pyad_operand *result);
/* A node whose value and partials the caller computed. */
int pyad_tape_given(pyad_tape *tape, double value, size_t count,
                    const pyad_operand *arguments, const double *partials,
                    pyad_operand *result);

/* Append the nodes of another tape from `from` on; what they use of those below becomes
 * constant. */
int pyad_tape_append(pyad_tape *tape, const pyad_tape *other, size_t from);
/* The same with every block written out as scalar nodes. map[i - from] is set to the node
 * that node i of `other` became; several may become one, and one that is computed from
 * constants alone PYAD_CONSTANT. On failure the tape keeps what was appended so far. */
int pyad_tape_expand(pyad_tape *tape, const pyad_tape *other, size_t from, uint32_t *map);
/* How many blocks (array operations) start at `from` or later. */
size_t pyad_tape_blocks(const pyad_tape *tape, size_t from);

/* An array operation on the tape. */
typedef struct {
    const char *name;      /* of the operation, borrowed; "leaf" for variables */
    uint32_t start, count; /* its nodes */
    int is_partial;  /* a partial derivative of the operation, in a recorded sweep */
    size_t operands; /* 0 for a gather, which picks any nodes */
} pyad_block_info;

int pyad_tape_block(const pyad_tape *tape, size_t block, pyad_block_info *info);
/* An operand of a block: `count` nodes from *node on, or constants (PYAD_CONSTANT). */
int pyad_tape_block_operand(const pyad_tape *tape, size_t block, size_t operand,
                            uint32_t *node, size_t *count);
/* Append the nodes from ... to - 1 with every block written out: each node with its
 * indices, which are those of `tape`, and its weights. `rows` is to be read by the
 * functions pyad_tape_pin_..., not swept. Stretches begin and end between blocks. On
 * failure `rows` keeps what was written so far. */
int pyad_tape_write(pyad_tape *rows, const pyad_tape *tape, size_t from, size_t to);

/* ---- sweeps ----------------------------------------------------------------------- */

/* Reverse sweep from one node; the adjoints stay readable until the next one. A sweep
 * that ran out of memory on the way leaves none. */
int pyad_tape_backward(pyad_tape *tape, uint32_t node, double seed);
/* The same from `count` nodes, each with a seed of its own; constants are passed over. */
int pyad_tape_backward_run(pyad_tape *tape, uint32_t count, const uint32_t *nodes,
                           const double *seeds);
/* The adjoint of a node after pyad_tape_backward; 0 for a node made since. */
double pyad_tape_adjoint(const pyad_tape *tape, uint32_t node);
/* Sweeps over the nodes from `from` (at most the length) to the last, for several seeds
 * at once, in place. The nodes below `from` count as constants. `rows` has length - from
 * + 1 rows of `seeds` doubles: row 0 belongs to the constants (it is cleared by the
 * sweep), row i - from + 1 to node i. On entry a row holds the seeds of its node, on
 * return its adjoints (reverse) or tangents (forward). Widths of 1, 4 and 8 are quickest:
 * pad 2 and 3 to 4, 5 to 7 to 8. On failure the rows are half swept. */
int pyad_tape_reverse(const pyad_tape *tape, size_t from, size_t seeds, double *rows);
int pyad_tape_forward(const pyad_tape *tape, size_t from, size_t seeds, double *rows);
/* The reverse sweep of one seed from `count` nodes, whose rows need not hold anything on
 * entry, which saves the time to clear them. Without `keep_all` only the rows of leaves
 * and of scalar nodes are adjoints on return, those of other arrays hold anything. */
int pyad_tape_reverse_run(const pyad_tape *tape, size_t from, uint32_t count,
                          const uint32_t *nodes, const double *seeds, double *rows,
                          int keep_all);
/* Both, and the derivative of the reverse sweep along each direction: rows as above, in
 * `tangents` and `second` of `directions` doubles, in `adjoints` of one. On entry the
 * tangents hold the directions, the adjoints the seeds, `second` usually zeros (it may
 * hold derivatives of the seeds). On return `adjoints` holds the adjoints, and `second`
 * their derivatives along the directions: with seed 1 on the node of a function, its
 * gradient and its Hessian-vector products in the rows of the leaves. On failure the rows
 * are half swept, but for PYAD_ERROR_NEEDS_RECORDING: then there are blocks without
 * second partials, and a sweep over a recorded gradient is what is left. */
int pyad_tape_second(const pyad_tape *tape, size_t from, size_t directions,
                     double *tangents, double *adjoints, double *second);
/* Whether any node from `from` on has an argument below `from`. */
int pyad_tape_touches(const pyad_tape *tape, size_t from);
/* After pyad_tape_backward(tape, node, ...): the node at which the first adjoint that is
 * not finite arose, or PYAD_CONSTANT. */
uint32_t pyad_tape_bad_adjoint(const pyad_tape *tape, uint32_t node);

/* ---- recorded sweeps -------------------------------------------------------------- */

/* The adjoints of `count` variables for seeds on some nodes, as operands: every step of
 * the sweep is recorded. Nodes below `from` are constants. On failure the tape keeps what
 * was recorded so far. */
int pyad_tape_record_reverse(pyad_tape *tape, size_t from, size_t seeds,
                             const uint32_t *seed_nodes, const pyad_operand *seed_values,
                             size_t count, const uint32_t *variables,
                             pyad_operand *adjoints);
/* The tangents of some nodes for tangents `seeds` of the variables, likewise. */
int pyad_tape_record_forward(pyad_tape *tape, size_t from, size_t count,
                             const uint32_t *variables, const pyad_operand *seeds,
                             size_t results, const uint32_t *result_nodes,
                             pyad_operand *tangents);

/* ---- guards ----------------------------------------------------------------------- */

/* A comparison of recorded numbers, and what it gave: a replay at another point goes the
 * same way if every guard gives the same again. A node of PYAD_CONSTANT stands for a
 * constant. */
enum { PYAD_LESS, PYAD_LESS_EQUAL, PYAD_EQUAL, PYAD_NOT_EQUAL };
typedef struct {
    pyad_operand a, b;
    uint8_t relation; /* of a to b */
    uint8_t outcome;  /* 1 if it held */
} pyad_guard;

/* From here to the end the tape keeps guards; pairs nest. The outermost end forgets them.
 */
int pyad_tape_guard_begin(pyad_tape *tape);
void pyad_tape_guard_end(pyad_tape *tape);
/* Keep a comparison; nothing happens where the tape is not guarding, or without a node.
 */
int pyad_tape_guard(pyad_tape *tape, int relation, pyad_operand a, pyad_operand b);
/* Note that a value left the recording, which then fits this point only. */
void pyad_tape_read(pyad_tape *tape);
size_t pyad_tape_reads(const pyad_tape *tape);
/* The guards on numbers, valid until the next one; those on arrays are in guard.h. */
const pyad_guard *pyad_tape_guards(const pyad_tape *tape, size_t *count);

/* ---- programs --------------------------------------------------------------------- */

/* A recording that is evaluated again and again at other points. It never changes, so
 * that any number of threads may run it, each with working memory of its own. */
typedef struct pyad_program pyad_program;

/* An argument: a run of leaves; `active` if derivatives in it will be asked for. */
typedef struct {
    uint32_t node, count;
    int active;
} pyad_input;

/* What became of a recording. */
typedef struct {
    size_t nodes; /* recorded, those of array operations one by one, and inputs */
    /* Operations, of scalars or arrays: recorded; when constants are folded and equal
     * ones shared; when those that nothing needs are gone; when chains of additions are
     * sums; when products and additions are multiply-adds. `steps` are left of these. */
    size_t recorded, shared, live, summed, combined;
    size_t steps, groups, blocks; /* instructions; of them groups and array operations */
    size_t grouped;               /* results of groups */
    size_t constants, guards, bytes;
} pyad_program_info;

/* The program of the nodes from `from` on, with their guards. Owned. What it computes
 * with rules of the interpreter (pyad_rule) must outlive none of it. */
int pyad_program_new(const pyad_tape *tape, size_t from, size_t inputs,
                     const pyad_input *input, size_t outputs, const pyad_operand *output,
                     pyad_program **result);
void pyad_program_free(pyad_program *program);
pyad_program_info pyad_program_describe(const pyad_program *program);
/* Numbers of working memory that a run needs; `prepare` fills it, once. */
size_t pyad_program_room(const pyad_program *program);
void pyad_program_prepare(const pyad_program *program, double *room);
/* Where in the room the inputs stand, and the derivatives in them: a run that is given
 * these places copies nothing. The derivatives stay until the next run. */
double *pyad_program_given(const pyad_program *program, double *room);
double *pyad_program_slopes(const pyad_program *program, double *room);
/* Some runs of inputs may stand elsewhere, and so may their derivatives: 1 if that of
 * `count` from number `from` on is one of them, which then is read and written there
 * (NULL: as before) until all is taken back; else 0. */
int pyad_program_lend(const pyad_program *program, double *room, size_t from,
                      size_t count, const double *values, double *gradient);
void pyad_program_take_back(const pyad_program *program, double *room);
/* The outputs at these inputs (all of them one after the other); *holds is 0 if a guard
 * gives something else than in the recording: then the outputs are of no use. */
int pyad_program_value(const pyad_program *program, double *room, const double *inputs,
                       double *outputs, int *holds);
/* After that, the derivatives of the outputs, weighted by `seeds`, in all inputs. */
int pyad_program_gradient(const pyad_program *program, double *room, const double *seeds,
                          double *gradient);
/* Both at once, which can be quicker; if *holds is 0, the gradient is of no use either. A
 * sweep with other seeds may not follow. */
int pyad_program_value_gradient(const pyad_program *program, double *room,
                                const double *inputs, const double *seeds,
                                double *outputs, double *gradient, int *holds);

/* An argument of many runs: of run r the numbers x[r * step + k], k from 0 to count - 1;
 * step 0: the same for all. Its derivatives go to gradient[r * gradient_step + k]; with
 * gradient_step 0 those of all runs are added to it; NULL: they are not wanted. */
typedef struct {
    const double *x;
    size_t count, step;
    double *gradient;
    size_t gradient_step;
} pyad_batch_input;

/* Many runs: `input` as the inputs of the program, one entry for each or for several in a
 * row. Output i of run r goes to outputs[r * output_step + i], with output_step 0 the sum
 * of all runs is added to outputs[i]; NULL: they are not wanted. Seeds are seeds[r *
 * seed_step + i]; NULL: values only. */
typedef struct {
    size_t inputs;
    const pyad_batch_input *input;
    double *outputs;
    size_t output_step;
    const double *seeds;
    size_t seed_step;
    double *rests;
    unsigned char *holds;
} pyad_batch;

/* The runs first ... first + rows - 1, in no more memory however many they are; several
 * threads may share a batch between them where nothing is summed. holds[r] is 0 if a
 * guard of run r gives something else than in the recording: then its outputs and
 * derivatives are of no use, and no part of a sum. */
int pyad_program_batch(const pyad_program *program, const pyad_batch *batch, size_t first,
                       size_t rows);
/* The program as bytes, owned (pyad_buffer_release); file.c has their format. Operations
 * with a rule of the caller cannot be loaded again: they are refused, or with `rules`
 * written for a reader. */
int pyad_program_save(const pyad_program *program, int rules, size_t *size,
                      unsigned char **bytes);
/* The program of such bytes. Owned. They may hold anything: what is not a program that
 * can run without harm is refused. It takes at most 8 times as many bytes, and 1000. What
 * the tape (or NULL) was lent for quicker loops the program uses, too. */
int pyad_program_load(const pyad_tape *tape, size_t size, const unsigned char *bytes,
                      pyad_program **result);
/* How many numbers a run is given, and how many it gives. */
size_t pyad_program_inputs(const pyad_program *program);
size_t pyad_program_outputs(const pyad_program *program);
/* C for the value of an operation in a and b, or for a part of its derivative in A, B and
 * its value V: 0 the value, 1 da, 2 db, 3 daa, 4 dab, 5 dbb. NULL if there is none. */
const char *pyad_op_source(int op, int part);

/* ---- inspection ------------------------------------------------------------------- */

size_t pyad_tape_length(const pyad_tape *tape);
size_t pyad_tape_arguments(const pyad_tape *tape);
/* Bytes in use by the recording, and bytes reserved in all (with adjoints). */
size_t pyad_tape_nbytes(const pyad_tape *tape);
size_t pyad_tape_reserved(const pyad_tape *tape);
/* The flat arrays, pinned: each stays valid and unmoved until pyad_buffer_release,
 * whatever becomes of the tape. NULL if nothing was recorded. `first[i] .. first[i + 1]`
 * are the arguments of node i in `indices` and `weights`; a constant argument has index
 * PYAD_CONSTANT and its own value as weight. */
const uint8_t *pyad_tape_pin_ops(const pyad_tape *tape);
const uint32_t *pyad_tape_pin_first(const pyad_tape *tape);
const uint32_t *pyad_tape_pin_indices(const pyad_tape *tape);
const double *pyad_tape_pin_weights(const pyad_tape *tape);
const double *pyad_tape_pin_values(const pyad_tape *tape);
/* The adjoints of the last pyad_tape_backward: `count` of them, the first belonging to
 * the constants. */
const double *pyad_tape_pin_adjoints(const pyad_tape *tape, size_t *count);
void pyad_buffer_release(const void *buffer);

/* ---- sparsity --------------------------------------------------------------------- */

/* A sparsity pattern in CSR form: row i has entries in the columns indices[first[i]] ...
 * indices[first[i + 1] - 1]. What a function below returns has them in increasing order,
 * and is freed by pyad_pattern_free; or its two arrays, each by pyad_buffer_release. */
typedef struct {
    size_t rows, columns, entries;
    size_t *first;     /* rows + 1 of them; first[rows] == entries */
    uint32_t *indices; /* entries of them */
} pyad_pattern;

void pyad_pattern_free(pyad_pattern *pattern);
int pyad_pattern_transpose(const pyad_pattern *pattern, pyad_pattern *result);
/* Where the derivatives of outputs in inputs can be other than 0, at this point or at any
 * other with the same recording. Nodes from `from` on count, as in a sweep; an output may
 * be a constant. */
int pyad_jacobian_pattern(const pyad_tape *tape, size_t from, size_t inputs,
                          const uint32_t *input_nodes, size_t outputs,
                          const uint32_t *output_nodes, pyad_pattern *result);
/* The same of the second derivatives of one output: a symmetric pattern. */
int pyad_hessian_pattern(const pyad_tape *tape, size_t from, size_t inputs,
                         const uint32_t *input_nodes, uint32_t output,
                         pyad_pattern *result);
/* A number that two recordings share if they have the same operations on the same
 * arguments, whatever the values, and `nodes` (inputs, outputs) at the same places: their
 * patterns are then equal. Otherwise it differs, but for one case in 2**64. */
uint64_t pyad_tape_fingerprint(const pyad_tape *tape, size_t from, size_t count,
                               const uint32_t *nodes);

/* Colours 0 ... *count - 1 for the columns of a pattern (by_rows is set to 0) or for its
 * rows (to 1), whichever takes fewer; no two columns (rows) of one colour have an entry
 * in a common row (column). `colours` has room for the larger number of both. */
int pyad_colour_jacobian(const pyad_pattern *pattern, uint32_t *colours, int *by_rows,
                         size_t *count);
/* Colours for the columns of a symmetric pattern, such that for each entry (i, j) either
 * j is the only column of its colour with an entry in row i, or i is the only one of its
 * colour in row j: then flips[k] is 0 or 1 for entry k. */
int pyad_colour_hessian(const pyad_pattern *pattern, uint32_t *colours, uint8_t *flips,
                        size_t *count);

/* ---- the operation table ---------------------------------------------------------- */

typedef struct {
    const char *name;
    const char *numpy;    /* NumPy's ufunc of the same meaning, or "" */
    const char *text;     /* one line of documentation */
    const char *domain_a; /* where it is tested, or "" */
    const char *domain_b;
    int arguments; /* 1, 2, or -1 for any number */
} pyad_op_info;

typedef struct {
    double value, da, db, daa, dab, dbb;
} pyad_partials;

int pyad_op_count(void);
/* NULL if there is no such operation. Borrowed, for ever. */
const pyad_op_info *pyad_op_describe(int op);
/* Value, first and second partials of an operation of one or two arguments. */
int pyad_op_partials(int op, double a, double b, pyad_partials *result);
double pyad_op_value(int op, double a, double b);
/* Value and first partials of an operation of any number of arguments, which are given as
 * to pyad_tape_apply_many; their nodes are not looked at. */
int pyad_op_many(int op, size_t count, const pyad_operand *arguments, double *value,
                 double *partials);
/* The partials of an operation that are not 0 at every point, as a sum: 1 in a, 2 in b, 4
 * twice in a, 8 in both, 16 twice in b; -1 if there is no such operation. For one of any
 * number of arguments see structure.h. */
int pyad_op_structure(int op);
/* Values of an operation along arrays of `count`; a step is in doubles, 0 to use one
 * number throughout. */
int pyad_op_values(int op, size_t count, const double *a, size_t step_a, const double *b,
                   size_t step_b, double *result);

/* ---- the error table -------------------------------------------------------------- */

int pyad_error_count(void);
const char *pyad_error_name(int status);
const char *pyad_error_builtin(int status);
const char *pyad_error_text(int status);
