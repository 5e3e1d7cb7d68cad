/* Mode, the type below pyad.no_grad, enable_grad and detect_anomaly: entering sets what a
 * thread records, leaving sets it back. In C since leaving allocates nothing: a
 * MemoryError inside the block must not leave the thread in its mode. */
#include "handle.h"

/* What leaving sets back, one byte for each time the block was entered. */
enum { NO_GRAD = 1, ANOMALY = 2, SETS_RECORDING = 4, SETS_ANOMALY = 8 };

typedef struct {
    PyObject_HEAD
    unsigned char *before;
    size_t depth, capacity;
} ModeObject;

static void mode_dealloc(PyObject *self)
{
    PyMem_Free(((ModeObject *)self)->before);
    Py_TYPE(self)->tp_free(self);
}

/* The class attribute `name`: 1 True, 0 False, -1 None, -2 with an exception. */
static int setting(PyObject *self, const char *name)
{
    PyObject *value = PyObject_GetAttrString(self, name);
    int truth = !value ? -2 : value == Py_None ? -1 : PyObject_IsTrue(value) == 1;
    Py_XDECREF(value);
    return truth;
}

static PyObject *mode_enter(PyObject *self, PyObject *unused)
{
    ModeObject *mode = (ModeObject *)self;
    (void)unused;
    int recording = setting(self, "_recording");
    int anomaly = recording < -1 ? -2 : setting(self, "_anomaly");
    thread_state *thread = anomaly < -1 ? NULL : thread_here();
    if (!thread)
        return NULL;
    if (mode->depth == mode->capacity) {
        size_t capacity = 2 * mode->capacity + 8;
        unsigned char *grown = PyMem_Realloc(mode->before, capacity);
        if (!grown)
            return raise_error(PYAD_ERROR_NO_MEMORY);
        mode->before = grown;
        mode->capacity = capacity;
    }
    mode->before[mode->depth++] = (unsigned char)((thread->no_grad ? NO_GRAD : 0) |
                                                  (thread->anomaly ? ANOMALY : 0) |
                                                  (recording >= 0 ? SETS_RECORDING : 0) |
                                                  (anomaly >= 0 ? SETS_ANOMALY : 0));
    if (recording >= 0)
        thread->no_grad = !recording;
    if (anomaly >= 0)
        thread->anomaly = anomaly;
    thread_refresh(thread);
    Py_RETURN_NONE;
}

static PyObject *mode_exit(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    ModeObject *mode = (ModeObject *)self;
    (void)args, (void)count;
    thread_state *thread = thread_here();
    if (!thread || mode->depth == 0)
        return thread ? raise_error(PYAD_ERROR_ARGUMENTS,
                                    "this block was left before it was entered")
                      : NULL;
    int before = mode->before[--mode->depth];
    if (before & SETS_RECORDING)
        thread->no_grad = before & NO_GRAD;
    if (before & SETS_ANOMALY)
        thread->anomaly = before & ANOMALY;
    thread_refresh(thread);
    Py_RETURN_NONE;
}

static PyMethodDef mode_methods[] = {
    {"__enter__", mode_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))mode_exit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Mode_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle.Mode",
    .tp_basicsize = sizeof(ModeObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = mode_dealloc,
    .tp_methods = mode_methods,
};
