/* Prints a lowered kernel as C for the host: vectors by GCC's extensions, threads by OpenMP.
 *
 * Blocks of rows (or of the vector loop, where there is but one row) are shared among the threads. Reductions over the
 * rows leave one partial result a block in the workspace; these are merged in the order of the blocks, so that the
 * result does not depend on the number of threads. */
#include "codegen/print_host.h"

#include <stb/stb_ds.h>

static const struct reduction *reduction_of(const struct printer *printer, int number)
{
    return &printer->lowered->reductions[number];
}

/* ---- steps of reductions ---- */

/* Number of values that a COLUMN or sequential reduction has seen with this one; NULL where lanes count themselves. */
static const char *print_count(struct printer *printer, const struct reduction *reduction)
{
    if (reduction->kind == REDUCTION_COLUMN)
        return "row - begin + 1";
    if (reduction->kind == REDUCTION_FULL || reduction->lanes)
        return NULL;
    return print_inner_place(printer, "1", 1);
}

static const char *print_place(struct printer *printer, const struct reduction *reduction, int number)
{
    const struct loop_nest *nest = printer->nest;
    if (reduction->kind != REDUCTION_COLUMN)
        return arena_printf(printer->arena, "a%d", number);
    const char *slot = nest->vector_inner ? arena_printf(printer->arena, "i%d / %d", nest->vector, LANES) : "0";
    slot = print_inner_place(printer, slot, nest->vector_inner ? (nest->vector_extent + LANES - 1) / LANES : 1);
    return arena_printf(printer->arena, "p%d[%s]", number, slot);
}

static void print_step(struct printer *printer, int number)
{
    const struct reduction *reduction = reduction_of(printer, number);
    const char *type = print_accumulator(printer, reduction), *place = print_place(printer, reduction, number);
    const char *more = print_step_more(printer, reduction, place, print_count(printer, reduction));
    const char *step = arena_printf(printer->arena, "%s_%s(%s, %s%s)", type,
                                    reduction->position >= 0 && reduction->follows ? "follow" : "step", place,
                                    print_value_name(printer, reduction->value), more);
    if (reduction->row_level)
        step = arena_printf(printer->arena, "%s_keep(int_eq(lane, splat_int(row %% %d)), %s, %s)", type, LANES, step,
                            place);
    else if (printer->lanes < LANES && (reduction->lanes || reduction->kind == REDUCTION_FULL))
        step = arena_printf(printer->arena, "%s_keep(int_lt(lane, splat_int(%d)), %s, %s)", type, printer->lanes, step,
                            place);
    text_line(&printer->text, "%s = %s;", place, step);
}

/* ---- where overflows begin ---- */

/* What is taken from an earlier phase stands in memory as it is. */
static bool is_repeatable(const struct printer *printer, int number)
{
    const struct value *value = &printer->lowered->values[number];
    return !host_keep_taken(printer, number) && value->kind != VALUE_CONSTANT && value->kind != VALUE_RANDOM &&
           value->kind != VALUE_RESULT;
}

/* Computes what the watch looks at a second time, from what is loaded anew. Without that all of it would have to stay
 * in registers up to the test, which every step would pay for. Where something is stored before the watch, perhaps over
 * what was loaded, nothing is loaded again. */
static void print_again(struct printer *printer, const struct item *items, ptrdiff_t count, const struct watch *watch)
{
    const struct lowered *lowered = printer->lowered;
    bool *needed = ARENA_ARRAY(printer->arena, bool, arrlenu(lowered->values));
    for (ptrdiff_t i = 0; i < count; i++)
        if (items[i].kind == ITEM_STORE)
            return;
    for (ptrdiff_t i = 0; i < arrlen(watch->values); i++)
        needed[watch->values[i].value] = true;
    for (ptrdiff_t i = count - 1; i >= 0; i--) {
        const struct value *value = &lowered->values[items[i].number];
        if (items[i].kind == ITEM_VALUE && needed[items[i].number] && is_repeatable(printer, items[i].number))
            for (int k = 0; k < value->operand_count; k++)
                needed[value->operands[k]] = true;
    }
    text_line(&printer->text, "load_again();");
    for (ptrdiff_t i = 0; i < count; i++)
        if (items[i].kind == ITEM_VALUE && needed[items[i].number] && is_repeatable(printer, items[i].number))
            print_value(printer, items[i].number);
}

static void print_watch(struct printer *printer, const struct item *items, ptrdiff_t place)
{
    print_watch_open(printer, items[place].number);
    print_again(printer, items, place, &printer->lowered->watches[items[place].number]);
    print_watch_close(printer, items[place].number);
}

/* ---- bodies ---- */

static void print_phase(struct printer *printer, const struct phase *phase);

static void print_items(struct printer *printer, const struct item *items)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int number = items[i].number;
        switch (items[i].kind) {
        case ITEM_INDEX:
            print_index(printer, number);
            break;
        case ITEM_VALUE:
            if (!host_keep_drops(printer, number))
                print_value(printer, number);
            break;
        case ITEM_STORE:
            print_store(printer, &printer->lowered->stores[number]);
            break;
        case ITEM_STEP:
            print_step(printer, number);
            break;
        case ITEM_PHASE:
            print_phase(printer, &printer->nest->phases[number]);
            break;
        case ITEM_WATCH:
            print_watch(printer, items, i);
            break;
        }
    }
}

/* What stands inside the vector loop, printed once for whole vectors and once for the rest at the end. */
static void print_vector_body(struct printer *printer, const struct item *items, int lanes)
{
    printer->lanes = lanes;
    print_items(printer, items);
    printer->lanes = LANES;
}

static void print_vector_part(struct printer *printer, const struct item *items)
{
    int vector = printer->nest->vector, rest = (int)(printer->nest->vector_extent % LANES);
    text_open(&printer->text, "for (long i%d = begin; i%d + %d <= end; i%d += %d)", vector, vector, LANES, vector,
              LANES);
    print_vector_body(printer, items, LANES);
    text_close(&printer->text);
    if (!rest)
        return;
    long long extent = printer->nest->vector_extent;
    text_open(&printer->text, "if (end == %lld)", extent);
    text_line(&printer->text, "const long i%d = %lld;", vector, extent - rest);
    print_vector_body(printer, items, rest);
    text_close(&printer->text);
}

static void print_vector_whole(struct printer *printer, const struct item *items)
{
    int vector = printer->nest->vector, rest = (int)(printer->nest->vector_extent % LANES);
    long long whole = printer->nest->vector_extent - rest;
    if (whole) {
        text_open(&printer->text, "for (long i%d = 0; i%d < %lld; i%d += %d)", vector, vector, whole, vector, LANES);
        print_vector_body(printer, items, LANES);
        text_close(&printer->text);
    }
    if (rest) {
        text_open_block(&printer->text);
        text_line(&printer->text, "const long i%d = %lld;", vector, whole);
        print_vector_body(printer, items, rest);
        text_close(&printer->text);
    }
}

/* `shared`: the threads' share of the vector loop; else all of it. */
static void print_vector_loop(struct printer *printer, const struct item *items, bool shared)
{
    if (shared)
        print_vector_part(printer, items);
    else
        print_vector_whole(printer, items);
}

static void open_inner_loops(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    for (int i = 0; i < nest->inner_count; i++)
        text_open(&printer->text, "for (long i%d = 0; i%d < %lld; i%d++)", nest->inner_loops[i], nest->inner_loops[i],
                  (long long)print_extent(printer, nest->inner_loops[i]), nest->inner_loops[i]);
}

static void close_inner_loops(struct printer *printer)
{
    for (int i = 0; i < printer->nest->inner_count; i++)
        text_close(&printer->text);
}

static void print_phase(struct printer *printer, const struct phase *phase)
{
    const struct loop_nest *nest = printer->nest;
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++) {
        const char *type = print_accumulator(printer, reduction_of(printer, phase->reductions[i]));
        text_line(&printer->text, "%s a%d = %s_start();", type, phase->reductions[i], type);
    }
    open_inner_loops(printer);
    if (nest->vector_inner)
        print_vector_loop(printer, phase->items, nest->split_vector);
    else
        print_items(printer, phase->items);
    close_inner_loops(printer);
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++) {
        const struct reduction *reduction = reduction_of(printer, phase->reductions[i]);
        const char *type = print_accumulator(printer, reduction);
        if (reduction->lanes)
            text_line(&printer->text, "a%d = %s_lanes(a%d);", phase->reductions[i], type, phase->reductions[i]);
    }
}

/* ---- rows ---- */

/* The loop variables of the rows from the row's number. */
static void print_row_indices(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    int64_t stride = nest->rows;
    for (int i = 0; i < nest->row_count; i++) {
        int64_t extent = print_extent(printer, nest->row_loops[i]);
        stride = extent ? stride / extent : 0;
        const char *row = nest->rows < INT32_MAX ? "(unsigned)row" : "row"; /* unsigned division is cheap */
        const char *quotient = stride == 1 ? row : arena_printf(printer->arena, "%s / %lld", row, (long long)stride);
        if (i == 0)
            text_line(&printer->text, "const long i%d = %s;", nest->row_loops[i], quotient);
        else
            text_line(&printer->text, "const long i%d = %s %% %lld;", nest->row_loops[i], quotient, (long long)extent);
    }
}

static void print_row(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    print_row_indices(printer);
    host_keep_declare(printer);
    print_items(printer, nest->bodies[BODY_OUTER]);
    if (nest->vector >= 0 && !nest->vector_inner)
        print_vector_loop(printer, nest->bodies[BODY_VECTOR], nest->split_vector);
}

static void print_rows(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    if (nest->split_vector)
        text_open(&printer->text, "for (long row = 0; row < %lld; row++)", (long long)nest->rows);
    else
        text_open(&printer->text, "for (long row = begin; row < end; row++)");
    print_row(printer);
    text_close(&printer->text);
}

/* ---- blocks ---- */

static void declare_stocks(struct printer *printer)
{
    for (ptrdiff_t i = 0; i < arrlen(printer->nest->phases); i++)
        for (ptrdiff_t k = 0; k < arrlen(printer->nest->phases[i].items); k++) {
            const struct item *item = &printer->nest->phases[i].items[k];
            if (item->kind == ITEM_VALUE && print_is_stocked(printer, item->number))
                text_line(&printer->text, "uniform_stock stock%d = {.start = -1};", item->number);
        }
    for (ptrdiff_t i = 0; i < arrlen(printer->nest->bodies[BODY_VECTOR]); i++) {
        const struct item *item = &printer->nest->bodies[BODY_VECTOR][i];
        if (item->kind == ITEM_VALUE && print_is_stocked(printer, item->number))
            text_line(&printer->text, "uniform_stock stock%d = {.start = -1};", item->number);
    }
}

static void start_totals(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    declare_stocks(printer);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        const struct reduction *reduction = reduction_of(printer, number);
        const char *type = print_accumulator(printer, reduction);
        if (reduction->kind == REDUCTION_FULL) {
            text_line(&printer->text, "%s a%d = %s_start();", type, number, type);
            continue;
        }
        long long slots = reduction->slots;
        text_line(&printer->text, "%s *const p%d = t%d + block * %lld;", type, number, number, slots);
        text_open(&printer->text, "for (long slot = 0; slot < %lld; slot++)", slots);
        text_line(&printer->text, "p%d[slot] = %s_start();", number, type);
        text_close(&printer->text);
    }
}

static void end_totals(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        const struct reduction *reduction = reduction_of(printer, nest->totals[i]);
        if (reduction->kind == REDUCTION_FULL)
            text_line(&printer->text, "t%d[block] = %s_lanes(a%d);", nest->totals[i],
                      print_accumulator(printer, reduction), nest->totals[i]);
    }
}

static void declare_totals(struct printer *printer)
{
    for (ptrdiff_t i = 0; i < arrlen(printer->nest->totals); i++) {
        const struct reduction *reduction = reduction_of(printer, printer->nest->totals[i]);
        const char *type = print_accumulator(printer, reduction);
        text_line(&printer->text, "%s *const t%d = (%s *)(workspace + %llu);", type, printer->nest->totals[i], type,
                  (unsigned long long)reduction->workspace);
    }
}

/* The blocks' results into the ways "m5": neighbours first among each other. */
static void fill_ways(struct printer *printer, int number, const char *slot)
{
    const struct reduction *reduction = reduction_of(printer, number);
    const char *type = print_accumulator(printer, reduction);
    struct text *text = &printer->text;
    long long blocks = loop_nest_blocks(printer->nest), slots = reduction->slots;
    long long neighbours = printer->nest->neighbours;
    text_open(text, "for (long share = 0; share < %lld; share++)", blocks / neighbours);
    text_line(text, "%s s%d = t%d[share * %lld + (%s)];", type, number, number, neighbours * slots, slot);
    if (neighbours > 1) {
        text_open(text, "for (long block = share * %lld + 1; block < (share + 1) * %lld; block++)", neighbours,
                  neighbours);
        text_line(text, "s%d = %s_merge(s%d, t%d[block * %lld + (%s)]);", number, type, number, number, slots, slot);
        text_close(text);
    }
    text_line(text, "m%d[share %% %d] = %s_merge(m%d[share %% %d], s%d);", number, MERGE_WAYS, type, number, MERGE_WAYS,
              number);
    text_close(text);
}

/* "a5", from the results of more blocks than are merged in order (passes/nests.h). */
static void merge_ways(struct printer *printer, int number, const char *slot)
{
    const struct reduction *reduction = reduction_of(printer, number);
    const char *type = print_accumulator(printer, reduction);
    struct text *text = &printer->text;
    text_line(text, "%s m%d[%d];", type, number, MERGE_WAYS);
    text_open(text, "for (int way = 0; way < %d; way++)", MERGE_WAYS);
    text_line(text, "m%d[way] = %s_start();", number, type);
    text_close(text);
    fill_ways(printer, number, slot);
    text_open(text, "for (int side = 1; side < %d; side *= %d)", MERGE_WAYS, LANES);
    text_open(text, "for (int way = 0; way < %d; way += %d * side)", MERGE_WAYS, LANES);
    text_open(text, "for (int half = %d; half; half /= 2)", LANES / 2);
    text_open(text, "for (int i = 0; i < half; i++)");
    text_line(text, "m%d[way + i * side] = %s_merge(m%d[way + i * side], m%d[way + (i + half) * side]);", number, type,
              number, number);
    for (int i = 0; i < 4; i++)
        text_close(text);
    text_line(text, "%s a%d = m%d[0];", type, number, number);
}

static void merge_in_order(struct printer *printer, int number, const char *slot)
{
    const struct reduction *reduction = reduction_of(printer, number);
    const char *type = print_accumulator(printer, reduction);
    long long blocks = loop_nest_blocks(printer->nest);
    text_line(&printer->text, "%s a%d = %s_start();", type, number, type);
    if (blocks > 0)
        text_line(&printer->text, "a%d = t%d[%s];", number, number, slot);
    if (blocks > 1) {
        text_open(&printer->text, "for (long block = 1; block < %lld; block++)", blocks);
        text_line(&printer->text, "a%d = %s_merge(a%d, t%d[block * %lld + (%s)]);", number, type, number, number,
                  (long long)reduction->slots, slot);
        text_close(&printer->text);
    }
}

/* The blocks' results of all reductions of a kind; those of a column lie at a slot of each block. */
static void merge_blocks(struct printer *printer, enum reduction_kind kind)
{
    const struct loop_nest *nest = printer->nest;
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        const struct reduction *reduction = reduction_of(printer, number);
        if (reduction->kind != kind)
            continue;
        const char *slot = "0";
        if (kind == REDUCTION_COLUMN) {
            slot = print_place(printer, reduction, number);
            slot = arena_printf(printer->arena, "&%s - p%d", slot, number);
            text_line(&printer->text, "%s *const p%d = t%d;", print_accumulator(printer, reduction), number, number);
        }
        if (kind == REDUCTION_COLUMN && loop_nest_blocks(nest) > MERGE_ORDERED)
            merge_ways(printer, number, slot);
        else
            merge_in_order(printer, number, slot);
    }
}

static void print_finish(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    if (arrlen(nest->bodies[BODY_TOTAL])) {
        text_open_block(&printer->text);
        merge_blocks(printer, REDUCTION_FULL);
        print_items(printer, nest->bodies[BODY_TOTAL]);
        text_close(&printer->text);
    }
    if (!arrlen(nest->bodies[BODY_FINISH]))
        return;
    open_inner_loops(printer);
    int vector = nest->vector, rest = (int)(nest->vector_extent % LANES);
    for (int tail = 0; tail < 2; tail++) {
        long long whole = nest->vector_extent - rest;
        if (tail ? !rest : !whole)
            continue;
        if (tail)
            text_open(&printer->text, "for (long i%d = %lld; i%d < %lld; i%d += %d)", vector, whole, vector, whole + 1,
                      vector, LANES);
        else
            text_open(&printer->text, "for (long i%d = 0; i%d < %lld; i%d += %d)", vector, vector, whole, vector,
                      LANES);
        merge_blocks(printer, REDUCTION_COLUMN);
        print_vector_body(printer, nest->bodies[BODY_FINISH], tail ? rest : LANES);
        text_close(&printer->text);
    }
    close_inner_loops(printer);
}

/* The blocks of all of the nest, or of the strip that is asked for. */
static void print_blocks(struct printer *printer, bool by_strips)
{
    const struct loop_nest *nest = printer->nest;
    long long blocks = loop_nest_blocks(nest), length = loop_nest_length(nest), block = nest->block;
    bool parallel = !nest->serial && blocks > 1;
    if (by_strips) {
        long long items = printer->lowered->strip_items, share = length / items;
        text_line(&printer->text, "const long first = strip ? strip[0] * %lld / %lld : 0;", share, block);
        text_line(&printer->text, "const long last = strip ? strip[1] * %lld / %lld : %lld;", share, block, blocks);
    }
    if (parallel)
        text_add(&printer->text, "#pragma omp parallel for schedule(static)%s\n", by_strips ? " if (!strip)" : "");
    if (by_strips)
        text_open(&printer->text, "for (long block = first; block < last; block++)");
    else
        text_open(&printer->text, "for (long block = 0; block < %lld; block++)", blocks);
    text_line(&printer->text, "const long begin = block * %lld, end = begin + %lld < %lld ? begin + %lld : %lld;",
              block, block, length, block, length);
    start_totals(printer);
    print_rows(printer);
    end_totals(printer);
    text_close(&printer->text);
}

/* Of a kernel in a strip, the leading nests take a strip at a time, and what waits for sums over the batch is left for
 * the call behind the last strip. */
static void print_nest(struct printer *printer, const struct loop_nest *nest, bool by_strips)
{
    printer->nest = nest;
    printer->keep = host_keep_find(printer);
    bool late = printer->lowered->strip_items && !by_strips;
    if (late)
        text_open(&printer->text, "if (all_done)");
    else
        text_open_block(&printer->text);
    if (nest->clear >= 0)
        text_line(&printer->text, "__builtin_memset(%s, 0, %lld);", print_buffer_name(printer, nest->clear),
                  (long long)nest->clear_bytes);
    print_items(printer, nest->bodies[BODY_NEST]);
    declare_totals(printer);
    print_blocks(printer, by_strips);
    bool finishes = arrlen(nest->bodies[BODY_TOTAL]) || arrlen(nest->bodies[BODY_FINISH]);
    if (by_strips && finishes)
        text_open(&printer->text, "if (all_done)");
    print_finish(printer);
    if (by_strips && finishes)
        text_close(&printer->text);
    text_close(&printer->text);
}

/* ---- the function ---- */

static void print_buffers(struct printer *printer)
{
    const struct lowered *lowered = printer->lowered;
    int parameter = 0;
    char type[TYPE_TEXT];
    for (int i = 0; i < arrlen(lowered->buffers); i++) {
        const struct kernel_buffer *buffer = &lowered->buffers[i];
        const char *name = print_buffer_name(printer, i);
        if (buffer->scratch)
            continue;
        text_line(&printer->text, "char *const %s = buffers[%d]; /* %s */", name, parameter++,
                  type_format(&buffer->node->type, type, sizeof type));
    }
    if (lowered->workspace)
        text_line(&printer->text, "char *const workspace = buffers[%d];", parameter);
    for (int i = 0; i < arrlen(lowered->buffers); i++)
        if (lowered->buffers[i].scratch)
            text_line(&printer->text, "char *const %s = workspace + %llu;", print_buffer_name(printer, i),
                      (unsigned long long)lowered->buffers[i].offset);
}

const char *print_host(const struct lowered *lowered, struct arena *arena)
{
    struct printer printer = {.lowered = lowered, .arena = arena, .lanes = LANES};
    text_line(&printer.text, "(char *const *buffers, const long long *integers, const long *strip)");
    text_open_block(&printer.text);
    if (lowered->strip_items)
        text_line(&printer.text, "const int all_done = !strip || strip[0] == strip[1];");
    else
        text_line(&printer.text, "(void)strip;");
    if (!arrlen(lowered->integers))
        text_line(&printer.text, "(void)integers;");
    print_buffers(&printer);
    print_items(&printer, lowered->items);
    for (ptrdiff_t i = 0; i < arrlen(lowered->nests); i++)
        print_nest(&printer, &lowered->nests[i], i < lowered->strip_nests);
    text_close(&printer.text);
    return text_finish(&printer.text, arena);
}
