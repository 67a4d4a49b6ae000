/* Do a field and an input fit together? Types and shapes, then every value: labels below the number of classes, no NaN
 * and nothing infinite, so that a training run never fails over them later. */
#include "runtime/data/dataset.h"

#include "runtime/tensor.h"

#include <math.h>
#include <string.h>

const struct data_field *field_find(const struct dataset *dataset, const char *name, struct error *error)
{
    for (int i = 0; i < dataset->field_count; i++)
        if (strcmp(dataset->fields[i].name, name) == 0)
            return &dataset->fields[i];
    error_set(error, "%s: no field %s for the model's input of that name", dataset->description->path, name);
    if (dataset->no_features && strcmp(name, "features") == 0) {
        error_hint(error, "%s; a model may take columns one by one, each by its name", dataset->no_features);
        return NULL;
    }
    char list[ERROR_HINT / 2] = "";
    for (int i = 0; i < dataset->field_count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", dataset->fields[i].name);
    error_hint(error, "the fields are %s; `|> rename(%s = FIELD)` gives one another name", list, name);
    return NULL;
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
    if (converts(array->element, input))
        return true;
    const char *wanted = program_element_name(input->tensor.element);
    return error_set(error, "%s holds %s, but the model's input %s is %s", array->file,
                     program_element_name(array->element), input->name,
                     input->classes ? "a class: whole numbers are expected" : wanted);
}

static bool check_shape(const struct data_array *array, const struct program_input *input, struct error *error)
{
    const int64_t *have = array->dimension, *want = input->tensor.dimension;
    if (array->rank == input->tensor.rank && memcmp(have + 1, want + 1, sizeof *have * (size_t)(array->rank - 1)) == 0)
        return true;
    char file[SHAPE_TEXT], model[SHAPE_TEXT];
    return error_set(error, "%s: an example has shape %s, but the model's input %s asks for %s", array->file,
                     data_shape_text(have + 1, array->rank - 1, file), input->name,
                     data_shape_text(want + 1, input->tensor.rank > 0 ? input->tensor.rank - 1 : 0, model));
}

/* ---- values ---- */

static int64_t integer_at(const struct data_array *array, int64_t at)
{
    switch (array->element) {
    case PROGRAM_I32:
        return ((const int32_t *)array->bytes)[at];
    case PROGRAM_I64:
        return ((const int64_t *)array->bytes)[at];
    default:
        return ((const unsigned char *)array->bytes)[at];
    }
}

static bool check_integers(const struct data_array *array, const struct program_input *input, struct error *error)
{
    int64_t low = input->classes ? 0 : INT32_MIN, high = input->classes ? input->classes - 1 : INT32_MAX;
    bool always_fits = !input->classes && (array->element != PROGRAM_I64 || input->tensor.element == PROGRAM_I64);
    int64_t count = always_fits ? 0 : data_array_elements(array), examples = data_array_examples(array);
    for (int64_t i = 0; i < count; i++) {
        int64_t value = integer_at(array, i);
        if (value >= low && value <= high)
            continue;
        long long example = (long long)(i / (count / examples));
        if (!input->classes)
            return error_set(error, "%s: example %lld: %lld does not fit into i32", array->file, example,
                             (long long)value);
        return error_set(error, "%s: example %lld: label %lld is out of range: input %s has %lld classes, 0 to %lld",
                         array->file, example, (long long)value, input->name, (long long)input->classes,
                         (long long)high);
    }
    return true;
}

static double largest(enum program_element element)
{
    return element == PROGRAM_F16 ? 65504 : element == PROGRAM_F64 ? 1.7976931348623157e308 : 3.4028234663852886e38;
}

static double float_at(const struct data_array *array, int64_t at)
{
    if (array->element == PROGRAM_F32)
        return ((const float *)array->bytes)[at];
    return tensor_get(array->element, (const char *)array->bytes + at * (int64_t)program_element_bytes(array->element));
}

static bool check_floats(const struct data_array *array, const struct program_input *input, struct error *error)
{
    int64_t count = data_array_elements(array), row = count / data_array_examples(array);
    double limit = largest(input->tensor.element);
    for (int64_t i = 0; i < count; i++) {
        double value = float_at(array, i);
        if (fabs(value) <= limit)
            continue;
        const char *what = isnan(value) ? "NaN" : isinf(value) ? "infinite" : "too large for the model's input";
        return error_set(error, "%s: example %lld: element %lld is %s", array->file, (long long)(i / row),
                         (long long)(i % row), what);
    }
    return true;
}

bool field_check(const struct dataset *dataset, const struct data_field *field, const struct program_input *input,
                 struct error *error)
{
    for (int part = 0; part < PART_COUNT; part++) {
        const struct data_array *array = &field->part[part];
        if (!dataset->examples[part])
            continue;
        if (!check_type(array, input, error) || !check_shape(array, input, error))
            return false;
        if (data_array_elements(array) == 0)
            continue;
        bool good = is_floating(array->element)          ? check_floats(array, input, error)
                    : is_floating(input->tensor.element) ? true
                                                         : check_integers(array, input, error);
        if (!good)
            return false;
    }
    return true;
}
