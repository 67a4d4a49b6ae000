/* Sums over rows as CUDA: what a block leaves of them, and what is left of a task when all blocks of its nest are done:
 * merging their results. See print_cuda_task.c. */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

/* ---- what a block has ---- */

void cuda_start_totals(struct printer *printer, enum reduction_kind kind)
{
    const struct loop_nest *nest = printer->nest;
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++)
        if (cuda_reduction(printer, nest->totals[i])->kind == kind)
            cuda_start_accumulator(printer, nest->totals[i]);
}

const char *cuda_workspace_place(struct printer *printer, enum cuda_pick_kind kind, int number, uint64_t offset)
{
    int pick = cuda_find_pick(printer->picks, kind, number);
    return pick >= 0 ? arena_printf(printer->arena, "at[%d]", pick)
                     : arena_printf(printer->arena, "%llu", (unsigned long long)offset);
}

void cuda_declare_results(struct printer *printer, enum reduction_kind kind)
{
    const struct loop_nest *nest = printer->nest;
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        const struct reduction *reduction = cuda_reduction(printer, nest->totals[i]);
        const char *type = print_accumulator(printer, reduction);
        if (reduction->kind == kind)
            text_line(
                &printer->text, "%s *const t%d = (%s *)(workspace + %s);", type, nest->totals[i], type,
                cuda_workspace_place(printer, PICK_TOTAL, nest->totals[i], printer->plan->totals[nest->totals[i]]));
    }
}

/* The block's parts of a column become one, which the first of their threads stores. */
static void store_merged(struct printer *printer, int number, long long columns)
{
    const char *type = print_accumulator(printer, cuda_reduction(printer, number));
    struct text *text = &printer->text;
    text_line(text, "((%s *)merging)[thread] = a%d;", type, number);
    text_line(text, "__syncthreads();");
    text_open(text, "if (thread < %lld)", columns);
    text_open(text, "for (int other = 1; other < %lld; other++)", (long long)printer->task->merges);
    text_line(text, "a%d = %s_merge(a%d, ((%s *)merging)[other * %lld + thread]);", number, type, number, type,
              columns);
    text_close(text);
    text_line(text, "t%d[block * %lld + thread] = a%d;", number, columns, number);
    text_close(text);
    text_line(text, "__syncthreads();");
}

void cuda_store_columns(struct printer *printer, const char *part)
{
    const struct loop_nest *nest = printer->nest;
    long long columns = loop_nest_columns(printer->lowered, nest);
    cuda_declare_results(printer, REDUCTION_COLUMN);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        if (cuda_reduction(printer, number)->kind != REDUCTION_COLUMN)
            continue;
        if (printer->task->merges > 1)
            store_merged(printer, number, columns);
        else
            text_line(&printer->text, "t%d[%s * %lld + column] = a%d;", number, part, columns, number);
    }
}

void cuda_end_totals(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    bool ends = printer->task->ends;
    if (!ends)
        cuda_declare_results(printer, REDUCTION_FULL);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        const struct reduction *reduction = cuda_reduction(printer, number);
        const char *type = print_accumulator(printer, reduction);
        if (reduction->kind != REDUCTION_FULL)
            continue;
        if (!reduction->row_level || printer->task->scheme == CUDA_SHORT_ROWS)
            text_line(&printer->text, "a%d = %s_lanes(a%d);", number, type, number);
        text_line(&printer->text, "a%d = %s_teams(a%d);", number, type, number);
        if (ends)
            continue;
        text_open(&printer->text, "if (thread == 0)");
        text_line(&printer->text, "t%d[block] = a%d;", number, number);
        text_close(&printer->text);
    }
    if (!ends)
        return;
    text_open(&printer->text, "if (thread == 0)");
    cuda_print_items(printer, nest->bodies[BODY_TOTAL]);
    text_close(&printer->text);
}

/* ---- ends of tasks ---- */

/* Several loads under way at a time, but not all of them: each would have registers of its own. */
static void open_merging(struct printer *printer, const char *first, long long count, int step)
{
    text_add(&printer->text, "#pragma unroll 4\n");
    text_open(&printer->text, "for (int part = %s; part < %lld; part += %d)", first, count, step);
}

void cuda_print_finish(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    long long blocks = loop_nest_blocks(nest), columns = loop_nest_columns(printer->lowered, nest);
    cuda_open_items(printer, "column");
    cuda_print_column_indices(printer);
    cuda_declare_results(printer, REDUCTION_COLUMN);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        const struct reduction *reduction = cuda_reduction(printer, number);
        const char *type = print_accumulator(printer, reduction);
        if (reduction->kind != REDUCTION_COLUMN)
            continue;
        text_line(&printer->text, "%s a%d = %s;", type, number,
                  blocks ? arena_printf(printer->arena, "t%d[column]", number)
                         : arena_printf(printer->arena, "%s_start()", type));
        open_merging(printer, "1", blocks, 1);
        text_line(&printer->text, "a%d = %s_merge(a%d, t%d[part * %lld + column]);", number, type, number, number,
                  columns);
        text_close(&printer->text);
    }
    cuda_print_items(printer, nest->bodies[BODY_FINISH]);
    text_close(&printer->text);
}

/* The shares of a way: what the blocks merged already, or neighbours that are merged here. */
static void merge_way(struct printer *printer, int number)
{
    const struct loop_nest *nest = printer->nest;
    const char *type = print_accumulator(printer, cuda_reduction(printer, number));
    long long columns = loop_nest_columns(printer->lowered, nest);
    long long neighbours = nest->neighbours, shares = loop_nest_blocks(nest) / neighbours;
    struct text *text = &printer->text;
    if (printer->task->merges > 1 || neighbours == 1) {
        open_merging(printer, "thread", shares, MERGE_WAYS);
        text_line(text, "a%d = %s_merge(a%d, t%d[part * %lld + column]);", number, type, number, number, columns);
    } else {
        text_open(text, "for (int share = thread; share < %lld; share += %d)", shares, MERGE_WAYS);
        text_line(text, "%s s%d = t%d[share * %lld + column];", type, number, number, neighbours * columns);
        text_open(text, "for (int part = share * %lld + 1; part < (share + 1) * %lld; part++)", neighbours, neighbours);
        text_line(text, "s%d = %s_merge(s%d, t%d[part * %lld + column]);", number, type, number, number, columns);
        text_close(text);
        text_line(text, "a%d = %s_merge(a%d, s%d);", number, type, number, number);
    }
    text_close(text);
}

void cuda_print_finish_ways(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    text_line(&printer->text, "const int column = block;");
    cuda_print_column_indices(printer);
    cuda_declare_results(printer, REDUCTION_COLUMN);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++) {
        int number = nest->totals[i];
        const char *type = print_accumulator(printer, cuda_reduction(printer, number));
        if (cuda_reduction(printer, number)->kind != REDUCTION_COLUMN)
            continue;
        text_line(&printer->text, "%s a%d = %s_start();", type, number, type);
        merge_way(printer, number);
        text_line(&printer->text, "a%d = %s_teams(%s_lanes(a%d));", number, type, type, number);
    }
    text_open(&printer->text, "if (thread == 0)");
    cuda_print_items(printer, nest->bodies[BODY_FINISH]);
    text_close(&printer->text);
}

/* The order of the parts counts for some reductions: these are merged by every thread alike, the others by all. */
static void merge_parts(struct printer *printer, int number)
{
    const struct reduction *reduction = cuda_reduction(printer, number);
    const char *type = print_accumulator(printer, reduction);
    long long parts = printer->task->parts;
    if (reduction_ordered(reduction->node)) {
        text_line(&printer->text, "%s a%d = %s;", type, number,
                  parts ? arena_printf(printer->arena, "t%d[0]", number)
                        : arena_printf(printer->arena, "%s_start()", type));
        open_merging(printer, "1", parts, 1);
    } else {
        text_line(&printer->text, "%s a%d = %s_start();", type, number, type);
        open_merging(printer, "thread", parts, CUDA_THREADS);
    }
    text_line(&printer->text, "a%d = %s_merge(a%d, t%d[part]);", number, type, number, number);
    text_close(&printer->text);
    if (!reduction_ordered(reduction->node))
        text_line(&printer->text, "a%d = %s_teams(%s_lanes(a%d));", number, type, type, number);
}

void cuda_print_total(struct printer *printer)
{
    const struct loop_nest *nest = printer->nest;
    cuda_declare_results(printer, REDUCTION_FULL);
    for (ptrdiff_t i = 0; i < arrlen(nest->totals); i++)
        if (cuda_reduction(printer, nest->totals[i])->kind == REDUCTION_FULL)
            merge_parts(printer, nest->totals[i]);
    text_open(&printer->text, "if (thread == 0)");
    cuda_print_items(printer, nest->bodies[BODY_TOTAL]);
    text_close(&printer->text);
}
