/* Fuzzer of the middle of the compiler: random graphs with their gradients, under random policies, through random
 * orders of passes.
 *
 *     fuzz_policies SECONDS [SEED]
 *
 * Each round draws a graph from the op table, a policy whose rules name random ops, regions and conditions under a
 * random algorithm, and an order of passes that keeps what they require. After every pass the module must verify; it
 * must print and parse back to the same text; and passes behind precision must keep every bit of every output. The
 * seed of a round that fails is printed: give it as SEED to see it again. */
#include "ir/evaluate.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/choose.h"
#include "passes/figures.h"
#include "passes/pass.h"
#include "random_graph.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct round {
    uint64_t seed, state;
    struct arena *arena;
    struct module *module;
    struct environment *environment;
    char policy[4096];
    char passes[512];
};

static struct round *now; /* for the message of a round that ends the process */

static uint32_t draw(struct round *round, uint32_t below)
{
    round->state = round->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(round->state >> 33) % below;
}

static void say_round(void)
{
    if (now)
        fprintf(stderr, "failed in the round of seed %llu\npasses %s\n%s\n", (unsigned long long)now->seed, now->passes,
                now->policy);
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "fuzz_policies: %s\n", what);
    exit(1);
}

/* ---- a policy ---- */

static void append(struct round *round, const char *format, const char *a, const char *b)
{
    size_t used = strlen(round->policy);
    snprintf(round->policy + used, sizeof round->policy - used, format, a, b);
}

static void add_rule(struct round *round)
{
    static const char *const classes[] = {"half", "f32", "promote", "follow"};
    static const char *const regions[] = {
        "", "", "", " region forward", " region backward", " region forward, backward"};
    static const char *const conditions[] = {"", "", " where bytes > 400", " where flops / bytes > 0.5 and rank >= 2",
                                             " where not dimension(-1) == 1 or elements < 64"};
    append(round, "    %s op %s", classes[draw(round, 4)], op_info((enum op)draw(round, OP_COUNT))->name);
    for (uint32_t more = draw(round, 3); more; more--)
        append(round, ", %s%s", op_info((enum op)draw(round, OP_COUNT))->name, "");
    append(round, "%s%s\n", regions[draw(round, 6)], conditions[draw(round, 5)]);
}

static struct policy *draw_policy(struct round *round)
{
    static const char *const bases[] = {"f32", "autocast", "almost", "half", "paint", "cost"};
    static const char *const settings[] = {"default half", "default f32", "default promote", "gradients half",
                                           "masters half"};
    append(round, "policy fuzz extends %s(%s) {\n", bases[draw(round, 6)], draw(round, 2) ? "f16" : "bf16");
    for (uint32_t rules = draw(round, 6); rules; rules--)
        add_rule(round);
    if (draw(round, 2))
        append(round, "    %s%s\n", settings[draw(round, 5)], "");
    append(round, "}\n%s%s", "", "");
    char path[] = "/tmp/fuzzXXXXXX.policy";
    int descriptor = mkstemps(path, 7);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (!file || fputs(round->policy, file) < 0 || fclose(file) != 0)
        fail("cannot write a policy");
    struct diagnostics *diagnostics = diagnostics_new(round->arena);
    struct policy *policy = policy_load(round->arena, diagnostics, path, ELEMENT_NONE, (struct span){0});
    remove(path);
    diagnostics_print(diagnostics, stderr);
    if (!policy)
        fail("a policy made of the op table is refused");
    return policy;
}

/* ---- checks ---- */

static char *text_of(const struct module *module)
{
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    print_module(module, stream);
    fclose(stream);
    return text;
}

static void check_text(struct round *round)
{
    char *text = text_of(round->module);
    struct diagnostics *diagnostics = diagnostics_new(round->arena);
    struct module *parsed = parse_module(round->arena, diagnostics, "fuzz.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!parsed)
        fail("a dump does not parse");
    char *again = text_of(parsed);
    if (strcmp(text, again) != 0)
        fail("a dump parses to another module");
    free(text);
    free(again);
    module_free(parsed);
}

static void check_tensor(const struct tensor *wanted, const struct tensor *got)
{
    if (!got || wanted->element != got->element)
        fail("an output is gone or has another type");
    for (int64_t i = 0; i < shape_elements(&wanted->shape); i++) {
        double x = wanted->values[i], y = got->values[i];
        if (isnan(x) ? !isnan(y) : x != y)
            fail("a pass changed a value");
    }
}

/* Outputs and writes of graph train as they were when `wanted` was evaluated on `before`. */
static void check_values(struct round *round, const struct graph *before, const struct evaluation *wanted)
{
    struct evaluation *got = evaluate_graph(round->module->graphs[0], round->environment, EVALUATE_ROUNDED);
    for (ptrdiff_t i = 0; i < arrlen(before->nodes); i++) {
        const struct node *node = before->nodes[i];
        const char *symbol = node->attributes->symbol;
        if (node->op == OP_output)
            check_tensor(evaluation_output(wanted, symbol), evaluation_output(got, symbol));
        else if (node->op == OP_write)
            check_tensor(evaluation_write(wanted, symbol), evaluation_write(got, symbol));
    }
    evaluation_free(got);
}

/* ---- passes ---- */

static void run(struct round *round, const char *name, struct pass_context *context)
{
    size_t used = strlen(round->passes);
    snprintf(round->passes + used, sizeof round->passes - used, "%s%s", used ? "," : "", name);
    const struct pass *pass = pass_find(name);
    for (ptrdiff_t i = 0; i < arrlen(round->module->graphs); i++)
        pass->run(round->module->graphs[i], context);
    if (diagnostics_errors(round->module->diagnostics)) {
        diagnostics_print(round->module->diagnostics, stderr);
        fail("a pass reports an error in a graph that is none");
    }
    verify_or_bug(round->module, name);
}

/* Some of the passes that may stand anywhere. */
static void run_anywhere(struct round *round, struct pass_context *context)
{
    static const char *const names[] = {"simplify", "cse", "dce"};
    for (uint32_t count = draw(round, 4); count; count--)
        run(round, names[draw(round, 3)], context);
}

static void run_passes(struct round *round, struct pass_context *context)
{
    run(round, "gradients", context);
    run_anywhere(round, context);
    run(round, "precision", context);
    run(round, "casts", context);
    random_fill_copies(round->environment, round->module);
    check_text(round);
    struct arena *arena = arena_new();
    struct module *before = module_copy(round->module, arena);
    struct evaluation *wanted = evaluate_graph(before->graphs[0], round->environment, EVALUATE_ROUNDED);
    run_anywhere(round, context);
    static const char *const planning[] = {"layout", "fuse", "schedule", "memory"};
    for (size_t i = 0; i < sizeof planning / sizeof *planning; i++)
        run(round, planning[i], context);
    check_text(round);
    check_values(round, before->graphs[0], wanted);
    evaluation_free(wanted);
    module_free(before);
    arena_free(arena);
}

static struct target draw_target(struct round *round)
{
    static const char *const names[] = {"sm_80", "sm_90", "L4"};
    struct target target = {.name = "fuzz", .alignment = 64, .cache_bytes = 1 << 20, .threads = 2};
    target.channels_last = draw(round, 2);
    target.epilogues = draw(round, 8);
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        target.storage[element] = element;
    if (draw(round, 3) == 0)
        target.storage[ELEMENT_F16] = ELEMENT_F32;
    struct figures figures;
    if (figures_find(names[draw(round, 3)], false, &figures))
        figures_apply(&figures, &target);
    return target;
}

static void play(uint64_t seed)
{
    struct round round = {.seed = seed, .state = seed * 2 + 1, .arena = arena_new()};
    now = &round;
    struct random_options options = {.halves = draw(&round, 2), .elements = 100};
    round.module = random_module(round.arena, seed, &options);
    round.environment = environment_new();
    random_fill(round.environment, round.module, seed);
    if (draw(&round, 2))
        random_gradients(round.module->graphs[0], 1);
    struct target target = draw_target(&round);
    const struct policy *policy = policy_choose(draw_policy(&round), round.module, &target);
    struct pass_context context = {
        .target = &target, .policy = policy, .limit = draw(&round, 4) ? -1 : (int64_t)draw(&round, 60)};
    run_passes(&round, &context);
    environment_free(round.environment);
    module_free(round.module);
    arena_free(round.arena);
    now = NULL;
}

int main(int argc, char **argv)
{
    double limit = argc > 1 ? strtod(argv[1], NULL) : 1;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, first = seed;
    time_t start = time(NULL);
    atexit(say_round);
    do
        play(seed++);
    while (difftime(time(NULL), start) < limit && argc <= 2);
    printf("fuzz_policies: %llu rounds, no failure\n", (unsigned long long)(seed - first));
    return 0;
}
