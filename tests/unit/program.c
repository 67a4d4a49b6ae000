/* Programs as bytes: what is written reads back to the same bytes; no damage goes unnoticed, and bytes that were
 * damaged on purpose, checksum made good, never lead outside memory. */
#include "runtime/program.h"
#include "check.h"

#include <stdlib.h>
#include <xxhash.h>

enum { HEADER = 32, HASH_AT = 24 };

static struct program_tensor tensor(enum program_element element, enum program_element storage, int64_t a, int64_t b)
{
    return (struct program_tensor){element, storage, 2, {a, b}, {1, 0}};
}

static void fill_steps(struct program *program, struct program_entry *entry)
{
    static const int buffers[] = {2, 4, 5, 2};
    entry->step_count = 4;
    entry->steps = program_allocate(program, 4 * sizeof *entry->steps);
    for (int i = 0; i < 4; i++) {
        struct program_step *step = &entry->steps[i];
        *step = (struct program_step){.kind = (enum program_step_kind)i, .name = "step", .buffer_count = buffers[i]};
        step->buffers = program_allocate(program, sizeof *step->buffers * (size_t)buffers[i]);
        for (int j = 0; j < buffers[i]; j++)
            step->buffers[j] = (struct program_place){j == 1 ? PROGRAM_SCRATCH : PROGRAM_STATE, 0, 64};
    }
    entry->steps[0].file = "m.net";
    entry->steps[0].line = 12;
    entry->steps[0].column = 5;
    entry->steps[0].buffers[0] = (struct program_place){PROGRAM_INPUT, 0, 0};
    entry->steps[0].integer_count = 2;
    entry->steps[0].integers = program_allocate(program, 2 * sizeof(int64_t));
    entry->steps[0].integers[1] = -7;
    entry->steps[1].matmul =
        (struct program_matmul){1,         4,           2,           3,           {12, 3, 1},  {6, 1, 3},
                                {8, 2, 1}, PROGRAM_F32, PROGRAM_F32, PROGRAM_F32, PROGRAM_F32, PROGRAM_EPILOGUE_BIAS};
    entry->steps[2].conv = (struct program_conv){.kind = PROGRAM_CONV_WEIGHT,
                                                 .spatial = 2,
                                                 .n = 1,
                                                 .c = 2,
                                                 .o = 3,
                                                 .groups = 1,
                                                 .x = {5, 5},
                                                 .kernel = {3, 3},
                                                 .y = {3, 3},
                                                 .epilogue = PROGRAM_EPILOGUE_ADD | PROGRAM_EPILOGUE_BIAS};
    entry->steps[3].copy_bytes = 100;
}

static struct program *make_program(void)
{
    struct program *program = program_new();
    program->name = program_string(program, "small");
    program->target = "host";
    program->source = "typedef float vf;\n";
    program->state_bytes = 1024;
    program->accumulate = 3;
    program->scaled = true;
    program->kernel_count = 2;
    program->kernels = program_allocate(program, 2 * sizeof *program->kernels);
    program->kernels[0] = (struct program_kernel){.name = "k0", .source = "void k0(void) {}\n"};
    program->kernels[1] = (struct program_kernel){"k1", "void k1(void) {}\n", 256, 12345678901, 4096, true};
    program->variable_count = 2;
    program->variables = program_allocate(program, 2 * sizeof *program->variables);
    program->variables[0] =
        (struct program_variable){"fc1.weight", PROGRAM_PARAMETER, tensor(PROGRAM_F32, PROGRAM_F32, 8, 4), 0};
    program->variables[1] =
        (struct program_variable){"fc1.weight:f16", PROGRAM_COPY, tensor(PROGRAM_F16, PROGRAM_F32, 8, 4), 128};
    program->entry_count = 1;
    struct program_entry *entry = program->entries = program_allocate(program, sizeof *entry);
    *entry =
        (struct program_entry){.name = "train", .batch = 4, .scratch_bytes = 256, .input_count = 1, .output_count = 1};
    entry->inputs = program_allocate(program, sizeof *entry->inputs);
    entry->inputs[0] = (struct program_input){"label", tensor(PROGRAM_I32, PROGRAM_I32, 4, 1), 10};
    entry->outputs = program_allocate(program, sizeof *entry->outputs);
    entry->outputs[0] = (struct program_output){
        "loss", PROGRAM_LOSS, {.element = PROGRAM_F32, .storage = PROGRAM_F32}, {PROGRAM_SCRATCH, 0, 0}, true};
    fill_steps(program, entry);
    return program;
}

static void check_round_trip(const struct program *program, const void *bytes, size_t size)
{
    char problem[256] = "";
    struct program *read = program_read(bytes, size, problem, sizeof problem);
    CHECK_TEXT(problem, "");
    CHECK(read);
    if (!read)
        return;
    char *before = program_text(program), *after = program_text(read);
    CHECK_TEXT(after, before);
    CHECK(strstr(after, "copy fc1.weight:f16: f16[8, 4] order 1,0 as f32 at 128"));
    CHECK(strstr(after, "kernel k0 (label, scratch+64; 0, -7)") && strstr(after, "# m.net:12:5"));
    CHECK(strstr(after, "[4, 3] @ [3, 2] f32 -> f32 +bias") && strstr(after, "conv_weight"));
    void *again;
    size_t again_size;
    CHECK(program_write(read, &again, &again_size) && again_size == size && memcmp(again, bytes, size) == 0);
    free(again);
    free(before);
    free(after);
    program_free(read);
}

/* Every cut and every flipped byte is refused, with a message. */
static void check_damage(const unsigned char *bytes, size_t size)
{
    unsigned char *copy = malloc(size);
    int accepted = 0;
    for (size_t i = 0; i < size; i++) {
        char problem[256] = "";
        memcpy(copy, bytes, size);
        struct program *cut = program_read(copy, i, problem, sizeof problem);
        accepted += cut || !problem[0];
        program_free(cut);
        copy[i] ^= 0x41;
        problem[0] = '\0';
        struct program *flipped = program_read(copy, size, problem, sizeof problem);
        accepted += flipped || !problem[0];
        program_free(flipped);
    }
    CHECK(accepted == 0);
    free(copy);
}

/* As above, but the checksum is made good again: the program may be accepted, and is then sound. */
static void check_forged(const unsigned char *bytes, size_t size)
{
    static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    unsigned char *copy = malloc(size);
    int unsound = 0, refused = 0;
    for (size_t i = HEADER; i < size; i++)
        for (size_t j = 0; j < sizeof values; j++) {
            char problem[256] = "";
            memcpy(copy, bytes, size);
            copy[i] = values[j];
            uint64_t hash = XXH64(copy + HEADER, size - HEADER, 0);
            memcpy(copy + HASH_AT, &hash, sizeof hash);
            struct program *read = program_read(copy, size, problem, sizeof problem);
            unsound += read && !program_check(read, problem, sizeof problem);
            refused += !read;
            program_free(read);
        }
    CHECK(unsound == 0 && refused > 100);
    free(copy);
}

/* A kernel is launched with blocks and threads, or it is a function of the host and has neither. */
static void check_geometry(struct program *program)
{
    char problem[256];
    program->entries[0].steps[0].kernel = 1;
    char *text = program_text(program);
    CHECK(strstr(text, "kernel k1 <12345678901 x 256, cooperative> (label"));
    free(text);
    program->entries[0].steps[0].blocks = 77;
    CHECK(program_check(program, problem, sizeof problem));
    text = program_text(program);
    CHECK(strstr(text, "kernel k1 <77 x 256, cooperative> (label"));
    free(text);
    program->entries[0].steps[0].kernel = 0;
    CHECK(!program_check(program, problem, sizeof problem));
    CHECK_TEXT(problem, "train/step: 77 blocks of its own");
    program->entries[0].steps[0].kernel = 1;
    program->entries[0].steps[0].blocks = 0;
    program->kernels[0].blocks = 3;
    CHECK(!program_check(program, problem, sizeof problem));
    CHECK_TEXT(problem, "k0: 3 blocks of 0 threads");
    program->kernels[0].blocks = 0;
    program->kernels[1].threads = 2048;
    CHECK(!program_check(program, problem, sizeof problem));
    CHECK_TEXT(problem, "k1: 2048 threads a block");
    program->kernels[1].threads = 256;
    CHECK(program_check(program, problem, sizeof problem));
}

int main(void)
{
    struct program *program = make_program();
    char problem[256];
    void *bytes;
    size_t size;
    CHECK(program_check(program, problem, sizeof problem));
    CHECK(program_write(program, &bytes, &size));
    check_round_trip(program, bytes, size);
    check_damage(bytes, size);
    check_forged(bytes, size);
    free(bytes);
    check_geometry(program);
    program->entries[0].steps[1].buffer_count = 3;
    CHECK(!program_check(program, problem, sizeof problem));
    CHECK_TEXT(problem, "train/step: 3 buffers are too few");
    CHECK(program_find_entry(program, "train") && !program_find_entry(program, "eval"));
    CHECK(program_find_variable(program, "fc1.weight") && !program_find_variable(program, "fc1"));
    program_free(program);
    return check_result();
}
