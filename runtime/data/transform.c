/* From an example in a file's array to one in a batch: crop and flip move values, normalize changes them, and the
 * input's element type is reached on the way. */
#include "runtime/data/dataset.h"

#include "runtime/tensor.h"

#include <string.h>

static bool is_floating(enum program_element element)
{
    return element == PROGRAM_F16 || element == PROGRAM_BF16 || element == PROGRAM_F32;
}

/* Which stages make sense for a field; a label passes through all of them. */
static bool applies(const struct transform *transform, const struct data_stage *stage)
{
    return !transform->label && transform->rank >= (stage->kind == DATA_NORMALIZE ? 1 : 2);
}

static bool check_normalize(const struct transform *transform, const struct data_stage *stage, struct error *error)
{
    const char *name = transform->input->name;
    if (!is_floating(transform->input->tensor.element))
        return error_set(error, "normalize gives floating values, but the model's input %s is %s", name,
                         program_element_name(transform->input->tensor.element));
    int64_t channels = transform->rank >= 3 ? transform->dimension[transform->rank - 3] : 1;
    return stage->channels == 1 || stage->channels == channels ||
           error_set(error, "normalize has %d means, but input %s has %lld channels", stage->channels, name,
                     (long long)channels);
}

bool transform_init(struct transform *transform, const struct data_source *line, const struct data_array *array,
                    const struct program_input *input, struct error *error)
{
    *transform = (struct transform){.line = line,
                                    .input = input,
                                    .from = array->element,
                                    .rank = array->rank - 1,
                                    .elements = 1,
                                    .label = input->classes > 0,
                                    .row = data_array_row(array)};
    for (int i = 0; i < transform->rank; i++) {
        transform->dimension[i] = array->dimension[i + 1];
        transform->elements *= array->dimension[i + 1];
    }
    transform->planes = 1;
    for (int i = 0; i < transform->rank - 2; i++)
        transform->planes *= transform->dimension[i];
    transform->scratch = (size_t)transform->elements * 8;
    for (int i = 0; i < line->stage_count; i++) {
        const struct data_stage *stage = &line->stages[i];
        if (stage->kind == DATA_NORMALIZE && applies(transform, stage) && !check_normalize(transform, stage, error))
            return false;
    }
    return true;
}

/* ---- moving ---- */

static void crop_plane(const char *from, char *to, int64_t rows, int64_t columns, size_t width, int64_t down,
                       int64_t right)
{
    int64_t left = right < 0 ? -right : 0, kept = columns - (right < 0 ? -right : right);
    for (int64_t row = 0; row < rows; row++, to += (size_t)columns * width) {
        int64_t source = row + down;
        memset(to, 0, (size_t)columns * width);
        if (source >= 0 && source < rows && kept > 0)
            memcpy(to + (size_t)left * width, from + (size_t)(source * columns + right + left) * width,
                   (size_t)kept * width);
    }
}

static void flip_row(const char *from, char *to, int64_t columns, size_t width)
{
    if (width == 1)
        for (int64_t i = 0; i < columns; i++)
            to[i] = from[columns - 1 - i];
    else
        for (int64_t i = 0; i < columns; i++)
            memcpy(to + (size_t)i * width, from + (size_t)(columns - 1 - i) * width, width);
}

/* Moves all planes of an example as the bits say; false when they stay as they are. */
static bool move(const struct transform *transform, const struct data_stage *stage, uint64_t bits, size_t width,
                 const void *from, void *to)
{
    int64_t rows = transform->dimension[transform->rank - 2], columns = transform->dimension[transform->rank - 1];
    size_t plane = (size_t)(rows * columns) * width;
    int64_t span = 2 * (int64_t)stage->pad + 1;
    int64_t down = data_below(bits, span) - stage->pad, right = data_below(bits << 32 | bits >> 32, span) - stage->pad;
    bool still = stage->kind == DATA_RANDOM_CROP ? down == 0 && right == 0 : bits >> 63 == 0;
    for (int64_t i = 0; !still && i < transform->planes; i++) {
        const char *source = (const char *)from + (size_t)i * plane;
        char *target = (char *)to + (size_t)i * plane;
        if (stage->kind == DATA_RANDOM_CROP)
            crop_plane(source, target, rows, columns, width, down, right);
        else
            for (int64_t row = 0; row < rows; row++)
                flip_row(source + (size_t)(row * columns) * width, target + (size_t)(row * columns) * width, columns,
                         width);
    }
    return !still;
}

/* ---- values ---- */

/* To the input's stored form, rounded to its type. */
static void convert(enum program_element from, const void *source, const struct program_tensor *tensor, void *target,
                    int64_t count)
{
    enum program_element to = tensor->storage;
    size_t width = program_element_bytes(from), step = program_element_bytes(to);
    if (from == to && to == tensor->element) {
        memcpy(target, source, (size_t)count * width);
    } else if (from == PROGRAM_U8 && to == PROGRAM_F32) { /* exact in every floating type */
        for (int64_t i = 0; i < count; i++)
            ((float *)target)[i] = ((const unsigned char *)source)[i];
    } else if (from == PROGRAM_U8 && to == PROGRAM_I32) {
        for (int64_t i = 0; i < count; i++)
            ((int32_t *)target)[i] = ((const unsigned char *)source)[i];
    } else {
        for (int64_t i = 0; i < count; i++) {
            double value = tensor_get(from, (const char *)source + (size_t)i * width);
            tensor_put(to, (char *)target + (size_t)i * step, tensor_round(tensor->element, value));
        }
    }
}

/* In f32, whatever the type before. */
static void normalize(const struct transform *transform, const struct data_stage *stage, float *values)
{
    int64_t rank = transform->rank, channels = rank >= 3 ? transform->dimension[rank - 3] : 1;
    int64_t plane =
        rank >= 2 ? transform->dimension[rank - 2] * transform->dimension[rank - 1] : transform->dimension[0];
    for (int64_t at = 0, index = 0; at < transform->elements; at += plane, index++) {
        int64_t channel = stage->channels == 1 ? 0 : index % channels;
        float mean = (float)stage->mean[channel], scale = (float)(1 / stage->deviation[channel]);
        for (int64_t i = at; i < at + plane; i++)
            values[i] = (values[i] - mean) * scale;
    }
}

void transform_apply(const struct transform *transform, const void *example, bool training, uint64_t seed, uint64_t key,
                     void *scratch[SCRATCHES], void *out)
{
    static const struct program_tensor plain = {.element = PROGRAM_F32, .storage = PROGRAM_F32};
    enum program_element element = transform->from;
    const void *now = example;
    int next = 0;
    for (int i = 0; i < transform->line->stage_count; i++) {
        const struct data_stage *stage = &transform->line->stages[i];
        if (!applies(transform, stage) || (stage->kind != DATA_NORMALIZE && !training))
            continue;
        if (stage->kind == DATA_NORMALIZE) {
            convert(element, now, &plain, scratch[next], transform->elements);
            normalize(transform, stage, scratch[next]);
            element = PROGRAM_F32;
        } else {
            uint64_t bits = data_hash(seed, STREAM_AUGMENT + 16 * (uint64_t)i, key, 0);
            if (!move(transform, stage, bits, program_element_bytes(element), now, scratch[next]))
                continue;
        }
        now = scratch[next];
        next = !next;
    }
    convert(element, now, &transform->input->tensor, out, transform->elements);
}
