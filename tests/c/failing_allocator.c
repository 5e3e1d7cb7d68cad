/* A Python module whose attempt(n, function, all) calls a function while Python's
 * allocation number n, and with `all` every later one, fails. Uses the allocator hooks
 * that CPython documents. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyMemAllocatorEx real[3]; /* raw, mem, obj */
static long countdown = -1;      /* allocations until one fails; -1: none does */
static int sustained;
static long failures;

static int fails(void)
{
    if (countdown < 0)
        return 0;
    if (countdown > 0) {
        countdown--;
        return 0;
    }
    if (!sustained)
        countdown = -1;
    failures++;
    return 1;
}

static void *hook_malloc(void *context, size_t size)
{
    PyMemAllocatorEx *own = context;
    return fails() ? NULL : own->malloc(own->ctx, size);
}

static void *hook_calloc(void *context, size_t count, size_t size)
{
    PyMemAllocatorEx *own = context;
    return fails() ? NULL : own->calloc(own->ctx, count, size);
}

static void *hook_realloc(void *context, void *old, size_t size)
{
    PyMemAllocatorEx *own = context;
    return fails() ? NULL : own->realloc(own->ctx, old, size);
}

static void hook_free(void *context, void *old)
{
    PyMemAllocatorEx *own = context;
    own->free(own->ctx, old);
}

static const PyMemAllocatorDomain domains[3] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM,
                                                PYMEM_DOMAIN_OBJ};

static void install(void)
{
    for (int i = 0; i < 3; i++) {
        PyMem_GetAllocator(domains[i], &real[i]);
        PyMemAllocatorEx hook = {&real[i], hook_malloc, hook_calloc, hook_realloc,
                                 hook_free};
        PyMem_SetAllocator(domains[i], &hook);
    }
}

static void uninstall(void)
{
    for (int i = 0; i < 3; i++)
        PyMem_SetAllocator(domains[i], &real[i]);
}

/* True for MemoryError, and for what CPython's own loop makes of one that meets it while
 * it puts a frame into a traceback. */
static int is_memory_error(void)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError))
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_SystemError))
        return 0;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *text = PyObject_Str(value);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    int loop = utf8 && strcmp(utf8, "error return without exception set") == 0;
    Py_XDECREF(text);
    PyErr_Restore(type, value, trace);
    return loop;
}

/* (failures, result): result is None after a MemoryError; another exception goes on. */
static PyObject *attempt(PyObject *module, PyObject *args)
{
    long n;
    PyObject *function;
    int all;
    (void)module;
    if (!PyArg_ParseTuple(args, "lOp", &n, &function, &all))
        return NULL;
    install();
    failures = 0;
    sustained = all;
    countdown = n;
    PyObject *result = PyObject_CallNoArgs(function);
    countdown = -1;
    uninstall();
    if (!result && failures && is_memory_error()) {
        PyErr_Clear();
        result = Py_NewRef(Py_None);
    }
    return result ? Py_BuildValue("(lN)", failures, result) : NULL;
}

static PyMethodDef methods[] = {{"attempt", attempt, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                        "failing_allocator",
                                        NULL,
                                        -1,
                                        methods,
                                        NULL,
                                        NULL,
                                        NULL,
                                        NULL};

PyMODINIT_FUNC PyInit_failing_allocator(void);
PyMODINIT_FUNC PyInit_failing_allocator(void) { return PyModule_Create(&definition); }
