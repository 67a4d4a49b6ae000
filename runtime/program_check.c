/* Whether a program is sound: every index and every place within bounds. It is asked of programs read from files and
 * before a program runs, so that damaged bytes or a bug of the compiler never become a stray access. */
#include "runtime/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct checker {
    const struct program *program;
    const struct program_entry *entry; /* NULL outside entries */
    const char *where;                 /* name of the step, output or variable now looked at */
    char *problem;
    size_t problem_size;
};

static bool wrong(const struct checker *checker, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(const struct checker *checker, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(checker->problem, checker->problem_size, "%s%s%s: %s", checker->entry ? checker->entry->name : "",
             checker->entry ? "/" : "", checker->where ? checker->where : "?", text);
    return false;
}

static bool check_tensor(const struct checker *checker, const struct program_tensor *tensor)
{
    if (tensor->element <= PROGRAM_NONE || tensor->element > PROGRAM_BOOL || tensor->storage <= PROGRAM_NONE ||
        tensor->storage > PROGRAM_BOOL)
        return wrong(checker, "unknown element type");
    if (tensor->rank < 0 || tensor->rank > PROGRAM_RANK)
        return wrong(checker, "rank %d", tensor->rank);
    uint64_t bytes = program_element_bytes(tensor->storage);
    unsigned seen = 0;
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->dimension[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)tensor->dimension[i], &bytes) ||
            bytes > INT64_MAX)
            return wrong(checker, "a dimension is negative or the tensor too large");
        if (tensor->order[i] >= tensor->rank || seen >> tensor->order[i] & 1)
            return wrong(checker, "the order of axes is no permutation");
        seen |= 1u << tensor->order[i];
    }
    return true;
}

/* `bytes` at the place must lie in its arena; inputs are checked against their tensor. */
static bool check_place(const struct checker *checker, const struct program_place *place, uint64_t bytes)
{
    uint64_t size = 0;
    switch (place->space) {
    case PROGRAM_STATE:
        size = checker->program->state_bytes;
        break;
    case PROGRAM_SCRATCH:
        size = checker->entry->scratch_bytes;
        break;
    case PROGRAM_INPUT:
        if (place->input >= (uint32_t)checker->entry->input_count)
            return wrong(checker, "input %u of %d", place->input, checker->entry->input_count);
        size = program_tensor_bytes(&checker->entry->inputs[place->input].tensor);
        break;
    default:
        return wrong(checker, "unknown space %d", (int)place->space);
    }
    if (bytes > size || place->offset > size - bytes)
        return wrong(checker, "a buffer lies outside its arena (offset %llu, %llu bytes, arena %llu)",
                     (unsigned long long)place->offset, (unsigned long long)bytes, (unsigned long long)size);
    return true;
}

static int buffers_needed(const struct program_step *step)
{
    unsigned epilogue = step->kind == PROGRAM_MATMUL_STEP ? step->matmul.epilogue
                        : step->kind == PROGRAM_CONV_STEP ? step->conv.epilogue
                                                          : 0;
    int extra = !!(epilogue & PROGRAM_EPILOGUE_BIAS) + !!(epilogue & PROGRAM_EPILOGUE_ADD) +
                !!(epilogue & PROGRAM_EPILOGUE_SUM) + !!(epilogue & PROGRAM_EPILOGUE_M2) +
                !!(epilogue & PROGRAM_EPILOGUE_GELU);
    switch (step->kind) {
    case PROGRAM_MATMUL_STEP:
    case PROGRAM_CONV_STEP:
        return 3 + extra;
    case PROGRAM_COPY_STEP:
        return 2;
    default:
        return 0;
    }
}

static bool check_step(const struct checker *checker, const struct program_step *step)
{
    if (step->kind > PROGRAM_COPY_STEP)
        return wrong(checker, "unknown kind of step");
    if (step->buffer_count < buffers_needed(step) || step->integer_count < 0)
        return wrong(checker, "%d buffers are too few", step->buffer_count);
    if (step->kind == PROGRAM_KERNEL && step->kernel >= (uint32_t)checker->program->kernel_count)
        return wrong(checker, "kernel %u of %d", step->kernel, checker->program->kernel_count);
    if (step->blocks &&
        (step->blocks < 0 || step->kind != PROGRAM_KERNEL || !checker->program->kernels[step->kernel].threads))
        return wrong(checker, "%lld blocks of its own", (long long)step->blocks);
    uint64_t bytes = step->kind == PROGRAM_COPY_STEP ? step->copy_bytes : 0;
    for (int i = 0; i < step->buffer_count; i++)
        if (!check_place(checker, &step->buffers[i], bytes))
            return false;
    return true;
}

static bool check_strip(const struct checker *checker, const struct program_strip *strip)
{
    const struct program_entry *entry = checker->entry;
    if (strip->first < 0 || strip->count < 1 || strip->first > entry->step_count ||
        strip->count > entry->step_count - strip->first)
        return wrong(checker, "a strip of steps that are not there");
    if (strip->size < 1 || strip->items < strip->size || strip->items % strip->size)
        return wrong(checker, "strips of %lld out of %lld examples", (long long)strip->size, (long long)strip->items);
    for (int i = 0; i < strip->count; i++) {
        const struct program_step *step = &entry->steps[strip->first + i];
        if (step->kind != PROGRAM_KERNEL && (step->kind != PROGRAM_CONV_STEP || step->conv.n != strip->items))
            return wrong(checker, "step %s can not run by strips", step->name);
    }
    return true;
}

static bool check_entry(struct checker *checker, const struct program_entry *entry)
{
    checker->entry = entry;
    for (int i = 0; i < entry->input_count; i++) {
        checker->where = entry->inputs[i].name;
        if (!check_tensor(checker, &entry->inputs[i].tensor))
            return false;
    }
    for (int i = 0; i < entry->output_count; i++) {
        const struct program_output *output = &entry->outputs[i];
        checker->where = output->name;
        if (output->kind > PROGRAM_TOTAL || !check_tensor(checker, &output->tensor) ||
            !check_place(checker, &output->place, program_tensor_bytes(&output->tensor)))
            return output->kind > PROGRAM_TOTAL ? wrong(checker, "unknown kind of output") : false;
    }
    for (int i = 0; i < entry->step_count; i++) {
        checker->where = entry->steps[i].name;
        if (!check_step(checker, &entry->steps[i]))
            return false;
    }
    for (int i = 0, behind = 0; i < entry->strip_count; behind = entry->strips[i].first + entry->strips[i].count, i++) {
        checker->where = "strips";
        if (!check_strip(checker, &entry->strips[i]))
            return false;
        if (entry->strips[i].first < behind)
            return wrong(checker, "two strips share a step");
    }
    return true;
}

/* A kernel has a whole launch geometry or none at all. */
static bool check_kernel(const struct checker *checker, const struct program_kernel *kernel)
{
    bool launched = kernel->threads != 0;
    if (kernel->threads < 0 || kernel->threads > PROGRAM_THREADS)
        return wrong(checker, "%d threads a block", kernel->threads);
    if (launched ? kernel->blocks < 1 : kernel->blocks || kernel->shared_bytes || kernel->cooperative)
        return wrong(checker, "%lld blocks of %d threads", (long long)kernel->blocks, kernel->threads);
    return true;
}

bool program_check(const struct program *program, char *problem, size_t problem_size)
{
    struct checker checker = {.program = program, .problem = problem, .problem_size = problem_size};
    if (!program->alignment || program->alignment & (program->alignment - 1))
        return wrong(&checker, "the alignment is no power of two");
    if (program->accumulate < 1)
        return wrong(&checker, "accumulate is %d", program->accumulate);
    for (int i = 0; i < program->kernel_count; i++) {
        checker.where = program->kernels[i].name;
        if (!check_kernel(&checker, &program->kernels[i]))
            return false;
    }
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        struct program_place place = {.space = PROGRAM_STATE, .offset = variable->offset};
        checker.where = variable->name;
        if (variable->kind > PROGRAM_HOST)
            return wrong(&checker, "unknown kind of variable");
        if (!check_tensor(&checker, &variable->tensor) ||
            !check_place(&checker, &place, program_tensor_bytes(&variable->tensor)))
            return false;
    }
    for (int i = 0; i < program->entry_count; i++)
        if (!check_entry(&checker, &program->entries[i]))
            return false;
    return true;
}
