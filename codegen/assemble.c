/* Module -> program: variables with their places, one entry a graph with what goes in and comes out. Its steps are in
 * assemble_steps.c. */
#include "codegen/assemble.h"
#include "codegen/assembly.h"
#include "codegen/kernel.h"
#include "codegen/loop_places.h"
#include "codegen/share.h"
#include "codegen/templates.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

#define SAME(element) _Static_assert((int)ELEMENT_##element == (int)PROGRAM_##element, "numbered alike")
SAME(NONE);
SAME(F16);
SAME(BF16);
SAME(F32);
SAME(F64);
SAME(I32);
SAME(I64);
SAME(U8);
SAME(BOOL);
#undef SAME
_Static_assert((int)RANK_MAX <= (int)PROGRAM_RANK && (int)SPATIAL_MAX <= (int)PROGRAM_SPATIAL, "shapes fit");
_Static_assert((int)VARIABLE_PARAMETER == (int)PROGRAM_PARAMETER && (int)VARIABLE_STATE == (int)PROGRAM_FORWARD_STATE &&
                   (int)VARIABLE_OPTIMIZER == (int)PROGRAM_OPTIMIZER && (int)VARIABLE_COPY == (int)PROGRAM_COPY &&
                   (int)VARIABLE_HOST == (int)PROGRAM_HOST,
               "kinds of variables are numbered alike");
_Static_assert((int)OUTPUT_VALUE == (int)PROGRAM_VALUE && (int)OUTPUT_LOSS == (int)PROGRAM_LOSS &&
                   (int)OUTPUT_METRIC == (int)PROGRAM_METRIC && (int)OUTPUT_NUMERATOR == (int)PROGRAM_NUMERATOR &&
                   (int)OUTPUT_DENOMINATOR == (int)PROGRAM_DENOMINATOR && (int)OUTPUT_WATCH == (int)PROGRAM_WATCH &&
                   (int)OUTPUT_LOG == (int)PROGRAM_LOG && (int)OUTPUT_TOTAL == (int)PROGRAM_TOTAL,
               "kinds of outputs are numbered alike");

void *assembler_allocate(struct assembler *assembler, size_t count, size_t size)
{
    void *memory = program_allocate(assembler->program, count ? count * size : 1);
    if (!memory)
        arena_exhausted();
    return memory;
}

const char *assembler_keep(struct assembler *assembler, const char *text)
{
    const char *kept = program_string(assembler->program, text);
    if (text && !kept)
        arena_exhausted();
    return kept;
}

uint64_t assembler_align(const struct assembler *assembler, uint64_t bytes)
{
    uint64_t alignment = assembler->program->alignment;
    return (bytes + alignment - 1) / alignment * alignment;
}

static struct program_tensor tensor_of(const struct assembler *assembler, const struct type *type)
{
    struct program_tensor tensor = {.element = (enum program_element)type->element,
                                    .storage = (enum program_element)assembler->target->storage[type->element],
                                    .rank = type->shape.rank};
    for (int i = 0; i < tensor.rank; i++) {
        tensor.dimension[i] = type->shape.dimension[i];
        tensor.order[i] = type->order[i];
    }
    return tensor;
}

/* ---- variables ---- */

static void add_variables(struct assembler *assembler)
{
    const struct module *module = assembler->module;
    struct program *program = assembler->program;
    program->variable_count = (int)arrlen(module->variables);
    program->variables = assembler_allocate(assembler, arrlenu(module->variables), sizeof *program->variables);
    for (int i = 0; i < program->variable_count; i++) {
        const struct variable *variable = module->variables[i];
        program->variables[i] = (struct program_variable){.name = assembler_keep(assembler, variable->name),
                                                          .kind = (enum program_variable_kind)variable->kind,
                                                          .tensor = tensor_of(assembler, &variable->type),
                                                          .offset = program->state_bytes};
        uint64_t bytes = (uint64_t)memory_bytes(&variable->type, assembler->target);
        program->state_bytes += assembler_align(assembler, bytes);
        shput(assembler->variables, variable->name, i);
    }
}

/* ---- places ---- */

static uint32_t input_index(struct assembly *assembly, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(assembly->inputs); i++)
        if (strcmp(assembly->inputs[i].name, name) == 0)
            return (uint32_t)i;
    castor_bug("no input \"%s\"", name);
}

uint64_t assembler_variable(const struct assembler *assembler, const char *name)
{
    struct text_entry *variables = assembler->variables;
    ptrdiff_t at = shgeti(variables, name);
    if (at < 0)
        castor_bug("no variable \"%s\"", name);
    return assembler->program->variables[variables[at].value].offset;
}

struct program_place assembly_place(struct assembly *assembly, const struct node *node, int64_t offset)
{
    const struct placement *placement = &node->placement;
    uint64_t within = (uint64_t)(placement->offset + offset);
    int output = assembly->put_out ? assembly->put_out[node->id] - 1 : -1;
    if (output >= 0)
        return (struct program_place){(enum program_space)PLACE_OUTPUT, (uint32_t)output, (uint64_t)offset};
    if (assembly->graph->body && (node->op == OP_input || node->op == OP_output))
        return (struct program_place){node->op == OP_input ? (enum program_space)PLACE_OPERAND
                                                           : (enum program_space)PLACE_OUTPUT,
                                      (uint32_t)loop_number(node), (uint64_t)offset};
    switch (placement->space) {
    case SPACE_SCRATCH:
        return (struct program_place){PROGRAM_SCRATCH, 0, assembly->base + within};
    case SPACE_STATE:
        return (struct program_place){PROGRAM_STATE, 0,
                                      assembler_variable(assembly->assembler, placement->symbol) + within};
    case SPACE_INPUT:
        return (struct program_place){PROGRAM_INPUT, input_index(assembly, placement->symbol), within};
    default:
        castor_bug("a value of %s has no place", op_info(node->op)->name);
    }
}

/* ---- entries ---- */

static void add_inputs(struct assembly *assembly)
{
    struct assembler *assembler = assembly->assembler;
    for (ptrdiff_t i = 0; i < arrlen(assembly->graph->nodes); i++) {
        const struct node *node = assembly->graph->nodes[i];
        if (node->op != OP_input)
            continue;
        bool known = false;
        for (ptrdiff_t j = 0; j < arrlen(assembly->inputs); j++)
            known = known || strcmp(assembly->inputs[j].name, node->attributes->symbol) == 0;
        struct program_input input = {.name = assembler_keep(assembler, node->attributes->symbol),
                                      .tensor = tensor_of(assembler, &node->type),
                                      .classes = node->attributes->index};
        if (!known)
            arrput(assembly->inputs, input);
    }
}

static bool is_minimized(const struct module *module, const char *loss)
{
    for (ptrdiff_t i = 0; i < arrlen(module->minimizes); i++)
        if (module->minimizes[i].loss && strcmp(module->minimizes[i].loss, loss) == 0)
            return true;
    return false;
}

static int compare_origins(const void *a, const void *b)
{
    uint32_t x = (*(const struct node *const *)a)->origin, y = (*(const struct node *const *)b)->origin;
    return (x > y) - (x < y);
}

/* As the model declares them, not as they were scheduled: the log shows them in this order, and the first metric may
 * choose the best weights. */
static void add_outputs(struct assembly *assembly)
{
    struct assembler *assembler = assembly->assembler;
    struct program_output *outputs = NULL;
    const struct node **nodes = NULL;
    for (ptrdiff_t i = 0; i < arrlen(assembly->graph->nodes); i++)
        if (assembly->graph->nodes[i]->op == OP_output)
            arrput(nodes, assembly->graph->nodes[i]);
    if (nodes)
        qsort(nodes, arrlenu(nodes), sizeof(struct node *), compare_origins);
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++) {
        const struct node *node = nodes[i];
        const struct attributes *attributes = node->attributes;
        struct program_output output = {.name = assembler_keep(assembler, attributes->symbol),
                                        .kind = (enum program_output_kind)attributes->output,
                                        .tensor = tensor_of(assembler, &node->type),
                                        .place = assembly_place(assembly, node, 0),
                                        .minimized = attributes->output == OUTPUT_LOSS &&
                                                     is_minimized(assembler->module, attributes->symbol)};
        arrput(outputs, output);
    }
    assembly->entry->output_count = (int)arrlen(outputs);
    assembly->entry->outputs = assembler_allocate(assembler, arrlenu(outputs), sizeof *outputs);
    if (outputs)
        memcpy(assembly->entry->outputs, outputs, sizeof *outputs * arrlenu(outputs));
    arrfree(outputs);
    arrfree(nodes);
}

static void add_entry(struct assembler *assembler, const struct graph *graph, struct program_entry *entry)
{
    struct memory_use memory = memory_measure(graph, assembler->target);
    struct assembly assembly = {.assembler = assembler,
                                .graph = graph,
                                .entry = entry,
                                .scratch_bytes = assembler_align(assembler, (uint64_t)memory.peak)};
    *entry = (struct program_entry){
        .name = assembler_keep(assembler, graph->name), .batch = graph->batch, .scratch_bytes = assembly.scratch_bytes};
    add_inputs(&assembly);
    struct kernel_set set = kernels_find(graph, assembler->arena);
    assembly.strips = strips_find(&set, assembler->target, assembler->arena);
    assembly.fetched = ARENA_ARRAY(assembler->arena, int, arrlen(graph->nodes));
    assembly_add_kernels(&assembly, &set);
    assembly_add_copies(&assembly);
    add_outputs(&assembly);
    entry->input_count = (int)arrlen(assembly.inputs);
    entry->inputs = assembler_allocate(assembler, arrlenu(assembly.inputs), sizeof *entry->inputs);
    if (assembly.inputs)
        memcpy(entry->inputs, assembly.inputs, sizeof *entry->inputs * arrlenu(assembly.inputs));
    entry->step_count = (int)arrlen(assembly.steps);
    entry->steps = assembler_allocate(assembler, arrlenu(assembly.steps), sizeof *entry->steps);
    if (assembly.steps)
        memcpy(entry->steps, assembly.steps, sizeof *entry->steps * arrlenu(assembly.steps));
    entry->strip_count = (int)arrlen(assembly.entry_strips);
    entry->strips = assembler_allocate(assembler, arrlenu(assembly.entry_strips), sizeof *entry->strips);
    if (assembly.entry_strips)
        memcpy(entry->strips, assembly.entry_strips, sizeof *entry->strips * arrlenu(assembly.entry_strips));
    arrfree(assembly.inputs);
    arrfree(assembly.steps);
    arrfree(assembly.entry_strips);
    hmfree(assembly.by_origin);
}

/* What stands before all kernels. */
static const char *common_source(struct assembler *assembler)
{
    const char *prelude = kernel_prelude(assembler->target, assembler->arena);
    return arena_printf(assembler->arena, "%s%s", prelude, templates_text(assembler->templates, assembler->arena));
}

struct program *assemble_program(const struct module *module, const struct target *target, struct arena *arena)
{
    struct program *program = program_new();
    if (!program)
        arena_exhausted();
    struct assembler assembler = {.module = module, .target = target, .arena = arena, .program = program};
    program->name = assembler_keep(&assembler, module->name);
    program->target = assembler_keep(&assembler, target->name);
    program->alignment = target->alignment > 0 ? (uint64_t)target->alignment : 64;
    program->accumulate = module->accumulate;
    program->scaled = module->scaling.present;
    add_variables(&assembler);
    program->entries = assembler_allocate(&assembler, arrlenu(module->graphs), sizeof *program->entries);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        if (!module->graphs[i]->body)
            add_entry(&assembler, module->graphs[i], &program->entries[program->entry_count++]);
    program->state_bytes += assembler_align(&assembler, assembler.counter_bytes);
    assembler_finish_origins(&assembler);
    program->source = assembler_keep(&assembler, common_source(&assembler));
    program->kernel_count = (int)arrlen(assembler.kernels);
    program->kernels = assembler_allocate(&assembler, arrlenu(assembler.kernels), sizeof *program->kernels);
    if (assembler.kernels)
        memcpy(program->kernels, assembler.kernels, sizeof *program->kernels * arrlenu(assembler.kernels));
    if (target->language == LANGUAGE_CUDA)
        share_kernels(program, assembler.generated, arena);
    arrfree(assembler.kernels);
    arrfree(assembler.generated);
    shfree(assembler.bodies);
    shfree(assembler.names);
    shfree(assembler.variables);
    return program;
}
