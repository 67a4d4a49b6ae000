/* Prints what a convolution's kernel computes behind its sums.
 *
 * It is lowered as a generated kernel that loads the result. The loops are the template's: a thread has four
 * neighbouring channels of one place after the other. So of the lowered nest only the values are printed, and each load
 * is one of three: at the element's place, by its channel, or of a single number. The last two stand before the places.
 */
#include "codegen/convolution_tail.h"

#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

enum { WIDTH = 4 };

enum reach { REACH_ONE, REACH_CHANNEL, REACH_PLACE };

struct tail_printer {
    struct printer printer;
    const struct affine *place; /* of the element that is stored */
    int result;                 /* buffer of the convolution's result */
};

static enum reach reach_of(const struct tail_printer *printer, const struct value *value)
{
    if (!affine_vector(printer->printer.lowered, value->index))
        return REACH_ONE;
    if (affine_equal(value->index, printer->place))
        return REACH_PLACE;
    if (value->index->count != 1 || value->index->constant != 0 || value->index->terms[0].factor != 1)
        castor_bug("a tail loads %s across places", value->node ? op_info(value->node->op)->name : "a value");
    return REACH_CHANNEL;
}

static const struct value *value_of(const struct tail_printer *printer, const struct item *item)
{
    return item->kind == ITEM_VALUE ? &printer->printer.lowered->values[item->number] : NULL;
}

static bool is_vector_load(const struct value *value)
{
    return value->kind == VALUE_LOAD && value->vector;
}

/* The bodies of the one nest that is walked for each element, outermost first; a row's phases are its inner bodies. */
static int list_bodies(const struct lowered *lowered, const struct item *bodies[BODY_COUNT + 2])
{
    const struct loop_nest *nest = &lowered->nests[0];
    int count = 0;
    bodies[count++] = lowered->items;
    for (int i = BODY_NEST; i < BODY_INNER; i++)
        bodies[count++] = nest->bodies[i];
    for (ptrdiff_t i = 0; i < arrlen(nest->phases) && i < 2; i++)
        bodies[count++] = nest->phases[i].items;
    return count;
}

/* Values that wait for no place: loads of single numbers and by channel. */
static bool is_kept(const struct tail_printer *printer, const struct value *value)
{
    return value->kind == VALUE_LOAD && reach_of(printer, value) != REACH_PLACE;
}

/* Of the loads that are kept, or of the others. */
static void print_pointers(struct tail_printer *printer, bool kept)
{
    struct printer *inner = &printer->printer;
    const struct lowered *lowered = inner->lowered;
    int parameter = 0;
    for (int i = 0; i < arrlen(lowered->buffers); i++) {
        if (lowered->buffers[i].written || i == printer->result)
            continue;
        bool wanted = !kept && i == lowered->overflow;
        for (ptrdiff_t k = 0; k < arrlen(lowered->values) && !wanted; k++)
            wanted = lowered->values[k].kind == VALUE_LOAD && lowered->values[k].buffer == i &&
                     is_kept(printer, &lowered->values[k]) == kept;
        if (wanted)
            text_line(&inner->text, "char *const %s = given.buffer[%d];", print_buffer_name(inner, i), parameter);
        parameter++;
    }
}

static void declare_kept(struct tail_printer *printer, const struct item *items)
{
    struct printer *inner = &printer->printer;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = value_of(printer, &items[i]);
        if (!value || !is_kept(printer, value))
            continue;
        const char *type = print_lane_type(inner, value->lane), *name = print_value_name(inner, items[i].number);
        if (value->vector)
            text_line(&inner->text, "%s %s_all[%d];", type, name, WIDTH);
        else
            text_line(&inner->text, "%s %s;", type, name);
    }
}

static void load_kept(struct tail_printer *printer, const struct item *items)
{
    struct printer *inner = &printer->printer;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = value_of(printer, &items[i]);
        if (!value || !is_kept(printer, value))
            continue;
        const char *name = print_value_name(inner, items[i].number);
        if (value->vector)
            text_line(&inner->text, "load_%s(%s_all, %s, channel);", element_name(value->element), name,
                      print_buffer_name(inner, value->buffer));
        else
            text_line(&inner->text, "%s = %s;", name, cuda_print_load(inner, items[i].number));
    }
}

static void print_places(struct tail_printer *printer, const struct item *items)
{
    struct printer *inner = &printer->printer;
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        const struct value *value = value_of(printer, &items[i]);
        if (!value || is_kept(printer, value))
            continue;
        const char *name = print_value_name(inner, items[i].number);
        if (!value->vector)
            cuda_print_value(inner, items[i].number);
        if (!is_vector_load(value) || value->buffer == printer->result)
            continue;
        text_line(&inner->text, "%s %s_all[%d];", print_lane_type(inner, value->lane), name, WIDTH);
        text_line(&inner->text, "load_%s(%s_all, %s, at);", element_name(value->element), name,
                  print_buffer_name(inner, value->buffer));
    }
}

static void print_item(struct tail_printer *printer, const struct item *item)
{
    struct printer *inner = &printer->printer;
    const struct value *value = value_of(printer, item);
    if (value && is_vector_load(value)) {
        const char *name = print_value_name(inner, item->number);
        bool result = value->buffer == printer->result;
        text_line(&inner->text, "const %s %s = %s%s[k];", print_lane_type(inner, value->lane), name,
                  result ? "result" : name, result ? "" : "_all");
    } else if (value && value->vector) {
        cuda_print_value(inner, item->number);
    } else if (item->kind == ITEM_STORE) {
        text_line(&inner->text, "result[k] = %s;",
                  print_value_name(inner, inner->lowered->stores[item->number].value));
    } else if (item->kind == ITEM_STEP) {
        text_line(&inner->text, "totals[%d][k] += %s;", item->number,
                  print_value_name(inner, inner->lowered->reductions[item->number].value));
    } else if (item->kind == ITEM_WATCH) {
        print_watch_open(inner, item->number);
        print_watch_close(inner, item->number);
    }
}

static const char *print_tail(const struct lowered *lowered, const struct node *convolution, struct arena *arena)
{
    struct tail_printer printer = {.printer = {.lowered = lowered, .arena = arena, .scalar = true}};
    struct text *text = &printer.printer.text;
    const struct item *bodies[BODY_COUNT + 2];
    int count = list_bodies(lowered, bodies);
    printer.printer.nest = &lowered->nests[0];
    printer.place = lowered->stores[0].index;
    while (lowered->buffers[printer.result].node != convolution)
        printer.result++;
    text->indent = 1;
    text_open(text, "struct tail");
    text_line(text, "decltype(arguments) &given;");
    for (int i = 0; i < count; i++)
        declare_kept(&printer, bodies[i]);
    text_open(text, "__device__ tail(decltype(arguments) &all, int channel) : given(all)");
    print_pointers(&printer, true);
    for (int i = 0; i < count; i++)
        load_kept(&printer, bodies[i]);
    text_close(text);
    text_open(text, "__device__ void operator()(float(&result)[%d], long long at, float(*totals)[%d]) const", WIDTH,
              WIDTH);
    print_pointers(&printer, false);
    for (int i = 0; i < count; i++)
        print_places(&printer, bodies[i]);
    text_add(text, "#pragma unroll\n");
    text_open(text, "for (int k = 0; k < %d; k++)", WIDTH);
    for (int i = 0; i < count; i++)
        for (ptrdiff_t k = 0; k < arrlen(bodies[i]); k++)
            print_item(&printer, &bodies[i][k]);
    text_close(text);
    text_close(text);
    text->indent--;
    text_line(text, "};");
    return text_finish(text, arena);
}

static void list_nodes(struct convolution_tail *tail, const struct lowered *lowered, const struct node *convolution)
{
    for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++) {
        const struct kernel_buffer *buffer = &lowered->buffers[i];
        if (!buffer->written && buffer->node != convolution) {
            if (tail->load_count == TAIL_LOADS_MAX)
                castor_bug("a tail of more than %d loads", TAIL_LOADS_MAX);
            tail->loads[tail->load_count++] = buffer->node;
        }
    }
    for (ptrdiff_t i = 0; i < arrlen(lowered->reductions); i++)
        tail->totals[tail->total_count++] = (struct node *)lowered->reductions[i].node;
}

struct convolution_tail convolution_tail_make(const struct kernel_use *use, const struct target *target,
                                              struct arena *arena)
{
    struct convolution_tail tail = {.of = target->storage[use->contraction->type.element]};
    struct kernel_use behind = kernel_tail(use, arena);
    struct lowered lowered = lower_kernel(&behind, target, arena);
    if (arrlen(lowered.nests) != 1 || arrlen(lowered.reductions) > TAIL_TOTALS_MAX)
        castor_bug("a tail of %d nests", (int)arrlen(lowered.nests));
    tail.text = print_tail(&lowered, use->contraction, arena);
    tail.integer_count = (int)arrlen(lowered.integers);
    tail.integers = arena_copy(arena, lowered.integers, sizeof *lowered.integers * arrlenu(lowered.integers));
    tail.watched_count = (int)arrlen(lowered.watched);
    tail.watched = arena_copy(arena, lowered.watched, sizeof *lowered.watched * arrlenu(lowered.watched));
    list_nodes(&tail, &lowered, use->contraction);
    for (int i = 0; i < behind.computed_count; i++) {
        const struct node *node = behind.computed[i];
        uint64_t elements = (uint64_t)shape_elements(&node->type.shape);
        if (op_is(node->op, CLASS_POINTWISE))
            tail.flops += elements * (uint64_t)op_info(node->op)->flops;
        else if (op_is(node->op, CLASS_REDUCE))
            tail.flops += (uint64_t)shape_elements(&node->operands[0]->type.shape);
    }
    lowered_free(&lowered);
    return tail;
}
