/* backward() and gradient(): sweep from a result, hand out the adjoints, end the
 * recording. Here and not behind cffi, whose call alone costs as much as the gradient of
 * a small function. Everything that can be wrong is found before anything is accumulated
 * or freed. */
#include <string.h>

#include "handle.h"

/* ---- where to start --------------------------------------------------------------- */

/* The node of `y`, and its tape; a leaf registers itself. -1 with an exception. */
static int find_start(PyObject *y, const char *what, TapeObject **tape, uint32_t *node)
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
    if (is_intermediate(x)) {
        *tape = x->tape;
        *node = x->node;
        if (x->generation == x->tape->generation)
            return 0;
        PyObject *value = PyObject_Repr(y);
        if (value)
            raise_error(PYAD_ERROR_STALE, PyUnicode_AsUTF8(value));
        Py_XDECREF(value);
        return -1;
    }
    *tape = x->tape == &no_tape ? tape_here() : x->tape;
    if (!*tape || tape_check_idle(*tape) < 0)
        return -1;
    if (x->tape == &no_tape && tape_make_room(*tape, 1, 0) < 0)
        return -1;
    *node = x->tape == *tape ? x->node : tape_register(*tape, x);
    return 0;
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
            raise_error(PYAD_ERROR_LEAF_CHANGED, PyUnicode_AsUTF8(text));
        Py_XDECREF(text);
        return -1;
    }
    return 0;
}

/* Under detect_anomaly: raise at the operation where the first adjoint went bad. */
static int check_adjoints(TapeObject *tape, uint32_t start)
{
    uint32_t node = pyad_tape_bad_adjoint(tape->core, start);
    if (node == PYAD_CONSTANT)
        return 0;
    PyObject *number = PyLong_FromUnsignedLong(node);
    PyObject *line =
        number && tape->origins ? PyDict_GetItemWithError(tape->origins, number) : NULL;
    PyObject *adjoint = PyFloat_FromDouble(pyad_tape_adjoint(tape->core, node));
    PyObject *text = adjoint ? PyObject_Repr(adjoint) : NULL;
    if (text && !PyErr_Occurred())
        raise_error(PYAD_ERROR_BAD_ADJOINT, pyad_op_describe(tape->core->ops[node])->name,
                    PyUnicode_AsUTF8(text),
                    line ? PyUnicode_AsUTF8(line)
                         : "a line recorded outside detect_anomaly");
    Py_XDECREF(number);
    Py_XDECREF(adjoint);
    Py_XDECREF(text);
    return -1;
}

static int sweep_and_check(TapeObject *tape, uint32_t node, double seed)
{
    thread_state *thread = thread_here();
    if (!thread || tape_sweep(tape, node, seed) < 0 || check_leaves(tape) < 0)
        return -1;
    return thread->anomaly ? check_adjoints(tape, node) : 0;
}

/* ---- backward --------------------------------------------------------------------- */

static int read_seed(PyObject *given, const char *what, double *seed)
{
    *seed = 1;
    return !given || given == Py_None ? 0 : need_number(given, what, seed);
}

PyObject *var_backward(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"seed", "retain_graph", "create_graph", NULL};
    PyObject *given = NULL;
    int retain = 0, create = 0;
    double seed;
    TapeObject *tape;
    uint32_t node;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|Opp:backward", names, &given,
                                     &retain, &create))
        return NULL;
    if (create)
        return raise_error(PYAD_ERROR_NO_CREATE_GRAPH);
    if (read_seed(given, "backward(seed)", &seed) < 0 ||
        find_start(self, "backward", &tape, &node) < 0)
        return NULL;
    Py_INCREF(tape);
    int status = sweep_and_check(tape, node, seed);
    for (size_t i = 0; status == 0 && i < tape->leaf_count; i++) {
        VarObject *leaf = tape->leaves[i].leaf;
        double adjoint = pyad_tape_adjoint(tape->core, tape->leaves[i].node);
        leaf->gradient = leaf->has_gradient ? leaf->gradient + adjoint : adjoint;
        leaf->has_gradient = 1;
    }
    if (status == 0 && !retain)
        tape_end(tape);
    Py_DECREF(tape);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- gradient --------------------------------------------------------------------- */

typedef struct {
    TapeObject *tape;
    PyObject *sums; /* {leaf: adjoint}, made if a leaf may be registered more than once */
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
    if (is_intermediate(x) && x->generation != tape->generation)
        return raise_error(x->generation == x->tape->generation ? PYAD_ERROR_OTHER_TAPE
                                                                : PYAD_ERROR_STALE,
                           "given to pyad.gradient");
    if (is_intermediate(x) || (x->tape == tape && !tape->duplicates))
        return PyFloat_FromDouble(pyad_tape_adjoint(tape->core, x->node));
    return x->registrations ? read_sum(r, x) : PyFloat_FromDouble(0.0);
}

static PyObject *read_tree(reader *r, PyObject *xs);

static PyObject *read_sequence(reader *r, PyObject *xs, int list)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(xs);
    PyObject *result = list ? PyList_New(count) : PyTuple_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        PyObject *item = read_tree(r, PySequence_Fast_GET_ITEM(xs, i));
        if (!item)
            Py_CLEAR(result);
        else if (list)
            PyList_SET_ITEM(result, i, item);
        else
            PyTuple_SET_ITEM(result, i, item);
    }
    return result;
}

static PyObject *read_dict(reader *r, PyObject *xs)
{
    PyObject *result = PyDict_New(), *key, *value;
    Py_ssize_t position = 0;
    while (result && PyDict_Next(xs, &position, &key, &value)) {
        PyObject *item = read_tree(r, value);
        if (!item || PyDict_SetItem(result, key, item) < 0)
            Py_CLEAR(result);
        Py_XDECREF(item);
    }
    return result;
}

static PyObject *read_item(PyObject *capsule, PyObject *x)
{
    reader *r = PyCapsule_GetPointer(capsule, "pyad.reader");
    return r ? read_tree(r, x) : NULL;
}

/* Named tuples, arrays of variables and other containers are taken apart by the Python
 * layer. */
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
    if (Py_EnterRecursiveCall(" in pyad.gradient"))
        return NULL;
    PyObject *result;
    if (PyList_CheckExact(xs) || PyTuple_CheckExact(xs))
        result = read_sequence(r, xs, PyList_CheckExact(xs));
    else
        result = PyDict_CheckExact(xs) ? read_dict(r, xs) : read_other(r, xs);
    Py_LeaveRecursiveCall();
    return result;
}

PyObject *gradient(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"y", "xs", "seed", "retain_graph", "create_graph", NULL};
    PyObject *y, *xs, *given = NULL;
    int retain = 0, create = 0;
    double seed;
    uint32_t node;
    reader r = {NULL, NULL};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|Opp:gradient", names, &y, &xs,
                                     &given, &retain, &create))
        return NULL;
    if (create)
        return raise_error(PYAD_ERROR_NO_CREATE_GRAPH);
    if (read_seed(given, "pyad.gradient(seed)", &seed) < 0 ||
        find_start(y, "pyad.gradient", &r.tape, &node) < 0)
        return NULL;
    Py_INCREF(r.tape);
    PyObject *result = sweep_and_check(r.tape, node, seed) < 0 ? NULL : read_tree(&r, xs);
    Py_XDECREF(r.sums);
    if (result && !retain)
        tape_end(r.tape);
    Py_DECREF(r.tape);
    return result;
}
