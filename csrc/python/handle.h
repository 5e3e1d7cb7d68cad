/* The handle types as CPython sees them: Var, a scalar on a tape; Tape, which owns the
 * recording; and Dual, a scalar that carries its tangents (dual.h). What every file of
 * this folder shares; the folder is the only place that includes Python.h.
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

#include "blocks/life.h"
#include "record.h"

/* A function that makes no call saves no register; it stays so as long as what it goes on
 * to is not inlined into it. */
#if defined(__GNUC__)
#define NOT_INLINE __attribute__((noinline))
#else
#define NOT_INLINE
#endif

typedef struct TapeObject TapeObject;

/* What both types of scalars begin with. */
typedef struct {
    PyObject_HEAD
    double value;
} HandleObject;

typedef struct {
    PyObject_HEAD
    double value;
    uint64_t generation;
    TapeObject *tape; /* leaf: where last registered, borrowed; &no_tape for none */
    uint32_t node;
    /* Unset on an intermediate: */
    uint32_t registrations : 30; /* entries in the `leaves` of tapes */
    uint32_t has_gradient : 1;
    uint32_t gradient_is_variable : 1;
    union { /* accumulated: a variable after backward(create_graph=True) */
        double number;
        PyObject *variable;
    } gradient;
    PyObject *name; /* str or NULL */
} VarObject;

typedef struct {
    VarObject *leaf; /* held */
    uint32_t node;
} leaf_entry;

/* A leaf array registered in this generation: see array.h. */
typedef struct {
    struct Storage *storage; /* held */
    uint32_t start;
    uint64_t version; /* of its value when it was registered */
} array_leaf;

/* A stretch of a recording that a transform makes within a recording: what to go back to.
 */
typedef struct {
    uint64_t generation; /* of the recording around it */
    size_t length, arguments, leaf_count;
    int no_grad; /* of the thread */
} tape_frame;

struct TapeObject {
    PyObject_HEAD
    pyad_tape *core;
    uint64_t generation; /* of the recording in progress */
    uint64_t live; /* == generation while operations may be recorded at once, else 0 */
    uint64_t adjoint_generation; /* the recording that the adjoints belong to */
    leaf_entry *leaves;          /* registered in this generation */
    size_t leaf_count, leaf_capacity;
    array_leaf *array_leaves; /* likewise */
    size_t array_leaf_count, array_leaf_capacity;
    struct Storage *runs; /* alive, with their values on this tape; the newest first */
    PyObject *origins;    /* under detect_anomaly: {node: "file:line"}, else NULL */
    tape_frame *frames;   /* of transforms that are running, the innermost last */
    size_t depth, frame_capacity;
    const void *owner; /* of the frames: the thread that entered the outermost */
    double *scratch;   /* adjoints of a frame */
    size_t scratch_capacity;
    int busy;                  /* being swept without the interpreter lock */
    int duplicates;            /* some leaf may be registered here twice */
    int is_default;            /* made for a thread, not by the user */
    uint64_t guard_generation; /* while guarding: the last number of a recording before */
    PyObject *read_line;       /* "file:line" of the first read, or NULL */
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

extern PyTypeObject Var_Type, Dual_Type, Tape_Type, Mode_Type;
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

/* A new Tape (of the Python class), and one for a thread; NULL with an exception. */
TapeObject *tape_new(void);
TapeObject *tape_new_default(void);
/* Below this a sweep takes less time than handing the interpreter lock over and back. */
enum { SWEEP_HOLDS_LOCK = 2000 };

/* A number that no recording had yet. */
uint64_t tape_new_generation(void);
/* Between hold and release the tape is read without the interpreter lock: every operation
 * on it takes the slow way, and is refused there. */
void tape_hold(TapeObject *tape);
void tape_release(TapeObject *tape);
/* 0, or -1 with an exception if another thread is sweeping the tape. */
int tape_check_idle(const TapeObject *tape);
/* Likewise if a transform of another thread is recording on it. */
int tape_check_owner(const TapeObject *tape, const thread_state *thread);
/* Room for an operation of two leaves: 3 nodes, `count` arguments, 2 leaves. -1 with an
 * exception. */
int tape_make_room(TapeObject *tape, size_t leaves, size_t count);
/* Register a leaf; room has been made. Returns its node. */
uint32_t tape_register(TapeObject *tape, VarObject *leaf);
/* Take back everything registered and recorded since the lengths given. */
void tape_take_back(TapeObject *tape, size_t length, size_t arguments, size_t leaf_count);
/* End the generation: unregister the leaves, start again from zero nodes. */
void tape_end(TapeObject *tape);
/* Reverse sweep from a node, without the interpreter lock where that pays. Without
 * `keep_all`, of arrays only the adjoints of those alive are kept. -1 with an exception.
 */
int tape_sweep(TapeObject *tape, uint32_t node, double seed, int keep_all);

/* True if a handle of this generation stands on the tape: in its innermost frame, or in
 * one around it. */
static inline int tape_knows(const TapeObject *tape, uint64_t generation)
{
    if (generation == tape->generation)
        return 1;
    for (size_t i = tape->depth; i-- > 0;)
        if (tape->frames[i].generation == generation)
            return 1;
    return 0;
}

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

/* The gradient of a leaf as a number, 0 if it has none; and a new one, NULL for none. */
double var_gradient(const VarObject *leaf);
void var_set_gradient(VarObject *leaf, double gradient);
/* A new leaf or constant: `generation` tells which. NULL with an exception. */
PyObject *var_new(double value, uint64_t generation);
/* The value of `x` as a float for messages: new reference to a str. */
PyObject *var_operation(VarObject *x);

/* The methods of Var; static storage. */
PyMethodDef *var_methods(void);

/* ---- handle.c --------------------------------------------------------------------- */

static inline int is_dual(const PyObject *x) { return Py_IS_TYPE(x, &Dual_Type); }
static inline int is_handle(const PyObject *x) { return is_var(x) || is_dual(x); }
static inline double handle_value(const PyObject *x)
{
    return ((const HandleObject *)x)->value;
}

/* A float or an int as a double; 0 if it is neither, or too large. */
static inline int quick_number(PyObject *x, double *value)
{
    if (PyFloat_CheckExact(x)) {
        *value = PyFloat_AS_DOUBLE(x);
        return 1;
    }
    if (!PyLong_CheckExact(x))
        return 0;
    *value = PyLong_AsDouble(x);
    if (*value == -1 && PyErr_Occurred()) {
        PyErr_Clear(); /* the slow way says so */
        return 0;
    }
    return 1;
}

/* NotImplemented goes on to Python only where the other operand may know what to do (an
 * array, a class with the reflected operator): Python's own message names no remedy. */
PyObject *handle_not_implemented(PyObject *x, PyObject *y, const char *what,
                                 const char *reflected);
/* Scalars have no matrix product; an array on the right knows what to say. */
PyObject *handle_matmul(PyObject *x, PyObject *y);
PyObject *handle_compare(PyObject *x, PyObject *y, int comparison);
/* By identity: variables of equal value are not the same variable. */
Py_hash_t handle_hash(PyObject *self);
int handle_bool(PyObject *x);
PyObject *handle_int(PyObject *x);
PyObject *handle_get_value(PyObject *x, void *closure);
PyObject *handle_get_self(PyObject *x, void *closure);
PyObject *handle_get_zero(PyObject *x, void *closure);
PyObject *handle_get_shape(PyObject *x, void *closure);
PyObject *handle_get_size(PyObject *x, void *closure);
PyObject *handle_get_ndim(PyObject *x, void *closure);
/* A number answers as numpy.float64 does: an array without dimensions. But it has no
 * dtype: NumPy's mean of an array of objects would turn it into a float by that. */
#define HANDLE_GETSET                                                                    \
    {"real", handle_get_self, NULL, "The number itself.", NULL},                         \
        {"imag", handle_get_zero, NULL, "0.0", NULL},                                    \
        {"T", handle_get_self, NULL, "The number itself.", NULL},                        \
        {"shape", handle_get_shape, NULL, "(): it is one number.", NULL},                \
        {"ndim", handle_get_ndim, NULL, "0", NULL},                                      \
    {                                                                                    \
        "size", handle_get_size, NULL, "1", NULL                                         \
    }
extern PyMethodDef handle_methods[];

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

/* ---- guards.c --------------------------------------------------------------------- */

/* How many tapes keep guards: only then need a decision or a read say so. All that say so
 * are 0, or -1 with an exception. */
extern int guarding_tapes;
/* Keep that `x` was compared with `y`, each a handle or a number (NULL) of this value;
 * `comparison` is Python's. */
int guard_compare(PyObject *x, double a, PyObject *y, double b, int comparison);
/* Note that the value of a handle left the recording, or was decided on in a way that no
 * comparison describes. */
int guard_read(PyObject *x);
/* The same of anything on this tape. */
int guard_read_tape(TapeObject *tape);
/* Remember the user's line of the first read; after what may have read in C. */
int guard_note_line(TapeObject *tape);
/* Keep that floor(x), ceil, trunc or round gave what they do: `rounding` is 'f', 'c', 't'
 * or 'r'. */
int guard_whole(PyObject *x, int rounding);
int guard_is_integer(PyObject *x);
/* Called when a tape goes, and when one ends its recording. */
void guards_forget(TapeObject *tape);
int guards_end_recording(TapeObject *tape);
extern PyMethodDef guard_functions[];

/* ---- operators.c: one function per row, quick where nothing special is going on --- */

#define UNARY(ENUM, NAME, ...) PyObject *unary_##NAME(PyObject *x);
#define BINARY(ENUM, NAME, ...) PyObject *binary_##NAME(PyObject *x, PyObject *y);
#define NARY(ENUM, NAME, TEXT)
#include "ops.def"
#undef UNARY
#undef BINARY
#undef NARY
extern PyNumberMethods var_as_number;

/* Raise a row of detect_anomaly for a node with its adjoint or tangent; always -1. */
int raise_anomaly(TapeObject *tape, int error, uint32_t node, double derivative);
/* Likewise where arrays are on the tape, by a function of pyad.transforms._watch: finds
 * the operation from the rows of the sweep over the nodes from `from` on. */
int raise_array_anomaly(const char *function, TapeObject *tape, size_t from,
                        const double *rows, uint32_t node);
/* The name of the operation that made a node, as a str. */
PyObject *operation_of(const pyad_tape *core, uint32_t node);

/* ---- functions.c, many.c, gradient.c, ufunc.c ------------------------------------- */

/* The functions of the module: 0, or -1 with an exception. */
int functions_add_to(PyObject *module);
/* The methods `own` of a handle type, handle_methods, and the rows: in `all`, which has
 * HANDLE_METHODS_MAX entries and is returned. */
enum { HANDLE_METHODS_MAX = 256 };
PyMethodDef *functions_as_methods(const PyMethodDef *own, PyMethodDef *all);
/* An operation by number on one or two operands, as pyad.exp(x) or pyad.atan2(x, y)
 * would. */
PyObject *function_call(int op, PyObject *x, PyObject *y);
extern PyMethodDef many_functions[];

extern PyMethodDef frame_functions[];
PyObject *var_backward(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *gradient(PyObject *module, PyObject *args, PyObject *kwargs);
/* The operation that a NumPy ufunc means: -1 for none, -2 with an exception. */
int ufunc_operation(PyObject *ufunc);
PyObject *handle_array_ufunc(PyObject *self, PyObject *args, PyObject *kwargs);
