/* Checking the invariants that verify.h lists. */
#include "ir/verify.h"
#include "ir/loop.h"

#include <stb/stb_ds.h>
#include <string.h>

struct seen_origin {
    uint32_t key;
    const struct node *value;
};

struct seen_name {
    const char *key;
    int value;
};

/* What is known of a kernel once all nodes were looked at. */
struct kernel_facts {
    int key; /* its number */
    int contractions;
    int last; /* id of its last node */
};

struct verifier {
    const struct module *module;
    struct diagnostics *diagnostics;
    struct arena *arena;          /* scratch */
    const struct graph *graph;    /* NULL for what belongs to the module */
    struct seen_origin *origins;  /* stb_ds hash */
    struct kernel_facts *kernels; /* stb_ds hash, of the graph */
    /* By node id, of the graph: a contraction computed inside of kernels, or not stored and made of one. */
    bool *inside;
    bool function, fused, placed;
};

static void breach(struct verifier *verifier, const struct node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void breach(struct verifier *verifier, const struct node *node, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_vprintf(verifier->arena, format, arguments);
    va_end(arguments);
    if (!node) {
        diagnostics_error(verifier->diagnostics, E0702, (struct span){0}, NULL, "%s", text);
        return;
    }
    diagnostics_error(verifier->diagnostics, E0702, node->span, NULL, "%s: node #%u %s%s%s: %s", verifier->graph->name,
                      node->origin, op_info(node->op)->name, node->name ? " " : "", node->name ? node->name : "", text);
}

static const char *type_text(struct verifier *verifier, const struct type *type)
{
    return type_format(type, arena_allocate(verifier->arena, TYPE_TEXT), TYPE_TEXT);
}

/* ---- nodes by themselves ---- */

static bool check_operands(struct verifier *verifier, const struct node *node, int position)
{
    if (node->id != position) {
        breach(verifier, node, "its id is %d, its position %d", node->id, position);
        return false;
    }
    for (int i = 0; i < node->operand_count; i++) {
        const struct node *operand = node->operands[i];
        if (operand->id < 0 || operand->id >= position || verifier->graph->nodes[operand->id] != operand) {
            breach(verifier, node, "operand %d (#%u %s) does not stand before it in the graph", i, operand->origin,
                   op_info(operand->op)->name);
            return false;
        }
        if (op_is(operand->op, CLASS_EFFECT))
            breach(verifier, node, "operand %d is the result of %s", i, op_info(operand->op)->name);
    }
    return true;
}

static bool element_fits(const struct node *node, enum element inferred)
{
    enum element element = node->type.element;
    if (element == inferred)
        return true;
    if (element <= ELEMENT_NONE || element >= ELEMENT_COUNT)
        return false;
    if (op_info(node->op)->class == CLASS_POINTWISE && op_info(node->op)->element == RULE_GIVEN)
        return true;
    if (element_is_float(inferred))
        return element_is_float(element);
    bool counts = node->op == OP_argmax || node->op == OP_argmin || node->op == OP_iota;
    return counts && !element_is_float(element) && element != ELEMENT_BOOL;
}

static void check_type(struct verifier *verifier, const struct node *node)
{
    struct type inferred = node->type;
    const char *problem =
        node_infer(verifier->arena, node->op, node->operands, node->operand_count, node->attributes, &inferred);
    if (problem) {
        breach(verifier, node, "%s", problem);
        return;
    }
    if (!shape_equal(&inferred.shape, &node->type.shape) || !element_fits(node, inferred.element))
        breach(verifier, node, "its type is %s, the op gives %s", type_text(verifier, &node->type),
               type_text(verifier, &inferred));
    unsigned seen = 0;
    for (int axis = 0; axis < node->type.shape.rank; axis++)
        seen |= node->type.order[axis] < RANK_MAX ? 1u << node->type.order[axis] : 1u << RANK_MAX;
    if (seen != (1u << node->type.shape.rank) - 1)
        breach(verifier, node, "its layout does not name each axis once");
}

static void check_line(struct verifier *verifier, const struct node *node, int lowest)
{
    int lines = (int)arrlen(verifier->module->minimizes);
    if (node->attributes->index < lowest || node->attributes->index > lines)
        breach(verifier, node, "there is no minimize line %d", node->attributes->index);
}

static void check_random(struct verifier *verifier, const struct node *node)
{
    for (int i = 0; i < node->operand_count; i++) {
        const struct type *type = &node->operands[i]->type;
        if (type->shape.rank != 0 || element_is_float(type->element))
            breach(verifier, node, "seed and attempt are integer scalars, not %s", type_text(verifier, type));
    }
}

static void check_attributes(struct verifier *verifier, const struct node *node)
{
    enum attribute_kind kind = op_info(node->op)->attributes;
    bool named =
        kind == ATTRIBUTE_SYMBOL || kind == ATTRIBUTE_INPUT || kind == ATTRIBUTE_WRITE || kind == ATTRIBUTE_OUTPUT;
    if (named && !node->attributes->symbol)
        breach(verifier, node, "it has no symbol");
    if (node->op == OP_scale_seed || node->op == OP_unscale)
        check_line(verifier, node, 0);
    if (node->op == OP_gate)
        check_line(verifier, node, 1);
    if (node->op == OP_write)
        check_line(verifier, node, GATE_ALL);
    if (node->op == OP_random)
        check_random(verifier, node);
    if (node->op == OP_argument && !verifier->function)
        breach(verifier, node, "arguments belong to functions");
    const char *problem = op_is(node->op, CLASS_LOOP) ? loop_problem(verifier->graph, node, verifier->arena) : NULL;
    if (problem)
        breach(verifier, node, "%s", problem);
}

static void check_provenance(struct verifier *verifier, const struct node *node)
{
    if (!node->scope)
        breach(verifier, node, "it has no scope");
    if (node->forward && node->forward == node->origin)
        breach(verifier, node, "it differentiates itself");
    if (node->origin == 0 || node->origin >= verifier->module->next_origin)
        breach(verifier, node, "its origin is not between 1 and %u", verifier->module->next_origin - 1);
    if (hmgeti(verifier->origins, node->origin) >= 0)
        breach(verifier, node, "another node has this origin number");
    else
        hmput(verifier->origins, node->origin, node);
}

/* ---- reads, writes, outputs ---- */

static const struct variable *check_symbol(struct verifier *verifier, const struct node *node)
{
    const struct variable *variable =
        node->attributes->symbol ? module_find_variable(verifier->module, node->attributes->symbol) : NULL;
    if (!variable)
        breach(verifier, node, "there is no variable \"%s\"", node->attributes->symbol ? node->attributes->symbol : "");
    return variable;
}

static void check_read(struct verifier *verifier, const struct node *node)
{
    const struct variable *variable = check_symbol(verifier, node);
    if (variable &&
        (variable->type.element != node->type.element || !shape_equal(&variable->type.shape, &node->type.shape)))
        breach(verifier, node, "its type is %s, the variable's %s", type_text(verifier, &node->type),
               type_text(verifier, &variable->type));
}

static void check_write(struct verifier *verifier, const struct node *node, struct seen_name **written)
{
    const struct variable *variable = check_symbol(verifier, node);
    if (!variable)
        return;
    if (shgeti(*written, variable->name) >= 0)
        breach(verifier, node, "the graph writes \"%s\" twice", variable->name);
    shput(*written, variable->name, 1);
    if (!shape_equal(&variable->type.shape, &node->type.shape))
        breach(verifier, node, "its type is %s, the variable's %s", type_text(verifier, &node->type),
               type_text(verifier, &variable->type));
    if (verifier->fused &&
        (variable->type.element != node->type.element || variable->type.element != node->operands[0]->type.element))
        breach(verifier, node, "a %s is written to a variable of %s", type_text(verifier, &node->operands[0]->type),
               type_text(verifier, &variable->type));
}

static void check_output(struct verifier *verifier, const struct node *node, struct seen_name **named)
{
    enum output_kind kind = node->attributes->output;
    const char *name = arena_printf(verifier->arena, "%s %s", output_kind_name(kind),
                                    node->attributes->symbol ? node->attributes->symbol : "");
    if (shgeti(*named, name) >= 0)
        breach(verifier, node, "the graph has the output %s twice", name);
    shput(*named, name, 1);
    bool any_shape = kind == OUTPUT_VALUE || kind == OUTPUT_WATCH || kind == OUTPUT_TOTAL;
    if (!any_shape && shape_elements(&node->type.shape) != 1)
        breach(verifier, node, "a %s is one number, not %s", output_kind_name(kind), type_text(verifier, &node->type));
    bool lies_there = verifier->fused && !node->kernel;
    if (verifier->fused && (lies_there ? !type_equal(&node->type, &node->operands[0]->type)
                                       : node->type.element != node->operands[0]->type.element))
        breach(verifier, node, "a %s is put out as %s", type_text(verifier, &node->operands[0]->type),
               type_text(verifier, &node->type));
}

/* ---- kernels and places ---- */

static void check_kernel(struct verifier *verifier, const struct node *node)
{
    if (node->kernel < 0)
        breach(verifier, node, "its kernel is %d", node->kernel);
    if (node->kernel && (node->op == OP_input || node->op == OP_read || node->op == OP_argument))
        breach(verifier, node, "it is read where it lies, yet it has kernel %d", node->kernel);
    bool contraction = op_is(node->op, CLASS_CONTRACTION), needs_inner = false;
    for (int i = 0; i < node->operand_count; i++)
        needs_inner = needs_inner || verifier->inside[node->operands[i]->id];
    verifier->inside[node->id] = node->kernel == 0 && (contraction || needs_inner);
    int contractions = node->kernel ? hmgets(verifier->kernels, node->kernel).contractions : 0;
    bool joins = node->op == OP_concat || node->op == OP_add; /* gradients of attention; a product with its gelu */
    if (node->kernel && needs_inner && !contractions && !joins)
        breach(verifier, node, "kernel %d computes a contraction inside, yet stores none", node->kernel);
    if (!contraction)
        return;
    if (contractions > 1 && !needs_inner)
        breach(verifier, node, "kernel %d has another contraction", node->kernel);
    if (node->operands[0]->type.element != node->operands[1]->type.element)
        breach(verifier, node, "its operands are %s and %s", type_text(verifier, &node->operands[0]->type),
               type_text(verifier, &node->operands[1]->type));
}

static bool is_stored(struct verifier *verifier, const struct node *node)
{
    if (!node->kernel || op_is(node->op, CLASS_EFFECT) || node->op == OP_loop)
        return false;
    struct kernel_facts facts = hmgets(verifier->kernels, node->kernel);
    return facts.contractions == 0 || facts.last == node->id;
}

static void check_placement(struct verifier *verifier, const struct node *node)
{
    const struct placement *placement = &node->placement;
    if (is_stored(verifier, node) && placement->space == SPACE_NONE)
        breach(verifier, node, "kernel %d stores it nowhere", node->kernel);
    if (placement->offset < 0)
        breach(verifier, node, "it lies at offset %lld", (long long)placement->offset);
    if (placement->space == SPACE_STATE &&
        !(placement->symbol && module_find_variable(verifier->module, placement->symbol)))
        breach(verifier, node, "it lies in no variable that there is");
}

/* Kernels follow each other: a kernel that was left is not entered again. */
static void check_kernel_order(struct verifier *verifier)
{
    struct seen_origin *left = NULL;
    int current = 0;
    for (ptrdiff_t i = 0; i < arrlen(verifier->graph->nodes); i++) {
        const struct node *node = verifier->graph->nodes[i];
        if (!node->kernel || node->kernel == current)
            continue;
        uint32_t kernel = (uint32_t)node->kernel;
        if (hmgeti(left, kernel) >= 0)
            breach(verifier, node, "kernel %d is not in one piece", node->kernel);
        hmput(left, kernel, node);
        current = node->kernel;
    }
    hmfree(left);
}

/* ---- graphs and the module ---- */

/* How far the graph has come, and what its kernels hold. */
static void look_at_kernels(struct verifier *verifier)
{
    verifier->fused = verifier->placed = false;
    hmfree(verifier->kernels);
    for (ptrdiff_t i = 0; i < arrlen(verifier->graph->nodes); i++) {
        const struct node *node = verifier->graph->nodes[i];
        if (!node->kernel)
            continue;
        struct kernel_facts facts = hmgets(verifier->kernels, node->kernel);
        facts.key = node->kernel;
        facts.contractions += op_is(node->op, CLASS_CONTRACTION);
        facts.last = (int)i;
        hmputs(verifier->kernels, facts);
        verifier->fused = true;
        verifier->placed = verifier->placed || node->placement.space != SPACE_NONE;
    }
}

static void verify_graph(struct verifier *verifier, const struct graph *graph, bool function)
{
    struct seen_name *written = NULL, *named = NULL;
    verifier->graph = graph;
    verifier->function = function;
    look_at_kernels(verifier);
    verifier->inside = ARENA_ARRAY(verifier->arena, bool, arrlenu(graph->nodes));
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        check_provenance(verifier, node);
        if (!check_operands(verifier, node, (int)i))
            continue;
        check_type(verifier, node);
        check_attributes(verifier, node);
        if (node->op == OP_read)
            check_read(verifier, node);
        if (node->op == OP_write)
            check_write(verifier, node, &written);
        if (node->op == OP_output)
            check_output(verifier, node, &named);
        if (verifier->fused)
            check_kernel(verifier, node);
        if (verifier->placed)
            check_placement(verifier, node);
    }
    if (verifier->placed)
        check_kernel_order(verifier);
    shfree(written);
    shfree(named);
}

static void verify_variables(struct verifier *verifier)
{
    const struct module *module = verifier->module;
    for (ptrdiff_t i = 0; i < arrlen(module->variables); i++) {
        const struct variable *variable = module->variables[i];
        if (module_find_variable(module, variable->name) != variable)
            breach(verifier, NULL, "two variables are called \"%s\"", variable->name);
        if (variable->type.element <= ELEMENT_NONE || variable->type.element >= ELEMENT_COUNT)
            breach(verifier, NULL, "variable \"%s\" has no element type", variable->name);
        if (variable->source && !module_find_variable(module, variable->source))
            breach(verifier, NULL, "variable \"%s\" belongs to \"%s\", which is not there", variable->name,
                   variable->source);
    }
}

static void verify_scaling(struct verifier *verifier)
{
    const struct module *module = verifier->module;
    struct graph *const *rules = module->scaling.present ? module->scaling.rules : NULL;
    for (ptrdiff_t i = 0; i < arrlen(rules); i++) {
        bool known = false;
        for (ptrdiff_t k = 0; k < arrlen(module->functions); k++)
            known |= module->functions[k] == rules[i];
        if (!known)
            breach(verifier, NULL, "the scale rule is no function of the module");
    }
    for (ptrdiff_t i = 0; i < arrlen(module->minimizes); i++) {
        const struct minimize *minimize = &module->minimizes[i];
        if (minimize->rule < 0 || (rules && minimize->rule >= arrlen(rules)))
            breach(verifier, NULL, "minimize line %d has no scale rule", (int)i + 1);
        if (minimize->turn && (minimize->every < 1 || !module_find_variable(module, minimize->turn)))
            breach(verifier, NULL, "minimize line %d has no variable \"%s\"", (int)i + 1, minimize->turn);
    }
}

static void verify_graphs(struct verifier *verifier)
{
    const struct module *module = verifier->module;
    for (ptrdiff_t i = 0; i < arrlen(module->functions); i++)
        verify_graph(verifier, module->functions[i], true);
    verify_scaling(verifier);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs); i++) {
        if (module_find_graph(module, module->graphs[i]->name) != module->graphs[i])
            breach(verifier, NULL, "two graphs are called %s", module->graphs[i]->name);
        verify_graph(verifier, module->graphs[i], false);
    }
}

bool verify_module(const struct module *module, struct diagnostics *diagnostics)
{
    int before = diagnostics_errors(diagnostics);
    struct verifier verifier = {.module = module, .diagnostics = diagnostics, .arena = arena_new()};
    verify_variables(&verifier);
    verify_graphs(&verifier);
    hmfree(verifier.origins);
    hmfree(verifier.kernels);
    arena_free(verifier.arena);
    return diagnostics_errors(diagnostics) == before;
}

void verify_or_bug(const struct module *module, const char *when)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    if (!verify_module(module, diagnostics)) {
        diagnostics_print(diagnostics, stderr);
        castor_bug("the graph does not verify %s", when);
    }
    arena_free(arena);
}
