/* Do a field and an input fit together? Types and shapes, then every value: labels below the number of classes, no NaN
 * and nothing infinite, so that a training run does not fail over them later. Values that do not lie in memory are
 * checked when they are read. */
#include "runtime/data/dataset.h"

#include "runtime/tensor.h"

#include <math.h>
#include <string.h>

static bool no_field(const struct dataset *dataset, const char *name, struct error *error)
{
    const struct source *first = &dataset->sources[0];
    char list[ERROR_HINT / 2] = "";
    if (dataset->source_count == 1 && first->line->kind == DATA_SYNTHETIC) {
        error_set(error, "the synthetic data have no field %s for the model's input of that name", name);
        error_hint(error, "write `synthetic(…, %s = normal(0, 1))`, or `%s = classes`", name, name);
        return false;
    }
    error_set(error, "%s: no field %s for the model's input of that name", data_name(dataset->description), name);
    for (int i = 0; i < dataset->source_count; i++) {
        const struct source *source = &dataset->sources[i];
        if (source->no_features && strcmp(name, "features") == 0)
            error_hint(error, "%s; a model may take columns one by one, each by its name", source->no_features);
        for (int k = 0; k < source->field_count; k++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "",
                     source->fields[k].name);
    }
    error_hint(error, "the fields are %s; `|> rename(%s = FIELD)` gives one another name", list, name);
    return false;
}

const struct source *field_find(const struct dataset *dataset, const char *name, const struct data_field **field,
                                struct error *error)
{
    const struct source *found = NULL;
    *field = NULL;
    for (int i = 0; i < dataset->source_count; i++) {
        const struct source *source = &dataset->sources[i];
        const struct data_field *own = NULL;
        for (int k = 0; k < source->field_count; k++)
            if (strcmp(source->fields[k].name, name) == 0)
                own = &source->fields[k];
        if (!own && !synthetic_has(source, name))
            continue;
        if (found) {
            error_set(error, "two data lines have a field %s", name);
            error_hint(error, "`|> rename(other = %s)` behind one of them gives its field another name", name);
            return NULL;
        }
        found = source;
        *field = own;
    }
    if (!found)
        no_field(dataset, name, error);
    return found;
}

static bool is_floating(enum program_element element)
{
    return element == PROGRAM_F16 || element == PROGRAM_BF16 || element == PROGRAM_F32 || element == PROGRAM_F64;
}

/* What is converted without being asked: numbers to floats; whole numbers to whole numbers, if they fit. */
static bool converts(enum program_element from, const struct program_input *input)
{
    enum program_element to = input->tensor.element;
    if (from == to || is_floating(to))
        return true;
    if (is_floating(from) || to == PROGRAM_BOOL)
        return false;
    return input->classes > 0 || to == PROGRAM_I32 || to == PROGRAM_I64;
}

static bool check_type(const struct data_array *array, const struct program_input *input, struct error *error)
{
    const char *wanted = program_element_name(input->tensor.element);
    bool words = array->words && is_floating(input->tensor.element);
    if (converts(array->element, input) && !words)
        return true;
    if (words)
        return error_set(error, "%s, which is no number, but the model's input %s is %s", array->words, input->name,
                         wanted);
    return error_set(error, "%s holds %s, but the model's input %s is %s", array->file,
                     program_element_name(array->element), input->name,
                     input->classes ? "a class: whole numbers are expected" : wanted);
}

/* Axis `at` or the next one that is longer than 1; `rank` behind the last. */
static int next_axis(const int64_t *dimension, int rank, int at)
{
    while (at < rank && dimension[at] == 1)
        at++;
    return at;
}

/* The same example but for axes of size 1, which move no value: a gray image may have an axis of channels or not. */
static bool same_example(const int64_t *have, int have_rank, const int64_t *want, int want_rank)
{
    int i = next_axis(have, have_rank, 1), k = next_axis(want, want_rank, 1);
    while (i < have_rank && k < want_rank && have[i] == want[k]) {
        i = next_axis(have, have_rank, i + 1);
        k = next_axis(want, want_rank, k + 1);
    }
    return i >= have_rank && k >= want_rank;
}

static bool check_shape(const struct data_array *array, const struct program_input *input, struct error *error)
{
    const int64_t *have = array->dimension, *want = input->tensor.dimension;
    if (same_example(have, array->rank, want, input->tensor.rank))
        return true;
    char file[SHAPE_TEXT], model[SHAPE_TEXT];
    return error_set(error, "%s: an example has shape %s, but the model's input %s asks for %s", array->file,
                     data_shape_text(have + 1, array->rank - 1, file), input->name,
                     data_shape_text(want + 1, input->tensor.rank > 0 ? input->tensor.rank - 1 : 0, model));
}

/* ---- values ---- */

static int64_t example_elements(const struct data_array *array)
{
    return (int64_t)(data_array_row(array) / program_element_bytes(array->element));
}

static int64_t integer_at(enum program_element element, const void *values, int64_t at)
{
    switch (element) {
    case PROGRAM_I32:
        return ((const int32_t *)values)[at];
    case PROGRAM_I64:
        return ((const int64_t *)values)[at];
    default:
        return ((const unsigned char *)values)[at];
    }
}

static bool check_integers(const struct data_array *array, const struct program_input *input, const void *values,
                           int64_t example, struct error *error)
{
    int64_t low = input->classes ? 0 : INT32_MIN, high = input->classes ? input->classes - 1 : INT32_MAX;
    int64_t count = example_elements(array);
    for (int64_t i = 0; i < count; i++) {
        int64_t value = integer_at(array->element, values, i);
        if (value >= low && value <= high)
            continue;
        if (!input->classes)
            return error_set(error, "%s: example %lld: %lld does not fit into i32", array->file, (long long)example,
                             (long long)value);
        return error_set(error, "%s: example %lld: label %lld is out of range: input %s has %lld classes, 0 to %lld",
                         array->file, (long long)example, (long long)value, input->name, (long long)input->classes,
                         (long long)high);
    }
    return true;
}

/* Other bytes would act as true in one place and as a number in another. */
static bool check_bools(const struct data_array *array, const void *values, int64_t example, struct error *error)
{
    int64_t count = example_elements(array);
    for (int64_t i = 0; i < count; i++) {
        int byte = ((const unsigned char *)values)[i];
        if (byte > 1)
            return error_set(error, "%s: example %lld: element %lld is the byte %d, neither false (0) nor true (1)",
                             array->file, (long long)example, (long long)i, byte);
    }
    return true;
}

static double largest(enum program_element element)
{
    return element == PROGRAM_F16 ? 65504 : element == PROGRAM_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
}

static double float_at(enum program_element element, const void *values, int64_t at)
{
    if (element == PROGRAM_F32)
        return ((const float *)values)[at];
    return tensor_get(element, (const char *)values + at * (int64_t)program_element_bytes(element));
}

static bool check_floats(const struct data_array *array, const struct program_input *input, const void *values,
                         int64_t example, struct error *error)
{
    int64_t count = example_elements(array);
    double limit = largest(input->tensor.element);
    for (int64_t i = 0; i < count; i++) {
        double value = float_at(array->element, values, i);
        if (fabs(value) <= limit)
            continue;
        const char *what = isnan(value) ? "NaN" : isinf(value) ? "infinite" : "too large for the model's input";
        return error_set(error, "%s: example %lld: element %lld is %s", array->file, (long long)example, (long long)i,
                         what);
    }
    return true;
}

/* Whatever the values are, they fit: bools that are 0 or 1 do. */
static bool always_fits(const struct data_array *array, const struct program_input *input)
{
    int64_t below = array->element == PROGRAM_BOOL ? 2 : array->element == PROGRAM_U8 ? 256 : INT64_MAX;
    if (array->below && array->below < below)
        below = array->below;
    if (is_floating(array->element))
        return false;
    if (input->classes)
        return below <= input->classes;
    return array->element != PROGRAM_I64 || input->tensor.element == PROGRAM_I64 || is_floating(input->tensor.element);
}

bool field_check_example(const struct data_array *array, const struct program_input *input, const void *values,
                         int64_t example, struct error *error)
{
    if (array->element == PROGRAM_BOOL && !check_bools(array, values, example, error))
        return false;
    return always_fits(array, input) ||
           (is_floating(array->element) ? check_floats(array, input, values, example, error)
                                        : check_integers(array, input, values, example, error));
}

struct program_input field_asked(const struct data_field *field, const struct program_input *input)
{
    struct program_input asked = *input;
    const struct data_array *array = &field->part[PART_TRAIN];
    bool mixes = false;
    for (int i = 0; i < field->line->stage_count; i++)
        mixes |= field->line->stages[i].kind == DATA_MIXUP;
    if (!mixes || is_floating(array->element) || array->rank != 1 || input->tensor.rank != 2 ||
        !is_floating(input->tensor.element))
        return asked;
    asked.classes = input->tensor.dimension[1];
    asked.tensor.element = asked.tensor.storage = PROGRAM_I32;
    asked.tensor.rank = 1;
    return asked;
}

bool field_check(const struct dataset *dataset, const struct data_field *field, const struct program_input *input,
                 struct error *error)
{
    for (int part = 0; part < PART_COUNT; part++) {
        const struct data_array *array = &field->part[part];
        int64_t examples = dataset->examples[part];
        if (!examples)
            continue;
        if (!check_type(array, input, error) || !check_shape(array, input, error))
            return false;
        if (array->rows || (always_fits(array, input) && array->element != PROGRAM_BOOL))
            continue;
        for (int64_t i = 0; i < examples; i++)
            if (!field_check_example(array, input, data_array_example(array, i, NULL, error), i, error))
                return false;
    }
    return true;
}
