/* Policy cost: on every model of Fashion-MNIST and several devices its predicted step is no longer than that of any
 * policy it prices, and is the time that it said; what it denies stays f32; where half is emulated it takes f32; a cut
 * by hand; and the cost model's bytes beside those of generated code. On a CPU with bf16 no policy leaves a cast that
 * stands alone. */
#include "passes/choose.h"
#include "codegen/assemble.h"
#include "codegen/ledger.h"
#include "passes/cost.h"
#include "passes/figures.h"
#include "passes/pipeline.h"
#include "tests/net_case.h"
#include "tests/unit/check.h"

#include "ir/parse.h"

#include <glob.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

static struct target device(const char *figures_name)
{
    struct target target = {.name = figures_name,
                            .channels_last = true,
                            .epilogues = EPILOGUE_BIAS | EPILOGUE_RELU | EPILOGUE_ADD,
                            .alignment = 64,
                            .cache_bytes = 1 << 20,
                            .threads = 2};
    struct figures figures = figures_of_host(2, "avx512 bf16");
    bool host = strcmp(figures_name, "host") == 0;
    CHECK(host || figures_find(figures_name, false, &figures));
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        target.storage[element] = element;
    if (host)
        target.storage[ELEMENT_F16] = ELEMENT_F32;
    figures_apply(&figures, &target);
    return target;
}

static struct net_case open_model(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "r");
    CHECK(file && getdelim(&text, &size, '\0', file) >= 0);
    if (file)
        fclose(file);
    struct elaborate_request request = {.batch = 32};
    struct net_case net = net_case_open(text, request, NULL, NULL);
    CHECK(net.module);
    free(text);
    return net;
}

/* Seconds of a step under a policy by the whole pipeline, on a copy. */
static double price(const struct net_case *net, const struct policy *policy, const struct target *target)
{
    struct arena *arena = arena_new();
    struct module *module = module_copy(net->module, arena);
    struct pass_context context = {.target = target, .policy = policy, .limit = -1};
    struct pipeline_options options = {.verify_each = true, .messages = stderr};
    CHECK(pipeline_run(module, &context, &options).done);
    double seconds = cost_step(module, target).seconds;
    CHECK(seconds > 0);
    module_free(module);
    arena_free(arena);
    return seconds;
}

/* What the code of a step costs under a policy in bf16, by its code and, in bytes, by the cost model. */
static struct ledger ledger_of(const char *path, const char *policy_name, double *model_bytes)
{
    struct target target = device("host");
    struct net_case net = open_model(path);
    struct policy *policy = policy_load(net.arena, net.diagnostics, policy_name, ELEMENT_BF16, (struct span){0});
    struct pass_context context = {.target = &target, .limit = -1};
    struct pipeline_options options = {.messages = stderr};
    context.policy = policy_choose(policy, net.module, &target);
    CHECK(pipeline_run(net.module, &context, &options).done);
    struct program *program = assemble_program(net.module, &target, net.arena);
    struct ledger ledger = ledger_compute(net.module, program, &target, net.arena);
    *model_bytes = cost_step(net.module, &target).bytes;
    for (ptrdiff_t i = 0; i < arrlen(ledger.standalone); i++)
        fprintf(stderr, "%s under %s: %s\n", path, policy_name, ledger.standalone[i]);
    ledger_free(&ledger);
    program_free(program);
    net_case_close(&net);
    return ledger;
}

/* The cost model's bytes are found without code; those of the code that is generated must be about the same. */
static void check_ledger(const char *path, const char *policy_name)
{
    double bytes = 0;
    struct ledger ledger = ledger_of(path, policy_name, &bytes);
    double ratio = bytes / (double)ledger.bytes;
    if (!(ratio > 0.9 && ratio < 1.1))
        fprintf(stderr, "%s under %s: the model's bytes are %.3f x those of the code\n", path, policy_name, ratio);
    CHECK(ratio > 0.9 && ratio < 1.1);
    CHECK(ledger.casts_standalone == 0);
}

/* Of "cost(f16) takes cut: 1.2 ms predicted; ...". */
static double predicted(const char *verdict)
{
    const char *colon = strchr(verdict, ':');
    return colon ? strtod(colon + 1, NULL) : 0;
}

static void check_model(const char *path, const char *figures, enum element half)
{
    static const char *const others[] = {"f32", "autocast", "almost", "paint"};
    struct target target = device(figures);
    struct net_case net = open_model(path);
    struct policy *policy = policy_load(net.arena, net.diagnostics, "cost", half, (struct span){0});
    const struct policy *chosen = policy_choose(policy, net.module, &target);
    double cost = price(&net, chosen, &target);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct policy *other = policy_load(net.arena, net.diagnostics, others[i], half, (struct span){0});
        double seconds = price(&net, other, &target);
        if (cost > seconds)
            fprintf(stderr, "%s on %s: cost %.6g ms, %s %.6g ms\n", path, figures, 1e3 * cost, others[i],
                    1e3 * seconds);
        CHECK(cost <= seconds);
    }
    CHECK(chosen->verdict != NULL);
    if (target_emulates(&target, half))
        CHECK(strstr(chosen->verdict, "takes f32"));
    else
        CHECK(fabs(predicted(chosen->verdict) - 1e3 * cost) <= 1e-3 * predicted(chosen->verdict));
    net_case_close(&net);
}

static void models(void)
{
    static const char *const policies[] = {"f32", "autocast", "almost", "half", "paint", "cost"};
    char pattern[512];
    snprintf(pattern, sizeof pattern, "%s/models/{fashion_*,*flow}.net", getenv("CASTOR_SOURCE"));
    glob_t found;
    CHECK(glob(pattern, GLOB_BRACE, NULL, &found) == 0 && found.gl_pathc >= 3);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_model(found.gl_pathv[i], "A100-40GB", ELEMENT_F16);
        check_model(found.gl_pathv[i], "H100", ELEMENT_BF16);
        check_model(found.gl_pathv[i], "host", ELEMENT_BF16);
        check_model(found.gl_pathv[i], "host", ELEMENT_F16);
        for (size_t k = 0; k < sizeof policies / sizeof *policies; k++)
            check_ledger(found.gl_pathv[i], policies[k]);
    }
    globfree(&found);
}

/* The graph after pass precision under the cut. */
static struct module *cut(struct arena *arena, const char *text, const struct target *target)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct policy *policy = policy_load(arena, diagnostics, "cost", ELEMENT_F16, (struct span){0});
    CHECK(module && policy);
    struct policy *bare = arena_copy(arena, policy, sizeof *policy);
    float *traffic = ARENA_ARRAY(arena, float, module->next_origin);
    for (uint32_t i = 0; i < module->next_origin; i++)
        traffic[i] = 2;
    bare->algorithm = ALGORITHM_CUT;
    bare->traffic = traffic;
    bare->traffic_count = module->next_origin;
    struct pass_context context = {.target = target, .policy = bare, .limit = -1};
    pass_precision(module->graphs[0], &context);
    return module;
}

static enum element element_of(const struct module *module, const char *name)
{
    const struct graph *graph = module->graphs[0];
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0)
            return graph->nodes[i]->type.element;
    return ELEMENT_NONE;
}

/* Everything through memory: all is half but what is denied, pinned, or a product of denied values that would have to
 * be cast by a kernel of its own for less than it gains. */
static void by_hand(void)
{
    struct arena *arena = arena_new();
    struct target target = device("A100-40GB");
    struct module *module = cut(arena,
                                "graph train {\n  %x = input(\"x\") : f32[512,512]\n  %a = sqrt(%x) : f32[512,512]\n"
                                "  %e = exp(%a) : f32[512,512]\n  %b = sqrt(%e) : f32[512,512]\n"
                                "  %p = abs(%b) : f32[512,512] pin f32\n  %m = matmul(%b, %b) : f32[512,512]\n"
                                "  %n = neg(%m) : f32[512,512]\n  %l = log(%n) : f32[512,512] in \":mse\"\n"
                                "  %o = output(%l, \"l\") : f32[512,512]\n  %q = output(%p, \"p\") : f32[512,512]\n}\n",
                                &target);
    CHECK(element_of(module, "a") == ELEMENT_F16 && element_of(module, "b") == ELEMENT_F16);
    CHECK(element_of(module, "e") == ELEMENT_F32 && element_of(module, "p") == ELEMENT_F32);
    CHECK(element_of(module, "n") == ELEMENT_F16 && element_of(module, "l") == ELEMENT_F32);
    module_free(module);
    /* A small product of a library's f32 result: the cast would cost a launch, more than half can save. */
    const char *small =
        "graph train {\n  %%x = input(\"x\") : f32[%d,%d]\n  %%a = matmul(%%x, %%x) : f32[%d,%d] pin f32\n"
        "  %%m = matmul(%%a, %%a) : f32[%d,%d]\n  %%o = output(%%m, \"m\") : f32[%d,%d]\n}\n";
    module = cut(arena, arena_printf(arena, small, 16, 16, 16, 16, 16, 16, 16, 16), &target);
    CHECK(element_of(module, "m") == ELEMENT_F32);
    module_free(module);
    module = cut(arena, arena_printf(arena, small, 4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096), &target);
    CHECK(element_of(module, "m") == ELEMENT_F16);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    by_hand();
    models();
    return check_result();
}
