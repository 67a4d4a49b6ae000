/* What a launch may ask of the simulated GPU, and what its driver says when it is asked for more. */
#include "check.h"

#if CASTOR_CUDA
#include "runtime/sim/sim.h"

static const char source[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                             ".extern .shared .align 16 .b8 dynamic[];\n"
                             ".visible .entry both()\n{\n.shared .align 16 .b8 words[1024];\n"
                             ".reg .b32 %r<2>;\nmov.u32 %r0, words;\nmov.u32 %r1, dynamic;\nret;\n}\n"
                             ".visible .entry plain()\n{\nret;\n}\n"
                             ".visible .entry many() .maxntid 1024, 2, 1\n{\nret;\n}\n"
                             ".visible .entry few() .maxntid 8, 4, 1\n{\nret;\n}\n"
                             ".visible .entry exact() .reqntid 8, 4, 1\n{\nret;\n}\n";

struct machine {
    struct driver *driver;
    CUmodule module;
};

static CUfunction function_of(const struct machine *machine, const char *kernel)
{
    CUfunction function = NULL;
    CHECK(machine->driver->ModuleGetFunction(machine->driver, &function, machine->module, kernel) == CUDA_SUCCESS);
    return function;
}

static CUresult try(const struct machine *machine, const char *kernel, unsigned x, unsigned y, unsigned shared)
{
    struct driver *driver = machine->driver;
    CUfunction function = function_of(machine, kernel);
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

/* Static and dynamic memory have 48 KiB together until more is asked for. */
static void check_shared(const struct machine *machine)
{
    struct driver *driver = machine->driver;
    CUfunction both = function_of(machine, "both");
    int value = 0;
    CHECK(driver->FuncGetAttribute(driver, &value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, both) == 0 && value == 1024);
    CHECK(driver->FuncGetAttribute(driver, &value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, both) == 0 &&
          value == 47 * 1024);
    check_good(machine, "both", 32, 1, 47 * 1024);
    check_bad(machine, "both", 32, 1, 47 * 1024 + 1, "48129 bytes of dynamic shared memory, where it may have 48128");
    check_good(machine, "plain", 32, 1, 48 * 1024);
    check_bad(machine, "plain", 32, 1, 48 * 1024 + 1, "where it may have 49152");
    CHECK(driver->FuncSetAttribute(driver, both, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 162 * 1024) == 0);
    check_good(machine, "both", 32, 1, 162 * 1024);
    CHECK(driver->FuncSetAttribute(driver, both, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 162 * 1024 + 1) ==
          CUDA_ERROR_INVALID_VALUE);
    CUmodule module;
    CHECK(driver->ModuleLoadData(driver, &module,
                                 ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry large()\n{\n"
                                 ".shared .align 16 .b8 words[49156];\n.reg .b32 %r;\nmov.u32 %r, words;\nret;\n}\n") ==
          CUDA_ERROR_INVALID_PTX);
    CHECK(driver->problem(driver) && strstr(driver->problem(driver), "49156 of shared memory are too many"));
}

/* How many blocks a multiprocessor holds, by its threads, blocks and shared memory; all launched at once are no more.
 */
static void check_residents(void)
{
    static const struct {
        const char *architecture;
        int by_threads, by_blocks,
            by_shared; /* blocks of 1024 threads, of 32, and of 32 with 46 KiB beside the system's */
    } cases[] = {{"sm_80", 2, 32, 3},  {"sm_86", 1, 16, 2},  {"sm_89", 1, 24, 2},  {"sm_90", 2, 32, 4},
                 {"sm_100", 2, 32, 4}, {"sm_103", 2, 32, 4}, {"sm_120", 1, 24, 2}, {"sm_121", 1, 24, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct sim_settings settings = {.threads = 1, .architecture = cases[i].architecture, .processors = 3};
        struct error error = {0};
        struct machine machine = {.driver = sim_driver_new(&settings, &error)};
        struct driver *driver = machine.driver;
        CHECK(driver->ModuleLoadData(driver, &machine.module, source) == CUDA_SUCCESS);
        CUfunction plain = function_of(&machine, "plain");
        const int wanted[] = {cases[i].by_threads, cases[i].by_blocks, cases[i].by_shared};
        for (int k = 0; k < 3; k++) {
            int threads = k ? 32 : 1024, blocks = 0;
            size_t shared = k == 2 ? 46 << 10 : 0;
            CHECK(driver->OccupancyMaxActiveBlocksPerMultiprocessor(driver, &blocks, plain, threads, shared) ==
                  CUDA_SUCCESS);
            CHECK(blocks == wanted[k]);
        }
        driver->free(driver);
    }
}

/* A text is that of the last call, and of no call before it. */
static void check_problems(const struct machine *machine)
{
    struct driver *driver = machine->driver;
    CUfunction plain = function_of(machine, "plain");
    CUdevice device;
    CUstream stream;
    CUevent event;
    int value;
#define AFTER_A_FAILURE(call, wanted)                                                                                  \
    do {                                                                                                               \
        check_bad(machine, "plain", 1024, 2, 0, "threads a block");                                                    \
        CHECK((call) == (wanted));                                                                                     \
        CHECK(driver->problem(driver) == NULL);                                                                        \
    } while (0)
    AFTER_A_FAILURE(driver->Init(driver, 1), CUDA_ERROR_INVALID_VALUE);
    AFTER_A_FAILURE(driver->DeviceGet(driver, &device, 1), CUDA_ERROR_INVALID_DEVICE);
    AFTER_A_FAILURE(driver->DeviceGetAttribute(driver, &value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->FuncGetAttribute(driver, &value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, plain),
                    CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->OccupancyMaxActiveBlocksPerMultiprocessor(driver, &value, plain, 64, 0), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->StreamCreate(driver, &stream, 0), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->StreamDestroy(driver, stream), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->EventCreate(driver, &event, 0), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->EventDestroy(driver, event), CUDA_SUCCESS);
    AFTER_A_FAILURE(driver->CtxSetCurrent(driver, NULL), CUDA_SUCCESS);
    CHECK(driver->OccupancyMaxActiveBlocksPerMultiprocessor(driver, &value, plain, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(driver->problem(driver) && strstr(driver->problem(driver), "0 threads a block"));
}

int main(void)
{
    struct error error = {0};
    struct machine machine = {.driver = sim_driver_new(&(struct sim_settings){.threads = 1}, &error)};
    CHECK(machine.driver->ModuleLoadData(machine.driver, &machine.module, source) == CUDA_SUCCESS);
    check_threads(&machine);
    check_shared(&machine);
    check_problems(&machine);
    machine.driver->free(machine.driver);
    check_residents();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
