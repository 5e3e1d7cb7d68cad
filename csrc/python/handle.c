/* What Var and Dual have in common: they compare, round and format by value, and refuse
 * with one voice what is no number. */
#include <math.h>
#include <stddef.h>

#include "array.h"
#include "dual.h"

_Static_assert(offsetof(VarObject, value) == offsetof(HandleObject, value) &&
                   offsetof(DualObject, value) == offsetof(HandleObject, value),
               "handle_value reads the value of both");

/* ---- other operands --------------------------------------------------------------- */

/* 1, 0, or -1 with an exception. */
static int has_attribute(PyObject *x, const char *name)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)Py_TYPE(x), name);
    if (!found && !PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    Py_XDECREF(found);
    return found != NULL;
}

/* Builtins that never know what to do with a handle, whatever operators they have. */
static int is_container(PyObject *x)
{
    return PyUnicode_Check(x) || PyBytes_Check(x) || PyByteArray_Check(x) ||
           PyList_Check(x) || PyTuple_Check(x) || PyDict_Check(x) || PyAnySet_Check(x);
}

/* Whether `x` is a numbers.Number: 1, 0, or -1 with an exception. */
static int is_number(PyObject *x)
{
    static PyObject *number;
    return python_function(&number, "numbers", "Number") ? PyObject_IsInstance(x, number)
                                                         : -1;
}

PyObject *handle_not_implemented(PyObject *x, PyObject *y, const char *what,
                                 const char *reflected)
{
    PyObject *other = is_handle(x) ? y : x;
    int number = is_number(other), reflects = 0;
    if (number == 0 && other == y && !is_container(y))
        reflects = has_attribute(y, reflected);
    if (reflects > 0)
        return Py_NewRef(Py_NotImplemented);
    return number < 0 || reflects < 0 ? NULL : raise_not_a_number(what, other);
}

PyObject *handle_matmul(PyObject *x, PyObject *y)
{
    int reflects = is_handle(x) && !is_handle(y) ? has_attribute(y, "__rmatmul__") : 0;
    if (reflects > 0)
        return Py_NewRef(Py_NotImplemented);
    return reflects < 0 ? NULL
                        : raise_error(PYAD_ERROR_ARGUMENTS,
                                      "the operator @ is for arrays, not for scalars: "
                                      "use * or pyad.dot");
}

/* ---- comparing -------------------------------------------------------------------- */

/* Fractions, decimals and NumPy's numbers compare with the value; an order among it and a
 * string or a list is an error with a remedy; the rest stays with Python. Takes over
 * `result`, which is NotImplemented. */
static PyObject *compare_with_other(PyObject *result, PyObject *value, PyObject *y,
                                    int comparison)
{
    static const char *const operators[] = {"operator <",  "operator <=", "operator ==",
                                            "operator !=", "operator >",  "operator >="};
    int number = is_number(y);
    int order = comparison != Py_EQ && comparison != Py_NE;
    if (number == 0 && !(order && (is_container(y) || y == Py_None)))
        return result;
    Py_DECREF(result);
    if (number == 0)
        return raise_not_a_number(operators[comparison], y);
    return number < 0 ? NULL : PyObject_RichCompare(value, y, comparison);
}

/* A number of another kind is guarded as the double that it is; one that is none (1/3)
 * makes the comparison a read. */
static int guard_with_other(PyObject *x, PyObject *y, int comparison)
{
    PyObject *number = PyNumber_Float(y);
    int same = number ? PyObject_RichCompareBool(number, y, Py_EQ) : 0;
    double b = number ? PyFloat_AS_DOUBLE(number) : 0;
    Py_XDECREF(number);
    PyErr_Clear();
    return same > 0 || b != b ? guard_compare(x, handle_value(x), NULL, b, comparison)
                              : guard_read(x);
}

PyObject *handle_compare(PyObject *x, PyObject *y, int comparison)
{
    double a = handle_value(x); /* Python swaps the operands so that a handle is first */
    if (is_handle(y)) {
        double b = handle_value(y);
        if (guarding_tapes && guard_compare(x, a, y, b, comparison) < 0)
            return NULL;
        Py_RETURN_RICHCOMPARE(a, b, comparison);
    }
    if (PyFloat_CheckExact(y)) {
        double b = PyFloat_AS_DOUBLE(y);
        if (guarding_tapes && guard_compare(x, a, NULL, b, comparison) < 0)
            return NULL;
        Py_RETURN_RICHCOMPARE(a, b, comparison);
    }
    PyObject *value = PyFloat_FromDouble(a);
    PyObject *result =
        value ? Py_TYPE(value)->tp_richcompare(value, y, comparison) : NULL;
    if (result == Py_NotImplemented)
        result = compare_with_other(result, value, y, comparison);
    Py_XDECREF(value);
    if (guarding_tapes && result && result != Py_NotImplemented &&
        guard_with_other(x, y, comparison) < 0)
        Py_CLEAR(result);
    return result;
}

Py_hash_t handle_hash(PyObject *self) { return PyBaseObject_Type.tp_hash(self); }

int handle_bool(PyObject *x)
{
    double value = handle_value(x);
    if (guarding_tapes && guard_compare(x, value, NULL, 0, Py_NE) < 0)
        return -1;
    return value != 0;
}

/* ---- whole numbers ---------------------------------------------------------------- */

PyObject *handle_int(PyObject *x)
{
    if (guarding_tapes && guard_whole(x, 't') < 0)
        return NULL;
    return PyLong_FromDouble(handle_value(x));
}

/* "floor", "ceil" and "trunc" of math give whole numbers, whose derivative is 0: no
 * derivative is lost. */
#define TO_WHOLE(NAME)                                                                   \
    static PyObject *whole_##NAME(PyObject *self, PyObject *unused)                      \
    {                                                                                    \
        (void)unused;                                                                    \
        if (guarding_tapes && guard_whole(self, #NAME[0]) < 0)                           \
            return NULL;                                                                 \
        return PyLong_FromDouble(NAME(handle_value(self)));                              \
    }
TO_WHOLE(floor)
TO_WHOLE(ceil)
TO_WHOLE(trunc)

/* round(x) is an int; round(x, digits) a handle with derivative 0. */
static PyObject *rounded(PyObject *self, PyObject *args)
{
    PyObject *digits = Py_None;
    if (!PyArg_ParseTuple(args, "|O:round", &digits))
        return NULL;
    if (guarding_tapes && digits == Py_None && guard_whole(self, 'r') < 0)
        return NULL;
    PyObject *value = PyFloat_FromDouble(handle_value(self));
    PyObject *whole = value ? PyObject_CallMethod(value, "__round__", "O", digits) : NULL;
    Py_XDECREF(value);
    if (!whole || digits == Py_None)
        return whole;
    double number = PyFloat_AsDouble(whole);
    Py_DECREF(whole);
    return is_dual(self) ? dual_flat((DualObject *)self, number)
                         : record_given((VarObject *)self, number, 0);
}

static PyObject *is_integer(PyObject *self, PyObject *unused)
{
    double value = handle_value(self);
    (void)unused;
    if (guarding_tapes && guard_is_integer(self) < 0)
        return NULL;
    return PyBool_FromLong(isfinite(value) && floor(value) == value);
}

/* ---- attributes and other methods ------------------------------------------------- */

PyObject *handle_get_value(PyObject *x, void *closure)
{
    (void)closure;
    if (guarding_tapes && guard_read(x) < 0)
        return NULL;
    return PyFloat_FromDouble(handle_value(x));
}

PyObject *handle_get_self(PyObject *x, void *closure)
{
    (void)closure;
    return Py_NewRef(x);
}

PyObject *handle_get_zero(PyObject *x, void *closure)
{
    (void)x, (void)closure;
    return PyFloat_FromDouble(0.0);
}

/* A number answers as numpy.float64 does: an array without dimensions. */
PyObject *handle_get_shape(PyObject *x, void *closure)
{
    (void)x, (void)closure;
    return PyTuple_New(0);
}

PyObject *handle_get_size(PyObject *x, void *closure)
{
    (void)x, (void)closure;
    return PyLong_FromLong(1);
}

PyObject *handle_get_ndim(PyObject *x, void *closure)
{
    (void)x, (void)closure;
    return PyLong_FromLong(0);
}

/* f"{x:.3f}" formats the value; without a format it is the repr. */
static PyObject *format(PyObject *self, PyObject *specification)
{
    if (PyUnicode_Check(specification) && PyUnicode_GET_LENGTH(specification) == 0)
        return PyObject_Repr(self);
    if (guarding_tapes && guard_read(self) < 0)
        return NULL;
    PyObject *value = PyFloat_FromDouble(handle_value(self));
    PyObject *text = value ? PyObject_Format(value, specification) : NULL;
    Py_XDECREF(value);
    return text;
}

static PyObject *detach(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (guarding_tapes && guard_read(self) < 0)
        return NULL;
    return var_new(handle_value(self), CONSTANT_GENERATION);
}

static PyObject *conjugate(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(self);
}

PyMethodDef handle_methods[] = {
    {"detach", detach, METH_NOARGS,
     "detach()\n--\n\nThe same value as a constant, which float() accepts."},
    {"is_integer", is_integer, METH_NOARGS,
     "is_integer()\n--\n\nWhether the value is a whole number."},
    {"item", conjugate, METH_NOARGS, "item()\n--\n\nThe number itself."},
    {"conjugate", conjugate, METH_NOARGS, "conjugate()\n--\n\nThe number itself."},
    {"__format__", format, METH_O, NULL},
    {"__floor__", whole_floor, METH_NOARGS, NULL},
    {"__ceil__", whole_ceil, METH_NOARGS, NULL},
    {"__trunc__", whole_trunc, METH_NOARGS, NULL},
    {"__round__", rounded, METH_VARARGS, NULL},
    {"__array_ufunc__", (PyCFunction)(void (*)(void))handle_array_ufunc,
     METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
