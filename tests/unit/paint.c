/* Policy paint, scenario for scenario as grappler's painting is described: which nodes become half, and the path that
 * a flow took, as reasons tell it. In the scenarios exp and sum are denied, sqrt, log and add are of the infer list,
 * abs and neg of clear, matmul is allowed. */
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static struct arena *arena;

static struct module *paint(const char *policy, const char *body)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph train {\n  %%x = input(\"x\") : f32[6,6]\n%s}\n", body);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, policy, ELEMENT_NONE, (struct span){0});
    CHECK(module && context.policy);
    if (module && context.policy) {
        pass_gradients(module->graphs[0], &context);
        pass_precision(module->graphs[0], &context);
    }
    diagnostics_print(diagnostics, stderr);
    return module;
}

static const struct node *find(const struct module *module, const char *name)
{
    const struct graph *graph = module->graphs[0];
    for (ptrdiff_t i = 0; i < arrlen(graph->nodes); i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0)
            return graph->nodes[i];
    CHECK(!name);
    return graph->nodes[0];
}

/* A product whose only user rounds to half is f32 itself: its operands tell. */
static bool is_half(const struct module *module, const char *name)
{
    const struct node *node = find(module, name);
    return element_is_half(op_is(node->op, CLASS_CONTRACTION) ? node->operands[0]->type.element : node->type.element);
}

/* A chain "exp abs sqrt …" from x, its nodes called a, b, c …; `wanted` is a word of h (half) and f (f32) for each. */
static void check_chain(const char *policy, const char *ops, const char *wanted)
{
    char *list = strdup(ops), *rest = NULL, body[2048] = "", got[32] = "";
    const char *previous = "x";
    int count = 0;
    for (char *op = strtok_r(list, " ", &rest); op; op = strtok_r(NULL, " ", &rest), count++) {
        const char *name = arena_printf(arena, "%c", 'a' + count);
        const char *sum = strcmp(op, "sum") == 0 ? ", axes=[]" : "";
        bool two = strcmp(op, "matmul") == 0 || strcmp(op, "add") == 0;
        size_t used = strlen(body);
        snprintf(body + used, sizeof body - used, "  %%%s = %s(%%%s%s%s%s) : f32[6,6]\n", name, op, previous,
                 two ? ", %" : "", two ? previous : "", sum);
        previous = name;
    }
    size_t used = strlen(body);
    snprintf(body + used, sizeof body - used, "  %%o = output(%%%s, \"o\") : f32[6,6]\n", previous);
    struct module *module = paint(policy, body);
    for (int i = 0; i < count; i++)
        got[i] = is_half(module, arena_printf(arena, "%c", 'a' + i)) ? 'h' : 'f';
    CHECK_TEXT(got, wanted);
    free(list);
    module_free(module);
}

static void chains(void)
{
    /* deny, infer, clear, infer, clear, allow, infer: denial stops at the clear that only a product follows, and allow
     * takes that one back. */
    check_chain("paint", "exp sqrt abs log abs matmul sqrt", "ffffhhf");
    /* deny, clear, infer, clear, allow, clear, infer, clear, deny, clear. */
    check_chain("paint", "exp abs sqrt abs matmul abs log abs exp abs", "fffhhhffff");
    /* What lies between two products is half, infer and clear alike. */
    check_chain("paint", "matmul sqrt abs log matmul", "hhhhh");
    /* A denied node between them keeps what comes after it in f32 up to the next clear before a product. */
    check_chain("paint", "matmul sqrt exp log abs matmul", "hfffhh");
    /* Nothing is allowed without a product. */
    check_chain("paint", "abs sqrt neg", "fff");
    /* Clear before the first and after the last product. */
    check_chain("paint", "neg abs matmul neg abs", "hhhhh");
    check_chain("paint", "sqrt abs matmul neg sqrt neg", "fhhhff");
    /* Sums are denied in f16 and may be between products in bf16. */
    check_chain("paint(f16)", "matmul sum log matmul", "hffh");
    check_chain("paint(bf16)", "matmul sum log matmul", "hhhh");
}

/* Clear flows both ways: from the product to a clear above it, and down the other branch of that one. */
static void branches(void)
{
    struct module *module =
        paint("paint", "  %a = abs(%x) : f32[6,6]\n  %b = neg(%a) : f32[6,6]\n"
                       "  %c = abs(%a) : f32[6,6]\n  %m = matmul(%b, %b) : f32[6,6]\n"
                       "  %d = sqrt(%c) : f32[6,6]\n"
                       "  %p = output(%m, \"m\") : f32[6,6]\n  %q = output(%d, \"d\") : f32[6,6]\n");
    CHECK(element_is_half(find(module, "a")->type.element) && element_is_half(find(module, "b")->type.element));
    CHECK(element_is_half(find(module, "c")->type.element));
    CHECK(find(module, "d")->type.element == ELEMENT_F32);
    module_free(module);
    /* A denied branch does not deny the other one. */
    module = paint("paint", "  %m = matmul(%x, %x) : f32[6,6]\n  %e = exp(%m) : f32[6,6]\n"
                            "  %l = log(%m) : f32[6,6]\n  %n = matmul(%l, %l) : f32[6,6]\n"
                            "  %p = output(%e, \"e\") : f32[6,6]\n  %q = output(%n, \"n\") : f32[6,6]\n");
    CHECK(find(module, "e")->type.element == ELEMENT_F32 && element_is_half(find(module, "l")->type.element));
    module_free(module);
    /* Both operands count: one denied operand denies a sum. */
    module = paint("paint", "  %m = matmul(%x, %x) : f32[6,6]\n  %e = exp(%m) : f32[6,6]\n"
                            "  %s = add(%e, %m) : f32[6,6]\n  %n = matmul(%s, %s) : f32[6,6]\n"
                            "  %q = output(%n, \"n\") : f32[6,6]\n");
    CHECK(find(module, "s")->type.element == ELEMENT_F32);
    module_free(module);
}

/* What the source fixes stops the flow and keeps its type; operators are painted as one. */
static void fixed_and_operators(void)
{
    struct module *module = paint("paint", "  %m = matmul(%x, %x) : f32[6,6]\n  %p = sqrt(%m) : f32[6,6] pin f32\n"
                                           "  %l = log(%p) : f32[6,6]\n  %n = matmul(%l, %l) : f32[6,6]\n"
                                           "  %q = output(%n, \"n\") : f32[6,6]\n");
    CHECK(find(module, "p")->type.element == ELEMENT_F32 && find(module, "l")->type.element == ELEMENT_F32);
    module_free(module);
    module = paint("paint", "  %m = matmul(%x, %x) : f32[6,6]\n  %e = exp(%m) : f32[6,6] in \":softmax\"\n"
                            "  %s = add(%e, %m) : f32[6,6] in \":softmax\"\n  %n = matmul(%s, %s) : f32[6,6]\n"
                            "  %q = output(%n, \"n\") : f32[6,6]\n");
    CHECK(find(module, "e")->type.element == ELEMENT_F32); /* f32 inside */
    CHECK(element_is_half(find(module, "s")->type.element));
    module_free(module);
}

static void check_reason(const char *body, const char *name, const char *wanted)
{
    struct module *module = paint("paint", body);
    const char *reason = find(module, name)->reason;
    if (!strstr(reason, wanted))
        CHECK_TEXT(reason, wanted);
    check_count++;
    module_free(module);
}

static void reasons(void)
{
    static const char body[] = "  %e = exp(%x) : f32[6,6]\n  %s = sqrt(%e) : f32[6,6]\n  %a = abs(%s) : f32[6,6]\n"
                               "  %l = log(%a) : f32[6,6]\n  %n = neg(%l) : f32[6,6]\n"
                               "  %m = matmul(%n, %n) : f32[6,6]\n  %t = sqrt(%m) : f32[6,6]\n"
                               "  %p = matmul(%t, %t) : f32[6,6]\n  %u = sqrt(%p) : f32[6,6]\n"
                               "  %o = output(%u, \"o\") : f32[6,6]\n";
    check_reason(body, "e", "f32 op exp");
    check_reason(body, "l", "paint: denied through a, s by e (paint.policy:");
    check_reason(body, "n", "paint: allowed with its neighbour m");
    check_reason(body, "t", "paint: between the products m and p");
    check_reason(body, "u", "paint: f32, not between two products");
    check_reason(body, "p", "half op matmul");
}

/* Forward and backward are painted as one graph. Denial flows from the loss back through the backward of tanh (infer),
 * so tanh lies between no two products; it does not flow through that of abs (clear). The weight's gradient is f32. */
static void check_backward(const char *op, bool half)
{
    static const char body[] = "  %%w = read(\"w\") : f32[6,6]\n  %%m = matmul(%%x, %%w) : f32[6,6]\n"
                               "  %%t = %s(%%m) : f32[6,6]\n  %%e = exp(%%t) : f32[6,6]\n"
                               "  %%s = sum(%%e, axes=[0,1]) : f32[1,1]\n  %%l = reshape(%%s) : f32[]\n"
                               "  %%o = output(%%l, \"loss\", kind=loss) : f32[]\n  %%g = grad(%%l, %%w) : f32[6,6]\n"
                               "  %%u = unscale(%%g, 1) : f32[6,6] update\n"
                               "  %%q = write(%%u, \"w\", gate=1) : f32[6,6] update\n";
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(
        arena, "variable \"w\" : f32[6,6] parameter\ngraph train {\n  %%x = input(\"x\") : f32[6,6]\n%s}\n",
        arena_printf(arena, body, op));
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, "paint", ELEMENT_NONE, (struct span){0});
    pass_gradients(module->graphs[0], &context);
    pass_dce(module->graphs[0], &context);
    pass_precision(module->graphs[0], &context);
    CHECK(is_half(module, "m") && is_half(module, "t") == half && is_half(module, "d_m") == half);
    CHECK(find(module, "e")->type.element == ELEMENT_F32);
    const struct node *gradient = find(module, "d_w");
    CHECK(gradient->op == OP_matmul && gradient->type.element == ELEMENT_F32);
    CHECK(element_is_half(gradient->operands[0]->type.element) && element_is_half(gradient->operands[1]->type.element));
    module_free(module);
}

int main(void)
{
    arena = arena_new();
    chains();
    branches();
    fixed_and_operators();
    reasons();
    check_backward("tanh", false);
    check_backward("abs", true);
    arena_free(arena);
    return check_result();
}
