/* Watch: whether what a function reads beside its arguments is as it was, asked before
 * every replay. pyad.compiled._surroundings finds what there is to watch, and decides
 * whether two objects that are not the same one stand for the same; here they are
 * compared by identity, containers item by item, arrays bit by bit. */
#include <string.h>

#include "array.h"
#include "form.h"

/* Each part is a tuple of tuples: an object, and what it was. */
enum {
    CELLS,     /* (cell, value) */
    NAMES,     /* (mapping, name, value, ...) */
    FUNCTIONS, /* (function, code, defaults, defaults of keywords) */
    SLOTS,     /* (object, name, value) */
    LISTS,     /* (list or array of objects, list) */
    DICTS,     /* (mapping, dict) */
    VALUES,    /* (set or array of bytes or numbers, its copy) */
    STATES,    /* (function that reads a state, what it gave) */
    ARRAYS,    /* (array or variable, ndarray) */
    PARTS
};

typedef struct {
    PyObject_HEAD
    PyObject *parts[PARTS]; /* NULL: there is nothing left of them */
    /* Functions of (now, before), for what is not decided here. */
    PyObject *same_atom, *same_list, *same_dict, *same_state, *same_array;
    PyObject *missing; /* stands for a variable without value */
} WatchObject;

/* ---- comparing -------------------------------------------------------------------- */

static int ask(PyObject *function, PyObject *now, PyObject *before)
{
    PyObject *both[2] = {now, before};
    PyObject *answer = PyObject_Vectorcall(function, both, 2, NULL);
    const int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

static int is_same(const WatchObject *w, PyObject *now, PyObject *before)
{
    if (now == before)
        return 1;
    if (PyFloat_CheckExact(now) && PyFloat_CheckExact(before)) {
        const double a = PyFloat_AS_DOUBLE(now), b = PyFloat_AS_DOUBLE(before);
        return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
    }
    return ask(w->same_atom, now, before);
}

static int is_same_held(const WatchObject *w, PyObject *now, PyObject *before)
{
    if (now == before)
        return 1;
    Py_INCREF(now);
    const int same = is_same(w, now, before);
    Py_DECREF(now);
    return same;
}

static int is_same_list(const WatchObject *w, PyObject *now, PyObject *before)
{
    if (!PyList_CheckExact(now))
        return ask(w->same_list, now, before);
    const Py_ssize_t count = PyList_GET_SIZE(before);
    if (PyList_GET_SIZE(now) != count)
        return 0;
    if (count == 0 ||
        memcmp(((PyListObject *)now)->ob_item, ((PyListObject *)before)->ob_item,
               (size_t)count * sizeof(PyObject *)) == 0)
        return 1;
    int same = 1;
    for (Py_ssize_t i = 0; same > 0 && i < count; i++)
        same = PyList_GET_SIZE(now) != count
                   ? 0
                   : is_same_held(w, PyList_GET_ITEM(now, i), PyList_GET_ITEM(before, i));
    return same;
}

static int is_same_dict(const WatchObject *w, PyObject *now, PyObject *before)
{
    if (!PyDict_CheckExact(now))
        return ask(w->same_dict, now, before);
    if (PyDict_GET_SIZE(now) != PyDict_GET_SIZE(before))
        return 0;
    PyObject *key, *value, *key_before, *value_before;
    Py_ssize_t at = 0, at_before = 0;
    int same = 1;
    while (same > 0 && PyDict_Next(before, &at_before, &key_before, &value_before))
        same = PyDict_Next(now, &at, &key, &value) && key == key_before
                   ? is_same_held(w, value, value_before)
                   : 0;
    return same;
}

static int is_same_array(const WatchObject *w, PyObject *now, PyObject *before)
{
    if (is_array(now)) {
        PyObject *values = array_values((ArrayObject *)now);
        const int same = values ? is_same_array(w, values, before) : -1;
        Py_XDECREF(values);
        return same;
    }
    PyArrayObject *a = (PyArrayObject *)now, *b = (PyArrayObject *)before;
    if (!PyArray_CheckExact(now) || PyArray_DESCR(a) != PyArray_DESCR(b) ||
        !PyArray_IS_C_CONTIGUOUS(a) || !PyArray_IS_C_CONTIGUOUS(b))
        return ask(w->same_array, now, before);
    return PyArray_SAMESHAPE(a, b) &&
           memcmp(PyArray_DATA(a), PyArray_DATA(b), (size_t)PyArray_NBYTES(a)) == 0;
}

/* ---- entries ---------------------------------------------------------------------- */

#define OBJECT(ENTRY) PyTuple_GET_ITEM(ENTRY, 0)
#define BEFORE(ENTRY) PyTuple_GET_ITEM(ENTRY, 1)

static int is_cell_same(const WatchObject *w, PyObject *entry)
{
    PyObject *now = PyCell_GET(OBJECT(entry));
    return is_same_held(w, now ? now : w->missing, BEFORE(entry));
}

static int is_name_same(const WatchObject *w, PyObject *entry)
{
    PyObject *mapping = OBJECT(entry), *name = PyTuple_GET_ITEM(entry, 1);
    PyObject *before = PyTuple_GET_ITEM(entry, 2);
    if (PyDict_CheckExact(mapping)) {
        PyObject *now = PyDict_GetItemWithError(mapping, name);
        if (!now && PyErr_Occurred())
            return -1;
        return is_same_held(w, now ? now : w->missing, before);
    }
    PyObject *now = PyObject_GetItem(mapping, name); /* of the attributes of a class */
    if (!now && !PyErr_ExceptionMatches(PyExc_KeyError))
        return -1;
    PyErr_Clear();
    const int same = is_same_held(w, now ? now : w->missing, before);
    Py_XDECREF(now);
    return same;
}

static int is_function_same(const WatchObject *w, PyObject *entry)
{
    PyObject *f = OBJECT(entry), *defaults = PyFunction_GetDefaults(f),
             *of_keywords = PyFunction_GetKwDefaults(f);
    (void)w;
    return PyFunction_GetCode(f) == PyTuple_GET_ITEM(entry, 1) &&
           (defaults ? defaults : Py_None) == PyTuple_GET_ITEM(entry, 2) &&
           (of_keywords ? of_keywords : Py_None) == PyTuple_GET_ITEM(entry, 3);
}

static int is_list_same(const WatchObject *w, PyObject *entry)
{
    return is_same_list(w, OBJECT(entry), BEFORE(entry));
}

static int is_dict_same(const WatchObject *w, PyObject *entry)
{
    return is_same_dict(w, OBJECT(entry), BEFORE(entry));
}

static int is_slot_same(const WatchObject *w, PyObject *entry)
{
    PyObject *now = PyObject_GetAttr(OBJECT(entry), PyTuple_GET_ITEM(entry, 1));
    if (!now && !PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    const int same = is_same_held(w, now ? now : w->missing, PyTuple_GET_ITEM(entry, 2));
    Py_XDECREF(now);
    return same;
}

static int is_state_same(const WatchObject *w, PyObject *entry)
{
    return ask(w->same_state, OBJECT(entry), BEFORE(entry));
}

static int is_value_same(const WatchObject *w, PyObject *entry)
{
    (void)w;
    return PyObject_RichCompareBool(OBJECT(entry), BEFORE(entry), Py_EQ);
}

static int is_array_same(const WatchObject *w, PyObject *entry)
{
    return is_same_array(w, OBJECT(entry), BEFORE(entry));
}

static int all_same(const WatchObject *w, PyObject *entries,
                    int (*is_entry_same)(const WatchObject *, PyObject *))
{
    const Py_ssize_t count = PyTuple_GET_SIZE(entries);
    int same = 1;
    for (Py_ssize_t i = 0; same > 0 && i < count; i++)
        same = is_entry_same(w, PyTuple_GET_ITEM(entries, i));
    return same;
}

int watch_is_same(PyObject *watch)
{
    static int (*const is_entry_same[PARTS])(const WatchObject *, PyObject *) = {
        [CELLS] = is_cell_same,         [NAMES] = is_name_same,
        [FUNCTIONS] = is_function_same, [SLOTS] = is_slot_same,
        [LISTS] = is_list_same,         [DICTS] = is_dict_same,
        [VALUES] = is_value_same,       [STATES] = is_state_same,
        [ARRAYS] = is_array_same};
    const WatchObject *w = (WatchObject *)watch;
    int same = w->missing != NULL;
    for (int i = 0; same > 0 && i < PARTS; i++)
        same = all_same(w, w->parts[i], is_entry_same[i]);
    return same;
}

/* ---- the type --------------------------------------------------------------------- */

/* _Watch(the parts in their order, same_atom, same_list, same_dict, same_state,
 * same_array, missing) */
static PyObject *watch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    enum { HELPERS = 6 };
    (void)kwargs;
    int known = PyTuple_GET_SIZE(args) == PARTS + HELPERS;
    for (Py_ssize_t i = 0; known && i < PARTS; i++)
        known = PyTuple_CheckExact(PyTuple_GET_ITEM(args, i));
    if (!known)
        return raise_error(PYAD_ERROR_ARGUMENTS, "these parts make no watch");
    WatchObject *w = (WatchObject *)type->tp_alloc(type, 0);
    if (!w)
        return NULL;
    PyObject **const helpers[HELPERS] = {&w->same_atom,  &w->same_list,  &w->same_dict,
                                         &w->same_state, &w->same_array, &w->missing};
    for (Py_ssize_t i = 0; i < PARTS; i++)
        w->parts[i] = Py_NewRef(PyTuple_GET_ITEM(args, i));
    for (Py_ssize_t i = 0; i < HELPERS; i++)
        *helpers[i] = Py_NewRef(PyTuple_GET_ITEM(args, PARTS + i));
    return (PyObject *)w;
}

static int watch_traverse(PyObject *self, visitproc visit, void *arg)
{
    WatchObject *w = (WatchObject *)self;
    for (int i = 0; i < PARTS; i++)
        Py_VISIT(w->parts[i]);
    return 0;
}

static int watch_clear(PyObject *self)
{
    WatchObject *w = (WatchObject *)self;
    Py_CLEAR(w->missing);
    for (int i = 0; i < PARTS; i++)
        Py_CLEAR(w->parts[i]);
    Py_CLEAR(w->same_atom);
    Py_CLEAR(w->same_list);
    Py_CLEAR(w->same_dict);
    Py_CLEAR(w->same_state);
    Py_CLEAR(w->same_array);
    return 0;
}

static void watch_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    watch_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* is_same(): whether nothing changed. */
static PyObject *py_is_same(PyObject *self, PyObject *unused)
{
    (void)unused;
    const int same = watch_is_same(self);
    return same < 0 ? NULL : PyBool_FromLong(same);
}

static PyMethodDef methods[] = {
    {"is_same", py_is_same, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Watch_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Watch",
    .tp_basicsize = sizeof(WatchObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = watch_new,
    .tp_dealloc = watch_dealloc,
    .tp_traverse = watch_traverse,
    .tp_clear = watch_clear,
    .tp_methods = methods,
};
