/* Raising: a row of errors.def becomes an exception of pyad/errors.py. */
#include "array.h"

PyObject *python_function(PyObject **cache, const char *module, const char *name)
{
    if (!*cache) {
        PyObject *found = PyImport_ImportModule(module);
        *cache = found ? PyObject_GetAttrString(found, name) : NULL;
        Py_XDECREF(found);
    }
    return *cache;
}

const char *message_text(PyObject *text)
{
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!utf8)
        PyErr_Clear();
    return utf8 ? utf8 : "?";
}

PyObject *raise_error(int error, ...)
{
    static PyObject *build;
    va_list arguments;
    if (error == PYAD_ERROR_RULE_FAILED && rule_raise_pending())
        return NULL;
    va_start(arguments, error);
    PyObject *message = PyUnicode_FromFormatV(pyad_error_text(error), arguments);
    va_end(arguments);
    if (!message || !python_function(&build, "pyad.errors", "build")) {
        Py_XDECREF(message);
        return NULL;
    }
    PyObject *exception =
        PyObject_CallFunction(build, "sO", pyad_error_name(error), message);
    Py_DECREF(message);
    if (exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

PyObject *raise_not_a_number(const char *what, PyObject *x)
{
    const PyNumberMethods *number = Py_TYPE(x)->tp_as_number;
    const char *remedy = ": give it a float, an int or a variable";
    if (PyUnicode_Check(x) || PyBytes_Check(x))
        remedy = ": convert it with float(...)";
    else if (PyComplex_Check(x))
        remedy =
            ": complex numbers are not supported, use their real and imaginary parts";
    else if (x == Py_None)
        remedy = ": does a function lack its return?";
    else if (PyList_Check(x) || PyTuple_Check(x))
        remedy =
            ": make it an array with numpy.array(...), or variables with pyad.vars(...)";
    else if (PyCallable_Check(x))
        remedy = ": call it first";
    else if (PySequence_Check(x))
        remedy = ": take its elements one by one";
    else if (number && number->nb_float)
        remedy = ": convert it with float(...)";
    return raise_error(PYAD_ERROR_NOT_A_NUMBER, what, Py_TYPE(x)->tp_name, remedy);
}
