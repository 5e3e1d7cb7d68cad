/* The handle types as CPython sees them: Var, a scalar on a tape, and Tape, which owns
 * the recording. What every file of this folder shares; the folder is the only place that
 * includes Python.h.
 *
 * A Var is one of three kinds, told apart by `generation`:
 *   leaf          LEAF_GENERATION; owns value, gradient and name; registers on a tape
 *                 when it is first used there
 *   constant      CONSTANT_GENERATION; a value without derivative
 *   intermediate  the generation of its recording; holds its tape alive
 * Generations are unique in the process: one comparison with `tape->live` tells both that
 * a handle belongs to this tape and that an operation may be recorded there at once. */
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "record.h"

typedef struct TapeObject TapeObject;

typedef struct {
    PyObject_HEAD
    double value;
    uint64_t generation;
    TapeObject *tape; /* leaf: where last registered, borrowed; &no_tape for none */
    uint32_t node;
    /* Unset on an intermediate: */
    uint32_t registrations : 31; /* entries in the `leaves` of tapes */
    uint32_t has_gradient : 1;
    double gradient; /* accumulated */
    PyObject *name;  /* str or NULL */
} VarObject;

typedef struct {
    VarObject *leaf; /* held */
    uint32_t node;
} leaf_entry;

struct TapeObject {
    PyObject_HEAD
    pyad_tape *core;
    uint64_t generation; /* of the recording in progress */
    uint64_t live; /* == generation while operations may be recorded at once, else 0 */
    uint64_t adjoint_generation; /* the recording that the adjoints belong to */
    leaf_entry *leaves;          /* registered in this generation */
    size_t leaf_count, leaf_capacity;
    PyObject *origins; /* under detect_anomaly: {node: "file:line"}, else NULL */
    int busy;          /* being swept without the interpreter lock */
    int duplicates;    /* some leaf may be registered here twice */
    int is_default;    /* made for a thread, not by the user */
};

enum { LEAF_GENERATION = 1, CONSTANT_GENERATION = 2, FIRST_GENERATION = 16 };

/* What a thread is doing. `tape` is where leaves register: the innermost `with tape:`, or
 * the default. */
typedef struct {
    TapeObject *tape;
    TapeObject **entered; /* the tapes below, held */
    size_t depth, capacity;
    int no_grad;
    int anomaly;
} thread_state;

extern PyTypeObject Var_Type, Tape_Type, Mode_Type;
extern TapeObject no_tape; /* stands where a leaf is registered nowhere; never live */

/* ---- raise.c ---------------------------------------------------------------------- */

/* Raise a row of errors.def, its %s filled in; always NULL. */
PyObject *raise_error(int error, ...);
/* Raise NOT_A_NUMBER for `x` given to `what`. */
PyObject *raise_not_a_number(const char *what, PyObject *x);
/* The text of a str for a message, "?" if it has none (`text` may be NULL). */
const char *message_text(PyObject *text);
/* A function of the Python layer, looked up once: borrowed, or NULL with an exception. */
PyObject *python_function(PyObject **cache, const char *module, const char *name);

/* ---- thread.c --------------------------------------------------------------------- */

extern PyThreadState *fast_owner; /* the thread that `fast_tape` belongs to */
extern TapeObject *fast_tape;

/* The state of this thread, made when first asked for; NULL with an exception. */
thread_state *thread_here(void);
/* The tape of this thread; NULL with an exception. */
TapeObject *tape_here(void);
/* Set tape->live by what this thread is doing; after any change of its state. */
void thread_refresh(thread_state *thread);

/* The tape of this thread if it was asked for last and records without further ado, else
 * NULL. */
static inline TapeObject *fast_tape_here(void)
{
    return PyThreadState_Get() == fast_owner && fast_tape->live ? fast_tape : NULL;
}

/* ---- tape_object.c ---------------------------------------------------------------- */

/* A new Tape (of the Python class); NULL with an exception. */
TapeObject *tape_new_default(void);
/* 0, or -1 with an exception if another thread is sweeping the tape. */
int tape_check_idle(const TapeObject *tape);
/* Room for an operation of two leaves: 3 nodes, `count` arguments, 2 leaves. -1 with an
 * exception. */
int tape_make_room(TapeObject *tape, size_t leaves, size_t count);
/* Register a leaf; room has been made. Returns its node. */
uint32_t tape_register(TapeObject *tape, VarObject *leaf);
/* Take back everything registered and recorded since the lengths given. */
void tape_take_back(TapeObject *tape, size_t length, size_t arguments, size_t leaf_count);
/* End the generation: unregister the leaves, start again from zero nodes. */
void tape_end(TapeObject *tape);
/* Reverse sweep from a node, without the interpreter lock where that pays. -1 with an
 * exception. */
int tape_sweep(TapeObject *tape, uint32_t node, double seed);

static inline int tape_has_room(const TapeObject *tape, size_t leaves, size_t count)
{
    return tape->core->length + leaves < tape->core->node_capacity &&
           tape->core->arguments + count <= tape->core->argument_capacity &&
           (leaves == 0 || tape->leaf_count + leaves <= tape->leaf_capacity);
}

/* ---- var.c ------------------------------------------------------------------------ */

extern VarObject *free_vars; /* linked by `tape` */
extern size_t free_var_count;

static inline int is_var(const PyObject *x) { return Py_IS_TYPE(x, &Var_Type); }
static inline int is_intermediate(const VarObject *x)
{
    return x->generation >= FIRST_GENERATION;
}

/* A Var from the free list, NULL if it is empty. The list keeps type and memory of a
 * handle, so that only its count has to be set. The caller fills in the fields at once
 * (var_finish, var_new). */
static inline VarObject *var_reuse(void)
{
    VarObject *x = free_vars;
    if (x) {
        free_vars = (VarObject *)x->tape;
        free_var_count--;
        Py_SET_REFCNT((PyObject *)x, 1);
    }
    return x;
}

/* The same, or a new one; NULL without an exception. */
VarObject *var_allocate(void);

/* Makes `x` the handle of a node just pushed. The fields of leaves stay unset. */
static inline PyObject *var_finish(VarObject *x, TapeObject *tape, double value,
                                   uint32_t node)
{
    x->value = value;
    x->generation = tape->generation;
    x->tape = (TapeObject *)Py_NewRef((PyObject *)tape);
    x->node = node;
    return (PyObject *)x;
}

/* A new leaf or constant: `generation` tells which. NULL with an exception. */
PyObject *var_new(double value, uint64_t generation);
/* The value of `x` as a float for messages: new reference to a str. */
PyObject *var_operation(VarObject *x);

/* ---- operand.c -------------------------------------------------------------------- */

/* A number as a double: 1, or 0 if `x` is no real number, or -1 with an exception. */
int number_as_double(PyObject *x, const char *what, double *value);
/* The same with an exception instead of 0: 0, or -1. */
int need_number(PyObject *x, const char *what, double *value);
/* The items of an iterable as a tuple, which nobody else can change; NULL with an
 * exception that names `what`. */
PyObject *items_of(PyObject *x, const char *what);
/* Raise STALE for a result of an ended recording; always -1. */
int raise_stale(const VarObject *x);
/* Operands of an operation, numbers and Vars: 1, or 0 if `x[i]` is neither (`*unknown` is
 * i), or -1. */
typedef struct {
    const char *name; /* of the operation, for messages */
    size_t count;
    PyObject **x; /* borrowed */
    pyad_operand *values;
    TapeObject *tape; /* where to record; NULL: the result is a constant */
    size_t length, arguments, leaf_count; /* of the tape before, to take back */
    int any_var;
} operands;
int operands_read(operands *o, size_t *unknown);
/* Finish an operation on them: make the handle of `result`, or take everything back and
 * raise `status`. */
PyObject *operands_finish(operands *o, int status, pyad_operand result,
                          const char *operation);

/* How far the recording of an operation on `x` and `y` had come, to take back what is
 * made of several operations if one of them fails. -1 with an exception. */
typedef struct {
    TapeObject *tape; /* borrowed */
    uint64_t generation;
    size_t length, arguments, leaf_count;
} mark;
int mark_set(mark *m, PyObject *x, PyObject *y);
void mark_take_back(const mark *m);

/* The slow way of an operation of one or two operands; `y` may be NULL. Numbers alone
 * give a float; an operand that is neither number nor Var gives NotImplemented. */
PyObject *apply_slowly(int op, PyObject *x, PyObject *y);
/* A node of one argument with value and partial given. */
PyObject *record_given(VarObject *x, double value, double partial);

/* ---- operators.c: one function per row, quick where nothing special is going on --- */

#define UNARY(ENUM, NAME, ...) PyObject *unary_##NAME(PyObject *x);
#define BINARY(ENUM, NAME, ...) PyObject *binary_##NAME(PyObject *x, PyObject *y);
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
extern PyNumberMethods var_as_number;
/* Whether `x` is a numbers.Number: 1, 0, or -1 with an exception. */
int is_number(PyObject *x);
/* Builtins that never know what to do with a variable, whatever operators they have. */
int is_container(PyObject *x);

/* ---- functions.c, many.c, gradient.c, ufunc.c ------------------------------------- */

/* The methods of Var (static storage), and the functions of the module: 0, or -1 with an
 * exception. */
PyMethodDef *var_methods(void);
int functions_add_to(PyObject *module);
/* An operation by number on one or two operands, as pyad.exp(x) or pyad.atan2(x, y)
 * would. */
PyObject *function_call(int op, PyObject *x, PyObject *y);
extern PyMethodDef many_functions[];

PyObject *var_backward(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *gradient(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *var_array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs);
