/* Reading PTX: the module as a whole. ptx_names.c knows scopes, ptx_reader.c declarations and instructions. */
#include "runtime/sim/ptx_reader.h"

#include "ptx.parser.h"

#define YYSTYPE PTX_YYSTYPE
#include "ptx.lexer.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static void free_variables(struct ptx_variable *variables)
{
    for (ptrdiff_t i = 0; i < arrlen(variables); i++) {
        arrfree(variables[i].initial);
        arrfree(variables[i].relocations);
    }
    arrfree(variables);
}

static void free_kernel(struct ptx_kernel *kernel)
{
    arrfree(kernel->registers);
    free_variables(kernel->parameters);
    arrfree(kernel->code);
    arrfree(kernel->labels);
}

void ptx_free(struct ptx *ptx)
{
    if (!ptx)
        return;
    for (ptrdiff_t i = 0; i < arrlen(ptx->kernels); i++)
        free_kernel(&ptx->kernels[i]);
    arrfree(ptx->kernels);
    free_variables(ptx->variables);
    arrfree(ptx->files);
    for (ptrdiff_t i = 0; i < arrlen(ptx->blocks); i++)
        free(ptx->blocks[i]);
    arrfree(ptx->blocks);
    shfree(ptx->names);
    free(ptx);
}

static void reader_free(struct ptx_reader *reader)
{
    for (ptrdiff_t i = 0; i < arrlen(reader->scopes); i++)
        shfree(reader->scopes[i]);
    arrfree(reader->scopes);
    for (ptrdiff_t i = 0; i < arrlen(reader->forwards); i++)
        hmfree(reader->forwards[i]);
    arrfree(reader->forwards);
    free_kernel(&reader->kernel);
    arrfree(reader->variable.initial);
    arrfree(reader->variable.relocations);
}

static bool parse(struct ptx_reader *reader, const char *text)
{
    void *scanner;
    if (ptx_yylex_init_extra(reader, &scanner))
        return error_set(reader->error, "PTX: out of memory");
    YY_BUFFER_STATE buffer = ptx_yy_scan_string(text, scanner);
    ptx_yyset_lineno(1, scanner);
    int status = ptx_yyparse(scanner, reader);
    ptx_yy_delete_buffer(buffer, scanner);
    ptx_yylex_destroy(scanner);
    if (status == 2)
        ptx_fail(reader, "nested too deeply");
    return status == 0 && !reader->error->code;
}

struct ptx *ptx_read(const char *text, struct error *error)
{
    struct ptx *ptx = calloc(1, sizeof *ptx);
    if (!ptx) {
        error_set(error, "PTX: out of memory");
        return NULL;
    }
    sh_new_arena(ptx->names);
    struct ptx_reader reader = {.ptx = ptx, .error = error, .line = 1};
    bool good = ptx_scope_open(&reader) && parse(&reader, text);
    reader_free(&reader);
    if (good && !ptx->version)
        good = error_set(error, "PTX: no .version stands in the text");
    if (good)
        return ptx;
    ptx_free(ptx);
    return NULL;
}

const char *ptx_file_name(const struct ptx *ptx, int number)
{
    for (ptrdiff_t i = 0; i < arrlen(ptx->files); i++)
        if (ptx->files[i].number == number)
            return ptx->files[i].name;
    return NULL;
}

bool ptx_fail(struct ptx_reader *reader, const char *format, ...)
{
    char text[ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(reader->error, "PTX line %d: %s", reader->line, text);
}

void ptx_version(struct ptx_reader *reader, const struct ptx_value *number)
{
    double version;
    memcpy(&version, &number->bits, sizeof version);
    reader->ptx->version = number->real64 && version < 1000 ? (int)(version * 10 + 0.5) : 1;
}

void ptx_target(struct ptx_reader *reader, const char *name)
{
    reader->ptx->target = strncmp(name, "sm_", 3) == 0 ? (int)strtol(name + 3, NULL, 10) : 0;
}

void ptx_file_add(struct ptx_reader *reader, int number, const char *name)
{
    struct ptx_file file = {number, name};
    arrput(reader->ptx->files, file);
}
