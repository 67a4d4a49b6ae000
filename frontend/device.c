/* Host, cuda and sim as the command line chooses them. */
#include "frontend/device.h"
#include "frontend/calibration.h"
#include "frontend/gpu.h"
#include "ir/diagnostic.h"
#include "passes/figures.h"
#include "runtime/host/isa.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[DEVICE_COUNT] = {"host", "cuda", "sim"};

const char *device_name(enum device_kind kind)
{
    return names[kind];
}

/* ---- choosing ---- */

/* Whether CUDA's text is asked for, which no GPU is needed for. */
static bool emits_cuda(const struct invocation *invocation)
{
    const char *emit = flag_text(invocation, FLAG_emit);
    return emit && (strcmp(emit, "cuda") == 0 || strcmp(emit, "ptx") == 0);
}

/* The GPU where it can be used; says why one that is here cannot. */
static enum device_kind usual_kind(const struct device_choice *choice)
{
    struct device_choice gpu = *choice;
    struct device_facts facts;
    struct error reason = {0};
    bool there = false;
    gpu.kind = DEVICE_CUDA;
    if (gpu_ready(&gpu, &facts, &there, &reason))
        return DEVICE_CUDA;
    if (there)
        fprintf(stderr, "castor: the GPU is not used: %s\n", reason.text);
    return DEVICE_HOST;
}

static int choose_kind(const struct invocation *invocation, struct device_choice *choice)
{
    const char *name = flag_text(invocation, FLAG_device);
    if (!name) {
        choice->kind = emits_cuda(invocation) ? DEVICE_CUDA : usual_kind(choice);
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
    const char *architecture = choice->architecture ? choice->architecture : GPU_ARCHITECTURE;
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
    if (choice->kind == DEVICE_SIM ? gpu_describe(choice, facts, error)
                                   : !choice->architecture && gpu_describe(choice, facts, &missing)) {
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
    bool there;
    return choice->kind == DEVICE_HOST ? host_describe(&choice->host, facts, error)
                                       : gpu_ready(choice, facts, &there, error);
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

/* No calibration measures these. A GPU says itself how many it has; the simulated one has few, and stands for those of
 * the table. */
static void set_multiprocessors(const struct device_choice *choice, const struct device_facts *facts,
                                struct target *target)
{
    struct figures figures;
    if (figures_find(facts->processor, false, &figures) || figures_find(facts->isa, false, &figures)) {
        target->processors = figures.processors;
        target->shared_bytes = figures.shared_bytes;
    }
    if (choice->kind == DEVICE_CUDA && facts->threads)
        target->processors = facts->threads;
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
                            .one_type = true,
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
        set_multiprocessors(choice, facts, &target);
    return target;
}

struct device *device_make(const struct device_choice *choice, struct error *error)
{
    if (choice->kind == DEVICE_HOST)
        return host_device_new(&choice->host, error);
    struct device *device = gpu_make(choice, error);
    if (!device && choice->kind == DEVICE_CUDA)
        error_hint(error, "`--device sim` runs the same code on a simulated GPU, `--device host` on the CPU");
    return device;
}
