/* Every call that the cuda device makes of driver, NVRTC and cuBLASLt fails once: each time the run must end with an
 * error that names something, unless the call only released what nobody needed any more; and under the address
 * sanitizer nothing may be lost. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_faults.h"
#include "cuda_hand.h"
#include "runtime/file.h"
#include "test_driver.h"

#include <stdlib.h>

/* Three runs, so that a list is issued, recorded and replayed in both slots, and what lies around them. */
static bool run_steps(struct executor *executor, struct error *error)
{
    static const float x[HAND_SIZE] = {1, 2, 3, 4, 5, 6};
    const void *input[1] = {x};
    uint64_t before = 0;
    float outer[HAND_SIZE][HAND_SIZE];
    executor_set(executor, "w", 1);
    for (int i = 0; i < 6; i++) {
        uint64_t ticket = executor_launch(executor, 0, input, error);
        if (!ticket || (before && !executor_results(executor, before, error)))
            return false;
        before = ticket;
    }
    const double *results = executor_results(executor, before, error);
    if (!results)
        return false;
    CHECK(results[0] == (double)hand_loss(x, 6));
    executor_output(executor, 0, 2, outer);
    double w = executor_get(executor, "w");
    if (executor_failed(executor, error))
        return false;
    CHECK(outer[1][2] == (2 * 6 + 10) * (3 * 6 + 10) && w == 7);
    struct executor_cost costs[HAND_STEPS];
    return executor_profile(executor, 0, input, 1, costs, error);
}

static bool run(const struct program *program, const char *cache, struct faults *faults, int *needed,
                struct error *error)
{
    const struct cuda_settings settings = {.name = "sim", .cache = cache, .jobs = 1, .ptx = true};
    struct cuda_tables tables;
    if (!hand_tables(&tables, error) || !faults_wrap(&tables, faults))
        return false;
    struct device *device = cuda_device_new(&tables, &settings, error);
    if (!device)
        return false;
    struct executor *executor = executor_new(device, program, false, error);
    bool ok = executor && run_steps(executor, error);
    *needed = faults->calls; /* what comes now takes down what has done its work */
    executor_free(executor);
    device->free(device);
    return ok;
}

/* Fails call after call, up to the compiler's last where that is all that is asked; gives how many. */
static int fail_all(const struct program *program, const char *cache, bool compiler)
{
    struct faults clean = {0};
    int needed = 0;
    struct error error = {0};
    CHECK(run(program, cache, &clean, &needed, &error));
    if (error.code)
        error_print(&error, stderr);
    int calls = compiler ? clean.compiler : clean.calls;
    for (int i = 1; i <= calls; i++) {
        struct faults faults = {.failing = i};
        struct error told = {0};
        bool ok = run(program, cache, &faults, &needed, &told);
        CHECK(faults.name);
        bool good = faults.name &&
                    (ok ? i > needed || faults_releases(faults.name) : told.code == ERROR_RUNTIME && told.text[0]);
        CHECK(good);
        if (!good)
            fprintf(stderr, "call %d, %s: %s\n", i, faults.name ? faults.name : "?", ok ? "nobody noticed" : told.text);
    }
    return calls;
}

int main(void)
{
    char folder[] = "/tmp/castor-test-XXXXXX";
    struct error error = {0};
    if (!test_has_nvrtc())
        return 77;
    CHECK(mkdtemp(folder));
    struct program *program = hand_program();
    struct faults none = {0};
    int needed = 0;
    CHECK(fail_all(program, "off", true) > 20);
    CHECK(run(program, folder, &none, &needed, &error)); /* from here on the kernels come from the cache */
    CHECK(fail_all(program, folder, false) > 150);
    program_free(program);
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
