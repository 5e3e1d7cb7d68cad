/* backward() and gradient(): sweep from a result, hand out the adjoints, end the
 * recording. Here and not behind cffi, whose call alone costs as much as the gradient of
 * a small function. Everything that can be wrong is found before anything is accumulated
 * or freed. */
#include <string.h>

#include "array.h"
#include "dual.h"

/* ---- where to start --------------------------------------------------------------- */

/* The node that a sweep starts from; and, if that is a leaf registered for it, how long
 * the recording was before. */
typedef struct {
    TapeObject *tape; /* held */
    uint32_t node;
    size_t length, leaf_count;
} start;

/* A leaf that no tape knows becomes a node of this thread's tape. */
static int start_at_new(start *s, VarObject *leaf)
{
    s->tape = tape_here();
    if (!s->tape || tape_check_idle(s->tape) < 0 || tape_make_room(s->tape, 1, 0) < 0)
        return -1;
    s->length = s->tape->core->length;
    s->leaf_count = s->tape->leaf_count;
    s->node = tape_register(s->tape, leaf);
    return 0;
}

/* Finds where a sweep from `y` starts; leave_start comes after it. -1 with an exception.
 */
static int find_start(PyObject *y, const char *what, start *s)
{
    if (!is_var(y)) {
        raise_error(PYAD_ERROR_NOT_A_VAR, what, Py_TYPE(y)->tp_name);
        return -1;
    }
    VarObject *x = (VarObject *)y;
    if (x->generation == CONSTANT_GENERATION) {
        raise_error(PYAD_ERROR_NO_GRADIENT);
        return -1;
    }
    if (is_intermediate(x) && !tape_knows(x->tape, x->generation))
        return raise_stale(x);
    *s = (start){.tape = x->tape, .node = x->node, .length = SIZE_MAX - 1};
    if (x->tape == &no_tape && start_at_new(s, x) < 0)
        return -1;
    Py_INCREF(s->tape);
    return 0;
}

/* A sweep that failed leaves the tape as it was: the leaf registered for it goes again.
 */
static void leave_start(start *s, int failed)
{
    TapeObject *tape = s->tape;
    if (failed && !tape->busy && tape->core->length == s->length + 1)
        tape_take_back(tape, s->length, tape->core->arguments, s->leaf_count);
    Py_DECREF(tape);
}

/* ---- checks after the sweep ------------------------------------------------------- */

/* A leaf that was assigned since it was recorded no longer is the variable of this
 * recording. */
static int check_leaves(const TapeObject *tape)
{
    for (size_t i = 0; i < tape->leaf_count; i++) {
        const leaf_entry *entry = &tape->leaves[i];
        if (memcmp(&entry->leaf->value, &tape->core->values[entry->node],
                   sizeof(double)) == 0 ||
            pyad_tape_adjoint(tape->core, entry->node) == 0)
            continue;
        PyObject *text = PyObject_Repr((PyObject *)entry->leaf);
        if (text)
            raise_error(PYAD_ERROR_LEAF_CHANGED, message_text(text));
        Py_XDECREF(text);
        return -1;
    }
    return 0;
}

/* The same for arrays, whose assignments are counted. */
static int check_array_leaves(const TapeObject *tape)
{
    for (size_t i = 0; i < tape->array_leaf_count; i++) {
        const array_leaf *entry = &tape->array_leaves[i];
        int changed = entry->version != entry->storage->version;
        for (size_t k = 0; changed && k < entry->storage->size; k++)
            if (pyad_tape_adjoint(tape->core, entry->start + (uint32_t)k) != 0) {
                raise_error(PYAD_ERROR_LEAF_CHANGED, "an array");
                return -1;
            }
    }
    return 0;
}

int raise_anomaly(TapeObject *tape, int error, uint32_t node, double derivative)
{
    PyObject *number = PyLong_FromUnsignedLong(node);
    PyObject *line =
        number && tape->origins ? PyDict_GetItemWithError(tape->origins, number) : NULL;
    PyObject *found = PyFloat_FromDouble(derivative);
    PyObject *text = found ? PyObject_Repr(found) : NULL;
    if (text && !PyErr_Occurred())
        raise_error(error, pyad_op_describe(tape->core->ops[node])->name,
                    message_text(text),
                    line ? message_text(line) : "a line recorded outside detect_anomaly");
    Py_XDECREF(number);
    Py_XDECREF(found);
    Py_XDECREF(text);
    return -1;
}

int raise_array_anomaly(const char *function, TapeObject *tape, size_t from,
                        const double *rows, uint32_t node)
{
    npy_intp count = (npy_intp)(tape->core->length - from);
    PyObject *watch = PyImport_ImportModule("pyad.transforms._watch");
    PyObject *copy = watch ? PyArray_SimpleNew(1, &count, NPY_DOUBLE) : NULL;
    PyObject *nothing = NULL;
    if (copy) {
        memcpy(PyArray_DATA((PyArrayObject *)copy), rows, (size_t)count * sizeof *rows);
        nothing = PyObject_CallMethod(watch, function, "OnOI", tape, (Py_ssize_t)from,
                                      copy, node);
    }
    Py_XDECREF(watch);
    Py_XDECREF(copy);
    Py_XDECREF(nothing);
    return nothing ? 0 : -1;
}

/* Under detect_anomaly: raise at the operation where the first adjoint went bad. */
static int check_adjoints(TapeObject *tape, uint32_t from)
{
    const pyad_tape *core = tape->core;
    uint32_t node = pyad_tape_bad_adjoint(core, from);
    if (node != PYAD_CONSTANT && core->block_count)
        return raise_array_anomaly("blame_adjoint", tape, 0, core->adjoints + 1, node);
    if (node == PYAD_CONSTANT)
        return 0;
    return raise_anomaly(tape, PYAD_ERROR_BAD_ADJOINT, node,
                         pyad_tape_adjoint(tape->core, node));
}

/* A recording that ends with the sweep can be asked only through what is alive now. */
static int sweep_and_check(TapeObject *tape, uint32_t node, double seed, int retain)
{
    thread_state *thread = thread_here();
    if (!thread || tape_sweep(tape, node, seed, retain || thread->anomaly) < 0 ||
        check_leaves(tape) < 0 || check_array_leaves(tape) < 0)
        return -1;
    return thread->anomaly ? check_adjoints(tape, node) : 0;
}

/* ---- backward --------------------------------------------------------------------- */

static int read_seed(PyObject *given, const char *what, double *seed)
{
    *seed = 1;
    if (given && is_dual(given) && dual_retrace(((DualObject *)given)->level) < 0)
        return -1;
    if (given && (is_dual(given) || (is_var(given) && ((VarObject *)given)->generation !=
                                                          CONSTANT_GENERATION))) {
        raise_error(PYAD_ERROR_SEED_IS_VARIABLE, what);
        return -1;
    }
    return !given || given == Py_None ? 0 : need_number(given, what, seed);
}

/* The sweep as a recording, for create_graph=True, and within a transform, where the
 * gradient may be differentiated again: done by the Python layer. */
static PyObject *record_elsewhere(PyObject *y, PyObject *xs, PyObject *seed)
{
    static PyObject *gradient, *backward;
    seed = seed ? seed : Py_None;
    if (xs)
        return python_function(&gradient, "pyad.transforms.eager", "gradient")
                   ? PyObject_CallFunctionObjArgs(gradient, y, xs, seed, NULL)
                   : NULL;
    return python_function(&backward, "pyad.transforms.eager", "backward")
               ? PyObject_CallFunctionObjArgs(backward, y, seed, NULL)
               : NULL;
}

PyObject *var_backward(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"seed", "retain_graph", "create_graph", NULL};
    PyObject *given = NULL;
    int retain = 0, create = 0;
    double seed;
    start s;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|Opp:backward", names, &given,
                                     &retain, &create))
        return NULL;
    if (create || ((VarObject *)self)->tape->depth)
        return record_elsewhere(self, NULL, given);
    if (read_seed(given, "backward(seed)", &seed) < 0 ||
        find_start(self, "backward", &s) < 0)
        return NULL;
    TapeObject *tape = s.tape;
    int status = sweep_and_check(tape, s.node, seed, retain);
    for (size_t i = 0; status == 0 && i < tape->leaf_count; i++) {
        VarObject *leaf = tape->leaves[i].leaf;
        double adjoint = pyad_tape_adjoint(tape->core, tape->leaves[i].node);
        var_set_gradient(leaf, var_gradient(leaf) + adjoint);
    }
    for (size_t i = 0; status == 0 && i < tape->array_leaf_count; i++)
        status =
            storage_add_gradient(tape->array_leaves[i].storage,
                                 tape->core->adjoints + 1 + tape->array_leaves[i].start);
    if (status == 0 && !retain && tape->depth == 0)
        tape_end(tape);
    leave_start(&s, status < 0);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- gradient --------------------------------------------------------------------- */

typedef struct {
    TapeObject *tape;
    PyObject *sums; /* {leaf: adjoint}, made if a leaf may be registered more than once */
    int checking;   /* before the sweep, whether all can be read: then nothing is */
} reader;

static int sum_leaves(reader *r)
{
    r->sums = PyDict_New();
    for (size_t i = 0; r->sums && i < r->tape->leaf_count; i++) {
        PyObject *leaf = (PyObject *)r->tape->leaves[i].leaf;
        PyObject *key = PyLong_FromVoidPtr(leaf);
        PyObject *before = key ? PyDict_GetItemWithError(r->sums, key) : NULL;
        double sum = pyad_tape_adjoint(r->tape->core, r->tape->leaves[i].node);
        PyObject *after =
            PyFloat_FromDouble(before ? PyFloat_AS_DOUBLE(before) + sum : sum);
        if (!key || !after || PyErr_Occurred() || PyDict_SetItem(r->sums, key, after) < 0)
            Py_CLEAR(r->sums);
        Py_XDECREF(key);
        Py_XDECREF(after);
    }
    return r->sums ? 0 : -1;
}

static PyObject *read_sum(reader *r, VarObject *leaf)
{
    if (!r->sums && sum_leaves(r) < 0)
        return NULL;
    PyObject *key = PyLong_FromVoidPtr(leaf);
    PyObject *sum = key ? PyDict_GetItemWithError(r->sums, key) : NULL;
    Py_XDECREF(key);
    return sum ? Py_NewRef(sum) : PyErr_Occurred() ? NULL : PyFloat_FromDouble(0.0);
}

static PyObject *read_var(reader *r, VarObject *x)
{
    TapeObject *tape = r->tape;
    if (x->generation == CONSTANT_GENERATION)
        return raise_error(PYAD_ERROR_CONSTANT_GIVEN);
    if (is_intermediate(x) && !(x->tape == tape && tape_knows(tape, x->generation)))
        return tape_knows(x->tape, x->generation) ? raise_error(PYAD_ERROR_OTHER_TAPE)
                                                  : (raise_stale(x), NULL);
    if (r->checking)
        Py_RETURN_NONE;
    if (is_intermediate(x) || (x->tape == tape && !tape->duplicates))
        return PyFloat_FromDouble(pyad_tape_adjoint(tape->core, x->node));
    return x->registrations ? read_sum(r, x) : PyFloat_FromDouble(0.0);
}

/* The adjoints of an array; of a leaf that was registered more than once their sum. */
static PyObject *read_array(reader *r, ArrayObject *a)
{
    Storage *s = a->storage;
    TapeObject *tape = r->tape;
    if (s->generation == CONSTANT_GENERATION)
        return raise_error(PYAD_ERROR_CONSTANT_GIVEN);
    if (storage_is_recorded(s)) {
        if (storage_check(s) < 0)
            return NULL;
        if (s->tape != tape)
            return raise_error(PYAD_ERROR_OTHER_TAPE);
    }
    if (r->checking)
        Py_RETURN_NONE;
    return array_adjoints(a, tape);
}

static PyObject *read_tree(reader *r, PyObject *xs);

/* The items are held while they are read: a container among them runs Python code. */
static PyObject *read_sequence(reader *r, PyObject *xs, int list)
{
    PyObject *items = PySequence_Tuple(xs);
    Py_ssize_t count = items ? PyTuple_GET_SIZE(items) : 0;
    PyObject *result = !items ? NULL : list ? PyList_New(count) : PyTuple_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *item = read_tree(r, PyTuple_GET_ITEM(items, i));
        if (!item)
            Py_CLEAR(result);
        else if (list)
            PyList_SET_ITEM(result, i, item);
        else
            PyTuple_SET_ITEM(result, i, item);
    }
    Py_XDECREF(items);
    return result;
}

static PyObject *read_item(PyObject *capsule, PyObject *x)
{
    reader *r = PyCapsule_GetPointer(capsule, "pyad.reader");
    return r ? read_tree(r, x) : NULL;
}

/* Dicts, named tuples, arrays of variables and other containers are taken apart by the
 * Python layer. */
static PyObject *read_other(reader *r, PyObject *xs)
{
    static PyMethodDef definition = {"read", read_item, METH_O, NULL};
    static PyObject *rebuild;
    if (!python_function(&rebuild, "pyad._trees", "rebuild"))
        return NULL;
    PyObject *capsule = PyCapsule_New(r, "pyad.reader", NULL);
    PyObject *read = capsule ? PyCFunction_New(&definition, capsule) : NULL;
    PyObject *result =
        read ? PyObject_CallFunctionObjArgs(rebuild, xs, read, NULL) : NULL;
    Py_XDECREF(read);
    Py_XDECREF(capsule);
    if (result != Py_NotImplemented)
        return result;
    Py_DECREF(result);
    return raise_error(PYAD_ERROR_NOT_A_VAR, "pyad.gradient", Py_TYPE(xs)->tp_name);
}

static PyObject *read_tree(reader *r, PyObject *xs)
{
    if (is_var(xs))
        return read_var(r, (VarObject *)xs);
    if (is_array(xs))
        return read_array(r, (ArrayObject *)xs);
    if (is_dual(xs) && dual_retrace(((DualObject *)xs)->level) < 0)
        return NULL;
    if (Py_EnterRecursiveCall(" in pyad.gradient"))
        return NULL;
    PyObject *result;
    if (PyList_CheckExact(xs) || PyTuple_CheckExact(xs))
        result = read_sequence(r, xs, PyList_CheckExact(xs));
    else
        result = read_other(r, xs);
    Py_LeaveRecursiveCall();
    return result;
}

/* Of an array of results: of their sum, weighted with the seed. */
static PyObject *gradient_of_array(PyObject *args, PyObject *kwargs)
{
    static PyObject *elsewhere;
    return python_function(&elsewhere, "pyad.array._sweeps", "gradient")
               ? PyObject_Call(elsewhere, args, kwargs)
               : NULL;
}

PyObject *gradient(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"y", "xs", "seed", "retain_graph", "create_graph", NULL};
    PyObject *y, *xs, *given = NULL;
    int retain = 0, create = 0;
    double seed;
    start s;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|Opp:gradient", names, &y, &xs,
                                     &given, &retain, &create))
        return NULL;
    if (is_array(y))
        return gradient_of_array(args, kwargs);
    if (is_dual(y) && dual_retrace(((DualObject *)y)->level) < 0)
        return NULL;
    if (create || (is_var(y) && ((VarObject *)y)->tape->depth))
        return record_elsewhere(y, xs, given);
    if (read_seed(given, "pyad.gradient(seed)", &seed) < 0 ||
        find_start(y, "pyad.gradient", &s) < 0)
        return NULL;
    reader r = {.tape = s.tape, .checking = 1};
    PyObject *checked = read_tree(&r, xs), *result = NULL;
    if (checked && sweep_and_check(s.tape, s.node, seed, retain) == 0) {
        r.checking = 0;
        result = read_tree(&r, xs);
    }
    Py_XDECREF(checked);
    Py_XDECREF(r.sums);
    if (result && !retain && s.tape->depth == 0)
        tape_end(s.tape);
    leave_start(&s, !result);
    return result;
}
