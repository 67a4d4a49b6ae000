/* One run for all files, with a variable of each kind, two optimizer lines and all that a loop keeps. */
#include "tests/checkpoint_file.h"
#include "runtime/file.h"
#include "runtime/host/host.h"
#include "runtime/trainer_files.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct program_tensor f32 = {.element = PROGRAM_F32, .storage = PROGRAM_F32},
                                   i64 = {.element = PROGRAM_I64, .storage = PROGRAM_I64},
                                   matrix = {.element = PROGRAM_F32,
                                             .storage = PROGRAM_F32,
                                             .rank = 2,
                                             .dimension = {2, 3},
                                             .order = {0, 1}};
static const struct train_settings settings = {.seed = 7,
                                               .precision = "autocast(f16)",
                                               .optimizer = "a with adam",
                                               .entries = "batch 8\nepochs 2\n",
                                               .quiet = true};
static const struct batches batches = {.examples = {64, 16, 0}};

/* One entry that does nothing and gives two losses and what their scales skipped. */
static struct program *make_program(void)
{
    static const char *const outputs[] = {"a", "b", "skipped/a", "skipped/b"};
    const struct program_variable variables[] = {{"fc.weight", PROGRAM_PARAMETER, matrix, 0},
                                                 {"bn.running_mean", PROGRAM_FORWARD_STATE, f32, 64},
                                                 {"train/fc.weight.m", PROGRAM_OPTIMIZER, matrix, 128},
                                                 {"train/seed", PROGRAM_HOST, i64, 192},
                                                 {"train/scale/a", PROGRAM_OPTIMIZER, f32, 256},
                                                 {"train/gradient/fc.weight", PROGRAM_OPTIMIZER, matrix, 320},
                                                 {"fc.weight:half", PROGRAM_COPY, matrix, 384}};
    struct program *program = program_new();
    program->name = "fuzz";
    program->state_bytes = 448;
    program->alignment = 64;
    program->accumulate = 4;
    program->variable_count = sizeof variables / sizeof *variables;
    program->variables = program_allocate(program, sizeof variables);
    memcpy(program->variables, variables, sizeof variables);
    program->entry_count = 1;
    struct program_entry *entry = program->entries = program_allocate(program, sizeof *program->entries);
    *entry = (struct program_entry){.name = "train", .batch = 8, .scratch_bytes = 64, .output_count = 4};
    entry->outputs = program_allocate(program, sizeof *entry->outputs * 4);
    for (int i = 0; i < 4; i++)
        entry->outputs[i] = (struct program_output){.name = outputs[i],
                                                    .kind = i < 2 ? PROGRAM_LOSS : PROGRAM_LOG,
                                                    .tensor = f32,
                                                    .place = {PROGRAM_SCRATCH, 0, 4 * (uint64_t)i}};
    return program;
}

/* A loop at its beginning, on the one executor. */
static struct trainer make_trainer(struct train_result *result)
{
    static struct executor *executor;
    static struct program *program;
    if (!executor) {
        struct error error = {0};
        const struct host_settings host = {.threads = 1, .cache = "off"};
        struct device *device = host_device_new(&host, &error);
        program = make_program();
        executor = device ? executor_new(device, program, false, &error) : NULL;
        if (!executor) {
            error_print(&error, stderr);
            abort();
        }
    }
    struct trainer trainer = {.settings = &settings, .batches = &batches, .program = program, .executor = executor};
    *result = (struct train_result){0};
    trainer.result = result;
    trainer.feeder.program = &program->entries[0];
    trainer.total = 100;
    return trainer;
}

static void free_trainer(struct trainer *trainer)
{
    tally_free(&trainer->step);
    tally_free(&trainer->epoch);
    divergence_free(&trainer->divergence);
    scores_free(&trainer->result->scores);
    free(trainer->best_name);
}

unsigned char *checkpoint_file(size_t *size)
{
    struct train_result result;
    struct error error = {0};
    struct trainer trainer = make_trainer(&result);
    const struct program_entry *entry = trainer.feeder.program;
    const struct skip_line line = {.name = "a", .skipped = 3, .before = 8, .scale = 4};
    char folder[] = "/tmp/checkpoint-XXXXXX";
    trainer.launched = 9;
    trainer.micro = 2;
    char *path = mkdtemp(folder) ? file_text("%s/last.safetensors", folder) : NULL;
    bool ok = path && scores_add(&result.scores, "a", 0.5, true) &&
              tally_add(&trainer.epoch, entry, (double[]){1, 2, 0, 1}, 8) &&
              tally_add(&trainer.step, entry, (double[]){1, 2, 0, 1}, 8) &&
              divergence_restore(&trainer.divergence, &line) && trainer_write_checkpoint(&trainer, path, &error);
    char *bytes = ok ? file_read(path, size, &error) : NULL;
    char *key = bytes ? memmem(bytes, *size, "\"checksum\"", 10) : NULL;
    if (!key)
        abort();
    key[8] = 'x'; /* another note, which says nothing */
    unlink(path);
    rmdir(folder);
    free(path);
    free_trainer(&trainer);
    return (unsigned char *)bytes;
}

bool checkpoint_take(const char *path)
{
    struct train_result result;
    struct error error = {0};
    struct trainer trainer = make_trainer(&result);
    struct safetensors *file = safetensors_open(path, &error);
    bool taken = file && trainer_is_checkpoint(file, &error) && trainer_restore(&trainer, file, &error);
    safetensors_close(file);
    free_trainer(&trainer);
    return taken;
}
