/* Module -> program. Kernels are generated graph by graph and kept by their text, so that layers of one shape share
 * one; what tells two uses of a text apart (places, random keys) stands in the steps. */
#include "codegen/assemble.h"
#include "codegen/attention_kernel.h"
#include "codegen/contraction.h"
#include "codegen/convolution_kernel.h"
#include "codegen/kernel.h"
#include "codegen/loop_places.h"
#include "codegen/share.h"
#include "codegen/templates.h"
#include "ir/scope.h"
#include "passes/memory.h"
#include "passes/strips.h"
#include "passes/view.h"

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

struct text_entry {
    char *key;
    int value;
};

struct origin_entry {
    int64_t key;
    int value;
};

struct assembler {
    const struct module *module;
    const struct target *target;
    struct arena *arena;
    struct program *program;
    struct program_kernel *kernels; /* stb_ds array */
    bool *generated;                /* stb_ds array, by kernel: it was printed, and is of no template */
    struct program_origin *origins; /* stb_ds array */
    struct origin_entry *known_origins;
    struct text_entry *bodies;    /* stb_ds string hash: body -> kernel */
    struct text_entry *names;     /* stb_ds string hash: name -> times used */
    struct text_entry *variables; /* stb_ds string hash: name -> index */
    uint64_t counter_bytes;       /* zeros behind the variables, for blocks to count themselves in */
    unsigned templates;           /* that kernels need: a sum of enum template_kind */
};

static void *allocate(struct assembler *assembler, size_t count, size_t size)
{
    void *memory = program_allocate(assembler->program, count ? count * size : 1);
    if (!memory)
        arena_exhausted();
    return memory;
}

static const char *keep(struct assembler *assembler, const char *text)
{
    const char *kept = program_string(assembler->program, text);
    if (text && !kept)
        arena_exhausted();
    return kept;
}

static uint64_t align(const struct assembler *assembler, uint64_t bytes)
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
    program->variables = allocate(assembler, arrlenu(module->variables), sizeof *program->variables);
    for (int i = 0; i < program->variable_count; i++) {
        const struct variable *variable = module->variables[i];
        program->variables[i] = (struct program_variable){.name = keep(assembler, variable->name),
                                                          .kind = (enum program_variable_kind)variable->kind,
                                                          .tensor = tensor_of(assembler, &variable->type),
                                                          .offset = program->state_bytes};
        uint64_t bytes = (uint64_t)memory_bytes(&variable->type, assembler->target);
        program->state_bytes += align(assembler, bytes);
        shput(assembler->variables, variable->name, i);
    }
}

/* ---- places ---- */

struct by_origin {
    uint32_t key;
    const struct node *value;
};

/* One graph being assembled. */
struct assembly {
    struct assembler *assembler;
    const struct graph *graph;
    struct program_entry *entry;
    uint64_t scratch_bytes;       /* of values; workspaces lie behind them */
    struct program_step *steps;   /* stb_ds array */
    struct program_input *inputs; /* stb_ds array */
    struct by_origin *by_origin;  /* stb_ds hash of the graph's nodes, made when it is asked for */
    struct strip_set strips;
    uint64_t workspace;                 /* of the present strip, whose kernels' workspaces live at one time */
    int *fetched;                       /* by node id: the last strip, from 1, that loaded or made it */
    struct program_strip *entry_strips; /* stb_ds array */
    uint64_t base;                      /* where a body's own values begin in scratch; 0 outside of loops */
    int *put_out; /* of a body, by node id: the output, from 1, that the node is as it is stored; NULL: none */
};

static uint32_t input_index(struct assembly *assembly, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(assembly->inputs); i++)
        if (strcmp(assembly->inputs[i].name, name) == 0)
            return (uint32_t)i;
    castor_bug("no input \"%s\"", name);
}

static uint64_t variable_offset(const struct assembler *assembler, const char *name)
{
    struct text_entry *variables = assembler->variables;
    ptrdiff_t at = shgeti(variables, name);
    if (at < 0)
        castor_bug("no variable \"%s\"", name);
    return assembler->program->variables[variables[at].value].offset;
}

static struct program_place place_of(struct assembly *assembly, const struct node *node, int64_t offset)
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
                                      variable_offset(assembly->assembler, placement->symbol) + within};
    case SPACE_INPUT:
        return (struct program_place){PROGRAM_INPUT, input_index(assembly, placement->symbol), within};
    default:
        castor_bug("a value of %s has no place", op_info(node->op)->name);
    }
}

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
        struct program_input input = {.name = keep(assembler, node->attributes->symbol),
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
        struct program_output output = {.name = keep(assembler, attributes->symbol),
                                        .kind = (enum program_output_kind)attributes->output,
                                        .tensor = tensor_of(assembler, &node->type),
                                        .place = place_of(assembly, node, 0),
                                        .minimized = attributes->output == OUTPUT_LOSS &&
                                                     is_minimized(assembler->module, attributes->symbol)};
        arrput(outputs, output);
    }
    assembly->entry->output_count = (int)arrlen(outputs);
    assembly->entry->outputs = allocate(assembler, arrlenu(outputs), sizeof *outputs);
    if (outputs)
        memcpy(assembly->entry->outputs, outputs, sizeof *outputs * arrlenu(outputs));
    arrfree(outputs);
    arrfree(nodes);
}

/* ---- steps ---- */

static const char *unique_name(struct assembler *assembler, const char *name)
{
    ptrdiff_t at = shgeti(assembler->names, name);
    if (at < 0) {
        shput(assembler->names, arena_intern(assembler->arena, name), 1);
        return name;
    }
    for (;;) {
        const char *next = arena_internf(assembler->arena, "%s_%d", name, ++assembler->names[at].value);
        if (shgeti(assembler->names, next) >= 0)
            continue;
        shput(assembler->names, next, 1);
        return next;
    }
}

/* The number of the kernel with this text, which is added when it is new. */
static uint32_t kernel_index(struct assembler *assembler, const struct kernel *kernel)
{
    ptrdiff_t at = shgeti(assembler->bodies, kernel->body);
    if (at >= 0)
        return (uint32_t)assembler->bodies[at].value;
    const char *name = unique_name(assembler, kernel->name);
    struct program_kernel made = {.name = keep(assembler, name),
                                  .source = keep(assembler, kernel_function(kernel, name, assembler->arena)),
                                  .threads = kernel->threads,
                                  .blocks = kernel->blocks,
                                  .cooperative = kernel->cooperative};
    shput(assembler->bodies, kernel->body, (int)arrlen(assembler->kernels));
    arrput(assembler->kernels, made);
    arrput(assembler->generated, true);
    return (uint32_t)arrlen(assembler->kernels) - 1;
}

static void set_origin(struct assembler *assembler, struct program_step *step, const struct node *node,
                       const char *name)
{
    step->name = keep(assembler, name ? name : node->name ? node->name : op_info(node->op)->name);
    step->file = keep(assembler, node->span.file);
    step->line = node->span.line;
    step->column = node->span.column;
}

/* Workspaces of different steps never live at one time, strips apart, so all lie at one place behind the values. */
static struct program_place reserve_workspace(struct assembly *assembly, const struct kernel_use *use, uint64_t bytes)
{
    if (strip_first(&assembly->strips, use->number) == use->number)
        assembly->workspace = 0;
    uint64_t start = assembly->scratch_bytes + assembly->workspace;
    uint64_t end = start + align(assembly->assembler, bytes);
    assembly->workspace = end - assembly->scratch_bytes;
    if (end > assembly->entry->scratch_bytes)
        assembly->entry->scratch_bytes = end;
    return (struct program_place){PROGRAM_SCRATCH, 0, start};
}

/* Bytes of a value that the step loads strip by strip: none when the strip has fetched or made it before. */
static uint64_t fetch(struct assembly *assembly, const struct kernel_use *use, const struct node *node)
{
    int strip = assembly->strips.of[use->number - 1] + 1;
    bool there = assembly->fetched[node->id] == strip;
    assembly->fetched[node->id] = strip;
    return there ? 0 : (uint64_t)memory_bytes(&node->type, assembly->assembler->target);
}

static void note_made(struct assembly *assembly, const struct kernel_use *use)
{
    int strip = assembly->strips.of[use->number - 1] + 1;
    for (int i = 0; i < use->store_count && strip; i++)
        assembly->fetched[use->stores[i]->id] = strip;
}

/* ---- where overflows can begin ---- */

/* The node that a backward node differentiates; NULL when it is gone. */
static const struct node *differentiated(struct assembly *assembly, const struct node *node)
{
    const struct graph *graph = assembly->graph;
    bool known = assembly->by_origin != NULL;
    for (ptrdiff_t i = 0; !known && i < arrlen(graph->nodes); i++)
        hmput(assembly->by_origin, graph->nodes[i]->origin, graph->nodes[i]);
    ptrdiff_t at = hmgeti(assembly->by_origin, node->forward);
    return at < 0 ? NULL : assembly->by_origin[at].value;
}

static const char *origin_text(struct assembly *assembly, const struct node *node)
{
    struct arena *arena = assembly->assembler->arena;
    const char *path = scope_path(arena, node->scope), *op = op_info(node->op)->name;
    const struct node *of = node->region == REGION_BACKWARD ? differentiated(assembly, node) : NULL;
    const struct node *named = of ? of : node;
    while (!named->name && named->op == OP_cast)
        named = named->operands[0];
    const char *name = named->name ? named->name : named->op == OP_input ? named->attributes->symbol : op;
    const char *place = arena_printf(arena, "%s (%s:%d:%d)", *path ? path : name,
                                     node->span.file ? node->span.file : "?", node->span.line, node->span.column);
    return arena_printf(arena, "%s, %s%s", place, node->region == REGION_BACKWARD ? "backward of " : "",
                        of ? op_info(of->op)->name : op);
}

static void add_origins(struct assembly *assembly, const struct node *const *watched, int count)
{
    struct assembler *assembler = assembly->assembler;
    for (int i = 0; i < count; i++) {
        const struct node *node = watched[i];
        struct program_origin origin = {.number = node->id + 1, .forward = node->region == REGION_FORWARD};
        if (hmgeti(assembler->known_origins, origin.number) >= 0)
            continue;
        hmput(assembler->known_origins, origin.number, 1);
        origin.text = keep(assembler, origin_text(assembly, node));
        arrput(assembler->origins, origin);
    }
}

static int by_number(const void *a, const void *b)
{
    int64_t x = ((const struct program_origin *)a)->number, y = ((const struct program_origin *)b)->number;
    return (x > y) - (x < y);
}

static void finish_origins(struct assembler *assembler)
{
    struct program *program = assembler->program;
    size_t count = arrlenu(assembler->origins);
    program->origin_count = (int)count;
    program->origins = allocate(assembler, count, sizeof *program->origins);
    if (count) {
        qsort(assembler->origins, count, sizeof *assembler->origins, by_number);
        memcpy(program->origins, assembler->origins, count * sizeof *assembler->origins);
    }
    arrfree(assembler->origins);
    hmfree(assembler->known_origins);
}

/* ---- steps of kernels ---- */

static void add_generated(struct assembly *assembly, const struct kernel_use *use)
{
    struct assembler *assembler = assembly->assembler;
    struct kernel kernel = kernel_generate(use, assembler->target, assembler->arena);
    struct program_step step = {.kind = PROGRAM_KERNEL,
                                .bytes = kernel.bytes_read + kernel.bytes_written,
                                .flops = kernel.flops,
                                .workspace = kernel.workspace_bytes,
                                .kernel = kernel_index(assembler, &kernel),
                                .integer_count = kernel.integer_count,
                                .buffer_count = kernel.buffer_count + (kernel.workspace_bytes > 0)};
    for (int i = 0; i < kernel.buffer_count; i++)
        step.bytes += kernel.carried[i] ? fetch(assembly, use, kernel.buffers[i]) : 0;
    note_made(assembly, use);
    set_origin(assembler, &step, kernel.main, kernel.name);
    add_origins(assembly, kernel.watched, kernel.watched_count);
    step.buffers = allocate(assembler, (size_t)step.buffer_count, sizeof *step.buffers);
    for (int i = 0; i < kernel.buffer_count; i++)
        step.buffers[i] = place_of(assembly, kernel.buffers[i], 0);
    if (kernel.workspace_bytes)
        step.buffers[kernel.buffer_count] = reserve_workspace(assembly, use, kernel.workspace_bytes);
    step.integers = allocate(assembler, (size_t)step.integer_count, sizeof *step.integers);
    for (int i = 0; i < kernel.integer_count; i++)
        step.integers[i] = kernel.integers[i];
    arrput(assembly->steps, step);
}

/* Kernels leave their counters as they found them, zero, so all share one place. */
static struct program_place reserve_counters(struct assembly *assembly, uint64_t bytes)
{
    struct assembler *assembler = assembly->assembler;
    if (bytes > assembler->counter_bytes)
        assembler->counter_bytes = bytes;
    return (struct program_place){PROGRAM_STATE, 0, assembler->program->state_bytes};
}

/* A kernel of a template. */
static uint32_t template_index(struct assembler *assembler, enum template_kind kind, const char *variant, int threads,
                               const char *fields, const char *body)
{
    const char *key = arena_internf(assembler->arena, "template %s\n%s", variant, body);
    ptrdiff_t at = shgeti(assembler->bodies, key);
    if (at >= 0)
        return (uint32_t)assembler->bodies[at].value;
    const char *name = unique_name(assembler, variant);
    struct program_kernel made = {
        .name = keep(assembler, name),
        .source = keep(assembler, templates_function(name, threads, fields, body, assembler->arena)),
        .threads = threads,
        .blocks = 1,
    };
    shput(assembler->bodies, key, (int)arrlen(assembler->kernels));
    arrput(assembler->kernels, made);
    arrput(assembler->generated, false);
    assembler->templates |= kind;
    return (uint32_t)arrlen(assembler->kernels) - 1;
}

/* The template's integers, then `more`. */
static void set_integers(struct assembler *assembler, struct program_step *step, const int64_t *integers, int count,
                         const int64_t *more, int more_count)
{
    step->integer_count = count + more_count;
    step->integers = allocate(assembler, (size_t)step->integer_count, sizeof *step->integers);
    memcpy(step->integers, integers, (size_t)count * sizeof *integers);
    for (int i = 0; i < more_count; i++)
        step->integers[count + i] = more[i];
}

/* Attention, one way, as a kernel of our own. */
static void add_attention(struct assembly *assembly, const struct kernel_use *use)
{
    struct assembler *assembler = assembly->assembler;
    struct attention_kernel kernel = attention_kernel_make(use, assembler->target, assembler->arena);
    struct program_step step = {.kind = PROGRAM_KERNEL,
                                .bytes = kernel.bytes,
                                .flops = kernel.flops,
                                .kernel = template_index(assembler, TEMPLATE_ATTENTION, kernel.name, ATTENTION_THREADS,
                                                         kernel.fields, kernel.body),
                                .blocks = kernel.shape.blocks,
                                .buffer_count = kernel.buffer_count};
    set_origin(assembler, &step, use->contraction, NULL);
    step.buffers = allocate(assembler, ATTENTION_BUFFERS, sizeof *step.buffers);
    for (int i = 0; i < kernel.buffer_count; i++)
        step.buffers[i] = place_of(assembly, kernel.buffers[i], kernel.offset[i]);
    set_integers(assembler, &step, kernel.integers, ATTENTION_INTEGERS, NULL, 0);
    arrput(assembly->steps, step);
}

/* A convolution as a kernel of our own. */
static void add_convolution(struct assembly *assembly, const struct kernel_use *use,
                            const struct contraction *contraction)
{
    struct assembler *assembler = assembly->assembler;
    struct convolution_request request = {.weight_last = contraction->weight_last, .tail = contraction->tail};
    for (int i = 0; i < 2; i++)
        request.aligned[i] = contraction->offset[i] % 16 == 0;
    struct convolution_kernel kernel = convolution_kernel_make(&contraction->step.conv, &request, assembler->arena);
    struct program_step step = {.kind = PROGRAM_KERNEL,
                                .bytes = contraction->step.bytes,
                                .flops = contraction->step.flops,
                                .workspace = kernel.workspace_bytes,
                                .kernel = template_index(assembler, TEMPLATE_CONVOLUTION, kernel.name, kernel.threads,
                                                         kernel.fields, kernel.body),
                                .blocks = kernel.shape.blocks > 0 ? kernel.shape.blocks : 1};
    set_origin(assembler, &step, use->contraction, NULL);
    step.buffers = allocate(assembler, CONTRACTION_BUFFERS + 2, sizeof *step.buffers);
    for (int i = 0; i < contraction->buffer_count; i++)
        step.buffers[step.buffer_count++] = place_of(assembly, contraction->buffers[i], contraction->offset[i]);
    if (kernel.workspace_bytes)
        step.buffers[step.buffer_count++] = reserve_workspace(assembly, use, kernel.workspace_bytes);
    if (kernel.counter_bytes)
        step.buffers[step.buffer_count++] = reserve_counters(assembly, kernel.counter_bytes);
    const struct convolution_tail *tail = contraction->tail;
    set_integers(assembler, &step, kernel.integers, CONVOLUTION_INTEGERS, tail ? tail->integers : NULL,
                 tail ? tail->integer_count : 0);
    if (tail)
        add_origins(assembly, tail->watched, tail->watched_count);
    arrput(assembly->steps, step);
}

static void add_contraction(struct assembly *assembly, const struct kernel_use *use)
{
    struct assembler *assembler = assembly->assembler;
    struct contraction contraction = contraction_make(use, assembler->target, assembler->arena);
    if (contraction.step.kind == PROGRAM_CONV_STEP && assembler->target->language == LANGUAGE_CUDA) {
        add_convolution(assembly, use, &contraction);
        return;
    }
    struct program_step step = contraction.step;
    for (int i = 0; i < 2 && use->strip_items; i++)
        if (strip_carries(&assembly->strips.strips[assembly->strips.of[use->number - 1]], contraction.buffers[i]))
            step.bytes += fetch(assembly, use, contraction.buffers[i]) -
                          (uint64_t)memory_bytes(&contraction.buffers[i]->type, assembler->target);
    note_made(assembly, use);
    set_origin(assembler, &step, use->contraction, NULL);
    step.buffer_count = contraction.buffer_count;
    step.buffers = allocate(assembler, (size_t)step.buffer_count, sizeof *step.buffers);
    for (int i = 0; i < contraction.buffer_count; i++)
        step.buffers[i] = place_of(assembly, contraction.buffers[i], contraction.offset[i]);
    arrput(assembly->steps, step);
}

/* Writes that could not be done in place take effect here, at the end. */
static void add_copies(struct assembly *assembly)
{
    struct assembler *assembler = assembly->assembler;
    for (ptrdiff_t i = 0; i < arrlen(assembly->graph->nodes); i++) {
        const struct node *node = assembly->graph->nodes[i];
        if (node->op != OP_write || node->placement.space == SPACE_STATE)
            continue;
        uint64_t bytes = (uint64_t)memory_bytes(&node->type, assembler->target);
        struct program_step step = {.kind = PROGRAM_COPY_STEP, .buffer_count = 2, .bytes = 2 * bytes};
        step.copy_bytes = bytes;
        set_origin(assembler, &step, node, node->attributes->symbol);
        step.buffers = allocate(assembler, 2, sizeof *step.buffers);
        step.buffers[0] = place_of(assembly, node, 0);
        step.buffers[1] =
            (struct program_place){PROGRAM_STATE, 0, variable_offset(assembler, node->attributes->symbol)};
        arrput(assembly->steps, step);
    }
}

/* Does the kernel run? Some store nothing, others' values are in place already. */
static bool has_step(const struct kernel_use *use)
{
    return use->contraction || (use->store_count && !use->joins);
}

/* The strip that the kernel, whose step is next, begins, if it does: in the order of the steps, of which a loop in
 * between may have strips of its own. */
static void add_strip(struct assembly *assembly, const struct kernel_use *use)
{
    int number = assembly->strips.of[use->number - 1];
    const struct strip *from = number < 0 ? NULL : &assembly->strips.strips[number];
    if (!from || from->first != use->number)
        return;
    struct program_strip strip = {
        .first = (int)arrlen(assembly->steps), .count = from->count, .items = from->items, .size = from->size};
    arrput(assembly->entry_strips, strip);
}

static void add_kernels(struct assembly *assembly, const struct kernel_set *set);

/* ---- loops ---- */

static void add_copy(struct assembly *assembly, const struct node *node, struct program_place from,
                     struct program_place to, uint64_t bytes)
{
    struct assembler *assembler = assembly->assembler;
    struct program_step step = {.kind = PROGRAM_COPY_STEP, .buffer_count = 2, .bytes = 2 * bytes, .copy_bytes = bytes};
    set_origin(assembler, &step, node, NULL);
    step.buffers = allocate(assembler, 2, sizeof *step.buffers);
    step.buffers[0] = from;
    step.buffers[1] = to;
    arrput(assembly->steps, step);
}

/* The steps of the body for one run, at the places that this run has. */
static void add_run(struct assembly *assembly, const struct assembly *body, const struct loop_places *places, int run)
{
    struct program_place from, to;
    for (int i = 0; i < places->operand_count; i++)
        if (loop_copy_in(places, i, run, &from, &to))
            add_copy(assembly, places->loop, from, to, places->operands[i].bytes);
    int first = (int)arrlen(assembly->steps);
    for (ptrdiff_t i = 0; i < arrlen(body->entry_strips); i++) {
        struct program_strip strip = body->entry_strips[i];
        strip.first += first;
        arrput(assembly->entry_strips, strip);
    }
    for (ptrdiff_t i = 0; i < arrlen(body->steps); i++) {
        struct program_step step = body->steps[i];
        step.buffers = allocate(assembly->assembler, (size_t)step.buffer_count, sizeof *step.buffers);
        for (int k = 0; k < step.buffer_count; k++)
            step.buffers[k] = loop_place(places, body->steps[i].buffers[k], run);
        arrput(assembly->steps, step);
    }
    for (int i = 0; i < places->output_count; i++)
        if (loop_copy_out(places, i, run, &from, &to))
            add_copy(assembly, places->loop, from, to, places->outputs[i].bytes);
}

static struct loop_places places_of_loop(struct assembly *assembly, const struct kernel_use *use,
                                         const struct graph *body, uint64_t *end)
{
    struct assembler *assembler = assembly->assembler;
    const struct node *loop = use->contraction;
    bool *taken = ARENA_ARRAY(assembler->arena, bool, loop_outputs(body) + 1);
    for (int i = 0; i < use->store_count; i++)
        taken[use->stores[i]->attributes->index] = true;
    struct loop_places places =
        loop_places_make(loop, body, taken, assembler->target, assembly->scratch_bytes, end, assembler->arena);
    for (int i = 0; i < loop->operand_count; i++) {
        struct view view;
        if (!view_find(loop->operands[i], &view))
            castor_bug("operand %d of a loop is nowhere", i);
        places.operands[i].place = place_of(assembly, view.base, 0);
    }
    for (int i = 0; i < use->store_count; i++)
        places.outputs[use->stores[i]->attributes->index].place = place_of(assembly, use->stores[i], 0);
    return places;
}

/* Outputs that no kernel stores are the results of contractions. */
static void find_put_out(struct assembly *body)
{
    body->put_out = ARENA_ARRAY(body->assembler->arena, int, arrlen(body->graph->nodes));
    for (ptrdiff_t i = 0; i < arrlen(body->graph->nodes); i++) {
        const struct node *node = body->graph->nodes[i];
        if (node->op == OP_output && !node->kernel)
            body->put_out[node->operands[0]->id] = loop_number(node) + 1;
    }
}

/* The body's steps are made once, its kernels too, and stand in the program once for each turn. */
static void add_loop(struct assembly *assembly, const struct kernel_use *use)
{
    struct assembler *assembler = assembly->assembler;
    struct graph *body = loop_body(assembler->module, use->contraction);
    uint64_t end;
    struct loop_places places = places_of_loop(assembly, use, body, &end);
    struct memory_use memory = memory_measure(body, assembler->target);
    struct assembly inner = {.assembler = assembler, .graph = body, .entry = assembly->entry, .base = end};
    inner.scratch_bytes = end + align(assembler, (uint64_t)memory.peak);
    if (inner.scratch_bytes > assembly->entry->scratch_bytes)
        assembly->entry->scratch_bytes = inner.scratch_bytes;
    struct kernel_set set = kernels_find(body, assembler->arena);
    inner.strips = strips_find(&set, assembler->target, assembler->arena);
    inner.fetched = ARENA_ARRAY(assembler->arena, int, arrlen(body->nodes));
    find_put_out(&inner);
    add_kernels(&inner, &set);
    for (int run = 0; run < use->contraction->attributes->loop.turns; run++)
        add_run(assembly, &inner, &places, run);
    arrfree(inner.steps);
    arrfree(inner.entry_strips);
    hmfree(inner.by_origin);
}

/* ---- entries ---- */

static void add_kernel(struct assembly *assembly, const struct kernel_use *use)
{
    if (use->attention)
        add_attention(assembly, use);
    else if (use->contraction && use->contraction->op == OP_loop)
        add_loop(assembly, use);
    else if (use->contraction)
        add_contraction(assembly, use);
    else
        add_generated(assembly, use);
}

static void add_kernels(struct assembly *assembly, const struct kernel_set *set)
{
    for (int i = 0; i < set->count; i++) {
        add_strip(assembly, &set->kernels[i]);
        if (has_step(&set->kernels[i]))
            add_kernel(assembly, &set->kernels[i]);
    }
}

static void add_entry(struct assembler *assembler, const struct graph *graph, struct program_entry *entry)
{
    struct memory_use memory = memory_measure(graph, assembler->target);
    struct assembly assembly = {.assembler = assembler,
                                .graph = graph,
                                .entry = entry,
                                .scratch_bytes = align(assembler, (uint64_t)memory.peak)};
    *entry = (struct program_entry){
        .name = keep(assembler, graph->name), .batch = graph->batch, .scratch_bytes = assembly.scratch_bytes};
    add_inputs(&assembly);
    struct kernel_set set = kernels_find(graph, assembler->arena);
    assembly.strips = strips_find(&set, assembler->target, assembler->arena);
    assembly.fetched = ARENA_ARRAY(assembler->arena, int, arrlen(graph->nodes));
    add_kernels(&assembly, &set);
    add_copies(&assembly);
    add_outputs(&assembly);
    entry->input_count = (int)arrlen(assembly.inputs);
    entry->inputs = allocate(assembler, arrlenu(assembly.inputs), sizeof *entry->inputs);
    if (assembly.inputs)
        memcpy(entry->inputs, assembly.inputs, sizeof *entry->inputs * arrlenu(assembly.inputs));
    entry->step_count = (int)arrlen(assembly.steps);
    entry->steps = allocate(assembler, arrlenu(assembly.steps), sizeof *entry->steps);
    if (assembly.steps)
        memcpy(entry->steps, assembly.steps, sizeof *entry->steps * arrlenu(assembly.steps));
    entry->strip_count = (int)arrlen(assembly.entry_strips);
    entry->strips = allocate(assembler, arrlenu(assembly.entry_strips), sizeof *entry->strips);
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
    program->name = keep(&assembler, module->name);
    program->target = keep(&assembler, target->name);
    program->alignment = target->alignment > 0 ? (uint64_t)target->alignment : 64;
    program->accumulate = module->accumulate;
    program->scaled = module->scaling.present;
    add_variables(&assembler);
    program->entries = allocate(&assembler, arrlenu(module->graphs), sizeof *program->entries);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        if (!module->graphs[i]->body)
            add_entry(&assembler, module->graphs[i], &program->entries[program->entry_count++]);
    program->state_bytes += align(&assembler, assembler.counter_bytes);
    finish_origins(&assembler);
    program->source = keep(&assembler, common_source(&assembler));
    program->kernel_count = (int)arrlen(assembler.kernels);
    program->kernels = allocate(&assembler, arrlenu(assembler.kernels), sizeof *program->kernels);
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
