/* Prints what a convolution's kernel computes behind its sums.
 *
 * It is lowered as a generated kernel that loads the result. The loops are the template's: a thread has four
 * neighbouring channels of one place after the other. So of the lowered nest only the values are printed, and each load
 * is one of three: at the element's place, by its channel, or of a single number. The last two come before all places.
 * Where an overflow began is looked for in a function of its own, which computes everything once more, a channel at a
 * time: it is hardly ever called. What the sums come to, one value a channel, is lowered to nests behind that one, and
 * printed as a function for the block that has the sums. */
#include "codegen/convolution_tail.h"

#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

enum { WIDTH = 4, ROWS = 4 /* places whose loads are under way at a time */ };

enum reach { REACH_ONE, REACH_CHANNEL, REACH_PLACE };

struct tail_printer {
    struct printer printer;
    const struct affine *place; /* of the element that is stored; NULL: nothing is computed at places */
    int result;                 /* buffer of the convolution's result, -1: it is not loaded */
    bool together;              /* a thread has all of its four channels, in one aligned pack */
    const struct item *items;   /* stb_ds array: all of the nest that walks the places, in order */
    const struct item *finish;  /* stb_ds array: all of the nests that walk the channels */
    int64_t *constants;         /* stb_ds array: bits of the numbers in these, which stand among the integers */
};

static enum reach reach_of(const struct tail_printer *printer, const struct value *value)
{
    if (!affine_vector(printer->printer.lowered, value->index))
        return REACH_ONE;
    if (printer->place && affine_equal(value->index, printer->place))
        return REACH_PLACE;
    if (value->index->count != 1 || value->index->constant != 0 || value->index->terms[0].factor != 1 ||
        printer->printer.lowered->variables[value->index->terms[0].variable].kind == INDEX_QUOTIENT)
        castor_bug("a tail loads %s across places", value->node ? op_info(value->node->op)->name : "a value");
    return REACH_CHANNEL;
}

static const struct value *value_of(const struct tail_printer *printer, const struct item *item)
{
    return item->kind == ITEM_VALUE ? &printer->printer.lowered->values[item->number] : NULL;
}

/* Of the place's elements, the convolution's result excepted. */
static bool waits_for_place(const struct tail_printer *printer, const struct value *value)
{
    return value && value->kind == VALUE_LOAD && value->buffer != printer->result &&
           reach_of(printer, value) == REACH_PLACE;
}

static bool is_kept(const struct tail_printer *printer, const struct value *value)
{
    return value && value->kind == VALUE_LOAD && reach_of(printer, value) != REACH_PLACE;
}

/* Adds the bodies of a nest, outermost first. */
static void list_items(struct item **items, const struct loop_nest *nest)
{
    for (int body = BODY_NEST; body < BODY_INNER; body++)
        for (ptrdiff_t i = 0; i < arrlen(nest->bodies[body]); i++)
            arrput(*items, nest->bodies[body][i]);
    for (ptrdiff_t phase = 0; phase < arrlen(nest->phases); phase++)
        for (ptrdiff_t i = 0; i < arrlen(nest->phases[phase].items); i++)
            arrput(*items, nest->phases[phase].items[i]);
}

static void use_operands(const struct lowered *lowered, const struct item *item, bool *used)
{
    if (item->kind == ITEM_STORE)
        used[lowered->stores[item->number].value] = true;
    if (item->kind == ITEM_STEP)
        used[lowered->reductions[item->number].value] = true;
    if (item->kind == ITEM_VALUE && used[item->number])
        for (int i = 0; i < lowered->values[item->number].operand_count; i++)
            used[lowered->values[item->number].operands[i]] = true;
    if (item->kind != ITEM_WATCH)
        return;
    const struct watch *watch = &lowered->watches[item->number];
    for (ptrdiff_t i = 0; i < arrlen(watch->triggers); i++)
        used[watch->triggers[i]] = true;
    for (ptrdiff_t i = 0; i < arrlen(watch->values); i++)
        used[watch->values[i].value] = true;
}

/* Takes out what only other nests need: of the values before all nests. */
static void drop_unused(const struct lowered *lowered, struct item **items, struct arena *arena)
{
    bool *used = ARENA_ARRAY(arena, bool, arrlen(lowered->values) + 1);
    for (ptrdiff_t i = arrlen(*items) - 1; i >= 0; i--)
        use_operands(lowered, &(*items)[i], used);
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < arrlen(*items); i++)
        if ((*items)[i].kind != ITEM_VALUE || used[(*items)[i].number])
            (*items)[kept++] = (*items)[i];
    if (*items)
        arrsetlen(*items, (size_t)kept);
}

static bool walks_places(const struct loop_nest *nest, const struct node *convolution)
{
    return shape_elements(&nest->main->type.shape) == shape_elements(&convolution->type.shape);
}

/* ---- loads ---- */

/* Buffers by their numbers among the kernel's arguments: of the loads that are kept, of others, of both. */
static void print_pointers(struct tail_printer *printer, bool kept, bool others)
{
    struct printer *inner = &printer->printer;
    const struct lowered *lowered = inner->lowered;
    int parameter = 0;
    for (int i = 0; i < arrlen(lowered->buffers); i++) {
        if (lowered->buffers[i].written || i == printer->result)
            continue;
        bool wanted = kept && others && i == lowered->overflow;
        for (ptrdiff_t k = 0; k < arrlen(lowered->values) && !wanted; k++) {
            const struct value *value = &lowered->values[k];
            wanted = value->kind == VALUE_LOAD && value->buffer == i && (is_kept(printer, value) ? kept : others);
        }
        if (wanted)
            text_line(&inner->text, "char *const %s = given.buffer[%d];", print_buffer_name(inner, i), parameter);
        parameter++;
    }
}

/* Members for loads that are kept, or for those of a place; how many. */
static int declare_loads(struct tail_printer *printer, bool kept)
{
    struct printer *inner = &printer->printer;
    int count = 0;
    for (ptrdiff_t i = 0; i < arrlen(printer->items); i++) {
        const struct value *value = value_of(printer, &printer->items[i]);
        if (!(kept ? is_kept(printer, value) : waits_for_place(printer, value)))
            continue;
        const char *type = print_lane_type(inner, value->lane),
                   *name = print_value_name(inner, printer->items[i].number);
        count++;
        if (value->vector)
            text_line(&inner->text, "%s %s_all[%d];", type, name, WIDTH);
        else
            text_line(&inner->text, "%s %s;", type, name);
    }
    return count;
}

/* Of the channels that there are. */
static void print_guarded(struct tail_printer *printer, const struct value *value, const char *name, bool kept)
{
    struct printer *inner = &printer->printer;
    text_add(&inner->text, "#pragma unroll\n");
    text_open(&inner->text, "for (int k = 0; k < %d; k++)", WIDTH);
    text_line(&inner->text, "%s%s_all[k] = k < count ? load_%s(%s, %s + k) : 0;", kept ? "" : "to.", name,
              element_name(value->element), print_buffer_name(inner, value->buffer), kept ? "channel" : "at");
    text_close(&inner->text);
}

static void print_loads(struct tail_printer *printer, bool kept)
{
    struct printer *inner = &printer->printer;
    for (ptrdiff_t i = 0; i < arrlen(printer->items); i++) {
        const struct value *value = value_of(printer, &printer->items[i]);
        if (!(kept ? is_kept(printer, value) : waits_for_place(printer, value)))
            continue;
        const char *name = print_value_name(inner, printer->items[i].number);
        if (!value->vector)
            text_line(&inner->text, "%s = %s;", name, cuda_print_load(inner, printer->items[i].number));
        else if (printer->together)
            text_line(&inner->text, "load_%s(%s%s_all, %s, %s);", element_name(value->element), kept ? "" : "to.", name,
                      print_buffer_name(inner, value->buffer), kept ? "channel" : "at");
        else
            print_guarded(printer, value, name, kept);
    }
}

/* ---- values ---- */

/* A load as the value of channel k: it stands in a member, or (`alone`) is loaded now. */
static const char *print_load(struct tail_printer *printer, int number, bool alone)
{
    struct printer *inner = &printer->printer;
    const struct value *value = &inner->lowered->values[number];
    if (value->buffer == printer->result)
        return alone ? "before[k]" : "result[k]";
    enum reach reach = reach_of(printer, value);
    if (alone)
        return arena_printf(inner->arena, "load_%s(%s, %s + k)", element_name(value->element),
                            print_buffer_name(inner, value->buffer), reach == REACH_PLACE ? "at" : "channel");
    return arena_printf(inner->arena, "%s%s_all[k]", reach == REACH_PLACE ? "from." : "",
                        print_value_name(inner, number));
}

static void print_value(struct tail_printer *printer, int number, bool alone)
{
    struct printer *inner = &printer->printer;
    const struct value *value = &inner->lowered->values[number];
    if (value->kind == VALUE_LOAD && value->vector)
        text_line(&inner->text, "const %s %s = %s;", print_lane_type(inner, value->lane),
                  print_value_name(inner, number), print_load(printer, number, alone));
    else if (!is_kept(printer, value))
        cuda_print_value(inner, number);
}

/* What the watch looks at first: is something not finite? */
static void print_triggers(struct tail_printer *printer, int number)
{
    struct printer *inner = &printer->printer;
    const struct watch *watch = &inner->lowered->watches[number];
    for (ptrdiff_t i = 0; i < arrlen(watch->triggers); i++) {
        bool check = inner->lowered->values[watch->triggers[i]].lane == LANE_MASK;
        text_line(&inner->text, "odd |= %s(%s)%s;", check ? "mask_not" : "nonfinite",
                  print_value_name(inner, watch->triggers[i]), printer->together ? "" : " && k < count");
    }
}

static bool is_check(const struct reduction *reduction)
{
    return reduction->kind == REDUCTION_FULL;
}

static void print_step(struct tail_printer *printer, int number)
{
    struct printer *inner = &printer->printer;
    const struct reduction *reductions = inner->lowered->reductions;
    const char *name = print_value_name(inner, reductions[number].value);
    int total = 0;
    for (int i = 0; i < number; i++)
        total += !is_check(&reductions[i]);
    if (!is_check(&reductions[number]))
        text_line(&inner->text, "totals[%d][k] += %s;", total, name);
    else
        text_line(&inner->text, printer->together ? "holds &= %s;" : "holds &= k >= count || %s;", name);
}

static void print_item(struct tail_printer *printer, const struct item *item)
{
    struct printer *inner = &printer->printer;
    const struct lowered *lowered = inner->lowered;
    if (item->kind == ITEM_VALUE)
        print_value(printer, item->number, false);
    else if (item->kind == ITEM_STORE)
        text_line(&inner->text, "result[k] = %s;", print_value_name(inner, lowered->stores[item->number].value));
    else if (item->kind == ITEM_STEP)
        print_step(printer, item->number);
    else if (item->kind == ITEM_WATCH)
        print_triggers(printer, item->number);
}

/* ---- functions ---- */

static void print_constructor(struct tail_printer *printer)
{
    struct text *text = &printer->printer.text;
    text_line(text, "decltype(arguments) &given;");
    text_line(text, "const int count;");
    declare_loads(printer, true);
    text_open(text,
              "__device__ tail(decltype(arguments) &all, int channel, int channels) : given(all), count(channels)");
    print_pointers(printer, true, false);
    print_loads(printer, true);
    text_close(text);
}

static void print_places(struct tail_printer *printer)
{
    struct text *text = &printer->printer.text;
    text_open(text, "struct loads");
    int count = declare_loads(printer, false);
    text->indent--;
    text_line(text, "};");
    text_line(text, "enum { ROWS = %d };", count ? ROWS : 1);
    text_open(text, "__device__ void load(loads &to, long long at) const");
    print_pointers(printer, false, true);
    print_loads(printer, false);
    text_close(text);
}

static void print_computation(struct tail_printer *printer)
{
    struct text *text = &printer->printer.text;
    text_open(text,
              "__device__ bool operator()(float(&result)[%d], const loads &from, float(*totals)[%d], int &holds) const",
              WIDTH, WIDTH);
    text_line(text, "int odd = 0;");
    text_add(text, "#pragma unroll\n");
    text_open(text, "for (int k = 0; k < %d; k++)", WIDTH);
    for (ptrdiff_t i = 0; i < arrlen(printer->items); i++)
        print_item(printer, &printer->items[i]);
    text_close(text);
    text_line(text, "return odd;");
    text_close(text);
}

static void print_telling(struct printer *printer, const struct item *item)
{
    if (item->kind != ITEM_WATCH)
        return;
    print_watch_open(printer, item->number);
    print_watch_close(printer, item->number);
}

static void print_watch(struct tail_printer *printer)
{
    struct printer *inner = &printer->printer;
    struct text *text = &inner->text;
    bool watches = false;
    for (ptrdiff_t i = 0; i < arrlen(printer->items); i++)
        watches = watches || printer->items[i].kind == ITEM_WATCH;
    text_open(text, "__device__ void tell(const float *before, int channel, long long at) const");
    if (watches) {
        print_pointers(printer, true, true);
        text_add(text, "#pragma unroll 1\n");
        text_open(text, "for (int k = 0; k < count; k++)");
        for (ptrdiff_t i = 0; i < arrlen(printer->items); i++) {
            const struct item *item = &printer->items[i];
            if (item->kind == ITEM_VALUE)
                print_value(printer, item->number, true);
            print_telling(inner, item);
        }
        text_close(text);
    }
    text_close(text);
}

/* ---- the end, channel by channel ---- */

static bool is_used(const struct tail_printer *printer, int buffer)
{
    const struct lowered *lowered = printer->printer.lowered;
    for (ptrdiff_t i = 0; i < arrlen(printer->finish); i++) {
        const struct item *item = &printer->finish[i];
        const struct value *value = value_of(printer, item);
        if ((value && value->kind == VALUE_LOAD && value->buffer == buffer) ||
            (item->kind == ITEM_STORE && lowered->stores[item->number].buffer == buffer) ||
            (item->kind == ITEM_WATCH && lowered->overflow == buffer))
            return true;
    }
    return false;
}

static int place_among(struct node *const *nodes, int count, const struct node *node)
{
    for (int i = 0; i < count; i++)
        if (nodes[i] == node)
            return i;
    return -1;
}

static void print_finish_pointers(struct tail_printer *printer, const struct convolution_tail *tail)
{
    struct printer *inner = &printer->printer;
    const struct kernel_buffer *buffers = inner->lowered->buffers;
    for (int i = 0, parameter = 0; i < arrlen(buffers); i++) {
        bool loaded = !buffers[i].written && i != printer->result;
        int total = place_among(tail->totals, tail->total_count, buffers[i].node);
        if (is_used(printer, i) && loaded)
            text_line(&inner->text, "char *const b%d = given.buffer[%d];", i, parameter);
        else if (is_used(printer, i) && total >= 0)
            text_line(&inner->text, "char *const b%d = (char *)given.total%d;", i, total);
        else if (is_used(printer, i))
            text_line(&inner->text, "char *const b%d = given.finished[%d];", i,
                      place_among(tail->finished, tail->finished_count, buffers[i].node));
        parameter += loaded;
    }
}

/* Numbers are integers of the step: the sizes of layers are among them, and their kernels are one. */
static void print_finish_value(struct tail_printer *printer, int number)
{
    struct printer *inner = &printer->printer;
    const struct value *value = &inner->lowered->values[number];
    const char *type = print_lane_type(inner, value->lane), *name = print_value_name(inner, number);
    if (value->kind == VALUE_CONSTANT && value->lane == LANE_FLOAT) {
        union {
            float number;
            int32_t bits;
        } constant = {.number = (float)value->constant};
        int place = (int)(arrlen(inner->lowered->integers) + arrlen(printer->constants));
        arrput(printer->constants, constant.bits);
        text_line(&inner->text, "const %s %s = __int_as_float((int)%s);", type, name, print_integer(inner, place));
    } else if (value->kind == VALUE_LOAD && value->vector) {
        text_line(&inner->text, "const %s %s = load_%s(b%d, channel + k);", type, name, element_name(value->element),
                  value->buffer);
    } else {
        cuda_print_value(inner, number);
    }
}

static void print_finish(struct tail_printer *printer, const struct convolution_tail *tail)
{
    struct printer *inner = &printer->printer;
    struct text *text = &inner->text;
    text_open(text, "__device__ static void finish(decltype(arguments) &given, int channel, int count)");
    if (tail->finished_count) {
        print_finish_pointers(printer, tail);
        text_add(text, "#pragma unroll 1\n");
        text_open(text, "for (int k = 0; k < count; k++)");
        for (ptrdiff_t i = 0; i < arrlen(printer->finish); i++) {
            const struct item *item = &printer->finish[i];
            const struct store *store = item->kind == ITEM_STORE ? &inner->lowered->stores[item->number] : NULL;
            if (item->kind == ITEM_VALUE)
                print_finish_value(printer, item->number);
            else if (store)
                text_line(text, "store_%s(b%d, channel + k, %s);", element_name(store->element), store->buffer,
                          print_value_name(inner, store->value));
            print_telling(inner, item);
        }
        text_close(text);
    }
    text_close(text);
}

/* Groups of channels come in whole packs. */
static bool comes_together(const struct node *convolution)
{
    return convolution->type.shape.dimension[1] / convolution->attributes->groups % WIDTH == 0;
}

/* Fills in the text and the integers. */
static void print_tail(struct convolution_tail *tail, const struct lowered *lowered, const struct node *convolution,
                       struct arena *arena)
{
    struct tail_printer printer = {
        .printer = {.lowered = lowered, .arena = arena, .scalar = true, .structural = true, .nest = &lowered->nests[0]},
        .together = comes_together(convolution),
        .result = -1};
    struct text *text = &printer.printer.text;
    struct item *items = NULL, *finish = NULL;
    for (ptrdiff_t i = 0; i < arrlen(lowered->items); i++) {
        arrput(items, lowered->items[i]);
        arrput(finish, lowered->items[i]);
    }
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++)
        list_items(walks_places(&lowered->nests[i], convolution) ? &items : &finish, &lowered->nests[i]);
    drop_unused(lowered, &items, arena);
    drop_unused(lowered, &finish, arena);
    for (int i = 0; i < arrlen(lowered->buffers); i++)
        printer.result = lowered->buffers[i].node == convolution ? i : printer.result;
    for (ptrdiff_t i = 0; i < arrlen(lowered->stores) && printer.result >= 0; i++)
        if (walks_places(&lowered->nests[0], convolution) &&
            lowered->buffers[lowered->stores[i].buffer].node == lowered->nests[0].main)
            printer.place = lowered->stores[i].index;
    printer.items = printer.place ? items : NULL;
    printer.finish = finish;
    text->indent = 1;
    text_open(text, "struct tail");
    print_constructor(&printer);
    print_places(&printer);
    print_computation(&printer);
    print_watch(&printer);
    print_finish(&printer, tail);
    text->indent--;
    text_line(text, "};");
    tail->text = text_finish(text, arena);
    int count = (int)arrlen(lowered->integers), constants = (int)arrlen(printer.constants);
    int64_t *integers = ARENA_ARRAY(arena, int64_t, count + constants + 1);
    for (int i = 0; i < count + constants; i++)
        integers[i] = i < count ? lowered->integers[i] : printer.constants[i - count];
    tail->integers = integers;
    tail->integer_count = count + constants;
    arrfree(printer.constants);
    arrfree(items);
    arrfree(finish);
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
    for (ptrdiff_t k = 0; k < arrlen(lowered->reductions); k++) /* in the order in which print_step counts them */
        for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++) {
            if (lowered->reductions[k].node != lowered->buffers[i].node)
                continue;
            if (is_check(&lowered->reductions[k]))
                tail->check = lowered->buffers[i].node;
            else if (tail->total_count == TAIL_TOTALS_MAX)
                castor_bug("a tail of more than %d sums", TAIL_TOTALS_MAX);
            else
                tail->totals[tail->total_count++] = lowered->buffers[i].node;
        }
    for (ptrdiff_t i = 0; i < arrlen(lowered->buffers); i++) {
        struct node *node = lowered->buffers[i].node;
        if (!lowered->buffers[i].written || op_is(node->op, CLASS_REDUCE) ||
            shape_elements(&node->type.shape) == shape_elements(&convolution->type.shape))
            continue;
        if (tail->finished_count == TAIL_FINISHED_MAX)
            castor_bug("a tail that finishes more than %d values", TAIL_FINISHED_MAX);
        tail->finished[tail->finished_count++] = node;
    }
}

struct convolution_tail convolution_tail_make(const struct kernel_use *use, const struct target *target,
                                              struct arena *arena)
{
    struct convolution_tail tail = {.of = target->storage[use->contraction->type.element]};
    struct kernel_use behind = kernel_tail(use, arena);
    struct lowered lowered = lower_kernel(&behind, target, arena);
    list_nodes(&tail, &lowered, use->contraction);
    print_tail(&tail, &lowered, use->contraction, arena);
    tail.watched_count = (int)arrlen(lowered.watched);
    tail.watched = arena_copy(arena, lowered.watched, sizeof *lowered.watched * arrlenu(lowered.watched));
    lowered_free(&lowered);
    return tail;
}
