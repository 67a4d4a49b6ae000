/* Printing modules as text. Whatever has its default value is left out, so that small graphs stay readable. */
#include "ir/print.h"
#include "ir/attribute.h"

#include <ctype.h>
#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

char *format_double(double value, char buffer[DOUBLE_TEXT])
{
    if (isnan(value)) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (bits == 0x7ff8000000000000u)
            snprintf(buffer, DOUBLE_TEXT, "nan");
        else
            snprintf(buffer, DOUBLE_TEXT, "nan:0x%llx", (unsigned long long)bits);
        return buffer;
    }
    for (int digits = 1; digits <= 17; digits += digits == 1 ? 5 : digits == 6 ? 9 : 1) {
        snprintf(buffer, DOUBLE_TEXT, "%.*g", digits, value);
        if (strtod(buffer, NULL) == value)
            break;
    }
    return buffer;
}

static void print_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\t')
            fputs("\\t", out);
        else {
            if (*text == '"' || *text == '\\')
                fputc('\\', out);
            fputc(*text, out);
        }
    }
    fputc('"', out);
}

static bool is_word(const char *text)
{
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '_' && *text != '.')
            return false;
    return true;
}

/* A word where it is one, else a string. */
static void print_label(const char *text, FILE *out)
{
    if (is_word(text))
        fputs(text, out);
    else
        print_string(text, out);
}

/* ---- names ---- */

static const char *quoted(struct arena *arena, const char *text)
{
    char *buffer;
    size_t size;
    FILE *out = arena_stream(&buffer, &size);
    print_string(text, out);
    arena_stream_close(out);
    const char *copy = arena_intern(arena, buffer);
    free(buffer);
    return copy;
}

struct name_use {
    const char *key;
    int value;
};

const char **graph_node_names(const struct graph *graph, struct arena *arena)
{
    ptrdiff_t count = arrlen(graph->nodes);
    const char **names = ARENA_ARRAY(arena, const char *, count + 1);
    struct name_use *uses = NULL;
    for (ptrdiff_t i = 0; i < count; i++) {
        const struct node *node = graph->nodes[i];
        const char *base = !node->name           ? arena_printf(arena, "%u", node->origin)
                           : is_word(node->name) ? node->name
                                                 : quoted(arena, node->name);
        ptrdiff_t at = shgeti(uses, base);
        if (at < 0) {
            shput(uses, base, 1);
            names[i] = base;
        } else {
            names[i] = arena_printf(arena, "%s~%d", base, ++uses[at].value);
        }
    }
    shfree(uses);
    return names;
}

/* ---- attributes ---- */

static bool all_fallback(const struct attribute_field *field, const int64_t *numbers, int length)
{
    for (int i = 0; i < length; i++)
        if (numbers[i] != field->fallback)
            return false;
    return true;
}

static void print_list(const int64_t *numbers, int length, FILE *out)
{
    fputc('[', out);
    for (int i = 0; i < length; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)numbers[i]);
    fputc(']', out);
}

static void print_bits(uint32_t bits, FILE *out)
{
    int64_t numbers[32];
    int length = 0;
    for (int i = 0; i < 32; i++)
        if (bits >> i & 1)
            numbers[length++] = i;
    print_list(numbers, length, out);
}

static void print_permutation(const unsigned char *permutation, int length, FILE *out)
{
    int64_t numbers[RANK_MAX];
    for (int i = 0; i < length; i++)
        numbers[i] = permutation[i];
    print_list(numbers, length, out);
}

static void print_gate(int gate, FILE *out)
{
    if (gate == GATE_ALL)
        fputs("all", out);
    else
        fprintf(out, "%d", gate);
}

/* What the text leaves out because the parser fills it in. */
static bool is_omitted(const struct node *node, const struct attribute_field *field)
{
    const void *at = attribute_of(node->attributes, field);
    switch (field->form) {
    case FORM_FLAG:
        return !*(const bool *)at;
    case FORM_SIZES:
    case FORM_SPATIAL:
        return all_fallback(field, at, attribute_length(node, field));
    case FORM_COUNT:
        return *(const int64_t *)at == field->fallback;
    case FORM_GATE:
    case FORM_CLASSES:
        return *(const int *)at == 0; /* GATE_NEVER, no class */
    default:
        return false;
    }
}

static void print_attribute_value(const struct node *node, const struct attribute_field *field, FILE *out)
{
    const void *at = attribute_of(node->attributes, field);
    char buffer[DOUBLE_TEXT];
    switch (field->form) {
    case FORM_REAL:
        fputs(format_double(*(const double *)at, buffer), out);
        break;
    case FORM_AXES:
        print_bits(*(const uint32_t *)at, out);
        break;
    case FORM_AXIS:
    case FORM_INDEX:
    case FORM_CLASSES:
        fprintf(out, "%d", *(const int *)at);
        break;
    case FORM_PERMUTATION:
        print_permutation(at, attribute_length(node, field), out);
        break;
    case FORM_SIZES:
    case FORM_SPATIAL:
        print_list(at, attribute_length(node, field), out);
        break;
    case FORM_COUNT:
        fprintf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case FORM_SYMBOL:
        print_string(node->attributes->symbol ? node->attributes->symbol : "", out);
        break;
    case FORM_KIND:
        fputs(output_kind_name(node->attributes->output), out);
        break;
    case FORM_KEY:
        fprintf(out, "0x%llx", (unsigned long long)*(const uint64_t *)at);
        break;
    case FORM_GATE:
        print_gate(*(const int *)at, out);
        break;
    case FORM_FLAG: /* its name says all */
        break;
    }
}

static bool stands_bare(enum attribute_kind kind, int index)
{
    enum attribute_form form = attribute_field(kind, index)->form;
    return index == 0 && (form == FORM_REAL || form == FORM_INDEX || form == FORM_SYMBOL);
}

static void print_attributes(const struct node *node, const char *separator, FILE *out)
{
    enum attribute_kind kind = op_info(node->op)->attributes;
    for (int i = 0; i < attribute_field_count(kind); i++) {
        const struct attribute_field *field = attribute_field(kind, i);
        if (is_omitted(node, field))
            continue;
        fputs(separator, out);
        separator = ", ";
        if (!stands_bare(kind, i))
            fprintf(out, "%s%s", field->name, field->form == FORM_FLAG ? "" : "=");
        print_attribute_value(node, field, out);
    }
}

/* ---- nodes ---- */

static void print_span(struct span span, FILE *out)
{
    if (!span.line)
        return;
    fputs(" @", out);
    if (span.file) {
        print_string(span.file, out);
        fputc(':', out);
    }
    fprintf(out, "%d:%d-%d", span.line, span.column, span.end_column);
}

static void print_placement(const struct placement *placement, FILE *out)
{
    static const char *const spaces[] = {"none", "scratch", "state", "input"};
    if (placement->space == SPACE_NONE)
        return;
    fprintf(out, " at %s", spaces[placement->space]);
    if (placement->symbol) {
        fputc(' ', out);
        print_string(placement->symbol, out);
    }
    if (placement->offset || !placement->symbol)
        fprintf(out, " + %lld", (long long)placement->offset);
}

/* The fields behind the type. An unnamed node's origin is its name already. */
static void print_provenance(const struct node *node, bool with_origin, FILE *out)
{
    if (node->region != REGION_FORWARD)
        fprintf(out, " %s", region_name(node->region));
    print_span(node->span, out);
    if (node->scope && *node->scope) {
        fputs(" in ", out);
        print_string(node->scope, out);
    }
    if (with_origin)
        fprintf(out, " #%u", node->origin);
    if (node->forward)
        fprintf(out, " of #%u", node->forward);
    if (node->again)
        fprintf(out, " again #%u", node->again);
    if (node->pin != ELEMENT_NONE)
        fprintf(out, " pin %s", element_name(node->pin));
    if (node->kernel)
        fprintf(out, " kernel %d", node->kernel);
    print_placement(&node->placement, out);
    if (node->reason) {
        fputs(" why ", out);
        print_string(node->reason, out);
    }
    fputc('\n', out);
}

static void print_one(const struct node *node, const char *const *names, FILE *out)
{
    char type[TYPE_TEXT];
    fprintf(out, "  %%%s = %s(", names[node->id], op_info(node->op)->name);
    for (int i = 0; i < node->operand_count; i++)
        fprintf(out, "%s%%%s", i ? ", " : "", names[node->operands[i]->id]);
    print_attributes(node, node->operand_count ? ", " : "", out);
    fprintf(out, ") : %s", type_format(&node->type, type, sizeof type));
    print_provenance(node, node->name || strchr(names[node->id], '~'), out);
}

void print_node(const struct node *node, FILE *out)
{
    char type[TYPE_TEXT];
    fprintf(out, "%%%u = %s(", node->origin, op_info(node->op)->name);
    for (int i = 0; i < node->operand_count; i++)
        fprintf(out, "%s%%%u", i ? ", " : "", node->operands[i]->origin);
    print_attributes(node, node->operand_count ? ", " : "", out);
    fprintf(out, ") : %s", type_format(&node->type, type, sizeof type));
    print_provenance(node, false, out);
}

/* ---- graphs and modules ---- */

static void print_body(const struct graph *graph, const char *keyword, FILE *out)
{
    struct arena *arena = arena_new();
    const char **names = graph_node_names(graph, arena);
    fprintf(out, "\n%s ", keyword);
    print_label(graph->name, out);
    if (graph->batch)
        fprintf(out, " batch %lld", (long long)graph->batch);
    fputs(" {\n", out);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        print_one(graph->nodes[i], names, out);
    fputs("}\n", out);
    arena_free(arena);
}

void print_graph(const struct graph *graph, FILE *out)
{
    const struct module *module = graph->module;
    bool function = module_find_graph(module, graph->name) != graph;
    print_body(graph, function ? "function" : graph->body ? "body" : "graph", out);
}

static void print_variable(const struct variable *variable, FILE *out)
{
    char type[TYPE_TEXT];
    fputs("variable ", out);
    print_string(variable->name, out);
    fprintf(out, " : %s %s", type_format(&variable->type, type, sizeof type), variable_kind_name(variable->kind));
    if (variable->frozen)
        fputs(" frozen", out);
    if (variable->source) {
        fputs(" of ", out);
        print_string(variable->source, out);
    }
    if (variable->module) {
        fputs(" in ", out);
        print_string(variable->module, out);
    }
    print_span(variable->span, out);
    fputc('\n', out);
}

static uint32_t highest_origin(const struct module *module)
{
    uint32_t highest = 0;
    for (int pass = 0; pass < 2; pass++) {
        struct graph **graphs = pass ? module->functions : module->graphs;
        for (ptrdiff_t i = 0; i < arrlen(graphs); i++)
            for (ptrdiff_t k = 0; k < arrlen(graphs[i]->nodes); k++)
                if (graphs[i]->nodes[k]->origin > highest)
                    highest = graphs[i]->nodes[k]->origin;
    }
    return highest;
}

static void print_minimize(const struct minimize *minimize, FILE *out)
{
    fputs("minimize ", out);
    print_string(minimize->loss ? minimize->loss : "", out);
    if (minimize->rule)
        fprintf(out, " rule %d", minimize->rule);
    if (minimize->turn) {
        fprintf(out, " every %d of ", minimize->every);
        print_string(minimize->turn, out);
    }
    print_span(minimize->span, out);
    fputc('\n', out);
}

static void print_scaling(const struct scaling *scaling, FILE *out)
{
    if (!scaling->present)
        return;
    fputs("scaling", out);
    for (ptrdiff_t i = 0; i < arrlen(scaling->rules); i++) {
        fputc(' ', out);
        print_string(scaling->rules[i]->name, out);
    }
    if (scaling->explicit)
        fputs(" explicit", out);
    print_span(scaling->span, out);
    fputc('\n', out);
}

void print_module(const struct module *module, FILE *out)
{
    if (module->name) {
        fputs("module ", out);
        print_label(module->name, out);
        fputc('\n', out);
    }
    if (module->accumulate != 1)
        fprintf(out, "accumulate %d\n", module->accumulate);
    if (module->next_origin != highest_origin(module) + 1)
        fprintf(out, "origins %u\n", module->next_origin);
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++)
        print_variable(module->variables[i], out);
    for (ptrdiff_t i = 0; i < arrlen(module->minimizes); i++)
        print_minimize(&module->minimizes[i], out);
    print_scaling(&module->scaling, out);
    for (ptrdiff_t i = 0; i < arrlen(module->functions); i++)
        print_body(module->functions[i], "function", out);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++)
        print_body(module->graphs[i], module->graphs[i]->body ? "body" : "graph", out);
}
