/* What a launch may ask of the simulated GPU, and what its driver says when it is asked for more. */
#include "check.h"

#if CASTOR_CUDA
#include "runtime/sim/sim.h"

static const char source[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                             ".visible .entry plain()\n{\nret;\n}\n"
                             ".visible .entry many() .maxntid 1024, 2, 1\n{\nret;\n}\n"
                             ".visible .entry few() .maxntid 8, 4, 1\n{\nret;\n}\n"
                             ".visible .entry exact() .reqntid 8, 4, 1\n{\nret;\n}\n";

struct machine {
    struct driver *driver;
    CUmodule module;
};

/* The launch's result; its problem must say the words, NULL where it must go well. */
static CUresult try(const struct machine *machine, const char *kernel, unsigned x, unsigned y, unsigned shared)
{
    struct driver *driver = machine->driver;
    CUfunction function;
    CHECK(driver->ModuleGetFunction(driver, &function, machine->module, kernel) == CUDA_SUCCESS);
    CUlaunchConfig config = {.gridDimX = 1,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = x,
                             .blockDimY = y,
                             .blockDimZ = 1,
                             .sharedMemBytes = shared};
    return driver->LaunchKernelEx(driver, &config, function, NULL, NULL);
}

static void check_good(const struct machine *machine, const char *kernel, unsigned x, unsigned y, unsigned shared)
{
    CHECK(try(machine, kernel, x, y, shared) == CUDA_SUCCESS);
    CHECK(machine->driver->problem(machine->driver) == NULL);
}

static void check_bad(const struct machine *machine, const char *kernel, unsigned x, unsigned y, unsigned shared,
                      const char *words)
{
    CHECK(try(machine, kernel, x, y, shared) == CUDA_ERROR_INVALID_VALUE);
    const char *problem = machine->driver->problem(machine->driver);
    if (!problem || !strstr(problem, words))
        fprintf(stderr, "%s: no '%s' in: %s\n", kernel, words, problem ? problem : "nothing");
    CHECK(problem && strstr(problem, words));
}

static void check_threads(const struct machine *machine)
{
    check_good(machine, "plain", 1024, 1, 0);
    check_bad(machine, "plain", 1024, 2, 0, "1024 x 2 x 1 threads a block, where it may have 1024");
    check_bad(machine, "many", 1024, 2, 0, "1024 x 2 x 1 threads a block, where it may have 1024");
    check_good(machine, "few", 32, 1, 0); /* the product counts */
    check_bad(machine, "few", 33, 1, 0, "where it may have 32");
    check_good(machine, "exact", 8, 4, 0);
    check_bad(machine, "exact", 32, 1, 0, "32 x 1 x 1 threads a block, where it must have 8 x 4 x 1");
    check_bad(machine, "exact", 8, 2, 0, "where it must have 8 x 4 x 1");
}

int main(void)
{
    struct error error = {0};
    struct machine machine = {.driver = sim_driver_new(&(struct sim_settings){.threads = 1}, &error)};
    CHECK(machine.driver->ModuleLoadData(machine.driver, &machine.module, source) == CUDA_SUCCESS);
    check_threads(&machine);
    machine.driver->free(machine.driver);
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
