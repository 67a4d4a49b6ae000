/* castor compare: policies side by side. Each is compiled, counted, timed and held against the evaluator in f64; with
 * --epochs each also trains. */
#include "codegen/ledger.h"
#include "frontend/measure.h"
#include "frontend/session.h"

#include <jansson.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* What is known of one policy. */
struct row {
    const char *name, *verdict; /* in the table's arena */
    struct ledger ledger;
    int64_t nodes_half, nodes_f32;
    double measured_seconds;
    struct accuracy accuracy;
    bool ran; /* there is a device to run on; else only what the compiler knows */
    bool trained;
    struct train_result *result; /* malloced */
};

struct table {
    const struct invocation *invocation;
    struct arena *arena;
    struct row *rows; /* stb_ds array */
};

/* ---- counting ---- */

/* Nodes that round: no leaves, no movement, no casts; forward and backward. */
static bool counts(const struct node *node)
{
    return element_is_float(node->type.element) && node->region != REGION_UPDATE && node->op != OP_cast &&
           !op_is(node->op, CLASS_LEAF) && !op_is(node->op, CLASS_MOVEMENT) && !op_is(node->op, CLASS_EFFECT);
}

static void count_nodes(struct row *row, const struct module *module)
{
    const struct graph *graph = module_training_graph(module);
    for (ptrdiff_t i = 0; graph && i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        if (!counts(node))
            continue;
        /* A product that is rounded at the end of its chain is in half by its operands. */
        bool half = element_is_half(node->type.element) ||
                    (op_is(node->op, CLASS_CONTRACTION) && element_is_half(node->operands[0]->type.element));
        row->nodes_half += half;
        row->nodes_f32 += !half;
    }
}

/* ---- one policy ---- */

static int compile_step(struct compilation *compilation, struct table *table, struct row *row, const char *policy)
{
    int code = compilation_open_with(compilation, table->invocation, policy);
    if (!code)
        code = compilation_wants_training(compilation);
    struct compile_request request = {.batch = code ? 0 : compilation->settings->batch, .observe = true};
    if (!code)
        code = compilation_module(compilation, &request);
    if (!code)
        code = compilation_program(compilation);
    if (code)
        return code;
    const char *verdict = compilation->policy->verdict;
    row->name = arena_intern(table->arena, compilation_policy_text(compilation));
    row->verdict = verdict ? arena_intern(table->arena, verdict) : NULL;
    row->ledger = ledger_compute(compilation->module, compilation->program, &compilation->target, table->arena);
    row->ledger.name = arena_intern(table->arena, row->ledger.name ? row->ledger.name : "");
    count_nodes(row, compilation->module);
    return 0;
}

static int count_and_time(struct table *table, struct row *row, const char *policy)
{
    struct compilation compilation;
    struct error error = {0};
    int code = compile_step(&compilation, table, row, policy);
    struct device_facts facts;
    row->ran = !code && device_present(&compilation.choice, &facts, &error);
    if (!row->ran)
        return compilation_close(&compilation, code);
    code = compilation_device(&compilation);
    if (!code && !measure_seconds(compilation.device, compilation.program, (uint64_t)compilation.settings->seed,
                                  &row->measured_seconds, &error))
        code = report_failure(&error);
    return compilation_close(&compilation, code);
}

static int hold_against_evaluator(struct table *table, struct row *row, const char *policy)
{
    struct compilation compilation;
    struct error error = {0};
    int code = compilation_open_with(&compilation, table->invocation, policy);
    if (!code) {
        struct compile_request request = {
            .batch = measure_few_examples(MEASURE_BATCHES * (double)row->ledger.flops, compilation.settings->batch),
            .fetch_gradients = true,
            .no_update = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = compilation_program(&compilation);
    if (!code)
        code = compilation_device(&compilation);
    if (!code && !measure_accuracy(compilation.device, compilation.program, compilation.module,
                                   (uint64_t)compilation.settings->seed, &row->accuracy, &error))
        code = report_failure(&error);
    return compilation_close(&compilation, code);
}

static int train_it(struct table *table, struct row *row, const char *policy)
{
    struct session session;
    int code = session_open(&session, table->invocation, policy, true, true);
    row->result = calloc(1, sizeof *row->result);
    if (!row->result)
        arena_exhausted();
    if (!code) {
        struct train_settings settings = session_train_settings(&session);
        struct error error = {0};
        settings.no_files = settings.quiet = true;
        settings.json = false;
        row->trained = row->result && train(session.compilation.device, session.compilation.program, &session.batches,
                                            &settings, row->result, &error);
        if (!row->trained)
            code = report_failure(&error);
    }
    return session_close(&session, code);
}

static int add_row(struct table *table, const char *policy)
{
    struct row row = {0};
    int code = count_and_time(table, &row, policy);
    if (!code && row.ran)
        code = hold_against_evaluator(table, &row, policy);
    bool trains = flag_given(table->invocation, FLAG_epochs) || flag_given(table->invocation, FLAG_steps);
    if (!code && trains && row.ran)
        code = train_it(table, &row, policy);
    arrput(table->rows, row);
    return code;
}

/* ---- printing ---- */

/* The metric that best weights are chosen by, else the loss. */
static const struct score *main_score(const struct row *row)
{
    const struct scores *scores = row->trained ? &row->result->scores : NULL;
    for (int i = 0; scores && i < scores->count; i++)
        if (!scores->list[i].loss)
            return &scores->list[i];
    return scores && scores->count ? &scores->list[0] : NULL;
}

static double relative(const struct accuracy *accuracy)
{
    return accuracy->gradient_magnitude > 0 ? accuracy->gradient / accuracy->gradient_magnitude : accuracy->gradient;
}

static void print_row(const struct row *row)
{
    const double mega = 1e6, milli = 1e3;
    const struct ledger *ledger = &row->ledger;
    printf("%-16s %4lld/%-4lld %5llu + %-2llu %8llu %9.2f %9.2f %10.3f", row->name, (long long)row->nodes_half,
           (long long)row->nodes_half + row->nodes_f32, (unsigned long long)ledger->casts_fused,
           (unsigned long long)ledger->casts_standalone, (unsigned long long)ledger->launches,
           (double)ledger->bytes / mega, (double)ledger->arena_peak / mega, milli * ledger->predicted_seconds);
    if (row->ran)
        printf(" %9.3f   %9.2e  %9.2e", milli * row->measured_seconds, row->accuracy.loss, relative(&row->accuracy));
    else
        printf(" %9s   %9s  %9s", "-", "-", "-");
    const struct score *score = main_score(row);
    if (score)
        printf("  %s %.4f, %lld of %lld steps skipped", score->name, score->value, (long long)row->result->skipped,
               (long long)row->result->steps);
    if (score && isfinite(row->result->scale))
        printf(", scale %g", row->result->scale);
    putchar('\n');
}

static void print_table(const struct table *table)
{
    printf("%-16s %-9s %-10s %8s %9s %9s %10s %9s   %9s  %9s\n", "policy", "half/all", "casts", "launches", "MB",
           "arena MB", "predicted", "measured", "loss off", "grad off");
    for (ptrdiff_t i = 0; i < arrlen(table->rows); i++)
        print_row(&table->rows[i]);
    printf("\nhalf/all: nodes that round to half, of all that round. casts: fused + standalone. Times in ms a step.\n"
           "off: root mean square against f64, of the loss, and of the gradients relative to their own.\n");
    for (ptrdiff_t i = 0; i < arrlen(table->rows); i++)
        if (table->rows[i].verdict)
            printf("%s\n", table->rows[i].verdict);
}

/* A number, null where JSON has none for it. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *row_json(const struct row *row)
{
    json_t *object = ledger_json(&row->ledger);
    json_object_set_new(object, "policy", json_string(row->name));
    json_object_set_new(object, "nodes_half", json_integer(row->nodes_half));
    json_object_set_new(object, "nodes_f32", json_integer(row->nodes_f32));
    json_object_set_new(object, "measured_ms", real(row->ran ? 1e3 * row->measured_seconds : NAN));
    json_object_set_new(object, "loss_rmse", real(row->ran ? row->accuracy.loss : NAN));
    json_object_set_new(object, "grad_rmse", real(row->ran ? row->accuracy.gradient : NAN));
    json_object_set_new(object, "loss_rms", real(row->accuracy.loss_magnitude));
    json_object_set_new(object, "grad_rms", real(row->accuracy.gradient_magnitude));
    json_object_set_new(object, "loss_rmse_op_by_op", real(row->accuracy.rounded_loss));
    json_object_set_new(object, "grad_rmse_op_by_op", real(row->accuracy.rounded_gradient));
    if (row->verdict)
        json_object_set_new(object, "verdict", json_string(row->verdict));
    const struct score *score = main_score(row);
    if (score)
        json_object_set_new(object, score->name, real(score->value));
    if (row->trained) {
        json_object_set_new(object, "steps", json_integer(row->result->steps));
        json_object_set_new(object, "skipped", json_integer(row->result->skipped));
        json_object_set_new(object, "scale", real(row->result->scale));
    }
    return object;
}

static void print_json(const struct table *table)
{
    json_t *array = json_array();
    for (ptrdiff_t i = 0; i < arrlen(table->rows); i++)
        json_array_append_new(array, row_json(&table->rows[i]));
    json_dumpf(array, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(array);
}

int command_compare(const struct invocation *invocation)
{
    static const char *const usual[] = {"f32", "autocast", "almost", "paint", "cost"};
    struct table table = {.invocation = invocation, .arena = arena_new()};
    int given = flag_count(invocation, FLAG_policy), code = 0;
    int count = given ? given : (int)(sizeof usual / sizeof *usual);
    for (int i = 0; i < count && !code; i++)
        code = add_row(&table, given ? invocation->given[FLAG_policy][i] : usual[i]);
    if (!code && flag_given(invocation, FLAG_json))
        print_json(&table);
    else if (!code)
        print_table(&table);
    for (ptrdiff_t i = 0; i < arrlen(table.rows); i++) {
        ledger_free(&table.rows[i].ledger);
        if (table.rows[i].result)
            scores_free(&table.rows[i].result->scores);
        free(table.rows[i].result);
    }
    arrfree(table.rows);
    arena_free(table.arena);
    return code;
}
