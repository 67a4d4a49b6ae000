/* From an example in a file's array to one in a batch: crop, flip and cutout move values or clear them, normalize
 * changes them, mixup mixes them with those of another example, and the input's element type is reached on the way. */
#include "runtime/data/dataset.h"

#include "runtime/tensor.h"

#include <string.h>

static bool is_floating(enum program_element element)
{
    return element == PROGRAM_F16 || element == PROGRAM_BF16 || element == PROGRAM_F32;
}

/* Which stages make sense for a field. What moves pixels moves those of an image of labels, too, but no stage changes a
 * label. Mixup stands between the stages. */
static bool applies(const struct transform *transform, const struct data_stage *stage)
{
    switch (stage->kind) {
    case DATA_RANDOM_CROP:
    case DATA_RANDOM_FLIP:
        return transform->rank >= 2;
    case DATA_CUTOUT:
        return transform->rank >= 2 && !transform->label;
    case DATA_NORMALIZE:
        return transform->rank >= 1 && !transform->label;
    default:
        return false;
    }
}

bool transform_acts(const struct transform *transform, const struct data_stage *stage)
{
    return stage->kind == DATA_MIXUP || applies(transform, stage);
}

const char *data_stage_name(enum data_stage_kind kind)
{
    static const char *const names[] = {"random_crop", "random_flip", "normalize", "cutout", "mixup"};
    return names[kind];
}

static bool check_mixup(const struct transform *transform, struct error *error)
{
    const struct program_input *input = transform->input;
    if (input->classes) {
        error_set(error, "mixup mixes classes, which the model's input %s can't say", input->name);
        error_hint(error, "declare it as the share of each class: `%s: f32[batch, %lld]`", input->name,
                   (long long)input->classes);
        return false;
    }
    return is_floating(input->tensor.element) ||
           error_set(error, "mixup gives floating values, but the model's input %s is %s", input->name,
                     program_element_name(input->tensor.element));
}

static bool check_normalize(const struct transform *transform, const struct data_stage *stage, struct error *error)
{
    const char *name = transform->input->name;
    if (!is_floating(transform->input->tensor.element))
        return error_set(error, "normalize gives floating values, but the model's input %s is %s", name,
                         program_element_name(transform->input->tensor.element));
    int64_t channels = transform->rank >= 3 ? transform->dimension[transform->rank - 3] : 1;
    return stage->channels == 1 || stage->channels == channels ||
           error_set(error, "normalize is for %d channels, but input %s has %lld channels", stage->channels, name,
                     (long long)channels);
}

static bool check_stages(struct transform *transform, struct error *error)
{
    const struct data_source *line = transform->line;
    for (int i = 0; i < line->stage_count; i++) {
        const struct data_stage *stage = &line->stages[i];
        if (stage->kind == DATA_NORMALIZE && applies(transform, stage) && !check_normalize(transform, stage, error))
            return false;
        if (stage->kind != DATA_MIXUP)
            continue;
        transform->mixup = i;
        if (!check_mixup(transform, error))
            return false;
    }
    return true;
}

bool transform_init(struct transform *transform, const struct data_field *field, enum data_part part,
                    const struct program_input *input, struct error *error)
{
    const struct data_array *array = &field->part[part];
    *transform = (struct transform){.line = field->line,
                                    .input = input,
                                    .asked = field_asked(field, input),
                                    .from = array->element,
                                    .rank = array->rank - 1,
                                    .elements = 1,
                                    .mixup = -1};
    for (int i = 0; i < transform->rank; i++) {
        transform->dimension[i] = array->dimension[i + 1];
        transform->elements *= array->dimension[i + 1];
    }
    transform->planes = 1;
    for (int i = 0; i < transform->rank - 2; i++)
        transform->planes *= transform->dimension[i];
    transform->label = transform->asked.classes > 0;
    transform->shares = transform->label && !input->classes ? transform->asked.classes : 0;
    transform->scratch = (size_t)transform->elements * 8;
    return check_stages(transform, error);
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

/* Clears a square around a random place of all planes. */
static void cut_out(const struct transform *transform, const struct data_stage *stage, uint64_t bits, size_t width,
                    const void *from, void *to)
{
    int64_t rows = transform->dimension[transform->rank - 2], columns = transform->dimension[transform->rank - 1];
    int64_t top = data_below(bits, rows) - stage->size / 2;
    int64_t left = data_below(bits << 32 | bits >> 32, columns) - stage->size / 2;
    int64_t bottom = top + stage->size < rows ? top + stage->size : rows;
    int64_t right = left + stage->size < columns ? left + stage->size : columns;
    top = top > 0 ? top : 0;
    left = left > 0 ? left : 0;
    memcpy(to, from, (size_t)transform->elements * width);
    for (int64_t plane = 0; plane < transform->planes && left < right; plane++)
        for (int64_t row = top; row < bottom; row++)
            memset((char *)to + (size_t)((plane * rows + row) * columns + left) * width, 0,
                   (size_t)(right - left) * width);
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

static const struct program_tensor plain = {.element = PROGRAM_F32, .storage = PROGRAM_F32};

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

/* ---- an example ---- */

/* Values on their way through the stages. */
struct passing {
    const void *values;
    enum program_element element;
    int next; /* the scratch buffer that is free */
};

/* Passes an example through the stages from `first` up to `last`. */
static void pass(const struct transform *transform, int first, int last, bool training, uint64_t seed, int64_t row,
                 void *scratch[SCRATCHES], struct passing *passing)
{
    for (int i = first; i < last; i++) {
        const struct data_stage *stage = &transform->line->stages[i];
        void *to = scratch[passing->next];
        size_t width = program_element_bytes(passing->element);
        uint64_t bits = data_hash(seed, STREAM_AUGMENT + 16 * (uint64_t)i, (uint64_t)row, 0);
        if (!applies(transform, stage) || (stage->kind != DATA_NORMALIZE && !training))
            continue;
        if (stage->kind == DATA_NORMALIZE) {
            convert(passing->element, passing->values, &plain, to, transform->elements);
            normalize(transform, stage, to);
            passing->element = PROGRAM_F32;
        } else if (stage->kind == DATA_CUTOUT) {
            cut_out(transform, stage, bits, width, passing->values, to);
        } else if (!move(transform, stage, bits, width, passing->values, to)) {
            continue;
        }
        passing->values = to;
        passing->next = !passing->next;
    }
}

static uint64_t mixup_stream(const struct transform *transform)
{
    return STREAM_AUGMENT + 16 * (uint64_t)transform->mixup;
}

int64_t transform_partner(const struct transform *transform, uint64_t seed, int64_t row, int64_t count)
{
    if (transform->mixup < 0)
        return -1;
    return data_below(data_hash(seed, mixup_stream(transform), (uint64_t)row, UINT64_MAX), count);
}

static double share_of(const struct transform *transform, uint64_t seed, int64_t row)
{
    return data_beta(transform->line->stages[transform->mixup].alpha, seed, mixup_stream(transform), (uint64_t)row);
}

/* A class as the share of each class. */
static void spread(const struct transform *transform, const struct example *own, const struct example *other,
                   uint64_t seed, void *out)
{
    const struct program_tensor *tensor = &transform->input->tensor;
    size_t width = program_element_bytes(tensor->storage);
    int64_t first = (int64_t)tensor_get(transform->from, own->values);
    int64_t second = other ? (int64_t)tensor_get(transform->from, other->values) : first;
    double share = other ? share_of(transform, seed, own->row) : 1;
    for (int64_t i = 0; i < transform->shares; i++) {
        double value = (i == first ? share : 0) + (i == second ? 1 - share : 0);
        tensor_put(tensor->storage, (char *)out + (size_t)i * width, tensor_round(tensor->element, value));
    }
}

/* Mixes what both examples are before the stage into scratch[SCRATCH_MIXED]. */
static void mix(const struct transform *transform, struct passing *passing, const struct example *own,
                const struct example *other, uint64_t seed, void *scratch[SCRATCHES])
{
    struct passing added = {other->values, transform->from, 0};
    float *mixed = scratch[SCRATCH_MIXED], share = (float)share_of(transform, seed, own->row);
    convert(passing->element, passing->values, &plain, mixed, transform->elements);
    pass(transform, 0, transform->mixup, true, seed, other->row, scratch, &added);
    convert(added.element, added.values, &plain, scratch[SCRATCH_ADDED], transform->elements);
    for (int64_t i = 0; i < transform->elements; i++)
        mixed[i] = share * mixed[i] + (1 - share) * ((const float *)scratch[SCRATCH_ADDED])[i];
    *passing = (struct passing){mixed, PROGRAM_F32, 0};
}

void transform_apply(const struct transform *transform, const struct example *own, const struct example *other,
                     bool training, uint64_t seed, void *scratch[SCRATCHES], void *out)
{
    struct passing passing = {own->values, transform->from, 0};
    int stages = transform->line->stage_count, first = transform->mixup >= 0 ? transform->mixup : stages;
    if (transform->shares) {
        spread(transform, own, other, seed, out);
        return;
    }
    pass(transform, 0, first, training, seed, own->row, scratch, &passing);
    if (other)
        mix(transform, &passing, own, other, seed, scratch);
    pass(transform, first, stages, training, seed, own->row, scratch, &passing);
    convert(passing.element, passing.values, &transform->input->tensor, out, transform->elements);
}
