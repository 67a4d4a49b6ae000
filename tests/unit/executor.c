/* A program made by hand, with kernels written by hand, on the host device: values worked out by hand; also what
 * happens without a compiler, without a cache, and when a kernel writes outside its memory. */
#include "runtime/executor.h"
#include "check.h"
#include "runtime/file.h"
#include "runtime/host/host.h"
#include "runtime/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char common[] = "#define N 6\n";
static const char scale_source[] =
    "void scale(char *const *b, const long long *k, const long *strip)\n{\n"
    "    const float *x = (const float *)b[0];\n    float *w = (float *)b[1], *y = (float *)b[2];\n"
    "    for (int i = 0; i < N; i++)\n        y[i] = x[i] * w[0] + k[0];\n    w[0] += 1;\n}\n";
static const char sum_source[] = "void sum(char *const *b, const long long *k, const long *strip)\n{\n    (void)k;\n"
                                 "    const float *y = (const float *)b[0];\n    float s = 0;\n"
                                 "    for (int i = 0; i < N; i++)\n        s += y[i];\n    *(float *)b[1] = s;\n}\n";
static const char wild_source[] = "void wild(char *const *b, const long long *k, const long *strip)\n{\n    (void)k;\n"
                                  "    ((float *)b[0])[20] = 1;\n}\n";

static struct program_tensor vector(int64_t count)
{
    return (struct program_tensor){.element = PROGRAM_F32, .storage = PROGRAM_F32, .rank = 1, .dimension = {count}};
}

static const struct program_tensor scalar = {.element = PROGRAM_F32, .storage = PROGRAM_F32};

static void set_step(struct program *program, struct program_step *step, const char *name, uint32_t kernel, int buffers)
{
    *step = (struct program_step){.kind = PROGRAM_KERNEL, .name = name, .kernel = kernel, .buffer_count = buffers};
    step->buffers = program_allocate(program, sizeof *step->buffers * (size_t)buffers);
}

/* train: y = x * w + 10; w += 1; sum(y); copy y. wild: writes 80 bytes behind the start of the state, which has 64. */
static struct program *make_program(void)
{
    struct program *program = program_new();
    program->name = "hand";
    program->target = "host";
    program->source = common;
    program->state_bytes = 64;
    program->kernel_count = 3;
    program->kernels = program_allocate(program, sizeof *program->kernels * 3);
    program->kernels[0] = (struct program_kernel){.name = "scale", .source = scale_source};
    program->kernels[1] = (struct program_kernel){.name = "sum", .source = sum_source};
    program->kernels[2] = (struct program_kernel){.name = "wild", .source = wild_source};
    program->variable_count = 1;
    program->variables = program_allocate(program, sizeof *program->variables);
    program->variables[0] = (struct program_variable){.name = "w", .kind = PROGRAM_PARAMETER, .tensor = scalar};
    program->entry_count = 2;
    program->entries = program_allocate(program, sizeof *program->entries * 2);

    struct program_entry *train = &program->entries[0];
    *train = (struct program_entry){
        .name = "train", .batch = 6, .scratch_bytes = 192, .input_count = 1, .output_count = 2, .step_count = 3};
    train->inputs = program_allocate(program, sizeof *train->inputs);
    train->inputs[0] = (struct program_input){.name = "x", .tensor = vector(6)};
    train->outputs = program_allocate(program, sizeof *train->outputs * 2);
    train->outputs[0] = (struct program_output){
        .name = "loss", .kind = PROGRAM_LOSS, .tensor = scalar, .place = {PROGRAM_SCRATCH, 0, 64}};
    train->outputs[1] = (struct program_output){.name = "y", .tensor = vector(6), .place = {PROGRAM_SCRATCH, 0, 128}};
    train->steps = program_allocate(program, sizeof *train->steps * 3);
    set_step(program, &train->steps[0], "scale", 0, 3);
    train->steps[0].buffers[0].space = PROGRAM_INPUT;
    train->steps[0].buffers[1].space = PROGRAM_STATE;
    train->steps[0].buffers[2].space = PROGRAM_SCRATCH;
    train->steps[0].integer_count = 1;
    train->steps[0].integers = program_allocate(program, sizeof(int64_t));
    train->steps[0].integers[0] = 10;
    set_step(program, &train->steps[1], "sum", 1, 2);
    train->steps[1].buffers[0].space = PROGRAM_SCRATCH;
    train->steps[1].buffers[1] = (struct program_place){PROGRAM_SCRATCH, 0, 64};
    set_step(program, &train->steps[2], "copy", 0, 2);
    train->steps[2].kind = PROGRAM_COPY_STEP;
    train->steps[2].copy_bytes = 24;
    train->steps[2].buffers[0].space = PROGRAM_SCRATCH;
    train->steps[2].buffers[1] = (struct program_place){PROGRAM_SCRATCH, 0, 128};

    struct program_entry *wild = &program->entries[1];
    *wild = (struct program_entry){.name = "wild", .scratch_bytes = 64, .step_count = 1};
    wild->steps = program_allocate(program, sizeof *wild->steps);
    set_step(program, &wild->steps[0], "wild", 2, 1);
    wild->steps[0].buffers[0] = (struct program_place){PROGRAM_STATE, 0, 0};
    wild->steps[0].file = "hand.net";
    wild->steps[0].line = 7;
    return program;
}

static void check_run(struct device *device, const struct program *program, bool check)
{
    struct error error = {0};
    struct executor *executor = executor_new(device, program, check, &error);
    CHECK(executor);
    if (!executor) {
        error_print(&error, stderr);
        return;
    }
    static _Alignas(64) const float first[6] = {1, 2, 3, 4, 5, 6}, second[6] = {1, 1, 1, 1, 1, 1};
    const void *inputs[1] = {first};
    executor_set(executor, "w", 2);
    int train = executor_entry(executor, "train");
    CHECK(train == 0 && executor_entry(executor, "nothing") == -1);
    uint64_t one = executor_launch(executor, train, inputs, &error);
    inputs[0] = second;
    uint64_t two = executor_launch(executor, train, inputs, &error);
    CHECK(one && two && !error.code);
    CHECK(executor_results(executor, one, &error)[0] == 2 * 21 + 60); /* w was 2 */
    CHECK(executor_results(executor, two, &error)[0] == 3 * 6 + 60);  /* w was 3 */
    CHECK(isnan(executor_results(executor, two, &error)[1]));
    CHECK(executor_get(executor, "w") == 4);
    float y[6];
    executor_output(executor, train, 1, y);
    CHECK(y[0] == 13 && y[5] == 13);
    CHECK(executor_run(executor, "init", &error)); /* there is none: no error */
    CHECK(executor_state_bytes(executor) == 64 && executor_scratch_bytes(executor) == 192);
    struct executor_cost costs[3];
    CHECK(executor_profile(executor, train, inputs, 5, costs, &error) && costs[0].seconds >= 0);
    inputs[0] = NULL;
    CHECK(!executor_launch(executor, train, inputs, &error) && error.code == ERROR_RUNTIME);
    executor_free(executor);
}

static void check_sentinels(struct device *device, const struct program *program)
{
    struct error error = {0};
    struct executor *executor = executor_new(device, program, true, &error);
    CHECK(executor && !executor_run(executor, "wild", &error));
    CHECK_TEXT(error.text, "step wild of wild (hand.net:7) wrote outside its memory");
    executor_free(executor);
}

static void check_errors(struct device *device, struct program *program)
{
    struct error error = {0};
    program->entries[0].steps[2].buffers[1].offset = 180;
    CHECK(!executor_new(device, program, false, &error) && strstr(error.text, "train/copy"));
    program->entries[0].steps[2].buffers[1].offset = 128;

    program->entries[0].scratch_bytes = (uint64_t)1 << 60;
    error = (struct error){0};
    CHECK(!executor_new(device, program, false, &error) && strstr(error.text, "out of memory"));
    program->entries[0].scratch_bytes = 192;

    program->kernels[0].source = "void scale(void) { undeclared(; }\n";
    error = (struct error){0};
    CHECK(!executor_new(device, program, false, &error) && strstr(error.text, "error:"));
    program->kernels[0].source = scale_source;
}

static struct device *make_device(const char *cache)
{
    struct error error = {0};
    struct device *device = host_device_new(&(struct host_settings){.threads = 1, .cache = cache}, &error);
    CHECK(device);
    return device;
}

static void check_no_compiler(struct program *program)
{
    struct error error = {0};
    const char *now = getenv("PATH");
    char *path = strdup(now ? now : "");
    setenv("PATH", "/nowhere", 1);
    unsetenv("CC");
    struct device *device = make_device("off");
    CHECK(!executor_new(device, program, false, &error) && error.code == ERROR_RUNTIME);
    CHECK(strstr(error.text, "C compiler `cc`") && strstr(error.hint, "gcc"));
    device->free(device);
    setenv("PATH", path, 1);
    free(path);
}

static void damage(const char *folder)
{
    char *command = file_text("for f in %s/*.so; do truncate -s 100 $f; done", folder);
    CHECK(system(command) == 0);
    free(command);
}

int main(void)
{
    char folder[] = "/tmp/castor-test-XXXXXX";
    CHECK(mkdtemp(folder));
    struct program *program = make_program();
    struct device *device = make_device(folder);
    check_run(device, program, false); /* compiles */
    check_run(device, program, true);  /* from the cache */
    damage(folder);
    check_run(device, program, false); /* a damaged entry is compiled anew */
    check_sentinels(device, program);
    check_errors(device, program);
    device->free(device);

    device = make_device("/proc/nowhere/castor"); /* cannot be made: warns and goes on */
    check_run(device, program, false);
    device->free(device);
    check_no_compiler(program);
    program_free(program);

    struct error error = {0};
    CHECK(!host_device_new(&(struct host_settings){.isa = "mmx"}, &error) && strstr(error.hint, "avx2"));
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
