/* Opening: the data lines become sources with their fields, which must agree in their numbers of examples, and the
 * examples are divided into sets. */
#include "runtime/data/dataset.h"

#include <stdlib.h>
#include <string.h>

static bool open_source(struct source *source, struct error *error)
{
    static bool (*const open[])(struct source *, struct error *) = {
        [DATA_IDX] = source_idx,     [DATA_CSV] = source_csv,        [DATA_TENSORS] = source_tensors,
        [DATA_NUMPY] = source_numpy, [DATA_SYNTHETIC] = NULL,        [DATA_IMAGES] = source_images,
        [DATA_TEXT] = source_text,   [DATA_COMMAND] = source_command};
    if (!open[source->line->kind])
        return synthetic_check_renames(source, error);
    source->renamed = calloc((size_t)source->line->rename_count + 1, sizeof *source->renamed);
    if (!source->renamed)
        return error_set(error, "out of memory");
    return open[source->line->kind](source, error) && source_check_renames(source, error);
}

const char *data_name(const struct data_description *description)
{
    const struct data_source *first = description->sources;
    return description->source_count > 1 ? "the data lines" : first->path ? first->path : "synthetic data";
}

/* ---- the numbers of examples ---- */

static bool count_part(struct source *source, enum data_part part, struct error *error)
{
    const struct data_array *first = NULL;
    for (int i = 0; i < source->field_count; i++) {
        const struct data_array *array = &source->fields[i].part[part];
        int64_t examples = data_array_examples(array);
        if (!array->file) /* it was passed over */
            continue;
        if (!first) {
            first = array;
            source->examples[part] = examples;
        } else if (examples != source->examples[part])
            return error_set(error, "%s has %lld examples, but %s has %lld", array->file, (long long)examples,
                             first->file, (long long)source->examples[part]);
    }
    return true;
}

static bool count_source(struct source *source, struct error *error)
{
    const struct data_source *line = source->line;
    if (line->kind == DATA_SYNTHETIC) {
        source->examples[PART_TRAIN] = line->examples;
        source->examples[PART_TEST] = line->test;
        return true;
    }
    if (!count_part(source, PART_TRAIN, error) || !count_part(source, PART_TEST, error))
        return false;
    return source->examples[PART_TRAIN] > 0 || error_set(error, "%s: no examples", line->path);
}

/* What a message calls a source. */
static const char *source_name(const struct source *source)
{
    return source->line->path ? source->line->path : "synthetic(…)";
}

/* Data lines stand side by side, example by example. */
static bool join(struct dataset *dataset, struct error *error)
{
    static const char *const sets[] = {"", " for testing"};
    const struct source *first = &dataset->sources[0];
    for (int i = 0; i < dataset->source_count; i++)
        for (int part = 0; part < PART_COUNT; part++) {
            const struct source *source = &dataset->sources[i];
            dataset->examples[part] = first->examples[part];
            if (source->examples[part] == first->examples[part])
                continue;
            error_set(error, "%s has %lld examples%s, but %s has %lld", source_name(source),
                      (long long)source->examples[part], sets[part], source_name(first),
                      (long long)first->examples[part]);
            error_hint(error, "data lines stand side by side, example by example");
            return false;
        }
    return true;
}

/* ---- sets ---- */

/* The share of the examples that is kept for testing, said by one data line for all. */
static bool find_share(const struct dataset *dataset, double *share, struct error *error)
{
    *share = 0;
    for (int i = 0; i < dataset->source_count; i++) {
        const struct data_source *line = dataset->sources[i].line;
        double own = line->kind == DATA_TEXT ? 0 : line->test_share; /* a text has given its end already */
        if (own > 0 && *share > 0 && own != *share)
            return error_set(error, "the data lines keep different shares for testing, %g and %g", *share, own);
        *share = own > 0 ? own : *share;
    }
    if (*share > 0 && dataset->examples[PART_TEST])
        return error_set(error, "%s: there is a test set already, so no share of the examples can be one",
                         data_name(dataset->description));
    return true;
}

/* The training part gives its shares from the end of a shuffled order, which is always the same. */
static bool divide(struct dataset *dataset, struct error *error)
{
    const struct data_description *description = dataset->description;
    double share;
    if (!find_share(dataset, &share, error))
        return false;
    int64_t all = dataset->examples[PART_TRAIN], test = (int64_t)((double)all * share);
    int64_t validate = (int64_t)((double)(all - test) * description->validate_share), train = all - test - validate;
    struct data_split *splits = dataset->splits;
    splits[SPLIT_TRAIN] = (struct data_split){PART_TRAIN, train, NULL};
    splits[SPLIT_TEST] = (struct data_split){PART_TEST, dataset->examples[PART_TEST], NULL};
    splits[SPLIT_VALIDATE] = (struct data_split){PART_TRAIN, validate, NULL};
    if (!(share > 0) && !(description->validate_share > 0))
        return true;
    if (share > 0 && !test)
        return error_set(error, "a share of %g of %lld examples leaves none for testing", share, (long long)all);
    if (description->validate_share > 0 && !validate)
        return error_set(error, "a share of %g of %lld examples leaves none for validation",
                         description->validate_share, (long long)(all - test));
    if (train <= 0)
        return error_set(error, "of %lld examples none is left for training", (long long)all);
    dataset->rows = malloc(sizeof *dataset->rows * ((size_t)all + 1));
    if (!dataset->rows)
        return error_set(error, "out of memory");
    data_shuffle(dataset->rows, all, 0, STREAM_SPLIT);
    splits[SPLIT_TRAIN].rows = dataset->rows;
    splits[SPLIT_VALIDATE].rows = dataset->rows + train;
    if (test)
        splits[SPLIT_TEST] = (struct data_split){PART_TRAIN, test, dataset->rows + train + validate};
    return true;
}

static bool open_sources(struct dataset *dataset, struct error *error)
{
    const struct data_description *description = dataset->description;
    dataset->sources = calloc((size_t)description->source_count + 1, sizeof *dataset->sources);
    if (!dataset->sources)
        return error_set(error, "out of memory");
    for (int i = 0; i < description->source_count; i++) {
        struct source *source = &dataset->sources[dataset->source_count++];
        *source = (struct source){.description = description, .line = &description->sources[i]};
        if (!open_source(source, error) || !count_source(source, error))
            return false;
    }
    return join(dataset, error);
}

struct dataset *data_open(const struct data_description *description, struct error *error)
{
    struct dataset *dataset = calloc(1, sizeof *dataset);
    if (!dataset) {
        error_set(error, "out of memory");
        return NULL;
    }
    dataset->description = description;
    if (open_sources(dataset, error) && divide(dataset, error))
        return dataset;
    data_close(dataset);
    return NULL;
}

static void close_source(struct source *source)
{
    for (int i = 0; i < source->field_count; i++) {
        for (int part = 0; part < PART_COUNT; part++)
            data_array_free(&source->fields[i].part[part]);
        free(source->fields[i].name);
    }
    free(source->fields);
    free(source->renamed);
    free(source->no_features);
}

void data_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    for (int i = 0; i < dataset->source_count; i++)
        close_source(&dataset->sources[i]);
    free(dataset->sources);
    free(dataset->rows);
    free(dataset);
}

int64_t data_examples(const struct dataset *dataset, enum split split)
{
    return dataset->splits[split].count;
}
