/* The error table as data: name, builtin and text of a status. Never prints, never
 * formats. */
#include "ops.h"
#include "pyad.h"

static const struct {
    const char *name, *builtin, *text;
} errors[] = {
    {"OK", "", ""},
#define ERROR(ENUM, BUILTIN, TEXT) {#ENUM, #BUILTIN, TEXT},
#include "errors.def"
#undef ERROR
};
_Static_assert(sizeof errors / sizeof *errors == PYAD_ERROR_COUNT, "one row per error");

static int known(int status)
{
    return status >= 0 && status < PYAD_ERROR_COUNT ? status : 0;
}

int pyad_error_count(void) { return PYAD_ERROR_COUNT; }
const char *pyad_error_name(int status) { return errors[known(status)].name; }
const char *pyad_error_builtin(int status) { return errors[known(status)].builtin; }
const char *pyad_error_text(int status) { return errors[known(status)].text; }
