/* Names of PTX: interning, scopes, and labels that are used before they stand. */
#include "runtime/sim/ptx_reader.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

const char *ptx_intern(struct ptx_reader *reader, const char *text, size_t length)
{
    char small[256], *copy = length < sizeof small ? small : malloc(length + 1);
    if (!copy) {
        ptx_fail(reader, "out of memory");
        return "";
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    ptrdiff_t at = shgeti(reader->ptx->names, copy);
    if (at < 0) {
        shput(reader->ptx->names, copy, true);
        at = shgeti(reader->ptx->names, copy);
    }
    if (copy != small)
        free(copy);
    return reader->ptx->names[at].key;
}

static int depth(const struct ptx_reader *reader)
{
    return (int)arrlen(reader->scopes);
}

bool ptx_scope_open(struct ptx_reader *reader)
{
    if (depth(reader) >= PTX_DEPTH_MAX)
        return ptx_fail(reader, "nested too deeply");
    arrput(reader->scopes, NULL);
    arrput(reader->forwards, NULL);
    return true;
}

/* A label that two scopes used before it stood has a number for each, of which one stands for the other: the number of
 * the other, counted down from -2, is its place until the kernel ends. */
static void set_alias(struct ptx_reader *reader, uint32_t label, uint32_t other)
{
    reader->kernel.labels[label] = -2 - (int64_t)other;
}

void ptx_resolve_labels(struct ptx_reader *reader)
{
    int64_t *labels = reader->kernel.labels;
    for (ptrdiff_t i = 0; i < arrlen(labels); i++)
        while (labels[i] < -1)
            labels[i] = labels[-2 - labels[i]];
}

static bool missing_label(struct ptx_reader *reader, const struct ptx_forward *forwards)
{
    const struct ptx_forward *first = &forwards[0];
    for (ptrdiff_t i = 1; i < hmlen(forwards); i++)
        first = forwards[i].line < first->line ? &forwards[i] : first;
    reader->line = first->line;
    return ptx_fail(reader, "'%s' is declared nowhere", first->key);
}

/* Labels that did not come in this scope may come in the one around it; in a kernel's own scope they are missing. */
bool ptx_scope_close(struct ptx_reader *reader)
{
    enum { DEPTH_OF_KERNEL = 2 };
    struct ptx_forward *inner = arrpop(reader->forwards);
    bool outermost = depth(reader) == DEPTH_OF_KERNEL, good = true;
    if (outermost && hmlen(inner) && !reader->in_function)
        good = missing_label(reader, inner);
    for (ptrdiff_t i = 0; !outermost && i < hmlen(inner); i++) {
        struct ptx_forward *outer = arrlast(reader->forwards);
        ptrdiff_t known = hmgeti(outer, inner[i].key);
        if (known >= 0)
            set_alias(reader, inner[i].label, outer[known].label);
        else
            hmputs(outer, inner[i]);
        arrlast(reader->forwards) = outer;
    }
    hmfree(inner);
    shfree(arrlast(reader->scopes));
    arrsetlen(reader->scopes, arrlenu(reader->scopes) - 1);
    return good;
}

/* Declares a name in the innermost scope; registers may be declared again there only by an error. */
static bool declare(struct ptx_reader *reader, const char *name, enum ptx_value_kind kind, uint32_t index,
                    int64_t count)
{
    struct ptx_symbol *scope = arrlast(reader->scopes);
    if (shgeti(scope, name) >= 0)
        return ptx_fail(reader, "'%s' is declared twice", name);
    struct ptx_symbol symbol = {.key = (char *)name, .kind = kind, .index = index, .count = count};
    shputs(scope, symbol);
    arrlast(reader->scopes) = scope;
    return true;
}

static bool read_index(const char *digits, int64_t *value)
{
    if (!*digits || (digits[0] == '0' && digits[1]) || strlen(digits) > 9)
        return false;
    *value = strtol(digits, NULL, 10);
    return true;
}

/* The symbol a name means in one scope: itself, or a range of registers that it counts into. */
static bool find_in(struct ptx_symbol *scope, const char *name, struct ptx_value *value)
{
    if (!scope) /* looking into an empty map would make one */
        return false;
    const struct ptx_symbol *symbol = shgetp_null(scope, name);
    if (symbol && symbol->count < 0) {
        value->kind = symbol->kind;
        value->index = symbol->index;
        return true;
    }
    size_t stem = strlen(name);
    while (stem && name[stem - 1] >= '0' && name[stem - 1] <= '9')
        stem--;
    for (; name[stem]; stem++) { /* %r1<20> would take in %r112 */
        char prefix[256];
        int64_t number;
        if (stem >= sizeof prefix)
            return false;
        memcpy(prefix, name, stem);
        prefix[stem] = '\0';
        symbol = shgetp_null(scope, prefix);
        if (symbol && symbol->count >= 0 && read_index(name + stem, &number) && number < symbol->count) {
            value->kind = PTX_REGISTER;
            value->index = symbol->index + (uint32_t)number;
            return true;
        }
    }
    return false;
}

static bool find(struct ptx_reader *reader, const char *name, struct ptx_value *value)
{
    for (ptrdiff_t i = arrlen(reader->scopes); i-- > 0;)
        if (find_in(reader->scopes[i], name, value))
            return true;
    return false;
}

/* A label's index by a name that nothing has declared so far. */
static uint32_t forward_label(struct ptx_reader *reader, const char *name)
{
    struct ptx_forward *forwards = arrlast(reader->forwards);
    ptrdiff_t known = hmgeti(forwards, name);
    uint32_t label = known >= 0 ? forwards[known].label : (uint32_t)arrlen(reader->kernel.labels);
    if (known < 0) {
        struct ptx_forward forward = {name, label, reader->line};
        arrput(reader->kernel.labels, -1);
        hmputs(forwards, forward);
    }
    arrlast(reader->forwards) = forwards; /* looking into it may have made it */
    return label;
}

bool ptx_name(struct ptx_reader *reader, const char *name, struct ptx_value *value)
{
    *value = (struct ptx_value){.name = name};
    if (find(reader, name, value))
        return true;
    if (strcmp(name, "_") == 0) {
        value->kind = PTX_SINK;
        return true;
    }
    if (strcmp(name, "WARP_SZ") == 0) {
        *value = (struct ptx_value){.kind = PTX_IMMEDIATE, .bits = 32, .name = name};
        return true;
    }
    if (name[0] == '%') { /* whether it is a special register, decode.c decides */
        value->kind = PTX_SPECIAL;
        return true;
    }
    value->kind = PTX_LABEL;
    value->index = forward_label(reader, name);
    return true;
}

bool ptx_label(struct ptx_reader *reader, const char *name)
{
    int64_t here = arrlen(reader->kernel.code);
    struct ptx_forward *forwards = arrlast(reader->forwards);
    ptrdiff_t used = hmgeti(forwards, name);
    uint32_t label = used >= 0 ? forwards[used].label : (uint32_t)arrlen(reader->kernel.labels);
    if (used < 0) {
        arrput(reader->kernel.labels, here);
    } else {
        reader->kernel.labels[label] = here;
        (void)hmdel(forwards, name);
    }
    arrlast(reader->forwards) = forwards;
    return declare(reader, name, PTX_LABEL, label, -1);
}

bool ptx_registers(struct ptx_reader *reader, const char *name, int64_t count)
{
    if (count < -1 || count > PTX_REGISTERS_MAX ||
        arrlen(reader->kernel.registers) + (count < 0 ? 1 : count) > PTX_REGISTERS_MAX)
        return ptx_fail(reader, "too many registers");
    if (!declare(reader, name, PTX_REGISTER, (uint32_t)arrlen(reader->kernel.registers), count))
        return false;
    struct ptx_register made = {name, reader->type};
    for (int64_t i = 0; i < (count < 0 ? 1 : count); i++)
        arrput(reader->kernel.registers, made);
    return true;
}

bool ptx_parameter(struct ptx_reader *reader, const char *name, int64_t elements)
{
    int64_t size = reader->type.bits / 8, bytes = size * (elements ? elements : 1);
    if (elements < 0 || elements > PTX_BYTES_MAX / 16)
        return ptx_fail(reader, "parameter '%s' has no size", name);
    struct ptx_variable parameter = {.name = name, .space = PTX_PARAM, .bytes = bytes, .line = reader->line};
    parameter.align = reader->align > size ? reader->align : size ? size : 1;
    uint32_t index = (uint32_t)arrlen(reader->kernel.parameters);
    arrput(reader->kernel.parameters, parameter);
    return declare(reader, name, PTX_VARIABLE, index | (1U << 31), -1);
}

bool ptx_variable_begin(struct ptx_reader *reader, const char *name, int64_t elements)
{
    int64_t size = reader->type.bits / 8;
    if (!size || elements > PTX_BYTES_MAX / 16)
        return ptx_fail(reader, "variable '%s' has no size", name);
    bool open = elements < 0 && reader->external && reader->space == PTX_SHARED;
    if (elements < 0 && !open)
        return ptx_fail(reader, "variable '%s' has no size", name);
    reader->variable = (struct ptx_variable){.name = name, .space = reader->space, .line = reader->line};
    reader->variable.bytes = open ? 0 : size * (elements ? elements : 1);
    reader->variable.align = reader->align > size ? reader->align : size;
    reader->variable.external = reader->external;
    reader->initialised = 0;
    if (reader->variable.align & (reader->variable.align - 1) || reader->variable.align > 1 << 16)
        return ptx_fail(reader, "variable '%s' cannot be aligned to %lld", name, (long long)reader->variable.align);
    return declare(reader, name, PTX_VARIABLE, (uint32_t)arrlen(reader->ptx->variables), -1);
}

bool ptx_variable_end(struct ptx_reader *reader)
{
    arrput(reader->ptx->variables, reader->variable);
    reader->variable = (struct ptx_variable){0};
    return true;
}
