/* The pipeline, from the graph that the frontend elaborated to the planned graph that codegen lowers.
 *
 *   join          products of many parts become one, which is then differentiated as one
 *   hoist         what all turns of a loop can do at once leaves it, and is differentiated outside
 *   gradients     what is to be differentiated becomes nodes, so that all later passes see one joint graph
 *   join          a sum of products, like the gradient of a weight that is used at many places, becomes one
 *   hoist         sums of gradients over the turns of a loop leave it
 *   dce           what nothing needs goes: precision must not count it where it asks for an only user
 *   precision     decides on the joint graph, forward and backward
 *   accumulate    splits the step when several micro-batches make one, at the markers of loss scaling
 *   loss_scale    adds the scaling that the precisions call for; its nodes are f32
 *   gelu          the bias of a product whose library appends gelu
 *   casts         only now, when every precision is known, are casts placed, as few as possible
 *   edges         casts move over the edges of loops
 *   simplify, cse, dce
 *   masks         of rectified values ask what lies in memory anyway
 *   attention     what layout and fuse are to see as one kernel
 *   layout        memory orders; fuse needs them to see which accesses are contiguous
 *   taps          products that fuse is to see as sums
 *   fuse          what is stored, and by which kernel
 *   schedule      the order of kernels
 *   remat         what is computed again instead of being kept, where a memory budget asks for it
 *   memory        the place of everything that is stored */
#include "passes/pipeline.h"

#include "ir/print.h"
#include "ir/verify.h"

#include <stb/stb_ds.h>
#include <string.h>
#include <time.h>

static const char *const default_sequence[] = {
    "join",       "hoist",  "gradients", "join",  "hoist",    "dce",   "precision", "accumulate",
    "loss_scale", "gelu",   "casts",     "edges", "simplify", "cse",   "dce",       "masks",
    "attention",  "layout", "taps",      "fuse",  "schedule", "remat", "memory",
};

/* Processor time: passes run on one thread, and other work on the machine does not count. */
static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run_pass(const struct pass *pass, struct module *module, struct pass_context *context,
                     const struct pipeline_options *options)
{
    double start = seconds();
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) /* a pass may add graphs */
        pass->run(module->graphs[i], context);
    if (options->time_passes)
        fprintf(options->messages, "%-12s %9.3f ms\n", pass->name, 1e3 * (seconds() - start));
    if (diagnostics_errors(module->diagnostics))
        return;
    if (options->verify_each)
        verify_or_bug(module, pass->name);
    if (options->print_after &&
        (strcmp(options->print_after, "all") == 0 || strcmp(options->print_after, pass->name) == 0)) {
        fprintf(options->messages, "; after %s\n", pass->name);
        print_module(module, options->messages);
    }
}

/* The passes to run as an stb_ds array of table rows, cut after the last run of stop_after; *unknown is set to a name
 * that is no pass. */
static const struct pass **sequence(struct arena *arena, const struct pipeline_options *options, const char **unknown)
{
    const struct pass **list = NULL;
    *unknown = NULL;
    if (!options->passes) {
        for (size_t i = 0; i < sizeof default_sequence / sizeof *default_sequence; i++)
            arrput(list, pass_find(default_sequence[i]));
    }
    for (const char *rest = options->passes; rest && *rest;) {
        size_t length = strcspn(rest, ",");
        const char *name = arena_intern_length(arena, rest, length);
        const struct pass *pass = pass_find(name);
        if (pass)
            arrput(list, pass);
        else if (length)
            *unknown = name;
        rest += length + (rest[length] == ',');
    }
    if (!options->stop_after)
        return list;
    for (ptrdiff_t i = arrlen(list) - 1; i >= 0; i--) {
        if (strcmp(list[i]->name, options->stop_after) == 0) {
            arrsetlen(list, (size_t)i + 1);
            return list;
        }
    }
    *unknown = options->stop_after;
    return list;
}

/* The module after the pass of this number, for --dump-to. The path when the file cannot be written, else NULL. */
static const char *write_dump(const struct module *module, const struct pipeline_options *options, int number,
                              const char *pass)
{
    if (!options->dump_to)
        return NULL;
    const char *path = arena_printf(module->arena, "%s/%02d-%s.ir", options->dump_to, number, pass);
    FILE *file = fopen(path, "w");
    if (!file)
        return path;
    print_module(module, file);
    bool written = !ferror(file);
    return fclose(file) == 0 && written ? NULL : path;
}

struct pipeline_result pipeline_run(struct module *module, struct pass_context *context,
                                    const struct pipeline_options *options)
{
    struct pipeline_result result = {.done = true};
    const struct pass **list = sequence(module->arena, options, &result.unknown);
    result.done = !result.unknown;
    if (result.done)
        result.unwritten = write_dump(module, options, 0, "elaborate");
    for (ptrdiff_t i = 0; result.done && !result.unwritten && i < arrlen(list); i++) {
        run_pass(list[i], module, context, options);
        result.done = !diagnostics_errors(module->diagnostics);
        result.unwritten = write_dump(module, options, (int)i + 1, list[i]->name);
    }
    result.done = result.done && !result.unwritten;
    arrfree(list);
    return result;
}
