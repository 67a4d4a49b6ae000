/* The data lines as plain data. Names and arguments were checked by the elaborator, so nothing can be wrong here. */
#include "frontend/data.h"

#include <string.h>

static const struct setting_argument *argument(const struct setting_call *call, const char *name)
{
    for (int i = 0; i < call->argument_count; i++)
        if (strcmp(call->arguments[i].name, name) == 0)
            return &call->arguments[i];
    return NULL;
}

static double number(const struct setting_call *call, const char *name, double otherwise)
{
    const struct setting_argument *found = argument(call, name);
    return found ? found->number : otherwise;
}

static const char *text(const struct setting_call *call, const char *name)
{
    const struct setting_argument *found = argument(call, name);
    return found ? found->text : NULL;
}

/* `field = uniform(a, b)`, `normal(mean, std)` or `classes`. */
static struct data_synthetic_field synthetic_field(const struct setting_argument *field)
{
    const struct setting_call *call = field->call;
    struct data_synthetic_field result = {.name = field->name};
    if (strcmp(call->name, "uniform") == 0) {
        result.distribution = DATA_UNIFORM;
        result.a = number(call, "a", 0);
        result.b = number(call, "b", 1);
    } else if (strcmp(call->name, "normal") == 0) {
        result.distribution = DATA_NORMAL;
        result.a = number(call, "mean", 0);
        result.b = number(call, "std", 1);
    } else {
        result.distribution = DATA_CLASSES;
    }
    return result;
}

static enum data_kind find_kind(const char *name)
{
    static const struct {
        const char *name;
        enum data_kind kind;
    } kinds[] = {{"idx", DATA_IDX},       {"csv", DATA_CSV},   {"safetensors", DATA_TENSORS},
                 {"npz", DATA_NUMPY},     {"npy", DATA_NUMPY}, {"synthetic", DATA_SYNTHETIC},
                 {"images", DATA_IMAGES}, {"text", DATA_TEXT}, {"command", DATA_COMMAND}};
    size_t at = 0;
    while (strcmp(kinds[at].name, name) != 0)
        at++;
    return kinds[at].kind;
}

static void describe_source(struct arena *arena, const struct setting_call *source, struct data_source *result)
{
    const char *tokens = text(source, "tokens");
    bool synthetic = strcmp(source->name, "synthetic") == 0;
    result->kind = find_kind(source->name);
    result->path = text(source, result->kind == DATA_COMMAND ? "command" : "path");
    result->label = text(source, "label");
    result->examples = (int64_t)number(source, "examples", 0);
    result->test = synthetic ? (int64_t)number(source, "test", 0) : 0;
    result->test_share = synthetic ? 0 : number(source, "test", 0);
    result->window = (int64_t)number(source, "window", 0);
    result->stride = (int64_t)number(source, "stride", (double)result->window);
    result->characters = tokens && strcmp(tokens, "characters") == 0;
    struct data_synthetic_field *fields = ARENA_ARRAY(arena, struct data_synthetic_field, source->argument_count);
    for (int i = 0; i < source->argument_count; i++)
        if (source->arguments[i].kind == SETTING_CALL)
            fields[result->synthetic_count++] = synthetic_field(&source->arguments[i]);
    result->synthetic = fields;
}

static int value_count(const struct setting_argument *found)
{
    return found->kind == SETTING_NUMBERS ? found->count : 1;
}

/* A list of `count` values; one value is repeated. */
static const double *values(struct arena *arena, const struct setting_argument *found, int count)
{
    double *list = ARENA_ARRAY(arena, double, count);
    for (int i = 0; i < count; i++)
        list[i] = found->kind != SETTING_NUMBERS ? found->number : found->numbers[found->count == 1 ? 0 : i];
    return list;
}

static void describe_normalize(struct arena *arena, const struct setting_call *call, struct data_stage *stage)
{
    const struct setting_argument *mean = argument(call, "mean"), *deviation = argument(call, "std");
    stage->kind = DATA_NORMALIZE;
    stage->channels = value_count(mean) > value_count(deviation) ? value_count(mean) : value_count(deviation);
    stage->mean = values(arena, mean, stage->channels);
    stage->deviation = values(arena, deviation, stage->channels);
}

static struct data_stage describe_stage(struct arena *arena, const struct setting_call *call)
{
    struct data_stage stage = {.kind = DATA_RANDOM_FLIP};
    if (strcmp(call->name, "random_crop") == 0) {
        stage.kind = DATA_RANDOM_CROP;
        stage.pad = (int)number(call, "pad", 0);
    } else if (strcmp(call->name, "cutout") == 0) {
        stage.kind = DATA_CUTOUT;
        stage.size = (int)number(call, "size", 0);
    } else if (strcmp(call->name, "mixup") == 0) {
        stage.kind = DATA_MIXUP;
        stage.alpha = number(call, "alpha", 1);
    } else if (strcmp(call->name, "normalize") == 0) {
        describe_normalize(arena, call, &stage);
    }
    return stage;
}

static void describe_line(struct arena *arena, const struct data_line *line, struct data_source *result)
{
    describe_source(arena, &line->source, result);
    int renames = 0;
    for (int i = 0; i < line->stage_count; i++)
        renames += line->stages[i].argument_count;
    struct data_stage *stages = ARENA_ARRAY(arena, struct data_stage, line->stage_count);
    struct data_rename *rename = ARENA_ARRAY(arena, struct data_rename, renames);
    for (int i = 0; i < line->stage_count; i++) {
        const struct setting_call *call = &line->stages[i];
        if (strcmp(call->name, "rename") != 0) {
            stages[result->stage_count++] = describe_stage(arena, call);
            continue;
        }
        for (int k = 0; k < call->argument_count; k++)
            rename[result->rename_count++] = (struct data_rename){call->arguments[k].name, call->arguments[k].text};
    }
    result->stages = stages;
    result->renames = rename;
}

struct data_description *data_describe(struct arena *arena, const struct data_setting *setting)
{
    struct data_description *result = ARENA_NEW(arena, struct data_description);
    struct data_source *sources = ARENA_ARRAY(arena, struct data_source, setting->count);
    for (int i = 0; i < setting->count; i++)
        describe_line(arena, &setting->lines[i], &sources[i]);
    result->sources = sources;
    result->source_count = setting->count;
    return result;
}
