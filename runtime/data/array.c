/* Sizes, shapes and the end of arrays. */
#include "runtime/data/array.h"

#include <stdlib.h>

int64_t data_array_elements(const struct data_array *array)
{
    int64_t elements = 1;
    for (int i = 0; i < array->rank; i++)
        if (__builtin_mul_overflow(elements, array->dimension[i], &elements) || elements > INT64_MAX / 16)
            return -1;
    return elements;
}

int64_t data_array_examples(const struct data_array *array)
{
    return array->rank ? array->dimension[0] : 0;
}

size_t data_array_row(const struct data_array *array)
{
    size_t bytes = program_element_bytes(array->element);
    for (int i = 1; i < array->rank; i++)
        bytes *= (size_t)array->dimension[i];
    return bytes;
}

const void *data_array_example(const struct data_array *array, int64_t row, void *buffer, struct error *error)
{
    if (array->rows)
        return array->rows->read(array->rows, row, buffer, error) ? buffer : NULL;
    size_t stride = array->stride ? array->stride : data_array_row(array);
    return (const char *)array->bytes + (size_t)row * stride;
}

bool data_array_allocate(struct data_array *array, size_t bytes, struct error *error)
{
    array->memory = array->bytes = malloc(bytes + 1);
    return array->memory || error_set(error, "%s: no memory for its %zu bytes", array->file, bytes);
}

void data_array_free(struct data_array *array)
{
    if (array->rows)
        array->rows->free(array->rows);
    free(array->memory);
    free(array->file);
    free(array->words);
    *array = (struct data_array){0};
}

const char *data_shape_text(const int64_t *dimension, int rank, char buffer[SHAPE_TEXT])
{
    int at = snprintf(buffer, SHAPE_TEXT, "[");
    for (int i = 0; i < rank && at < SHAPE_TEXT; i++)
        at += snprintf(buffer + at, (size_t)(SHAPE_TEXT - at), "%s%lld", i ? ", " : "", (long long)dimension[i]);
    if (at < SHAPE_TEXT)
        snprintf(buffer + at, (size_t)(SHAPE_TEXT - at), "]");
    return buffer;
}
