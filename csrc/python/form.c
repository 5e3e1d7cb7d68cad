/* Form: the structure of the arguments or of the result of a compiled function, for
 * reading its numbers into a vector and for building it around other numbers. A form is
 * made of what pyad.compiled._arguments knows as a layout; it takes floats, float64
 * arrays and exact lists, tuples and dicts of them, and leaves all else to Python. */
#include "form.h"

#include <string.h>

#include "numpy_api.h"

enum kind { NUMBER, WHOLE_TOO, ARRAY, LIST, TUPLE, DICT, PLAIN, KINDS };

/* In the order in which they are read: a container stands before its children. */
typedef struct {
    uint8_t kind;
    uint8_t item; /* of a list or tuple of nothing but numbers: their kind, else KINDS */
    Py_ssize_t count; /* children */
    size_t numbers;   /* in all of it */
    PyObject *extra;  /* DICT: a tuple of keys. PLAIN: the value. Held. */
    int ndim;
    npy_intp *shape; /* ARRAY; owned */
} node;

struct FormObject {
    PyObject_HEAD
    node *nodes;
    size_t count, capacity;
};

/* ---- making ----------------------------------------------------------------------- */

static int form_clear(PyObject *self)
{
    FormObject *form = (FormObject *)self;
    while (form->count) {
        node *n = &form->nodes[--form->count];
        PyMem_Free(n->shape);
        Py_CLEAR(n->extra);
    }
    return 0;
}

static int form_traverse(PyObject *self, visitproc visit, void *arg)
{
    const FormObject *form = (FormObject *)self;
    for (size_t i = 0; i < form->count; i++)
        Py_VISIT(form->nodes[i].extra);
    return 0;
}

static void form_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    form_clear(self);
    PyMem_Free(((FormObject *)self)->nodes);
    Py_TYPE(self)->tp_free(self);
}

static int refuse(void)
{
    PyErr_SetString(PyExc_ValueError, "this describes no form");
    return -1;
}

static int read_shape(node *n, PyObject *shape)
{
    if (!PyTuple_Check(shape) || PyTuple_GET_SIZE(shape) > NPY_MAXDIMS)
        return refuse();
    n->ndim = (int)PyTuple_GET_SIZE(shape);
    n->numbers = 1;
    n->shape = PyMem_Calloc((size_t)n->ndim + 1, sizeof *n->shape);
    if (!n->shape) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < n->ndim; i++) {
        n->shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (n->shape[i] < 0)
            return PyErr_Occurred() ? -1 : refuse();
        n->numbers *= (size_t)n->shape[i];
    }
    return 0;
}

/* The kind of all of them if they are numbers of one kind, else KINDS. */
static uint8_t kind_of_items(PyObject *children)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(children);
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyTuple_GET_ITEM(children, i) != PyTuple_GET_ITEM(children, 0))
            return KINDS;
    PyObject *first = count ? PyTuple_GET_ITEM(children, 0) : NULL;
    if (!first || !PyTuple_Check(first) || PyTuple_GET_SIZE(first) != 1)
        return KINDS;
    const long kind = PyLong_AsLong(PyTuple_GET_ITEM(first, 0));
    return kind == NUMBER || kind == WHOLE_TOO ? (uint8_t)kind : KINDS;
}

/* Adds what is described: (NUMBER,), (WHOLE_TOO,), (ARRAY, shape), (LIST, children),
 * (TUPLE, children), (DICT, children, keys), (PLAIN, value). */
static int add(FormObject *form, PyObject *given)
{
    if (!PyTuple_Check(given) || PyTuple_GET_SIZE(given) < 1)
        return refuse();
    const Py_ssize_t parts = PyTuple_GET_SIZE(given);
    const long kind = PyLong_AsLong(PyTuple_GET_ITEM(given, 0));
    if (kind < 0 || kind >= KINDS || parts < (kind >= ARRAY) + 1 + (kind == DICT))
        return refuse();
    if (form->count == form->capacity) {
        const size_t capacity = 2 * form->capacity + 4;
        node *grown = PyMem_Realloc(form->nodes, capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        form->nodes = grown;
        form->capacity = capacity;
    }
    const size_t at = form->count++;
    form->nodes[at] = (node){.kind = (uint8_t)kind, .item = KINDS, .numbers = 1};
    PyObject *second = parts > 1 ? PyTuple_GET_ITEM(given, 1) : NULL;
    if (kind <= WHOLE_TOO)
        return 0;
    if (kind == ARRAY)
        return read_shape(&form->nodes[at], second);
    form->nodes[at].numbers = 0;
    if (kind == PLAIN) {
        form->nodes[at].extra = Py_NewRef(second);
        return 0;
    }
    if (!PyTuple_Check(second))
        return refuse();
    const Py_ssize_t count = PyTuple_GET_SIZE(second);
    form->nodes[at].count = count;
    if (kind == DICT) {
        PyObject *keys = PyTuple_GET_ITEM(given, 2);
        if (!PyTuple_Check(keys) || PyTuple_GET_SIZE(keys) != count)
            return refuse();
        form->nodes[at].extra = Py_NewRef(keys);
    } else if ((form->nodes[at].item = kind_of_items(second)) != KINDS) {
        form->nodes[at].numbers = (size_t)count;
        return 0;
    }
    if (Py_EnterRecursiveCall(" in a form"))
        return -1;
    int status = 0;
    for (Py_ssize_t i = 0; i < count && status == 0; i++) {
        const size_t child = form->count;
        status = add(form, PyTuple_GET_ITEM(second, i));
        if (status == 0)
            form->nodes[at].numbers += form->nodes[child].numbers;
    }
    Py_LeaveRecursiveCall();
    return status;
}

/* _Form(description) */
static PyObject *form_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *given;
    if (kwargs || !PyArg_ParseTuple(args, "O", &given)) {
        if (!PyErr_Occurred())
            refuse();
        return NULL;
    }
    FormObject *form = (FormObject *)type->tp_alloc(type, 0);
    if (form && add(form, given) < 0)
        Py_CLEAR(form);
    return (PyObject *)form;
}

size_t form_size(const FormObject *form) { return form->nodes[0].numbers; }

/* ---- reading ---------------------------------------------------------------------- */

static inline int read_number(PyObject *x, int kind, double *into)
{
    if (PyFloat_CheckExact(x) || PyArray_IsScalar(x, Double)) {
        *into = PyFloat_AS_DOUBLE(x); /* numpy.float64 is a float */
        return 1;
    }
    if (kind != WHOLE_TOO || !(PyLong_CheckExact(x) || PyBool_Check(x)))
        return 0;
    *into = PyLong_AsDouble(x);
    if (*into == -1 && PyErr_Occurred()) {
        PyErr_Clear(); /* the slow way says so */
        return 0;
    }
    return 1;
}

static int is_array_of(const node *n, PyObject *x)
{
    if (!PyArray_CheckExact(x))
        return 0;
    PyArrayObject *a = (PyArrayObject *)x;
    return PyArray_TYPE(a) == NPY_DOUBLE && PyArray_ISBEHAVED_RO(a) &&
           PyArray_NDIM(a) == n->ndim &&
           PyArray_CompareLists(PyArray_DIMS(a), n->shape, n->ndim);
}

static int read_array(const node *n, PyObject *x, double *into)
{
    if (!is_array_of(n, x))
        return 0;
    PyArrayObject *a = (PyArrayObject *)x;
    if (PyArray_IS_C_CONTIGUOUS(a)) {
        memcpy(into, PyArray_DATA(a), n->numbers * sizeof *into);
        return 1;
    }
    PyObject *to = PyArray_SimpleNewFromData(n->ndim, n->shape, NPY_DOUBLE, into);
    const int status = to ? PyArray_CopyInto((PyArrayObject *)to, a) : -1;
    Py_XDECREF(to);
    return status < 0 ? -1 : 1;
}

/* Whether a value that is no number, or a key, is the one of the form: it may be another
 * object, but then only one whose comparison runs no code of the user. */
static int is_same(PyObject *x, PyObject *known)
{
    if (x == known)
        return 1;
    if (!Py_IS_TYPE(x, Py_TYPE(known)))
        return 0;
    if (PyFloat_CheckExact(x)) {
        const double a = PyFloat_AS_DOUBLE(x), b = PyFloat_AS_DOUBLE(known);
        return memcmp(&a, &b, sizeof a) == 0;
    }
    if (PyUnicode_CheckExact(x) || PyLong_CheckExact(x))
        return PyObject_RichCompareBool(x, known, Py_EQ);
    return 0;
}

static int read_held(const FormObject *form, size_t *at, PyObject *x, double **into);

/* From node *at on, which moves behind what was read, as *into does. */
static int read_from(const FormObject *form, size_t *at, PyObject *x, double **into)
{
    const node *n = &form->nodes[(*at)++];
    int status = 1;
    switch (n->kind) {
    case NUMBER:
    case WHOLE_TOO:
        status = read_number(x, n->kind, *into);
        ++*into;
        return status;
    case ARRAY:
        status = read_array(n, x, *into);
        *into += n->numbers;
        return status;
    case PLAIN:
        return is_same(x, n->extra);
    case DICT: {
        PyObject *key, *value;
        Py_ssize_t place = 0, i = 0;
        if (!PyDict_CheckExact(x) || PyDict_GET_SIZE(x) != n->count)
            return 0;
        while (status > 0 && i < n->count && PyDict_Next(x, &place, &key, &value)) {
            status = is_same(key, PyTuple_GET_ITEM(n->extra, i++));
            if (status > 0)
                status = read_held(form, at, value, into);
        }
        return status > 0 && i < n->count ? 0 : status;
    }
    default:
        break;
    }
    if (!(n->kind == LIST ? PyList_CheckExact(x) : PyTuple_CheckExact(x)) ||
        Py_SIZE(x) != n->count)
        return 0;
    if (n->item != KINDS) {
        PyObject *const *items = PySequence_Fast_ITEMS(x);
        double *to = *into;
        for (Py_ssize_t i = 0; i < n->count; i++)
            if (!read_number(items[i], n->item, to + i))
                return 0;
        *into += n->count;
        return 1;
    }
    for (Py_ssize_t i = 0; i < n->count && status > 0; i++)
        status = i < Py_SIZE(x)
                     ? read_held(form, at, PySequence_Fast_GET_ITEM(x, i), into)
                     : 0;
    return status;
}

/* An item of a container that others may change when an object is made. */
static int read_held(const FormObject *form, size_t *at, PyObject *x, double **into)
{
    Py_INCREF(x);
    const int status = read_from(form, at, x, into);
    Py_DECREF(x);
    return status;
}

int form_read(const FormObject *form, PyObject *x, double *into)
{
    size_t at = 0;
    return read_from(form, &at, x, &into);
}

const double *form_data(const FormObject *form, PyObject *x)
{
    const node *n = form->nodes;
    if (n->kind != ARRAY || !is_array_of(n, x))
        return NULL;
    PyArrayObject *a = (PyArrayObject *)x;
    return PyArray_IS_C_CONTIGUOUS(a) ? PyArray_DATA(a) : NULL;
}

/* ---- building --------------------------------------------------------------------- */

static PyObject *build_array(const node *n, const double *from)
{
    PyObject *made = PyArray_SimpleNew(n->ndim, n->shape, NPY_DOUBLE);
    if (made)
        memcpy(PyArray_DATA((PyArrayObject *)made), from, n->numbers * sizeof *from);
    return made;
}

static PyObject *build_from(const FormObject *form, size_t *at, const double **from)
{
    const node *n = &form->nodes[(*at)++];
    const double *numbers = *from;
    if (n->kind <= WHOLE_TOO || n->kind == ARRAY) {
        *from += n->numbers;
        return n->kind == ARRAY ? build_array(n, numbers) : PyFloat_FromDouble(*numbers);
    }
    if (n->kind == PLAIN)
        return Py_NewRef(n->extra);
    PyObject *made = n->kind == LIST    ? PyList_New(n->count)
                     : n->kind == TUPLE ? PyTuple_New(n->count)
                                        : PyDict_New();
    for (Py_ssize_t i = 0; made && i < n->count; i++) {
        PyObject *item = n->item == KINDS ? build_from(form, at, from)
                                          : PyFloat_FromDouble(*(*from)++);
        int status = item ? 0 : -1;
        if (status == 0 && n->kind == DICT) {
            status = PyDict_SetItem(made, PyTuple_GET_ITEM(n->extra, i), item);
            Py_DECREF(item);
        } else if (status == 0 && n->kind == LIST) {
            PyList_SET_ITEM(made, i, item);
        } else if (status == 0) {
            PyTuple_SET_ITEM(made, i, item);
        }
        if (status < 0)
            Py_CLEAR(made);
    }
    return made;
}

PyObject *form_build(const FormObject *form, const double *numbers)
{
    size_t at = 0;
    return build_from(form, &at, &numbers);
}

PyObject *form_empty(const FormObject *form, double **data)
{
    const node *n = form->nodes;
    PyObject *made =
        n->kind == ARRAY ? PyArray_SimpleNew(n->ndim, n->shape, NPY_DOUBLE) : NULL;
    if (made)
        *data = PyArray_DATA((PyArrayObject *)made);
    return made;
}

/* ---- for Python ------------------------------------------------------------------- */

/* read(x): its numbers as a vector, or None if it has another structure. */
static PyObject *py_read(PyObject *self, PyObject *x)
{
    const FormObject *form = (FormObject *)self;
    npy_intp count = (npy_intp)form_size(form);
    PyObject *numbers = PyArray_SimpleNew(1, &count, NPY_DOUBLE);
    if (!numbers)
        return NULL;
    const int status = form_read(form, x, PyArray_DATA((PyArrayObject *)numbers));
    if (status > 0)
        return numbers;
    Py_DECREF(numbers);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"read", py_read, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Form_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Form",
    .tp_basicsize = sizeof(FormObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = form_new,
    .tp_dealloc = form_dealloc,
    .tp_traverse = form_traverse,
    .tp_clear = form_clear,
    .tp_methods = methods,
};
