/* Host, cuda and sim as the command line chooses them. */
#include "frontend/device.h"
#include "frontend/calibration.h"
#include "ir/diagnostic.h"
#include "passes/figures.h"
#include "runtime/host/isa.h"

#include <stdlib.h>
#include <string.h>

#if CASTOR_CUDA
#include "runtime/cuda/code.h"
#include "runtime/cuda/cuda.h"
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"
#endif

static const char *const names[DEVICE_COUNT] = {"host", "cuda", "sim"};
static const char usual_architecture[] = "sm_80";

const char *device_name(enum device_kind kind)
{
    return names[kind];
}

/* ---- the machine's GPU ---- */

#if CASTOR_CUDA

static void free_tables(const struct cuda_tables *tables)
{
    if (tables->cublaslt)
        tables->cublaslt->free(tables->cublaslt);
    if (tables->nvrtc)
        tables->nvrtc->free(tables->nvrtc);
    if (tables->driver)
        tables->driver->free(tables->driver);
}

/* The simulated GPU of the architecture. */
static struct driver *open_sim(const struct device_choice *choice, struct error *error)
{
    const char *architecture = choice->architecture ? choice->architecture : usual_architecture;
    return sim_driver_new(&(struct sim_settings){.architecture = architecture, .threads = choice->host.threads}, error);
}

static bool describe_gpu(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    struct driver *driver = choice->kind == DEVICE_SIM ? open_sim(choice, error) : driver_open(error);
    bool ok = driver && cuda_describe(driver, facts, error);
    if (driver)
        driver->free(driver);
    return ok;
}

static bool open_tables(const struct device_choice *choice, struct cuda_tables *tables, struct error *error)
{
    *tables = (struct cuda_tables){.nvrtc = nvrtc_open(error)};
    if (tables->nvrtc)
        tables->driver = choice->kind == DEVICE_SIM ? open_sim(choice, error) : driver_open(error);
    if (tables->driver)
        tables->cublaslt = choice->kind == DEVICE_SIM ? sim_cublaslt_new(tables->driver) : cublaslt_open(error);
    if (tables->cublaslt)
        return true;
    free_tables(tables);
    return error_set(error, "out of memory");
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

static struct device *make_gpu(const struct device_choice *choice, struct error *error)
{
    struct cuda_tables tables;
    struct device_facts facts, host;
    struct error ignored = {0};
    if (!open_tables(choice, &tables, error))
        return NULL;
    /* Code for another architecture than the GPU's own is left to the driver to finish. */
    bool other = choice->kind == DEVICE_CUDA && choice->architecture &&
                 cuda_describe(tables.driver, &facts, &ignored) && strcmp(facts.isa, choice->architecture) != 0;
    struct cuda_settings settings = {.name = names[choice->kind],
                                     .architecture = choice->architecture,
                                     .cache = choice->host.cache,
                                     .jobs = host_describe(&choice->host, &host, &ignored) ? host.cores : 1,
                                     .tf32 = choice->tf32,
                                     .ptx = choice->kind == DEVICE_SIM || other,
                                     .counts = choice->kind == DEVICE_SIM ? sim_counts : NULL};
    return cuda_device_new(&tables, &settings, error);
}

/* For the architecture: to be kept in a trainer, or to be looked at. Free with cuda_code_free. */
static struct cuda_code *compile(const struct device_choice *choice, const struct device_facts *facts,
                                 const struct program *program, bool kept, struct error *error)
{
    struct nvrtc *nvrtc = nvrtc_open(error);
    struct device_facts host;
    struct error ignored = {0};
    if (!nvrtc)
        return NULL;
    struct cuda_compile_settings settings = {nvrtc, facts->isa, choice->host.cache,
                                             host_describe(&choice->host, &host, &ignored) ? host.cores : 1};
    struct cuda_code *code =
        kept ? cuda_code_compile(&settings, program, error) : cuda_compile(&settings, program, error);
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

static bool gpu_ready(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    struct cuda_tables tables;
    if (!open_tables(choice, &tables, error))
        return false;
    bool ok = cuda_describe(tables.driver, facts, error);
    free_tables(&tables);
    return ok;
}

#else

static bool left_out(struct error *error)
{
    error_set(error, "this castor was built without CUDA's headers, so it has neither cuda nor sim");
    error_hint(error, "install the CUDA Toolkit or run `./dev setup --cuda`, then build again");
    return false;
}

static bool describe_gpu(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    (void)choice;
    (void)facts;
    return left_out(error);
}

static bool gpu_ready(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    (void)choice;
    (void)facts;
    return left_out(error);
}

static struct device *make_gpu(const struct device_choice *choice, struct error *error)
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

/* ---- choosing ---- */

/* Whether CUDA's text is asked for, which no GPU is needed for. */
static bool emits_cuda(const struct invocation *invocation)
{
    const char *emit = flag_text(invocation, FLAG_emit);
    return emit && (strcmp(emit, "cuda") == 0 || strcmp(emit, "ptx") == 0);
}

static int choose_kind(const struct invocation *invocation, struct device_choice *choice)
{
    const char *name = flag_text(invocation, FLAG_device);
    struct device_facts facts;
    struct error ignored = {0};
    if (!name) {
        choice->kind = DEVICE_CUDA;
        if (!emits_cuda(invocation) && !gpu_ready(choice, &facts, &ignored))
            choice->kind = DEVICE_HOST;
        return 0;
    }
    for (enum device_kind kind = 0; flag_choice(invocation, FLAG_device) && kind < DEVICE_COUNT; kind++)
        if (strcmp(name, names[kind]) == 0) {
            choice->kind = kind;
            return 0;
        }
    return EXIT_USAGE;
}

static int choose_architecture(const struct invocation *invocation, struct device_choice *choice)
{
    const char *name = flag_text(invocation, FLAG_arch);
    choice->architecture = name;
    if (!name)
        return 0;
    if (choice->kind == DEVICE_HOST)
        return usage_error(invocation, "--arch goes with --device cuda and sim");
    return flag_choice(invocation, FLAG_arch) ? 0 : EXIT_USAGE;
}

int device_choose(const struct invocation *invocation, struct device_choice *choice)
{
    int64_t threads = 0;
    *choice = (struct device_choice){.tf32 = flag_given(invocation, FLAG_tf32)};
    if (!flag_integer(invocation, FLAG_threads, 1, &threads))
        return EXIT_USAGE;
    if (threads > HOST_THREADS_MAX)
        return usage_error(invocation, "--threads takes up to %d, not %lld", HOST_THREADS_MAX, (long long)threads);
    choice->host = (struct host_settings){
        .threads = (int)threads, .isa = flag_text(invocation, FLAG_isa), .cache = flag_text(invocation, FLAG_cache)};
    choice->host.plain_convolutions = flag_given(invocation, FLAG_plain_convolutions);
    if (!flag_choice(invocation, FLAG_isa))
        return EXIT_USAGE;
    if (!choice->host.isa)
        choice->host.isa = getenv("CASTOR_ISA");
    int code = choose_kind(invocation, choice);
    return code ? code : choose_architecture(invocation, choice);
}

/* ---- facts and target ---- */

/* A GPU of which the architecture is all that is known. */
static struct device_facts facts_of_architecture(const struct device_choice *choice)
{
    const char *architecture = choice->architecture ? choice->architecture : usual_architecture;
    struct device_facts facts = {.device = names[DEVICE_CUDA], .f16 = true, .bf16 = true};
    struct figures figures;
    if (figures_find(architecture, false, &figures)) {
        facts.threads = facts.cores = figures.processors;
        facts.cache_bytes = (uint64_t)figures.cache_bytes;
    }
    snprintf(facts.processor, sizeof facts.processor, "a GPU of architecture %s", architecture);
    snprintf(facts.isa, sizeof facts.isa, "%s", architecture);
    snprintf(facts.instructions, sizeof facts.instructions, "%s", architecture);
    return facts;
}

bool device_describe(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    struct error missing = {0};
    if (choice->kind == DEVICE_HOST)
        return host_describe(&choice->host, facts, error);
    if (choice->kind == DEVICE_SIM ? describe_gpu(choice, facts, error)
                                   : !choice->architecture && describe_gpu(choice, facts, &missing)) {
        facts->device = names[choice->kind];
        return true;
    }
    if (choice->kind == DEVICE_SIM)
        return false;
    *facts = facts_of_architecture(choice);
    return true;
}

bool device_present(const struct device_choice *choice, struct device_facts *facts, struct error *error)
{
    return choice->kind == DEVICE_HOST ? host_describe(&choice->host, facts, error) : gpu_ready(choice, facts, error);
}

static void set_figures(const struct device_choice *choice, const struct device_facts *facts, struct target *target)
{
    struct figures figures;
    if (calibration_find(target->name, facts, &figures) || figures_find(facts->processor, choice->tf32, &figures) ||
        figures_find(facts->isa, choice->tf32, &figures)) {
        figures_apply(&figures, target);
        return;
    }
    figures = figures_of_host(facts->threads, facts->instructions);
    figures_apply(&figures, target);
}

/* No calibration measures these. */
static void set_multiprocessors(const struct device_facts *facts, struct target *target)
{
    struct figures figures;
    if (figures_find(facts->processor, false, &figures) || figures_find(facts->isa, false, &figures)) {
        target->processors = figures.processors;
        target->shared_bytes = figures.shared_bytes;
    }
}

struct target device_target(const struct device_choice *choice, const struct device_facts *facts)
{
    bool host = choice->kind == DEVICE_HOST;
    struct target target = {.name = names[choice->kind],
                            .language = host ? LANGUAGE_C : LANGUAGE_CUDA,
                            .channels_last = true,
                            .epilogues = EPILOGUE_BIAS | EPILOGUE_RELU | EPILOGUE_ADD |
                                         (host ? 0 : EPILOGUE_STATISTICS | EPILOGUE_GELU | EPILOGUE_TAIL),
                            .matmul_bias_only = !host,
                            .conv_data_plain = host,
                            .one_type = !host,
                            .attention = !host,
                            .strips = host,
                            .alignment = host ? 64 : 256,
                            .cache_bytes = (int64_t)facts->cache_bytes,
                            .threads = facts->threads};
    for (int i = 0; i < ELEMENT_COUNT; i++)
        target.storage[i] = (enum element)i;
    if (!facts->f16)
        target.storage[ELEMENT_F16] = ELEMENT_F32;
    if (!facts->bf16)
        target.storage[ELEMENT_BF16] = ELEMENT_F32;
    set_figures(choice, facts, &target);
    if (!host)
        set_multiprocessors(facts, &target);
    return target;
}

struct device *device_make(const struct device_choice *choice, struct error *error)
{
    if (choice->kind == DEVICE_HOST)
        return host_device_new(&choice->host, error);
    struct device *device = make_gpu(choice, error);
    if (!device && choice->kind == DEVICE_CUDA)
        error_hint(error, "`--device sim` runs the same code on a simulated GPU, `--device host` on the CPU");
    return device;
}
