/* Trees of arguments: what grad(f) differentiates in is a number, an array, or lists,
 * tuples, named tuples and dicts of trees. Reading one makes a variable for every leaf
 * and the same structure around them, which f gets and may change; what the structure was
 * is kept in a list of parts, each before its children, and the gradient is built from
 * it. pyad/transforms/_trees.py says the same for the transforms written in Python. */
#include <string.h>

#include "dual.h"
#include "frame.h"

/* ---- parts ------------------------------------------------------------------------- */

void frame_tree_init(frame_tree *t)
{
    t->parts = t->few_parts;
    t->sides = t->few_sides;
    t->count = t->side_count = t->numbers = 0;
    t->capacity = FEW_PARTS;
    t->side_capacity = FEW_SIDES;
}

void frame_tree_free(frame_tree *t)
{
    for (size_t i = 0; i < t->count; i++)
        Py_XDECREF(t->parts[i].held);
    if (t->parts != t->few_parts)
        PyMem_Free(t->parts);
    if (t->sides != t->few_sides)
        PyMem_Free(t->sides);
}

/* Room for `more` items after the `used` ones of an array that may be a part of the tree
 * itself (`few`): the array, or NULL with an exception. */
static void *with_room(void *items, const void *few, size_t used, size_t more,
                       size_t *capacity, size_t size)
{
    if (used + more <= *capacity)
        return items;
    size_t wanted = 2 * *capacity + more;
    void *grown =
        items == few ? PyMem_Malloc(wanted * size) : PyMem_Realloc(items, wanted * size);
    if (!grown)
        return raise_error(PYAD_ERROR_NO_MEMORY);
    if (items == few)
        memcpy(grown, few, used * size);
    *capacity = wanted;
    return grown;
}

/* Its place, valid until the next part is added; NULL with an exception. */
static tree_part *add_part(frame_tree *t, enum tree_kind kind, Py_ssize_t count)
{
    tree_part *parts =
        with_room(t->parts, t->few_parts, t->count, 1, &t->capacity, sizeof *t->parts);
    if (!parts)
        return NULL;
    t->parts = parts;
    parts += t->count++;
    *parts = (tree_part){.kind = kind, .count = count};
    return parts;
}

/* ---- leaves ------------------------------------------------------------------------ */

static PyObject *read_number(frame_tree *t, TapeObject *tape, PyObject *x)
{
    tree_part *part = add_part(t, TREE_NUMBER, 1);
    PyObject *alias = part ? frame_alias(tape, x) : NULL;
    if (alias) {
        part->node = ((VarObject *)alias)->node;
        t->numbers++;
    }
    return alias;
}

static PyObject *read_array(frame_tree *t, TapeObject *tape, PyObject *x)
{
    uint32_t node;
    PyObject *alias = frame_array_alias(tape, x, &node);
    if (!alias)
        return NULL;
    ArrayObject *a = (ArrayObject *)alias;
    Py_ssize_t *sides = with_room(t->sides, t->few_sides, t->side_count, (size_t)a->ndim,
                                  &t->side_capacity, sizeof *t->sides);
    tree_part *part = sides ? add_part(t, TREE_ARRAY, a->size) : NULL;
    if (sides)
        t->sides = sides;
    if (!part) {
        Py_DECREF(alias);
        return NULL;
    }
    part->node = node;
    part->ndim = a->ndim;
    part->shape = t->side_count;
    memcpy(sides + t->side_count, array_shape(a), (size_t)a->ndim * sizeof *sides);
    t->side_count += (size_t)a->ndim;
    t->numbers += (size_t)a->size;
    return alias;
}

/* ---- branches ---------------------------------------------------------------------- */

/* A new list of what the items become: a tuple, or a list that nobody else knows, since
 * Python code may run meanwhile. */
static PyObject *read_items(frame_tree *t, TapeObject *tape, PyObject *items)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *alias = frame_tree_read(t, tape, PySequence_Fast_GET_ITEM(items, i));
        if (alias)
            PyList_SET_ITEM(list, i, alias);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* Items in a dict, given its keys; takes over neither. */
static PyObject *dict_of(PyObject *keys, PyObject *items)
{
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && i < PyList_GET_SIZE(keys); i++)
        if (PyDict_SetItem(dict, PyList_GET_ITEM(keys, i), PyList_GET_ITEM(items, i)) < 0)
            Py_CLEAR(dict);
    return dict;
}

/* A list of items as the branch that the part describes; takes over the list. */
static PyObject *branch_of(const tree_part *part, PyObject *items)
{
    if (!items || part->kind == TREE_LIST)
        return items;
    PyObject *branch = part->kind == TREE_TUPLE ? PyList_AsTuple(items)
                       : part->kind == TREE_DICT
                           ? dict_of(part->held, items)
                           : PyObject_CallMethod(part->held, "_make", "O", items);
    Py_DECREF(items);
    return branch;
}

/* Takes over `items` and `held`, which may be NULL with an exception. */
static PyObject *read_branch(frame_tree *t, TapeObject *tape, enum tree_kind kind,
                             PyObject *items, PyObject *held)
{
    tree_part *part = items && (held || kind < TREE_NAMED)
                          ? add_part(t, kind, PySequence_Fast_GET_SIZE(items))
                          : NULL;
    PyObject *aliases = NULL;
    if (part) {
        const size_t place = t->count - 1;
        part->held = Py_XNewRef(held);
        aliases = branch_of(&t->parts[place], read_items(t, tape, items));
    }
    Py_XDECREF(items);
    Py_XDECREF(held);
    return aliases;
}

static PyObject *read_sequence(frame_tree *t, TapeObject *tape, PyObject *x)
{
    const int exact = PyList_CheckExact(x) || PyTuple_CheckExact(x);
    PyObject *type = (PyObject *)Py_TYPE(x), *items = PySequence_Tuple(x);
    if (!exact && PyObject_HasAttrString(type, "_make"))
        return read_branch(t, tape, TREE_NAMED, items, Py_NewRef(type));
    return read_branch(t, tape, PyList_Check(x) ? TREE_LIST : TREE_TUPLE, items, NULL);
}

/* Numbers and mappings of other types: the Python layer knows them. */
static PyObject *read_other(frame_tree *t, TapeObject *tape, PyObject *x)
{
    static PyObject *classify;
    if (!python_function(&classify, "pyad.transforms._trees", "number_or_dict"))
        return NULL;
    PyObject *known =
        PyObject_CallFunction(classify, "Os", x, "a differentiated argument");
    PyObject *alias = !known                     ? NULL
                      : PyDict_CheckExact(known) ? frame_tree_read(t, tape, known)
                                                 : read_number(t, tape, known);
    Py_XDECREF(known);
    return alias;
}

PyObject *frame_tree_read(frame_tree *t, TapeObject *tape, PyObject *x)
{
    if (is_handle(x) || PyFloat_Check(x) || PyLong_Check(x))
        return read_number(t, tape, x);
    if (is_array_like(x))
        return read_array(t, tape, x);
    if (Py_EnterRecursiveCall(" in a differentiated argument"))
        return NULL;
    PyObject *alias;
    if (PyList_Check(x) || PyTuple_Check(x))
        alias = read_sequence(t, tape, x);
    else if (PyDict_CheckExact(x))
        alias = read_branch(t, tape, TREE_DICT, PyDict_Values(x), PyDict_Keys(x));
    else
        alias = read_other(t, tape, x);
    Py_LeaveRecursiveCall();
    return alias;
}

int frame_tree_open(frame_tree *t, Py_ssize_t count)
{
    return add_part(t, TREE_TUPLE, count) ? 0 : -1;
}

/* ---- the gradient ------------------------------------------------------------------ */

void frame_tree_nodes(const frame_tree *t, uint32_t *nodes)
{
    for (const tree_part *p = t->parts; p < t->parts + t->count; p++)
        for (Py_ssize_t i = 0; p->kind <= TREE_ARRAY && i < p->count; i++)
            *nodes++ = p->node + (uint32_t)i;
}

/* The adjoints of a leaf, row by row from `rows` on. */
static PyObject *leaf_of_rows(const frame_tree *t, const tree_part *leaf,
                              const double *rows)
{
    if (leaf->kind == TREE_NUMBER)
        return PyFloat_FromDouble(*rows);
    PyObject *array =
        PyArray_SimpleNew(leaf->ndim, (npy_intp *)t->sides + leaf->shape, NPY_DOUBLE);
    if (array && leaf->count)
        memcpy(PyArray_DATA((PyArrayObject *)array), rows,
               (size_t)leaf->count * sizeof *rows);
    return array;
}

int frame_tree_set_rows(frame_tree *t, const double *rows, size_t from)
{
    for (tree_part *p = t->parts; p < t->parts + t->count; p++)
        if (p->kind <= TREE_ARRAY &&
            !(p->held = leaf_of_rows(t, p, p->count ? rows + (p->node - from) : rows)))
            return -1;
    return 0;
}

int frame_tree_set_operands(frame_tree *t, TapeObject *tape, const pyad_operand *x)
{
    for (tree_part *p = t->parts; p < t->parts + t->count; p++) {
        if (p->kind > TREE_ARRAY)
            continue;
        p->held = p->kind == TREE_NUMBER
                      ? frame_handle_of(tape, *x)
                      : array_of_operands(tape, p->ndim, t->sides + p->shape, x);
        if (!p->held)
            return -1;
        x += p->count;
    }
    return 0;
}

/* The part at *next and all below it; *next is moved past them. */
static PyObject *build(frame_tree *t, size_t *next)
{
    tree_part *part = &t->parts[(*next)++];
    if (part->kind <= TREE_ARRAY) {
        PyObject *leaf = part->held;
        part->held = NULL;
        return leaf;
    }
    PyObject *items = PyList_New(part->count);
    for (Py_ssize_t i = 0; items && i < part->count; i++) {
        PyObject *item = build(t, next);
        if (item)
            PyList_SET_ITEM(items, i, item);
        else
            Py_CLEAR(items);
    }
    return branch_of(part, items);
}

PyObject *frame_tree_build(frame_tree *t)
{
    size_t next = 0;
    return build(t, &next);
}
