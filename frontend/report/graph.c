/* The picture is of the graph before it is fused, where each node still stands for itself; the ledger needs the whole
 * pipeline. */
#include "frontend/report/graph.h"
#include "codegen/ledger.h"
#include "ir/dot.h"
#include "runtime/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void set_note(struct report_graph *graph, const char *note)
{
    if (!graph->note)
        graph->note = file_text("%s", note);
}

/* Graphviz writes a file; a page wants the element. */
static void draw(struct report_graph *graph, const struct module *module)
{
    const struct graph *train = module_training_graph(module);
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    const char *problem = train ? dot_svg(train, out) : "the model has no training graph";
    arena_stream_close(out);
    const char *element = problem ? NULL : strstr(text, "<svg");
    if (element)
        graph->svg = file_text("%s", element);
    else
        set_note(graph, problem ? problem : "the program `dot` wrote no SVG");
    free(text);
}

/* The first error; closing the compilation prints all of them to stderr. */
static void note_diagnostics(struct report_graph *graph, const struct compilation *compilation)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    diagnostics_print(compilation->diagnostics, out);
    arena_stream_close(out);
    const char *line = strstr(text, "error[");
    while (line && line > text && line[-1] != '\n')
        line--;
    if (!line)
        line = "messages on standard error say why";
    char *note = file_text("the model in the run's folder does not compile: %.*s", (int)strcspn(line, "\n"), line);
    set_note(graph, note);
    free(note);
    free(text);
}

static void count_costs(struct report_graph *graph, const struct compilation *compilation)
{
    struct ledger ledger =
        ledger_compute(compilation->module, compilation->program, &compilation->target, compilation->arena);
    graph->ledger = ledger_json(&ledger);
    ledger_free(&ledger);
}

/* Compiles up to a pass for the picture, or all of it for the ledger. False after a note. */
static bool compile(struct report_graph *graph, const struct invocation *invocation, const char *stop_after)
{
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code) {
        struct compile_request request = {.batch = compilation.settings->batch, .stop_after = stop_after};
        if (stop_after) /* numbers in the picture are then those of `castor dump` */
            request.eval = request.batch;
        code = compilation_module(&compilation, &request);
    }
    if (!code && !stop_after)
        code = compilation_program(&compilation);
    if (code)
        note_diagnostics(graph, &compilation);
    else if (stop_after)
        draw(graph, compilation.module);
    else
        count_costs(graph, &compilation);
    compilation_close(&compilation, code);
    return !code;
}

void report_graph_make(struct report_graph *graph, const struct run_record *record)
{
    *graph = (struct report_graph){0};
    if (compile(graph, &record->invocation, "dce"))
        compile(graph, &record->invocation, NULL);
}

void report_graph_free(struct report_graph *graph)
{
    free(graph->svg);
    free(graph->note);
    json_decref(graph->ledger);
}
