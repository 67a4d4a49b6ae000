/* One kernel: lowered, printed, and the facts about it that ledger and program need. */
#include "codegen/kernel.h"

#include "codegen/nest.h"
#include "codegen/print_cuda.h"
#include "codegen/text.h"
#include "passes/cost.h"
#include "passes/strips.h"

#include "codegen/prelude.inc"

#include <stb/stb_ds.h>

static const char *prelude_file(const char *name)
{
    for (size_t i = 0; i < sizeof prelude_files / sizeof *prelude_files; i++)
        if (strcmp(prelude_files[i].name, name) == 0)
            return prelude_files[i].text;
    castor_bug("no prelude %s", name);
}

/* The device's own text, with the files of the prelude that it includes spliced in. */
const char *kernel_prelude(const struct target *target, struct arena *arena)
{
    static const char include[] = "#include \"codegen/prelude/";
    const char *text = prelude_file(target->language == LANGUAGE_CUDA ? "cuda.h" : "host.h"), *before = "", *at;
    for (; (at = strstr(text, include)); text = strchr(at, '\n') + 1) {
        const char *name = at + strlen(include);
        name = arena_printf(arena, "%.*s", (int)strcspn(name, "\""), name);
        before = arena_printf(arena, "%s%.*s%s", before, (int)(at - text), text, prelude_file(name));
    }
    return arena_printf(arena, "%s%s", before, text);
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

/* Counts what is read: walk 1 is what stands before the nests, walk 2 the first nest, and so on. */
struct reader {
    struct kernel *kernel;
    const struct lowered *lowered;
    int *last_walk;   /* by buffer: the last walk that loaded it … */
    int64_t *reached; /* … and how many elements that walk has loaded of it */
    int walk;
};

static void mark_loops(const struct lowered *lowered, const struct affine *index, bool *marked)
{
    for (int i = 0; i < index->count; i++) {
        const struct index_variable *variable = &lowered->variables[index->terms[i].variable];
        marked[index->terms[i].variable] = true;
        if (variable->of)
            mark_loops(lowered, variable->of, marked);
    }
}

/* How many elements of its buffer a load can reach: one for each turn of the loops that its index depends on. */
static int64_t elements_reached(const struct lowered *lowered, const struct value *load, struct arena *arena)
{
    int64_t all = shape_elements(&lowered->buffers[load->buffer].node->type.shape), reached = 1;
    bool *marked = ARENA_ARRAY(arena, bool, arrlen(lowered->variables) + 1);
    mark_loops(lowered, load->index, marked);
    for (ptrdiff_t i = 0; i < arrlen(lowered->variables) && reached < all; i++)
        if (marked[i] && lowered->variables[i].kind == INDEX_LOOP)
            reached *= lowered->variables[i].high + 1;
    return load->operand_count || reached > all ? all : reached; /* gathered: whatever the table's rows are */
}

/* Bytes that the items load, of each buffer at most all of it a walk. What leading nests load strip by strip is told
 * apart. */
static void count_loads(struct reader *reader, const struct item *items, struct arena *arena)
{
    const struct lowered *lowered = reader->lowered;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = items[i].kind == ITEM_VALUE ? &lowered->values[items[i].number] : NULL;
        if (!value || value->kind != VALUE_LOAD || lowered->buffers[value->buffer].scratch)
            continue;
        const struct node *node = lowered->buffers[value->buffer].node;
        int64_t *reached = &reader->reached[value->buffer], before = *reached;
        if (reader->last_walk[value->buffer] != reader->walk)
            before = 0;
        *reached = before + elements_reached(lowered, value, arena);
        if (*reached > shape_elements(&node->type.shape))
            *reached = shape_elements(&node->type.shape);
        reader->last_walk[value->buffer] = reader->walk;
        struct strip strip = {.items = lowered->strip_items};
        bool leading = reader->walk >= 2 && reader->walk < 2 + lowered->strip_nests;
        if (leading && strip_carries(&strip, node))
            reader->kernel->carried[value->buffer] = true;
        else
            reader->kernel->bytes_read +=
                (uint64_t)(*reached - before) * element_bytes(lowered->target->storage[node->type.element]);
    }
}

/* Every nest reads what it needs from memory, also what an earlier one has read. */
static void count_reads(struct kernel *kernel, const struct lowered *lowered, struct arena *arena)
{
    struct reader reader = {.kernel = kernel, .lowered = lowered, .walk = 1};
    reader.last_walk = ARENA_ARRAY(arena, int, arrlen(lowered->buffers) + 1);
    reader.reached = ARENA_ARRAY(arena, int64_t, arrlen(lowered->buffers) + 1);
    count_loads(&reader, lowered->items, arena);
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++) {
        const struct loop_nest *nest = &lowered->nests[i];
        reader.walk++;
        for (int k = 0; k < BODY_COUNT; k++)
            count_loads(&reader, nest->bodies[k], arena);
        for (ptrdiff_t k = 0; k < arrlen(nest->phases); k++)
            count_loads(&reader, nest->phases[k].items, arena);
    }
}

static void list_buffers(struct kernel *kernel, const struct lowered *lowered, struct arena *arena)
{
    kernel->buffers = ARENA_ARRAY(arena, struct node *, arrlen(lowered->buffers));
    kernel->carried = ARENA_ARRAY(arena, bool, arrlen(lowered->buffers));
    kernel->written = ARENA_ARRAY(arena, bool, arrlen(lowered->buffers));
    for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++) {
        const struct kernel_buffer *buffer = &lowered->buffers[i];
        if (buffer->scratch)
            continue;
        kernel->bytes_written += buffer->written ? stored_bytes(buffer->node, lowered->target) : 0;
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
            kernel->flops += (uint64_t)node_flops(node);
        others += node->op != OP_cast && class != CLASS_MOVEMENT && class != CLASS_EFFECT && class != CLASS_LEAF;
    }
    kernel->only_casts = kernel->casts > 0 && others == 0;
}

/* Bytes that it does not load though a nest reads them. */
static uint64_t print_body(struct kernel *kernel, const struct lowered *lowered, struct arena *arena)
{
    if (lowered->target->language == LANGUAGE_C) {
        kernel->body = print_host(lowered, arena);
        kernel->workspace_bytes = lowered->workspace;
        return 0;
    }
    struct cuda_kernel printed = print_cuda(lowered, arena);
    kernel->body = printed.body;
    kernel->workspace_bytes = printed.workspace;
    kernel->threads = printed.threads;
    kernel->blocks = printed.blocks;
    kernel->cooperative = printed.cooperative;
    kernel->residents = printed.residents;
    return printed.spared;
}

struct kernel kernel_generate(const struct kernel_use *use, const struct target *target, struct arena *arena)
{
    struct lowered lowered = lower_kernel(use, target, arena);
    struct kernel kernel = {.main = main_store(use)};
    /* No keyword, and no function of the prelude or of C's or CUDA's library, has such a name. */
    kernel.name = arena_printf(arena, "%s_kernel", text_identifier(kernel.main, arena));
    kernel.comment = make_comment(use, arena);
    uint64_t spared = print_body(&kernel, &lowered, arena);
    kernel.integer_count = (int)arrlen(lowered.integers);
    kernel.integers = arena_copy(arena, lowered.integers, sizeof *lowered.integers * arrlenu(lowered.integers));
    kernel.watched_count = (int)arrlen(lowered.watched);
    kernel.watched = arena_copy(arena, lowered.watched, sizeof *lowered.watched * arrlenu(lowered.watched));
    list_buffers(&kernel, &lowered, arena);
    count_reads(&kernel, &lowered, arena);
    kernel.bytes_read -= spared;
    count_work(&kernel, use);
    lowered_free(&lowered);
    return kernel;
}

const char *kernel_function(const struct kernel *kernel, const char *name, struct arena *arena)
{
    if (!kernel->threads)
        return arena_printf(arena, "%svoid %s%s", kernel->comment, name, kernel->body);
    return arena_printf(arena, "%sextern \"C\" __global__ void __launch_bounds__(%d, %d) %s%s", kernel->comment,
                        kernel->threads, kernel->residents, name, kernel->body);
}
