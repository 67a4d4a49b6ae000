/* castor ledger: what one training step costs, from the program alone. */
#include "codegen/ledger.h"
#include "frontend/compile.h"

#include <jansson.h>
#include <stdlib.h>

static void print_json(json_t *object)
{
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

/* Exit code. */
static int add_registers(struct ledger *ledger, const struct compilation *compilation)
{
    struct error error = {0};
    struct ledger_resources *resources =
        device_resources(&compilation->choice, &compilation->facts, compilation->program, &error);
    if (!resources) {
        error_print(&error, stderr);
        return error.code;
    }
    ledger_add_resources(ledger, compilation->program, resources);
    free(resources);
    return 0;
}

int command_ledger(const struct invocation *invocation)
{
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code && flag_given(invocation, FLAG_registers) && compilation.choice.kind == DEVICE_HOST)
        code = usage_error(invocation, "--registers goes with --device cuda and sim");
    if (!code)
        code = compilation_wants_batch(&compilation);
    if (!code) {
        struct compile_request request = {.batch = compilation.settings->batch, .observe = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = compilation_program(&compilation);
    if (!code) {
        struct ledger ledger =
            ledger_compute(compilation.module, compilation.program, &compilation.target, compilation.arena);
        ledger.arena_budget = (uint64_t)compilation.budget;
        if (flag_given(invocation, FLAG_registers))
            code = add_registers(&ledger, &compilation);
        if (!code && flag_given(invocation, FLAG_json))
            print_json(ledger_json(&ledger));
        else if (!code)
            ledger_print(&ledger, stdout);
        ledger_free(&ledger);
    }
    return compilation_close(&compilation, code);
}
