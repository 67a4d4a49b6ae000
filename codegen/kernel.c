/* One kernel: lowered, printed, and the facts about it that ledger and program need. */
#include "codegen/kernel.h"

#include "codegen/nest.h"
#include "codegen/text.h"

#include "codegen/prelude.inc"

#include <stb/stb_ds.h>

const char *kernel_prelude(void)
{
    return prelude_files[0].text;
}

/* The stored node that stands for the kernel: the one with the most elements, the first of them. */
static const struct node *main_store(const struct kernel_use *use)
{
    const struct node *main = use->stores[0];
    for (int i = 1; i < use->store_count; i++)
        if (shape_elements(&use->stores[i]->type.shape) > shape_elements(&main->type.shape))
            main = use->stores[i];
    return main;
}

static void describe(struct text *text, const struct node *node, struct arena *arena)
{
    char type[TYPE_TEXT];
    const char *name = node->name ? node->name : node->attributes->symbol;
    text_add(text, " * %s = %s : %s", name ? name : text_identifier(node, arena), op_info(node->op)->name,
             type_format(&node->type, type, sizeof type));
    if (node->span.file)
        text_add(text, "  %s:%d", node->span.file, node->span.line);
    text_add(text, "\n");
}

static const char *make_comment(const struct kernel_use *use, struct arena *arena)
{
    struct text text = {0};
    text_add(&text, "/* Kernel %d stores\n", use->number);
    for (int i = 0; i < use->store_count; i++)
        describe(&text, use->stores[i], arena);
    text_add(&text, " * and computes inside\n");
    for (int i = 0; i < use->computed_count; i++) {
        enum op_class class = op_info(use->computed[i]->op)->class;
        if (use->computed[i]->kernel != use->number && class != CLASS_MOVEMENT && class != CLASS_LEAF)
            describe(&text, use->computed[i], arena);
    }
    text_add(&text, " */\n");
    return text_finish(&text, arena);
}

static uint64_t stored_bytes(const struct node *node, const struct target *target)
{
    return (uint64_t)shape_elements(&node->type.shape) * element_bytes(target->storage[node->type.element]);
}

static void list_buffers(struct kernel *kernel, const struct lowered *lowered, struct arena *arena)
{
    kernel->buffers = ARENA_ARRAY(arena, struct node *, arrlen(lowered->buffers));
    kernel->written = ARENA_ARRAY(arena, bool, arrlen(lowered->buffers));
    for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++) {
        const struct kernel_buffer *buffer = &lowered->buffers[i];
        if (buffer->scratch)
            continue;
        uint64_t bytes = stored_bytes(buffer->node, lowered->target);
        kernel->bytes_read += buffer->written ? 0 : bytes;
        kernel->bytes_written += buffer->written ? bytes : 0;
        kernel->written[kernel->buffer_count] = buffer->written;
        kernel->buffers[kernel->buffer_count++] = buffer->node;
    }
}

static void count_work(struct kernel *kernel, const struct kernel_use *use)
{
    int others = 0;
    for (int i = 0; i < use->computed_count; i++) {
        const struct node *node = use->computed[i];
        enum op_class class = op_info(node->op)->class;
        uint64_t elements = (uint64_t)shape_elements(&node->type.shape);
        kernel->casts += node->op == OP_cast;
        if (class == CLASS_POINTWISE)
            kernel->flops += elements * (uint64_t)op_info(node->op)->flops;
        else if (class == CLASS_REDUCE || class == CLASS_SCAN || class == CLASS_FOLD)
            kernel->flops += (uint64_t)shape_elements(&node->operands[0]->type.shape);
        others += node->op != OP_cast && class != CLASS_MOVEMENT && class != CLASS_EFFECT && class != CLASS_LEAF;
    }
    kernel->only_casts = kernel->casts > 0 && others == 0;
}

struct kernel kernel_generate(const struct kernel_use *use, const struct target *target, struct arena *arena)
{
    struct lowered lowered = lower_kernel(use, target, arena);
    struct kernel kernel = {.main = main_store(use)};
    kernel.name = text_identifier(kernel.main, arena);
    kernel.comment = make_comment(use, arena);
    kernel.body = print_host(&lowered, arena);
    kernel.workspace_bytes = lowered.workspace;
    kernel.integer_count = (int)arrlen(lowered.integers);
    kernel.integers = arena_copy(arena, lowered.integers, sizeof *lowered.integers * arrlenu(lowered.integers));
    list_buffers(&kernel, &lowered, arena);
    count_work(&kernel, use);
    lowered_free(&lowered);
    return kernel;
}

const char *kernel_function(const struct kernel *kernel, const char *name, struct arena *arena)
{
    return arena_printf(arena, "%svoid %s%s", kernel->comment, name, kernel->body);
}
