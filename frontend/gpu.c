/* The machine's GPU and the simulated one, for device.c: their facts, devices on them, code for them. */
#include "frontend/gpu.h"

#if CASTOR_CUDA
#include "runtime/cuda/code.h"
#include "runtime/cuda/cuda.h"
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* The simulated GPU of the architecture. */
static struct driver *open_sim(const struct device_choice *choice, struct error *error)
{
    const char *architecture = choice->architecture ? choice->architecture : GPU_ARCHITECTURE;
    return sim_driver_new(&(struct sim_settings){.architecture = architecture, .threads = choice->host.threads}, error);
}

bool gpu_describe(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    struct driver *driver = choice->kind == DEVICE_SIM ? open_sim(choice, error) : driver_open(error);
    bool ok = driver && cuda_describe(driver, facts, error);
    if (driver)
        driver->free(driver);
    return ok;
}

/* False with the driver alone in the tables, or nothing. */
static bool fill_tables(const struct device_choice *choice, struct cuda_tables *tables, struct error *error)
{
    bool sim = choice->kind == DEVICE_SIM;
    int version = 0; /* whatever NVRTC writes, the simulated GPU reads */
    *tables = (struct cuda_tables){.driver = sim ? open_sim(choice, error) : driver_open(error)};
    if (!tables->driver || (!sim && !driver_version(tables->driver, &version, error)))
        return false;
    tables->nvrtc = nvrtc_open(version, error);
    if (tables->nvrtc)
        tables->cublaslt = sim ? sim_cublaslt_new(tables->driver) : cublaslt_open(version, error);
    return tables->cublaslt || error_set(error, "out of memory");
}

static bool open_tables(const struct device_choice *choice, struct cuda_tables *tables, struct error *error)
{
    if (fill_tables(choice, tables, error))
        return true;
    cuda_tables_free(tables);
    return false;
}

/* The simulated GPU's counters of a kernel, a launch. */
static int sim_counts(CUfunction function, struct device_count *counts, int room)
{
    const struct sim_counters *counters = sim_function_counters(function);
    double launches = counters && counters->launches ? (double)counters->launches : 1;
    int count = 0;
    if (!counters)
        return 0;
    const struct device_count all[] = {
        {"warp_instructions", (double)sim_counters_instructions(counters)},
#define COUNTER(name, text) {#name, (double)counters->name},
#include "runtime/sim/counters.def"
    };
    for (size_t i = 0; i < sizeof all / sizeof *all && count < room; i++)
        if (strcmp(all[i].name, "launches") != 0)
            counts[count++] = (struct device_count){all[i].name, all[i].value / launches};
    return count;
}

struct device *gpu_make(const struct device_choice *choice, struct error *error)
{
    struct cuda_tables tables;
    struct device_facts host;
    struct error ignored = {0};
    if (!open_tables(choice, &tables, error))
        return NULL;
    struct cuda_settings settings = {.name = device_name(choice->kind),
                                     .architecture = choice->architecture,
                                     .cache = choice->host.cache,
                                     .jobs = host_describe(&choice->host, &host, &ignored) ? host.cores : 1,
                                     .tf32 = choice->tf32,
                                     .ptx = choice->kind == DEVICE_SIM,
                                     .counts = choice->kind == DEVICE_SIM ? sim_counts : NULL};
    return cuda_device_new(&tables, &settings, error);
}

/* An NVRTC for code that is looked at or kept: for the GPU that is here, one that its driver can load from. */
static struct nvrtc *open_compiler(const struct device_choice *choice, struct error *error)
{
    struct error ignored = {0};
    int version = 0;
    struct driver *driver = choice->kind == DEVICE_CUDA && !choice->architecture ? driver_open(&ignored) : NULL;
    if (driver) {
        driver_version(driver, &version, &ignored);
        driver->free(driver);
    }
    return nvrtc_open(version, error);
}

/* For the architecture: to be kept in a trainer, or to be looked at. Free with cuda_code_free. */
static struct cuda_code *compile(const struct device_choice *choice, const struct device_facts *facts,
                                 const struct program *program, bool kept, struct error *error)
{
    struct nvrtc *nvrtc = open_compiler(choice, error);
    struct device_facts host;
    struct error ignored = {0};
    struct cuda_code *code = NULL;
    char architecture[NVRTC_ARCHITECTURE];
    if (!nvrtc)
        return NULL;
    snprintf(architecture, sizeof architecture, "%s", facts->isa);
    if (choice->architecture || nvrtc_architecture(nvrtc, facts->isa, architecture, error)) {
        struct cuda_compile_settings settings = {nvrtc, architecture, choice->host.cache,
                                                 host_describe(&choice->host, &host, &ignored) ? host.cores : 1};
        code = kept ? cuda_code_compile(&settings, program, error) : cuda_compile(&settings, program, error);
    }
    nvrtc->free(nvrtc);
    return code;
}

bool device_print_ptx(const struct device_choice *choice, const struct device_facts *facts,
                      const struct program *program, FILE *out, struct error *error)
{
    struct cuda_code *code = compile(choice, facts, program, false, error);
    for (int i = 0; code && i < code->unit_count; i++)
        fputs(code->units[i].ptx, out);
    bool ok = code;
    cuda_code_free(code);
    return ok;
}

bool device_code(const struct device_choice *choice, const struct device_facts *facts, const struct program *program,
                 void **bytes, size_t *size, struct error *error)
{
    struct cuda_code *code = compile(choice, facts, program, true, error);
    bool ok = code && (cuda_code_write(code, program, bytes, size) || error_set(error, "out of memory"));
    cuda_code_free(code);
    return ok;
}

struct ledger_resources *device_resources(const struct device_choice *choice, const struct device_facts *facts,
                                          const struct program *program, struct error *error)
{
    struct cuda_code *code = compile(choice, facts, program, false, error);
    struct ledger_resources *resources = code ? calloc((size_t)program->kernel_count + 1, sizeof *resources) : NULL;
    for (int i = 0; resources && i < program->kernel_count; i++) {
        const struct cuda_resources *own = &code->resources[i];
        resources[i] = (struct ledger_resources){own->registers, own->spill_stores + own->spill_loads};
    }
    if (code && !resources)
        error_set(error, "out of memory");
    cuda_code_free(code);
    return resources;
}

bool gpu_ready(const struct device_choice *choice, struct device_facts *facts, bool *there, struct error *error)
{
    struct cuda_tables tables;
    bool ok = fill_tables(choice, &tables, error);
    *there = tables.driver;
    ok = ok && cuda_ready(&tables, facts, error);
    cuda_tables_free(&tables);
    return ok;
}

#else

static bool left_out(struct error *error)
{
    error_set(error, "this castor was built without CUDA's headers, so it has neither cuda nor sim");
    error_hint(error, "install the CUDA Toolkit or run `./dev setup --cuda`, then build again");
    return false;
}

bool gpu_describe(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    (void)choice;
    (void)facts;
    return left_out(error);
}

bool gpu_ready(const struct device_choice *choice, struct device_facts *facts, bool *there, struct error *error)
{
    (void)choice;
    (void)facts;
    *there = false;
    return left_out(error);
}

struct device *gpu_make(const struct device_choice *choice, struct error *error)
{
    (void)choice;
    left_out(error);
    return NULL;
}

bool device_print_ptx(const struct device_choice *choice, const struct device_facts *facts,
                      const struct program *program, FILE *out, struct error *error)
{
    (void)choice;
    (void)facts;
    (void)program;
    (void)out;
    return left_out(error);
}

bool device_code(const struct device_choice *choice, const struct device_facts *facts, const struct program *program,
                 void **bytes, size_t *size, struct error *error)
{
    (void)choice;
    (void)facts;
    (void)program;
    (void)bytes;
    (void)size;
    return left_out(error);
}

struct ledger_resources *device_resources(const struct device_choice *choice, const struct device_facts *facts,
                                          const struct program *program, struct error *error)
{
    (void)choice;
    (void)facts;
    (void)program;
    left_out(error);
    return NULL;
}

#endif
