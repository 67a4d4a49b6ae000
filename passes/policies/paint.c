/* Painting, as TensorFlow's grappler does it (auto_mixed_precision.cc; the lists are in paint.policy).
 *
 * The policy's classes are grappler's lists: half is allow, f32 is deny, promote is infer, follow is clear. What is
 * painted are units: a node, an operator (a scope that a rule names), or the backward nodes of one of them, which are
 * of its list, but for products, which are always of the allow list. Sums of gradients are of the list of `add`.
 *
 *   1  every unit of the allow list is allowed
 *   2  deny flows from each unit of the deny list forward, through units of infer and such of clear as lie upstream of
 *      deny or infer through clear alone
 *   3  units of infer and clear that are not denied and lie both downstream and upstream of the allow list (through
 *      such units alone) are allowed
 *   4  allow flows both ways through clear alone
 *
 * What is allowed is half, all else is f32. What the source, a keep or the graph's ends fix is no unit and stops every
 * flow, as do values that are no floats and what is made of parameters alone. In bf16 sums are of the infer list. */
#include "passes/precision.h"

#include <stb/stb_ds.h>
#include <string.h>

enum list { LIST_NONE, LIST_ALLOW, LIST_INFER, LIST_DENY, LIST_CLEAR };
enum { PATH_MOST = 6 };

struct unit {
    enum list list;
    const struct node *node;  /* its last one: what reasons call it */
    const char *rule;         /* why it is of its list */
    bool before_infer;        /* of deny or infer, or upstream of such through clear alone */
    int downstream, upstream; /* the unit that each flow of step 3 came from, from 1; 0: it did not come */
    enum element paint;       /* f16 or bf16, f32 when denied, NONE when nothing has come here */
    int from;                 /* where the paint came from, from 1; 0 for the roots */
    int step;
};

struct unit_key {
    struct {
        const char *operator;
        uint32_t forward, region;
    } key;
    int value;
};

/* Edges between units, both ways, one after the other: those of unit i stand at start[i] … start[i + 1]. */
struct edges {
    int *start, *ends;
};

struct painter {
    struct precision *precision;
    struct unit *units; /* stb_ds array */
    int *unit_of;       /* by node id; -1: in none */
    struct edges users, operands;
    int *queue; /* stb_ds array */
};

/* ---- units ---- */

static enum list list_of_class(enum precision_class class)
{
    static const enum list lists[] = {[PRECISION_NONE] = LIST_CLEAR,
                                      [PRECISION_HALF] = LIST_ALLOW,
                                      [PRECISION_F32] = LIST_DENY,
                                      [PRECISION_PROMOTE] = LIST_INFER,
                                      [PRECISION_FOLLOW] = LIST_CLEAR};
    return lists[class];
}

/* The list of a forward node, by its scope or its op. */
static enum list forward_list(const struct painter *painter, const struct node *node, const char **rule)
{
    struct precision *precision = painter->precision;
    const struct scope_verdict *scope = precision->choices[node->id].scope;
    *rule = scope->reason;
    if (scope->class == PRECISION_HALF)
        return op_is(node->op, CLASS_CONTRACTION) ? LIST_ALLOW : LIST_CLEAR;
    if (scope->class)
        return list_of_class(scope->class);
    struct rule_verdict verdict = matcher_rule(precision->matcher, node);
    *rule = verdict.reason;
    bool sum = node->op == OP_sum && precision->policy->half == ELEMENT_BF16;
    return sum ? LIST_INFER : list_of_class(verdict.class);
}

static enum list list_of(const struct painter *painter, const struct node *node, const char **rule)
{
    const struct precision *precision = painter->precision;
    const struct node *forward = node->forward ? precision->by_origin[node->forward] : NULL;
    if (node->region == REGION_FORWARD)
        return forward_list(painter, node, rule);
    if (op_is(node->op, CLASS_CONTRACTION) && !precision_in_operator(&precision->choices[node->id])) {
        *rule = "the backward of a product";
        return LIST_ALLOW;
    }
    if (precision->choices[node->id].sum || !forward) {
        *rule = "a sum of gradients";
        return LIST_INFER;
    }
    const char *reason = NULL;
    enum list list = forward_list(painter, forward, &reason);
    *rule = arena_internf(precision->graph->module->arena, "backward of %s", reason);
    return list;
}

/* What makes nodes one unit; region 0 for a node on its own. */
static struct unit_key key_of(const struct painter *painter, const struct node *node)
{
    const struct choice *choice = &painter->precision->choices[node->id];
    struct unit_key key = {.value = 0};
    bool product = op_is(node->op, CLASS_CONTRACTION);
    if (choice->sum)
        return key;
    if (precision_in_operator(choice))
        key.key.operator= choice->scope->operator;
    else if (node->region == REGION_BACKWARD && node->forward && !product)
        key.key.forward = node->forward;
    else
        return key;
    key.key.region = 1 + (uint32_t)node->region;
    return key;
}

static void collect_units(struct painter *painter)
{
    const struct precision *precision = painter->precision;
    const struct graph *graph = precision->graph;
    struct unit_key *keys = NULL;
    painter->unit_of = ARENA_ARRAY(graph->module->arena, int, arrlen(graph->nodes) + 1);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        painter->unit_of[i] = -1;
        if (!precision_is_free(precision, node))
            continue;
        struct unit_key key = key_of(painter, node);
        ptrdiff_t at = key.key.region ? hmgeti(keys, key.key) : -1;
        int unit = at >= 0 ? keys[at].value : (int)arrlen(painter->units);
        if (at < 0) {
            struct unit new = {.node = node};
            new.list = list_of(painter, node, &new.rule);
            arrput(painter->units, new);
            if (key.key.region)
                hmput(keys, key.key, unit);
        }
        if (!painter->units)
            castor_bug("a unit is known by its key before there is any");
        painter->units[unit].node = node;
        painter->unit_of[i] = unit;
    }
    hmfree(keys);
}

static void add_edges(const struct painter *painter, struct edges *edges, bool users, bool count)
{
    const struct graph *graph = painter->precision->graph;
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        for (int k = 0; k < graph->nodes[i]->operand_count; k++) {
            int user = painter->unit_of[i], operand = painter->unit_of[graph->nodes[i]->operands[k]->id];
            if (user < 0 || operand < 0 || user == operand)
                continue;
            int from = users ? operand : user;
            if (count)
                edges->start[from + 2]++;
            else
                edges->ends[edges->start[from + 1]++] = users ? user : operand;
        }
}

static struct edges list_edges(const struct painter *painter, bool users)
{
    struct arena *arena = painter->precision->graph->module->arena;
    ptrdiff_t count = arrlen(painter->units);
    struct edges edges = {.start = ARENA_ARRAY(arena, int, count + 2)};
    add_edges(painter, &edges, users, true);
    for (ptrdiff_t i = 2; i < count + 2; i++)
        edges.start[i] += edges.start[i - 1];
    edges.ends = ARENA_ARRAY(arena, int, edges.start[count + 1] + 1);
    add_edges(painter, &edges, users, false);
    return edges;
}

/* ---- the steps ---- */

/* Calls `enter` for each neighbour of each unit in the queue; those that it takes join the queue. */
static void flood(struct painter *painter, const struct edges *edges,
                  bool (*enter)(struct painter *painter, int unit, int from))
{
    for (ptrdiff_t at = 0; at < arrlen(painter->queue); at++) {
        int from = painter->queue[at];
        for (int i = edges->start[from]; i < edges->start[from + 1]; i++)
            if (enter(painter, edges->ends[i], from))
                arrput(painter->queue, edges->ends[i]);
    }
}

static void start_from(struct painter *painter, enum list list)
{
    arrsetlen(painter->queue, 0);
    for (int i = 0; i < (int)arrlen(painter->units); i++)
        if (painter->units[i].list == list)
            arrput(painter->queue, i);
}

static bool enter_before_infer(struct painter *painter, int number, int from)
{
    struct unit *unit = &painter->units[number];
    (void)from;
    if (unit->before_infer || unit->list != LIST_CLEAR)
        return false;
    return unit->before_infer = true;
}

static bool enter_deny(struct painter *painter, int number, int from)
{
    struct unit *unit = &painter->units[number];
    if (unit->paint || !unit->before_infer)
        return false;
    unit->paint = ELEMENT_F32;
    unit->from = from + 1;
    unit->step = 2;
    return true;
}

/* Step 2. */
static void deny(struct painter *painter)
{
    arrsetlen(painter->queue, 0);
    for (int i = 0; i < (int)arrlen(painter->units); i++) {
        struct unit *unit = &painter->units[i];
        unit->before_infer = unit->list == LIST_DENY || unit->list == LIST_INFER;
        if (unit->before_infer)
            arrput(painter->queue, i);
    }
    flood(painter, &painter->operands, enter_before_infer);
    start_from(painter, LIST_DENY);
    for (ptrdiff_t i = 0; i < arrlen(painter->queue); i++)
        painter->units[painter->queue[i]].paint = ELEMENT_F32;
    flood(painter, &painter->users, enter_deny);
}

static bool enter_downstream(struct painter *painter, int number, int from)
{
    struct unit *unit = &painter->units[number];
    bool flows = unit->list == LIST_INFER || unit->list == LIST_CLEAR;
    if (unit->downstream || unit->paint || !flows)
        return false;
    unit->downstream = from + 1;
    return true;
}

static bool enter_upstream(struct painter *painter, int number, int from)
{
    struct unit *unit = &painter->units[number];
    if (unit->upstream || !unit->downstream)
        return false;
    unit->upstream = from + 1;
    return true;
}

/* Steps 1 and 3. */
static void allow(struct painter *painter)
{
    enum element half = painter->precision->policy->half;
    start_from(painter, LIST_ALLOW);
    for (ptrdiff_t i = 0; i < arrlen(painter->queue); i++) {
        painter->units[painter->queue[i]].paint = half;
        painter->units[painter->queue[i]].step = 1;
    }
    flood(painter, &painter->users, enter_downstream);
    start_from(painter, LIST_ALLOW);
    flood(painter, &painter->operands, enter_upstream);
    for (ptrdiff_t i = 0; i < arrlen(painter->units); i++) {
        struct unit *unit = &painter->units[i];
        if (!unit->upstream || unit->paint)
            continue;
        unit->paint = half;
        unit->step = 3;
    }
}

static bool enter_clear(struct painter *painter, int number, int from)
{
    struct unit *unit = &painter->units[number];
    if (unit->paint || unit->list != LIST_CLEAR)
        return false;
    unit->paint = painter->precision->policy->half;
    unit->from = from + 1;
    unit->step = 4;
    return true;
}

/* Step 4: through operands and users in turn until neither goes on. */
static void flow_through_clear(struct painter *painter)
{
    arrsetlen(painter->queue, 0);
    for (int i = 0; i < (int)arrlen(painter->units); i++)
        if (painter->units[i].paint == painter->precision->policy->half)
            arrput(painter->queue, i);
    ptrdiff_t before;
    do {
        before = arrlen(painter->queue);
        flood(painter, &painter->operands, enter_clear);
        flood(painter, &painter->users, enter_clear);
    } while (arrlen(painter->queue) > before);
}

/* ---- reasons ---- */

static const char *unit_text(const struct painter *painter, int number)
{
    const struct precision *precision = painter->precision;
    const struct node *node = painter->units[number].node;
    const struct choice *choice = &precision->choices[node->id];
    const char *name = precision_node_text(precision, node);
    if (!precision_in_operator(choice))
        return name;
    const char *slash = strrchr(choice->scope->operator, '/');
    const char *colon = strchr(slash ? slash : choice->scope->operator, ':');
    return arena_internf(precision->graph->module->arena, "%s%s %s",
                         node->region == REGION_BACKWARD ? "the backward of " : "", colon ? colon + 1 : "", name);
}

/* " through a, b, c", the units between this one and the root of its flow; *root is set to that. */
static const char *path_text(const struct painter *painter, const struct unit *unit, int *root)
{
    struct arena *arena = painter->precision->graph->module->arena;
    const char *text = "";
    int length = 0, at = unit->from - 1;
    for (; painter->units[at].from; at = painter->units[at].from - 1, length++)
        if (length < PATH_MOST)
            text = arena_printf(arena, "%s%s%s", text, length ? ", " : " through ", unit_text(painter, at));
    *root = at;
    return length > PATH_MOST ? arena_printf(arena, "%s and %d more", text, length - PATH_MOST) : text;
}

/* The product that a flow of step 3 began at. */
static int flow_root(const struct painter *painter, int number, bool downstream)
{
    int next = number;
    while (next) {
        number = next;
        next = downstream ? painter->units[number - 1].downstream : painter->units[number - 1].upstream;
        if (painter->units[number - 1].list == LIST_ALLOW)
            next = 0;
    }
    return number - 1;
}

static const char *reason_of(const struct painter *painter, const struct unit *unit)
{
    struct arena *arena = painter->precision->graph->module->arena;
    int root = 0;
    const char *path = unit->from ? path_text(painter, unit, &root) : "";
    if (unit->list == LIST_ALLOW || (unit->list == LIST_DENY && !unit->from))
        return unit->rule;
    if (unit->paint == ELEMENT_F32)
        return arena_internf(arena, "paint: denied%s by %s (%s)", path, unit_text(painter, root),
                             painter->units[root].rule);
    if (unit->step == 3)
        return arena_internf(arena, "paint: between the products %s and %s",
                             unit_text(painter, flow_root(painter, unit->downstream, true)),
                             unit_text(painter, flow_root(painter, unit->upstream, false)));
    if (unit->step == 4)
        return arena_internf(arena, "paint: allowed with its neighbour %s%s", unit_text(painter, root), path);
    return arena_internf(arena, "paint: f32, not between two products (%s)", unit->rule);
}

static void tell(const struct painter *painter)
{
    const struct graph *graph = painter->precision->graph;
    const char **reasons = ARENA_ARRAY(graph->module->arena, const char *, arrlen(painter->units) + 1);
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        int number = painter->unit_of[i];
        if (number < 0)
            continue;
        const struct unit *unit = &painter->units[number];
        if (!reasons[number])
            reasons[number] = reason_of(painter, unit);
        precision_tell(painter->precision, graph->nodes[i], unit->paint ? unit->paint : ELEMENT_F32, reasons[number]);
    }
}

void precision_paint(struct precision *precision)
{
    struct painter painter = {.precision = precision};
    collect_units(&painter);
    painter.users = list_edges(&painter, true);
    painter.operands = list_edges(&painter, false);
    deny(&painter);
    allow(&painter);
    flow_through_clear(&painter);
    tell(&painter);
    arrfree(painter.units);
    arrfree(painter.queue);
}
