/* Pass precision: which type each node gets under the built-in policies, and the reason it gives. The expectations for
 * autocast are PyTorch's documented CUDA lists. */
#include "check.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "passes/policies/policy.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

static struct arena *arena;

/* x, y are f32 inputs; a, b are halves of them; h is in the other half type; w, v are parameters. */
static const char prologue[] = "variable \"w\" : f32[6,6] parameter\n"
                               "variable \"v\" : f32[4,6] parameter\n"
                               "variable \"mean\" : f32[4,6] state\n"
                               "graph train {\n"
                               "  %x = input(\"x\") : f32[4,6]\n"
                               "  %y = input(\"y\") : f32[4,6]\n"
                               "  %i = input(\"i\") : i32[4,6]\n"
                               "  %u = input(\"u\") : u8[4,6]\n"
                               "  %p = input(\"p\") : bool[4,6]\n"
                               "  %a = cast(%x, explicit) : f16[4,6]\n"
                               "  %b = cast(%y, explicit) : f16[4,6]\n"
                               "  %h = cast(%y, explicit) : bf16[4,6]\n"
                               "  %w = read(\"w\") : f32[6,6]\n"
                               "  %v = read(\"v\") : f32[4,6]\n"
                               "  %c1 = constant(0.5) : f32[]\n"
                               "  %c2 = reshape(%c1) : f32[1,1]\n"
                               "  %c = broadcast(%c2) : f32[4,6]\n";

static struct module *assign(const char *policy, const char *body)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "%s%s}\n", prologue, body);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, policy, ELEMENT_NONE, (struct span){0});
    CHECK(module && context.policy);
    if (module && context.policy)
        pass_precision(module->graphs[0], &context);
    diagnostics_print(diagnostics, stderr);
    return module;
}

static const struct node *find(const struct module *module, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(module->graphs[0]->nodes); i++) {
        const struct node *node = module->graphs[0]->nodes[i];
        if (node->name && strcmp(node->name, name) == 0)
            return node;
    }
    fprintf(stderr, "no node %s\n", name);
    CHECK(false);
    return module->graphs[0]->nodes[0];
}

/* `wanted` is "name type, name type …". */
static void check_types(const char *policy, const char *body, const char *wanted)
{
    struct module *module = assign(policy, body);
    char *list = strdup(wanted), *rest = NULL, got[512] = "";
    for (char *item = strtok_r(list, ",", &rest); item && module; item = strtok_r(NULL, ",", &rest)) {
        char name[64];
        sscanf(item, " %63s", name);
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%s %s", used ? ", " : "", name,
                 element_name(find(module, name)->type.element));
    }
    CHECK_TEXT(got, wanted);
    free(list);
    module_free(module);
}

static void check_reason(const char *policy, const char *body, const char *name, const char *wanted)
{
    struct module *module = assign(policy, body);
    const char *reason = find(module, name)->reason;
    if (!strstr(reason, wanted))
        CHECK_TEXT(reason, wanted);
    check_count++;
    module_free(module);
}

/* One op on half operands under autocast, as facts of PyTorch say. */
static void autocast_by_op(void)
{
    static const struct {
        const char *expression, *type, *wanted;
    } cases[] = {
        {"neg(%a)", "[4,6]", "f16"},
        {"abs(%a)", "[4,6]", "f16"},
        {"sqrt(%a)", "[4,6]", "f16"},
        {"rsqrt(%a)", "[4,6]", "f32"},
        {"exp(%a)", "[4,6]", "f32"},
        {"expm1(%a)", "[4,6]", "f32"},
        {"log(%a)", "[4,6]", "f32"},
        {"log1p(%a)", "[4,6]", "f32"},
        {"pow(%a, %b)", "[4,6]", "f32"},
        {"sin(%a)", "[4,6]", "f16"},
        {"tanh(%a)", "[4,6]", "f16"},
        {"erf(%a)", "[4,6]", "f16"},
        {"add(%a, %b)", "[4,6]", "f16"},
        {"add(%a, %x)", "[4,6]", "f32"},
        {"add(%a, %h)", "[4,6]", "f32"},
        {"add(%a, %v)", "[4,6]", "f16"}, /* a parameter widens nothing */
        {"mul(%a, %c)", "[4,6]", "f16"}, /* nor does a constant */
        {"mul(%v, %c)", "[4,6]", "f32"},
        {"div(%a, %i)", "[4,6]", "f16"},
        {"div(%u, %c)", "[4,6]", "f32"},
        {"where(%p, %a, %c)", "[4,6]", "f16"},
        {"where(%p, %a, %x)", "[4,6]", "f32"},
        {"max(%a, %c)", "[4,6]", "f16"},
        {"sum(%a, axes=[1])", "[4,1]", "f32"},
        {"prod(%a, axes=[1])", "[4,1]", "f32"},
        {"cumsum(%a, axis=1)", "[4,6]", "f32"},
        {"reduce_max(%a, axes=[1])", "[4,1]", "f16"},
        {"concat(%a, %b, axis=0)", "[8,6]", "f16"},
        {"concat(%a, %x, axis=0)", "[8,6]", "f32"},
        {"reshape(%a)", "[24]", "f16"},
        {"permute(%x, permutation=[1,0])", "[6,4]", "f32"},
        {"matmul(%x, %w)", "[4,6]", "f16"},
        {"matmul(%a, %w)", "[4,6]", "f16"},
        {"matmul(%x, %y, transpose_b)", "[4,4]", "f16"},
        {"gather(%v, %i, axis=0)", "[4,6,6]", "f32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *body = arena_printf(arena, "  %%r = %s : f32%s\n  %%s = output(%%r, \"r\") : f32%s\n",
                                        cases[i].expression, cases[i].type, cases[i].type);
        check_types("autocast", body, arena_printf(arena, "r %s", cases[i].wanted));
    }
    check_types("autocast", "  %r = argmax(%a, axes=[1]) : i32[4,1]\n  %s = lt(%a, %x) : bool[4,6]\n", "r i32, s bool");
}

/* The same operator by its scope: f32 inside, the result by class. */
static void autocast_by_scope(void)
{
    static const struct {
        const char *scope, *wanted;
    } cases[] = {
        {":softmax", "f32"},       {":log_softmax", "f32"}, {":logsumexp", "f32"}, {"n:layer_norm", "f32"},
        {":cross_entropy", "f32"}, {":mse", "f32"},         {":l1", "f32"},        {":nll", "f32"},
        {":kl_div", "f32"},        {":softplus", "f32"},    {":norm", "f32"},      {":gelu", "f16"},
        {":silu", "f16"},          {":sigmoid", "f16"},     {":mean", "f16"},      {"bn:batch_norm", "f16"},
        {"d:dropout", "f16"},      {":max_pool", "f16"},    {":avg_pool", "f16"},  {":relu", "f16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *body = arena_printf(arena,
                                        "  %%e = exp(%%a) : f32[4,6] in \"%s\"\n"
                                        "  %%m = reduce_max(%%e, axes=[1]) : f32[4,1] in \"%s/:max\"\n"
                                        "  %%n = broadcast(%%m) : f32[4,6] in \"%s\"\n"
                                        "  %%r = div(%%e, %%n) : f32[4,6] in \"%s\"\n"
                                        "  %%o = neg(%%r) : f32[4,6]\n"
                                        "  %%s = output(%%o, \"r\") : f32[4,6]\n",
                                        cases[i].scope, cases[i].scope, cases[i].scope, cases[i].scope);
        const char *wanted = arena_printf(arena, "e f32, m f32, n f32, r %s, o %s", cases[i].wanted, cases[i].wanted);
        check_types("autocast", body, wanted);
    }
    /* Running statistics (variables) do not widen what batch norm passes on, and are f32 themselves. */
    check_types("autocast",
                "  %m = read(\"mean\") : f32[4,6] in \"bn:batch_norm\"\n"
                "  %d = sub(%a, %m) : f32[4,6] in \"bn:batch_norm\"\n"
                "  %q = mul(%a, %c) : f32[4,6] in \"bn:batch_norm\"\n"
                "  %o = output(%d, \"d\") : f32[4,6]\n"
                "  %s = write(%q, \"mean\", gate=all) : f32[4,6]\n",
                "d f16, q f32");
}

static void chains(void)
{
    static const char layer[] = "  %%y1 = matmul(%%x, %%w) : f32[4,6]\n"
                                "  %%y2 = add(%%y1, %%v) : f32[4,6]\n"
                                "  %%y3 = max(%%y2, %%c) : f32[4,6] in \":relu\"\n"
                                "  %%y4 = mul(%%y3, %%y3) : f32[4,6]\n"
                                "%s"
                                "  %%o = output(%%y4, \"o\") : f32[4,6]\n";
    check_types("autocast", arena_printf(arena, layer, ""), "y1 f32, y2 f32, y3 f16, y4 f16");
    /* Being fetched is no use; any other second use ends the chain there. */
    check_types("autocast", arena_printf(arena, layer, "  %o1 = output(%y2, \"y2\") : f32[4,6]\n"),
                "y1 f32, y2 f32, y3 f16, y4 f16");
    check_types("autocast",
                arena_printf(arena, layer, "  %z = neg(%y2) : f32[4,6]\n  %o1 = output(%z, \"z\") : f32[4,6]\n"),
                "y1 f32, y2 f16, y3 f16");
    check_types("autocast",
                arena_printf(arena, layer, "  %z = neg(%y1) : f32[4,6]\n  %o1 = output(%z, \"z\") : f32[4,6]\n"),
                "y1 f16, y2 f16, y3 f16");
    check_types("f32", arena_printf(arena, layer, ""), "y1 f32, y2 f32, y3 f32, y4 f32");
    check_reason("autocast", arena_printf(arena, layer, ""), "y1", "half op matmul; f32 in the chain that ends in y3");
    check_reason("autocast", arena_printf(arena, layer, ""), "y3", "follow scope relu");
    check_reason("autocast", arena_printf(arena, layer, ""), "y4", "default follow: as y3");
}

/* Both operands of a contraction have its type, by one cast each however many contractions there are. */
static void operand_casts(void)
{
    struct module *module = assign("autocast", "  %r = matmul(%x, %w) : f32[4,6]\n"
                                               "  %s = matmul(%x, %w) : f32[4,6]\n"
                                               "  %t = mul(%r, %s) : f32[4,6]\n"
                                               "  %o = output(%t, \"t\") : f32[4,6]\n");
    int casts = 0;
    for (ptrdiff_t i = 0; i < arrlen(module->graphs[0]->nodes); i++)
        casts += module->graphs[0]->nodes[i]->op == OP_cast;
    CHECK(casts == 3 + 2);
    const struct node *r = find(module, "r"), *s = find(module, "s");
    CHECK(r->operands[0]->type.element == ELEMENT_F16 && r->operands[1]->type.element == ELEMENT_F16);
    CHECK(r->operands[0] == s->operands[0] && r->operands[1] == s->operands[1]);
    module_free(module);
}

/* What the user wrote beats the policy. */
static void strength(void)
{
    check_types("autocast",
                "  %r = matmul(%x, %w) : f32[4,6] pin f32\n"
                "  %s = exp(%a) : f32[4,6] pin f16\n"
                "  %t = cast(%x, explicit) : bf16[4,6] pin f32\n"
                "  %q = add(%r, %s) : f32[4,6]\n"
                "  %z = add(%q, %t) : f32[4,6]\n"
                "  %o = output(%z, \"z\") : f32[4,6]\n",
                "r f32, s f16, t bf16, q f32, z f32");
    check_types("f32", "  %s = add(%a, %b) : f32[4,6]\n  %o = output(%s, \"s\") : f32[4,6]\n", "a f16, s f32");
    check_reason("autocast", "  %s = exp(%a) : f32[4,6] pin f16\n  %o = output(%s, \"s\") : f32[4,6]\n", "s",
                 "precision block");
}

static void losses(void)
{
    static const char body[] = "  %s = mul(%a, %b) : f32[4,6]\n"
                               "  %m = reduce_max(%s, axes=[0,1]) : f32[1,1]\n"
                               "  %n = reshape(%m) : f32[]\n"
                               "  %l = neg(%n) : f32[]\n"
                               "  %o = output(%l, \"loss\", kind=loss) : f32[]\n";
    check_types("autocast", body, "s f16, m f32, n f32, l f32");
    check_types("almost", body, "s f16, m f32, n f32, l f32");
}

static void other_policies(void)
{
    static const char body[] = "  %r = matmul(%x, %w) : f32[4,6]\n"
                               "  %e = exp(%r) : f32[4,6] in \":softmax\"\n"
                               "  %d = div(%e, %r) : f32[4,6] in \":softmax\"\n"
                               "  %f = exp(%d) : f32[4,6]\n"
                               "  %l = log(%f) : f32[4,6] in \":cross_entropy\"\n"
                               "  %o = output(%l, \"l\") : f32[4,6]\n";
    check_types("almost(bf16)", body, "r bf16, e f32, d bf16, f bf16, l f32");
    check_types("half", body, "w f16, r f16, e f32, d f16, f f16, l f32");
    check_types("f32", body, "w f32, r f32, e f32, d f32, f f32, l f32");
    check_types("autocast(bf16)", body, "w f32, r bf16, e f32, d f32, f f32, l f32");
}

/* Two layers with their gradients: backward nodes follow, weight gradients are f32. */
static void backward(void)
{
    static const char body[] = "  %y1 = matmul(%x, %w) : f32[4,6] in \"fc1:linear\"\n"
                               "  %y2 = add(%y1, %v) : f32[4,6] in \"fc1:linear\"\n"
                               "  %y3 = max(%y2, %c) : f32[4,6] in \":relu\"\n"
                               "  %y4 = matmul(%y3, %w) : f32[4,6] in \"fc2:linear\"\n"
                               "  %e = exp(%y4) : f32[4,6] in \":softmax\"\n"
                               "  %t = add(%e, %y4) : f32[4,6] in \":softmax\"\n"
                               "  %s = sum(%t, axes=[0,1]) : f32[1,1]\n"
                               "  %l = reshape(%s) : f32[]\n"
                               "  %o = output(%l, \"loss\", kind=loss) : f32[]\n"
                               "  %seed = scale_seed(1) : f32[]\n"
                               "  %g = grad(%l, %w, %seed) : f32[6,6]\n"
                               "  %k = grad(%l, %v, %seed) : f32[4,6]\n"
                               "  %ug = unscale(%g, 1) : f32[6,6] update\n"
                               "  %uk = unscale(%k, 1) : f32[4,6] update\n"
                               "  %n = sub(%w, %ug) : f32[6,6] update\n"
                               "  %q = write(%n, \"w\", gate=1) : f32[6,6] update\n"
                               "  %nk = sub(%v, %uk) : f32[4,6] update\n"
                               "  %qk = write(%nk, \"v\", gate=1) : f32[4,6] update\n";
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "test.ir", arena_printf(arena, "%s%s}\n", prologue, body));
    CHECK(module);
    if (!module)
        return;
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, "autocast", ELEMENT_NONE, (struct span){0});
    pass_gradients(module->graphs[0], &context);
    pass_precision(module->graphs[0], &context);
    CHECK(find(module, "d_y4")->type.element == ELEMENT_F16); /* leaves softmax for a half value */
    CHECK(find(module, "d_y3")->type.element == ELEMENT_F16);
    CHECK(find(module, "d_y2")->type.element == ELEMENT_F16);
    CHECK(find(module, "d_w")->type.element == ELEMENT_F32); /* two contributions, both f32 */
    for (int i = 0; i < 2; i++)
        CHECK(find(module, "d_w")->operands[i]->type.element == ELEMENT_F32);
    for (ptrdiff_t i = 0; i < arrlen(module->graphs[0]->nodes); i++) {
        const struct node *node = module->graphs[0]->nodes[i];
        CHECK(node->reason);
        if (op_is(node->op, CLASS_CONTRACTION))
            CHECK(node->operands[0]->type.element == ELEMENT_F16 && node->operands[1]->type.element == ELEMENT_F16);
        if (node->region == REGION_UPDATE && !op_is(node->op, CLASS_EFFECT))
            CHECK(node->type.element == ELEMENT_F32);
    }
    module_free(module);
}

/* A normalisation between two products: its backward is f32 inside, the gradient that leaves it, a sum of three parts,
 * is rounded once, and the gradient of its bias is f32. */
static void backward_of_operator(void)
{
    static const char body[] = "  %z = matmul(%x, %w) : f32[4,6] in \"fc1:linear\"\n"
                               "  %s = sum(%z, axes=[0]) in \"n:batch_norm/:mean\"\n"
                               "  %mb = broadcast(%s) : f32[4,6] in \"n:batch_norm\"\n"
                               "  %d = sub(%z, %mb) in \"n:batch_norm\"\n"
                               "  %m = m2(%z, axes=[0]) in \"n:batch_norm/:var\"\n"
                               "  %r = rsqrt(%m) in \"n:batch_norm\"\n"
                               "  %rb = broadcast(%r) : f32[4,6] in \"n:batch_norm\"\n"
                               "  %q = mul(%d, %rb) in \"n:batch_norm\"\n"
                               "  %bv = read(\"bias\") : f32[6] in \"n:batch_norm\"\n"
                               "  %b1 = reshape(%bv) : f32[1,6] in \"n:batch_norm\"\n"
                               "  %b2 = broadcast(%b1) : f32[4,6] in \"n:batch_norm\"\n"
                               "  %n = add(%q, %b2) in \"n:batch_norm\"\n"
                               "  %t = matmul(%n, %w) : f32[4,6] in \"fc2:linear\"\n"
                               "  %l = sum(%t, axes=[0,1])\n"
                               "  %g = grad(%l, %w)\n"
                               "  %k = grad(%l, %bv)\n"
                               "  %ug = unscale(%g, 1) : f32[6,6] update\n"
                               "  %uk = unscale(%k, 1) : f32[6] update\n"
                               "  %q1 = write(%ug, \"w\", gate=1) : f32[6,6] update\n"
                               "  %q2 = write(%uk, \"bias\", gate=1) : f32[6] update\n";
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "variable \"bias\" : f32[6] parameter\n%s%s}\n", prologue, body);
    struct module *module = parse_module(arena, diagnostics, "test.ir", text);
    CHECK(module);
    if (!module)
        return;
    struct pass_context context = {.limit = -1};
    context.policy = policy_load(arena, diagnostics, "autocast", ELEMENT_NONE, (struct span){0});
    pass_gradients(module->graphs[0], &context);
    pass_precision(module->graphs[0], &context);
    const struct node *whole = find(module, "d_z");
    CHECK(whole->op == OP_add && whole->type.element == ELEMENT_F16);
    CHECK(whole->operands[0]->op == OP_add && whole->operands[0]->type.element == ELEMENT_F32);
    for (int i = 0; i < 2; i++)
        CHECK(whole->operands[0]->operands[i]->type.element == ELEMENT_F32);
    CHECK(whole->operands[1]->type.element == ELEMENT_F32);
    CHECK(find(module, "d_n")->type.element == ELEMENT_F16);
    CHECK(find(module, "d_b1")->type.element == ELEMENT_F32 && find(module, "d_bv")->type.element == ELEMENT_F32);
    module_free(module);
}

int main(void)
{
    arena = arena_new();
    backward_of_operator();
    autocast_by_op();
    autocast_by_scope();
    chains();
    operand_casts();
    strength();
    losses();
    other_policies();
    backward();
    arena_free(arena);
    return check_result();
}
