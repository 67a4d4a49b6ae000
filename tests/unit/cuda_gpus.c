/* Drivers and GPUs other than those that this was written on: older and newer ones, and libraries of other versions.
 * The simulated GPU plays them. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_faults.h"
#include "cuda_hand.h"
#include "frontend/device.h"
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"
#include "test_driver.h"

#include <stdlib.h>

static const char elf[] = "\177ELF";

/* What a driver is asked to load and what it says; the test is one thread. */
static struct played {
    struct driver inner;
    int version, major, cubins, texts;
    bool refuses_ptx;
} played;

static CUresult play_version(struct driver *driver, int *version)
{
    (void)driver;
    *version = played.version;
    return CUDA_SUCCESS;
}

static CUresult play_attribute(struct driver *driver, int *value, CUdevice_attribute attribute, CUdevice device)
{
    CUresult result = played.inner.DeviceGetAttribute(driver, value, attribute, device);
    if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR && played.major)
        *value = played.major;
    return result;
}

static CUresult play_load(struct driver *driver, CUmodule *module, const void *image)
{
    bool cubin = memcmp(image, elf, strlen(elf)) == 0;
    played.cubins += cubin;
    played.texts += !cubin;
    if (cubin)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    return played.refuses_ptx ? CUDA_ERROR_UNSUPPORTED_PTX_VERSION : played.inner.ModuleLoadData(driver, module, image);
}

static const char *play_nothing(struct driver *driver)
{
    (void)driver;
    return NULL;
}

/* Tables of a GPU of that architecture, played as `played` says. */
static bool open_tables(const char *architecture, struct cuda_tables *tables)
{
    struct error error = {0};
    *tables = (struct cuda_tables){.nvrtc = nvrtc_open(0, &error)};
    tables->driver = sim_driver_new(&(struct sim_settings){.architecture = architecture, .threads = 1}, &error);
    tables->cublaslt = tables->driver ? sim_cublaslt_new(tables->driver) : NULL;
    CHECK(tables->nvrtc && tables->cublaslt);
    if (!tables->cublaslt)
        return false;
    played = (struct played){.inner = *tables->driver, .version = 13000};
    tables->driver->DriverGetVersion = play_version;
    tables->driver->DeviceGetAttribute = play_attribute;
    tables->driver->ModuleLoadData = play_load;
    return true;
}

static void close_tables(const struct cuda_tables *tables)
{
    tables->cublaslt->free(tables->cublaslt);
    tables->nvrtc->free(tables->nvrtc);
    tables->driver->free(tables->driver);
}

static void check_old(void)
{
    struct cuda_tables tables;
    struct device_facts facts;
    struct error error = {0};
    if (!open_tables("sm_80", &tables))
        return;
    CHECK(cuda_ready(&tables, &facts, &error) && strcmp(facts.isa, "sm_80") == 0);
    played.version = 12010;
    CHECK(cuda_ready(&tables, &facts, &error));
    played.version = 12000;
    CHECK(!cuda_ready(&tables, &facts, &error) && strstr(error.text, "CUDA 12.0") && strstr(error.text, "12.1"));
    played.version = 13000;
    played.major = 7;
    error = (struct error){0};
    CHECK(!cuda_describe(tables.driver, &facts, &error) && strstr(error.text, "sm_70"));
    CHECK(strstr(error.hint, "CUDA_VISIBLE_DEVICES"));
    close_tables(&tables);
}

/* Whether the GPU can be used where a call fails; how many calls that took. */
static bool is_ready(int failing, int *calls)
{
    struct cuda_tables tables;
    struct device_facts facts;
    struct error error = {0};
    struct faults faults = {.failing = failing};
    if (!open_tables("sm_80", &tables) || !faults_wrap(&tables, &faults))
        return false;
    bool ready = cuda_ready(&tables, &facts, &error);
    CHECK(ready == !error.text[0]);
    *calls = faults.calls;
    close_tables(&tables);
    return ready;
}

/* Every call that finds out whether the GPU can be used may find that it cannot. */
static void check_unready(void)
{
    int calls = 0, unused = 0;
    CHECK(is_ready(0, &calls) && calls > 10);
    for (int i = 1; i <= calls; i++)
        CHECK(!is_ready(i, &unused));
}

/* Runs the program by hand on a GPU, from code for an architecture (NULL: the GPU's own). */
static bool runs(const char *gpu, const char *architecture, bool refuses_ptx, struct error *error)
{
    const struct cuda_settings settings = {.name = "cuda", .architecture = architecture, .cache = "off", .jobs = 1};
    static const float x[HAND_SIZE] = {1, 2, 3, 4, 5, 6};
    const void *input[1] = {x};
    struct cuda_tables tables;
    if (!open_tables(gpu, &tables))
        return false;
    played.refuses_ptx = refuses_ptx;
    if (refuses_ptx)
        tables.driver->problem = play_nothing;
    struct program *program = hand_program();
    struct device *device = cuda_device_new(&tables, &settings, error);
    struct executor *executor = device ? executor_new(device, program, false, error) : NULL;
    uint64_t ticket = executor ? executor_launch(executor, 0, input, error) : 0;
    const double *results = ticket ? executor_results(executor, ticket, error) : NULL;
    bool ok = results && results[0] == (double)hand_loss(x, 0);
    if (executor)
        executor_free(executor);
    if (device)
        device->free(device);
    program_free(program);
    return ok;
}

/* The simulated GPU loads no cubin, so that each time PTX comes to its aid. */
static void check_loading(void)
{
    static const struct {
        const char *gpu, *architecture;
        bool cubin;
    } cases[] = {{"sm_80", NULL, true},    {"sm_86", "sm_80", true},  {"sm_90", "sm_80", false},
                 {"sm_80", "sm_80", true}, {"sm_80", "sm_86", false}, {"sm_121", "sm_120", true},
                 {"sm_300", NULL, false}}; /* newer than all that NVRTC knows */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        bool ok = runs(cases[i].gpu, cases[i].architecture, false, &error);
        CHECK(ok);
        if (!ok)
            fprintf(stderr, "%s: %s\n", cases[i].gpu, error.text);
        CHECK(played.texts == 1 && played.cubins == cases[i].cubin);
    }
    struct error error = {0};
    CHECK(!runs("sm_90", "sm_80", true, &error) && strstr(error.hint, "newer driver"));
}

static const int known[] = {80, 86, 87, 89, 90, 100, 101, 120}; /* NVRTC 12.8 */

static nvrtcResult count_known(struct nvrtc *nvrtc, int *count)
{
    (void)nvrtc;
    *count = (int)(sizeof known / sizeof *known);
    return NVRTC_SUCCESS;
}

static nvrtcResult list_known(struct nvrtc *nvrtc, int *architectures)
{
    (void)nvrtc;
    memcpy(architectures, known, sizeof known);
    return NVRTC_SUCCESS;
}

/* What kernels are compiled for where NVRTC does not know the GPU: never for a system on a chip. */
static void check_choice(void)
{
    static const struct {
        const char *gpu, *chosen;
    } cases[] = {{"sm_86", "sm_86"},   {"sm_87", "sm_87"},   {"sm_88", "sm_80"},   {"sm_90", "sm_90"},
                 {"sm_101", "sm_101"}, {"sm_103", "sm_100"}, {"sm_121", "sm_120"}, {"sm_300", "sm_120"}};
    struct nvrtc nvrtc = {.GetNumSupportedArchs = count_known, .GetSupportedArchs = list_known};
    char architecture[NVRTC_ARCHITECTURE];
    struct error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(nvrtc_architecture(&nvrtc, cases[i].gpu, architecture, &error) &&
              strcmp(architecture, cases[i].chosen) == 0);
    CHECK(!nvrtc_architecture(&nvrtc, "sm_75", architecture, &error) && strstr(error.text, "sm_75"));
}

/* 28 KiB of a kernel's own and 40 KiB more fit onto a multiprocessor, but must be asked for. */
static void check_shared(void)
{
    const struct cuda_settings settings = {.name = "cuda", .cache = "off", .jobs = 1};
    struct cuda_tables tables;
    struct error error = {0};
    const void *input[1] = {(const float[HAND_SIZE]){0}};
    if (!open_tables("sm_80", &tables))
        return;
    struct program *program = hand_program();
    program->kernels[1].source = "struct grow_parameters { float *w; };\n"
                                 "extern \"C\" __global__ void grow(grow_parameters p)\n{\n"
                                 "    __shared__ float own[7 * 1024];\n    extern __shared__ float more[];\n"
                                 "    for (int i = threadIdx.x; i < 7 * 1024; i += blockDim.x)\n"
                                 "        own[i] = more[i] = p.w[0];\n    __syncthreads();\n"
                                 "    if (blockIdx.x == 0 && threadIdx.x == 0)\n        p.w[0] = own[7000] + 1;\n}\n";
    program->kernels[1].shared_bytes = 40 << 10;
    struct device *device = cuda_device_new(&tables, &settings, &error);
    struct executor *executor = device ? executor_new(device, program, false, &error) : NULL;
    uint64_t ticket = executor ? executor_launch(executor, 0, input, &error) : 0;
    CHECK(ticket && executor_results(executor, ticket, &error) && executor_get(executor, "w") == 1);
    if (error.code)
        error_print(&error, stderr);
    if (executor)
        executor_free(executor);
    if (device)
        device->free(device);
    program_free(program);
}

/* What the compiler is told of a GPU that the table of figures has no row for. */
static void check_target(void)
{
    const struct device_choice choice = {.kind = DEVICE_CUDA}, sim = {.kind = DEVICE_SIM};
    const struct device_facts facts = {
        .device = "cuda", .processor = "NVIDIA B300", .isa = "sm_103", .threads = 160, .f16 = true, .bf16 = true};
    struct target target = device_target(&choice, &facts);
    CHECK(target.flops[ELEMENT_F16] == 2250e12 && target.shared_bytes == 228 << 10);
    CHECK(target.processors == 160);
    CHECK(device_target(&sim, &facts).processors == 148);
}

int main(void)
{
    if (!test_has_nvrtc())
        return 77;
    check_old();
    check_unready();
    check_loading();
    check_choice();
    check_shared();
    check_target();
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
