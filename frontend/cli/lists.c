/* castor ops, passes, policies and devices: what there is, from the tables themselves. */
#include "frontend/compile.h"
#include "ir/op.h"

#include <jansson.h>
#include <string.h>

static int print_rows(const struct invocation *invocation, json_t *rows)
{
    if (flag_given(invocation, FLAG_json)) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(rows);
    return 0;
}

int command_ops(const struct invocation *invocation)
{
    json_t *rows = json_array();
    bool text = !flag_given(invocation, FLAG_json);
    for (int i = 0; i < OP_COUNT; i++) {
        const struct op_info *info = op_info((enum op)i);
        if (text)
            printf("%-14s %-12s %s\n", info->name, op_class_name(info->class), info->help);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:i, s:b, s:s}", "name", info->name, "class",
                                              op_class_name(info->class), "arity", info->arity, "differentiable",
                                              strcmp(info->gradient, "none") != 0, "help", info->help));
    }
    return print_rows(invocation, rows);
}

int command_passes(const struct invocation *invocation)
{
    json_t *rows = json_array();
    bool text = !flag_given(invocation, FLAG_json);
    size_t count;
    const struct pass *passes = pass_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (text)
            printf("%-12s %s\n", passes[i].name, passes[i].help);
        json_array_append_new(rows, json_pack("{s:s, s:s}", "name", passes[i].name, "help", passes[i].help));
    }
    return print_rows(invocation, rows);
}

static int explain_policy(const char *name)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct policy *policy = policy_load(arena, diagnostics, name, ELEMENT_NONE, (struct span){0});
    if (policy)
        policy_explain(policy, stdout);
    diagnostics_print(diagnostics, stderr);
    int code = policy ? 0 : EXIT_TEXT;
    arena_free(arena);
    return code;
}

int command_policies(const struct invocation *invocation)
{
    if (flag_given(invocation, FLAG_explain))
        return explain_policy(flag_text(invocation, FLAG_explain));
    json_t *rows = json_array();
    bool text = !flag_given(invocation, FLAG_json);
    size_t count;
    const struct policy_info *policies = policy_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (text)
            printf("%-9s %-3s %s\n", policies[i].name, policies[i].alias, policies[i].help);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "name", policies[i].name, "alias", policies[i].alias,
                                              "help", policies[i].help));
    }
    return print_rows(invocation, rows);
}

/* What a device is, as far as it is here. */
static json_t *describe(enum device_kind kind, const struct device_facts *facts)
{
    json_t *row = json_pack("{s:s, s:b, s:s, s:i, s:s, s:b, s:b, s:I, s:I}", "name", device_name(kind), "available", 1,
                            "processor", facts->processor, "threads", facts->threads, "instructions",
                            facts->instructions, "f16", facts->f16, "bf16", facts->bf16, "cache_bytes",
                            (json_int_t)facts->cache_bytes, "memory_bytes", (json_int_t)facts->memory_bytes);
    return row;
}

static void print_device(enum device_kind kind, const struct device_facts *facts)
{
    printf("%-5s %s, %d %s, %s, f16 %s, bf16 %s\n", device_name(kind), facts->processor, facts->threads,
           kind == DEVICE_HOST ? "threads" : "multiprocessors", facts->instructions,
           facts->f16 ? "native" : "emulated in f32", facts->bf16 ? "native" : "emulated in f32");
}

int command_devices(const struct invocation *invocation)
{
    json_t *rows = json_array();
    bool text = !flag_given(invocation, FLAG_json);
    for (enum device_kind kind = 0; kind < DEVICE_COUNT; kind++) {
        struct device_choice choice = {.kind = kind};
        struct device_facts facts;
        struct error error = {0};
        bool here = device_present(&choice, &facts, &error);
        if (text && here)
            print_device(kind, &facts);
        else if (text)
            printf("%-5s not here: %s\n", device_name(kind), error.text);
        json_array_append_new(
            rows, here ? describe(kind, &facts)
                       : json_pack("{s:s, s:b, s:s}", "name", device_name(kind), "available", 0, "reason", error.text));
    }
    return print_rows(invocation, rows);
}
