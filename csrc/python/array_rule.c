/* Rules, see array_rule.h: their life, and recording an operation that has one. */
#include <string.h>

#include "array_rule.h"

/* ---- life ------------------------------------------------------------------------- */

static pyad_rule *rule_retain(pyad_rule *rule)
{
    PyGILState_STATE state = PyGILState_Ensure();
    ((python_rule *)rule)->references++;
    PyGILState_Release(state);
    return rule;
}

static void rule_release(pyad_rule *rule)
{
    PyGILState_STATE state = PyGILState_Ensure();
    python_rule *r = (python_rule *)rule;
    if (--r->references == 0) {
        Py_XDECREF(r->vjp);
        Py_XDECREF(r->value);
        Py_XDECREF(r->inputs);
        Py_XDECREF(r->outputs);
        Py_XDECREF(r->name);
        PyMem_Free(r);
    }
    PyGILState_Release(state);
}

/* ---- recording -------------------------------------------------------------------- */

static python_rule *rule_new(const char *name, PyObject *value, PyObject *vjp,
                             PyObject *inputs, PyObject *outputs)
{
    PyObject *text = PyUnicode_FromString(name);
    const char *kept = text ? PyUnicode_AsUTF8(text) : NULL;
    python_rule *r = kept ? PyMem_Malloc(sizeof *r) : NULL;
    if (!r) {
        Py_XDECREF(text);
        return (python_rule *)raise_error(PYAD_ERROR_NO_MEMORY);
    }
    *r = (python_rule){.base = rule_calls,
                       .name = text,
                       .references = 1,
                       .vjp = Py_NewRef(vjp),
                       .value = Py_NewRef(value),
                       .inputs = Py_NewRef(inputs),
                       .outputs = Py_NewRef(outputs)};
    r->base.retain = rule_retain;
    r->base.release = rule_release;
    r->base.name = kept;
    return r;
}

/* Arrays of the results, which lie in one block one after the other. */
static PyObject *split_block(TapeObject *tape, uint32_t block, PyObject *values)
{
    Py_ssize_t count = PyTuple_GET_SIZE(values);
    PyObject *results = PyTuple_New(count);
    uint32_t start = tape->core->blocks[block].start;
    for (Py_ssize_t i = 0; results && i < count; i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        size_t size = (size_t)PyArray_SIZE(value);
        int ndim = PyArray_NDIM(value);
        PyObject *result =
            ndim == 0
                ? var_of_node(tape, tape->generation, tape->core->values[start], start)
                : (PyObject *)array_new(storage_of_run(tape, block, start, size), ndim,
                                        PyArray_DIMS(value), NULL, 0);
        if (!result) {
            Py_DECREF(results);
            return NULL;
        }
        if (ndim == 0)
            pyad_block_mark(tape->core, block);
        PyTuple_SET_ITEM(results, i, result);
        start += (uint32_t)size;
    }
    return results;
}

/* Outputs as contiguous ndarrays of floats; their numbers one after the other in a
 * buffer. */
static double *gather_outputs(PyObject *values, size_t *count)
{
    *count = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        if (!PyArray_Check(value) || PyArray_TYPE(value) != NPY_DOUBLE ||
            !PyArray_IS_C_CONTIGUOUS(value))
            return (double *)raise_error(
                PYAD_ERROR_ARGUMENTS,
                "the values of a rule are C-contiguous ndarrays of floats");
        *count += (size_t)PyArray_SIZE(value);
    }
    double *all = PyMem_Malloc((*count + 1) * sizeof(double)), *next = all;
    if (!all)
        return (double *)raise_error(PYAD_ERROR_NO_MEMORY);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
        memcpy(next, PyArray_DATA(value), (size_t)PyArray_SIZE(value) * sizeof(double));
        next += PyArray_SIZE(value);
    }
    return all;
}

/* _call(name, values, vjp, inputs): records an operation on the inputs (a tuple) whose
 * results have these values (a tuple of ndarrays); a tuple of Arrays, Vars for 0-d
 * results, or the values themselves if nothing is to be recorded. */
PyObject *array_call(PyObject *module, PyObject *args)
{
    const char *name;
    PyObject *values, *value_function, *vjp, *inputs;
    (void)module;
    if (!PyArg_ParseTuple(args, "sO!OOO!", &name, &PyTuple_Type, &values, &value_function,
                          &vjp, &PyTuple_Type, &inputs))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(inputs);
    array_operand *operand = PyMem_Calloc((size_t)count + 1, sizeof *operand);
    pyad_vector *v = PyMem_Calloc((size_t)count + 1, sizeof *v);
    void **scratch = PyMem_Calloc((size_t)count + 1, sizeof *scratch);
    PyObject *in_shapes = PyTuple_New(count),
             *out_shapes = PyTuple_New(PyTuple_GET_SIZE(values)), *result = NULL;
    array_operands o = {.name = name, .count = (size_t)count, .x = operand};
    int status = operand && v && scratch && in_shapes && out_shapes ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
        int known = array_operand_read(&operand[i], PyTuple_GET_ITEM(inputs, i), name);
        if (known == 0)
            raise_not_a_number(name, PyTuple_GET_ITEM(inputs, i));
        status = known > 0 ? 0 : -1;
        if (status == 0)
            PyTuple_SET_ITEM(in_shapes, i,
                             shape_tuple(operand[i].ndim, operand[i].shape));
    }
    if (status == 0)
        status = array_operands_open(&o);
    size_t total = 0;
    double *all = status == 0 ? gather_outputs(values, &total) : NULL;
    if (all && (!o.tape || total == 0)) {
        array_operands_undo(&o);
        result = Py_NewRef(values);
    } else if (all) {
        uint32_t block;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
            PyArrayObject *value = (PyArrayObject *)PyTuple_GET_ITEM(values, i);
            PyTuple_SET_ITEM(out_shapes, i,
                             shape_tuple(PyArray_NDIM(value), PyArray_DIMS(value)));
        }
        for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
            status = array_operand_vector(&o, &operand[i], operand[i].ndim,
                                          operand[i].shape, &v[i], &scratch[i]);
        }
        python_rule *r = status == 0
                             ? rule_new(name, value_function, vjp, in_shapes, out_shapes)
                             : NULL;
        if (r) {
            status = pyad_block_call(o.tape->core, &r->base, total, all, (size_t)count, v,
                                     &block);
            rule_release(&r->base);
            thread_state *thread = thread_here();
            if (status)
                raise_error(status);
            else if (thread && !(thread->anomaly &&
                                 array_operands_watch(&o, block, out_shapes) < 0))
                result = split_block(o.tape, block, values);
        }
        if (result)
            array_operands_keep(&o);
        else
            array_operands_undo(&o);
    }
    PyMem_Free(all);
    for (Py_ssize_t i = 0; operand && i < count; i++) {
        array_operand_release(&operand[i]);
        if (scratch)
            Py_XDECREF((PyObject *)scratch[i]);
    }
    Py_XDECREF(in_shapes);
    Py_XDECREF(out_shapes);
    PyMem_Free(operand);
    PyMem_Free(v);
    PyMem_Free(scratch);
    if (!result && !PyErr_Occurred())
        PyErr_NoMemory();
    return result;
}
