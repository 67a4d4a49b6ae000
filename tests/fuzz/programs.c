/* Fuzzer of the whole way from a graph to what a device computes: random graphs under policies, passes on and off,
 * compiled, planned into memory and run.
 *
 *     fuzz_programs SECONDS [SEED [GRAPHS [host|sim [EVERY]]]]
 *                                                     GRAPHS graphs of SEED on; without SEED, for so many seconds; only
 *                                                     every EVERYth program is compiled plainly too, 1 for all of them
 *     fuzz_programs check FILE.ir PASSES [sim]        one graph after pass casts, for castor reduce; PASSES as printed
 *
 * Each graph is drawn from the op table, half of them over a batch as their first axis, so that kernels run in strips
 * and windows lie over it; some get gradients and a policy. Then it is compiled twice: plainly (each operation its own
 * kernel, no rewrites, no strips, on the host) and as drawn (some of simplify, cse and dce in some order, fused or not,
 * in strips where they are found, on the host or the simulated GPU). Many graphs share a program, and so a run of the
 * compiler. Memory is fenced and filled with NaN, and strips run as strips. Without contractions both must have equal
 * bits, but for elementary functions of constants, which a rewrite computes more exactly than a kernel. With
 * contractions, and where nothing jumps (no rounding to integers, no comparison), the error against f64 may be twice
 * that of rounding op by op, and a tolerance; of all other elements nearly all must be near the evaluator's. A graph
 * that fails is written to
 * ./fuzz-SEED.ir as it was after casts, for castor reduce. */
#include "codegen/assemble.h"
#include "frontend/device.h"
#include "ir/evaluate.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"
#include "passes/remat.h"
#include "passes/rewrite.h"
#include "random_graph.h"
#include "runtime/executor.h"
#include "runtime/tensor.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 20, PASSES_BYTES = 64, UNIT_BYTES = 1 << 20 };

struct machine {
    struct device *device;
    struct target target;
};

/* One graph of the round. */
struct subject {
    uint64_t seed;
    char passes[PASSES_BYTES]; /* that rewrite */
    int64_t limit;             /* of their rewrites */
    bool unfused;              /* each operation its own kernel, but strips of them */
    bool contracts, jumps;
    bool folds; /* what kernels only approximate, of constants: simplify has the evaluator compute it */
};

struct round {
    struct arena *arena;
    struct module *module; /* after casts */
    struct environment *environment;
    struct subject *subjects; /* stb_ds array, one a graph */
    int current;              /* that passes work on, for the message of a round that ends the process */
};

struct built {
    struct arena *arena;
    struct module *module;
    struct program *program;
    struct executor *executor;
};

static struct {
    int64_t graphs, plain, strips, elements, off;
} totals;
static struct round *now;

/* ---- failing ---- */

static void write_subject(const struct round *round, int number)
{
    char path[64];
    struct arena *arena = arena_new();
    struct module *module = module_copy(round->module, arena);
    for (int i = (int)arrlen(module->graphs) - 1; i >= 0; i--) {
        if (i == number)
            continue;
        arrfree(module->graphs[i]->nodes);
        arrdel(module->graphs, i);
    }
    snprintf(path, sizeof path, "fuzz-%llu.ir", (unsigned long long)round->subjects[number].seed);
    FILE *file = fopen(path, "w");
    if (file) {
        print_module(module, file);
        fclose(file);
        fprintf(stderr, "written to %s\n", path);
    }
    module_free(module);
    arena_free(arena);
}

static void say_round(void)
{
    if (!now)
        return;
    if (now->current < 0) {
        fprintf(stderr, "failed in the round of seeds %llu to %llu: try them one by one\n",
                (unsigned long long)now->subjects[0].seed, (unsigned long long)arrlast(now->subjects).seed);
        return;
    }
    const struct subject *subject = &now->subjects[now->current];
    fprintf(stderr, "failed at seed %llu with passes '%s%s', limit %lld\n", (unsigned long long)subject->seed,
            subject->passes, subject->unfused ? ",unfused" : "", (long long)subject->limit);
    write_subject(now, now->current);
}

static _Noreturn void fail(const char *what, const char *where)
{
    fprintf(stderr, "fuzz_programs: %s %s\n", what, where ? where : "");
    exit(1);
}

static _Noreturn void fail_with(const struct error *error)
{
    error_print(error, stderr);
    fail("a program does not compile or run", NULL);
}

/* ---- drawing ---- */

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

static void draw_passes(struct subject *subject, uint64_t *state)
{
    static const char *const names[] = {"simplify", "cse", "dce", "simplify"}; /* which has the most rules */
    for (uint32_t count = draw(state, 6); count; count--) {
        size_t used = strlen(subject->passes);
        snprintf(subject->passes + used, sizeof subject->passes - used, "%s%s", used ? "," : "", names[draw(state, 4)]);
    }
    subject->limit = draw(state, 4) ? -1 : (int64_t)draw(state, 60);
    subject->unfused = draw(state, 3) == 0;
}

static const struct policy *draw_policy(struct round *round, uint64_t *state)
{
    static const char *const names[] = {"f32", "autocast", "almost", "paint"}; /* half would take all variables along */
    const char *name = names[draw(state, 4)];
    enum element half = draw(state, 2) ? ELEMENT_F16 : ELEMENT_BF16;
    return policy_load(round->arena, round->module->diagnostics, name, half, (struct span){0});
}

static void run_pass(struct graph *graph, const char *name, struct pass_context *context)
{
    pass_find(name)->run(graph, context);
    if (diagnostics_errors(graph->module->diagnostics)) {
        diagnostics_print(graph->module->diagnostics, stderr);
        fail("an error in a graph that is none, after", name);
    }
    verify_or_bug(graph->module, name);
}

static void add_subject(struct round *round, uint64_t seed, const struct target *target)
{
    uint64_t state = seed * 2 + 1;
    draw(&state, 2);
    struct random_options options = {
        .steps = 4 + (int)draw(&state, 20), .chains = true, .halves = draw(&state, 2), .elements = 300};
    options.without = draw(&state, 3) ? 1u << CLASS_CONTRACTION : 0;
    options.batch = draw(&state, 2) ? 2 + (int)draw(&state, 30) : 0;
    if (options.batch)
        options.elements = 1000;
    if (seed % 5 == 4) {
        options.elements = 2 * RANDOM_LARGE;
        options.batch = options.batch ? 2 + options.batch % 3 : 0; /* few and long examples */
    }
    struct subject subject = {.seed = seed};
    draw_passes(&subject, &state);
    arrput(round->subjects, subject);
    round->current = (int)arrlen(round->subjects) - 1;
    const char *name = arena_printf(round->arena, "g%d", round->current);
    struct graph *graph = random_graph(round->module, name, seed, &options);
    bool trains = draw(&state, 3) == 0;
    if (trains)
        random_gradients(graph, 1);
    struct pass_context context = {.target = target, .limit = -1, .policy = trains ? draw_policy(round, &state) : NULL};
    if (!trains)
        return;
    run_pass(graph, "gradients", &context);
    run_pass(graph, "precision", &context);
    run_pass(graph, "casts", &context);
}

/* ---- what may be compared how ---- */

/* The same in f64 and as a kernel has it: nothing was computed. */
static bool is_given(const struct node *node)
{
    while (op_is(node->op, CLASS_MOVEMENT) && node->operand_count == 1 &&
           node->type.element == node->operands[0]->type.element)
        node = node->operands[0];
    return op_is(node->op, CLASS_LEAF);
}

static bool jumps(const struct node *node)
{
    const struct op_info *info = op_info(node->op);
    bool integer = !element_is_float(node->type.element);
    for (int i = 0; i < node->operand_count; i++)
        if (element_is_float(node->operands[i]->type.element) && integer && !is_given(node->operands[i]))
            return true; /* comparisons, argmax, casts */
    return node->op == OP_sign || node->op == OP_floor || node->op == OP_ceil || node->op == OP_round ||
           info->class == CLASS_SCAN;
}

/* Is it computed from constants alone, or the place of the only one there is? */
static bool is_constant(const struct node *node)
{
    if ((node->op == OP_argmax || node->op == OP_argmin) && reduced_elements(node) == 1)
        return true;
    bool constant = node->operand_count > 0 || node->op == OP_constant || node->op == OP_iota;
    for (int i = 0; i < node->operand_count && constant; i++)
        constant = is_constant(node->operands[i]);
    return constant;
}

static bool approximates(const struct node *node)
{
    switch (node->op) {
    case OP_exp:
    case OP_expm1:
    case OP_log:
    case OP_log1p:
    case OP_sin:
    case OP_cos:
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf:
    case OP_pow:
    case OP_rsqrt:
        return true;
    default:
        return false;
    }
}

static void look_at(struct subject *subject, const struct graph *graph)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        subject->contracts |= op_is(graph->nodes[i]->op, CLASS_CONTRACTION);
        subject->jumps |= jumps(graph->nodes[i]);
        subject->folds |= approximates(graph->nodes[i]) && is_constant(graph->nodes[i]);
    }
}

/* ---- building ---- */

static void run_rewrites(struct graph *graph, const struct subject *subject, struct pass_context *context)
{
    char passes[PASSES_BYTES], *rest = NULL;
    snprintf(passes, sizeof passes, "%s", subject->passes);
    for (char *name = strtok_r(passes, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
        run_pass(graph, name, context);
}

/* Some values are made again, though nothing asks for it. */
static void repeat_values(struct graph *graph, const struct target *target, uint64_t seed)
{
    struct arena *arena = arena_new();
    uint64_t state = seed * 2 + 7;
    struct pass_context context = {.limit = -1};
    graph_number(graph);
    struct remat_problem *problem = remat_problem_new(graph, target, arena);
    struct remat_plan plan = {.possible = true};
    for (int turn = 0; turn < problem->turn_count; turn++) {
        const struct remat_turn *kernels = &problem->turns[turn];
        for (int k = kernels->first; k < kernels->first + kernels->count; k++)
            arrput(plan.entries, ((struct remat_entry){k, -1}));
        for (int i = 0; i < problem->value_count; i++)
            if (problem->values[i].kernel < kernels->first + kernels->count && draw(&state, 8) == 0 &&
                remat_recipe(problem, i)->possible)
                arrput(plan.entries, ((struct remat_entry){-1, i}));
    }
    remat_apply(problem, &plan, &context);
    verify_or_bug(graph->module, "remat");
    remat_plan_free(&plan);
    remat_problem_free(problem);
    arena_free(arena);
}

/* The program of a copy; `plain`: nothing is rewritten or fused. */
static struct built build_program(struct round *round, const struct machine *machine, bool plain)
{
    static const char *const planning[] = {"layout", "fuse", "schedule", "memory"};
    struct built built = {.arena = arena_new()};
    struct error error = {0};
    struct target target = machine->target;
    target.strips = target.strips && !plain;
    built.module = module_copy(round->module, built.arena);
    for (int i = 0; i < arrlen(built.module->graphs); i++) {
        const struct subject *subject = i < arrlen(round->subjects) ? &round->subjects[i] : NULL;
        struct pass_context context = {.target = &target, .limit = -1, .debug_unfused = plain};
        if (!plain && subject) {
            context.limit = subject->limit;
            context.debug_unfused = subject->unfused;
        }
        round->current = subject ? i : -1;
        if (!plain && subject)
            run_rewrites(built.module->graphs[i], subject, &context);
        context.limit = -1;
        for (size_t k = 0; k < sizeof planning / sizeof *planning; k++) {
            if (!plain && subject && subject->seed % 3 == 0 && strcmp(planning[k], "memory") == 0)
                repeat_values(built.module->graphs[i], &target, subject->seed);
            run_pass(built.module->graphs[i], planning[k], &context);
        }
    }
    round->current = arrlen(round->subjects) == 1 ? 0 : -1; /* which of several is at fault is not known from here on */
    built.program = assemble_program(built.module, &target, built.arena);
    built.executor = executor_new(machine->device, built.program, plain, &error);
    if (!built.executor)
        fail_with(&error);
    for (int i = 0; i < built.program->entry_count; i++)
        totals.strips += built.program->entries[i].strip_count;
    return built;
}

static void free_built(struct built *built)
{
    executor_free(built->executor);
    program_free(built->program);
    module_free(built->module);
    arena_free(built->arena);
}

/* ---- running ---- */

static void *stored_from(const struct program_tensor *tensor, const struct tensor *values)
{
    struct error error = {0};
    void *stored = aligned_alloc(64, (program_tensor_bytes(tensor) + 127) / 64 * 64);
    if (!stored || !values || !tensor_store(tensor, stored, PROGRAM_F64, values->values, "value", &error))
        fail("no value for", "an input or a variable");
    return stored;
}

static bool run_entry(const struct built *built, int number, const struct environment *environment)
{
    const struct program_entry *entry = &built->program->entries[number];
    struct error error = {0};
    void **inputs = NULL;
    for (int i = 0; i < built->program->variable_count; i++) {
        const struct program_variable *variable = &built->program->variables[i];
        void *stored = stored_from(&variable->tensor, environment_variable(environment, variable->name));
        executor_write(built->executor, variable, stored);
        free(stored);
    }
    for (int i = 0; i < entry->input_count; i++) {
        void *input = stored_from(&entry->inputs[i].tensor, environment_input(environment, entry->inputs[i].name));
        arrput(inputs, input);
    }
    executor_spoil(built->executor);
    uint64_t ticket = executor_launch(built->executor, number, (const void *const *)inputs, &error);
    bool ran = ticket && executor_results(built->executor, ticket, &error) &&
               (executor_is_fenced(built->executor) || error_set(&error, "a kernel wrote outside its memory"));
    for (int i = 0; i < entry->input_count; i++)
        free(inputs[i]);
    arrfree(inputs);
    if (!ran)
        error_print(&error, stderr);
    return ran;
}

static double *loaded(const struct program_tensor *tensor, const void *stored)
{
    double *values = malloc(((size_t)program_tensor_elements(tensor) + 1) * sizeof *values);
    if (values)
        tensor_load(tensor, stored, PROGRAM_F64, values);
    return values;
}

/* What the effect's value is after the last run; malloced. NULL where the program has no such output. */
static double *value_of(const struct built *built, int number, const struct node *effect)
{
    const struct program_entry *entry = &built->program->entries[number];
    const char *symbol = effect->attributes->symbol;
    bool output = effect->op == OP_output;
    int count = output ? entry->output_count : built->program->variable_count;
    double *values = NULL;
    for (int i = 0; i < count && !values; i++) {
        const struct program_variable *variable = output ? NULL : &built->program->variables[i];
        const struct program_tensor *tensor = output ? &entry->outputs[i].tensor : &variable->tensor;
        if (strcmp(output ? entry->outputs[i].name : variable->name, symbol) != 0)
            continue;
        void *stored = malloc(program_tensor_bytes(tensor) + 1);
        if (output)
            executor_output(built->executor, number, i, stored);
        else
            executor_read(built->executor, variable, stored);
        values = loaded(tensor, stored);
        free(stored);
    }
    return values;
}

/* ---- comparing ---- */

static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b;
}

static int64_t differing(const double *a, const double *b, int64_t count)
{
    int64_t different = 0;
    for (int64_t i = 0; i < count; i++)
        different += !same(a[i], b[i]);
    return different;
}

/* Error against f64 at most twice that of rounding op by op, over what is finite in all three, and the tolerance. */
static bool within_oracle(const double *got, const double *rounded, const double *exact, int64_t count)
{
    const double tolerance = 1e-3;
    double off = 0, allowed = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        if (isfinite(rounded[i]) != isfinite(got[i]) || !isfinite(exact[i]) || !isfinite(got[i]))
            continue;
        off += (got[i] - exact[i]) * (got[i] - exact[i]);
        allowed += (rounded[i] - exact[i]) * (rounded[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    return sqrt(off) <= 2 * sqrt(allowed) + tolerance * sqrt(size) + 1e-6 * sqrt((double)count);
}

static void count_far(const double *got, const double *wanted, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        totals.off += !same(got[i], wanted[i]) && !(fabs(got[i] - wanted[i]) <= 2e-2 * (1e-3 + fabs(wanted[i])));
    totals.elements += count;
}

static const struct tensor *evaluated(const struct evaluation *evaluation, const struct node *effect)
{
    return effect->op == OP_output ? evaluation_output(evaluation, effect->attributes->symbol)
                                   : evaluation_write(evaluation, effect->attributes->symbol);
}

/* `plain` is NULL where the graph was not compiled plainly. */
static bool compare_effect(const struct subject *subject, const struct node *effect, const double *plain,
                           const double *drawn, const struct evaluation *rounded, const struct evaluation *exact)
{
    int64_t count = shape_elements(&effect->type.shape);
    const char *problem = NULL;
    if (!drawn)
        problem = "is missing";
    else if (plain && !subject->contracts && !(subject->folds && strstr(subject->passes, "simplify")) &&
             differing(plain, drawn, count))
        problem = "has other bits than plainly compiled";
    else if (!subject->jumps && element_is_float(effect->type.element) &&
             !within_oracle(drawn, evaluated(rounded, effect)->values, evaluated(exact, effect)->values, count))
        problem = "is too far from f64";
    if (problem) {
        fprintf(stderr, "seed %llu: %s %s\n", (unsigned long long)subject->seed, effect->attributes->symbol, problem);
        return false;
    }
    count_far(drawn, evaluated(rounded, effect)->values, count);
    return true;
}

static bool compare(struct round *round, int number, const struct built *plain, const struct built *drawn)
{
    struct graph *graph = round->module->graphs[number];
    graph_number(graph);
    if ((plain && !run_entry(plain, number, round->environment)) || !run_entry(drawn, number, round->environment))
        return false;
    struct evaluation *rounded = evaluate_graph(graph, round->environment, EVALUATE_ROUNDED);
    struct evaluation *exact = evaluate_graph(graph, round->environment, EVALUATE_EXACT);
    bool good = true;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes) && good; i++) {
        const struct node *node = graph->nodes[i];
        if (!op_is(node->op, CLASS_EFFECT))
            continue;
        double *a = plain ? value_of(plain, number, node) : NULL, *b = value_of(drawn, number, node);
        good = (a || !plain) && compare_effect(&round->subjects[number], node, a, b, rounded, exact);
        free(a);
        free(b);
    }
    evaluation_free(rounded);
    evaluation_free(exact);
    return good;
}

/* ---- a round ---- */

static void judge(struct round *round, bool plainly, const struct machine *host, const struct machine *other)
{
    for (int i = 0; i < arrlen(round->subjects); i++)
        look_at(&round->subjects[i], round->module->graphs[i]);
    struct built plain = {0}, drawn = build_program(round, other, false);
    if (plainly)
        plain = build_program(round, host, true);
    for (int i = 0; i < arrlen(round->subjects); i++) {
        random_fill_inputs(round->environment, round->module->graphs[i], round->subjects[i].seed);
        round->current = i;
        if (!compare(round, i, plainly ? &plain : NULL, &drawn))
            exit(1);
    }
    round->current = -1;
    totals.graphs += arrlen(round->subjects);
    if (plainly) {
        totals.plain += arrlen(round->subjects);
        free_built(&plain);
    }
    free_built(&drawn);
}

static void open_round(struct round *round)
{
    *round = (struct round){.arena = arena_new(), .environment = environment_new(), .current = -1};
    now = round;
}

static void close_round(struct round *round)
{
    now = NULL;
    environment_free(round->environment);
    module_free(round->module);
    arrfree(round->subjects);
    arena_free(round->arena);
}

/* The graph that pass casts adds for half copies goes behind the subjects, whose numbers are places in the module. */
static void put_refresh_last(struct module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        if (strcmp(module->graphs[i]->name, "refresh") == 0) {
            struct graph *refresh = module->graphs[i];
            arrdel(module->graphs, i);
            arrput(module->graphs, refresh);
            return;
        }
}

static void play(uint64_t seed, int graphs, bool plainly, const struct machine *host, const struct machine *other)
{
    struct round round;
    open_round(&round);
    round.module = module_new(round.arena, diagnostics_new(round.arena), "fuzz");
    for (int i = 0; i < graphs; i++)
        add_subject(&round, seed + (uint64_t)i, &other->target);
    put_refresh_last(round.module);
    random_fill(round.environment, round.module, seed);
    random_fill_copies(round.environment, round.module);
    judge(&round, plainly, host, other);
    close_round(&round);
}

/* With the bodies of its loops behind it. */
static bool is_one_graph(const struct module *module)
{
    bool one = arrlen(module->graphs) > 0 && !module->graphs[0]->body;
    for (ptrdiff_t i = 1; i < arrlen(module->graphs); i++)
        one = one && module->graphs[i]->body;
    return one;
}

static int check_file(const char *path, const char *passes, const struct machine *host, const struct machine *other)
{
    struct round round;
    open_round(&round);
    struct diagnostics *diagnostics = diagnostics_new(round.arena);
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "r");
    if (!file || getdelim(&text, &size, '\0', file) < 0)
        fail("cannot read", path);
    fclose(file);
    round.module = parse_module(round.arena, diagnostics, path, text);
    free(text);
    if (!round.module || !is_one_graph(round.module) || !verify_module(round.module, diagnostics)) {
        diagnostics_print(diagnostics, stderr);
        return 2;
    }
    struct subject subject = {.seed = 1, .limit = -1};
    const char *unfused = strstr(passes, "unfused");
    snprintf(subject.passes, sizeof subject.passes, "%.*s", unfused ? (int)(unfused - passes) : PASSES_BYTES, passes);
    subject.unfused = unfused;
    arrput(round.subjects, subject);
    random_fill(round.environment, round.module, 1);
    random_fill_copies(round.environment, round.module);
    now = NULL; /* no file of a file */
    judge(&round, true, host, other);
    close_round(&round);
    return 0;
}

/* ---- devices ---- */

static struct machine open_machine(enum device_kind kind)
{
    struct device_choice choice = {.kind = kind, .host = {.threads = 2, .cache = "off", .unit_bytes = UNIT_BYTES}};
    struct device_facts facts;
    struct error error = {0};
    struct machine machine = {0};
    if (!device_describe(&choice, &facts, &error) || !(machine.device = device_make(&choice, &error)))
        fail_with(&error);
    machine.target = device_target(&choice, &facts);
    return machine;
}

static void use_quick_compiler(void)
{
    char path[4096];
    const char *source = getenv("CASTOR_SOURCE");
    snprintf(path, sizeof path, "%s/tests/fuzz/quick-cc", source ? source : ".");
    setenv("CC", path, 0);
}

static int fuzz(int argc, char **argv, const struct machine *host, const struct machine *other)
{
    double limit = argc > 1 ? strtod(argv[1], NULL) : 1;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int graphs = argc > 3 ? atoi(argv[3]) : BATCH, every = argc > 5 && atoi(argv[5]) > 1 ? atoi(argv[5]) : 1;
    time_t start = time(NULL);
    atexit(say_round);
    if (argc > 2)
        for (int done = 0; done < graphs; done += BATCH)
            play(seed + (uint64_t)done, graphs - done < BATCH ? graphs - done : BATCH, done / BATCH % every == 0, host,
                 other);
    else
        for (; difftime(time(NULL), start) < limit || totals.graphs == 0; seed += BATCH)
            play(seed, BATCH, true, host, other);
    printf(
        "fuzz_programs: %lld graphs (%lld plainly too), %lld strips, %lld of %lld elements far from the evaluator's\n",
        (long long)totals.graphs, (long long)totals.plain, (long long)totals.strips, (long long)totals.off,
        (long long)totals.elements);
    return (double)totals.off <= 0.01 * (double)totals.elements ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool check = argc > 3 && strcmp(argv[1], "check") == 0, sim = argc > 4 && strcmp(argv[4], "sim") == 0;
    struct device_facts facts;
    struct error error = {0};
    if (sim && !device_present(&(struct device_choice){.kind = DEVICE_SIM}, &facts, &error))
        return 77;
    use_quick_compiler();
    struct machine host = open_machine(DEVICE_HOST), other = sim ? open_machine(DEVICE_SIM) : host;
    int status = check ? check_file(argv[2], argv[3], &host, &other) : fuzz(argc, argv, &host, &other);
    host.device->free(host.device);
    if (sim)
        other.device->free(other.device);
    return status;
}
