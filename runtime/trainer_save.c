/* Evaluations between steps, and the weights that are kept. */
#include "runtime/clock.h"
#include "runtime/file.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const split_names[SPLIT_COUNT] = {"train", "test", "validate"};

static bool save(struct trainer *trainer, const char *name, struct error *error)
{
    if (trainer->settings->no_files)
        return true;
    char *path = file_text("%s/%s", trainer->result->run, name);
    bool ok = weights_save(trainer->executor, path, error);
    free(path);
    return ok;
}

bool trainer_save_last(struct trainer *trainer, struct error *error)
{
    return save(trainer, "last.safetensors", error);
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

static bool keep_best(struct trainer *trainer, const struct evaluation *evaluation, struct error *error)
{
    const struct score *score = choosing_score(trainer, evaluation);
    if (!score)
        return true;
    memcpy(trainer->best_name, score->name, sizeof trainer->best_name);
    int direction = trainer->settings->best_direction ? trainer->settings->best_direction : score->loss ? -1 : 1;
    double best = trainer->result->best;
    if (isnan(score->value) || (!isnan(best) && direction * score->value <= direction * best))
        return true;
    trainer->result->best = score->value;
    return save(trainer, "best.safetensors", error);
}

static void keep_scores(struct trainer *trainer, const struct evaluation *evaluation)
{
    trainer->result->score_count = evaluation->count;
    memcpy(trainer->result->scores, evaluation->scores, sizeof evaluation->scores);
}

bool trainer_evaluate(struct trainer *trainer, struct evaluation *evaluation, struct error *error)
{
    if (!evaluate(trainer->executor, trainer->batches, trainer->best_split, evaluation, error))
        return false;
    trainer->evaluated = trainer->finished;
    keep_scores(trainer, evaluation);
    log_evaluation(&trainer->log, trainer->finished, trainer_state(trainer).epoch, evaluation,
                   split_names[trainer->best_split], split_names[trainer->best_split]);
    bool ok = keep_best(trainer, evaluation, error);
    trainer->clock = clock_seconds();
    return ok;
}

bool trainer_final_test(struct trainer *trainer, struct error *error)
{
    struct evaluation evaluation;
    if (trainer->best_split != SPLIT_VALIDATE || !trainer->batches->examples[SPLIT_TEST])
        return true;
    if (!evaluate(trainer->executor, trainer->batches, SPLIT_TEST, &evaluation, error))
        return false;
    keep_scores(trainer, &evaluation);
    log_evaluation(&trainer->log, trainer->finished, trainer_state(trainer).epoch, &evaluation, split_names[SPLIT_TEST],
                   split_names[SPLIT_VALIDATE]);
    return true;
}
