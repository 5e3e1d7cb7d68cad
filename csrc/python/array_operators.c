/* Arithmetic on arrays: the rows of ops.def element by element, with NumPy's
 * broadcasting, as operators, in place and as NumPy's ufuncs; and the matrix product. */
#include "array.h"

#include <string.h>

#include "../buffer.h"
#include "dual.h"

/* ---- NumPy's inner loops ---------------------------------------------------------- */

/* Filled once, when the module is loaded; lent to every tape. */
pyad_loops numpy_loops;

/* The loop of a ufunc that takes and gives doubles only. */
static pyad_loop loop_of(PyObject *numpy, const char *name)
{
    pyad_loop loop = {NULL, NULL};
    PyUFuncObject *ufunc = (PyUFuncObject *)PyObject_GetAttrString(numpy, name);
    for (int i = 0; ufunc && i < ufunc->ntypes; i++) {
        const char *types = ufunc->types + (size_t)i * (size_t)ufunc->nargs;
        int doubles = 1;
        for (int k = 0; k < ufunc->nargs; k++)
            doubles &= types[k] == NPY_DOUBLE;
        if (doubles && ufunc->functions[i]) {
            loop.run = (pyad_loop_function *)ufunc->functions[i];
            loop.data = ufunc->data ? ufunc->data[i] : NULL;
            break;
        }
    }
    PyErr_Clear();
    Py_XDECREF(ufunc);
    return loop;
}

int numpy_loops_load(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    for (int op = 0; numpy && op < PYAD_OP_COUNT; op++) {
        const char *name = pyad_op_describe(op)->numpy;
        /* NumPy's logaddexp is slow, and loses digits where the result is near 0. */
        if (*name && op != PYAD_OP_LOGADDEXP)
            numpy_loops.values[op] = loop_of(numpy, name);
    }
    if (numpy) {
        numpy_loops.sum = loop_of(numpy, "add");
        numpy_loops.matmul = loop_of(numpy, "matmul");
        numpy_loops.matmul_threads = openblas_threads();
    }
    Py_XDECREF(numpy);
    return numpy ? 0 : -1;
}

/* ---- element by element ----------------------------------------------------------- */

/* The result as constants: nothing is recorded. */
static PyObject *map_of_numbers(int op, int unary, int ndim, const Py_ssize_t *shape,
                                const pyad_vector *v)
{
    size_t count = (size_t)shape_size(ndim, shape);
    Storage *s = storage_new(count);
    if (!s)
        return NULL;
    if (count)
        pyad_map_part(&numpy_loops, op, PYAD_VALUE, count, v[0].values, v[0].step,
                      unary ? NULL : v[1].values, v[1].step, NULL, s->values);
    if (ndim == 0) {
        double value = s->values[0];
        storage_release(s);
        return var_new(value, CONSTANT_GENERATION);
    }
    return (PyObject *)array_new(s, ndim, shape, NULL, 0);
}

/* 0-d arrays count as the variable that they hold: scalars have operations of their own.
 */
static PyObject *scalar_of(const array_operand *x)
{
    if (x->array)
        return array_element(x->array, x->array->offset);
    if (x->var)
        return Py_NewRef((PyObject *)x->var);
    return PyFloat_FromDouble(x->plain ? *(double *)PyArray_DATA(x->plain) : x->number);
}

static PyObject *apply_to_scalars(int op, array_operands *o)
{
    PyObject *x = scalar_of(&o->x[0]), *y = o->count > 1 ? scalar_of(&o->x[1]) : NULL;
    PyObject *result = x && (y || o->count == 1) ? function_call(op, x, y) : NULL;
    Py_XDECREF(x);
    Py_XDECREF(y);
    return result;
}

static PyObject *apply_to_arrays(int op, array_operands *o)
{
    Py_ssize_t shape[NPY_MAXDIMS];
    int ndim, status = -1, unary = o->count == 1;
    uint32_t block;
    if (broadcast_shapes(o->count, o->x, &ndim, shape) < 0)
        return NULL;
    if (ndim == 0)
        return apply_to_scalars(op, o);
    if (array_operands_open(o) < 0)
        return NULL;
    Py_ssize_t size = shape_size(ndim, shape);
    if (size == 0) {
        array_operands_undo(o);
        return array_empty(o->tape, ndim, shape);
    }
    void *scratch[2] = {NULL, NULL};
    pyad_vector v[2] = {{.values = NULL}, {.values = NULL, .node = PYAD_CONSTANT}};
    PyObject *result = NULL;
    if (array_operand_vector(o, &o->x[0], ndim, shape, &v[0], &scratch[0]) == 0 &&
        (unary ||
         array_operand_vector(o, &o->x[1], ndim, shape, &v[1], &scratch[1]) == 0))
        status = 0;
    if (status == 0 && !o->tape)
        result = map_of_numbers(op, unary, ndim, shape, v);
    else if (status == 0 || o->tape) {
        if (status == 0)
            status =
                pyad_block_map(o->tape->core, op, 0, (size_t)size, v[0], v[1], &block);
        result = array_operands_finish(o, status, block, ndim, shape);
    }
    Py_XDECREF(scratch[0]);
    Py_XDECREF(scratch[1]);
    return result;
}

PyObject *array_apply(int op, PyObject *x, PyObject *y)
{
    array_operand operand[2] = {{.shape = NULL}, {.shape = NULL}};
    array_operands o = {
        .name = pyad_op_describe(op)->name, .count = y ? 2 : 1, .x = operand};
    int known = array_operand_read(&operand[0], x, o.name);
    if (known > 0 && y)
        known = array_operand_read(&operand[1], y, o.name);
    PyObject *result = known > 0    ? apply_to_arrays(op, &o)
                       : known == 0 ? Py_NewRef(Py_NotImplemented)
                                    : NULL;
    array_operand_release(&operand[0]);
    array_operand_release(&operand[1]);
    return result;
}

/* ---- matrix product --------------------------------------------------------------- */

/* A stack of matrices within an operand: what a product needs to know of it. */
typedef struct {
    pyad_vector v;
    pyad_matrix matrix;
    int batch_ndim; /* 0 or that of the result */
} stack;

/* The last two dimensions of an operand of the product, a vector counting as a row (`x`
 * left) or a column; the dimensions before. */
typedef struct {
    Py_ssize_t rows, columns;
    int vector, batch_ndim;
} sides_of_matrix;

static sides_of_matrix matrix_sides(const array_operand *x, int left)
{
    int n = x->ndim;
    if (n == 1)
        return left ? (sides_of_matrix){1, x->shape[0], 1, 0}
                    : (sides_of_matrix){x->shape[0], 1, 1, 0};
    return (sides_of_matrix){x->shape[n - 2], x->shape[n - 1], 0, n - 2};
}

/* The operand as matrices of one stack: where it stands if that is regular, else a
 * contiguous copy of the full stack. */
static int read_stack(array_operands *o, array_operand *x, sides_of_matrix side, int left,
                      int batch_ndim, const Py_ssize_t *batch, stack *s, void **scratch)
{
    ArrayObject *a = x->array;
    int on_tape = a && o->tape && a->storage->generation != CONSTANT_GENERATION;
    Py_ssize_t shape[NPY_MAXDIMS], size = side.rows * side.columns;
    *scratch = NULL;
    if (on_tape && side.batch_ndim == 0 && !a->storage->rows) {
        /* one matrix, or vector, with strides that are not negative */
        Py_ssize_t row = side.vector && left ? 0 : array_strides(a)[0];
        Py_ssize_t column = side.vector && !left ? 0 : array_strides(a)[a->ndim - 1];
        if (row >= 0 && column >= 0) {
            if (a->storage->generation == LEAF_GENERATION &&
                storage_register(a->storage, o->tape) < 0)
                return -1;
            s->v = (pyad_vector){.node = a->storage->start,
                                 .block = a->storage->block,
                                 .step = 1,
                                 .count = a->storage->size};
            s->matrix = (pyad_matrix){a->offset, 0, row, column};
            return 0;
        }
    }
    int ndim = 0;
    if (side.batch_ndim) /* broadcast to the full stack */
        for (; ndim < batch_ndim; ndim++)
            shape[ndim] = batch[ndim];
    if (!side.vector || !left)
        shape[ndim++] = side.rows;
    if (!side.vector || left)
        shape[ndim++] = side.columns;
    s->matrix = (pyad_matrix){0, side.batch_ndim ? size : 0, side.columns, 1};
    return array_operand_vector(o, x, ndim, shape, &s->v, scratch);
}

static PyObject *raise_matmul(const array_operand *x)
{
    PyObject *left = shape_tuple(x[0].ndim, x[0].shape);
    PyObject *right = shape_tuple(x[1].ndim, x[1].shape);
    PyObject *text = left && right ? PyUnicode_FromFormat("%R @ %R", left, right) : NULL;
    if (text)
        raise_error(PYAD_ERROR_MATMUL, message_text(text));
    Py_XDECREF(text);
    Py_XDECREF(left);
    Py_XDECREF(right);
    return NULL;
}

static PyObject *multiply_stacks(array_operands *o)
{
    sides_of_matrix a, b;
    Py_ssize_t shape[NPY_MAXDIMS];
    int ndim = 0;
    if (!o->x[0].ndim || !o->x[1].ndim)
        return raise_error(PYAD_ERROR_ARGUMENTS,
                           "the operator @ is for arrays, not for scalars: use *");
    a = matrix_sides(&o->x[0], 1);
    b = matrix_sides(&o->x[1], 0);
    if (a.columns != b.rows)
        return raise_matmul(o->x);
    array_operand batches[2] = {o->x[0], o->x[1]};
    batches[0].ndim = a.batch_ndim;
    batches[1].ndim = b.batch_ndim;
    if (broadcast_shapes(2, batches, &ndim, shape) < 0)
        return NULL;
    int batch_ndim = ndim;
    size_t batch = (size_t)shape_size(ndim, shape);
    if (!a.vector)
        shape[ndim++] = a.rows;
    if (!b.vector)
        shape[ndim++] = b.columns;
    if (shape_check(ndim, shape) < 0)
        return NULL;
    Py_ssize_t size = shape_size(ndim, shape);
    if (array_operands_open(o) < 0)
        return NULL;
    if (size == 0 || a.columns == 0) {
        array_operands_undo(o);
        if (ndim == 0)
            return o->tape ? var_of_empty_sum(o->tape) : var_new(0, CONSTANT_GENERATION);
        if (size == 0)
            return array_empty(o->tape, ndim, shape);
        Storage *zeros = storage_new((size_t)size);
        if (zeros)
            memset(zeros->values, 0, (size_t)size * sizeof(double));
        return (PyObject *)array_new(zeros, ndim, shape, NULL, 0);
    }
    stack s[2];
    void *scratch[2] = {NULL, NULL};
    PyObject *result = NULL;
    int status = -1;
    uint32_t block = 0;
    if (read_stack(o, &o->x[0], a, 1, batch_ndim, shape, &s[0], &scratch[0]) == 0 &&
        read_stack(o, &o->x[1], b, 0, batch_ndim, shape, &s[1], &scratch[1]) == 0)
        status = 0;
    pyad_product p;
    if (status == 0) {
        for (int i = 0; i < 2; i++)
            if (s[i].v.step == 0) /* one number, however shaped */
                s[i].v.step = 1, s[i].v.count = 1;
        p = (pyad_product){
            batch,       (size_t)a.rows, (size_t)a.columns, (size_t)b.columns,
            s[0].matrix, s[1].matrix};
    }
    if (status == 0 && !o->tape) {
        Storage *made = storage_new((size_t)size);
        if (made) {
            pyad_product_value(&numpy_loops, &p, s[0].v.values, s[1].v.values,
                               made->values);
            if (ndim == 0) {
                result = var_new(made->values[0], CONSTANT_GENERATION);
                storage_release(made);
            } else {
                result = (PyObject *)array_new(made, ndim, shape, NULL, 0);
            }
        }
    } else if (o->tape) {
        if (status == 0)
            status = pyad_block_product(o->tape->core, &p, s[0].v, s[1].v, &block);
        result = array_operands_finish(o, status, block, ndim, shape);
    }
    Py_XDECREF(scratch[0]);
    Py_XDECREF(scratch[1]);
    return result;
}

/* A sparse matrix of SciPy, or nothing that is known. */
static PyObject *multiply_foreign(PyObject *x, PyObject *y)
{
    static PyObject *elsewhere;
    return python_function(&elsewhere, "pyad.array._sparse", "sparse_product")
               ? PyObject_CallFunctionObjArgs(elsewhere, x, y, NULL)
               : NULL;
}

PyObject *array_matmul(PyObject *x, PyObject *y)
{
    array_operand operand[2] = {{.shape = NULL}, {.shape = NULL}};
    array_operands o = {.name = "matmul", .count = 2, .x = operand};
    int known = array_operand_read(&operand[0], x, "matmul");
    if (known > 0)
        known = array_operand_read(&operand[1], y, "matmul");
    PyObject *result = known > 0    ? multiply_stacks(&o)
                       : known == 0 ? multiply_foreign(x, y)
                                    : NULL;
    array_operand_release(&operand[0]);
    array_operand_release(&operand[1]);
    return result;
}

/* ---- number slots ----------------------------------------------------------------- */

#define OPERATOR(NAME, OP)                                                               \
    static PyObject *operator_##NAME(PyObject *x, PyObject *y)                           \
    {                                                                                    \
        return array_apply(PYAD_OP_##OP, x, y);                                          \
    }                                                                                    \
    static PyObject *inplace_##NAME(PyObject *x, PyObject *y)                            \
    {                                                                                    \
        return store_in_place(x, array_apply(PYAD_OP_##OP, x, y));                       \
    }

/* `a += b`: the numbers of `a` are replaced, in every view of it. */
static PyObject *store_in_place(PyObject *x, PyObject *result)
{
    if (!result || result == Py_NotImplemented)
        return result;
    if (!is_array(x)) /* a plain ndarray on the left becomes an Array */
        return result;
    int status = array_store((ArrayObject *)x, result);
    Py_DECREF(result);
    return status < 0 ? NULL : Py_NewRef(x);
}

/* `*` of SciPy's matrices is their product. */
static PyObject *operator_mul(PyObject *x, PyObject *y)
{
    static PyObject *elsewhere;
    PyObject *result = array_apply(PYAD_OP_MUL, x, y);
    if (result != Py_NotImplemented)
        return result;
    Py_DECREF(result);
    return python_function(&elsewhere, "pyad.array._sparse", "sparse_times")
               ? PyObject_CallFunctionObjArgs(elsewhere, x, y, NULL)
               : NULL;
}

static PyObject *inplace_mul(PyObject *x, PyObject *y)
{
    return store_in_place(x, array_apply(PYAD_OP_MUL, x, y));
}

OPERATOR(add, ADD)
OPERATOR(sub, SUB)
OPERATOR(div, DIV)
OPERATOR(floordiv, FLOORDIV)
OPERATOR(mod, MOD)

/* The powers that NumPy computes by simpler operations. */
static PyObject *power(PyObject *x, PyObject *y)
{
    double exponent;
    if (is_array(x) && quick_number(y, &exponent)) {
        if (exponent == 2)
            return array_apply(PYAD_OP_SQUARE, x, NULL);
        if (exponent == 1)
            return array_apply(PYAD_OP_POSITIVE, x, NULL);
        if (exponent == 0.5)
            return array_apply(PYAD_OP_SQRT, x, NULL);
        if (exponent == -1)
            return array_apply(PYAD_OP_RECIPROCAL, x, NULL);
    }
    return array_apply(PYAD_OP_POW, x, y);
}

static PyObject *operator_power(PyObject *x, PyObject *y, PyObject *modulo)
{
    if (modulo != Py_None)
        return raise_error(PYAD_ERROR_POW_MODULO);
    return power(x, y);
}

static PyObject *inplace_power(PyObject *x, PyObject *y, PyObject *modulo)
{
    (void)modulo;
    return store_in_place(x, power(x, y));
}

static PyObject *inplace_matmul(PyObject *x, PyObject *y)
{
    return store_in_place(x, array_matmul(x, y));
}

static PyObject *operator_divmod(PyObject *x, PyObject *y)
{
    PyObject *quotient = array_apply(PYAD_OP_FLOORDIV, x, y);
    if (!quotient || quotient == Py_NotImplemented)
        return quotient;
    PyObject *rest = array_apply(PYAD_OP_MOD, x, y);
    PyObject *both = rest ? PyTuple_Pack(2, quotient, rest) : NULL;
    Py_DECREF(quotient);
    Py_XDECREF(rest);
    return both;
}

static PyObject *operator_neg(PyObject *x) { return array_apply(PYAD_OP_NEG, x, NULL); }
static PyObject *operator_pos(PyObject *x)
{
    return array_apply(PYAD_OP_POSITIVE, x, NULL);
}
static PyObject *operator_abs(PyObject *x) { return array_apply(PYAD_OP_ABS, x, NULL); }

static int array_bool(PyObject *x)
{
    ArrayObject *a = (ArrayObject *)x;
    if (a->size == 1 && guarding_tapes) {
        PyObject *element = array_element(a, a->offset);
        int truth = element ? handle_bool(element) : -1;
        Py_XDECREF(element);
        return truth;
    }
    if (a->size == 1)
        return storage_values(a->storage)[a->offset] != 0;
    raise_error(PYAD_ERROR_AMBIGUOUS, a->size);
    return -1;
}

static PyObject *array_as_scalar(PyObject *x)
{
    ArrayObject *a = (ArrayObject *)x;
    if (a->size == 1)
        return array_element(a, a->offset);
    return raise_error(
        PYAD_ERROR_ARGUMENTS,
        "only an array of one element can become a number: take an element, "
        "a[i], or x.value");
}

static PyObject *array_float(PyObject *x)
{
    PyObject *element = array_as_scalar(x);
    PyObject *result = element ? PyNumber_Float(element) : NULL;
    Py_XDECREF(element);
    return result;
}

static PyObject *array_int(PyObject *x)
{
    PyObject *element = array_as_scalar(x);
    PyObject *result = element ? PyNumber_Long(element) : NULL;
    Py_XDECREF(element);
    return result;
}

PyNumberMethods array_as_number = {
    .nb_add = operator_add,
    .nb_subtract = operator_sub,
    .nb_multiply = operator_mul,
    .nb_true_divide = operator_div,
    .nb_floor_divide = operator_floordiv,
    .nb_remainder = operator_mod,
    .nb_divmod = operator_divmod,
    .nb_power = operator_power,
    .nb_matrix_multiply = array_matmul,
    .nb_negative = operator_neg,
    .nb_positive = operator_pos,
    .nb_absolute = operator_abs,
    .nb_bool = array_bool,
    .nb_float = array_float,
    .nb_int = array_int,
    .nb_inplace_add = inplace_add,
    .nb_inplace_subtract = inplace_sub,
    .nb_inplace_multiply = inplace_mul,
    .nb_inplace_true_divide = inplace_div,
    .nb_inplace_floor_divide = inplace_floordiv,
    .nb_inplace_remainder = inplace_mod,
    .nb_inplace_power = inplace_power,
    .nb_inplace_matrix_multiply = inplace_matmul,
};
