/* What the files of Array share beyond array.h: the functions and methods that
 * array_functions.c puts into the module and the type, each described where it stands. */
#pragma once
#include "array.h"

/* array_views.c */
PyObject *array_positions(PyObject *module, PyObject *x);
PyObject *array_view(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *array_reshape(PyObject *self, PyObject *const *args, Py_ssize_t count);
/* array_parts.c */
PyObject *array_get_parts(PyObject *module, PyObject *x);
PyObject *array_from_parts(PyObject *module, PyObject *args);
PyObject *array_row_of(PyObject *module, PyObject *x);
/* array_sums.c */
PyObject *array_sum(PyObject *module, PyObject *args);
PyObject *array_method_sum(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *array_cumsum(PyObject *module, PyObject *args);
PyObject *array_linear(PyObject *module, PyObject *args);
/* array_structure.c */
PyObject *array_concatenate(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *array_where(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *array_copy(PyObject *module, PyObject *x);
PyObject *array_shares(PyObject *module, PyObject *const *args, Py_ssize_t count);
/* array_protocol.c */
PyObject *array_set_functions(PyObject *module, PyObject *args);
PyObject *array_function(PyObject *self, PyObject *const *args, Py_ssize_t count);
/* array_attributes.c */
PyObject *array_get_value(ArrayObject *a, void *closure);
PyObject *array_zero_grad(PyObject *self, PyObject *unused);
