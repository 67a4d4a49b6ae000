/* Building a module from its text: the actions of the grammar in text.y.
 *
 * A node that is wrong is reported once and not built; what uses it is dropped without a further message. */
#include "ir/parse.h"
#include "ir/attribute.h"
#include "ir/text.h"
#include "ir/text.parser.h"

#define YYSTYPE IR_STYPE /* the names that the scanner's header uses */
#define YYLTYPE struct span
#include "ir/text.lexer.h"

#include <limits.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* No axis is longer and no attribute of an axis larger, no tensor has more elements: products of sizes stay exact. */
static const int64_t size_max = INT32_MAX;
static const double elements_max = 0x1p48;

#define wrong(code, at, ...) diagnostics_error(reader->diagnostics, code, at, NULL, __VA_ARGS__)

static const char *suggest_name(const struct text_reader *reader, const char *word, const char *name_of(int), int count)
{
    const char **names = ARENA_ARRAY(reader->arena, const char *, count);
    for (int i = 0; i < count; i++)
        names[i] = name_of(i);
    return suggest(word, names, (size_t)count);
}

static void wrong_name(const struct text_reader *reader, struct span at, const char *what, const char *word,
                       const char *name_of(int), int count)
{
    diagnostics_error(reader->diagnostics, E0703, at, NULL, "there is no %s `%s`", what, word);
    const char *near = suggest_name(reader, word, name_of, count);
    if (near)
        diagnostics_note(reader->diagnostics, (struct span){0}, "did you mean `%s`?", near);
}

/* ---- small parts ---- */

const char *text_unescape(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_allocate(arena, length + 1);
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\\' && i + 1 < length)
            c = text[++i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
        copy[used++] = c;
    }
    return arena_intern_length(arena, copy, used);
}

/* "file":line:column-end, the file left out where it is unknown. */
struct span text_span(struct text_reader *reader, const char *text)
{
    struct span span = {0};
    if (*text == '"') {
        const char *end = strrchr(text, '"');
        span.file = text_unescape(reader->arena, text + 1, (size_t)(end - text - 1));
        text = end + 2;
    }
    char *rest;
    span.line = (int)strtol(text, &rest, 10);
    span.column = (int)strtol(rest + 1, &rest, 10);
    span.end_column = (int)strtol(rest + 1, &rest, 10);
    return span;
}

static const char *element_name_of(int i)
{
    return element_name((enum element)i);
}

enum element text_element(struct text_reader *reader, const char *name, struct span at)
{
    enum element element = element_find(name);
    if (element == ELEMENT_NONE)
        wrong_name(reader, at, "element type", name, element_name_of, ELEMENT_COUNT);
    return element;
}

static bool read_order(struct type *type, const int64_t *order)
{
    unsigned seen = 0;
    if (arrlen(order) != type->shape.rank)
        return false;
    for (ptrdiff_t i = 0; i < arrlen(order); i++) {
        if (order[i] < 0 || order[i] >= type->shape.rank || seen >> order[i] & 1)
            return false;
        seen |= 1u << order[i];
        type->order[i] = (unsigned char)order[i];
    }
    return true;
}

static bool too_large(const struct shape *shape)
{
    double elements = 1;
    for (int i = 0; i < shape->rank; i++)
        elements *= (double)shape->dimension[i];
    return elements > elements_max;
}

struct type text_type(struct text_reader *reader, const char *element, const int64_t *dimensions, const int64_t *order,
                      struct span at)
{
    struct type scalar = type_scalar(text_element(reader, element, at));
    if (scalar.element == ELEMENT_NONE)
        reader->draft.broken = true;
    if (arrlen(dimensions) > RANK_MAX) {
        wrong(E0705, at, "more than %d axes", RANK_MAX);
        return scalar;
    }
    for (ptrdiff_t i = 0; i < arrlen(dimensions); i++)
        if (dimensions[i] < 0 || dimensions[i] > size_max) {
            wrong(E0705, at, "no axis has size %lld", (long long)dimensions[i]);
            return scalar;
        }
    struct type type = type_make(scalar.element, shape_make((int)arrlen(dimensions), dimensions));
    if (too_large(&type.shape)) {
        wrong(E0705, at, "this has too many elements");
        return scalar;
    }
    if (order && !read_order(&type, order))
        wrong(E0705, at, "a layout names each axis once");
    return type;
}

/* ---- module items ---- */

void text_accumulate(struct text_reader *reader, const struct text_value *value, struct span at)
{
    if (value->kind != TEXT_INTEGER || value->integer < 1 || value->integer > INT_MAX)
        wrong(E0704, at, "accumulate takes a number of micro-batches, at least 1");
    else
        reader->module->accumulate = (int)value->integer;
}

int64_t text_whole(struct text_reader *reader, const struct text_value *value, struct span at)
{
    if (value->kind != TEXT_INTEGER)
        wrong(E0704, at, "this is to be a whole number");
    return value->integer;
}

int text_int(struct text_reader *reader, const struct text_value *value, struct span at)
{
    int64_t number = text_whole(reader, value, at);
    bool fits = number >= -INT_MAX && number <= INT_MAX;
    if (!fits)
        wrong(E0704, at, "this number is too large");
    return fits ? (int)number : 0;
}

/* Below the largest number, so that there is a next one. */
uint32_t text_origin(struct text_reader *reader, const struct text_value *value, struct span at)
{
    bool fits = value->kind == TEXT_INTEGER && value->bits < UINT32_MAX;
    if (!fits)
        wrong(E0704, at, "origin numbers are whole and below %u", UINT32_MAX);
    return fits ? (uint32_t)value->bits : 0;
}

void text_origins(struct text_reader *reader, const struct text_value *value, struct span at)
{
    reader->module->next_origin = text_origin(reader, value, at);
}

static const char *variable_kind_of(int i)
{
    return variable_kind_name((enum variable_kind)i);
}

void text_variable(struct text_reader *reader, const struct variable *variable, const char *kind, struct span at,
                   struct span kind_at)
{
    int found = 0;
    while (found <= VARIABLE_HOST && strcmp(variable_kind_of(found), kind) != 0)
        found++;
    if (found > VARIABLE_HOST) {
        wrong_name(reader, kind_at, "kind of variable", kind, variable_kind_of, VARIABLE_HOST + 1);
        return;
    }
    if (module_find_variable(reader->module, variable->name)) {
        wrong(E0703, at, "variable \"%s\" is there already", variable->name);
        return;
    }
    struct variable *added =
        module_add_variable(reader->module, variable->name, variable->type, (enum variable_kind)found, variable->span);
    added->frozen = variable->frozen;
    added->source = variable->source;
    added->module = variable->module;
}

void text_minimize(struct text_reader *reader, const struct minimize *minimize, struct span at)
{
    if (minimize->rule < 0 || minimize->every < 0)
        wrong(E0704, at, "rule and every take numbers from 0");
    else
        arrput(reader->module->minimizes, *minimize);
}

void text_rule(struct text_reader *reader, const char *rule, struct span at)
{
    arrput(reader->rules, ((struct text_rule){rule, at}));
}

void text_scaling(struct text_reader *reader, bool explicit, struct span span)
{
    struct scaling *scaling = &reader->module->scaling;
    scaling->present = true;
    scaling->explicit = explicit;
    scaling->span = span;
}

void text_begin_graph(struct text_reader *reader, const char *name, enum text_graph_kind kind, int64_t batch,
                      struct span at)
{
    bool function = kind == TEXT_FUNCTION;
    if (!function && module_find_graph(reader->module, name))
        wrong(E0703, at, "graph %s is there already", name);
    reader->graph = function ? module_add_function(reader->module, name) : module_add_graph(reader->module, name);
    reader->graph->body = kind == TEXT_BODY;
    reader->graph->batch = batch;
}

void text_end_graph(struct text_reader *reader)
{
    hmfree(reader->names);
    reader->graph = NULL;
}

/* ---- nodes ---- */

static const char *op_name_of(int i)
{
    return op_info((enum op)i)->name;
}

void text_begin_node(struct text_reader *reader, const char *key, const char *op, struct span at, struct span op_at)
{
    struct text_draft *draft = &reader->draft;
    arrsetlen(draft->operands, 0);
    *draft = (struct text_draft){.operands = draft->operands, .key = key, .span = at};
    draft->node.op = op_find(op);
    draft->node.attributes = &draft->attributes;
    if (draft->node.op == OP_COUNT) {
        wrong_name(reader, op_at, "op", op, op_name_of, OP_COUNT);
        draft->node.op = OP_constant;
        draft->broken = true;
    }
    if (hmgeti(reader->names, key) >= 0) {
        wrong(E0703, at, "%%%s is there already", key);
        draft->broken = true;
    }
}

void text_operand(struct text_reader *reader, const char *key, struct span at)
{
    ptrdiff_t found = hmgeti(reader->names, key);
    struct node *node = found < 0 ? reader->unknown : reader->names[found].value;
    if (found < 0)
        wrong(E0703, at, "no node %%%s stands above", key);
    if (node == reader->unknown)
        reader->draft.broken = true;
    arrput(reader->draft.operands, node);
}

static const struct attribute_field *bare_field(enum attribute_kind kind, const struct text_value *value)
{
    if (!attribute_field_count(kind))
        return NULL;
    const struct attribute_field *field = attribute_field(kind, 0);
    bool fits =
        value->kind == TEXT_STRING ? field->form == FORM_SYMBOL : field->form == FORM_REAL || field->form == FORM_INDEX;
    return fits ? field : NULL;
}

static bool set_list(struct attributes *attributes, const struct attribute_field *field, const int64_t *list)
{
    ptrdiff_t length = arrlen(list);
    if (length > (field->form == FORM_SPATIAL ? SPATIAL_MAX : RANK_MAX))
        return false;
    void *at = attribute_at(attributes, field);
    for (ptrdiff_t i = 0; i < length; i++) {
        bool axis = list[i] >= 0 && list[i] < RANK_MAX;
        if (list[i] > size_max || list[i] < -size_max)
            return false;
        if (field->form == FORM_AXES && axis)
            *(uint32_t *)at |= 1u << list[i];
        else if (field->form == FORM_PERMUTATION && axis)
            ((unsigned char *)at)[i] = (unsigned char)list[i];
        else if (field->form == FORM_SIZES || field->form == FORM_SPATIAL)
            ((int64_t *)at)[i] = list[i];
        else
            return false;
    }
    if (field->form == FORM_SPATIAL && attributes->window.rank < length)
        attributes->window.rank = (int)length;
    return true;
}

static bool set_number(void *at, enum attribute_form form, const struct text_value *value)
{
    if (form == FORM_REAL) {
        *(double *)at = value->real;
        return true;
    }
    if (value->kind != TEXT_INTEGER)
        return false;
    if (form == FORM_KEY) {
        *(uint64_t *)at = value->bits;
        return true;
    }
    if (value->integer < -size_max || value->integer > size_max)
        return false;
    if (form == FORM_COUNT) {
        *(int64_t *)at = value->integer;
        return true;
    }
    *(int *)at = (int)value->integer;
    return form == FORM_AXIS || form == FORM_INDEX || form == FORM_GATE || form == FORM_CLASSES;
}

static bool set_word(void *at, enum attribute_form form, const char *word)
{
    if (form == FORM_GATE) {
        bool all = strcmp(word, "all") == 0;
        *(int *)at = all ? GATE_ALL : GATE_NEVER;
        return all || strcmp(word, "never") == 0;
    }
    for (int kind = 0; form == FORM_KIND && kind <= OUTPUT_TOTAL; kind++)
        if (strcmp(output_kind_name((enum output_kind)kind), word) == 0) {
            *(enum output_kind *)at = (enum output_kind)kind;
            return true;
        }
    return false;
}

static bool set_attribute(struct attributes *attributes, const struct attribute_field *field,
                          const struct text_value *value)
{
    void *at = attribute_at(attributes, field);
    if (!value) {
        *(bool *)at = field->form == FORM_FLAG;
        return field->form == FORM_FLAG;
    }
    switch (value->kind) {
    case TEXT_LIST:
        return set_list(attributes, field, value->list);
    case TEXT_WORD:
        return set_word(at, field->form, value->text);
    case TEXT_STRING:
        attributes->symbol = value->text;
        return field->form == FORM_SYMBOL;
    default:
        return set_number(at, field->form, value);
    }
}

void text_attribute(struct text_reader *reader, const char *name, const struct text_value *value, struct span at)
{
    struct text_draft *draft = &reader->draft;
    if (draft->broken)
        return;
    enum attribute_kind kind = op_info(draft->node.op)->attributes;
    const struct attribute_field *field = name ? attribute_field_find(kind, name) : bare_field(kind, value);
    bool flag_elsewhere = field && field->form == FORM_FLAG && kind == ATTRIBUTE_NONE && draft->node.op != OP_cast;
    if (!field || flag_elsewhere) {
        wrong(E0704, at, "%s has no attribute %s", op_info(draft->node.op)->name, name ? name : "without a name");
        draft->broken = true;
        return;
    }
    if (!set_attribute(&draft->attributes, field, value)) {
        wrong(E0704, at, "this is no value of the attribute %s", field->name);
        draft->broken = true;
    }
    for (int i = 0; i < attribute_field_count(kind); i++)
        if (attribute_field(kind, i) == field) {
            draft->set |= 1u << i;
            draft->length[i] = value && value->kind == TEXT_LIST ? (int)arrlen(value->list) : 0;
        }
}

void text_placement(struct text_reader *reader, const char *space, const char *symbol, int64_t offset, struct span at)
{
    static const char *const spaces[] = {"none", "scratch", "state", "input"};
    for (int i = 1; i < 4; i++)
        if (strcmp(spaces[i], space) == 0) {
            reader->draft.node.placement = (struct placement){(enum space)i, offset, symbol};
            return;
        }
    wrong(E0704, at, "a value lies in scratch, state or input, not in %s", space);
}

/* The rank of the window where no list told it. */
static void settle_window(struct text_draft *draft, enum attribute_kind kind)
{
    struct window *window = &draft->attributes.window;
    int rank = draft->node.operand_count ? draft->node.operands[0]->type.shape.rank - 2 : 0;
    if ((kind == ATTRIBUTE_CONV || kind == ATTRIBUTE_CONV_TYPE) && !window->rank && rank > 0)
        window->rank = rank < SPATIAL_MAX ? rank : SPATIAL_MAX;
}

static bool is_list(enum attribute_form form)
{
    return form == FORM_PERMUTATION || form == FORM_SIZES || form == FORM_SPATIAL;
}

/* Fills in what the text left out; lists that it has must be as long as they are to be. */
static bool settle_attributes(struct text_reader *reader)
{
    struct text_draft *draft = &reader->draft;
    enum attribute_kind kind = op_info(draft->node.op)->attributes;
    settle_window(draft, kind);
    for (int i = 0; i < attribute_field_count(kind); i++) {
        const struct attribute_field *field = attribute_field(kind, i);
        int length = attribute_length(&draft->node, field);
        if (!(draft->set >> i & 1)) {
            attribute_fill(&draft->attributes, field, length);
        } else if (is_list(field->form) && draft->length[i] != length) {
            wrong(E0704, draft->span, "%s has %d numbers here, not %d", field->name, length, draft->length[i]);
            return false;
        }
    }
    return true;
}

/* The type by the op's rule; a given type decides the element type and layout, and must have the same shape. */
static bool settle_type(struct text_reader *reader)
{
    struct text_draft *draft = &reader->draft;
    struct node *node = &draft->node;
    struct variable *variable =
        node->op == OP_read ? module_find_variable(reader->module, draft->attributes.symbol) : NULL;
    struct type given = draft->has_type ? node->type : variable ? variable->type : (struct type){0};
    struct type inferred = given;
    const char *problem =
        node_infer(reader->arena, node->op, node->operands, node->operand_count, node->attributes, &inferred);
    if (!problem && too_large(&inferred.shape))
        problem = "the result has too many elements";
    if (problem) {
        wrong(E0705, draft->span, "%s", problem);
        return false;
    }
    if (draft->has_type && !shape_equal(&given.shape, &inferred.shape)) {
        char wanted[TYPE_TEXT], got[TYPE_TEXT];
        wrong(E0705, draft->span, "%s gives %s, not %s", op_info(node->op)->name,
              shape_format(&inferred.shape, wanted, sizeof wanted), shape_format(&given.shape, got, sizeof got));
        return false;
    }
    node->type = given.element == ELEMENT_NONE ? inferred : given;
    return true;
}

/* The readable name that a key stands for: "x~2" is a second node named x; digits are no name. */
static const char *name_of_key(struct arena *arena, const char *key)
{
    if (*key >= '0' && *key <= '9')
        return NULL;
    if (*key == '"')
        return text_unescape(arena, key + 1, (size_t)(strrchr(key, '"') - key - 1));
    return arena_intern_length(arena, key, strcspn(key, "~"));
}

static struct node *finish_node(struct text_reader *reader)
{
    struct text_draft *draft = &reader->draft;
    draft->node.operand_count = (int)arrlen(draft->operands);
    draft->node.operands = draft->operands;
    if (!settle_attributes(reader) || !settle_type(reader))
        return NULL;
    struct node *node = arena_copy(reader->arena, &draft->node, sizeof draft->node);
    node->operands = arena_copy(reader->arena, draft->operands, sizeof *draft->operands * (size_t)node->operand_count);
    node->attributes = arena_copy(reader->arena, &draft->attributes, sizeof draft->attributes);
    node->name = name_of_key(reader->arena, draft->key);
    if (!node->scope)
        node->scope = "";
    return node;
}

static bool needs_symbol(enum op op)
{
    const enum attribute_kind kind = op_info(op)->attributes;
    return attribute_field_count(kind) && attribute_field(kind, 0)->form == FORM_SYMBOL;
}

void text_end_node(struct text_reader *reader)
{
    struct text_draft *draft = &reader->draft;
    if (!draft->broken && needs_symbol(draft->node.op) && !draft->attributes.symbol) {
        wrong(E0704, draft->span, "%s needs a name in quotes", op_info(draft->node.op)->name);
        draft->broken = true;
    }
    struct node *node = draft->broken ? NULL : finish_node(reader);
    hmput(reader->names, draft->key, node ? node : reader->unknown);
    if (!node)
        return;
    graph_append(reader->graph, node);
    if (!node->origin) {
        unsigned long number = *draft->key >= '0' && *draft->key <= '9' ? strtoul(draft->key, NULL, 10) : 0;
        uint32_t wanted = number < UINT32_MAX ? (uint32_t)number : 0;
        arrput(reader->unnumbered, ((struct text_unnumbered){node, wanted}));
    }
}

/* ---- the end of the text ---- */

struct used_origin {
    uint32_t key;
    char value;
};

static struct used_origin *origins_given(const struct module *module, uint32_t *highest)
{
    struct used_origin *used = NULL;
    for (int pass = 0; pass < 2; pass++) {
        struct graph **graphs = pass ? module->functions : module->graphs;
        for (ptrdiff_t i = 0; i < arrlen(graphs); i++)
            for (ptrdiff_t k = 0; k < arrlen(graphs[i]->nodes); k++) {
                uint32_t origin = graphs[i]->nodes[k]->origin;
                if (origin)
                    hmput(used, origin, 1);
                if (origin > *highest)
                    *highest = origin;
            }
    }
    return used;
}

/* A node called by a number has that origin where it is free; all others get numbers that nothing else has. */
static void number_origins(struct text_reader *reader)
{
    uint32_t highest = 0;
    struct used_origin *used = origins_given(reader->module, &highest);
    for (ptrdiff_t i = 0; i < arrlen(reader->unnumbered); i++) {
        uint32_t wanted = reader->unnumbered[i].wanted;
        if (!wanted || hmgeti(used, wanted) >= 0)
            continue;
        reader->unnumbered[i].node->origin = wanted;
        hmput(used, wanted, 1);
        if (wanted > highest)
            highest = wanted;
    }
    for (ptrdiff_t i = 0; i < arrlen(reader->unnumbered); i++)
        if (!reader->unnumbered[i].node->origin)
            reader->unnumbered[i].node->origin = ++highest;
    if (reader->module->next_origin <= highest)
        reader->module->next_origin = highest + 1;
    hmfree(used);
}

static void find_rules(struct text_reader *reader)
{
    struct module *module = reader->module;
    for (ptrdiff_t i = 0; i < arrlen(reader->rules); i++) {
        struct graph *found = NULL;
        for (ptrdiff_t k = 0; k < arrlen(module->functions); k++)
            if (strcmp(module->functions[k]->name, reader->rules[i].name) == 0)
                found = module->functions[k];
        if (found)
            arrput(module->scaling.rules, found);
        else
            wrong(E0703, reader->rules[i].span, "there is no function %s", reader->rules[i].name);
    }
    arrfree(reader->rules);
}

struct module *parse_module(struct arena *arena, struct diagnostics *diagnostics, const char *file, const char *text)
{
    int before = diagnostics_errors(diagnostics);
    diagnostics_add_source(diagnostics, file, text);
    struct text_reader reader = {.arena = arena,
                                 .diagnostics = diagnostics,
                                 .module = module_new(arena, diagnostics, NULL),
                                 .file = arena_intern(arena, file),
                                 .line = 1,
                                 .column = 1,
                                 .unknown = ARENA_NEW(arena, struct node)};
    void *scanner;
    if (ir_lex_init_extra(&reader, &scanner) != 0)
        arena_exhausted();
    ir__scan_string(text, scanner);
    int status = ir_parse(scanner, &reader);
    ir_lex_destroy(scanner);
    find_rules(&reader);
    number_origins(&reader);
    hmfree(reader.names);
    arrfree(reader.unnumbered);
    arrfree(reader.draft.operands);
    if (status == 0 && diagnostics_errors(diagnostics) == before)
        return reader.module;
    module_free(reader.module);
    return NULL;
}
