/* The driver of a compilation. */
#include "frontend/compile.h"

#include "codegen/assemble.h"
#include "frontend/language/ast.h"
#include "passes/choose.h"
#include "passes/memory.h"
#include "runtime/file.h"

#include <errno.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

char *read_text(struct arena *arena, const char *path, size_t *length)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text = NULL, block[1 << 14];
    for (size_t got; file && (got = fread(block, 1, sizeof block, file)) > 0;)
        memcpy(arraddnptr(text, got), block, got);
    if (!file || ferror(file)) {
        fprintf(stderr, "castor: %s: %s\n", path, strerror(errno));
        if (file && file != stdin)
            fclose(file);
        arrfree(text);
        return NULL;
    }
    if (file != stdin)
        fclose(file);
    *length = (size_t)arrlen(text);
    arrput(text, '\0');
    char *copy = arena_copy(arena, text, *length + 1);
    arrfree(text);
    return copy;
}

int report_failure(const struct error *error)
{
    error_print(error, stderr);
    return error->code;
}

int choose_target(const struct invocation *invocation, struct device_choice *choice, struct device_facts *facts,
                  struct target *target)
{
    struct error error = {0};
    int code = device_choose(invocation, choice);
    if (code)
        return code;
    if (!device_describe(choice, facts, &error))
        return report_failure(&error);
    *target = device_target(choice, facts);
    return 0;
}

/* ---- opening ---- */

/* The train block's entries given as flags; an stb_ds array. */
static struct name_text *overrides_of(const struct invocation *invocation)
{
    struct name_text *list = NULL;
    for (enum flag flag = 0; flag < FLAG_COUNT; flag++)
        if (flag_in(flag, GROUP_BLOCK) && flag_given(invocation, flag))
            arrput(list, ((struct name_text){flag_spelling(flag), flag_text(invocation, flag)}));
    return list;
}

static void add_interval(struct compilation *compilation, struct name_text **list, enum flag flag, const char *entry)
{
    const char *text = flag_text(compilation->invocation, flag);
    if (text)
        arrput(*list, ((struct name_text){entry, arena_printf(compilation->arena, "every %s", interval_text(text))}));
}

/* `--set a=b` as pairs; false after a usage error. */
static bool sets_of(struct compilation *compilation, struct name_text **list)
{
    const struct invocation *invocation = compilation->invocation;
    for (int i = 0; i < flag_count(invocation, FLAG_set); i++) {
        const char *text = invocation->given[FLAG_set][i];
        size_t length = strcspn(text, "=");
        if (!length || !text[length]) {
            usage_error(invocation, "--set needs OPTION=VALUE, not '%s'", text);
            return false;
        }
        arrput(*list, ((struct name_text){arena_intern_length(compilation->arena, text, length), text + length + 1}));
    }
    return true;
}

/* A place in the text of a flag. */
static struct span flag_span(struct diagnostics *diagnostics, const char *flag, const char *text)
{
    diagnostics_add_source(diagnostics, flag, text);
    return (struct span){flag, 1, 1, (int)strlen(text) + 1};
}

static bool open_plugins(struct compilation *compilation)
{
    const struct invocation *invocation = compilation->invocation;
    for (int i = 0; i < flag_count(invocation, FLAG_plugin); i++) {
        const char *path = invocation->given[FLAG_plugin][i];
        struct span where = flag_span(compilation->diagnostics, "--plugin", path);
        if (!plugins_open(&compilation->plugins, compilation->diagnostics, path, where))
            return false;
    }
    return true;
}

static bool read_ranges(struct compilation *compilation, struct policy *policy)
{
    const char *path = flag_text(compilation->invocation, FLAG_ranges);
    if (!path)
        return true;
    struct span where = flag_span(compilation->diagnostics, "--ranges", path);
    compilation->ranges = ranges_read(compilation->arena, compilation->diagnostics, path, where);
    if (compilation->ranges)
        policy_take_ranges(policy, compilation->ranges);
    return compilation->ranges != NULL;
}

char *compilation_beside(const struct compilation *compilation, const char *path)
{
    const char *file = compilation->file, *slash = strrchr(file, '/');
    if (!slash || *path == '/' || access(path, F_OK) == 0)
        return NULL;
    char *beside = file_text("%.*s%s", (int)(slash + 1 - file), file, path);
    if (access(beside, F_OK) == 0)
        return beside;
    free(beside);
    return NULL;
}

/* A policy of the train block that only the file's own folder has. */
static void note_beside(const struct compilation *compilation, const char *name)
{
    char *beside = compilation_beside(compilation, name);
    if (beside && strchr(name, '.'))
        diagnostics_note(compilation->diagnostics, (struct span){0},
                         "there is %s: paths in a file are relative to the folder where castor runs", beside);
    free(beside);
}

/* `name` NULL: the train block's policy, else f32. */
static int load_policy(struct compilation *compilation, const char *name)
{
    const struct settings *settings = compilation->settings;
    const char *half = flag_text(compilation->invocation, FLAG_half);
    struct span where = name ? flag_span(compilation->diagnostics, "--policy", name) : (struct span){0};
    enum element element = half ? element_find(half) : ELEMENT_NONE;
    if (!flag_choice(compilation->invocation, FLAG_half))
        return EXIT_USAGE;
    if (!name && settings->policy) {
        name = settings->policy;
        where = settings->policy_span;
        if (element == ELEMENT_NONE)
            element = settings->half;
    }
    if (!open_plugins(compilation))
        return EXIT_TEXT;
    struct policy *policy = plugins_policy(&compilation->plugins, compilation->arena, compilation->diagnostics,
                                           name ? name : "f32", element, where);
    compilation->policy = policy;
    if (!policy && name)
        note_beside(compilation, name);
    if (policy && policy->algorithm == ALGORITHM_RANGES && !flag_given(compilation->invocation, FLAG_ranges))
        return usage_error(compilation->invocation, "policy %s needs recorded ranges: --ranges FILE", policy->name);
    return policy && read_ranges(compilation, policy) ? 0 : EXIT_TEXT;
}

static int open_language(struct compilation *compilation)
{
    size_t length;
    compilation->file = compilation->invocation->words[0];
    compilation->text = read_text(compilation->arena, compilation->file, &length);
    if (!compilation->text)
        return EXIT_DEVICE;
    compilation->syntax =
        parse_net_bytes(compilation->arena, compilation->diagnostics, compilation->file, compilation->text, length);
    if (!compilation->syntax || diagnostics_errors(compilation->diagnostics))
        return EXIT_TEXT;
    struct name_text *sets = NULL;
    int code = sets_of(compilation, &sets) ? 0 : EXIT_USAGE;
    if (!code)
        compilation->unit =
            unit_load(compilation->arena, compilation->diagnostics, compilation->syntax, sets, (int)arrlen(sets));
    arrfree(sets);
    return code ? code : compilation->unit ? 0 : EXIT_TEXT;
}

/* Flags of which it is plain, without the file, that they are wrong. */
static int check_block_flags(const struct invocation *invocation)
{
    static const struct {
        enum flag flag;
        int64_t least;
    } numbers[] = {{FLAG_batch, 1}, {FLAG_epochs, 1}, {FLAG_steps, 1}, {FLAG_accumulate, 1}, {FLAG_seed, 0}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!flag_number(invocation, numbers[i].flag, numbers[i].least))
            return EXIT_USAGE;
    if (!flag_interval(invocation, FLAG_eval_every) || !flag_interval(invocation, FLAG_checkpoint_every))
        return EXIT_USAGE;
    static const enum flag same[][2] = {{FLAG_epochs, FLAG_steps},
                                        {FLAG_policy, FLAG_precision},
                                        {FLAG_evaluate, FLAG_eval_every},
                                        {FLAG_checkpoint, FLAG_checkpoint_every}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (flag_given(invocation, same[i][0]) && flag_given(invocation, same[i][1]))
            return usage_error(invocation, "it takes --%s or --%s, not both", flag_spelling(same[i][0]),
                               flag_spelling(same[i][1]));
    return 0;
}

int compilation_open(struct compilation *compilation, const struct invocation *invocation)
{
    return compilation_open_with(compilation, invocation, NULL);
}

int compilation_open_with(struct compilation *compilation, const struct invocation *invocation, const char *policy)
{
    double start = now();
    *compilation = (struct compilation){.invocation = invocation, .arena = arena_new()};
    compilation->diagnostics = diagnostics_new(compilation->arena);
    int code = check_block_flags(invocation);
    code = code ? code : open_language(compilation);
    if (code || !(invocation->command->groups & GROUP_BLOCK))
        return code;
    if (!elaborate_wants_model(compilation->unit))
        return EXIT_TEXT;
    struct name_text *overrides = overrides_of(invocation);
    add_interval(compilation, &overrides, FLAG_eval_every, "evaluate");
    add_interval(compilation, &overrides, FLAG_checkpoint_every, "checkpoint");
    compilation->settings = settings_read(compilation->unit, overrides, (int)arrlen(overrides));
    arrfree(overrides);
    code = compilation->settings ? load_policy(compilation, policy ? policy : flag_text(invocation, FLAG_policy))
                                 : EXIT_TEXT;
    if (!code)
        code = choose_target(invocation, &compilation->choice, &compilation->facts, &compilation->target);
    compilation->seconds = now() - start;
    return code;
}

int compilation_wants_training(const struct compilation *compilation)
{
    if (compilation->settings->trains)
        return 0;
    fprintf(stderr, "castor: %s has no `minimize` line in its train block\n", compilation->file);
    return EXIT_TEXT;
}

int compilation_wants_batch(const struct compilation *compilation)
{
    if (compilation->settings->batch)
        return 0;
    fprintf(stderr, "castor: %s has no `batch` line in its train block; --batch gives one\n", compilation->file);
    return EXIT_TEXT;
}

const char *compilation_policy_text(const struct compilation *compilation)
{
    const struct policy *policy = compilation->policy;
    if (strcmp(policy->name, "f32") == 0)
        return policy->name;
    return arena_printf(compilation->arena, "%s(%s)", policy->name, element_name(policy->half));
}

/* ---- the module ---- */

static int unknown_pass(const struct invocation *invocation, const char *word)
{
    const char *names[64];
    size_t count;
    const struct pass *passes = pass_table(&count);
    for (size_t i = 0; i < count && i < 64; i++)
        names[i] = passes[i].name;
    const char *near = suggest(word, names, count);
    return usage_error(invocation,
                       near ? "there is no pass '%s'; did you mean '%s'?"
                            : "there is no pass '%s'; castor passes lists them",
                       word, near);
}

bool pipeline_flags(const struct invocation *invocation, struct diagnostics *diagnostics,
                    struct pipeline_options *options, struct pass_context *context)
{
    options->passes = flag_text(invocation, FLAG_passes);
    options->print_after = flag_text(invocation, FLAG_print_after);
    options->verify_each = flag_given(invocation, FLAG_verify_each);
    options->time_passes = flag_given(invocation, FLAG_time_passes);
    options->messages = stderr;
    context->limit = -1;
    context->debug_unfused = flag_given(invocation, FLAG_unfused);
    if (options->print_after && strcmp(options->print_after, "all") != 0 && !pass_find(options->print_after)) {
        unknown_pass(invocation, options->print_after);
        return false;
    }
    options->dump_to = flag_text(invocation, FLAG_dump_to);
    if (options->dump_to)
        file_make_folders(options->dump_to); /* the first file that cannot be written tells */
    const char *budget = flag_text(invocation, FLAG_memory_budget);
    if (budget)
        context->budget.span = flag_span(diagnostics, "--memory-budget", budget);
    return flag_bytes(invocation, FLAG_memory_budget, &context->budget.bytes, &context->budget.share) &&
           flag_integer(invocation, FLAG_pass_limit, 0, &context->limit);
}

int pipeline_failure(const struct invocation *invocation, const struct pipeline_result *result)
{
    if (result->unwritten) {
        fprintf(stderr, "castor: %s: cannot write: %s\n", result->unwritten, strerror(errno));
        return EXIT_DEVICE;
    }
    return result->unknown ? unknown_pass(invocation, result->unknown) : EXIT_TEXT;
}

/* The scale rule by precedence: flag or train block, else the policy's own. NULL for none. */
static const struct ast_expression *scale_rule(struct compilation *compilation, bool *explicit)
{
    *explicit = compilation->settings->scale != NULL;
    if (*explicit)
        return compilation->settings->scale;
    const char *text = policy_scale(compilation->policy);
    /* A name of its own: under the policy's, messages would show this text for the policy's lines. */
    const char *file = arena_printf(compilation->arena, "%s (scale)", compilation->policy->file);
    return parse_net_expression(compilation->arena, compilation->diagnostics, file, text);
}

static int run_pipeline(struct compilation *compilation)
{
    struct pass_context context = compilation->context;
    struct pipeline_result result = pipeline_run(compilation->module, &context, &compilation->options);
    compilation->budget = context.granted;
    return result.done ? 0 : pipeline_failure(compilation->invocation, &result);
}

/* A share of the memory is one of what a step takes without a budget, of which passes make something else. */
static int measure_whole(struct compilation *compilation)
{
    struct memory_budget *budget = &compilation->context.budget;
    struct pass_context context = compilation->context;
    struct pipeline_options options = {.passes = compilation->options.passes};
    struct module *module = module_copy(compilation->elaborated, compilation->arena);
    context.budget = (struct memory_budget){0};
    context.limit = -1;
    struct pipeline_result result = pipeline_run(module, &context, &options);
    for (ptrdiff_t i = 0; result.done && i < arrlen(module->graphs); i++) {
        bool bounded = memory_budget_bounds(budget, module->graphs[i]);
        int64_t peak = bounded ? memory_measure(module->graphs[i], &compilation->target).peak : 0;
        budget->whole = peak > budget->whole ? peak : budget->whole;
    }
    module_free(module);
    return result.done ? 0 : pipeline_failure(compilation->invocation, &result);
}

/* Whether a node tells the place of an element among more than its i32 can count; a diagnostic then. */
static bool places_overflow(const struct module *module, const struct node *node)
{
    double elements = 1;
    if (node->op != OP_argmax && node->op != OP_argmin)
        return false;
    const struct shape *shape = &node->operands[0]->type.shape;
    for (int axis = 0; axis < shape->rank; axis++)
        elements *= node->attributes->axes >> axis & 1 ? (double)shape->dimension[axis] : 1;
    if (elements <= INT32_MAX)
        return false;
    diagnostics_error(module->diagnostics, E0210, node->span, NULL,
                      "`%s` over %.0f elements: the place of one is an i32, so %d are the most",
                      op_info(node->op)->name, elements, INT32_MAX);
    return true;
}

/* Tells of the first such node: other graphs have it, too. */
static void check_places(const struct module *module)
{
    for (ptrdiff_t i = 0; module && i < arrlen(module->graphs); i++)
        for (ptrdiff_t k = 0; k < arrlen(module->graphs[i]->nodes); k++)
            if (places_overflow(module, module->graphs[i]->nodes[k]))
                return;
}

int compilation_module(struct compilation *compilation, const struct compile_request *request)
{
    double start = now();
    struct elaborate_request elaborate_request = {.batch = request->batch,
                                                  .eval = request->eval,
                                                  .tail = request->tail,
                                                  .validate_tail = request->validate_tail,
                                                  .fetch = request->fetch,
                                                  .fetch_count = request->fetch_count,
                                                  .feed = request->feed,
                                                  .feed_count = request->feed_count,
                                                  .fetch_gradients = request->fetch_gradients,
                                                  .no_update = request->no_update,
                                                  .outputs = request->outputs,
                                                  .one_batch = request->one_batch,
                                                  .only_fed = request->only_fed};
    elaborate_request.scale = scale_rule(compilation, &elaborate_request.scale_explicit);
    compilation->module = elaborate(compilation->unit, &elaborate_request);
    check_places(compilation->module);
    size_t scope_count;
    const char *const *scopes = unit_scope_names(compilation->unit, &scope_count);
    if (!compilation->module || diagnostics_errors(compilation->diagnostics) ||
        !policy_check(compilation->policy, compilation->module, scopes, scope_count))
        return EXIT_TEXT;
    compilation->policy = policy_choose(compilation->policy, compilation->module, &compilation->target);
    struct pipeline_options *options = &compilation->options;
    struct pass_context *context = &compilation->context;
    *options = (struct pipeline_options){.stop_after = request->stop_after};
    *context = (struct pass_context){.target = &compilation->target, .policy = compilation->policy};
    if (!pipeline_flags(compilation->invocation, compilation->diagnostics, options, context))
        return EXIT_USAGE;
    if (request->passes)
        options->passes = request->passes;
    if (!request->observe)
        options->print_after = NULL, options->time_passes = false;
    if (flag_given(compilation->invocation, FLAG_memory_budget))
        compilation->elaborated = module_copy(compilation->module, compilation->arena);
    int code = context->budget.share > 0 && !request->stop_after ? measure_whole(compilation) : 0;
    if (!code)
        code = run_pipeline(compilation);
    compilation->seconds += now() - start;
    return code;
}

void print_kernels(const struct program *program, FILE *out)
{
    fputs(program->source, out);
    for (int i = 0; i < program->kernel_count; i++)
        fprintf(out, "\n%s", program->kernels[i].source);
}

/* program.txt and kernels.c of --dump-to. */
static int dump_program(const struct program *program, const char *folder)
{
    struct error error = {0};
    char *text = program_text(program), *kernels = NULL;
    size_t size = 0;
    FILE *stream = arena_stream(&kernels, &size);
    if (!text)
        arena_exhausted();
    print_kernels(program, stream);
    arena_stream_close(stream);
    char *text_path = file_text("%s/program.txt", folder), *kernels_path = file_text("%s/kernels.c", folder);
    bool written = file_write(text_path, text, strlen(text), &error) && file_write(kernels_path, kernels, size, &error);
    free(text_path);
    free(kernels_path);
    free(text);
    free(kernels);
    return written ? 0 : report_failure(&error);
}

/* Whether --passes, where it is given, leaves a graph that has code. False after a usage error. */
static bool makes_program(const struct invocation *invocation)
{
    static const char *const needed[] = {"gradients", "loss_scale", "casts", "layout", "fuse", "schedule", "memory"};
    const char *passes = flag_text(invocation, FLAG_passes);
    for (size_t i = 0; passes && i < sizeof needed / sizeof *needed; i++) {
        size_t length = strlen(needed[i]);
        const char *at = passes;
        while (at && !(strncmp(at, needed[i], length) == 0 && (!at[length] || at[length] == ',')))
            at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
        if (at)
            continue;
        usage_error(invocation, "--passes: a program needs pass %s too", needed[i]);
        return false;
    }
    return true;
}

/* Bytes of workspaces in the arena of the step's entry that exceeds the memory budget; 0 when none does. */
static int64_t excess_workspace(const struct compilation *compilation)
{
    const struct module *module = compilation->module;
    int64_t most = 0;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) {
        const struct graph *graph = module->graphs[i];
        const struct program_entry *entry = program_find_entry(compilation->program, graph->name);
        if (!memory_budget_bounds(&compilation->context.budget, graph) ||
            (int64_t)entry->scratch_bytes <= compilation->budget)
            continue;
        int64_t workspace = (int64_t)entry->scratch_bytes - memory_measure(graph, &compilation->target).peak;
        most = workspace > most ? workspace : most;
    }
    return most;
}

/* Kernels have workspaces too, which are known once there is code. Where pass remat has left too little for them, it
 * runs again, told how much they take. Exit code. */
static int make_room(struct compilation *compilation)
{
    enum { TRIALS = 3 };
    int64_t workspace;
    for (int i = 0; (workspace = excess_workspace(compilation)) && i < TRIALS; i++) {
        program_free(compilation->program);
        compilation->program = NULL;
        module_free(compilation->module);
        compilation->module = module_copy(compilation->elaborated, compilation->arena);
        compilation->context.budget.workspace = workspace;
        int code = run_pipeline(compilation);
        if (code)
            return code;
        compilation->program = assemble_program(compilation->module, &compilation->target, compilation->arena);
    }
    return 0;
}

int compilation_program(struct compilation *compilation)
{
    double start = now();
    if (!makes_program(compilation->invocation))
        return EXIT_USAGE;
    const char *folder = flag_text(compilation->invocation, FLAG_dump_to);
    compilation->program = assemble_program(compilation->module, &compilation->target, compilation->arena);
    int code = compilation->budget ? make_room(compilation) : 0;
    compilation->seconds += now() - start;
    if (code)
        return code;
    return folder ? dump_program(compilation->program, folder) : 0;
}

int compilation_device(struct compilation *compilation)
{
    struct error error = {0};
    compilation->device = device_make(&compilation->choice, &error);
    return compilation->device ? 0 : report_failure(&error);
}

int compilation_close(struct compilation *compilation, int code)
{
    if (compilation->json)
        diagnostics_print_json(compilation->diagnostics, stdout);
    else
        diagnostics_print(compilation->diagnostics, stderr);
    if (compilation->device)
        compilation->device->free(compilation->device);
    if (compilation->program)
        program_free(compilation->program);
    module_free(compilation->module);
    module_free(compilation->elaborated);
    plugins_close(&compilation->plugins);
    ranges_free(compilation->ranges);
    if (compilation->unit)
        unit_free(compilation->unit);
    arena_free(compilation->arena);
    return code;
}
