/* The cuda device on the simulated GPU, or on the machine's own (test_driver.h): a program made by hand, with values
 * worked out by hand: runs one by one, runs ahead of their results, recorded runs, checked runs, failures with the
 * names of their steps. What ends a GPU's context has a process of its own. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_hand.h"
#include "runtime/tensor.h"
#include "test_driver.h"

#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const float inputs[4][HAND_SIZE] = {
    {1, 2, 3, 4, 5, 6}, {1, 1, 1, 1, 1, 1}, {-1, 0, 1, -2, 0, 2}, {0.5f, 0.25f, 0, 0, 0, 8}};

/* A GPU as it is; the simulated one takes PTX. */
static struct cuda_settings settings_here(void)
{
    bool gpu = test_on_gpu();
    return (struct cuda_settings){
        .name = gpu ? "cuda" : "sim", .architecture = gpu ? NULL : "sm_80", .cache = "off", .jobs = 1, .ptx = !gpu};
}

/* Makes the driver one that knows of a fault no more than its code, and only after the launch, as GPUs do. */
static struct late {
    struct driver inner;
    int faults;
} late;

static CUresult launch_late(struct driver *driver, const CUlaunchConfig *config, CUfunction function, void **parameters,
                            void **extra)
{
    CUresult result = late.inner.LaunchKernelEx(driver, config, function, parameters, extra);
    return result == CUDA_ERROR_LAUNCH_FAILED && !late.faults++ ? CUDA_SUCCESS : result;
}

static const char *know_nothing(struct driver *driver)
{
    (void)driver;
    return NULL;
}

static struct device *make_device(bool tells_late)
{
    struct cuda_tables tables;
    struct error error = {0};
    bool ok = hand_tables(&tables, &error);
    if (ok && tells_late && !test_on_gpu()) {
        late.inner = *tables.driver;
        tables.driver->LaunchKernelEx = launch_late;
        tables.driver->problem = know_nothing;
    }
    const struct cuda_settings settings = settings_here();
    struct device *device = ok ? cuda_device_new(&tables, &settings, &error) : NULL;
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

/* A kernel that writes far behind its memory. With `check` its step is named, with its place. Without, the driver of a
 * GPU cannot tell which it was: no other is blamed, and what finds it is said. */
static void check_fault(bool check, bool tells_late)
{
    struct device *device = make_device(tells_late);
    struct program *program = hand_program();
    struct error error = {0};
    program->kernels[1].source = "struct grow_parameters { float *w; };\n"
                                 "extern \"C\" __global__ void grow(grow_parameters p)\n{\n"
                                 "    p.w[1000000000000] = 1;\n}\n";
    struct executor *executor = device ? executor_new(device, program, check, &error) : NULL;
    const void *input[1] = {inputs[0]};
    CHECK(executor);
    uint64_t ticket = executor ? executor_launch(executor, 0, input, &error) : 0;
    CHECK(!ticket || !executor_results(executor, ticket, &error));
    bool named = check || !(tells_late || test_on_gpu());
    CHECK(error.code == ERROR_RUNTIME && (strstr(error.text, "step grow (hand.net:2:1)") != NULL) == named);
    CHECK(named || (!strstr(error.text, "step ") && strstr(error.hint, "--check")));
    if (executor)
        executor_free(executor);
    if (device)
        device->free(device);
    program_free(program);
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

/* The device makes the stream that computes first, then that of the copies: whichever of them is late, nothing that it
 * does for the other or for the host may be taken for done. */
static void check_late(void)
{
    const struct cuda_settings settings = settings_here();
    struct program *program = hand_program();
    for (unsigned streams = 1; streams < 4 && !test_on_gpu(); streams++) {
        struct cuda_tables tables;
        struct error error = {0};
        bool ok = hand_tables_late(&tables, streams, &error);
        struct device *device = ok ? cuda_device_new(&tables, &settings, &error) : NULL;
        CHECK(device);
        if (!device)
            continue;
        check_program(device, program, false);
        check_program(device, program, true);
        device->free(device);
    }
    program_free(program);
}

static void check_working(void)
{
    struct program *program = hand_program();
    struct device *device = make_device(false);
    if (device) {
        const struct device_facts *facts = &device->facts;
        CHECK(strncmp(facts->isa, "sm_", 3) == 0 && facts->f16 && facts->threads > 0);
        CHECK(test_on_gpu() || strcmp(facts->isa, "sm_80") == 0);
        check_program(device, program, false);
        check_program(device, program, true);
        check_refusals(device, program);
        device->free(device);
    }
    program_free(program);
}

/* A fault is for good: no other device can be made in its process. */
static void check_apart(bool check, bool tells_late)
{
    int status = 0;
    pid_t child = fork();
    if (!child) {
        check_fault(check, tells_late);
        exit(check_result());
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    if (!test_has_nvrtc())
        return 77;
    /* Before this process has a driver: none can be shared with a child. */
    check_apart(true, true);
    check_apart(false, true);
    check_apart(true, false);
    check_apart(false, false);
    check_working();
    check_late();
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
