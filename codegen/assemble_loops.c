/* The steps of a loop: those of its body, once for each turn, and copies of what goes from turn to turn where that is
 * not in place already (loop_places.h). */
#include "codegen/assembly.h"
#include "codegen/loop_places.h"
#include "ir/loop.h"
#include "passes/memory.h"
#include "passes/view.h"

#include <stb/stb_ds.h>

static void add_copy(struct assembly *assembly, const struct node *node, struct program_place from,
                     struct program_place to, uint64_t bytes)
{
    struct assembler *assembler = assembly->assembler;
    struct program_step step = {.kind = PROGRAM_COPY_STEP, .buffer_count = 2, .bytes = 2 * bytes, .copy_bytes = bytes};
    assembly_set_origin(assembler, &step, node, NULL);
    step.buffers = assembler_allocate(assembler, 2, sizeof *step.buffers);
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
        step.buffers = assembler_allocate(assembly->assembler, (size_t)step.buffer_count, sizeof *step.buffers);
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
        places.operands[i].place = assembly_place(assembly, view.base, 0);
    }
    for (int i = 0; i < use->store_count; i++)
        places.outputs[use->stores[i]->attributes->index].place = assembly_place(assembly, use->stores[i], 0);
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

void assembly_add_loop(struct assembly *assembly, const struct kernel_use *use)
{
    struct assembler *assembler = assembly->assembler;
    struct graph *body = loop_body(assembler->module, use->contraction);
    uint64_t end;
    struct loop_places places = places_of_loop(assembly, use, body, &end);
    struct memory_use memory = memory_measure(body, assembler->target);
    struct assembly inner = {.assembler = assembler, .graph = body, .entry = assembly->entry, .base = end};
    inner.scratch_bytes = end + assembler_align(assembler, (uint64_t)memory.peak);
    if (inner.scratch_bytes > assembly->entry->scratch_bytes)
        assembly->entry->scratch_bytes = inner.scratch_bytes;
    struct kernel_set set = kernels_find(body, assembler->arena);
    inner.strips = strips_find(&set, assembler->target, assembler->arena);
    inner.fetched = ARENA_ARRAY(assembler->arena, int, arrlen(body->nodes));
    find_put_out(&inner);
    assembly_add_kernels(&inner, &set);
    for (int run = 0; run < use->contraction->attributes->loop.turns; run++)
        add_run(assembly, &inner, &places, run);
    arrfree(inner.steps);
    arrfree(inner.entry_strips);
    hmfree(inner.by_origin);
}
