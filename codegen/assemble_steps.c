/* The steps of a program: one a kernel. Kernels are generated graph by graph and kept by their text, so that layers of
 * one shape share one; what tells two uses of a text apart (places, random keys) stands in the steps. */
#include "codegen/assembly.h"
#include "codegen/attention_kernel.h"
#include "codegen/contraction.h"
#include "codegen/convolution_kernel.h"
#include "codegen/kernel.h"
#include "codegen/templates.h"
#include "passes/memory.h"

#include <stb/stb_ds.h>
#include <string.h>

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
    struct program_kernel made = {.name = assembler_keep(assembler, name),
                                  .source = assembler_keep(assembler, kernel_function(kernel, name, assembler->arena)),
                                  .threads = kernel->threads,
                                  .blocks = kernel->blocks,
                                  .cooperative = kernel->cooperative};
    shput(assembler->bodies, kernel->body, (int)arrlen(assembler->kernels));
    arrput(assembler->kernels, made);
    arrput(assembler->generated, true);
    return (uint32_t)arrlen(assembler->kernels) - 1;
}

void assembly_set_origin(struct assembler *assembler, struct program_step *step, const struct node *node,
                         const char *name)
{
    step->name = assembler_keep(assembler, name ? name : node->name ? node->name : op_info(node->op)->name);
    step->file = assembler_keep(assembler, node->span.file);
    step->line = node->span.line;
    step->column = node->span.column;
}

/* Workspaces of different steps never live at one time, strips apart, so all lie at one place behind the values. */
static struct program_place reserve_workspace(struct assembly *assembly, const struct kernel_use *use, uint64_t bytes)
{
    if (strip_first(&assembly->strips, use->number) == use->number)
        assembly->workspace = 0;
    uint64_t start = assembly->scratch_bytes + assembly->workspace;
    uint64_t end = start + assembler_align(assembly->assembler, bytes);
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
    assembly_set_origin(assembler, &step, kernel.main, kernel.name);
    assembly_add_origins(assembly, kernel.watched, kernel.watched_count);
    step.buffers = assembler_allocate(assembler, (size_t)step.buffer_count, sizeof *step.buffers);
    for (int i = 0; i < kernel.buffer_count; i++)
        step.buffers[i] = assembly_place(assembly, kernel.buffers[i], 0);
    if (kernel.workspace_bytes)
        step.buffers[kernel.buffer_count] = reserve_workspace(assembly, use, kernel.workspace_bytes);
    step.integers = assembler_allocate(assembler, (size_t)step.integer_count, sizeof *step.integers);
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
        .name = assembler_keep(assembler, name),
        .source = assembler_keep(assembler, templates_function(name, threads, fields, body, assembler->arena)),
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
    step->integers = assembler_allocate(assembler, (size_t)step->integer_count, sizeof *step->integers);
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
    assembly_set_origin(assembler, &step, use->contraction, NULL);
    step.buffers = assembler_allocate(assembler, ATTENTION_BUFFERS, sizeof *step.buffers);
    for (int i = 0; i < kernel.buffer_count; i++)
        step.buffers[i] = assembly_place(assembly, kernel.buffers[i], kernel.offset[i]);
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
    assembly_set_origin(assembler, &step, use->contraction, NULL);
    step.buffers = assembler_allocate(assembler, CONTRACTION_BUFFERS + 2, sizeof *step.buffers);
    for (int i = 0; i < contraction->buffer_count; i++)
        step.buffers[step.buffer_count++] = assembly_place(assembly, contraction->buffers[i], contraction->offset[i]);
    if (kernel.workspace_bytes)
        step.buffers[step.buffer_count++] = reserve_workspace(assembly, use, kernel.workspace_bytes);
    if (kernel.counter_bytes)
        step.buffers[step.buffer_count++] = reserve_counters(assembly, kernel.counter_bytes);
    const struct convolution_tail *tail = contraction->tail;
    set_integers(assembler, &step, kernel.integers, CONVOLUTION_INTEGERS, tail ? tail->integers : NULL,
                 tail ? tail->integer_count : 0);
    if (tail)
        assembly_add_origins(assembly, tail->watched, tail->watched_count);
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
    assembly_set_origin(assembler, &step, use->contraction, NULL);
    step.buffer_count = contraction.buffer_count;
    step.buffers = assembler_allocate(assembler, (size_t)step.buffer_count, sizeof *step.buffers);
    for (int i = 0; i < contraction.buffer_count; i++)
        step.buffers[i] = assembly_place(assembly, contraction.buffers[i], contraction.offset[i]);
    arrput(assembly->steps, step);
}

void assembly_add_copies(struct assembly *assembly)
{
    struct assembler *assembler = assembly->assembler;
    for (ptrdiff_t i = 0; i < arrlen(assembly->graph->nodes); i++) {
        const struct node *node = assembly->graph->nodes[i];
        if (node->op != OP_write || node->placement.space == SPACE_STATE)
            continue;
        uint64_t bytes = (uint64_t)memory_bytes(&node->type, assembler->target);
        struct program_step step = {.kind = PROGRAM_COPY_STEP, .buffer_count = 2, .bytes = 2 * bytes};
        step.copy_bytes = bytes;
        assembly_set_origin(assembler, &step, node, node->attributes->symbol);
        step.buffers = assembler_allocate(assembler, 2, sizeof *step.buffers);
        step.buffers[0] = assembly_place(assembly, node, 0);
        step.buffers[1] =
            (struct program_place){PROGRAM_STATE, 0, assembler_variable(assembler, node->attributes->symbol)};
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

static void add_kernel(struct assembly *assembly, const struct kernel_use *use)
{
    if (use->attention)
        add_attention(assembly, use);
    else if (use->contraction && use->contraction->op == OP_loop)
        assembly_add_loop(assembly, use);
    else if (use->contraction)
        add_contraction(assembly, use);
    else
        add_generated(assembly, use);
}

void assembly_add_kernels(struct assembly *assembly, const struct kernel_set *set)
{
    for (int i = 0; i < set->count; i++) {
        add_strip(assembly, &set->kernels[i]);
        if (has_step(&set->kernels[i]))
            add_kernel(assembly, &set->kernels[i]);
    }
}
