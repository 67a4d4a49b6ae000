/* Synthetic data: every value is a function of field, example and place, so the data are the same in every run. */
#include "runtime/data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

/* Box and Muller's transform (1958); the 1 - u keeps the logarithm finite. */
static double normal(uint64_t bits)
{
    double radius = sqrt(-2 * log(1 - (double)(bits >> 32) * 0x1p-32));
    return radius * cos(6.283185307179586 * (double)(bits & UINT32_MAX) * 0x1p-32);
}

static double draw(const struct data_synthetic_field *field, int64_t classes, uint64_t bits)
{
    switch (field->distribution) {
    case DATA_UNIFORM:
        return field->a + (field->b - field->a) * unit(bits);
    case DATA_NORMAL:
        return field->a + field->b * normal(bits);
    case DATA_CLASSES:
        return (double)data_below(bits, classes);
    }
    return 0;
}

/* Whole numbers: uniform ones are cut off so that a … b - 1 are equally likely, normal ones rounded; all are kept in
 * the type's range. */
static int32_t whole(const struct data_synthetic_field *field, double value, bool byte)
{
    double number = field->distribution == DATA_NORMAL ? rint(value) : floor(value);
    double low = byte ? 0 : INT32_MIN, high = byte ? 255 : INT32_MAX;
    return (int32_t)(number < low ? low : number > high ? high : number);
}

static enum program_element drawn_element(const struct program_input *input)
{
    switch (input->tensor.element) {
    case PROGRAM_U8:
    case PROGRAM_BOOL:
        return input->tensor.element;
    case PROGRAM_I32:
    case PROGRAM_I64:
        return PROGRAM_I32;
    default:
        return PROGRAM_F32;
    }
}

static void fill(struct data_array *array, const struct data_synthetic_field *field, int64_t classes, uint64_t key,
                 int64_t first)
{
    int64_t count = data_array_elements(array), row = count / data_array_examples(array);
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = data_hash(key, STREAM_SYNTHETIC, (uint64_t)(first + i / row), (uint64_t)(i % row));
        double value = draw(field, classes, bits);
        if (array->element == PROGRAM_F32)
            ((float *)array->bytes)[i] = (float)value;
        else if (array->element == PROGRAM_I32)
            ((int32_t *)array->bytes)[i] = whole(field, value, false);
        else if (array->element == PROGRAM_BOOL)
            ((unsigned char *)array->bytes)[i] = whole(field, value, true) != 0;
        else
            ((unsigned char *)array->bytes)[i] = (unsigned char)whole(field, value, true);
    }
}

static bool draw_part(struct data_array *array, const struct data_synthetic_field *field,
                      const struct program_input *input, int64_t examples, int64_t first, struct error *error)
{
    array->element = drawn_element(input);
    array->rank = input->tensor.rank;
    memcpy(array->dimension, input->tensor.dimension, sizeof array->dimension);
    array->dimension[0] = examples;
    array->file = strdup("synthetic data");
    int64_t elements = data_array_elements(array);
    size_t width = program_element_bytes(array->element);
    array->memory = array->bytes = elements < 0 ? NULL : malloc((size_t)elements * width + 1);
    if (!array->bytes)
        return error_set(error, "no memory for %lld synthetic examples of %s", (long long)examples, input->name);
    uint64_t key = 0;
    for (const char *letter = field->name; *letter; letter++)
        key = data_hash(key, STREAM_SYNTHETIC, (unsigned char)*letter, 0);
    if (elements)
        fill(array, field, input->classes, key, first);
    return true;
}

/* The name that rename gives a field, else its own. */
static const char *seen_as(const struct data_source *line, const char *field)
{
    for (int i = 0; i < line->rename_count; i++)
        if (strcmp(line->renames[i].field, field) == 0)
            return line->renames[i].name;
    return field;
}

static const struct data_synthetic_field *find(const struct data_source *line, const char *name)
{
    for (int i = 0; i < line->synthetic_count; i++)
        if (strcmp(seen_as(line, line->synthetic[i].name), name) == 0)
            return &line->synthetic[i];
    return NULL;
}

bool synthetic_check_renames(const struct source *source, struct error *error)
{
    const struct data_source *line = source->line;
    for (int i = 0; i < line->rename_count; i++) {
        bool there = false;
        for (int k = 0; k < line->synthetic_count; k++)
            there |= strcmp(line->synthetic[k].name, line->renames[i].field) == 0;
        if (!there)
            return error_set(error, "synthetic data: rename(%s = %s): there is no field %s", line->renames[i].name,
                             line->renames[i].field, line->renames[i].field);
    }
    return true;
}

bool synthetic_has(const struct source *source, const char *name)
{
    return find(source->line, name);
}

bool synthetic_draw(const struct source *source, const struct program_input *input, struct data_field *field,
                    struct error *error)
{
    const struct data_synthetic_field *wanted = find(source->line, input->name);
    if (wanted->distribution == DATA_CLASSES && !input->classes)
        return error_set(error, "synthetic data: %s is no class; uniform(a, b) or normal(mean, std) is expected",
                         input->name);
    if (input->tensor.rank == 0)
        return error_set(error, "synthetic data: input %s has no batch axis", input->name);
    int64_t train = source->examples[PART_TRAIN], test = source->examples[PART_TEST];
    return draw_part(&field->part[PART_TRAIN], wanted, input, train, 0, error) &&
           draw_part(&field->part[PART_TEST], wanted, input, test, train, error);
}
