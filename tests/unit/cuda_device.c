/* The cuda device on the simulated GPU: a program made by hand, with values worked out by hand: runs one by one, runs
 * ahead of their results, recorded runs, checked runs, failures with the names of their steps. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_hand.h"
#include "runtime/tensor.h"

#include <math.h>

static const float inputs[4][HAND_SIZE] = {
    {1, 2, 3, 4, 5, 6}, {1, 1, 1, 1, 1, 1}, {-1, 0, 1, -2, 0, 2}, {0.5f, 0.25f, 0, 0, 0, 8}};

static struct device *make_device(const struct cuda_settings *settings)
{
    struct cuda_tables tables;
    struct error error = {0};
    struct device *device = hand_tables(&tables, &error) ? cuda_device_new(&tables, settings, &error) : NULL;
    CHECK(device);
    if (!device)
        error_print(&error, stderr);
    return device;
}

/* Results are asked for one run late; every run has an input of its own. */
static void check_ahead(struct executor *executor)
{
    struct error error = {0};
    uint64_t before = 0;
    executor_set(executor, "w", 2);
    executor_set(executor, "done", 0);
    for (int i = 0; i < 9; i++) {
        const void *input[1] = {inputs[i % 4]};
        uint64_t ticket = executor_launch(executor, 0, input, &error);
        CHECK(ticket);
        if (error.code)
            error_print(&error, stderr);
        const double *results = before ? executor_results(executor, before, &error) : NULL;
        if (before) {
            CHECK(results && results[0] == (double)hand_loss(inputs[(i - 1) % 4], (float)(i + 1)));
            CHECK(results && isnan(results[1]) && isnan(results[2]) && results[3] == i);
        }
        before = ticket;
    }
    CHECK(executor_results(executor, before, &error));
    CHECK(!executor_results(executor, before - 2, &error) && strstr(error.text, "gone"));
    CHECK(executor_get(executor, "w") == 11 && executor_get(executor, "done") == 9);
}

static void check_values(struct executor *executor)
{
    struct error error = {0};
    const void *input[1] = {inputs[2]};
    float z[HAND_SIZE], outer[HAND_SIZE][HAND_SIZE];
    executor_set(executor, "w", 3);
    uint64_t ticket = executor_launch(executor, 0, input, &error);
    const double *results = ticket ? executor_results(executor, ticket, &error) : NULL;
    CHECK(results && results[0] == (double)hand_loss(inputs[2], 3));
    if (error.code)
        error_print(&error, stderr);
    executor_output(executor, 0, 1, z);
    executor_output(executor, 0, 2, outer);
    for (int i = 0; i < HAND_SIZE; i++) {
        CHECK(z[i] == inputs[2][i] * 3 + 10);
        for (int j = 0; j < HAND_SIZE; j++)
            CHECK(outer[i][j] == z[i] * z[j]);
    }
    CHECK(executor_get(executor, "w") == 4 && !executor_failed(executor, &error));
}

static void check_program(struct device *device, const struct program *program, bool check)
{
    struct error error = {0};
    struct executor *executor = executor_new(device, program, check, &error);
    CHECK(executor);
    if (!executor) {
        error_print(&error, stderr);
        return;
    }
    CHECK(executor_get(executor, "w") == 0);
    check_values(executor);
    check_ahead(executor);
    check_values(executor);
    struct executor_cost costs[HAND_STEPS];
    const void *input[1] = {inputs[0]};
    CHECK(executor_profile(executor, 0, input, 3, costs, &error));
    for (int i = 0; i < HAND_STEPS; i++)
        CHECK(costs[i].seconds >= 0 && costs[i].seconds < 10);
    input[0] = NULL;
    CHECK(!executor_launch(executor, 0, input, &error) && strstr(error.text, "input"));
    executor_free(executor);
}

/* A kernel that reads far behind its memory: the step is named with its place, at once and one run late. */
static void check_fault(struct device *device, struct program *program, bool check)
{
    const char *source = program->kernels[1].source;
    struct error error = {0};
    program->kernels[1].source = "struct grow_parameters { float *w; };\n"
                                 "extern \"C\" __global__ void grow(grow_parameters p)\n{\n"
                                 "    p.w[1000000000] = 1;\n}\n";
    struct executor *executor = executor_new(device, program, check, &error);
    const void *input[1] = {inputs[0]};
    CHECK(executor);
    uint64_t ticket = executor ? executor_launch(executor, 0, input, &error) : 0;
    CHECK(!ticket || !executor_results(executor, ticket, &error));
    CHECK(error.code == ERROR_RUNTIME && strstr(error.text, "step grow (hand.net:2:1)"));
    executor_free(executor);
    program->kernels[1].source = source;
}

static void check_refusals(struct device *device, struct program *program)
{
    struct error error = {0};
    uint64_t scratch = program->entries[0].scratch_bytes;
    program->entries[0].scratch_bytes = (uint64_t)1 << 50;
    CHECK(!executor_new(device, program, false, &error) && strstr(error.text, "out of memory"));
    CHECK(strstr(error.text, "1125899906842624"));
    program->entries[0].scratch_bytes = scratch;

    error = (struct error){0};
    program->entries[0].steps[4].matmul.a = PROGRAM_I32;
    CHECK(!executor_new(device, program, false, &error) && strstr(error.text, "step outer (hand.net:1:1)"));
    program->entries[0].steps[4].matmul.a = PROGRAM_F32;

    error = (struct error){0};
    program->kernels[2].shared_bytes = 1 << 20;
    CHECK(!executor_new(device, program, false, &error) && error.code == ERROR_RUNTIME);
    program->kernels[2].shared_bytes = 32 * sizeof(float);
}

int main(void)
{
    const struct cuda_settings settings = {
        .name = "sim", .architecture = "sm_80", .cache = "off", .jobs = 1, .ptx = true};
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(&error);
    if (!nvrtc) {
        error_print(&error, stderr);
        return 77;
    }
    nvrtc->free(nvrtc);
    struct program *program = hand_program();
    struct device *device = make_device(&settings);
    if (device) {
        CHECK(strcmp(device->facts.isa, "sm_80") == 0 && device->facts.f16 && device->facts.threads > 0);
        check_program(device, program, false);
        check_program(device, program, true);
        check_refusals(device, program);
        check_fault(device, program, true);
        device->free(device);
    }
    device = make_device(&settings);
    if (device) {
        check_fault(device, program, false);
        device->free(device);
    }
    program_free(program);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
