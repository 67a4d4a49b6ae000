/* castor dump: what a .net file compiles to; castor opt: IR text through passes. */
#include "frontend/compile.h"
#include "ir/dot.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/choose.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* The graph that --only names; NULL when it is not given, and when there is none of that name (then *code is set). */
static struct graph *only_graph(const struct invocation *invocation, const struct module *module, int *code)
{
    const char *only = flag_text(invocation, FLAG_only);
    struct graph *graph = only ? module_find_graph(module, only) : NULL;
    if (!only || graph)
        return graph;
    const char *names[64];
    size_t count = 0;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs) && count < 64; i++)
        names[count++] = module->graphs[i]->name;
    const char *near = suggest(only, names, count);
    *code = usage_error(invocation,
                        near ? "--only: there is no graph '%s'; did you mean '%s'?" : "--only: there is no graph '%s'",
                        only, near);
    return NULL;
}

static int emit_graph(const struct invocation *invocation, const struct module *module, const char *emit)
{
    int code = 0;
    struct graph *graph = only_graph(invocation, module, &code);
    if (code)
        return code;
    if (strcmp(emit, "ir") == 0) {
        if (graph)
            print_graph(graph, stdout);
        else
            print_module(module, stdout);
        return 0;
    }
    if (!graph)
        graph = module_find_graph(module, "train");
    if (!graph && arrlen(module->graphs))
        graph = module->graphs[0];
    if (!graph)
        return 0;
    if (strcmp(emit, "dot") == 0) {
        dot_graph(graph, stdout);
        return 0;
    }
    const char *problem = dot_svg(graph, stdout);
    if (problem)
        fprintf(stderr, "castor: %s\n", problem);
    return problem ? EXIT_DEVICE : 0;
}

static bool emits_graph(const char *emit)
{
    return strcmp(emit, "ir") == 0 || strcmp(emit, "dot") == 0 || strcmp(emit, "svg") == 0;
}

static int emit_ptx(struct compilation *compilation)
{
    struct error error = {0};
    if (device_print_ptx(&compilation->choice, &compilation->facts, compilation->program, stdout, &error))
        return 0;
    return report_failure(&error);
}

/* Kernels are written in C for the host and in CUDA for a GPU. */
static bool emit_fits(const char *emit, enum device_kind kind)
{
    bool cuda = strcmp(emit, "cuda") == 0 || strcmp(emit, "ptx") == 0;
    return strcmp(emit, "c") == 0 ? kind == DEVICE_HOST : !cuda || kind != DEVICE_HOST;
}

static int emit_program(struct compilation *compilation, const char *emit)
{
    int code = compilation_program(compilation);
    if (code)
        return code;
    if (strcmp(emit, "c") == 0 || strcmp(emit, "cuda") == 0) {
        print_kernels(compilation->program, stdout);
        return 0;
    }
    if (strcmp(emit, "ptx") == 0)
        return emit_ptx(compilation);
    char *text = program_text(compilation->program);
    fputs(text, stdout);
    free(text);
    return 0;
}

int command_dump(const struct invocation *invocation)
{
    const char *emit = flag_text(invocation, FLAG_emit), *after = flag_text(invocation, FLAG_after);
    if (!flag_choice(invocation, FLAG_emit))
        return EXIT_USAGE;
    if (!emit)
        emit = "ir";
    if (after && !emits_graph(emit))
        return usage_error(invocation, "--after goes with --emit ir, dot and svg");
    if (flag_given(invocation, FLAG_only) && !emits_graph(emit))
        return usage_error(invocation, "--only goes with --emit ir, dot and svg");
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code && !emit_fits(emit, compilation.choice.kind))
        code = usage_error(invocation, "--emit %s does not go with --device %s", emit,
                           device_name(compilation.choice.kind));
    if (!code)
        code = compilation_wants_batch(&compilation);
    if (!code) {
        struct compile_request request = {.batch = compilation.settings->batch,
                                          .eval = compilation.settings->batch,
                                          .stop_after = after,
                                          .observe = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = emits_graph(emit) ? emit_graph(invocation, compilation.module, emit) : emit_program(&compilation, emit);
    return compilation_close(&compilation, code);
}

/* Whether values have places in memory, which no pass expects. */
static bool is_planned(const struct module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        for (ptrdiff_t k = 0; k < arrlen(module->graphs[i]->nodes); k++)
            if (module->graphs[i]->nodes[k]->placement.space != SPACE_NONE)
                return true;
    return false;
}

/* Passes over IR text: the policy that pass precision needs comes from --policy. */
static int run_passes(const struct invocation *invocation, struct module *module, const struct policy *policy)
{
    struct device_choice choice;
    struct device_facts facts;
    struct target target;
    struct pipeline_options options = {0};
    struct pass_context context = {.target = &target, .policy = policy};
    int code = choose_target(invocation, &choice, &facts, &target);
    if (code)
        return code;
    if (!pipeline_flags(invocation, module->diagnostics, &options, &context))
        return EXIT_USAGE;
    if (!verify_module(module, module->diagnostics))
        return EXIT_TEXT;
    if ((!options.passes || *options.passes) && is_planned(module))
        return usage_error(invocation, "%s has been through pass memory: no pass can follow (--passes \"\" prints it)",
                           invocation->words[0]);
    context.policy = policy_choose(policy, module, &target);
    struct pipeline_result result = pipeline_run(module, &context, &options);
    if (!result.done)
        return pipeline_failure(invocation, &result);
    const char *emit = flag_text(invocation, FLAG_emit);
    return emit_graph(invocation, module, emit ? emit : "ir");
}

int command_opt(const struct invocation *invocation)
{
    const char *path = invocation->words[0], *name = flag_text(invocation, FLAG_policy);
    const char *half = flag_text(invocation, FLAG_half), *emit = flag_text(invocation, FLAG_emit);
    if (!flag_choice(invocation, FLAG_half) || !flag_choice(invocation, FLAG_emit))
        return EXIT_USAGE;
    if (emit && !emits_graph(emit))
        return usage_error(invocation, "--emit takes ir, dot or svg here");
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    size_t length;
    char *text = read_text(arena, path, &length);
    int code = text ? 0 : EXIT_DEVICE;
    struct module *module = text ? parse_module(arena, diagnostics, path, text) : NULL;
    struct policy *policy = policy_load(arena, diagnostics, name ? name : "f32",
                                        half ? element_find(half) : ELEMENT_NONE, (struct span){0});
    if (!code)
        code =
            module && policy && !diagnostics_errors(diagnostics) ? run_passes(invocation, module, policy) : EXIT_TEXT;
    diagnostics_print(diagnostics, stderr);
    module_free(module);
    arena_free(arena);
    return code;
}
