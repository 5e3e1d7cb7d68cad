/* Calls of compiled functions that a recording answers: the arguments are read, the
 * program runs, and the result is built, all in C. Where anything is unusual (other
 * arguments, a transform around the call, a guard that answers otherwise, an error) the
 * call goes to the method `_slowly` of the Python layer, which knows all cases.
 *
 *   Replay   what is called: p, p.grad or p.value_and_grad; has a Calls
 *   Calls    the plans of one function, the one used last first, and its Watch
 *   Plan     a program with the forms of its arguments and results
 *   Room     the working memory of one run */
#include "form.h"

#include <structmember.h>

#include "numpy_api.h"

/* ---- Room ------------------------------------------------------------------------- */

/* Memory that belongs to the Python subclass. */
typedef struct {
    PyObject_HEAD
    double *numbers, *results, *seeds;
    Py_ssize_t runs; /* that came to their end */
} RoomObject;

/* _Room(numbers, results, seeds): addresses. */
static PyObject *room_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    return type->tp_alloc(type, 0);
}

static int room_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    RoomObject *room = (RoomObject *)self;
    Py_ssize_t at[3];
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "nnn", &at[0], &at[1], &at[2]))
        return -1;
    room->numbers = (double *)at[0];
    room->results = (double *)at[1];
    room->seeds = (double *)at[2];
    return 0;
}

static PyMemberDef room_members[] = {
    {"runs", T_PYSSIZET, offsetof(RoomObject, runs), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject Room_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Room",
    .tp_basicsize = sizeof(RoomObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = room_new,
    .tp_init = room_init,
    .tp_members = room_members,
};

/* ---- Plan ------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    const pyad_program *core;
    PyObject *program; /* which owns `core` */
    PyObject *rooms;   /* the list of its rooms that nobody uses */
    PyObject *forms;   /* of the positional arguments, then of those by name */
    PyObject *names;   /* of the latter */
    PyObject *outputs; /* the form of the result */
    PyObject *chosen;  /* forms of what is differentiated, None: nothing can be */
    Py_ssize_t *at;    /* where the numbers of each of them begin */
    size_t size;       /* numbers of all arguments */
    int is_tuple;      /* the gradient is a tuple, else that of the only one */
    int is_large;      /* runs without the interpreter lock */
} PlanObject;

static int plan_clear(PyObject *self)
{
    PlanObject *plan = (PlanObject *)self;
    Py_CLEAR(plan->program);
    Py_CLEAR(plan->rooms);
    Py_CLEAR(plan->forms);
    Py_CLEAR(plan->names);
    Py_CLEAR(plan->outputs);
    Py_CLEAR(plan->chosen);
    return 0;
}

static int plan_traverse(PyObject *self, visitproc visit, void *arg)
{
    PlanObject *plan = (PlanObject *)self;
    Py_VISIT(plan->program);
    Py_VISIT(plan->rooms);
    Py_VISIT(plan->forms);
    Py_VISIT(plan->names);
    Py_VISIT(plan->outputs);
    Py_VISIT(plan->chosen);
    return 0;
}

static void plan_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    plan_clear(self);
    PyMem_Free(((PlanObject *)self)->at);
    Py_TYPE(self)->tp_free(self);
}

static int all_are(PyObject *tuple, PyTypeObject *type)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
        if (!PyObject_TypeCheck(PyTuple_GET_ITEM(tuple, i), type))
            return 0;
    return 1;
}

static const FormObject *form_at(PyObject *forms, Py_ssize_t i)
{
    return (const FormObject *)PyTuple_GET_ITEM(forms, i);
}

/* _Plan(program, address of its core, rooms, forms, names, form of the result, forms of
 * what is differentiated or None, where these begin, whether that is a tuple, whether it
 * is large) */
static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *program, *rooms, *forms, *names, *outputs, *chosen, *at;
    Py_ssize_t core;
    int is_tuple, is_large;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OnO!O!O!O!OO!pp", &program, &core, &PyList_Type, &rooms,
                          &PyTuple_Type, &forms, &PyTuple_Type, &names, &Form_Type,
                          &outputs, &chosen, &PyTuple_Type, &at, &is_tuple, &is_large))
        return NULL;
    PlanObject *plan = (PlanObject *)type->tp_alloc(type, 0);
    if (!plan)
        return NULL;
    plan->core = (const pyad_program *)core;
    plan->program = Py_NewRef(program);
    plan->rooms = Py_NewRef(rooms);
    plan->forms = Py_NewRef(forms);
    plan->names = Py_NewRef(names);
    plan->outputs = Py_NewRef(outputs);
    plan->chosen = Py_NewRef(chosen);
    plan->is_tuple = is_tuple;
    plan->is_large = is_large;
    const Py_ssize_t count = PyTuple_GET_SIZE(at);
    plan->at = PyMem_Calloc((size_t)count + 1, sizeof *plan->at);
    if (!plan->at)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; plan->at && i < count; i++)
        plan->at[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(at, i));
    int known = all_are(forms, &Form_Type) && all_are(names, &PyUnicode_Type) &&
                PyTuple_GET_SIZE(names) <= PyTuple_GET_SIZE(forms);
    if (chosen != Py_None)
        known &= PyTuple_Check(chosen) && all_are(chosen, &Form_Type) &&
                 PyTuple_GET_SIZE(chosen) == count && (is_tuple || count == 1) &&
                 form_size((FormObject *)outputs) == 1;
    for (Py_ssize_t i = 0; known && i < PyTuple_GET_SIZE(forms); i++)
        plan->size += form_size(form_at(forms, i));
    for (Py_ssize_t i = 0; known && plan->at && i < count; i++)
        known = plan->at[i] >= 0 &&
                (size_t)plan->at[i] + form_size(form_at(chosen, i)) <= plan->size;
    if (!known && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "these parts make no plan");
    if (PyErr_Occurred())
        Py_CLEAR(plan);
    return (PyObject *)plan;
}

static PyMemberDef plan_members[] = {
    {"program", T_OBJECT, offsetof(PlanObject, program), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject Plan_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Plan",
    .tp_basicsize = sizeof(PlanObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = plan_new,
    .tp_dealloc = plan_dealloc,
    .tp_traverse = plan_traverse,
    .tp_clear = plan_clear,
    .tp_members = plan_members,
};

/* What a call gives. */
enum wanted { VALUE, GRADIENT, BOTH };

/* ---- a run ------------------------------------------------------------------------ */

/* A room that nobody uses, owned; NULL with an exception. */
static RoomObject *take_room(const PlanObject *plan)
{
    const Py_ssize_t count = PyList_GET_SIZE(plan->rooms);
    PyObject *room = NULL;
    if (count) {
        room = Py_NewRef(PyList_GET_ITEM(plan->rooms, count - 1));
        if (PyList_SetSlice(plan->rooms, count - 1, count, NULL) < 0)
            Py_CLEAR(room);
    } else {
        room = PyObject_CallMethod(plan->program, "take", NULL);
    }
    if (room && !PyObject_TypeCheck(room, &Room_Type)) {
        PyErr_SetString(PyExc_TypeError, "take() gives a room");
        Py_CLEAR(room);
    }
    return (RoomObject *)room;
}

static int is_name(PyObject *x, PyObject *known)
{
    return x == known || (PyUnicode_CheckExact(x) && PyUnicode_Compare(x, known) == 0);
}

/* The numbers of the arguments: 1, with *given where they stand; 0 if they do not fit; -1
 * with an exception. */
static int read_arguments(const PlanObject *plan, PyObject *args, PyObject *kwargs,
                          double *room, const double **given)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(args),
                     names = PyTuple_GET_SIZE(plan->names);
    double *into = pyad_program_given(plan->core, room);
    size_t at = 0;
    Py_ssize_t place = 0;
    *given = into;
    for (Py_ssize_t i = 0; i < count + names; i++) {
        const FormObject *form = form_at(plan->forms, i);
        const size_t size = form_size(form);
        PyObject *x = i < count ? PyTuple_GET_ITEM(args, i) : NULL, *name;
        if (!x && (!PyDict_Next(kwargs, &place, &name, &x) ||
                   !is_name(name, PyTuple_GET_ITEM(plan->names, i - count))))
            return 0;
        const double *data = form_data(form, x);
        if (data && size == plan->size) {
            *given = data;
        } else if (!data || !pyad_program_lend(plan->core, room, at, size, data, NULL)) {
            const int status = form_read(form, x, into + at);
            if (status <= 0)
                return status;
        }
        at += size;
    }
    return 1;
}

/* 1; 0 if a guard answers otherwise or the run failed, which the slow way explains; -1 if
 * it was interrupted. */
static int run(const PlanObject *plan, RoomObject *room, const double *given,
               double *slopes)
{
    int holds = 0, status;
    PyThreadState *thread = plan->is_large ? PyEval_SaveThread() : NULL;
    if (slopes)
        status = pyad_program_value_gradient(plan->core, room->numbers, given,
                                             room->seeds, room->results, slopes, &holds);
    else
        status =
            pyad_program_value(plan->core, room->numbers, given, room->results, &holds);
    if (thread)
        PyEval_RestoreThread(thread);
    if (status) {
        raise_error(status);
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        PyErr_Clear();
    }
    if (status || !holds)
        return 0;
    room->runs++;
    return 1;
}

/* A new array if the program puts derivative number i of the gradient there by itself,
 * *slopes then being its numbers if there are no others; else NULL without an exception.
 */
static PyObject *array_for(const PlanObject *plan, double *room, Py_ssize_t i,
                           double **slopes)
{
    const FormObject *form = form_at(plan->chosen, i);
    const size_t at = (size_t)plan->at[i], size = form_size(form);
    const int is_only = !plan->is_tuple || PyTuple_GET_SIZE(plan->chosen) == 1;
    const int is_all = size == plan->size && is_only;
    double *data;
    if (!is_all && !pyad_program_lend(plan->core, room, at, size, NULL, NULL))
        return NULL;
    PyObject *array = form_empty(form, &data);
    if (array && is_all)
        *slopes = data;
    else if (array)
        pyad_program_lend(plan->core, room, at, size, NULL, data);
    return array;
}

/* Makes room for the gradient: 0 with *gradient as far as it is there already, or -1 with
 * an exception. */
static int begin_gradient(const PlanObject *plan, double *room, double **slopes,
                          PyObject **gradient)
{
    *slopes = pyad_program_slopes(plan->core, room);
    if (!plan->is_tuple) {
        *gradient = array_for(plan, room, 0, slopes);
    } else {
        const Py_ssize_t count = PyTuple_GET_SIZE(plan->chosen);
        *gradient = PyTuple_New(count);
        for (Py_ssize_t i = 0; *gradient && i < count; i++)
            PyTuple_SET_ITEM(*gradient, i, array_for(plan, room, i, slopes));
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* The gradient after the run, as an object of its own; NULL with an exception. */
static PyObject *end_gradient(const PlanObject *plan, const double *slopes,
                              PyObject *gradient)
{
    if (!plan->is_tuple)
        return gradient ? Py_NewRef(gradient)
                        : form_build(form_at(plan->chosen, 0), slopes + plan->at[0]);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(gradient); i++) {
        if (PyTuple_GET_ITEM(gradient, i))
            continue;
        PyObject *item = form_build(form_at(plan->chosen, i), slopes + plan->at[i]);
        if (!item)
            return NULL;
        PyTuple_SET_ITEM(gradient, i, item);
    }
    return Py_NewRef(gradient);
}

/* After a run what is wanted; NULL with an exception. */
static PyObject *result_of(const PlanObject *plan, const RoomObject *room,
                           const double *slopes, PyObject *gradient, enum wanted wanted)
{
    if (wanted == VALUE)
        return form_build((FormObject *)plan->outputs, room->results);
    PyObject *slope = end_gradient(plan, slopes, gradient);
    if (wanted == GRADIENT)
        return slope;
    PyObject *value = slope ? PyFloat_FromDouble(room->results[0]) : NULL;
    PyObject *both = value ? PyTuple_Pack(2, value, slope) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(slope);
    return both;
}

/* What the plan answers; NULL without an exception if it does not serve: *ran = 1 if its
 * program ran, and does not fit. */
static PyObject *answer(const PlanObject *plan, PyObject *args, PyObject *kwargs,
                        enum wanted wanted, int *ran)
{
    RoomObject *room = take_room(plan);
    if (!room)
        return NULL;
    const double *given;
    double *slopes = NULL;
    PyObject *gradient = NULL, *result = NULL;
    int status = read_arguments(plan, args, kwargs, room->numbers, &given);
    if (status > 0 && wanted != VALUE)
        status = begin_gradient(plan, room->numbers, &slopes, &gradient) < 0 ? -1 : 1;
    *ran |= status > 0;
    if (status > 0 && run(plan, room, given, slopes) > 0)
        result = result_of(plan, room, slopes, gradient, wanted);
    Py_XDECREF(gradient);
    pyad_program_take_back(plan->core, room->numbers);
    if (PyList_Append(plan->rooms, (PyObject *)room) < 0)
        Py_CLEAR(result);
    Py_DECREF(room);
    return result;
}

/* ---- Calls ------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *plans; /* a list */
    PyObject *watch; /* or NULL: not known yet */
    PyObject *used;  /* function of a program that was used last */
} CallsObject;

static int calls_clear(PyObject *self)
{
    CallsObject *calls = (CallsObject *)self;
    Py_CLEAR(calls->plans);
    Py_CLEAR(calls->watch);
    Py_CLEAR(calls->used);
    return 0;
}

static int calls_traverse(PyObject *self, visitproc visit, void *arg)
{
    CallsObject *calls = (CallsObject *)self;
    Py_VISIT(calls->plans);
    Py_VISIT(calls->watch);
    Py_VISIT(calls->used);
    return 0;
}

static void calls_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    calls_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* Whether calls may be answered by plans: no transform is recording, nothing is watched
 * for, and what the function reads is as it was. */
static int is_calm(const CallsObject *calls)
{
    const thread_state *thread = thread_here();
    if (!thread)
        return -1;
    if (thread->tape->depth || thread->anomaly || !calls->watch || !calls->plans ||
        !Py_IS_TYPE(calls->watch, &Watch_Type) || !PyList_CheckExact(calls->plans) ||
        PyList_GET_SIZE(calls->plans) == 0)
        return 0;
    PyObject *watch = Py_NewRef(calls->watch);
    const int same = watch_is_same(watch);
    Py_DECREF(watch);
    return same;
}

/* Puts a plan first. Where others for such arguments came before it, the recordings of
 * these arguments have an order, too: `used` sees to it. */
static int put_first(const CallsObject *calls, PyObject *plans, Py_ssize_t i, int others)
{
    PyObject *plan = PyList_GET_ITEM(plans, i); /* held by the caller */
    if (PyList_SetSlice(plans, i, i + 1, NULL) < 0 || PyList_Insert(plans, 0, plan) < 0)
        return -1;
    if (!others || !calls->used)
        return 0;
    PyObject *done =
        PyObject_CallOneArg(calls->used, ((const PlanObject *)plan)->program);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* What one of the plans answers, which then comes first; NULL without an exception if
 * none does. */
static PyObject *answer_of_any(const CallsObject *calls, PyObject *args, PyObject *kwargs,
                               enum wanted wanted)
{
    const Py_ssize_t named = kwargs ? PyDict_GET_SIZE(kwargs) : 0;
    const Py_ssize_t positional = PyTuple_GET_SIZE(args);
    PyObject *plans = Py_NewRef(calls->plans), *found = NULL; /* it may be replaced */
    int ran = 0;
    for (Py_ssize_t i = 0; !found && i < PyList_GET_SIZE(plans); i++) {
        PyObject *item = PyList_GET_ITEM(plans, i);
        if (!Py_IS_TYPE(item, &Plan_Type))
            continue;
        PlanObject *plan = (PlanObject *)item;
        const int others = ran;
        if (PyTuple_GET_SIZE(plan->names) != named ||
            PyTuple_GET_SIZE(plan->forms) != named + positional ||
            (wanted != VALUE && plan->chosen == Py_None))
            continue;
        Py_INCREF(item);
        found = answer(plan, args, kwargs, wanted, &ran);
        if (found && i && i < PyList_GET_SIZE(plans) &&
            PyList_GET_ITEM(plans, i) == item && put_first(calls, plans, i, others) < 0)
            Py_CLEAR(found);
        Py_DECREF(item);
        if (PyErr_Occurred())
            break;
    }
    Py_DECREF(plans);
    return found;
}

static PyMemberDef calls_members[] = {
    {"plans", T_OBJECT_EX, offsetof(CallsObject, plans), 0, NULL},
    {"watch", T_OBJECT, offsetof(CallsObject, watch), 0, NULL},
    {"used", T_OBJECT, offsetof(CallsObject, used), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject Calls_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Calls",
    .tp_basicsize = sizeof(CallsObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = calls_dealloc,
    .tp_traverse = calls_traverse,
    .tp_clear = calls_clear,
    .tp_members = calls_members,
};

/* ---- Replay ----------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *calls; /* a Calls, or NULL: every call goes the slow way */
    enum wanted wanted;
} ReplayObject;

static int replay_clear(PyObject *self)
{
    Py_CLEAR(((ReplayObject *)self)->calls);
    return 0;
}

static int replay_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((ReplayObject *)self)->calls);
    return 0;
}

static void replay_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    replay_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* _answer_with(calls, "value", "gradient" or "both"): what answers calls from now on. */
static PyObject *answer_with(PyObject *self, PyObject *args)
{
    PyObject *calls;
    const char *wanted;
    if (!PyArg_ParseTuple(args, "O!s", &Calls_Type, &calls, &wanted))
        return NULL;
    ReplayObject *replay = (ReplayObject *)self;
    Py_XSETREF(replay->calls, Py_NewRef(calls));
    replay->wanted = wanted[0] == 'v' ? VALUE : wanted[0] == 'g' ? GRADIENT : BOTH;
    Py_RETURN_NONE;
}

static PyObject *replay_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static PyObject *slowly;
    ReplayObject *replay = (ReplayObject *)self;
    CallsObject *calls = (CallsObject *)Py_XNewRef(replay->calls);
    if (calls) {
        PyObject *found = NULL;
        const int calm = is_calm(calls);
        if (calm > 0)
            found = answer_of_any(calls, args, kwargs, replay->wanted);
        Py_DECREF(calls);
        if (found || calm < 0 || PyErr_Occurred())
            return found;
    }
    if (!slowly && !(slowly = PyUnicode_InternFromString("_slowly")))
        return NULL;
    PyObject *method = PyObject_GetAttr(self, slowly);
    PyObject *result = method ? PyObject_Call(method, args, kwargs) : NULL;
    Py_XDECREF(method);
    return result;
}

static PyMethodDef replay_methods[] = {
    {"_answer_with", answer_with, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Replay_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pyad._handle._Replay",
    .tp_basicsize = sizeof(ReplayObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = replay_dealloc,
    .tp_traverse = replay_traverse,
    .tp_clear = replay_clear,
    .tp_call = replay_call,
    .tp_methods = replay_methods,
};
