/* Weights by name: what PyTorch writes loads; names and shapes that don't fit are told; saving and loading gives the
 * same bytes; and `run` feeds and fetches by the same names. */
#include "runtime/weights.h"
#include "check.h"
#include "runtime/file.h"
#include "runtime/host/host.h"
#include "runtime/run.h"
#include "runtime/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const struct program_tensor vector = {PROGRAM_F32, PROGRAM_F32, 1, {2}, {0}};
static const struct program_tensor half_vector = {PROGRAM_F16, PROGRAM_F32, 1, {2}, {0}};
static const struct program_tensor scalar = {.element = PROGRAM_F32, .storage = PROGRAM_F32};

/* No kernels, so that no compiler is needed: `eval` copies w to scratch and shows it. */
static struct program *make_program(void)
{
    struct program *program = program_new();
    const struct program_variable variables[] = {{"fc.weight", PROGRAM_PARAMETER, vector, 0},
                                                 {"bn.running_mean", PROGRAM_FORWARD_STATE, vector, 64},
                                                 {"train/fc.weight.m", PROGRAM_OPTIMIZER, scalar, 128},
                                                 {"fc.weight:f16", PROGRAM_COPY, half_vector, 192}};
    program->name = "small";
    program->state_bytes = 256;
    program->variable_count = 4;
    program->variables = program_allocate(program, sizeof variables);
    memcpy(program->variables, variables, sizeof variables);
    program->entry_count = 1;
    struct program_entry *entry = program->entries = program_allocate(program, sizeof *entry);
    *entry = (struct program_entry){
        .name = "eval", .batch = 2, .scratch_bytes = 64, .input_count = 1, .output_count = 3, .step_count = 1};
    entry->inputs = program_allocate(program, sizeof *entry->inputs);
    entry->inputs[0] = (struct program_input){"label", {PROGRAM_I32, PROGRAM_I32, 1, {2}, {0}}, 10};
    entry->outputs = program_allocate(program, 3 * sizeof *entry->outputs);
    entry->outputs[0] = (struct program_output){"w", PROGRAM_VALUE, half_vector, {PROGRAM_SCRATCH, 0, 0}, false};
    entry->outputs[1] = (struct program_output){"ratio", PROGRAM_NUMERATOR, scalar, {PROGRAM_STATE, 0, 0}, false};
    entry->outputs[2] = (struct program_output){"ratio", PROGRAM_DENOMINATOR, scalar, {PROGRAM_STATE, 0, 4}, false};
    struct program_step *step = entry->steps = program_allocate(program, sizeof *step);
    *step = (struct program_step){.kind = PROGRAM_COPY_STEP, .name = "copy", .buffer_count = 2, .copy_bytes = 8};
    step->buffers = program_allocate(program, 2 * sizeof *step->buffers);
    step->buffers[1].space = PROGRAM_SCRATCH;
    return program;
}

static const float two[2] = {1.5f, -2}, three[3] = {1, 2, 3};
static const double wide[2] = {0.1, 4};
static const int64_t count[1] = {5}, labels[2] = {3, 9};

static const char *load(struct executor *executor, const struct safetensors_tensor *tensors, int tensor_count,
                        bool partial, struct error *error)
{
    *error = (struct error){0};
    CHECK(safetensors_write("w.safetensors", tensors, tensor_count, NULL, 0, error));
    CHECK(weights_load(executor, "w.safetensors", partial, error) == !error->code);
    return error->text;
}

static const struct safetensors_tensor good[] = {
    {"bn.num_batches_tracked", PROGRAM_I64, 0, {0}, count, sizeof count},
    {"bn.running_mean", PROGRAM_F64, 1, {2}, wide, sizeof wide},
    {"train/anything", PROGRAM_F32, 1, {2}, two, sizeof two},
    {"fc.weight", PROGRAM_F32, 1, {2}, two, sizeof two},
};

static void check_loading(struct executor *executor, const struct program *program)
{
    struct error error;
    float got[2];
    CHECK_TEXT(load(executor, good, 4, false, &error), "");
    executor_read(executor, &program->variables[0], got);
    CHECK(got[0] == 1.5f && got[1] == -2);
    executor_read(executor, &program->variables[1], got);
    CHECK(got[0] == (float)0.1 && got[1] == 4);

    CHECK_TEXT(load(executor, good, 3, false, &error), "w.safetensors: weights are missing: fc.weight");
    CHECK(strstr(error.hint, "--weights-partial"));
    CHECK_TEXT(load(executor, good, 3, true, &error), "");
    CHECK_TEXT(load(executor, good, 1, true, &error), "w.safetensors: holds no weight of this network");
    struct safetensors_tensor more[] = {good[1], good[3], {"head.bias", PROGRAM_F32, 1, {2}, two, sizeof two}};
    CHECK_TEXT(load(executor, more, 3, false, &error), "w.safetensors: weights that this network has not: head.bias");
    CHECK_TEXT(load(executor, more, 3, true, &error), "");
    more[1] = (struct safetensors_tensor){"fc.weight", PROGRAM_F32, 1, {3}, three, sizeof three};
    CHECK_TEXT(load(executor, more, 2, false, &error),
               "w.safetensors: fc.weight has shape [3], this network needs [2]");
}

static void check_saving(struct executor *executor, const struct program *program)
{
    struct error error = {0};
    size_t size = 0, again = 0;
    CHECK(weights_save(executor, "a.safetensors", false, &error));
    struct safetensors *file = safetensors_open("a.safetensors", &error);
    CHECK(file && file->count == 2 && !safetensors_find(file, "train/fc.weight.m"));
    safetensors_close(file);
    executor_write(executor, &program->variables[0], wide);
    CHECK(weights_load(executor, "a.safetensors", false, &error) &&
          weights_save(executor, "b.safetensors", false, &error));
    char *a = file_read("a.safetensors", &size, &error), *b = file_read("b.safetensors", &again, &error);
    CHECK(size == again && memcmp(a, b, size) == 0);
    free(a);
    free(b);
}

static const char *run(struct device *device, const struct program *program, const struct safetensors_tensor *tensors,
                       int tensor_count, struct error *error)
{
    *error = (struct error){0};
    CHECK(safetensors_write("in.safetensors", tensors, tensor_count, NULL, 0, error));
    struct run_settings settings = {.entry = "eval", .feed = "in.safetensors", .fetch = "out.safetensors", .steps = 1};
    CHECK(run_program(device, program, &settings, error) == !error->code);
    return error->text;
}

static void check_run(struct device *device, const struct program *program)
{
    struct error error;
    struct safetensors_tensor feed[] = {{"label", PROGRAM_I64, 1, {2}, labels, sizeof labels},
                                        {"fc.weight", PROGRAM_F64, 1, {2}, wide, sizeof wide}};
    CHECK_TEXT(run(device, program, feed, 2, &error), "");
    struct safetensors *file = safetensors_open("out.safetensors", &error);
    const struct safetensors_tensor *w = file ? safetensors_find(file, "w") : NULL,
                                    *ratio = file ? safetensors_find(file, "ratio") : NULL;
    uint16_t halves[2] = {0};
    float quotient = 0;
    CHECK(w && ratio && w->element == PROGRAM_F16 && safetensors_find(file, "train/fc.weight.m"));
    if (w && ratio) {
        memcpy(halves, w->data, sizeof halves);
        memcpy(&quotient, ratio->data, sizeof quotient);
    }
    CHECK(halves[0] == 0x2e66 && halves[1] == 0x4400 && fabs(quotient - 0.025) < 1e-7);
    safetensors_close(file);
    CHECK_TEXT(run(device, program, feed + 1, 1, &error), "in.safetensors: the input label is not fed");
    feed[1].name = "fc.wieght";
    CHECK_TEXT(run(device, program, feed, 2, &error), "in.safetensors: the network has no input or variable fc.wieght");
    const int64_t large[2] = {3, 10};
    feed[0].data = large;
    CHECK_TEXT(run(device, program, feed, 1, &error), "in.safetensors: label: class 10 at place 1 is not below 10");
}

int main(void)
{
    char folder[] = "/tmp/castor-test-XXXXXX";
    CHECK(mkdtemp(folder) && chdir(folder) == 0);
    struct error error = {0};
    struct device *device = host_device_new(&(struct host_settings){.threads = 1, .cache = "off"}, &error);
    struct program *program = make_program();
    struct executor *executor = executor_new(device, program, true, &error);
    CHECK_TEXT(error.text, "");
    check_loading(executor, program);
    check_saving(executor, program);
    executor_free(executor);
    check_run(device, program);
    program_free(program);
    device->free(device);
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
