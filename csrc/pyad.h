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
 * given is then as it was. One tape may be used by one thread at a time; different tapes
 * are independent. */
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

/* ---- sweeps ----------------------------------------------------------------------- */

/* Reverse sweep from one node; the adjoints stay readable until the next one. */
int pyad_tape_backward(pyad_tape *tape, uint32_t node, double seed);
/* The adjoint of a node after pyad_tape_backward; 0 for a node made since. */
double pyad_tape_adjoint(const pyad_tape *tape, uint32_t node);
/* Sweeps for several seeds at once, in place. `rows` has length + 1 rows of `seeds`
 * doubles: row 0 belongs to the constants (it is cleared by the sweep), row i + 1 to node
 * i. On entry a row holds the seeds of its node, on return its adjoints (reverse) or
 * tangents (forward). */
void pyad_tape_reverse(const pyad_tape *tape, size_t seeds, double *rows);
void pyad_tape_forward(const pyad_tape *tape, size_t seeds, double *rows);
/* After pyad_tape_backward(tape, node, ...): the node at which the first adjoint that is
 * not finite arose, or PYAD_CONSTANT. */
uint32_t pyad_tape_bad_adjoint(const pyad_tape *tape, uint32_t node);

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
/* Values of an operation along arrays of `count`; a step is in doubles, 0 to use one
 * number throughout. */
int pyad_op_values(int op, size_t count, const double *a, size_t step_a, const double *b,
                   size_t step_b, double *result);

/* ---- the error table -------------------------------------------------------------- */

int pyad_error_count(void);
const char *pyad_error_name(int status);
const char *pyad_error_builtin(int status);
const char *pyad_error_text(int status);
