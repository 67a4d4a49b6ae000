/* castor ledger: what one training step costs, from the program alone. */
#include "codegen/ledger.h"
#include "frontend/compile.h"

#include <jansson.h>

static void print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

int command_ledger(const struct invocation *invocation)
{
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code) {
        struct compile_request request = {.batch = compilation.settings->batch, .observe = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = compilation_program(&compilation);
    if (!code) {
        struct ledger ledger =
            ledger_compute(compilation.module, compilation.program, &compilation.target, compilation.arena);
        if (flag_given(invocation, FLAG_json))
            print_json(ledger_json(&ledger));
        else
            ledger_print(&ledger, stdout);
        ledger_free(&ledger);
    }
    return compilation_close(&compilation, code);
}
