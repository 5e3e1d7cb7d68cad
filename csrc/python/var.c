/* Var, the type: making, reading, copying. Its arithmetic is in operators.c.
 */
#include "array.h"

static const size_t FREE_VARS_KEPT = 8192;
VarObject *free_vars;
size_t free_var_count;

/* ---- making and freeing ----------------------------------------------------------- */

VarObject *var_allocate(void)
{
    VarObject *x = var_reuse();
    if (x)
        return x;
    x = PyObject_Malloc(sizeof *x);
    return x ? (VarObject *)PyObject_Init((PyObject *)x, &Var_Type) : NULL;
}

PyObject *var_new(double value, uint64_t generation)
{
    VarObject *x = var_allocate();
    if (!x)
        return PyErr_NoMemory();
    x->value = value;
    x->generation = generation;
    x->tape = &no_tape;
    x->node = PYAD_CONSTANT;
    x->registrations = 0;
    x->has_gradient = 0;
    x->gradient_is_variable = 0;
    x->name = NULL;
    return (PyObject *)x;
}

double var_gradient(const VarObject *leaf)
{
    if (leaf->gradient_is_variable)
        return ((VarObject *)leaf->gradient.variable)->value;
    return leaf->has_gradient ? leaf->gradient.number : 0;
}

static void drop_gradient(VarObject *leaf)
{
    PyObject *variable = leaf->gradient_is_variable ? leaf->gradient.variable : NULL;
    leaf->has_gradient = 0;
    leaf->gradient_is_variable = 0;
    Py_XDECREF(variable);
}

void var_set_gradient(VarObject *leaf, double gradient)
{
    drop_gradient(leaf);
    leaf->gradient.number = gradient;
    leaf->has_gradient = 1;
}

static void var_clear(VarObject *leaf)
{
    drop_gradient(leaf);
    Py_CLEAR(leaf->name);
}

static void var_dealloc(VarObject *x)
{
    if (is_intermediate(x))
        Py_DECREF(x->tape);
    else if (x->name || x->gradient_is_variable)
        var_clear(x);
    if (free_var_count < FREE_VARS_KEPT) {
        x->tape = (TapeObject *)free_vars;
        free_vars = x;
        free_var_count++;
    } else {
        PyObject_Free(x);
    }
}

static PyObject *var_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"value", "requires_grad", "name", NULL};
    PyObject *number, *name = Py_None;
    int requires_grad = 1;
    double value;
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|pO:var", names, &number,
                                     &requires_grad, &name))
        return NULL;
    if (name != Py_None && !PyUnicode_Check(name))
        return raise_error(PYAD_ERROR_ARGUMENTS, "the name of a variable is a string");
    if (need_number(number, "pyad.var", &value) < 0)
        return NULL;
    VarObject *x = (VarObject *)var_new(value, requires_grad ? LEAF_GENERATION
                                                             : CONSTANT_GENERATION);
    if (x && name != Py_None)
        x->name = Py_NewRef(name);
    return (PyObject *)x;
}

/* ---- what it is ------------------------------------------------------------------- */

static int belongs_to_ended(const VarObject *x)
{
    return is_intermediate(x) && !tape_knows(x->tape, x->generation);
}

PyObject *operation_of(const pyad_tape *core, uint32_t node)
{
    pyad_block_info info;
    uint32_t block = pyad_tape_block_of(core, node);
    if (block == PYAD_NO_BLOCK)
        return PyUnicode_FromString(pyad_op_describe(core->ops[node])->name);
    pyad_tape_block(core, block, &info);
    return info.is_partial ? PyUnicode_FromFormat("partial of %s", info.name)
                           : PyUnicode_FromString(info.name);
}

PyObject *var_operation(VarObject *x)
{
    if (!is_intermediate(x))
        return PyUnicode_FromString(x->generation == LEAF_GENERATION ? "leaf"
                                                                     : "constant");
    if (belongs_to_ended(x) || x->tape->busy)
        return PyUnicode_FromString("an ended recording");
    return operation_of(x->tape->core, x->node);
}

static PyObject *var_repr(PyObject *self)
{
    VarObject *x = (VarObject *)self;
    if (guarding_tapes && guard_read(self) < 0)
        return NULL;
    PyObject *value = PyFloat_FromDouble(x->value);
    PyObject *operation = var_operation(x);
    PyObject *text = NULL;
    const char *constant =
        x->generation == CONSTANT_GENERATION ? ", requires_grad=False" : "";
    if (value && operation && is_intermediate(x))
        text = PyUnicode_FromFormat("Var(%R, of=%R)", value, operation);
    else if (value && operation && x->name)
        text = PyUnicode_FromFormat("Var(%R, name=%R%s)", value, x->name, constant);
    else if (value && operation)
        text = PyUnicode_FromFormat("Var(%R%s)", value, constant);
    Py_XDECREF(value);
    Py_XDECREF(operation);
    return text;
}

/* ---- attributes ------------------------------------------------------------------- */

static int refuse_on_result(VarObject *x, const char *what)
{
    PyObject *operation = var_operation(x);
    if (operation)
        raise_error(PYAD_ERROR_NOT_ASSIGNABLE, what, message_text(operation));
    Py_XDECREF(operation);
    return -1;
}

static int refuse_delete(const char *what)
{
    raise_error(PYAD_ERROR_ARGUMENTS, what);
    return -1;
}

/* The leaf leaves the recording that saw its old value: its next use registers the new
 * one. */
static int set_value(VarObject *x, PyObject *number, void *closure)
{
    double value;
    (void)closure;
    if (!number)
        return refuse_delete("the value of a variable cannot be deleted");
    if (is_intermediate(x))
        return refuse_on_result(x, "value");
    if (need_number(number, "Var.value", &value) < 0 ||
        (guarding_tapes && guard_read((PyObject *)x) < 0))
        return -1; /* a replay assigns nothing */
    x->value = value;
    x->tape = &no_tape;
    return 0;
}

/* A result knows its adjoint from the last sweep over its recording until the next sweep
 * of that tape. */
static PyObject *get_grad(VarObject *x, void *closure)
{
    (void)closure;
    if (guarding_tapes && guard_read((PyObject *)x) < 0)
        return NULL;
    if (!is_intermediate(x))
        return x->gradient_is_variable ? Py_NewRef(x->gradient.variable)
               : x->has_gradient       ? PyFloat_FromDouble(x->gradient.number)
                                       : Py_NewRef(Py_None);
    if (x->tape->busy)
        return raise_error(PYAD_ERROR_TAPE_BUSY);
    if (x->tape->adjoint_generation != x->generation ||
        x->node >= x->tape->core->adjoint_count)
        Py_RETURN_NONE;
    return PyFloat_FromDouble(pyad_tape_adjoint(x->tape->core, x->node));
}

static int set_grad(VarObject *x, PyObject *number, void *closure)
{
    double value = 0;
    (void)closure;
    if (!number)
        return refuse_delete("the gradient of a variable cannot be deleted: assign None");
    if (is_intermediate(x))
        return refuse_on_result(x, "grad");
    int variable = is_var(number) && is_intermediate((VarObject *)number);
    if (!variable && number != Py_None && need_number(number, "Var.grad", &value) < 0)
        return -1;
    if (guarding_tapes && guard_read((PyObject *)x) < 0)
        return -1;
    Py_INCREF(number);
    drop_gradient(x);
    if (variable) {
        x->gradient.variable = number;
        x->gradient_is_variable = 1;
        return 0;
    }
    if (number != Py_None)
        var_set_gradient(x, value);
    Py_DECREF(number);
    return 0;
}

static PyObject *get_requires_grad(VarObject *x, void *closure)
{
    (void)closure;
    return PyBool_FromLong(x->generation != CONSTANT_GENERATION);
}

static int set_requires_grad(VarObject *x, PyObject *flag, void *closure)
{
    (void)closure;
    int truth =
        flag ? PyObject_IsTrue(flag) : refuse_delete("requires_grad cannot be deleted");
    if (truth < 0)
        return -1;
    if (is_intermediate(x))
        return truth ? 0 : refuse_on_result(x, "requires_grad=False");
    x->generation = truth ? LEAF_GENERATION : CONSTANT_GENERATION;
    x->tape = &no_tape;
    return 0;
}

static PyObject *get_name(VarObject *x, void *closure)
{
    (void)closure;
    return Py_NewRef(!is_intermediate(x) && x->name ? x->name : Py_None);
}

static int set_name(VarObject *x, PyObject *name, void *closure)
{
    (void)closure;
    if (is_intermediate(x))
        return refuse_on_result(x, "name");
    if (!name || (name != Py_None && !PyUnicode_Check(name)))
        return refuse_delete("the name of a variable is a string or None");
    Py_XSETREF(x->name, name == Py_None ? NULL : Py_NewRef(name));
    return 0;
}

/* A leaf that no tape knows has no node, nor has a result whose recording has ended. */
static PyObject *get_node(VarObject *x, void *closure)
{
    (void)closure;
    if (x->tape == &no_tape || belongs_to_ended(x))
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(x->node);
}

static PyObject *get_tape(VarObject *x, void *closure)
{
    (void)closure;
    return Py_NewRef(x->tape == &no_tape ? Py_None : (PyObject *)x->tape);
}

static PyObject *get_is_leaf(VarObject *x, void *closure)
{
    (void)closure;
    return PyBool_FromLong(!is_intermediate(x));
}

static PyGetSetDef var_getset[] = {
    {"value", handle_get_value, (setter)set_value,
     "The value, a float. On a leaf it may be assigned.", NULL},
    {"grad", (getter)get_grad, (setter)set_grad,
     "The derivative of what was swept: on a leaf the sum over all backward() so far, "
     "None before\n"
     "the first; on a result that of the last sweep. On a leaf it may be assigned.",
     NULL},
    {"requires_grad", (getter)get_requires_grad, (setter)set_requires_grad,
     "False for a constant. On a leaf it may be assigned.", NULL},
    {"name", (getter)get_name, (setter)set_name, "The name given to a leaf, or None.",
     NULL},
    {"node", (getter)get_node, NULL,
     "The number of its node on its tape; None if it has none (any more).", NULL},
    {"tape", (getter)get_tape, NULL, "The tape it is recorded on, or None.", NULL},
    {"is_leaf", (getter)get_is_leaf, NULL, "True if it was not computed from variables.",
     NULL},
    HANDLE_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- methods ---------------------------------------------------------------------- */

static PyObject *var_zero_grad(PyObject *self, PyObject *unused)
{
    VarObject *x = (VarObject *)self;
    (void)unused;
    if (is_intermediate(x)) {
        refuse_on_result(x, "grad");
        return NULL;
    }
    var_set_gradient(x, 0);
    Py_RETURN_NONE;
}

/* A copy of a leaf is a node, so that a function that copies its argument keeps the
 * derivative. */
static PyObject *var_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    VarObject *x = (VarObject *)self;
    if (x->generation == CONSTANT_GENERATION)
        return var_new(x->value, CONSTANT_GENERATION);
    return var_as_number.nb_positive(self);
}

static PyObject *var_reduce(PyObject *self, PyObject *unused)
{
    static PyObject *restore;
    VarObject *x = (VarObject *)self;
    (void)unused;
    if (is_intermediate(x)) {
        PyObject *operation = var_operation(x);
        if (operation)
            raise_error(PYAD_ERROR_NO_PICKLE, message_text(operation));
        Py_XDECREF(operation);
        return NULL;
    }
    if (!python_function(&restore, "pyad._handle", "_restore"))
        return NULL;
    PyObject *grad = get_grad(x, NULL); /* which notes that it is read */
    return !grad ? NULL
                 : Py_BuildValue("O(dNON)", restore, x->value, get_requires_grad(x, NULL),
                                 x->name ? x->name : Py_None, grad);
}

static PyObject *var_repr_svg(PyObject *self, PyObject *unused)
{
    static PyObject *draw;
    (void)unused;
    if (!python_function(&draw, "pyad.drawing", "svg_of"))
        return NULL;
    return PyObject_CallOneArg(draw, self);
}

static PyMethodDef own_methods[] = {
    {"backward", (PyCFunction)(void (*)(void))var_backward, METH_VARARGS | METH_KEYWORDS,
     "backward(seed=1.0, retain_graph=False, create_graph=False)\n--\n\n"
     "Reverse sweep from this result: adds its derivatives into the .grad of the leaves, "
     "then frees\n"
     "the recording unless retained.\n\n"
     "Raises RuntimeError on a constant, on a result whose recording has ended, and if a "
     "leaf was\n"
     "assigned since it was recorded."},
    {"zero_grad", var_zero_grad, METH_NOARGS,
     "zero_grad()\n--\n\nSet .grad of a leaf to 0.0."},
    {"_repr_svg_", var_repr_svg, METH_NOARGS, NULL},
    {"__copy__", var_copy, METH_NOARGS, NULL},
    {"__deepcopy__", var_copy, METH_O, NULL},
    {"__reduce__", var_reduce, METH_NOARGS, NULL},
    {"__array_function__", (PyCFunction)(void (*)(void))handle_array_function,
     METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
PyMethodDef *var_methods(void)
{
    static PyMethodDef all[HANDLE_METHODS_MAX];
    return functions_as_methods(own_methods, all);
}

PyTypeObject Var_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad.Var",
    .tp_doc = "A differentiable float. Make one with pyad.var(value, requires_grad=True, "
              "name=None).",
    .tp_basicsize = sizeof(VarObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = var_type_new,
    .tp_dealloc = (destructor)var_dealloc,
    .tp_repr = var_repr,
    .tp_hash = handle_hash,
    .tp_richcompare = handle_compare,
    .tp_as_number = &var_as_number,
    .tp_getset = var_getset,
};
