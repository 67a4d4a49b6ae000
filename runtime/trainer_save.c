/* Evaluations between steps, and the weights and checkpoints that are kept. */
#include "runtime/clock.h"
#include "runtime/file.h"
#include "runtime/trainer_files.h"
#include "runtime/weights.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT = 2 }; /* checkpoints that stay when the settings do not say */

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

/* ---- checkpoints ---- */

static char *last_path(const char *run)
{
    return file_text("%s/last.safetensors", run);
}

static char *step_path(const char *run, int64_t step)
{
    return file_text("%s/step-%08lld.safetensors", run, (long long)step);
}

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The steps of the run's older checkpoints, the newest first, malloced; NULL with an error set. */
static int64_t *find_steps(const char *run, int *count, struct error *error)
{
    int room = 16;
    int64_t *steps = malloc(sizeof *steps * (size_t)room);
    DIR *folder = opendir(run);
    *count = 0;
    if (!folder)
        error_set_system(error, run, "no such run");
    for (struct dirent *entry; steps && folder && (entry = readdir(folder));) {
        long long step;
        int end = 0;
        if (sscanf(entry->d_name, "step-%lld.safetensors%n", &step, &end) != 1 || !end || entry->d_name[end])
            continue;
        if (*count == room) {
            int64_t *grown = realloc(steps, sizeof *steps * (size_t)(room *= 2));
            if (!grown)
                free(steps);
            steps = grown;
        }
        if (steps)
            steps[(*count)++] = step;
    }
    if (folder)
        closedir(folder);
    if (!steps)
        error_set(error, "out of memory");
    else if (folder)
        qsort(steps, (size_t)*count, sizeof *steps, descending);
    else
        free(steps);
    return folder ? steps : NULL;
}

/* NAME.PID.tmp, as file_begin calls what is not whole yet; others' temporary files have other names. */
static bool is_unfinished(const char *name)
{
    static const char digits[] = "0123456789";
    const char *end = strrchr(name, '.'), *number = end;
    while (number && number > name && strchr(digits, number[-1]))
        number--;
    return end && strcmp(end, ".tmp") == 0 && number < end && number > name && number[-1] == '.';
}

/* Removes what a process that was killed left half-written. */
static void remove_unfinished(const char *run)
{
    DIR *folder = opendir(run);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!is_unfinished(entry->d_name))
            continue;
        char *path = file_text("%s/%s", run, entry->d_name);
        unlink(path);
        free(path);
    }
    if (folder)
        closedir(folder);
}

/* The checkpoint called last gets its step as a second name, which it keeps when the new one takes the first. Where the
 * file system knows no second names it is renamed. */
static bool keep_previous(const struct trainer *trainer, const char *last, struct error *error)
{
    if (trainer->saved_step < 0 || trainer->saved_apart)
        return true;
    char *path = step_path(trainer->result->run, trainer->saved_step);
    bool ok = link(last, path) == 0 || (errno == EEXIST && unlink(path) == 0 && link(last, path) == 0) ||
              rename(last, path) == 0 || error_set_system(error, path, "cannot keep the checkpoint before");
    free(path);
    return ok;
}

/* Removes older checkpoints beyond those to keep, and such of steps that lie ahead: a resumed run takes them again. */
static bool remove_old(const struct trainer *trainer, struct error *error)
{
    const char *run = trainer->result->run;
    int64_t keep = trainer->settings->keep ? trainer->settings->keep : KEPT, kept = 1;
    int count;
    int64_t *steps = find_steps(run, &count, error);
    for (int i = 0; steps && i < count; i++) {
        bool ahead = steps[i] > trainer->launched || (steps[i] == trainer->launched && !trainer->micro);
        if (!ahead && kept++ < keep)
            continue;
        char *path = step_path(run, steps[i]);
        unlink(path);
        free(path);
    }
    free(steps);
    return steps;
}

static bool save_checkpoint(struct trainer *trainer, struct error *error)
{
    char *last = last_path(trainer->result->run);
    bool ok = log_sync(&trainer->log, error) && keep_previous(trainer, last, error) &&
              trainer_write_checkpoint(trainer, last, error);
    free(last);
    if (!ok)
        return false;
    trainer->saved_step = trainer->launched;
    trainer->saved_micro = trainer->micro;
    trainer->saved_evaluated = trainer->evaluated;
    trainer->saved_apart = trainer->saved_whole = false;
    return true;
}

bool trainer_save_last(struct trainer *trainer, struct error *error)
{
    bool saved = trainer->saved_step == trainer->launched && trainer->saved_micro == trainer->micro &&
                 trainer->saved_evaluated == trainer->evaluated && !trainer->saved_apart;
    if (trainer->settings->no_files || (saved && trainer->saved_whole))
        return true;
    trainer->saved_whole = (saved || save_checkpoint(trainer, error)) && remove_old(trainer, error) &&
                           (!has_averages(trainer->program) || save(trainer, "last", EVALUATED_AVERAGE, error));
    return trainer->saved_whole;
}

/* Opens checkpoint number `number`, 0 the last one; NULL with an error set, *none when there are no more. */
static struct safetensors *open_checkpoint(const char *run, const int64_t *steps, int count, int number, bool *none,
                                           struct error *error)
{
    *none = number > count;
    if (*none)
        return NULL;
    char *path = number ? step_path(run, steps[number - 1]) : last_path(run);
    struct safetensors *file = safetensors_open(path, error);
    if (file && !trainer_is_checkpoint(file, error)) {
        safetensors_close(file);
        file = NULL;
    }
    free(path);
    return file;
}

bool trainer_resume(struct trainer *trainer, struct error *error)
{
    const char *run = trainer->settings->resume;
    struct error first = {0};
    struct safetensors *file = NULL;
    bool none = false;
    int count;
    int64_t *steps = find_steps(run, &count, error);
    for (int i = 0; steps && !file && !none; i++) {
        struct error reason = {0};
        file = open_checkpoint(run, steps, count, i, &none, &reason);
        if (i == 0)
            first = reason;
        else if (!file && !none)
            error_print(&reason, stderr);
        else if ((trainer->saved_apart = file))
            fprintf(stderr, "castor: %s\ncastor: going on from %s\n", first.text, file->path);
    }
    if (!steps)
        return false;
    free(steps);
    if (!file) {
        *error = first;
        return false;
    }
    bool ok = trainer_restore(trainer, file, error);
    safetensors_close(file);
    if (ok)
        remove_unfinished(run);
    return ok;
}

/* ---- evaluations ---- */

/* The score that chooses the best weights: the one that the settings name, else the first metric, else the first loss.
 * NULL when there is none. */
static const struct score *choosing_score(const struct trainer *trainer, const struct evaluation *evaluation)
{
    const struct scores *scores = &evaluation->scores;
    const char *wanted = trainer->settings->best;
    for (int i = 0; wanted && i < scores->count; i++)
        if (strcmp(scores->list[i].name, wanted) == 0)
            return &scores->list[i];
    for (int i = 0; !wanted && i < scores->count; i++)
        if (!scores->list[i].loss)
            return &scores->list[i];
    return !wanted && scores->count ? &scores->list[0] : NULL;
}

/* Remembers by what the best weights are chosen. In a run that goes on with another choice, values that the old one
 * gave say nothing of the new one: it begins anew. */
static bool remember_choice(struct trainer *trainer, const struct score *score, struct error *error)
{
    static const char *const words[] = {"lowest ", "", "highest "};
    int wished = trainer->settings->best_direction, before = trainer->best_direction;
    const char *name = trainer->best_name;
    trainer->best_direction = wished ? wished : score->loss ? -1 : 1;
    if (name && strcmp(name, score->name) == 0 && (!before || before == trainer->best_direction))
        return true;
    if (name) {
        fprintf(stderr, "castor: from now on the %s%s chooses the best weights; so far it was the %s%s\n",
                words[trainer->best_direction + 1], score->name, words[before + 1], name);
        trainer->result->best = trainer->result->best_average = NAN;
    }
    free(trainer->best_name);
    trainer->best_name = strdup(score->name);
    return trainer->best_name || error_set(error, "out of memory");
}

/* Keeps the weights, or the averages, when no evaluation of them was better; *best is the score of the best so far. */
static bool keep_best(struct trainer *trainer, enum evaluated evaluated, const struct evaluation *evaluation,
                      double *best, struct error *error)
{
    const struct score *score = choosing_score(trainer, evaluation);
    if (!score)
        return true;
    if (!remember_choice(trainer, score, error))
        return false;
    int direction = trainer->best_direction;
    if (isnan(score->value) || (!isnan(*best) && direction * score->value <= direction * *best))
        return true;
    *best = score->value;
    return save(trainer, "best", evaluated, error);
}

/* Evaluates the weights, then their averages where there are any, and logs both. */
static bool evaluate_on(struct trainer *trainer, enum split split, struct evaluation evaluations[2],
                        struct error *error)
{
    bool averages = has_averages(trainer->program);
    for (int i = 0; i < (averages ? 2 : 1); i++)
        if (!evaluate(trainer->executor, trainer->batches, split, (enum evaluated)i, &evaluations[i], error))
            return false;
    if (!scores_copy(&trainer->result->scores, &evaluations[EVALUATED_WEIGHTS].scores))
        return error_set(error, "out of memory");
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
    struct evaluation evaluations[2] = {0};
    if (trainer->best_split != SPLIT_VALIDATE || !trainer->batches->examples[SPLIT_TEST])
        return true;
    bool ok = evaluate_on(trainer, SPLIT_TEST, evaluations, error);
    scores_free(&evaluations[0].scores);
    scores_free(&evaluations[1].scores);
    return ok;
}
