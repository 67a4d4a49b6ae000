/* `repeat rolled`: the body is elaborated once, into a graph of its own, and a loop runs it in turns (ir/loop.h).
 *
 * While the body is elaborated, its nodes may have operands outside of it. What is carried are inputs from the start,
 * since the body's text tells which names it binds anew; so are the turn's number and the places of sequences. All else
 * from outside becomes an input at the end (close_body), constants are made again inside. */
#include "frontend/language/elaborate_internal.h"
#include "ir/loop.h"

#include <stb/stb_ds.h>
#include <string.h>

static bool stands_in(const struct graph *graph, const struct node *node)
{
    return node->id < arrlen(graph->nodes) && graph->nodes[node->id] == node;
}

struct graph *rolled_root(const struct elaborator *e)
{
    struct graph *root = e->builder.graph;
    for (const struct rolled *rolled = e->rolled; rolled; rolled = rolled->outer)
        root = rolled->parent;
    return root;
}

struct graph *rolled_home(const struct elaborator *e, const struct node *node)
{
    for (const struct rolled *rolled = e->rolled; rolled; rolled = rolled->outer)
        if (stands_in(rolled->body, node))
            return rolled->body;
    return rolled_root(e);
}

/* ---- names that the body binds ---- */

struct bound {
    const char **names; /* stb_ds array */
    int depth;          /* of repeats in the body around what is looked at: their `collect`s bind in the body */
    bool refused;
};

static void look_at_block(struct elaborator *e, const struct ast_block *block, struct bound *bound);

static void refuse(struct elaborator *e, struct span span, const char *what, struct bound *bound)
{
    report(e, E0414, span, NULL, "%s has no place in a rolled repeat", what);
    bound->refused = true;
}

static void note_name(struct bound *bound, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(bound->names); i++)
        if (bound->names[i] == name)
            return;
    arrput(bound->names, name);
}

static void look_at(struct elaborator *e, const struct ast_statement *statement, struct bound *bound)
{
    switch (statement->kind) {
    case AST_BIND:
        for (int i = 0; i < statement->bind.names.count; i++)
            note_name(bound, statement->bind.names.items[i].name);
        break;
    case AST_PARAM:
        refuse(e, statement->span, "a param", bound);
        break;
    case AST_UPDATE:
        refuse(e, statement->span, "`<-`", bound);
        break;
    case AST_RETURN:
        refuse(e, statement->span, "`return`", bound);
        break;
    case AST_DECLARE:
        if (statement->declare.what != AST_DECLARE_COLLECT)
            refuse(e, statement->span, "a declaration", bound);
        else if (bound->depth)
            note_name(bound, statement->declare.name.name);
        break;
    case AST_PIN:
        look_at_block(e, statement->pin.body, bound);
        break;
    case AST_IF:
        look_at_block(e, statement->branch.body, bound);
        if (statement->branch.otherwise)
            look_at_block(e, statement->branch.otherwise, bound);
        break;
    case AST_REPEAT:
        note_name(bound, statement->repeat.variable.name);
        bound->depth++;
        look_at_block(e, statement->repeat.body, bound);
        bound->depth--;
        break;
    default:
        break;
    }
}

static void look_at_block(struct elaborator *e, const struct ast_block *block, struct bound *bound)
{
    for (int i = 0; i < block->count; i++)
        look_at(e, block->items[i], bound);
}

/* ---- what comes in ---- */

static struct builder builder_in(const struct elaborator *e, struct graph *graph)
{
    struct builder builder = e->builder;
    builder.graph = graph;
    builder.region = REGION_FORWARD;
    builder.pin = ELEMENT_NONE;
    return builder;
}

static struct node *new_input(const struct elaborator *e, struct rolled *rolled, const struct node *operand,
                              enum loop_role role, const char *name)
{
    struct builder builder = builder_in(e, rolled->body);
    struct node *input = loop_input(&builder, operand, role, 0);
    input->name = name;
    return input;
}

/* A name that the body binds anew and that has a value, its own or that of an option: its input is bound in its place.
 */
static void carry(struct elaborator *e, struct rolled *rolled, const char *name)
{
    ptrdiff_t at = FIND(e->frame->bindings, name);
    struct rolled_operand carried = {.name = name};
    struct builder builder = builder_in(e, rolled->parent);
    if (!lookup(e, name, &carried.initial) || carried.initial.kind == VALUE_ERROR)
        return;
    carried.variable = at < 0 ? NULL : e->frame->bindings[at].variable;
    if (carried.initial.kind == VALUE_NUMBER)
        carried.initial = value_tensor(e, build_constant(&builder, carried.initial.number, ELEMENT_F32));
    if (carried.initial.kind != VALUE_TENSOR) {
        arrput(rolled->fixed, ((struct named_entry){name, carried.initial}));
        return;
    }
    carried.operand = carried.initial.node;
    carried.input = new_input(e, rolled, carried.operand, LOOP_CARRY, carried.operand->name);
    struct value inside = value_tensor_axes(e, carried.input, carried.initial.axes);
    inside.classes = carried.initial.classes;
    hmputs(e->frame->bindings, ((struct binding){name, inside, NULL}));
    arrput(rolled->carries, carried);
}

struct node *rolled_sequence(struct elaborator *e, struct rolled *rolled, struct node *tensor)
{
    struct rolled_operand sequence = {.operand = tensor};
    sequence.input = new_input(e, rolled, tensor, LOOP_SEQUENCE, NULL);
    arrput(rolled->sequences, sequence);
    return sequence.input;
}

/* Numbers low … low + turns - 1. */
static struct node *turn_numbers(const struct elaborator *e, const struct rolled *rolled)
{
    struct builder builder = builder_in(e, rolled->parent);
    struct type type = type_make(ELEMENT_I32, (struct shape){.rank = 1, .dimension = {rolled->turns}});
    struct node *numbers = build(&builder, OP_iota, NULL, 0, &(struct attributes){.axes = 1}, &type);
    if (rolled->low)
        numbers = build_binary(&builder, OP_add, numbers, build_constant(&builder, (double)rolled->low, ELEMENT_I32));
    return numbers;
}

/* ---- indexing by the turn ---- */

/* index = step * turn + first, where turn is the number of a rolled repeat around; false: it is something else. */
static bool affine_index(const struct elaborator *e, const struct node *index, struct rolled **of, int64_t *step,
                         int64_t *first)
{
    int64_t left_step, left_first, right_step, right_first;
    struct rolled *left = NULL, *right = NULL;
    *of = NULL;
    *step = *first = 0;
    if (index->op == OP_constant) {
        *first = (int64_t)index->attributes->value;
        return true;
    }
    for (struct rolled *rolled = e->rolled; rolled; rolled = rolled->outer)
        if (index == rolled->turn) {
            *of = rolled;
            *step = 1;
            return true;
        }
    bool negated = index->op == OP_neg;
    if ((index->op != OP_add && index->op != OP_sub && !negated) ||
        !affine_index(e, index->operands[0], &left, &left_step, &left_first) ||
        (!negated && !affine_index(e, index->operands[1], &right, &right_step, &right_first)) ||
        (left && right && left != right))
        return false;
    if (negated)
        right_step = left_step, right_first = left_first, left_step = left_first = 0;
    int64_t sign = index->op == OP_add ? 1 : -1;
    *of = left ? left : right;
    *step = left_step + sign * right_step;
    *first = left_first + sign * right_first;
    return true;
}

static bool outside(const struct elaborator *e, const struct rolled *of, const struct node *node)
{
    for (const struct rolled *rolled = e->rolled; rolled; rolled = rolled->outer) {
        if (stands_in(rolled->body, node))
            return false;
        if (rolled == of)
            return true;
    }
    return false;
}

/* The places that the turns take, along a new first axis, in the graph around the loop. */
static struct node *places(const struct elaborator *e, const struct rolled *rolled, struct node *x, int axis,
                           int64_t first, int64_t step)
{
    struct builder builder = builder_in(e, rolled->parent);
    struct attributes slice = {0};
    unsigned char permutation[RANK_MAX] = {(unsigned char)axis};
    for (int i = 0, k = 1; i < x->type.shape.rank; i++)
        if (i != axis)
            permutation[k++] = (unsigned char)i;
    if (axis)
        x = build_permute(&builder, x, permutation);
    int64_t lowest = step > 0 ? first : first - (rolled->turns - 1);
    for (int i = 0; i < x->type.shape.rank; i++) {
        slice.high[i] = x->type.shape.dimension[i];
        slice.step[i] = 1;
    }
    slice.low[0] = lowest;
    slice.high[0] = lowest + rolled->turns;
    if (rolled->turns != x->type.shape.dimension[0])
        x = build(&builder, OP_slice, &x, 1, &slice, NULL);
    return step > 0 ? x : build(&builder, OP_flip, &x, 1, &(struct attributes){.axes = 1}, NULL);
}

/* The place of the turn as an input of the loop's body, one for each tensor and way to index it; NULL after a
 * diagnostic. */
static struct node *place_of_turn(struct elaborator *e, struct rolled *rolled, struct node *x, int axis, int64_t first,
                                  int64_t step, struct span span)
{
    int64_t size = x->type.shape.dimension[axis], last = first + step * (rolled->turns - 1);
    if (first < 0 && last < 0)
        first += size, last += size;
    if (first < 0 || last < 0 || first >= size || last >= size) {
        report(e, E0209, span, NULL, "places %lld to %lld of an axis that has %lld", (long long)first, (long long)last,
               (long long)size);
        return NULL;
    }
    for (ptrdiff_t i = 0; i < arrlen(rolled->sequences); i++) {
        const struct rolled_operand *known = &rolled->sequences[i];
        if (known->from == x && known->axis == axis && known->first == first && known->step == step)
            return known->input;
    }
    struct node *input = rolled_sequence(e, rolled, places(e, rolled, x, axis, first, step));
    struct rolled_operand *sequence = &arrlast(rolled->sequences);
    sequence->from = x;
    sequence->axis = axis;
    sequence->first = first;
    sequence->step = step;
    return input;
}

struct value rolled_index(struct elaborator *e, const struct value *x, int axis, struct node *index, struct span span)
{
    struct rolled *rolled;
    int64_t step, first;
    struct axis axes[RANK_MAX];
    struct node *node, *operands[] = {x->node, index};
    for (int i = 0, k = 0; i < x->node->type.shape.rank; i++)
        if (i != axis)
            axes[k++] = x->axes[i];
    if (affine_index(e, index, &rolled, &step, &first) && rolled && (step == 1 || step == -1) &&
        outside(e, rolled, x->node)) {
        node = place_of_turn(e, rolled, x->node, axis, first + step * rolled->low, step, span);
        if (!node)
            return (struct value){0};
    } else {
        node = build(&e->builder, OP_gather, operands, 2, &(struct attributes){.axis = axis}, NULL);
    }
    struct value result = value_tensor_axes(e, node, axes);
    result.classes = x->classes;
    return result;
}

/* ---- what goes out ---- */

static const char *type_text(struct elaborator *e, const struct node *node)
{
    return type_format(&node->type, arena_allocate(e->arena, TYPE_TEXT), TYPE_TEXT);
}

/* What the name has after a turn, in the type that it began with; NULL after a diagnostic. */
static struct node *carried_on(struct elaborator *e, const struct rolled_operand *carried, struct span span)
{
    struct value value = e->frame->bindings[FIND(e->frame->bindings, carried->name)].value;
    if (value.kind == VALUE_ERROR)
        return NULL;
    if (value.kind == VALUE_NUMBER)
        return build_full(&e->builder, value.number, carried->operand->type.element, &carried->operand->type.shape);
    if (value.kind == VALUE_TENSOR && value.node->type.element == carried->operand->type.element &&
        shape_equal(&value.node->type.shape, &carried->operand->type.shape))
        return value.node;
    report(e, E0414, span, NULL, "`%s` is %s before the repeat and %s after a turn", carried->name,
           type_text(e, carried->operand),
           value.kind == VALUE_TENSOR ? type_text(e, value.node) : value_describe(e, &value));
    diagnostics_note(e->diagnostics, (struct span){0},
                     "what a rolled repeat carries from turn to turn keeps its shape and element type");
    return NULL;
}

/* Truth values, strings, lists are known at compile time: in all turns the same, or not at all. */
static bool check_fixed(struct elaborator *e, const struct rolled *rolled, struct span span)
{
    for (ptrdiff_t i = 0; i < arrlen(rolled->fixed); i++) {
        const struct named_entry *fixed = &rolled->fixed[i];
        struct value now = fixed->value;
        (void)lookup(e, fixed->key, &now);
        if (now.kind == VALUE_ERROR)
            return false;
        if (!value_same(&now, &fixed->value)) {
            report(e, E0414, span, NULL, "`%s` is %s before the repeat and another value after a turn", fixed->key,
                   value_describe(e, &fixed->value));
            diagnostics_note(e->diagnostics, (struct span){0},
                             "a rolled repeat carries tensors and numbers; another name would be the turn's own");
            return false;
        }
    }
    return true;
}

/* Names that have the same value after a turn are not carried: uses of their input are uses of the value outside. */
static void drop_unchanged(struct elaborator *e, struct rolled *rolled)
{
    ptrdiff_t kept = 0;
    for (ptrdiff_t i = 0; i < arrlen(rolled->carries); i++) {
        struct rolled_operand *carried = &rolled->carries[i];
        struct binding *binding = &e->frame->bindings[FIND(e->frame->bindings, carried->name)];
        if (binding->value.kind == VALUE_TENSOR && binding->value.node == carried->input) {
            carried->input->replacement = carried->operand;
            arrput(rolled->unchanged, *carried);
        } else {
            rolled->carries[kept++] = *carried;
        }
    }
    arrsetlen(rolled->carries, (size_t)kept);
}

static bool put_out(struct elaborator *e, const struct rolled *rolled, const struct collected *list, struct span span)
{
    int number = 0;
    struct builder builder = builder_in(e, rolled->body);
    for (ptrdiff_t i = 0; i < arrlen(rolled->carries); i++) {
        struct node *next = carried_on(e, &rolled->carries[i], span);
        if (!next)
            return false;
        build_output(&builder, loop_symbol(e->module, number++), next, OUTPUT_VALUE);
    }
    for (ptrdiff_t i = 0; i < arrlen(list); i++) {
        struct node *node = list[i].items[0].node;
        struct type all = {0};
        if (node->type.shape.rank < RANK_MAX)
            all = loop_type_of_sequence(&node->type, (int)rolled->turns);
        else
            report(e, E0211, list[i].span, NULL, "a tensor has at most %d axes", RANK_MAX);
        if (node->type.shape.rank == RANK_MAX || !shape_fits(e, &all.shape, list[i].span))
            return false;
        build_output(&builder, loop_symbol(e->module, number++), node, OUTPUT_VALUE);
    }
    return true;
}

/* ---- closing the body ---- */

/* A value outside and the node that stands for it inside. */
struct inside {
    const struct node *key;
    struct node *value;
};

struct closing {
    struct elaborator *e;
    struct rolled *rolled;
    struct inside *inside;  /* stb_ds hash */
    struct node **own;      /* stb_ds array: the body's nodes */
    struct node **captured; /* stb_ds array: operands */
    struct node **inputs;   /* stb_ds array: their inputs */
};

/* Is it made of a constant by repeating alone? */
static bool is_constant(const struct node *node)
{
    while (node->op == OP_reshape || node->op == OP_broadcast)
        node = node->operands[0];
    return node->op == OP_constant || node->op == OP_iota;
}

static struct node *bring_in(struct closing *closing, struct node *node)
{
    ptrdiff_t known = hmgeti(closing->inside, (const struct node *)node);
    if (known >= 0)
        return closing->inside[known].value;
    struct graph *body = closing->rolled->body;
    struct node *made;
    if (is_constant(node)) {
        struct node *operand = node->operand_count ? bring_in(closing, node->operands[0]) : NULL;
        struct builder builder = builder_at(body, node);
        made = build(&builder, node->op, &operand, node->operand_count, node->attributes, &node->type);
    } else {
        made = new_input(closing->e, closing->rolled, node, LOOP_CAPTURED, node->name);
        arrput(closing->captured, node);
        arrput(closing->inputs, made);
    }
    hmput(closing->inside, (const struct node *)node, made);
    return made;
}

/* Does the body need the node? Inputs that nothing uses are no operands. */
static void mark_needed(struct node *const *nodes)
{
    for (ptrdiff_t i = 0; i < arrlen(nodes); i++)
        nodes[i]->mark = op_is(nodes[i]->op, CLASS_EFFECT);
    for (ptrdiff_t i = arrlen(nodes) - 1; i >= 0; i--)
        for (int k = 0; nodes[i]->mark && k < nodes[i]->operand_count; k++)
            nodes[i]->operands[k]->mark = 1;
}

/* Rebuilds the body: what comes from outside first, then its own nodes that something needs. */
static void close_body(struct closing *closing)
{
    struct graph *body = closing->rolled->body;
    closing->own = graph_take_nodes(body);
    struct node **own = closing->own;
    for (ptrdiff_t i = 0; i < arrlen(own); i++)
        hmput(closing->inside, (const struct node *)own[i], own[i]);
    for (ptrdiff_t i = 0; i < arrlen(own); i++)
        graph_map_operands(own[i]);
    mark_needed(own);
    for (ptrdiff_t i = 0; i < arrlen(own); i++)
        for (int k = 0; own[i]->mark && k < own[i]->operand_count; k++)
            own[i]->operands[k] = bring_in(closing, own[i]->operands[k]);
    for (ptrdiff_t i = 0; i < arrlen(own); i++)
        if (own[i]->mark)
            graph_append(body, own[i]);
    for (ptrdiff_t i = 0; i < arrlen(own); i++)
        own[i]->replacement = NULL;
    graph_number(body);
}

static void number_input(struct closing *closing, struct node *input, int number)
{
    struct attributes attributes = *input->attributes;
    attributes.symbol = loop_symbol(closing->e->module, number);
    input->attributes = arena_copy(closing->e->arena, &attributes, sizeof attributes);
}

/* The loop, with the body's inputs numbered as its operands. */
static struct node *build_loop(struct closing *closing)
{
    struct rolled *rolled = closing->rolled;
    struct node **operands = NULL;
    struct attributes attributes = {.symbol = rolled->body->name};
    attributes.loop.turns = (int)rolled->turns;
    for (ptrdiff_t i = 0; i < arrlen(rolled->carries); i++) {
        number_input(closing, rolled->carries[i].input, (int)arrlen(operands));
        arrput(operands, rolled->carries[i].operand);
    }
    attributes.loop.carries = (int)arrlen(operands);
    for (ptrdiff_t i = 0; i < arrlen(rolled->sequences); i++) {
        bool needed = stands_in(rolled->body, rolled->sequences[i].input);
        if (!needed)
            continue;
        number_input(closing, rolled->sequences[i].input, (int)arrlen(operands));
        arrput(operands, rolled->sequences[i].operand);
    }
    attributes.loop.sequences = (int)arrlen(operands) - attributes.loop.carries;
    for (ptrdiff_t i = 0; i < arrlen(closing->captured); i++) {
        number_input(closing, closing->inputs[i], (int)arrlen(operands));
        arrput(operands, closing->captured[i]);
    }
    struct builder builder = builder_in(closing->e, rolled->parent);
    if (!arrlen(operands)) /* a loop has operands */
        arrput(operands, build_constant(&builder, 0, ELEMENT_F32));
    struct node *loop = build(&builder, OP_loop, operands, (int)arrlen(operands), &attributes, NULL);
    arrfree(operands);
    return loop;
}

/* Names that were made in the turns end with them; after an error they stay, so that it is the only one. */
static void forget_names(struct elaborator *e, const struct bound *bound, bool wrong)
{
    for (ptrdiff_t i = 0; i < arrlen(bound->names); i++) {
        ptrdiff_t at = FIND(e->frame->bindings, bound->names[i]);
        enum value_kind kind = at < 0 ? VALUE_ERROR : e->frame->bindings[at].value.kind;
        if (kind == VALUE_ERROR || kind == VALUE_NUMBER || kind == VALUE_BOOL || kind == VALUE_STRING)
            continue;
        if (wrong)
            e->frame->bindings[at].value = (struct value){0};
        else
            (void)hmdel(e->frame->bindings, bound->names[i]);
    }
}

/* Carried names and collected ones are bound to what the loop leaves. */
static void bind_results(struct elaborator *e, const struct rolled *rolled, struct node *loop,
                         const struct collected *list)
{
    struct builder builder = builder_in(e, rolled->parent);
    int number = 0;
    for (ptrdiff_t i = 0; i < arrlen(rolled->fixed); i++)
        bind(e, rolled->fixed[i].key, rolled->fixed[i].value, NULL);
    for (ptrdiff_t i = 0; i < arrlen(rolled->unchanged); i++)
        hmputs(e->frame->bindings, ((struct binding){rolled->unchanged[i].name, rolled->unchanged[i].initial,
                                                     rolled->unchanged[i].variable}));
    for (ptrdiff_t i = 0; i < arrlen(rolled->carries); i++) {
        const struct rolled_operand *carried = &rolled->carries[i];
        struct value result =
            value_tensor_axes(e, loop_result(&builder, loop, rolled->body, number++), carried->initial.axes);
        result.classes = carried->initial.classes;
        bind(e, carried->name, result, NULL);
    }
    for (ptrdiff_t i = 0; i < arrlen(list); i++) {
        const struct value *item = &list[i].items[0];
        struct axis axes[RANK_MAX] = {axis_here(e)};
        memcpy(axes + 1, item->axes, sizeof *axes * (size_t)item->node->type.shape.rank);
        struct value result = value_tensor_axes(e, loop_result(&builder, loop, rolled->body, number++), axes);
        result.classes = item->classes;
        bind(e, list[i].name, result, NULL);
    }
}

static void finish(struct elaborator *e, struct rolled *rolled, const struct collected *list, const struct bound *bound,
                   struct span span)
{
    drop_unchanged(e, rolled);
    if (!put_out(e, rolled, list, span) || !check_fixed(e, rolled, span))
        return;
    struct closing closing = {.e = e, .rolled = rolled};
    close_body(&closing);
    e->rolled = rolled->outer;
    e->builder.graph = rolled->parent;
    forget_names(e, bound, false);
    bind_results(e, rolled, build_loop(&closing), list);
    hmfree(closing.inside);
    arrfree(closing.own);
    arrfree(closing.captured);
    arrfree(closing.inputs);
}

/* ---- the statement ---- */

/* What a turn may not do is seen before it is elaborated. */
static bool may_roll(struct elaborator *e, const struct ast_statement *statement, struct bound *bound)
{
    const struct ast_name *label = &statement->repeat.label;
    bool rule = false;
    for (const struct frame *frame = e->frame; frame; frame = frame->caller)
        rule |= frame->state_prefix != NULL;
    if (!e->builder.graph || e->builder.graph == e->init || rule) {
        report(e, E0414, statement->span, NULL, "a rolled repeat stands in the model, not in %s",
               rule ? "an optimizer or a scale's rule" : "what is computed before it runs");
        return false;
    }
    look_at_block(e, statement->repeat.body, bound);
    if (label->name)
        refuse(e, label->span, "a label, which names an instance for each turn,", bound);
    if (!label->name && repeat_calls(e, statement->repeat.body)) {
        report(e, E0414, statement->span, NULL, "a module without a label would be another instance in each turn");
        diagnostics_note(e->diagnostics, (struct span){0}, "give it a label, which is one instance for all: `as cell`");
        bound->refused = true;
    }
    return !bound->refused;
}

static void run_turn(struct elaborator *e, struct rolled *rolled, const struct ast_statement *statement,
                     struct collected **list)
{
    ptrdiff_t outputs = arrlen(e->outputs), updates = arrlen(e->updates), totals = arrlen(e->totals);
    struct collected **outer = e->frame->collected;
    int errors = diagnostics_errors(e->diagnostics);
    e->frame->collected = list;
    bind(e, rolled->variable, value_tensor(e, rolled->turn), NULL);
    execute(e, statement->repeat.body);
    e->frame->collected = outer;
    if (diagnostics_errors(e->diagnostics) == errors &&
        (arrlen(e->outputs) != outputs || arrlen(e->updates) != updates || arrlen(e->totals) != totals))
        report(e, E0414, statement->span, NULL, "a module that changes its state has no place in a rolled repeat");
}

/* train.loop1, train.loop2, … */
static const char *body_name(struct elaborator *e)
{
    const char *graph = rolled_root(e)->name;
    for (int i = 1;; i++) {
        const char *name = arena_internf(e->arena, "%s.loop%d", graph, i);
        if (!module_find_graph(e->module, name))
            return name;
    }
}

void execute_rolled(struct elaborator *e, const struct ast_statement *statement, int64_t low, int64_t high)
{
    struct bound bound = {0};
    struct collected *list = NULL;
    int errors = diagnostics_errors(e->diagnostics);
    struct graph *parent = e->builder.graph;
    if (high <= low || !may_roll(e, statement, &bound)) {
        arrfree(bound.names);
        return;
    }
    struct rolled rolled = {.outer = e->rolled, .parent = parent, .low = low, .turns = high - low};
    rolled.variable = statement->repeat.variable.name;
    rolled.body = module_add_body(e->module, body_name(e));
    rolled.body->batch = parent->batch;
    for (ptrdiff_t i = 0; i < arrlen(bound.names); i++)
        carry(e, &rolled, bound.names[i]);
    e->turns++;
    e->rolled = &rolled;
    e->builder.graph = rolled.body;
    rolled.turn = rolled_sequence(e, &rolled, turn_numbers(e, &rolled));
    run_turn(e, &rolled, statement, &list);
    if (diagnostics_errors(e->diagnostics) == errors)
        finish(e, &rolled, list, &bound, statement->span);
    e->rolled = rolled.outer;
    e->builder.graph = parent;
    if (diagnostics_errors(e->diagnostics) > errors)
        forget_names(e, &bound, true);
    bind(e, rolled.variable, value_integer(high - 1), NULL);
    for (ptrdiff_t i = 0; i < arrlen(list); i++)
        arrfree(list[i].items);
    arrfree(list);
    arrfree(bound.names);
    arrfree(rolled.carries);
    arrfree(rolled.sequences);
    arrfree(rolled.unchanged);
    arrfree(rolled.fixed);
}
