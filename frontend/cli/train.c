/* castor train, eval and profile: compile, open the data, and hand both to the runtime's loops. */
#include "frontend/record.h"
#include "runtime/file.h"
#include "runtime/shell.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --record-ranges and --histogram, after training. */
static int record(struct session *session, const char *run)
{
    const struct invocation *invocation = session->compilation.invocation;
    const char *path = flag_text(invocation, FLAG_record_ranges);
    char *weights = file_text("%s/last.safetensors", run), *histogram = file_text("%s/histogram.json", run);
    int code = path ? record_ranges(session, weights, path, NULL) : 0;
    if (!code && flag_given(invocation, FLAG_histogram))
        code = record_ranges(session, weights, histogram, stderr);
    free(weights);
    free(histogram);
    return code;
}

/* The command that goes on with this run, but for its --resume; malloced. */
static char *command_again(const struct invocation *invocation)
{
    static const enum flag left_out[] = {FLAG_out, FLAG_resume, FLAG_weights, FLAG_weights_partial};
    size_t size = 0;
    char *text = NULL;
    FILE *out = arena_stream(&text, &size);
    fputs("castor train ", out);
    shell_put_word(out, invocation->words[0]);
    for (int flag = 0; flag < FLAG_COUNT; flag++) {
        bool out_of_place = false;
        for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
            out_of_place |= flag == (int)left_out[i];
        for (int i = 0; !out_of_place && i < flag_count(invocation, (enum flag)flag); i++) {
            fprintf(out, " --%s", flag_spelling((enum flag)flag));
            if (*invocation->given[flag][i]) {
                fputc(' ', out);
                shell_put_word(out, invocation->given[flag][i]);
            }
        }
    }
    arena_stream_close(out);
    return text;
}

/* --resume goes on with a run in its folder, with its weights. */
static int check_resume(const struct invocation *invocation)
{
    static const enum flag others[] = {FLAG_out, FLAG_weights, FLAG_weights_partial};
    for (size_t i = 0; flag_given(invocation, FLAG_resume) && i < sizeof others / sizeof *others; i++)
        if (flag_given(invocation, others[i]))
            return usage_error(invocation, "--resume goes on with a run as it stands: it takes no --%s",
                               flag_spelling(others[i]));
    return 0;
}

/* What is written after the training is tried before it. */
static int check_outputs(const struct invocation *invocation)
{
    const char *ranges = flag_text(invocation, FLAG_record_ranges);
    struct error error = {0};
    if (!flag_output(invocation, FLAG_record_ranges))
        return EXIT_USAGE;
    return !ranges || file_try(ranges, &error) ? 0 : report_failure(&error);
}

int command_train(const struct invocation *invocation)
{
    struct session session;
    int code = check_resume(invocation);
    if (!code)
        code = check_outputs(invocation);
    if (code)
        return code;
    code = session_open(&session, invocation, NULL, true, true);
    if (!code) {
        struct train_settings settings = session_train_settings(&session);
        char *again = command_again(invocation);
        settings.command = again;
        struct train_result *result = calloc(1, sizeof *result);
        struct error error = {0};
        if (!result)
            arena_exhausted();
        if (!train(session.compilation.device, session.compilation.program, &session.batches, &settings, result,
                   &error))
            code = report_failure(&error);
        if (!code)
            code = record(&session, result->run);
        scores_free(&result->scores);
        free(result);
        free(again);
    }
    return session_close(&session, code);
}

static void print_evaluation(const struct invocation *invocation, const struct evaluation *evaluation)
{
    json_t *scores = json_object();
    for (int i = 0; i < evaluation->scores.count; i++) {
        const struct score *score = &evaluation->scores.list[i];
        json_object_set_new(scores, score->name, isfinite(score->value) ? json_real(score->value) : json_null());
        if (!flag_given(invocation, FLAG_json))
            printf("%-12s %.6g\n", score->name, score->value);
    }
    if (flag_given(invocation, FLAG_json)) {
        json_t *row = json_pack("{s:O, s:I}", "eval", scores, "examples", (json_int_t)evaluation->examples);
        json_dumpf(row, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(row);
    } else {
        printf("%-12s %lld\n", "examples", (long long)evaluation->examples);
    }
    json_decref(scores);
}

int command_eval(const struct invocation *invocation)
{
    struct session session;
    if (!flag_given(invocation, FLAG_weights))
        return usage_error(invocation,
                           "it needs --weights FILE: castor train leaves best.safetensors in its run folder");
    int code = session_open(&session, invocation, NULL, false, true);
    if (!code) {
        struct evaluation evaluation = {0};
        struct error error = {0};
        if (evaluate_weights(session.compilation.device, session.compilation.program, &session.batches,
                             flag_text(invocation, FLAG_weights), flag_given(invocation, FLAG_weights_partial),
                             (uint64_t)session.compilation.settings->seed, &evaluation, &error))
            print_evaluation(invocation, &evaluation);
        else
            code = report_failure(&error);
        scores_free(&evaluation.scores);
    }
    return session_close(&session, code);
}

/* ---- profile ---- */

static bool is_library(const struct program_step *step)
{
    return step->kind == PROGRAM_MATMUL_STEP || step->kind == PROGRAM_CONV_STEP;
}

/* By the cost model's roofline, from what the step says of itself. */
static double predicted_seconds(const struct program_step *step, const struct target *target)
{
    double rate = target->vector_flops;
    if (step->kind == PROGRAM_MATMUL_STEP)
        rate = target->flops[step->matmul.a];
    if (step->kind == PROGRAM_CONV_STEP)
        rate = target->flops[step->conv.kind == PROGRAM_CONV_DATA ? step->conv.y_element : step->conv.x_element];
    double moving = target->bandwidth > 0 ? (double)step->bytes / target->bandwidth : 0;
    double computing = rate > 0 ? (double)step->flops / rate : 0;
    return target->launch_seconds + (moving > computing ? moving : computing);
}

static json_t *profile_row(const struct program_step *step, const struct executor_cost *cost,
                           const struct target *target)
{
    json_t *row =
        json_pack("{s:s, s:s, s:b, s:f, s:f, s:I, s:I}", "name", step->name, "by", cost->by, "library",
                  is_library(step), "us", 1e6 * cost->seconds, "predicted_us", 1e6 * predicted_seconds(step, target),
                  "bytes", (json_int_t)step->bytes, "flops", (json_int_t)step->flops);
    for (int i = 0; i < cost->count; i++)
        json_object_set_new(row, cost->counts[i].name, json_real(cost->counts[i].value));
    return row;
}

static void print_counts(const struct executor_cost *cost)
{
    int printed = 0;
    for (int i = 0; i < cost->count; i++)
        if (cost->counts[i].value > 0) {
            char name[64];
            snprintf(name, sizeof name, "%s", cost->counts[i].name);
            for (char *at = name; (at = strchr(at, '_'));)
                *at = ' ';
            printf("%s%.6g %s", printed++ ? ", " : "                                      ", cost->counts[i].value,
                   name);
        }
    if (printed)
        putchar('\n');
}

/* One line a step, and below it what the device counts. */
static void print_steps(const struct session *session, const struct program_entry *entry,
                        const struct executor_cost *costs, double total)
{
    const struct compilation *compilation = &session->compilation;
    printf("%9s %6s %9s %8s %9s  %s\n", "us", "share", "predicted", "GB/s", "GFLOP/s", "step");
    for (int i = 0; i < entry->step_count; i++) {
        const struct program_step *step = &entry->steps[i];
        double seconds = costs[i].seconds, time = seconds > 0 ? seconds : 1e-9;
        bool strip = program_find_strip(entry, i);
        printf("%9.1f %5.1f%% %9.1f %8.2f %9.2f  %s %s%s\n", 1e6 * seconds, 100 * seconds / total,
               1e6 * predicted_seconds(step, &compilation->target), 1e-9 * (double)step->bytes / time,
               1e-9 * (double)step->flops / time, costs[i].by, step->name, strip ? ", by strips" : "");
        print_counts(&costs[i]);
    }
}

static void print_profile(const struct session *session, const struct program_entry *entry,
                          const struct executor_cost *costs, double load_seconds)
{
    const struct compilation *compilation = &session->compilation;
    double total = 0, library = 0;
    json_t *rows = json_array();
    for (int i = 0; i < entry->step_count; i++) {
        total += costs[i].seconds;
        library += is_library(&entry->steps[i]) ? costs[i].seconds : 0;
        json_array_append_new(rows, profile_row(&entry->steps[i], &costs[i], &compilation->target));
    }
    json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:o}", "name", compilation->module->name, "step_ms",
                            1e3 * total, "examples_per_s", (double)entry->batch / total, "library_share",
                            library / total, "compile_ms", 1e3 * (compilation->seconds + load_seconds), "arena_bytes",
                            (json_int_t)entry->scratch_bytes, "steps", rows);
    if (flag_given(compilation->invocation, FLAG_json)) {
        json_dumpf(row, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_steps(session, entry, costs, total);
        printf("%9.1f us a step, %.0f examples/s, %.0f%% in matrix products and convolutions\n", 1e6 * total,
               (double)entry->batch / total, 100 * library / total);
    }
    json_decref(row);
}

int command_profile(const struct invocation *invocation)
{
    struct session session;
    int code = session_open(&session, invocation, NULL, true, false);
    int64_t runs = 50;
    if (!code && !flag_integer(invocation, FLAG_steps, 1, &runs))
        code = EXIT_USAGE;
    if (!code) {
        const struct program_entry *entry = session_entry(session.compilation.program);
        struct executor_cost *costs = calloc((size_t)entry->step_count + 1, sizeof *costs);
        struct train_profile profile = {0};
        struct error error = {0};
        if (!costs)
            arena_exhausted();
        if (train_profile(session.compilation.device, session.compilation.program, &session.batches,
                          (uint64_t)session.compilation.settings->seed, (int)runs, entry->name, costs, &profile,
                          &error))
            print_profile(&session, entry, costs, profile.load_seconds);
        else
            code = report_failure(&error);
        if (!code && !profile.finite)
            fprintf(stderr, "castor: the loss became inf or NaN in these steps: telling where takes time that training "
                            "does not\n");
        free(costs);
    }
    return session_close(&session, code);
}
