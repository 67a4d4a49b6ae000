/* Node by node from the graph to ONNX (operator set 18).
 *
 * A node of Castor computes in f32 and rounds once to its type; ONNX's operators work within one type. So where
 * operands and result have one type, f32 or f16, the operator is put as it is; else operands are cast to f32 (whole
 * numbers among themselves to i64), and the result from there. bf16 always goes through f32, which is what
 * implementations do. */
#include "frontend/onnx.h"
#include "frontend/onnx_proto.h"
#include "runtime/file.h"
#include "runtime/tensor.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET = 18, OPERANDS = 3 };

struct exporting {
    const struct graph *graph;
    struct arena *arena;
    struct message out; /* the GraphProto */
    const char **names; /* by node id: what holds its value */
    int temporaries;
    const struct safetensors *weights;
    struct {
        const char *key;
        const char *value;
    } * variables; /* stb_ds hash: names of variables that are in the model already */
    struct error *error;
};

/* ---- emitting ---- */

/* No input, parameter or output is called so: those of the language have no number after a dot. */
static const char *new_name(struct exporting *e)
{
    return arena_printf(e->arena, "value.%d", e->temporaries++);
}

static void finish(struct exporting *e, struct message *node)
{
    message_put(&e->out, GRAPH_NODE, node);
}

static const char *emit(struct exporting *e, const char *op, const char *a, const char *b, const char *c)
{
    const char *inputs[] = {a, b, c}, *name = new_name(e);
    struct message node = onnx_node(op, inputs, c ? 3 : b ? 2 : 1, name);
    finish(e, &node);
    return name;
}

static const char *emit_integer(struct exporting *e, const char *op, const char *a, const char *b, const char *key,
                                int64_t value)
{
    const char *inputs[] = {a, b}, *name = new_name(e);
    struct message node = onnx_node(op, inputs, b ? 2 : 1, name);
    onnx_node_integer(&node, key, value);
    finish(e, &node);
    return name;
}

static const char *cast(struct exporting *e, const char *value, enum element from, enum element to)
{
    return from == to ? value : emit_integer(e, "Cast", value, NULL, "to", onnx_element(to));
}

static const char *constant(struct exporting *e, const struct type *type, const void *bytes)
{
    const char *name = new_name(e);
    struct message tensor = onnx_tensor(name, type, bytes);
    message_put(&e->out, GRAPH_INITIALIZER, &tensor);
    return name;
}

static const char *integers(struct exporting *e, const int64_t *values, int count)
{
    struct type type = type_make(ELEMENT_I64, shape_make(1, (const int64_t[]){count}));
    return constant(e, &type, values);
}

static const char *scalar(struct exporting *e, double value, enum element element)
{
    char bytes[8];
    struct type type = type_scalar(element);
    tensor_put((enum program_element)element, bytes, value);
    return constant(e, &type, bytes);
}

static const char *shaped(struct exporting *e, const char *op, const char *value, const struct shape *shape)
{
    return emit(e, op, value, integers(e, shape->dimension, shape->rank), NULL);
}

static bool refuse(struct exporting *e, const struct node *node, const char *why)
{
    diagnostics_error(e->graph->module->diagnostics, E0901, node->span, NULL, "%s has no ONNX form: %s",
                      op_info(node->op)->name, why);
    return false;
}

/* ---- types ---- */

static const char *operand(const struct exporting *e, const struct node *node, int number)
{
    return e->names[node->operands[number]->id];
}

static enum element element_of(const struct node *node, int number)
{
    return node->operands[number]->type.element;
}

/* The type in which an operator works on operands `first` and behind. */
static enum element working_type(const struct node *node, int first)
{
    enum element result = node->type.element, common = element_of(node, first);
    bool floating = element_is_float(result);
    for (int i = first; i < node->operand_count; i++) {
        floating |= element_is_float(element_of(node, i));
        common = element_of(node, i) == common ? common : ELEMENT_NONE;
    }
    if (!floating)
        return common == ELEMENT_I32 ? ELEMENT_I32 : ELEMENT_I64;
    bool direct = common == ELEMENT_F16 && (result == common || result == ELEMENT_BOOL);
    return direct ? ELEMENT_F16 : ELEMENT_F32;
}

static const char *as(struct exporting *e, const struct node *node, int number, enum element element)
{
    return cast(e, operand(e, node, number), element_of(node, number), element);
}

/* ---- pointwise ---- */

static const char *const direct[OP_COUNT] = {
    [OP_neg] = "Neg",         [OP_abs] = "Abs",     [OP_sign] = "Sign",        [OP_floor] = "Floor",
    [OP_ceil] = "Ceil",       [OP_round] = "Round", [OP_sqrt] = "Sqrt",        [OP_exp] = "Exp",
    [OP_log] = "Log",         [OP_sin] = "Sin",     [OP_cos] = "Cos",          [OP_tanh] = "Tanh",
    [OP_sigmoid] = "Sigmoid", [OP_erf] = "Erf",     [OP_add] = "Add",          [OP_sub] = "Sub",
    [OP_mul] = "Mul",         [OP_div] = "Div",     [OP_pow] = "Pow",          [OP_max] = "Max",
    [OP_min] = "Min",         [OP_eq] = "Equal",    [OP_ne] = "Equal",         [OP_lt] = "Less",
    [OP_le] = "LessOrEqual",  [OP_gt] = "Greater",  [OP_ge] = "GreaterOrEqual"};

static const char *const logical[OP_COUNT] = {[OP_not] = "Not", [OP_and] = "And", [OP_or] = "Or"};

static const char *emit_finite(struct exporting *e, const struct node *node)
{
    const char *value = as(e, node, 0, ELEMENT_F32);
    const char *bad = emit(e, "Or", emit(e, "IsNaN", value, NULL, NULL), emit(e, "IsInf", value, NULL, NULL), NULL);
    return emit(e, "Not", bad, NULL, NULL);
}

/* Those that take more than one operator, on operands of the working type. */
static const char *emit_composed(struct exporting *e, const struct node *node, const char *const in[OPERANDS],
                                 enum element element)
{
    switch (node->op) {
    case OP_rsqrt:
        return emit(e, "Reciprocal", emit(e, "Sqrt", in[0], NULL, NULL), NULL, NULL);
    case OP_expm1:
        return emit(e, "Sub", emit(e, "Exp", in[0], NULL, NULL), scalar(e, 1, element), NULL);
    case OP_log1p:
        return emit(e, "Log", emit(e, "Add", in[0], scalar(e, 1, element), NULL), NULL, NULL);
    case OP_fma:
        return emit(e, "Add", emit(e, "Mul", in[0], in[1], NULL), in[2], NULL);
    default:
        return NULL;
    }
}

/* The type in which values that stay as they are pass through: few implementations move bf16. */
static enum element moving_type(const struct node *node)
{
    return node->type.element == ELEMENT_BF16 ? ELEMENT_F32 : node->type.element;
}

static const char *emit_where(struct exporting *e, const struct node *node)
{
    enum element element = moving_type(node);
    const char *condition = as(e, node, 0, ELEMENT_BOOL);
    const char *chosen = emit(e, "Where", condition, as(e, node, 1, element), as(e, node, 2, element));
    return cast(e, chosen, element, node->type.element);
}

static const char *emit_pointwise(struct exporting *e, const struct node *node)
{
    const char *in[OPERANDS] = {NULL}, *result;
    if (node->op == OP_cast)
        return cast(e, operand(e, node, 0), element_of(node, 0), node->type.element);
    if (node->op == OP_where)
        return emit_where(e, node);
    if (node->op == OP_isfinite)
        return emit_finite(e, node);
    enum element element = logical[node->op] ? ELEMENT_BOOL : working_type(node, 0);
    for (int i = 0; i < node->operand_count; i++)
        in[i] = as(e, node, i, element);
    const char *op = logical[node->op] ? logical[node->op] : direct[node->op];
    result = op ? emit(e, op, in[0], in[1], in[2]) : emit_composed(e, node, in, element);
    if (node->op == OP_ne)
        result = emit(e, "Not", result, NULL, NULL);
    enum element made = node->type.element == ELEMENT_BOOL ? ELEMENT_BOOL : element;
    return result ? cast(e, result, made, node->type.element) : NULL;
}

/* ---- reductions ---- */

static int list_axes(const struct node *node, int64_t axes[RANK_MAX])
{
    int count = 0;
    for (int i = 0; i < node->operands[0]->type.shape.rank; i++)
        if (node->attributes->axes >> i & 1)
            axes[count++] = i;
    return count;
}

static const char *emit_reduce(struct exporting *e, const struct node *node)
{
    int64_t axes[RANK_MAX];
    const char *const op = node->op == OP_sum          ? "ReduceSum"
                           : node->op == OP_prod       ? "ReduceProd"
                           : node->op == OP_reduce_max ? "ReduceMax"
                           : node->op == OP_reduce_min ? "ReduceMin"
                                                       : NULL;
    enum element element = element_is_float(element_of(node, 0)) ? ELEMENT_F32 : ELEMENT_I64;
    const char *value = as(e, node, 0, element), *list = integers(e, axes, list_axes(node, axes));
    if (node->op == OP_m2) {
        const char *apart = emit(e, "Sub", value, emit(e, "ReduceMean", value, list, NULL), NULL);
        value = emit(e, "Mul", apart, apart, NULL);
    }
    return cast(e, emit(e, op ? op : "ReduceSum", value, list, NULL), element, node->type.element);
}

static const char *emit_choice(struct exporting *e, const struct node *node)
{
    int64_t axes[RANK_MAX];
    if (list_axes(node, axes) != 1) {
        refuse(e, node, "it looks for one place over several axes");
        return NULL;
    }
    enum element element = element_is_float(element_of(node, 0)) ? ELEMENT_F32 : ELEMENT_I32;
    const char *value = as(e, node, 0, element);
    const char *place = emit_integer(e, node->op == OP_argmax ? "ArgMax" : "ArgMin", value, NULL, "axis", axes[0]);
    return cast(e, place, ELEMENT_I64, node->type.element);
}

/* ---- movements ---- */

static const char *emit_slice(struct exporting *e, const char *value, int rank, const int64_t *low, const int64_t *high,
                              const int64_t *step)
{
    int64_t axes[RANK_MAX];
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    const char *inputs[] = {value, integers(e, low, rank), integers(e, high, rank), integers(e, axes, rank),
                            integers(e, step, rank)};
    const char *name = new_name(e);
    struct message node = onnx_node("Slice", inputs, 5, name);
    finish(e, &node);
    return name;
}

static const char *emit_flip(struct exporting *e, const struct node *node, const char *value)
{
    const struct shape *shape = &node->type.shape;
    int64_t low[RANK_MAX], high[RANK_MAX], step[RANK_MAX];
    for (int i = 0; i < shape->rank; i++) {
        bool flipped = node->attributes->axes >> i & 1;
        low[i] = flipped ? -1 : 0;
        high[i] = flipped ? INT64_MIN + 1 : shape->dimension[i];
        step[i] = flipped ? -1 : 1;
    }
    return emit_slice(e, value, shape->rank, low, high, step);
}

static const char *emit_pad(struct exporting *e, const char *value, enum element element, int rank, const int64_t *low,
                            const int64_t *high, double fill)
{
    int64_t pads[2 * RANK_MAX];
    memcpy(pads, low, sizeof *low * (size_t)rank);
    memcpy(pads + rank, high, sizeof *high * (size_t)rank);
    return emit(e, "Pad", value, integers(e, pads, 2 * rank), scalar(e, fill, element));
}

static const char *emit_permute(struct exporting *e, const char *value, const int64_t *order, int rank)
{
    const char *name = new_name(e);
    struct message node = onnx_node("Transpose", &value, 1, name);
    onnx_node_integers(&node, "perm", order, rank);
    finish(e, &node);
    return name;
}

static const char *emit_joined(struct exporting *e, const char *const *values, int count, int64_t axis)
{
    const char *name = new_name(e);
    struct message node = onnx_node("Concat", values, count, name);
    onnx_node_integer(&node, "axis", axis);
    finish(e, &node);
    return name;
}

/* The window at each place: one strided slice for each place within the window, joined along a new last axis. */
static const char *emit_window(struct exporting *e, const struct node *node, const char *value)
{
    const struct shape *from = &node->operands[0]->type.shape, *to = &node->type.shape;
    const struct window *window = &node->attributes->window;
    int rank = from->rank, first = rank - window->rank;
    int64_t low[RANK_MAX] = {0}, high[RANK_MAX] = {0}, step[RANK_MAX], places = 1;
    const char **parts = NULL;
    for (int i = 0; i < window->rank; i++) {
        low[first + i] = window->pad_low[i];
        high[first + i] = window->pad_high[i];
        places *= window->kernel[i];
    }
    value = emit_pad(e, value, moving_type(node), rank, low, high, node->attributes->value);
    struct shape column = shape_make(rank, to->dimension);
    column.dimension[column.rank++] = 1;
    for (int64_t place = 0; place < places; place++) {
        int64_t rest = place;
        for (int i = 0; i < rank; i++) {
            low[i] = 0;
            high[i] = from->dimension[i];
            step[i] = 1;
        }
        for (int i = window->rank - 1; i >= 0; i--) {
            low[first + i] = rest % window->kernel[i] * window->dilation[i];
            step[first + i] = window->stride[i];
            high[first + i] = low[first + i] + (to->dimension[first + i] - 1) * window->stride[i] + 1;
            rest /= window->kernel[i];
        }
        arrput(parts, shaped(e, "Reshape", emit_slice(e, value, rank, low, high, step), &column));
    }
    const char *joined = emit_joined(e, parts, (int)places, rank);
    arrfree(parts);
    return shaped(e, "Reshape", joined, to);
}

static const char *emit_concat(struct exporting *e, const struct node *node)
{
    const char **values = NULL;
    for (int i = 0; i < node->operand_count; i++)
        arrput(values, as(e, node, i, moving_type(node)));
    const char *result = emit_joined(e, values, node->operand_count, node->attributes->axis);
    arrfree(values);
    return result;
}

static const char *emit_cumsum(struct exporting *e, const struct node *node)
{
    enum element element = element_is_float(element_of(node, 0)) ? ELEMENT_F32 : ELEMENT_I64;
    const char *axis = scalar(e, node->attributes->axis, ELEMENT_I64), *value = as(e, node, 0, element);
    return cast(e, emit_integer(e, "CumSum", value, axis, "reverse", node->attributes->reverse), element,
                node->type.element);
}

static void put_value(struct exporting *e, int field, const char *name, const struct type *type)
{
    struct message value = onnx_value(name, type);
    message_put(&e->out, field, &value);
}

/* One turn of the loop: element `turn`, if not suppressed, suppresses those behind it that it has the pair with. */
static struct message suppressing_turn(struct exporting *e, const struct node *node)
{
    struct message outside = e->out;
    const struct type *type = &node->type, one = type_scalar(ELEMENT_BOOL), index = type_scalar(ELEMENT_I64);
    int last = type->shape.rank - 1;
    int64_t n = type->shape.dimension[last], *places = ARENA_ARRAY(e->arena, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++)
        places[i] = i;
    const char *turn = new_name(e), *on = new_name(e), *before = new_name(e);
    e->out = (struct message){0};
    message_text(&e->out, GRAPH_NAME, op_info(node->op)->name);
    put_value(e, GRAPH_INPUT, turn, &index);
    put_value(e, GRAPH_INPUT, on, &one);
    put_value(e, GRAPH_INPUT, before, type);
    const char *pairs = emit_integer(e, "Gather", operand(e, node, 0), turn, "axis", last);
    const char *which = emit(e, "Unsqueeze", turn, integers(e, (const int64_t[]){0}, 1), NULL);
    const char *own = emit_integer(e, "Gather", before, which, "axis", last);
    const char *behind = emit(e, "Less", turn, integers(e, places, (int)n), NULL);
    const char *hit = emit(e, "And", emit(e, "And", pairs, behind, NULL), emit(e, "Not", own, NULL, NULL), NULL);
    put_value(e, GRAPH_OUTPUT, emit(e, "Identity", on, NULL, NULL), &one);
    put_value(e, GRAPH_OUTPUT, emit(e, "Or", before, hit, NULL), type);
    struct message body = e->out;
    e->out = outside;
    return body;
}

static const char *emit_suppressed(struct exporting *e, const struct node *node)
{
    const struct shape *shape = &node->type.shape;
    const char *turns = scalar(e, (double)shape->dimension[shape->rank - 1], ELEMENT_I64), *name = new_name(e);
    const char *none = constant(e, &node->type, ARENA_ARRAY(e->arena, char, shape_elements(shape) + 1));
    const char *inputs[] = {turns, scalar(e, 1, ELEMENT_BOOL), none};
    struct message body = suppressing_turn(e, node), loop = onnx_node("Loop", inputs, 3, name);
    onnx_node_graph(&loop, "body", &body);
    finish(e, &loop);
    return name;
}

/* ---- contractions ---- */

static const char *emit_matmul(struct exporting *e, const struct node *node)
{
    enum element element = working_type(node, 0);
    const char *in[2];
    for (int i = 0; i < 2; i++) {
        int rank = node->operands[i]->type.shape.rank;
        int64_t order[RANK_MAX];
        in[i] = as(e, node, i, element);
        for (int k = 0; k < rank; k++)
            order[k] = k < rank - 2 ? k : 2 * rank - 3 - k;
        if (i ? node->attributes->transpose_b : node->attributes->transpose_a)
            in[i] = emit_permute(e, in[i], order, rank);
    }
    return cast(e, emit(e, "MatMul", in[0], in[1], NULL), element, node->type.element);
}

/* What the geometry leaves open: the sides of x that no window reaches. */
static void put_output_padding(struct message *conv, const struct node *node, const struct window *window)
{
    int64_t padding[SPATIAL_MAX];
    for (int i = 0; i < window->rank; i++)
        padding[i] = node->type.shape.dimension[2 + i] + window->pad_low[i] + window->pad_high[i] -
                     (node->operands[1]->type.shape.dimension[2 + i] - 1) * window->stride[i] -
                     (window->kernel[i] - 1) * window->dilation[i] - 1;
    onnx_node_integers(conv, "output_padding", padding, window->rank);
}

static const char *emit_conv(struct exporting *e, const struct node *node)
{
    bool transposed = node->op == OP_conv_data; /* its weight is the first operand */
    const struct window *window = &node->attributes->window;
    enum element element = working_type(node, 0);
    const char *in[] = {as(e, node, transposed, element), as(e, node, !transposed, element)}, *name = new_name(e);
    int64_t pads[2 * SPATIAL_MAX];
    memcpy(pads, window->pad_low, sizeof *pads * (size_t)window->rank);
    memcpy(pads + window->rank, window->pad_high, sizeof *pads * (size_t)window->rank);
    struct message conv = onnx_node(transposed ? "ConvTranspose" : "Conv", in, 2, name);
    onnx_node_integers(&conv, "kernel_shape", window->kernel, window->rank);
    onnx_node_integers(&conv, "strides", window->stride, window->rank);
    onnx_node_integers(&conv, "dilations", window->dilation, window->rank);
    onnx_node_integers(&conv, "pads", pads, 2 * window->rank);
    onnx_node_integer(&conv, "group", node->attributes->groups);
    if (transposed)
        put_output_padding(&conv, node, window);
    finish(e, &conv);
    return cast(e, name, element, node->type.element);
}

/* ---- leaves ---- */

static const char *emit_iota(struct exporting *e, const struct node *node)
{
    struct type type = type_make(ELEMENT_I32, node->type.shape);
    for (int i = 0; i < type.shape.rank; i++)
        if (!(node->attributes->axes >> i & 1))
            type.shape.dimension[i] = 1;
    int64_t count = shape_elements(&type.shape);
    int32_t *values = malloc(sizeof *values * (size_t)count + 1);
    if (!values)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        values[i] = (int32_t)i;
    const char *list = constant(e, &type, values);
    free(values);
    return cast(e, shaped(e, "Expand", list, &node->type.shape), ELEMENT_I32, node->type.element);
}

static void put_input(struct exporting *e, const char *name, const struct type *type)
{
    struct message value = onnx_value(name, type);
    message_put(&e->out, GRAPH_INPUT, &value);
}

static const char *emit_input(struct exporting *e, const struct node *node)
{
    put_input(e, node->attributes->symbol, &node->type);
    return node->attributes->symbol;
}

/* A weight from the file, in the variable's type. */
static bool put_weight(struct exporting *e, const struct variable *variable)
{
    const struct safetensors_tensor *saved = safetensors_find(e->weights, variable->name);
    const struct shape *shape = &variable->type.shape;
    size_t count = (size_t)shape_elements(shape), width = element_bytes(variable->type.element);
    if (!saved)
        return error_set(e->error, "%s: has no %s, which this network has", e->weights->path, variable->name);
    if (saved->rank != shape->rank ||
        memcmp(saved->dimension, shape->dimension, sizeof *saved->dimension * (size_t)shape->rank) != 0)
        return error_set(e->error, "%s: %s has another shape than in this network", e->weights->path, variable->name);
    char *bytes = malloc(count * width + 1);
    if (!bytes)
        return error_set(e->error, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const char *at = (const char *)saved->data + i * (saved->bytes / count);
        tensor_put((enum program_element)variable->type.element, bytes + i * width, tensor_get(saved->element, at));
    }
    struct message tensor = onnx_tensor(variable->name, &variable->type, bytes);
    message_put(&e->out, GRAPH_INITIALIZER, &tensor);
    free(bytes);
    return true;
}

/* A half copy of a parameter is the parameter, cast. */
static const char *emit_read(struct exporting *e, const struct node *node)
{
    const struct module *module = e->graph->module;
    const struct variable *variable = module_find_variable(module, node->attributes->symbol);
    if (variable->kind == VARIABLE_COPY)
        variable = module_find_variable(module, variable->source);
    if (variable->kind != VARIABLE_PARAMETER && variable->kind != VARIABLE_STATE) {
        refuse(e, node, variable->kind == VARIABLE_HOST ? "random draws are Castor's own" : "only training counts it");
        return NULL;
    }
    if (!shget(e->variables, variable->name)) {
        if (e->weights && !put_weight(e, variable))
            return NULL;
        if (!e->weights)
            put_input(e, variable->name, &variable->type);
        shput(e->variables, variable->name, variable->name);
    }
    return cast(e, variable->name, variable->type.element, node->type.element);
}

static bool is_input_or_weight(const struct graph *graph, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++) {
        const struct node *node = graph->nodes[i];
        const char *symbol = node->attributes->symbol;
        const struct variable *variable = node->op == OP_read ? module_find_variable(graph->module, symbol) : NULL;
        if (variable && variable->kind == VARIABLE_COPY)
            symbol = variable->source;
        if ((node->op == OP_input || variable) && strcmp(symbol, name) == 0)
            return true;
    }
    return false;
}

/* The name under which a result is known, apart from those of inputs and weights. */
static const char *emit_output(struct exporting *e, const struct node *node)
{
    const struct attributes *attributes = node->attributes;
    const char *value = operand(e, node, 0), *name = attributes->symbol;
    const char *end = attributes->output == OUTPUT_NUMERATOR     ? ".numerator"
                      : attributes->output == OUTPUT_DENOMINATOR ? ".denominator"
                                                                 : "";
    name = arena_printf(e->arena, "%s%s", name, end);
    while (is_input_or_weight(e->graph, name))
        name = arena_printf(e->arena, "%s.output", name);
    struct message same = onnx_node("Identity", &value, 1, name), result = onnx_value(name, &node->operands[0]->type);
    finish(e, &same);
    message_put(&e->out, GRAPH_OUTPUT, &result);
    return name;
}

/* ---- the graph ---- */

/* A movement of a value in the type in which it moves. */
static const char *emit_moved(struct exporting *e, const struct node *node, const char *value)
{
    const struct attributes *attributes = node->attributes;
    int64_t order[RANK_MAX];
    for (int i = 0; i < node->type.shape.rank; i++)
        order[i] = attributes->permutation[i];
    switch (node->op) {
    case OP_reshape:
        return shaped(e, "Reshape", value, &node->type.shape);
    case OP_broadcast:
        return shaped(e, "Expand", value, &node->type.shape);
    case OP_permute:
        return emit_permute(e, value, order, node->type.shape.rank);
    case OP_slice:
        return emit_slice(e, value, node->type.shape.rank, attributes->low, attributes->high, attributes->step);
    case OP_pad:
        return emit_pad(e, value, moving_type(node), node->type.shape.rank, attributes->low, attributes->high,
                        attributes->value);
    case OP_flip:
        return emit_flip(e, node, value);
    case OP_concat:
        return emit_concat(e, node);
    case OP_window:
        return emit_window(e, node, value);
    default:
        return NULL;
    }
}

static const char *emit_movement(struct exporting *e, const struct node *node)
{
    const char *moved = op_is(node->op, CLASS_MOVEMENT) ? emit_moved(e, node, as(e, node, 0, moving_type(node))) : NULL;
    return moved ? cast(e, moved, moving_type(node), node->type.element) : NULL;
}

static const char *emit_gather(struct exporting *e, const struct node *node)
{
    const char *table = as(e, node, 0, moving_type(node)), *index = as(e, node, 1, ELEMENT_I64);
    const char *rows = emit_integer(e, "Gather", table, index, "axis", node->attributes->axis);
    return cast(e, rows, moving_type(node), node->type.element);
}

static const char *emit_node(struct exporting *e, const struct node *node)
{
    switch (node->op) {
    case OP_constant:
        return scalar(e, node->attributes->value, node->type.element);
    case OP_iota:
        return emit_iota(e, node);
    case OP_input:
        return emit_input(e, node);
    case OP_read:
        return emit_read(e, node);
    case OP_sum:
    case OP_prod:
    case OP_reduce_max:
    case OP_reduce_min:
    case OP_m2:
        return emit_reduce(e, node);
    case OP_argmax:
    case OP_argmin:
        return emit_choice(e, node);
    case OP_cumsum:
        return emit_cumsum(e, node);
    case OP_suppressed:
        return emit_suppressed(e, node);
    case OP_gather:
        return emit_gather(e, node);
    case OP_matmul:
        return emit_matmul(e, node);
    case OP_conv:
    case OP_conv_data:
        return emit_conv(e, node);
    case OP_stop_gradient:
        return operand(e, node, 0);
    case OP_output:
        return emit_output(e, node);
    case OP_loop:
    case OP_result:
        refuse(e, node, "leave out `rolled` to export a repeat turn by turn");
        return NULL;
    default:
        return op_is(node->op, CLASS_POINTWISE) ? emit_pointwise(e, node) : emit_movement(e, node);
    }
}

static bool emit_all(struct exporting *e)
{
    struct diagnostics *diagnostics = e->graph->module->diagnostics;
    bool ok = true;
    for (ptrdiff_t i = 0; i < arrlen(e->graph->nodes) && ok; i++) {
        const struct node *node = e->graph->nodes[i];
        e->names[node->id] = emit_node(e, node);
        ok = e->names[node->id];
        if (!ok && !e->error->code && !diagnostics_errors(diagnostics))
            refuse(e, node,
                   node->op == OP_random        ? "its draws are Castor's own"
                   : node->op == OP_scatter_add ? "sums onto places are not exported"
                                                : "only gradients use it");
    }
    return ok;
}

bool onnx_export(const struct graph *graph, const struct safetensors *weights, const char *path, struct error *error)
{
    struct exporting e = {.graph = graph, .arena = graph->module->arena, .weights = weights, .error = error};
    e.names = ARENA_ARRAY(e.arena, const char *, arrlen(graph->nodes) + 1);
    message_text(&e.out, GRAPH_NAME, graph->module->name);
    bool ok = emit_all(&e);
    struct message model = onnx_model(&e.out, OPSET, "castor");
    if (ok)
        ok = file_write(path, model.bytes, arrlenu(model.bytes), error);
    arrfree(model.bytes);
    shfree(e.variables);
    return ok;
}
