/* Prints a lowered kernel as CUDA C for NVRTC: the same nests as the host's, laid out by cuda_plan.h.
 *
 *   stage 0: uniform values of the whole kernel, then blocks of all its tasks, in strides of the grid
 *   grid_wait, stage 1, …
 *   if (grid_last) the stages that are little work, by the block that comes last */
#include "codegen/print_cuda.h"

#include <stb/stb_ds.h>

enum {
    LOADS_AT_ONCE = 16,
    CONSTANT_ENTRIES = 4096 /* of tables: a module has room for 64 KiB of constants */
};

static void print_buffers(struct printer *printer)
{
    const struct lowered *lowered = printer->lowered;
    int parameter = 0;
    char type[TYPE_TEXT];
    for (int i = 0; i < arrlen(lowered->buffers); i++) {
        const struct kernel_buffer *buffer = &lowered->buffers[i];
        if (!buffer->scratch && printer->plan->named[i])
            text_line(&printer->text, "char *const %s = given.buffer[%d]; /* %s */", print_buffer_name(printer, i),
                      parameter, type_format(&buffer->node->type, type, sizeof type));
        parameter += !buffer->scratch;
    }
    if (printer->plan->workspace)
        text_line(&printer->text, "char *const workspace = given.buffer[%d];", parameter);
    for (int i = 0; i < arrlen(lowered->buffers); i++)
        if (lowered->buffers[i].scratch && printer->plan->named[i])
            text_line(&printer->text, "char *const %s = workspace + %llu;", print_buffer_name(printer, i),
                      (unsigned long long)lowered->buffers[i].offset);
}

static int parameter_count(const struct lowered *lowered, const struct cuda_plan *plan)
{
    return cuda_parameter(lowered, (int)arrlen(lowered->buffers)) + (plan->workspace > 0);
}

/* The kernel's own values that this stage is the first to need. Past a barrier no load is moved ahead: without, the
 * assembler has so many in flight that it spills. */
static void print_kernel_items(struct printer *printer, int stage)
{
    int loads = 0;
    for (ptrdiff_t i = 0; i < arrlen(printer->lowered->items); i++) {
        const struct item *item = &printer->lowered->items[i];
        if (item->kind == ITEM_INDEX && stage == 0)
            cuda_print_index(printer, item->number);
        if (item->kind != ITEM_VALUE || printer->plan->value_stage[item->number] != stage)
            continue;
        cuda_print_value(printer, item->number);
        loads += printer->lowered->values[item->number].kind == VALUE_LOAD;
        if (printer->lowered->values[item->number].kind == VALUE_LOAD && loads % LOADS_AT_ONCE == 0)
            text_line(&printer->text, "__syncthreads();");
    }
}

/* Which of the group's tasks the block `next` is one of, and which of its blocks. */
static void print_turn(struct printer *printer, const struct cuda_group *group, int64_t first, int64_t blocks)
{
    int begin = cuda_find_pick(group->picks, PICK_FIRST, 0);
    text_line(&printer->text, "/* %d in turns */", group->members);
    text_line(&printer->text, "const unsigned place = next - %lld;", (long long)first);
    if (begin >= 0)
        text_line(&printer->text, "const auto &at = places%d[turn_of(places%d, %d, place)];", group->leader,
                  group->leader, begin);
    else if (arrlen(group->picks))
        text_line(&printer->text, "const auto &at = places%d[place / %lldu];", group->leader, (long long)blocks);
    if (begin >= 0)
        text_line(&printer->text, "const int block = place - at[%d];", begin);
    else
        text_line(&printer->text, "const int block = place %% %lldu;", (long long)blocks);
}

/* Tasks that are alike: what is not the same in all of them. */
static void open_group(struct printer *printer, const struct cuda_group *group, int64_t first, int64_t blocks)
{
    print_turn(printer, group, first, blocks);
    printer->picks = group->picks;
    for (int i = 0; i < arrlen(group->picks); i++) {
        const struct cuda_pick *pick = &group->picks[i];
        if (pick->kind == PICK_CONSTANT)
            text_line(&printer->text, "const float %s = __uint_as_float((unsigned)at[%d]);",
                      print_value_name(printer, pick->number), i);
        if (pick->kind != PICK_BUFFER)
            continue;
        const struct kernel_buffer *buffer = &printer->lowered->buffers[pick->number];
        char type[TYPE_TEXT];
        text_line(&printer->text,
                  buffer->scratch ? "char *const %s = workspace + at[%d]; /* %s */"
                                  : "char *const %s = given.buffer[at[%d]]; /* %s */",
                  print_buffer_name(printer, pick->number), i, type_format(&buffer->node->type, type, sizeof type));
    }
}

/* A task, and all that are alike. */
static void print_task(struct printer *printer, const struct cuda_task *task, int64_t first, int64_t end, bool joint)
{
    const struct cuda_group *group = cuda_group_of(printer->plan, task);
    text_open(&printer->text, joint ? "for (; next < %lld; next += gridDim.x)" : "for (; next < %lld; next++)",
              (long long)end);
    if (group)
        open_group(printer, group, first, task->blocks);
    else
        text_line(&printer->text, first ? "const int block = next - %lld;" : "const int block = next;",
                  (long long)first);
    cuda_print_task(printer, task);
    printer->picks = NULL;
    text_close(&printer->text);
}

/* The tasks of a stage one after the other, those first that keep values or take them: of each of these, block b of the
 * grid does block b. `next` numbers the blocks of the last of them and all others, and each task counts `block` from
 * its own first one. A loop a task, so that the compiler holds the addresses of no other in registers. */
static void print_stage(struct printer *printer, int stage, bool joint)
{
    const struct cuda_plan *plan = printer->plan;
    int64_t first = 0;
    print_kernel_items(printer, stage);
    text_open_block(&printer->text);
    text_line(&printer->text, joint ? "int next = blockIdx.x;" : "int next = 0;");
    const ptrdiff_t count = arrlen(plan->tasks);
    for (ptrdiff_t i = 0; i < 2 * count; i++) {
        const struct cuda_task *task = &plan->tasks[i < count ? i : i - count];
        const struct cuda_group *group = cuda_group_of(plan, task);
        bool leads = task->keeps || task->again;
        if (task->stage != stage || !task->blocks || leads != (i < count) ||
            (group && &plan->tasks[group->leader] != task))
            continue;
        if (leads && first) {
            text_line(&printer->text, joint ? "next = blockIdx.x;" : "next = 0;");
            first = 0;
        }
        int64_t end = first + (group ? group->blocks : task->blocks);
        print_task(printer, task, first, end, joint);
        first = end;
    }
    text_close(&printer->text);
}

/* "places5": by member and pick of the group that task 5 leads. */
static void print_tables(struct printer *printer)
{
    const struct cuda_plan *plan = printer->plan;
    ptrdiff_t entries = 0;
    for (ptrdiff_t i = 0; i < arrlen(plan->groups); i++)
        entries += plan->groups[i].members * arrlen(plan->groups[i].picks);
    for (ptrdiff_t i = 0; i < arrlen(plan->groups); i++) {
        const struct cuda_group *group = &plan->groups[i];
        if (group->members == 1 || !arrlen(group->picks))
            continue;
        text_line(&printer->text, "static %s const unsigned%s places%d[%d][%d] = {",
                  entries <= CONSTANT_ENTRIES ? "__constant__" : "__device__",
                  plan->workspace > UINT32_MAX ? " long long" : "", group->leader, group->members,
                  (int)arrlen(group->picks));
        for (int member = 0; member < group->members; member++) {
            const char *row = "";
            for (ptrdiff_t k = 0; k < arrlen(group->picks); k++)
                row = arena_printf(printer->arena, "%s%s%lld", row, k ? ", " : "",
                                   (long long)group->picks[k].places[member]);
            text_line(&printer->text, "    {%s}%s", row, member + 1 < group->members ? "," : "};");
        }
    }
}

/* Shared memory through which blocks merge their parts of columns, one reduction after the other. */
static int64_t merging_bytes(const struct printer *printer)
{
    const struct lowered *lowered = printer->lowered;
    int64_t most = 0;
    for (ptrdiff_t i = 0; i < arrlen(printer->plan->tasks); i++) {
        const struct cuda_task *task = &printer->plan->tasks[i];
        const int *totals = lowered->nests[task->nest].totals;
        for (ptrdiff_t k = 0; k < arrlen(totals) && task->merges > 1; k++) {
            const struct reduction *reduction = &lowered->reductions[totals[k]];
            int64_t bytes = CUDA_THREADS * cuda_accumulator_bytes(reduction);
            most = reduction->kind == REDUCTION_COLUMN && bytes > most ? bytes : most;
        }
    }
    return most;
}

static void print_stages(struct printer *printer)
{
    const struct cuda_plan *plan = printer->plan;
    long long merging = merging_bytes(printer);
    if (merging)
        text_line(&printer->text, "__shared__ alignas(16) char merging[%lld];", merging);
    for (ptrdiff_t i = 0; i < arrlen(plan->kept); i++)
        if (plan->kept[i].slot == plan->kept[i].to)
            text_line(&printer->text, "__shared__ alignas(16) char again%d[%lld];", plan->kept[i].to,
                      (long long)plan->kept[i].bytes);
    print_tables(printer);
    if (plan->joint && plan->stages > 1)
        text_line(&printer->text, "static __device__ unsigned grid[2];");
    for (int stage = 0; stage < plan->joint; stage++) {
        if (stage)
            text_line(&printer->text, "grid_wait(grid);");
        print_stage(printer, stage, true);
    }
    if (plan->joint == plan->stages)
        return;
    if (plan->joint)
        text_open(&printer->text, "if (grid_last(grid))");
    for (int stage = plan->joint; stage < plan->stages; stage++) {
        if (stage > plan->joint)
            text_line(&printer->text, "__syncthreads();");
        print_stage(printer, stage, false);
    }
    if (plan->joint)
        text_close(&printer->text);
}

struct cuda_kernel print_cuda(const struct lowered *lowered, struct arena *arena)
{
    struct cuda_plan plan = cuda_plan_make(lowered);
    struct printer printer = {.lowered = lowered, .arena = arena, .scalar = true, .plan = &plan};
    text_line(&printer.text, "(const __grid_constant__ arguments<%d, %d> given)", parameter_count(lowered, &plan),
              (int)arrlen(lowered->integers));
    text_open_block(&printer.text);
    text_line(&printer.text, "const int thread = threadIdx.x, team = thread / LANES, lane = thread %% LANES;");
    print_buffers(&printer);
    print_stages(&printer);
    text_close(&printer.text);
    struct cuda_kernel kernel = {.body = text_finish(&printer.text, arena),
                                 .threads = CUDA_THREADS,
                                 .blocks = plan.blocks,
                                 .cooperative = plan.joint > 1,
                                 .workspace = plan.workspace,
                                 .residents = plan.residents ? plan.residents : 1,
                                 .spared = plan.spared};
    cuda_plan_free(&plan);
    return kernel;
}
