/* Measuring a device: graphs of a few nodes go through the whole compiler and are timed. */
#include "codegen/assemble.h"
#include "frontend/calibration.h"
#include "ir/parse.h"
#include "passes/pipeline.h"
#include "runtime/clock.h"
#include "runtime/executor.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_ELEMENTS = 1 << 24, VECTOR_ELEMENTS = 1 << 16, VECTOR_OPERATIONS = 256, PRODUCT = 1024, LAUNCHES = 64 };

struct bench {
    struct device *device;
    const struct target *target;
    struct arena *arena;
    struct error *error;
};

/* Seconds of one run of graph `train`: the least of several, after one that warms up. */
static bool time_runs(struct executor *executor, double *seconds, struct error *error)
{
    const double enough = 0.3;
    const int most = 50;
    if (!executor_run(executor, "train", error))
        return false;
    *seconds = 1e9;
    double begin = clock_seconds();
    for (int i = 0; i < most && (i < 3 || clock_seconds() - begin < enough); i++) {
        double start = clock_seconds();
        if (!executor_run(executor, "train", error))
            return false;
        double took = clock_seconds() - start;
        *seconds = took < *seconds ? took : *seconds;
    }
    return true;
}

/* Compiles IR text and times its graph. */
static bool time_text(struct bench *bench, const char *text, bool unfused, double *seconds)
{
    struct diagnostics *diagnostics = diagnostics_new(bench->arena);
    struct module *module = parse_module(bench->arena, diagnostics, "calibrate.ir", text);
    struct pass_context context = {.target = bench->target, .limit = -1, .debug_unfused = unfused};
    struct pipeline_options options = {.messages = stderr};
    if (!module || !pipeline_run(module, &context, &options).done)
        castor_bug("a calibration graph does not compile");
    struct program *program = assemble_program(module, bench->target, bench->arena);
    struct executor *executor = executor_new(bench->device, program, false, bench->error);
    bool done = executor && time_runs(executor, seconds, bench->error);
    if (executor)
        executor_free(executor);
    program_free(program);
    module_free(module);
    return done;
}

static bool measure_stream(struct bench *bench, struct figures *figures)
{
    double seconds;
    const char *text =
        arena_printf(bench->arena,
                     "variable \"x\" : f32[%d] state\nvariable \"y\" : f32[%d] state\n"
                     "graph train {\n  %%x = read(\"x\") : f32[%d]\n  %%n = neg(%%x) : f32[%d]\n"
                     "  %%w = write(%%n, \"y\") : f32[%d]\n}\n",
                     STREAM_ELEMENTS, STREAM_ELEMENTS, STREAM_ELEMENTS, STREAM_ELEMENTS, STREAM_ELEMENTS);
    if (!time_text(bench, text, false, &seconds))
        return false;
    figures->bandwidth = 2.0 * STREAM_ELEMENTS * (double)element_bytes(ELEMENT_F32) / seconds;
    return true;
}

/* `count` operations one after the other on a vector that stays in the cache: fused, they are one kernel's
 * arithmetic; unfused, as many kernels. */
static bool time_chain(struct bench *bench, int elements, int count, bool unfused, double *seconds)
{
    char *text;
    size_t size;
    FILE *stream = arena_stream(&text, &size);
    fprintf(stream,
            "variable \"x\" : f32[%d] state\nvariable \"y\" : f32[%d] state\n"
            "graph train {\n  %%x = read(\"x\") : f32[%d]\n  %%v0 = fma(%%x, %%x, %%x) : f32[%d]\n",
            elements, elements, elements, elements);
    for (int i = 1; i < count; i++)
        fprintf(stream, "  %%v%d = fma(%%v%d, %%x, %%v%d) : f32[%d]\n", i, i - 1, i - 1, elements);
    fprintf(stream, "  %%w = write(%%v%d, \"y\") : f32[%d]\n}\n", count - 1, elements);
    arena_stream_close(stream);
    bool done = time_text(bench, text, unfused, seconds);
    free(text);
    return done;
}

static bool measure_vector(struct bench *bench, struct figures *figures)
{
    double seconds;
    if (!time_chain(bench, VECTOR_ELEMENTS, VECTOR_OPERATIONS, false, &seconds))
        return false;
    figures->vector_flops = 2.0 * VECTOR_ELEMENTS * VECTOR_OPERATIONS / seconds;
    return true;
}

static bool measure_launch(struct bench *bench, struct figures *figures)
{
    double seconds;
    if (!time_chain(bench, 16, LAUNCHES, true, &seconds))
        return false;
    figures->launch_seconds = seconds / LAUNCHES;
    return true;
}

static bool measure_product(struct bench *bench, enum element element, struct figures *figures)
{
    double seconds;
    const char *name = element_name(element);
    const char *text = arena_printf(
        bench->arena,
        "variable \"a\" : %s[%d,%d] state\nvariable \"b\" : %s[%d,%d] state\nvariable \"c\" : %s[%d,%d] state\n"
        "graph train {\n  %%a = read(\"a\") : %s[%d,%d]\n  %%b = read(\"b\") : %s[%d,%d]\n"
        "  %%c = matmul(%%a, %%b) : %s[%d,%d]\n  %%w = write(%%c, \"c\") : %s[%d,%d]\n}\n",
        name, PRODUCT, PRODUCT, name, PRODUCT, PRODUCT, name, PRODUCT, PRODUCT, name, PRODUCT, PRODUCT, name, PRODUCT,
        PRODUCT, name, PRODUCT, PRODUCT, name, PRODUCT, PRODUCT);
    if (!time_text(bench, text, false, &seconds))
        return false;
    figures->flops[element] = 2.0 * PRODUCT * PRODUCT * PRODUCT / seconds;
    return true;
}

bool calibration_measure(struct device *device, const struct target *target, struct figures *figures,
                         struct error *error)
{
    struct bench bench = {device, target, arena_new(), error};
    *figures = (struct figures){.name = device->name};
    bool done = measure_stream(&bench, figures) && measure_vector(&bench, figures) && measure_launch(&bench, figures);
    for (enum element element = ELEMENT_F16; done && element <= ELEMENT_F32; element++)
        if (!target_emulates(target, element))
            done = measure_product(&bench, element, figures);
    arena_free(bench.arena);
    return done;
}
