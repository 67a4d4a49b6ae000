/* Recording ranges with the reference evaluator: nothing of it is in the program that trains. */
#include "frontend/record.h"
#include "frontend/measure.h"
#include "ir/evaluate.h"
#include "passes/cost.h"
#include "runtime/file.h"
#include "runtime/tensor.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { BATCHES = 2 };

struct recorder {
    struct session *session;
    struct compilation f32; /* the model before pass precision, on few examples */
    int64_t examples;
    struct ranges *ranges;
    struct error error;
};

static int64_t few_examples(const struct session *session)
{
    const struct graph *graph = module_training_graph(session->compilation.module);
    double flops = 0;
    for (ptrdiff_t i = 0; graph && i < arrlen(graph->nodes); i++)
        flops += node_flops(graph->nodes[i]);
    return measure_few_examples(flops, session->compilation.settings->batch);
}

static int compile_f32(struct recorder *recorder)
{
    int code = compilation_open_with(&recorder->f32, recorder->session->compilation.invocation, "f32");
    /* All that the pipeline has before precision, which then asks for nodes by their places. */
    struct compile_request request = {.batch = recorder->examples, .passes = "join,hoist,gradients,join,hoist,dce"};
    return code ? code : compilation_module(&recorder->f32, &request);
}

/* The first examples of a batch, as the loader gives it: row-major, examples outermost. */
static void set_inputs(const struct recorder *recorder, struct environment *environment, const void *const *fields)
{
    const struct batches *batches = &recorder->session->batches;
    const struct program_entry *entry = session_entry(recorder->session->compilation.program);
    for (int i = 0; i < batches->field_count; i++)
        for (int k = 0; k < entry->input_count; k++) {
            const struct program_input *input = &entry->inputs[k];
            if (strcmp(input->name, batches->fields[i]) != 0)
                continue;
            struct program_tensor part = {
                .element = input->tensor.element, .storage = input->tensor.element, .rank = input->tensor.rank};
            for (int axis = 0; axis < part.rank; axis++) {
                part.dimension[axis] = axis ? input->tensor.dimension[axis] : recorder->examples;
                part.order[axis] = (unsigned char)axis;
            }
            double *values = malloc(((size_t)program_tensor_elements(&part) + 1) * sizeof *values);
            if (!values)
                arena_exhausted();
            tensor_load(&part, fields[i], PROGRAM_F64, values);
            struct type type = type_make((enum element)part.element, shape_make(part.rank, part.dimension));
            environment_set_input(environment, input->name, &type, values);
            free(values);
        }
}

static void add_values(struct recorder *recorder, struct graph *graph, const struct environment *environment)
{
    struct evaluation *evaluation = evaluate_graph(graph, environment, EVALUATE_ROUNDED);
    ranges_number(graph);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        const struct tensor *value = evaluation_value(evaluation, node);
        bool counts = element_is_float(node->type.element) && node->region != REGION_UPDATE && value &&
                      node->op != OP_constant && !op_is(node->op, CLASS_EFFECT);
        if (counts)
            range_add(ranges_of(recorder->ranges, graph, node), value->values, shape_elements(&value->shape));
    }
    evaluation_free(evaluation);
}

/* A few batches with the parameters of a file; NULL: the initial ones. */
static bool record_with(struct recorder *recorder, const char *weights)
{
    struct session *session = recorder->session;
    const struct batches *batches = &session->batches;
    struct graph *graph = module_find_graph(recorder->f32.module, "train");
    struct environment *environment =
        measure_environment(session->compilation.device, session->compilation.program,
                            (uint64_t)session->compilation.settings->seed, weights, &recorder->error);
    const void **fields = calloc((size_t)batches->field_count + 1, sizeof *fields);
    if (!fields)
        arena_exhausted();
    bool done = environment && batches->start(batches->source, SPLIT_TRAIN, 0, session->compilation.settings->batch, 0,
                                              &recorder->error);
    graph_number(graph);
    for (int i = 0; done && i < BATCHES; i++) {
        int64_t count;
        done = batches->next(batches->source, SPLIT_TRAIN, fields, &count, &recorder->error);
        if (!done || !count)
            break;
        set_inputs(recorder, environment, fields);
        add_values(recorder, graph, environment);
    }
    free(fields);
    if (environment)
        environment_free(environment);
    return done;
}

/* Examples that were left out make a mean's gradients larger than they are in training. */
static void say_examples(const struct recorder *recorder, FILE *out)
{
    int64_t batch = recorder->session->compilation.settings->batch;
    if (recorder->examples >= batch)
        return;
    fprintf(out, "recorded on %lld of a batch's %lld examples: ", (long long)recorder->examples, (long long)batch);
    fprintf(out, "in training, gradients of a loss that is a mean are up to %.1f times smaller\n",
            (double)batch / (double)recorder->examples);
}

/* The values of which f16 would lose most, by name. */
static void say_losses(const struct recorder *recorder, FILE *out)
{
    enum { MOST = 8 };
    const double least = 1e-3;
    const struct graph *graph = module_find_graph(recorder->f32.module, "train");
    int said = 0;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes) && said < MOST; i++) {
        const struct node *node = graph->nodes[i];
        const struct range *range = node->name ? ranges_find(recorder->ranges, graph, node) : NULL;
        if (!range || range_lost(range, 1) < least)
            continue;
        if (!said++)
            fprintf(out, "unscaled, f16 would lose (below 2^-24) and hold as subnormals (below 2^-14):\n");
        fprintf(out, "  %-24s %6.2f %% %6.2f %%  largest %.3g\n", node->name, 100 * range_lost(range, 1),
                100 * range_subnormal(range, 1), range->largest);
    }
    if (!said)
        fprintf(out, "f16 loses under 0.1 %% of every named value, even unscaled\n");
    say_examples(recorder, out);
}

static int write_file(struct recorder *recorder, const char *path)
{
    struct file_writer writer;
    if (file_begin(&writer, path, &recorder->error)) {
        ranges_print(recorder->ranges, writer.stream);
        if (file_commit(&writer, &recorder->error))
            return 0;
    }
    error_print(&recorder->error, stderr);
    return recorder->error.code;
}

int record_ranges(struct session *session, const char *weights, const char *path, FILE *summary)
{
    struct recorder recorder = {.session = session, .examples = few_examples(session)};
    struct arena *arena = arena_new();
    recorder.ranges = ranges_new(arena);
    int code = compile_f32(&recorder);
    if (!code && !(record_with(&recorder, NULL) && (!weights || record_with(&recorder, weights)))) {
        error_print(&recorder.error, stderr);
        code = recorder.error.code;
    }
    if (!code)
        code = write_file(&recorder, path);
    if (!code && summary)
        say_losses(&recorder, summary);
    ranges_free(recorder.ranges);
    code = compilation_close(&recorder.f32, code);
    arena_free(arena);
    return code;
}
