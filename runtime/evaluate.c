/* Evaluation: every example of a set exactly once, whole batches by the entry `eval`, the rest by the one compiled for
 * as many examples as are left (`eval_tail`). */
#include "runtime/clock.h"
#include "runtime/feeder.h"
#include "runtime/interrupt.h"
#include "runtime/tally.h"
#include "runtime/totals.h"
#include "runtime/weights.h"

#include <string.h>

struct evaluator {
    struct executor *executor;
    enum split split;
    enum evaluated evaluated;
    struct feeder whole, tail; /* tail.program is NULL when every batch is whole */
    struct tally tally;
    struct totals totals;
    int64_t examples;
};

/* The evaluating entry (they are named eval, eval_tail, …, or average, …) for batches of so many examples; 0: the first
 * one. */
static const char *find_entry(const struct program *program, enum evaluated evaluated, int64_t batch)
{
    const char *name = evaluated == EVALUATED_AVERAGE ? "average" : "eval";
    for (int i = 0; i < program->entry_count; i++)
        if (strncmp(program->entries[i].name, name, strlen(name)) == 0 &&
            (!batch || program->entries[i].batch == batch))
            return program->entries[i].name;
    return NULL;
}

bool has_averages(const struct program *program)
{
    return find_entry(program, EVALUATED_AVERAGE, 0) != NULL;
}

static const char *const set_names[] = {"training", "test", "validation"};

/* The name of the entry for whole batches, and *tail, NULL when every batch is whole. False with an error set when no
 * entry takes what is left. */
static bool find_entries(const struct program *program, enum evaluated evaluated, const struct batches *batches,
                         enum split split, const char **whole, const char **tail, struct error *error)
{
    *whole = find_entry(program, evaluated, 0);
    *tail = NULL;
    const struct program_entry *entry = *whole ? program_find_entry(program, *whole) : NULL;
    long long batch = entry ? entry->batch : 0, examples = batches->examples[split];
    long long rest = batch > 0 ? examples % batch : 0;
    if (!rest || (*tail = find_entry(program, evaluated, rest)))
        return true;
    error_set(error, "the %s set has %lld examples, and the program has no entry that evaluates the last %lld of them",
              set_names[split], examples, rest);
    error_hint(error,
               "it was compiled for a set of another size: compile it for these data, or let the set have a multiple "
               "of %lld examples",
               batch);
    return false;
}

bool evaluation_check(const struct program *program, const struct batches *batches, enum split split,
                      struct error *error)
{
    const char *whole, *tail;
    return find_entries(program, EVALUATED_WEIGHTS, batches, split, &whole, &tail, error) &&
           (!has_averages(program) || find_entries(program, EVALUATED_AVERAGE, batches, split, &whole, &tail, error));
}

static bool open_feeders(struct evaluator *evaluator, const struct batches *batches, struct error *error)
{
    struct executor *executor = evaluator->executor;
    const char *whole, *tail;
    return find_entries(executor_program(executor), evaluator->evaluated, batches, evaluator->split, &whole, &tail,
                        error) &&
           feeder_open(&evaluator->whole, executor, whole ? whole : "eval", batches, error) &&
           (!tail || feeder_open(&evaluator->tail, executor, tail, batches, error));
}

/* Metrics are told in the order in which the model declares them, which that of the entry's outputs is. */
static bool order_metrics(struct evaluator *evaluator)
{
    const struct program_entry *entry = evaluator->whole.program;
    bool ok = true;
    for (int i = 0; i < entry->output_count && ok; i++) {
        const struct program_output *output = &entry->outputs[i];
        bool metric = output->kind == PROGRAM_METRIC || output->kind == PROGRAM_NUMERATOR;
        const char *name = metric                          ? output->name
                           : output->kind == PROGRAM_TOTAL ? totals_metric(&evaluator->totals, output->name)
                                                           : NULL;
        ok = !name || tally_expect(&evaluator->tally, name);
    }
    return ok;
}

/* Runs one batch of `count` examples. */
static bool run_batch(struct evaluator *evaluator, int64_t count, struct error *error)
{
    struct feeder *feeder = &evaluator->whole;
    if (count != feeder->program->batch) {
        feeder = &evaluator->tail;
        if (!feeder->program || feeder->program->batch != count)
            return error_set(error, "no entry of the program evaluates a batch of %lld examples", (long long)count);
        feeder_take(feeder, &evaluator->whole);
    }
    uint64_t ticket = executor_launch(evaluator->executor, feeder->entry, feeder->inputs, error);
    const double *results = ticket ? executor_results(evaluator->executor, ticket, error) : NULL;
    if (!results)
        return false;
    evaluator->examples += count;
    if (!tally_add(&evaluator->tally, feeder->program, results, count))
        return error_set(error, "out of memory");
    return totals_add(&evaluator->totals, feeder->entry, error);
}

/* On the simulated GPU an evaluation can take minutes: it ends early, too, where the run is to. */
static bool run_batches(struct evaluator *evaluator, const struct batches *batches, struct error *error)
{
    int64_t count = 0, wanted = batches->examples[evaluator->split];
    if (!batches->start(batches->source, evaluator->split, 0, evaluator->whole.program->batch, 0, error))
        return false;
    do {
        if (interrupt_requested())
            return error_set_code(error, ERROR_INTERRUPTED, "interrupted in an evaluation, after %lld of %lld examples",
                                  (long long)evaluator->examples, (long long)wanted);
        if (!feeder_next(&evaluator->whole, evaluator->split, &count, error) ||
            (count && !run_batch(evaluator, count, error)))
            return false;
    } while (count);
    return evaluator->examples == wanted ||
           error_set(error, "the data gave %lld of %lld examples", (long long)evaluator->examples, (long long)wanted);
}

bool evaluate(struct executor *executor, const struct batches *batches, enum split split, enum evaluated evaluated,
              struct evaluation *evaluation, struct error *error)
{
    struct evaluator evaluator = {.executor = executor, .split = split, .evaluated = evaluated};
    double begin = clock_seconds();
    *evaluation = (struct evaluation){0};
    if (!batches->examples[split])
        return error_set(error, "the data has no %s set", set_names[split]);
    bool ok = totals_open(&evaluator.totals, executor, error) && open_feeders(&evaluator, batches, error) &&
              (order_metrics(&evaluator) || error_set(error, "out of memory")) &&
              run_batches(&evaluator, batches, error) && totals_finish(&evaluator.totals, &evaluator.tally, error);
    ok = ok && (tally_scores(&evaluator.tally, &evaluation->scores) || error_set(error, "out of memory"));
    if (ok) {
        evaluation->examples = evaluator.examples;
        evaluation->seconds = clock_seconds() - begin;
    }
    feeder_close(&evaluator.whole);
    feeder_close(&evaluator.tail);
    tally_free(&evaluator.tally);
    totals_close(&evaluator.totals);
    return ok;
}

bool executor_initialise(struct executor *executor, uint64_t seed, const char *weights, bool partial,
                         struct error *error)
{
    executor_set_integer(executor, "train/seed", (int64_t)seed);
    if (!executor_run(executor, "init", error))
        return false;
    executor_set_integer(executor, "train/seed", (int64_t)seed);
    return weights ? weights_load(executor, weights, partial, error) : executor_run(executor, "refresh", error);
}

bool evaluate_weights(struct device *device, const struct program *program, const struct batches *batches,
                      const char *weights, bool partial, uint64_t seed, struct evaluation *evaluation,
                      struct error *error)
{
    struct executor *executor = executor_new(device, program, false, error);
    bool ok = executor && executor_initialise(executor, seed, weights, partial, error) &&
              evaluate(executor, batches, SPLIT_TEST, EVALUATED_WEIGHTS, evaluation, error);
    executor_free(executor);
    return ok;
}
