/* A program as text for people: what it holds and what each entry does, step by step. */
#include "runtime/program.h"

#include <stdio.h>
#include <stdlib.h>

static void put_tensor(FILE *out, const struct program_tensor *tensor)
{
    bool permuted = false;
    fprintf(out, "%s[", program_element_name(tensor->element));
    for (int i = 0; i < tensor->rank; i++) {
        fprintf(out, "%s%lld", i ? ", " : "", (long long)tensor->dimension[i]);
        permuted |= tensor->order[i] != i;
    }
    fputc(']', out);
    for (int i = 0; permuted && i < tensor->rank; i++)
        fprintf(out, "%s%d", i ? "," : " order ", tensor->order[i]);
    if (tensor->storage != tensor->element)
        fprintf(out, " as %s", program_element_name(tensor->storage));
}

static void put_place(FILE *out, const struct program_entry *entry, const struct program_place *place)
{
    static const char *const spaces[] = {"state", "scratch"};
    if (place->space == PROGRAM_INPUT)
        fprintf(out, "%s", entry->inputs[place->input].name);
    else
        fprintf(out, "%s", spaces[place->space]);
    if (place->space != PROGRAM_INPUT || place->offset)
        fprintf(out, "+%llu", (unsigned long long)place->offset);
}

static void put_matmul(FILE *out, const struct program_matmul *matmul)
{
    fprintf(out, "matmul %lldx[%lld, %lld] @ [%lld, %lld] %s%s -> %s", (long long)matmul->batch, (long long)matmul->m,
            (long long)matmul->k, (long long)matmul->k, (long long)matmul->n, program_element_name(matmul->a),
            matmul->a_stride[1] == 1 && matmul->a_stride[2] != 1 ? " (a transposed)" : "",
            program_element_name(matmul->d));
}

static void put_conv(FILE *out, const struct program_conv *conv)
{
    static const char *const kinds[] = {"conv", "conv_data", "conv_weight"};
    fprintf(out, "%s n %lld c %lld o %lld groups %lld", kinds[conv->kind], (long long)conv->n, (long long)conv->c,
            (long long)conv->o, (long long)conv->groups);
    for (int i = 0; i < conv->spatial; i++)
        fprintf(out, "%s%lld/%lld>%lld", i ? ", " : " ", (long long)conv->x[i], (long long)conv->kernel[i],
                (long long)conv->y[i]);
    fprintf(out, " %s", program_element_name(conv->x_element));
}

static void put_epilogue(FILE *out, unsigned epilogue)
{
    if (epilogue & PROGRAM_EPILOGUE_BIAS)
        fputs(" +bias", out);
    if (epilogue & PROGRAM_EPILOGUE_RELU)
        fputs(" +relu", out);
    if (epilogue & PROGRAM_EPILOGUE_ADD)
        fputs(" +add", out);
    if (epilogue & PROGRAM_EPILOGUE_SUM)
        fputs(" +sum", out);
    if (epilogue & PROGRAM_EPILOGUE_M2)
        fputs(" +m2", out);
    if (epilogue & PROGRAM_EPILOGUE_GELU)
        fputs(" +gelu", out);
}

static void put_kernel(FILE *out, const struct program_kernel *kernel, int64_t blocks)
{
    fprintf(out, "kernel %s", kernel->name);
    if (kernel->threads)
        fprintf(out, " <%lld x %d%s>", (long long)(blocks ? blocks : kernel->blocks), kernel->threads,
                kernel->cooperative ? ", cooperative" : "");
}

static void put_work(FILE *out, const struct program *program, const struct program_step *step)
{
    switch (step->kind) {
    case PROGRAM_KERNEL:
        put_kernel(out, &program->kernels[step->kernel], step->blocks);
        break;
    case PROGRAM_MATMUL_STEP:
        put_matmul(out, &step->matmul);
        put_epilogue(out, step->matmul.epilogue);
        break;
    case PROGRAM_CONV_STEP:
        put_conv(out, &step->conv);
        put_epilogue(out, step->conv.epilogue);
        break;
    default:
        fprintf(out, "copy %llu bytes", (unsigned long long)step->copy_bytes);
    }
}

static void put_step(FILE *out, const struct program *program, const struct program_entry *entry, int number)
{
    const struct program_step *step = &entry->steps[number];
    fprintf(out, "  %3d %-24s ", number, step->name);
    put_work(out, program, step);
    fputs(" (", out);
    for (int i = 0; i < step->buffer_count; i++) {
        fputs(i ? ", " : "", out);
        put_place(out, entry, &step->buffers[i]);
    }
    for (int i = 0; i < step->integer_count; i++)
        fprintf(out, "%s%lld", i ? ", " : "; ", (long long)step->integers[i]);
    fprintf(out, ") %llu bytes, %llu flops", (unsigned long long)step->bytes, (unsigned long long)step->flops);
    if (step->workspace)
        fprintf(out, ", %llu bytes of workspace", (unsigned long long)step->workspace);
    if (step->file)
        fprintf(out, "  # %s:%d:%d", step->file, step->line, step->column);
    fputc('\n', out);
}

static void put_entry(FILE *out, const struct program *program, const struct program_entry *entry)
{
    static const char *const kinds[] = {"value", "loss", "metric", "numerator", "denominator", "watch", "log", "total"};
    fprintf(out, "\nentry %s: batch %lld, %llu bytes of scratch, %d steps\n", entry->name, (long long)entry->batch,
            (unsigned long long)entry->scratch_bytes, entry->step_count);
    for (int i = 0; i < entry->input_count; i++) {
        fprintf(out, "  input %s: ", entry->inputs[i].name);
        put_tensor(out, &entry->inputs[i].tensor);
        fputc('\n', out);
    }
    for (int i = 0; i < entry->step_count; i++) {
        const struct program_strip *strip = program_find_strip(entry, i);
        if (strip && strip->first == i)
            fprintf(out, "      steps %d to %d by strips of %lld out of %lld examples:\n", i, i + strip->count - 1,
                    (long long)strip->size, (long long)strip->items);
        put_step(out, program, entry, i);
    }
    for (int i = 0; i < entry->output_count; i++) {
        fprintf(out, "  %s %s: ", kinds[entry->outputs[i].kind], entry->outputs[i].name);
        put_tensor(out, &entry->outputs[i].tensor);
        fputs(" at ", out);
        put_place(out, entry, &entry->outputs[i].place);
        fputc('\n', out);
    }
}

char *program_text(const struct program *program)
{
    static const char *const kinds[] = {"parameter", "state", "optimizer", "copy", "host"};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "program %s for %s: %d kernels, %llu bytes of state", program->name, program->target,
            program->kernel_count, (unsigned long long)program->state_bytes);
    if (program->accumulate > 1)
        fprintf(out, ", %d micro-batches a step", program->accumulate);
    fputs(program->scaled ? ", scaled\n" : "\n", out);
    for (int i = 0; i < program->variable_count; i++) {
        const struct program_variable *variable = &program->variables[i];
        fprintf(out, "  %s %s: ", kinds[variable->kind], variable->name);
        put_tensor(out, &variable->tensor);
        fprintf(out, " at %llu\n", (unsigned long long)variable->offset);
    }
    for (int i = 0; i < program->entry_count; i++)
        put_entry(out, program, &program->entries[i]);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
