/* The bodies of a nest as CUDA: statements of items, and phases, as the scheme of the task at hand runs them. See
 * print_cuda_task.c. */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

const struct reduction *cuda_reduction(const struct printer *printer, int number)
{
    return &printer->lowered->reductions[number];
}

/* ---- items ---- */

void cuda_print_step(struct printer *printer, int number)
{
    const struct reduction *reduction = cuda_reduction(printer, number);
    const char *type = print_accumulator(printer, reduction), *count = NULL;
    const char *place = arena_printf(printer->arena, "a%d", number);
    if (reduction->kind == REDUCTION_COLUMN)
        count = "row - begin + 1";
    else if (reduction->kind == REDUCTION_ROW && !reduction->lanes)
        count = print_inner_place(printer, "1", 1);
    text_line(&printer->text, "%s = %s_%s(%s, %s%s);", place, type,
              reduction->position >= 0 && reduction->follows ? "follow" : "step", place,
              print_value_name(printer, reduction->value), print_step_more(printer, reduction, place, count));
}

static void open_inner_loops(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    for (int i = 0; i < nest->inner_count; i++)
        text_open(&printer->text, "for (int i%d = 0; i%d < %lld; i%d++)", nest->inner_loops[i], nest->inner_loops[i],
                  (long long)print_extent(printer, nest->inner_loops[i]), nest->inner_loops[i]);
}

static void close_inner_loops(struct printer *printer)
{
    for (int i = 0; i < printer->nest->inner_count; i++)
        text_close(&printer->text);
}

static void print_phase(struct printer *printer, int number);

/* Where a thread keeps its element of the row for a later task (cuda_again.c). */
static const char *again_place(struct printer *printer)
{
    return arena_printf(printer->arena, "(row - begin) * %d + thread", CUDA_THREADS);
}

/* A value that stays in shared memory: loaded and put there, or taken from it. */
static void print_again(struct printer *printer, const struct cuda_kept *kept, int number)
{
    const struct value *value = &printer->lowered->values[number];
    const char *element = element_name(value->element), *name = print_value_name(printer, number);
    if (number != kept->to) {
        cuda_print_value(printer, number);
        text_line(&printer->text, "if (mine) store_%s(again%d, %s, %s);", element, kept->slot, again_place(printer),
                  name);
        return;
    }
    text_line(&printer->text, "%s %s;", print_lane_type(printer, value->lane), name);
    text_line(&printer->text, "if (mine) %s = load_%s(again%d, %s);", name, element, kept->slot, again_place(printer));
    text_line(&printer->text, "else %s = %s;", name, cuda_print_load(printer, number));
}

static void print_again_store(struct printer *printer, int number)
{
    const struct store *store = &printer->lowered->stores[number];
    const struct cuda_kept *kept = cuda_kept_store(printer->plan, number);
    if (kept)
        text_line(&printer->text, "if (mine) store_%s(again%d, %s, %s);", element_name(store->element), kept->slot,
                  again_place(printer), print_value_name(printer, store->value));
}

/* A value of a phase, which may be in registers since an earlier one, or on the chip since an earlier task. */
static void print_phase_value(struct printer *printer, const struct item *item)
{
    const struct cuda_kept *again = cuda_kept_load(printer->plan, item->number);
    if (again) {
        print_again(printer, again, item->number);
        return;
    }
    int kept = cuda_keep_taken(printer, printer->phase, item);
    const char *name = print_value_name(printer, item->number);
    if (kept >= 0)
        text_line(&printer->text, "const %s %s = kept%d[step];",
                  print_lane_type(printer, printer->lowered->values[item->number].lane), name, kept);
    else
        cuda_print_value(printer, item->number);
    if (kept < 0 && cuda_keep_gives(printer, item))
        text_line(&printer->text, "kept%d[step] = %s;", item->number, name);
}

void cuda_print_item(struct printer *printer, const struct item *item)
{
    const struct store *store = &printer->lowered->stores[item->kind == ITEM_STORE ? item->number : 0];
    if (cuda_is_fixed(printer, item))
        return;
    switch (item->kind) {
    case ITEM_INDEX:
        cuda_print_index(printer, item->number);
        break;
    case ITEM_VALUE:
        print_phase_value(printer, item);
        break;
    case ITEM_STORE:
        cuda_print_store(printer, store);
        print_again_store(printer, item->number);
        break;
    case ITEM_STEP:
        cuda_print_step(printer, item->number);
        break;
    case ITEM_PHASE:
        print_phase(printer, item->number);
        break;
    case ITEM_WATCH:
        print_watch_open(printer, item->number);
        print_watch_close(printer, item->number);
        break;
    }
}

const struct store *cuda_scatter_store(const struct printer *printer)
{
    const struct item *items = printer->nest->phases[0].items;
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_STORE)
            return &printer->lowered->stores[items[i].number];
    castor_bug("a scatter stores nothing");
}

const char *cuda_is_owner(struct printer *printer)
{
    const struct store *store = cuda_scatter_store(printer);
    return arena_printf(printer->arena, "hold(%s, 0, %lld) %% %lld == part", print_value_name(printer, store->slice),
                        (long long)store->last, (long long)printer->task->parts);
}

/* Where its number is known. */
void cuda_print_owner(struct printer *printer)
{
    text_open(&printer->text, "if (!(%s))", cuda_is_owner(printer));
    text_line(&printer->text, "continue;");
    text_close(&printer->text);
}

void cuda_print_items(struct printer *printer, const struct item *items)
{
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        cuda_print_item(printer, &items[i]);
        if (printer->task->scheme == CUDA_SCATTER && items[i].kind == ITEM_VALUE &&
            items[i].number == cuda_scatter_store(printer)->slice)
            cuda_print_owner(printer);
    }
}

/* ---- phases ---- */

void cuda_start_accumulator(struct printer *printer, int number)
{
    const char *type = print_accumulator(printer, cuda_reduction(printer, number));
    text_line(&printer->text, "%s a%d = %s_start();", type, number, type);
}

/* The vector loop of a team, from lane to lane. */
static void open_team_loop(struct printer *printer, int width)
{
    const struct loop_nest *nest = printer->nest;
    int vector = nest->vector;
    const char *type = cuda_integer(nest->vector_extent + (int64_t)LANES * width);
    if (width > 1) {
        text_open(&printer->text, "for (%s i%d_first = lane * %d; i%d_first < %lld; i%d_first += LANES * %d)", type,
                  vector, width, vector, (long long)nest->vector_extent, vector, width);
    } else if (cuda_keep_steps(printer)) {
        text_add(&printer->text, "#pragma unroll\n");
        text_open(&printer->text, "for (int step = 0; step < %lld; step++)", (long long)cuda_keep_steps(printer));
        text_line(&printer->text, "const int i%d = step * LANES + lane;", vector);
        if (nest->vector_extent % LANES)
            text_line(&printer->text, "if (i%d >= %lld) break;", vector, (long long)nest->vector_extent);
    } else if (printer->task->scheme == CUDA_WHOLE)
        text_open(&printer->text, "for (%s i%d = begin + lane; i%d < end; i%d += LANES)", type, vector, vector, vector);
    else
        text_open(&printer->text, "for (%s i%d = lane; i%d < %lld; i%d += LANES)", type, vector, vector,
                  (long long)nest->vector_extent, vector);
}

/* A thread does what the lanes of a team do in its row: each of them has accumulators of its own. */
static void print_short_phase(struct printer *printer, const struct phase *phase)
{
    const struct loop_nest *nest = printer->nest;
    struct text *text = &printer->text;
    long long extent = nest->vector_extent;
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++) {
        int number = phase->reductions[i];
        const char *type = print_accumulator(printer, cuda_reduction(printer, number));
        text_line(text, "%s lanes%d[%lld];", type, number, extent);
        text_line(text, "for (int i = 0; i < %lld; i++) lanes%d[i] = %s_start();", extent, number, type);
    }
    open_inner_loops(printer);
    text_add(text, "#pragma unroll\n");
    text_open(text, "for (int i%d = 0; i%d < %lld; i%d++)", nest->vector, nest->vector, extent, nest->vector);
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++)
        text_line(text, "%s &a%d = lanes%d[i%d];",
                  print_accumulator(printer, cuda_reduction(printer, phase->reductions[i])), phase->reductions[i],
                  phase->reductions[i], nest->vector);
    cuda_print_items(printer, phase->items);
    text_close(text);
    close_inner_loops(printer);
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++) {
        int number = phase->reductions[i];
        const char *type = print_accumulator(printer, cuda_reduction(printer, number));
        text_line(text, "const %s a%d = %s_short(lanes%d);", type, number, type, number);
    }
}

static void print_phase(struct printer *printer, int number)
{
    const struct phase *phase = &printer->nest->phases[number];
    printer->phase = number;
    if (printer->task->scheme == CUDA_SHORT_ROWS) {
        print_short_phase(printer, phase);
        return;
    }
    bool team = printer->task->scheme == CUDA_ROWS || printer->task->scheme == CUDA_WHOLE ||
                printer->task->scheme == CUDA_ROWS_COLUMNS;
    bool columns = printer->task->scheme == CUDA_COLUMNS || printer->task->scheme == CUDA_AGAIN;
    bool packs = printer->task->scheme == CUDA_ROWS && phase == &arrlast(printer->nest->phases);
    int width =
        packs && !cuda_keep_steps(printer) ? cuda_row_width(printer->lowered, printer->nest) : printer->task->width;
    for (ptrdiff_t i = 0; i < arrlen(phase->reductions); i++)
        cuda_start_accumulator(printer, phase->reductions[i]);
    if (!columns)
        open_inner_loops(printer);
    if (team)
        open_team_loop(printer, width);
    if (width > 1)
        cuda_print_packed(printer, phase->items, width);
    else
        cuda_print_items(printer, phase->items);
    if (team)
        text_close(&printer->text);
    if (team && printer->nest->shape == NEST_SUPPRESS)
        text_line(&printer->text, "__syncwarp(team_mask());");
    if (!columns)
        close_inner_loops(printer);
    for (ptrdiff_t i = 0; team && i < arrlen(phase->reductions); i++)
        text_line(&printer->text, "a%d = %s_lanes(a%d);", phase->reductions[i],
                  print_accumulator(printer, cuda_reduction(printer, phase->reductions[i])), phase->reductions[i]);
}
