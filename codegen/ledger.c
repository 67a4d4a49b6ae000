/* Counts a training step: from the program what is launched and moved, from the graphs the bounds and the casts. */
#include "codegen/ledger.h"
#include "ir/loop.h"
#include "passes/cost.h"
#include "passes/memory.h"

#include <jansson.h>
#include <stb/stb_ds.h>
#include <string.h>

/* ---- casts ---- */

static bool is_float_cast(const struct node *node)
{
    return node->op == OP_cast && element_is_float(node->type.element) &&
           element_is_float(node->operands[0]->type.element);
}

/* Neither computes anything: movement, and the ends of a graph. */
static bool only_moves(const struct node *node)
{
    return op_is(node->op, CLASS_MOVEMENT) || op_is(node->op, CLASS_EFFECT) || op_is(node->op, CLASS_LEAF);
}

static void note_standalone(struct ledger *ledger, const struct node *cast, struct arena *arena)
{
    char from[TYPE_TEXT], to[TYPE_TEXT];
    type_format(&cast->operands[0]->type, from, sizeof from);
    type_format(&cast->type, to, sizeof to);
    const char *name = cast->name ? cast->name : cast->operands[0]->name ? cast->operands[0]->name : "cast";
    arrput(ledger->standalone, arena_printf(arena, "%s: %s -> %s (%s:%d)", name, from, to,
                                            cast->span.file ? cast->span.file : "?", cast->span.line));
}

static void count_casts(struct ledger *ledger, const struct kernel_use *use, struct arena *arena)
{
    uint64_t casts = 0;
    bool works = false;
    const struct node *first = NULL;
    for (int i = 0; i < use->computed_count; i++) {
        const struct node *node = use->computed[i];
        casts += is_float_cast(node);
        first = !first && is_float_cast(node) ? node : first;
        works = works || (node->op != OP_cast && !only_moves(node));
    }
    if (works || use->contraction) {
        ledger->casts_fused += casts;
        return;
    }
    ledger->casts_standalone += casts;
    if (first)
        note_standalone(ledger, first, arena);
}

/* ---- one entry ---- */

/* Is it a kernel in a strip that has another one before it? The kernels of a strip are launched together. */
static bool launched_before(const struct program_entry *entry, int number)
{
    const struct program_strip *strip = program_find_strip(entry, number);
    for (int i = strip ? strip->first : number; i < number; i++)
        if (entry->steps[i].kind == PROGRAM_KERNEL)
            return true;
    return false;
}

static void count_step(struct ledger *ledger, const struct program_entry *entry, int number, uint64_t times)
{
    const struct program_step *step = &entry->steps[number];
    switch (step->kind) {
    case PROGRAM_KERNEL:
        ledger->kernels += launched_before(entry, number) ? 0 : times;
        break;
    case PROGRAM_COPY_STEP:
        ledger->copies += times;
        break;
    default:
        ledger->library_calls += times;
        break;
    }
    ledger->bytes += times * step->bytes;
    ledger->workspace_bytes += times * step->workspace;
    ledger->flops += times * step->flops;
}

/* Workspaces of kernels lie behind the values: they count for both peak and bound. */
static void count_arena(struct ledger *ledger, const struct graph *graph, const struct program_entry *entry,
                        const struct target *target)
{
    struct memory_use use = memory_measure(graph, target);
    uint64_t workspace = entry->scratch_bytes > (uint64_t)use.peak ? entry->scratch_bytes - (uint64_t)use.peak : 0;
    if (entry->scratch_bytes > ledger->arena_peak)
        ledger->arena_peak = entry->scratch_bytes;
    if ((uint64_t)use.bound + workspace > ledger->arena_lower_bound)
        ledger->arena_lower_bound = (uint64_t)use.bound + workspace;
}

/* Of a kernel that pass remat made: what it stores was stored before. As in the program, what is appended to a
 * contraction does not count, but for tails of convolutions. */
static uint64_t flops_again(const struct kernel_use *use, const struct target *target)
{
    bool tail = kernel_has_tail(use) && target->epilogues & EPILOGUE_TAIL;
    if (!use->store_count || !use->stores[0]->again)
        return 0;
    return (uint64_t)(use->contraction && !tail ? node_flops(use->contraction) : cost_kernel(use, target).flops);
}

/* What is told from the graph, and from the bodies that it runs. */
static void count_graph(struct ledger *ledger, const struct graph *graph, const struct target *target, uint64_t times,
                        struct arena *arena)
{
    struct arena *scratch = arena_new();
    struct kernel_set set = kernels_find(graph, scratch);
    ledger->bytes_lower_bound += times * ledger_lower_bound(graph, target);
    ledger->bytes_unfused += times * ledger_unfused(graph, target);
    for (int i = 0; i < set.count; i++) {
        const struct node *loop = set.kernels[i].contraction;
        count_casts(ledger, &set.kernels[i], arena);
        ledger->flops_again += times * flops_again(&set.kernels[i], target);
        if (loop && loop->op == OP_loop)
            count_graph(ledger, loop_body(graph->module, loop), target, times * (uint64_t)loop->attributes->loop.turns,
                        arena);
    }
    arena_free(scratch);
}

static void count_entry(struct ledger *ledger, const struct graph *graph, const struct program *program,
                        const struct target *target, uint64_t times, struct arena *arena)
{
    const struct program_entry *entry = program_find_entry(program, graph->name);
    if (!entry)
        castor_bug("the program has no entry \"%s\"", graph->name);
    for (int i = 0; i < entry->step_count; i++)
        count_step(ledger, entry, i, times);
    count_graph(ledger, graph, target, times, arena);
    count_arena(ledger, graph, entry, target);
}

static void count_variables(struct ledger *ledger, const struct program *program)
{
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        uint64_t elements = (uint64_t)program_tensor_elements(&variable->tensor);
        uint64_t bytes = elements * program_element_bytes(variable->tensor.storage);
        if (variable->kind == PROGRAM_PARAMETER)
            ledger->parameters += elements;
        if (variable->kind == PROGRAM_PARAMETER || variable->kind == PROGRAM_COPY)
            ledger->parameter_bytes += bytes;
        if (variable->kind == PROGRAM_OPTIMIZER)
            ledger->optimizer_bytes += bytes;
    }
}

struct ledger ledger_compute(const struct module *module, const struct program *program, const struct target *target,
                             struct arena *arena)
{
    struct ledger ledger = {.name = module->name, .target = target->name};
    const struct graph *graph;
    int times;
    for (int i = 0; (graph = module_step_graph(module, i, &times)); i++)
        count_entry(&ledger, graph, program, target, (uint64_t)times, arena);
    count_variables(&ledger, program);
    ledger.launches = ledger.kernels + ledger.library_calls;
    ledger.predicted_seconds = cost_step(module, target).seconds;
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    arrfree(ledger->standalone);
}

/* ---- registers ---- */

static bool is_of_step(const struct program_entry *entry)
{
    return strcmp(entry->name, "train") == 0 || strcmp(entry->name, "micro") == 0 || strcmp(entry->name, "update") == 0;
}

/* A kernel is counted once, however often it is launched. */
void ledger_add_resources(struct ledger *ledger, const struct program *program,
                          const struct ledger_resources *resources)
{
    bool *seen = NULL;
    for (int i = 0; i < program->kernel_count; i++)
        arrput(seen, false);
    for (int i = 0; i < program->entry_count; i++)
        for (int k = 0; is_of_step(&program->entries[i]) && k < program->entries[i].step_count; k++) {
            const struct program_step *step = &program->entries[i].steps[k];
            if (step->kind != PROGRAM_KERNEL || !seen || seen[step->kernel])
                continue;
            const struct ledger_resources *own = &resources[step->kernel];
            seen[step->kernel] = true;
            ledger->spilling += own->spill_bytes > 0;
            ledger->spill_bytes += (uint64_t)own->spill_bytes;
            if (!ledger->most_registers || own->registers > ledger->registers) {
                ledger->registers = own->registers;
                ledger->most_registers = program->kernels[step->kernel].name;
            }
        }
    arrfree(seen);
}

/* ---- printing ---- */

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

void ledger_print(const struct ledger *ledger, FILE *out)
{
    const double mega = 1e6;
    fprintf(out, "one training step of %s on %s\n\n", ledger->name ? ledger->name : "?", ledger->target);
    fprintf(out, "  launches       %8llu   %llu kernels, %llu library calls; %llu copies apart\n",
            (unsigned long long)ledger->launches, (unsigned long long)ledger->kernels,
            (unsigned long long)ledger->library_calls, (unsigned long long)ledger->copies);
    fprintf(out, "  bytes          %8.2f MB  %.2f x the lower bound of %.2f MB; unfused %.2f MB\n",
            (double)ledger->bytes / mega, ratio(ledger->bytes, ledger->bytes_lower_bound),
            (double)ledger->bytes_lower_bound / mega, (double)ledger->bytes_unfused / mega);
    fprintf(out, "  workspaces     %8.2f MB  that blocks leave for each other, stored and loaded beside these bytes\n",
            (double)ledger->workspace_bytes / mega);
    fprintf(out, "  arena          %8.2f MB  %.3f x the liveness bound of %.2f MB\n", (double)ledger->arena_peak / mega,
            ratio(ledger->arena_peak, ledger->arena_lower_bound), (double)ledger->arena_lower_bound / mega);
    if (ledger->arena_budget)
        fprintf(out, "  budget         %8.2f MB  the arena takes %.1f %% of it\n", (double)ledger->arena_budget / mega,
                100 * ratio(ledger->arena_peak, ledger->arena_budget));
    fprintf(out, "  parameters     %8llu   %.2f MB, optimizer state %.2f MB\n", (unsigned long long)ledger->parameters,
            (double)ledger->parameter_bytes / mega, (double)ledger->optimizer_bytes / mega);
    fprintf(out, "  arithmetic     %8.3f GFLOP", (double)ledger->flops / 1e9);
    if (ledger->arena_budget)
        fprintf(out, ", recomputed %.3f GFLOP, %.2f %% more", (double)ledger->flops_again / 1e9,
                100 * ratio(ledger->flops_again, ledger->flops - ledger->flops_again));
    fputc('\n', out);
    fprintf(out, "  time           %8.3f ms predicted\n", 1e3 * ledger->predicted_seconds);
    fprintf(out, "  casts          %8llu   fused, %llu standalone\n", (unsigned long long)ledger->casts_fused,
            (unsigned long long)ledger->casts_standalone);
    if (ledger->most_registers)
        fprintf(out, "  registers      %8d   at most, in %s; %d kernels spill %llu bytes\n", ledger->registers,
                ledger->most_registers, ledger->spilling, (unsigned long long)ledger->spill_bytes);
    for (ptrdiff_t i = 0; i < arrlen(ledger->standalone); i++)
        fprintf(out, "    standalone: %s\n", ledger->standalone[i]);
}

struct json_t *ledger_json(const struct ledger *ledger)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"launches", ledger->launches},
                   {"kernels", ledger->kernels},
                   {"library_calls", ledger->library_calls},
                   {"copies", ledger->copies},
                   {"bytes", ledger->bytes},
                   {"bytes_lower_bound", ledger->bytes_lower_bound},
                   {"bytes_unfused", ledger->bytes_unfused},
                   {"workspace_bytes", ledger->workspace_bytes},
                   {"arena_peak", ledger->arena_peak},
                   {"arena_lower_bound", ledger->arena_lower_bound},
                   {"casts_fused", ledger->casts_fused},
                   {"casts_standalone", ledger->casts_standalone},
                   {"parameters", ledger->parameters},
                   {"parameter_bytes", ledger->parameter_bytes},
                   {"optimizer_bytes", ledger->optimizer_bytes},
                   {"flops", ledger->flops},
                   {"flops_recomputed", ledger->flops_again},
                   {"arena_budget", ledger->arena_budget}};
    json_t *object = json_object(), *names = json_array();
    json_object_set_new(object, "model", json_string(ledger->name ? ledger->name : ""));
    json_object_set_new(object, "device", json_string(ledger->target));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(object, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    if (ledger->most_registers) {
        json_object_set_new(object, "registers", json_integer(ledger->registers));
        json_object_set_new(object, "spilling_kernels", json_integer(ledger->spilling));
        json_object_set_new(object, "spill_bytes", json_integer((json_int_t)ledger->spill_bytes));
    }
    json_object_set_new(object, "predicted_ms", json_real(1e3 * ledger->predicted_seconds));
    for (ptrdiff_t i = 0; i < arrlen(ledger->standalone); i++)
        json_array_append_new(names, json_string(ledger->standalone[i]));
    json_object_set_new(object, "standalone", names);
    return object;
}
