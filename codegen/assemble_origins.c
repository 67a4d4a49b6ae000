/* Where overflows can begin (lower_watch.c): what the program calls the nodes that its kernels watch. */
#include "codegen/assembly.h"
#include "ir/op.h"
#include "ir/scope.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

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

void assembly_add_origins(struct assembly *assembly, const struct node *const *watched, int count)
{
    struct assembler *assembler = assembly->assembler;
    for (int i = 0; i < count; i++) {
        const struct node *node = watched[i];
        struct program_origin origin = {.number = node->id + 1, .forward = node->region == REGION_FORWARD};
        if (hmgeti(assembler->known_origins, origin.number) >= 0)
            continue;
        hmput(assembler->known_origins, origin.number, 1);
        origin.text = assembler_keep(assembler, origin_text(assembly, node));
        arrput(assembler->origins, origin);
    }
}

static int by_number(const void *a, const void *b)
{
    int64_t x = ((const struct program_origin *)a)->number, y = ((const struct program_origin *)b)->number;
    return (x > y) - (x < y);
}

void assembler_finish_origins(struct assembler *assembler)
{
    struct program *program = assembler->program;
    size_t count = arrlenu(assembler->origins);
    program->origin_count = (int)count;
    program->origins = assembler_allocate(assembler, count, sizeof *program->origins);
    if (count) {
        qsort(assembler->origins, count, sizeof *assembler->origins, by_number);
        memcpy(program->origins, assembler->origins, count * sizeof *assembler->origins);
    }
    arrfree(assembler->origins);
    hmfree(assembler->known_origins);
}
