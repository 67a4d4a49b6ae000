/* Evaluations between steps, and the weights that are kept. */
#include "runtime/clock.h"
#include "runtime/file.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const split_names[SPLIT_COUNT] = {"train", "test", "validate"};

/* NAME.safetensors, or NAME.average.safetensors. */
static bool save(struct trainer *trainer, const char *name, enum evaluated evaluated, struct error *error)
{
    if (trainer->settings->no_files)
        return true;
    bool averaged = evaluated == EVALUATED_AVERAGE;
    char *path = file_text("%s/%s%s.safetensors", trainer->result->run, name, averaged ? ".average" : "");
    bool ok = weights_save(trainer->executor, path, averaged, error);
    free(path);
    return ok;
}

bool trainer_save_last(struct trainer *trainer, struct error *error)
{
    return save(trainer, "last", EVALUATED_WEIGHTS, error) &&
           (!has_averages(trainer->program) || save(trainer, "last", EVALUATED_AVERAGE, error));
}

/* The score that chooses the best weights: the one that the settings name, else the first metric, else the first loss.
 * NULL when there is none. */
static const struct score *choosing_score(const struct trainer *trainer, const struct evaluation *evaluation)
{
    const char *wanted = trainer->settings->best;
    for (int i = 0; wanted && i < evaluation->count; i++)
        if (strcmp(evaluation->scores[i].name, wanted) == 0)
            return &evaluation->scores[i];
    for (int i = 0; !wanted && i < evaluation->count; i++)
        if (!evaluation->scores[i].loss)
            return &evaluation->scores[i];
    return !wanted && evaluation->count ? &evaluation->scores[0] : NULL;
}

/* Keeps the weights, or the averages, when no evaluation of them was better; *best is the score of the best so far. */
static bool keep_best(struct trainer *trainer, enum evaluated evaluated, const struct evaluation *evaluation,
                      double *best, struct error *error)
{
    const struct score *score = choosing_score(trainer, evaluation);
    if (!score)
        return true;
    memcpy(trainer->best_name, score->name, sizeof trainer->best_name);
    int direction = trainer->settings->best_direction ? trainer->settings->best_direction : score->loss ? -1 : 1;
    if (isnan(score->value) || (!isnan(*best) && direction * score->value <= direction * *best))
        return true;
    *best = score->value;
    return save(trainer, "best", evaluated, error);
}

static void keep_scores(struct trainer *trainer, const struct evaluation *evaluation)
{
    trainer->result->score_count = evaluation->count;
    memcpy(trainer->result->scores, evaluation->scores, sizeof evaluation->scores);
}

/* Evaluates the weights, then their averages where there are any, and logs both. */
static bool evaluate_on(struct trainer *trainer, enum split split, struct evaluation evaluations[2],
                        struct error *error)
{
    bool averages = has_averages(trainer->program);
    for (int i = 0; i <= averages; i++)
        if (!evaluate(trainer->executor, trainer->batches, split, (enum evaluated)i, &evaluations[i], error))
            return false;
    keep_scores(trainer, &evaluations[EVALUATED_WEIGHTS]);
    log_evaluation(&trainer->log, trainer->finished, trainer_state(trainer).epoch, &evaluations[EVALUATED_WEIGHTS],
                   averages ? &evaluations[EVALUATED_AVERAGE] : NULL, split_names[split],
                   split_names[trainer->best_split]);
    return true;
}

bool trainer_evaluate(struct trainer *trainer, struct evaluation evaluations[2], struct error *error)
{
    if (!evaluate_on(trainer, trainer->best_split, evaluations, error))
        return false;
    trainer->evaluated = trainer->finished;
    bool ok = keep_best(trainer, EVALUATED_WEIGHTS, &evaluations[0], &trainer->result->best, error) &&
              (!has_averages(trainer->program) ||
               keep_best(trainer, EVALUATED_AVERAGE, &evaluations[1], &trainer->result->best_average, error));
    trainer->clock = clock_seconds();
    return ok;
}

bool trainer_final_test(struct trainer *trainer, struct error *error)
{
    struct evaluation evaluations[2];
    if (trainer->best_split != SPLIT_VALIDATE || !trainer->batches->examples[SPLIT_TEST])
        return true;
    return evaluate_on(trainer, SPLIT_TEST, evaluations, error);
}
