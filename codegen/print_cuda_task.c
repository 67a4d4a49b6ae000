/* One task as CUDA: what the threads of block number `block` of it do. See cuda_plan.h for the schemes. In scope are
 * `block`, `thread` (in the block), `team` and `lane` (in the team). */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

/* ---- rows and columns ---- */

/* Loop variables from a number: `loops` outermost first, the last of them innermost. */
static void print_split(struct printer *printer, const char *number, int64_t count, const int *loops, int loop_count)
{
    int64_t stride = count;
    const char *whole = count > INT32_MAX ? number : arena_printf(printer->arena, "(unsigned)%s", number);
    const char *suffix = count > INT32_MAX ? "ll" : "u";
    for (int i = 0; i < loop_count; i++) {
        int64_t extent = print_extent(printer, loops[i]);
        stride = extent ? stride / extent : 0;
        const char *value = loop_count == 1 ? number : whole;
        if (stride > 1)
            value = arena_printf(printer->arena, "%s / %lld%s", value, (long long)stride, suffix);
        if (i > 0)
            value = arena_printf(printer->arena, "%s %% %lld%s", value, (long long)extent, suffix);
        text_line(&printer->text, "const %s i%d = %s;", cuda_integer(extent), loops[i], value);
    }
}

static void print_row_indices(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    print_split(printer, "row", nest->rows, nest->row_loops, nest->row_count);
}

/* The inner loops and the vector from the number of a column. */
void cuda_print_column_indices(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    int loops[LOOPS_MAX + 1], count = 0;
    for (int i = 0; i < nest->inner_count; i++)
        loops[count++] = nest->inner_loops[i];
    if (nest->vector >= 0)
        loops[count++] = nest->vector;
    print_split(printer, "column", loop_nest_columns(printer->lowered, nest), loops, count);
}

/* Begin and end of a block of rows or elements. */
static void print_block_bounds(struct printer *printer, const char *number)
{
    const struct loop_nest *nest =
        printer->task->again ? &printer->lowered->nests[printer->task->model] : printer->nest;
    long long length = nest->rows ? loop_nest_length(nest) : 0, block = nest->block;
    const char *type = cuda_integer(length + block);
    text_line(&printer->text, "const %s begin = (%s)%s * %lld;", type, type, number, block);
    text_line(&printer->text, "const %s end = begin + %lld < %lld ? begin + %lld : %lld;", type, block, length, block,
              length);
}

/* ---- schemes ---- */

static void print_element(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    cuda_print_items(printer, nest->bodies[BODY_OUTER]);
    cuda_print_items(printer, nest->bodies[BODY_VECTOR]);
}

/* Row and place along the vector of piece of work number `item`. */
static void print_item_indices(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    const struct cuda_task *task = printer->task;
    long long groups = (nest->vector_extent + task->width - 1) / task->width;
    bool wide = task->items > INT32_MAX;
    const char *cast = wide ? "" : "(unsigned)", *suffix = wide ? "ll" : "u";
    const char *place =
        nest->rows > 1 ? arena_printf(printer->arena, "%sitem %% %lld%s", cast, groups, suffix) : "item";
    if (groups == 1)
        text_line(&printer->text, "const %s row = item;", cuda_integer(nest->rows));
    else if (nest->rows > 1)
        text_line(&printer->text, "const %s row = %sitem / %lld%s;", cuda_integer(nest->rows), cast, groups, suffix);
    if (nest->row_count)
        print_row_indices(printer);
    if (nest->vector < 0)
        return;
    const char *type = cuda_integer(nest->vector_extent + task->width);
    if (groups == 1)
        text_line(&printer->text, "const %s i%d%s = 0;", type, nest->vector, task->width > 1 ? "_first" : "");
    else if (task->width > 1)
        text_line(&printer->text, "const %s i%d_first = (%s)(%s) * %d;", type, nest->vector, type, place, task->width);
    else
        text_line(&printer->text, "const %s i%d = %s;", type, nest->vector, place);
}

/* The end of one long row that is no multiple of the width: one by one. */
static void print_rest(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    struct cuda_task single = *printer->task;
    const struct cuda_task *task = printer->task;
    const char *type = cuda_integer(nest->vector_extent + task->width);
    single.width = 1;
    text_open(&printer->text, "for (%s i%d = i%d_first; i%d < %lld; i%d++)", type, nest->vector, nest->vector,
              nest->vector, (long long)nest->vector_extent, nest->vector);
    printer->task = &single;
    print_element(printer);
    printer->task = task;
    text_close(&printer->text);
}

static void print_elements(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    const struct cuda_task *task = printer->task;
    long long items = task->items, width = task->width;
    const char *type = cuda_integer(items + CUDA_THREADS * task->blocks);
    cuda_start_totals(printer, REDUCTION_FULL);
    if (arrlen(nest->totals)) {
        text_open(&printer->text, "for (%s item = (%s)block * %d + thread; item < %lld; item += %lld)", type, type,
                  CUDA_THREADS, items, (long long)CUDA_THREADS * (long long)task->blocks);
    } else {
        int pick = cuda_find_pick(printer->picks, PICK_ITEMS, 0);
        text_line(&printer->text, "const %s item = (%s)block * %d + thread;", type, type, CUDA_THREADS);
        text_open(&printer->text, pick >= 0 ? "if (item < at[%lld])" : "if (item < %lld)", pick >= 0 ? pick : items);
    }
    print_item_indices(printer);
    if (nest->vector_extent % width) {
        text_open(&printer->text, "if (i%d_first + %lld <= %lld)", nest->vector, width, (long long)nest->vector_extent);
        print_element(printer);
        text_close(&printer->text);
        text_open(&printer->text, "else");
        print_rest(printer);
        text_close(&printer->text);
    } else {
        print_element(printer);
    }
    text_close(&printer->text);
    cuda_end_totals(printer);
}

/* A row by one team. Its first lane stores what there is one of. */
static void print_team_row(struct printer *printer, bool last_phase)
{
    const struct loop_nest *nest = printer->nest;
    const struct item *items = nest->bodies[BODY_OUTER];
    print_row_indices(printer);
    cuda_keep_declare(printer);
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        bool last = items[i].kind == ITEM_PHASE && items[i].number == (int)arrlen(nest->phases) - 1;
        if (last && !last_phase)
            continue;
        if (items[i].kind != ITEM_STORE) {
            cuda_print_item(printer, &items[i]);
            continue;
        }
        text_line(&printer->text, "__syncwarp(team_mask());");
        text_open(&printer->text, "if (lane == 0)");
        cuda_print_item(printer, &items[i]);
        text_close(&printer->text);
    }
}

static void print_rows(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    const char *type = cuda_integer(nest->rows + LANES);
    cuda_start_totals(printer, REDUCTION_FULL);
    if (!printer->task->apart) {
        print_block_bounds(printer, "block");
        text_open(&printer->text, "for (%s row = begin + team; row < end; row += LANES)", type);
    } else if (arrlen(nest->totals)) {
        text_open(&printer->text, "for (%s row = (%s)block * LANES + team; row < %lld; row += %lld)", type, type,
                  (long long)nest->rows, LANES * (long long)printer->task->blocks);
    } else {
        text_line(&printer->text, "const %s row = (%s)block * LANES + team;", type, type);
        text_open(&printer->text, "if (row < %lld)", (long long)nest->rows);
    }
    print_team_row(printer, true);
    text_close(&printer->text);
    cuda_end_totals(printer);
}

/* A thread has one item, or several where there are totals. */
void cuda_open_items(struct printer *printer, const char *name)
{
    const struct cuda_task *task = printer->task;
    const char *type = cuda_integer(task->items + CUDA_THREADS * task->blocks);
    if (task->blocks * CUDA_THREADS < task->items) {
        text_open(&printer->text, "for (%s %s = (%s)block * %d + thread; %s < %lld; %s += %lld)", type, name, type,
                  CUDA_THREADS, name, (long long)task->items, name, CUDA_THREADS * (long long)task->blocks);
        return;
    }
    text_line(&printer->text, "const %s %s = (%s)block * %d + thread;", type, name, type, CUDA_THREADS);
    text_open(&printer->text, "if (%s < %lld)", name, (long long)task->items);
}

static void print_short_rows(struct printer *printer)
{
    cuda_start_totals(printer, REDUCTION_FULL);
    cuda_open_items(printer, "row");
    print_row_indices(printer);
    cuda_print_items(printer, printer->nest->bodies[BODY_OUTER]);
    text_close(&printer->text);
    cuda_end_totals(printer);
}

/* CUDA_AGAIN walks the same way, but has no sums over the rows. */
static void print_columns(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    long long columns = loop_nest_columns(printer->lowered, nest), items = printer->task->items;
    cuda_start_totals(printer, REDUCTION_FULL);
    if (printer->task->keeps || printer->task->again)
        text_line(&printer->text, "const bool mine = block == blockIdx.x;");
    const char *type = cuda_integer(items + CUDA_THREADS);
    text_line(&printer->text, "const %s item = (%s)block * %d + thread;", type, type, CUDA_THREADS);
    text_open(&printer->text, "if (item < %lld)", items);
    text_line(&printer->text, "const int part = item / %lld, column = item %% %lld;", columns, columns);
    print_block_bounds(printer, "part");
    cuda_print_column_indices(printer);
    cuda_start_totals(printer, REDUCTION_COLUMN);
    cuda_fixed_begin(printer);
    text_open(&printer->text, "for (%s row = begin; row < end; row++)", cuda_integer(nest->rows));
    print_row_indices(printer);
    cuda_print_items(printer, nest->bodies[BODY_OUTER]);
    text_close(&printer->text);
    cuda_fixed_end(printer);
    cuda_store_columns(printer, "part");
    text_close(&printer->text);
    cuda_end_totals(printer);
}

/* "row_mean_12": values of the rows that the columns need. */
static void declare_saved(struct printer *printer)
{
    const struct item *items = printer->nest->bodies[BODY_OUTER];
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        int64_t offset = items[i].kind == ITEM_VALUE ? cuda_saved_offset(printer->plan, items[i].number) : -1;
        if (offset < 0)
            continue;
        const char *type = print_lane_type(printer, printer->lowered->values[items[i].number].lane);
        text_line(&printer->text, "%s *const row_%s = (%s *)(workspace + %s);", type,
                  print_value_name(printer, items[i].number), type,
                  cuda_workspace_place(printer, PICK_SAVED, items[i].number, (uint64_t)offset));
    }
}

static void print_saved(struct printer *printer, bool store)
{
    const struct item *items = printer->nest->bodies[BODY_OUTER];
    for (ptrdiff_t i = 0; i < arrlen(items); i++) {
        if (items[i].kind == ITEM_INDEX && !store)
            cuda_print_index(printer, items[i].number);
        if (items[i].kind != ITEM_VALUE || cuda_saved_offset(printer->plan, items[i].number) < 0)
            continue;
        const char *name = print_value_name(printer, items[i].number);
        if (store)
            text_line(&printer->text, "row_%s[row] = %s;", name, name);
        else
            text_line(&printer->text, "const %s %s = row_%s[row];",
                      print_lane_type(printer, printer->lowered->values[items[i].number].lane), name, name);
    }
}

static void print_rows_columns(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    long long columns = loop_nest_columns(printer->lowered, nest);
    const char *type = cuda_integer(nest->rows + LANES);
    print_block_bounds(printer, "block");
    declare_saved(printer);
    cuda_start_totals(printer, REDUCTION_FULL);
    text_open(&printer->text, "for (%s row = begin + team; row < end; row += LANES)", type);
    print_team_row(printer, false);
    text_open(&printer->text, "if (lane == 0)");
    print_saved(printer, true);
    text_close(&printer->text);
    text_close(&printer->text);
    text_line(&printer->text, "__syncthreads();");
    text_open(&printer->text, "for (int column = thread; column < %lld; column += %d)", columns, CUDA_THREADS);
    cuda_print_column_indices(printer);
    cuda_start_totals(printer, REDUCTION_COLUMN);
    text_open(&printer->text, "for (%s row = begin; row < end; row++)", type);
    print_row_indices(printer);
    print_saved(printer, false);
    printer->phase = (int)arrlen(nest->phases) - 1;
    cuda_print_items(printer, arrlast(nest->phases).items);
    text_close(&printer->text);
    cuda_store_columns(printer, "block");
    text_close(&printer->text);
    cuda_end_totals(printer);
}

static void print_whole(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    text_line(&printer->text, "const int part = block * LANES + team;");
    text_open(&printer->text, "if (part < %lld)", (long long)loop_nest_blocks(nest));
    print_block_bounds(printer, "part");
    cuda_start_totals(printer, REDUCTION_FULL);
    cuda_print_items(printer, nest->bodies[BODY_OUTER]);
    cuda_declare_results(printer, REDUCTION_FULL);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        const char *type = print_accumulator(printer, cuda_reduction(printer, nest->totals[i]));
        text_line(&printer->text, "a%d = %s_lanes(a%d);", nest->totals[i], type, nest->totals[i]);
        text_open(&printer->text, "if (lane == 0)");
        text_line(&printer->text, "t%d[part] = a%d;", nest->totals[i], nest->totals[i]);
        text_close(&printer->text);
    }
    text_close(&printer->text);
}

static void print_clear(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    cuda_open_items(printer, "item");
    text_line(&printer->text, nest->clear_bytes % 4 ? "%s[item] = 0;" : "((int *)%s)[item] = 0;",
              print_buffer_name(printer, nest->clear));
    text_close(&printer->text);
}

/* The place of the item that gives the number of a row's slice in BODY_OUTER; -1: it stands elsewhere. */
static ptrdiff_t slice_item(const struct printer *printer)
{
    const struct item *items = printer->nest->bodies[BODY_OUTER];
    for (ptrdiff_t i = 0; i < arrlen(items); i++)
        if (items[i].kind == ITEM_VALUE && items[i].number == cuda_scatter_store(printer)->slice)
            return i;
    return -1;
}

/* The threads of a warp have one part: they look at 32 rows at a time, and then take their own one after the other. */
static void print_scatter_warp(struct printer *printer, ptrdiff_t slice)
{
    const struct loop_nest *nest = printer->nest;
    struct text *text = &printer->text;
    struct cuda_task plain = *printer->task;
    const struct cuda_task *task = printer->task;
    const char *type = cuda_integer(nest->rows + 32);
    plain.scheme = CUDA_ELEMENTS;
    printer->task = &plain;
    text_open(text, "for (%s first = 0; first < %lld; first += 32)", type, (long long)nest->rows);
    text_line(text, "bool own = false;");
    text_open(text, "if (first + thread %% 32 < %lld)", (long long)nest->rows);
    text_line(text, "const %s row = first + thread %% 32;", type);
    print_row_indices(printer);
    for (ptrdiff_t i = 0; i <= slice; i++)
        cuda_print_item(printer, &nest->bodies[BODY_OUTER][i]);
    text_line(text, "own = %s;", cuda_is_owner(printer));
    text_close(text);
    text_open(text, "for (unsigned left = __ballot_sync(~0u, own); left; left &= left - 1)");
    text_line(text, "const %s row = first + __ffs(left) - 1;", type);
    print_row_indices(printer);
    print_element(printer);
    text_close(text);
    text_close(text);
    printer->task = task;
}

static void print_scatter(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    long long extent = nest->vector_extent;
    ptrdiff_t slice = slice_item(printer);
    cuda_open_items(printer, "item");
    text_line(&printer->text, "const int part = item / %lld;", extent);
    if (nest->vector >= 0)
        text_line(&printer->text, "const int i%d = item %% %lld;", nest->vector, extent);
    if (slice >= 0 && extent % 32 == 0) {
        print_scatter_warp(printer, slice);
        text_close(&printer->text);
        return;
    }
    text_open(&printer->text, "for (%s row = 0; row < %lld; row++)", cuda_integer(nest->rows), (long long)nest->rows);
    if (printer->lowered->values[cuda_scatter_store(printer)->slice].depth < BODY_OUTER)
        cuda_print_owner(printer);
    print_row_indices(printer);
    print_element(printer);
    text_close(&printer->text);
    text_close(&printer->text);
}

void cuda_print_task(struct printer *printer, const struct cuda_task *task)
{
    static void (*const schemes[])(struct printer *) = {
        [CUDA_ELEMENTS] = print_elements, [CUDA_ROWS] = print_rows,
        [CUDA_COLUMNS] = print_columns,   [CUDA_ROWS_COLUMNS] = print_rows_columns,
        [CUDA_WHOLE] = print_whole,       [CUDA_CLEAR] = print_clear,
        [CUDA_SCATTER] = print_scatter,   [CUDA_FINISH] = cuda_print_finish,
        [CUDA_TOTAL] = cuda_print_total,  [CUDA_FINISH_WAYS] = cuda_print_finish_ways,
        [CUDA_AGAIN] = print_columns,     [CUDA_SHORT_ROWS] = print_short_rows,
    };
    printer->task = task;
    printer->nest = &printer->lowered->nests[task->nest];
    printer->phase = 0;
    if (task->scheme != CUDA_CLEAR)
        cuda_print_items(printer, printer->nest->bodies[BODY_NEST]);
    schemes[task->scheme](printer);
}
