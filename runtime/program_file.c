/* A program as bytes: one walk over its structs serves writing and reading, so the two cannot drift apart.
 *
 * Layout: magic, version, payload length, xxhash of the payload, payload. Every number is a little-endian u64, a string
 * its length and bytes (no NUL), an array its count and elements. The reader never trusts a count: an array's elements
 * take at least a byte each, so a count beyond the bytes that are left is refused before anything is allocated. */
#include "runtime/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char magic[8] = "castor\r\n";

enum { HEADER_BYTES = 32 };

struct codec {
    struct program *program; /* allocates what is read */
    bool writing;
    char *bytes; /* read: the payload; write: malloced */
    size_t position, size;
    const char *problem; /* the first; everything after it does nothing */
};

static void fail(struct codec *codec, const char *problem)
{
    if (!codec->problem)
        codec->problem = problem;
}

static bool room_to_write(struct codec *codec, size_t bytes)
{
    if (codec->size - codec->position >= bytes)
        return true;
    size_t size = codec->size * 2 > codec->position + bytes ? codec->size * 2 : codec->position + bytes;
    char *grown = realloc(codec->bytes, size);
    if (!grown) {
        fail(codec, "out of memory");
        return false;
    }
    codec->bytes = grown;
    codec->size = size;
    return true;
}

static void code_bytes(struct codec *codec, void *bytes, size_t count)
{
    if (codec->problem)
        return;
    if (codec->writing) {
        if (count && room_to_write(codec, count))
            memcpy(codec->bytes + codec->position, bytes, count);
    } else if (count > codec->size - codec->position) {
        fail(codec, "the bytes end too early");
        return;
    } else if (count) {
        memcpy(bytes, codec->bytes + codec->position, count);
    }
    codec->position += count;
}

static void code_u64(struct codec *codec, uint64_t *value)
{
    unsigned char bytes[8] = {0};
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(*value >> (8 * i));
    code_bytes(codec, bytes, 8);
    if (codec->writing || codec->problem)
        return;
    *value = 0;
    for (int i = 0; i < 8; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
}

static void code_i64(struct codec *codec, int64_t *value)
{
    uint64_t bits = (uint64_t)*value;
    code_u64(codec, &bits);
    *value = (int64_t)bits;
}

/* Numbers that must lie in 0 … last: enums, ranks, flags, lines. */
static uint64_t code_bounded(struct codec *codec, uint64_t value, uint64_t last)
{
    code_u64(codec, &value);
    if (value <= last)
        return value;
    fail(codec, "a number is out of range");
    return 0;
}

#define CODE(field, type, last) ((field) = (type)code_bounded(codec, (uint64_t)(field), (uint64_t)(last)))

static void code_string(struct codec *codec, const char **text)
{
    uint64_t length = *text ? strlen(*text) : UINT64_MAX;
    code_u64(codec, &length);
    if (codec->problem)
        return;
    if (codec->writing) {
        if (*text)
            code_bytes(codec, (void *)*text, length);
        return;
    }
    *text = NULL;
    if (length == UINT64_MAX)
        return;
    if (length > codec->size - codec->position || memchr(codec->bytes + codec->position, '\0', length)) {
        fail(codec, "a text is damaged");
        return;
    }
    char *copy = program_allocate(codec->program, length + 1);
    if (copy)
        code_bytes(codec, copy, length);
    else
        fail(codec, "out of memory");
    *text = copy;
}

/* A text that must be there. */
static void code_name(struct codec *codec, const char **text)
{
    code_string(codec, text);
    if (!*text) {
        fail(codec, "a name is missing");
        *text = "";
    }
}

/* Codes the count and makes room for the elements when reading. Gives the elements, NULL after a problem. */
static void *code_array(struct codec *codec, void *elements, int *count, size_t element_bytes)
{
    CODE(*count, int, INT32_MAX);
    if (!codec->problem && !codec->writing) {
        if ((uint64_t)*count > codec->size - codec->position)
            fail(codec, "a count is larger than the file");
        else if (!(elements = program_allocate(codec->program, (size_t)*count * element_bytes)))
            fail(codec, "out of memory");
    }
    if (codec->problem)
        *count = 0;
    return codec->problem ? NULL : elements;
}

static void code_tensor(struct codec *codec, struct program_tensor *tensor)
{
    CODE(tensor->element, enum program_element, PROGRAM_BOOL);
    CODE(tensor->storage, enum program_element, PROGRAM_BOOL);
    CODE(tensor->rank, int, PROGRAM_RANK);
    for (int i = 0; i < tensor->rank; i++) {
        code_i64(codec, &tensor->dimension[i]);
        CODE(tensor->order[i], unsigned char, PROGRAM_RANK - 1);
    }
}

static void code_place(struct codec *codec, struct program_place *place)
{
    CODE(place->space, enum program_space, PROGRAM_INPUT);
    CODE(place->input, uint32_t, UINT32_MAX);
    code_u64(codec, &place->offset);
}

static void code_i64s(struct codec *codec, int64_t *values, int count)
{
    for (int i = 0; i < count; i++)
        code_i64(codec, &values[i]);
}

static void code_matmul(struct codec *codec, struct program_matmul *matmul)
{
    code_i64(codec, &matmul->batch);
    code_i64(codec, &matmul->m);
    code_i64(codec, &matmul->n);
    code_i64(codec, &matmul->k);
    code_i64s(codec, matmul->a_stride, 3);
    code_i64s(codec, matmul->b_stride, 3);
    code_i64s(codec, matmul->d_stride, 3);
    CODE(matmul->a, enum program_element, PROGRAM_BOOL);
    CODE(matmul->b, enum program_element, PROGRAM_BOOL);
    CODE(matmul->d, enum program_element, PROGRAM_BOOL);
    CODE(matmul->bias, enum program_element, PROGRAM_BOOL);
    CODE(matmul->epilogue, unsigned, UINT32_MAX);
}

static void code_conv(struct codec *codec, struct program_conv *conv)
{
    CODE(conv->kind, enum program_conv_kind, PROGRAM_CONV_WEIGHT);
    CODE(conv->spatial, int, PROGRAM_SPATIAL);
    code_i64(codec, &conv->n);
    code_i64(codec, &conv->c);
    code_i64(codec, &conv->o);
    code_i64(codec, &conv->groups);
    int64_t *const lists[] = {conv->x,        conv->kernel,  conv->y,       conv->stride,
                              conv->dilation, conv->pad_low, conv->pad_high};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        code_i64s(codec, lists[i], conv->spatial);
    CODE(conv->channels_last, bool, 1);
    CODE(conv->x_element, enum program_element, PROGRAM_BOOL);
    CODE(conv->weight_element, enum program_element, PROGRAM_BOOL);
    CODE(conv->y_element, enum program_element, PROGRAM_BOOL);
    CODE(conv->bias, enum program_element, PROGRAM_BOOL);
    CODE(conv->epilogue, unsigned, UINT32_MAX);
}

static void code_step(struct codec *codec, struct program_step *step)
{
    CODE(step->kind, enum program_step_kind, PROGRAM_COPY_STEP);
    code_name(codec, &step->name);
    code_string(codec, &step->file);
    CODE(step->line, int, INT32_MAX);
    CODE(step->column, int, INT32_MAX);
    step->buffers = code_array(codec, step->buffers, &step->buffer_count, sizeof *step->buffers);
    for (int i = 0; i < step->buffer_count; i++)
        code_place(codec, &step->buffers[i]);
    code_u64(codec, &step->bytes);
    code_u64(codec, &step->flops);
    code_u64(codec, &step->workspace);
    step->integers = code_array(codec, step->integers, &step->integer_count, sizeof *step->integers);
    code_i64s(codec, step->integers, step->integer_count);
    CODE(step->kernel, uint32_t, UINT32_MAX);
    code_i64(codec, &step->blocks);
    if (step->kind == PROGRAM_MATMUL_STEP)
        code_matmul(codec, &step->matmul);
    else if (step->kind == PROGRAM_CONV_STEP)
        code_conv(codec, &step->conv);
    else if (step->kind == PROGRAM_COPY_STEP)
        code_u64(codec, &step->copy_bytes);
}

static void code_output(struct codec *codec, struct program_output *output)
{
    code_name(codec, &output->name);
    CODE(output->kind, enum program_output_kind, PROGRAM_TOTAL);
    code_tensor(codec, &output->tensor);
    code_place(codec, &output->place);
    CODE(output->minimized, bool, 1);
}

static void code_entry(struct codec *codec, struct program_entry *entry)
{
    code_name(codec, &entry->name);
    code_i64(codec, &entry->batch);
    code_u64(codec, &entry->scratch_bytes);
    entry->inputs = code_array(codec, entry->inputs, &entry->input_count, sizeof *entry->inputs);
    for (int i = 0; i < entry->input_count; i++) {
        code_name(codec, &entry->inputs[i].name);
        code_tensor(codec, &entry->inputs[i].tensor);
        code_i64(codec, &entry->inputs[i].classes);
    }
    entry->outputs = code_array(codec, entry->outputs, &entry->output_count, sizeof *entry->outputs);
    for (int i = 0; i < entry->output_count; i++)
        code_output(codec, &entry->outputs[i]);
    entry->steps = code_array(codec, entry->steps, &entry->step_count, sizeof *entry->steps);
    for (int i = 0; i < entry->step_count; i++)
        code_step(codec, &entry->steps[i]);
    entry->strips = code_array(codec, entry->strips, &entry->strip_count, sizeof *entry->strips);
    for (int i = 0; i < entry->strip_count; i++) {
        CODE(entry->strips[i].first, int, INT32_MAX);
        CODE(entry->strips[i].count, int, INT32_MAX);
        code_i64(codec, &entry->strips[i].items);
        code_i64(codec, &entry->strips[i].size);
    }
}

static void code_program(struct codec *codec, struct program *program)
{
    code_name(codec, &program->name);
    code_name(codec, &program->target);
    code_name(codec, &program->source);
    code_u64(codec, &program->alignment);
    code_u64(codec, &program->state_bytes);
    CODE(program->accumulate, int, INT32_MAX);
    CODE(program->scaled, bool, 1);
    program->kernels = code_array(codec, program->kernels, &program->kernel_count, sizeof *program->kernels);
    for (int i = 0; i < program->kernel_count; i++) {
        code_name(codec, &program->kernels[i].name);
        code_name(codec, &program->kernels[i].source);
        CODE(program->kernels[i].threads, int, PROGRAM_THREADS);
        code_i64(codec, &program->kernels[i].blocks);
        CODE(program->kernels[i].shared_bytes, uint32_t, UINT32_MAX);
        CODE(program->kernels[i].cooperative, bool, 1);
    }
    program->variables = code_array(codec, program->variables, &program->variable_count, sizeof *program->variables);
    for (int i = 0; i < program->variable_count; i++) {
        struct program_variable *variable = &program->variables[i];
        code_name(codec, &variable->name);
        CODE(variable->kind, enum program_variable_kind, PROGRAM_HOST);
        code_tensor(codec, &variable->tensor);
        code_u64(codec, &variable->offset);
    }
    program->origins = code_array(codec, program->origins, &program->origin_count, sizeof *program->origins);
    for (int i = 0; i < program->origin_count; i++) {
        code_i64(codec, &program->origins[i].number);
        code_name(codec, &program->origins[i].text);
        CODE(program->origins[i].forward, bool, 1);
    }
    program->entries = code_array(codec, program->entries, &program->entry_count, sizeof *program->entries);
    for (int i = 0; i < program->entry_count; i++)
        code_entry(codec, &program->entries[i]);
}

static void code_header(struct codec *codec, uint64_t *version, uint64_t *length, uint64_t *hash)
{
    char mark[sizeof magic];
    memcpy(mark, magic, sizeof mark);
    code_bytes(codec, mark, sizeof mark);
    if (!codec->problem && memcmp(mark, magic, sizeof mark) != 0)
        fail(codec, "this is no compiled program");
    code_u64(codec, version);
    code_u64(codec, length);
    code_u64(codec, hash);
}

bool program_write(const struct program *program, void **bytes, size_t *size)
{
    uint64_t version = PROGRAM_VERSION, length = 0, hash = 0;
    struct codec codec = {.writing = true};
    code_header(&codec, &version, &length, &hash);
    /* The walk changes nothing when it writes. */
    code_program(&codec, (struct program *)program);
    if (codec.problem) {
        free(codec.bytes);
        return false;
    }
    *size = codec.position;
    *bytes = codec.bytes;
    length = codec.position - HEADER_BYTES;
    hash = XXH64(codec.bytes + HEADER_BYTES, length, 0);
    codec.position = 0;
    code_header(&codec, &version, &length, &hash);
    return true;
}

struct program *program_read(const void *bytes, size_t size, char *problem, size_t problem_size)
{
    uint64_t version = 0, length = 0, hash = 0;
    struct codec codec = {.bytes = (char *)bytes, .size = size, .program = program_new()};
    if (!codec.program)
        fail(&codec, "out of memory");
    code_header(&codec, &version, &length, &hash);
    if (!codec.problem && version != PROGRAM_VERSION)
        fail(&codec, "the program was written by another version of Castor");
    if (!codec.problem && length != size - HEADER_BYTES)
        fail(&codec, "the length is wrong");
    if (!codec.problem && hash != XXH64(codec.bytes + HEADER_BYTES, length, 0))
        fail(&codec, "the bytes are damaged");
    if (!codec.problem)
        code_program(&codec, codec.program);
    if (!codec.problem && codec.position != size)
        fail(&codec, "bytes are left over");
    if (codec.problem)
        snprintf(problem, problem_size, "%s", codec.problem);
    if (!codec.problem && program_check(codec.program, problem, problem_size))
        return codec.program;
    program_free(codec.program);
    return NULL;
}
