/* Policies as texts: loading, extending, half types, conditions, and the diagnostics of wrong ones. */
#include "check.h"
#include "ir/parse.h"
#include "ir/wildcard.h"
#include "passes/policies/match.h"

#include <stdlib.h>
#include <unistd.h>

static const char model[] = "graph train {\n"
                            "  %x = input(\"x\") : f32[64,32]\n"
                            "  %w = input(\"w\") : f32[32,16] in \"layers.0:block/head:linear\"\n"
                            "  %y = matmul(%x, %w) : f32[64,16] in \"layers.0:block/head:linear\"\n"
                            "  %z = exp(%y) : f32[64,16] in \"layers.1:block/:softmax\"\n"
                            "  %o = output(%z, \"z\") : f32[64,16]\n"
                            "}\n";

static struct arena *arena;
static char folder[] = "policyXXXXXX";

static const char *write_policy(const char *name, const char *text)
{
    const char *path = arena_printf(arena, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0);
    if (file)
        fclose(file);
    return path;
}

/* Loads, and checks against the model; NULL after diagnostics. */
static struct policy *load(struct diagnostics *diagnostics, const char *name, enum element half)
{
    static const char *const definitions[] = {"softmax", "linear", "layer_norm"};
    struct policy *policy = policy_load(arena, diagnostics, name, half, (struct span){0});
    struct module *module = parse_module(arena, diagnostics, "model.ir", model);
    bool correct = policy && module && policy_check(policy, module, definitions, 3);
    module_free(module);
    return correct ? policy : NULL;
}

static void check_wrong(const char *text, const char *message)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *path = write_policy("wrong.policy", text);
    CHECK(!load(diagnostics, path, ELEMENT_NONE));
    char *got;
    size_t size;
    FILE *out = open_memstream(&got, &size);
    diagnostics_print(diagnostics, out);
    fclose(out);
    if (!strstr(got, message))
        CHECK_TEXT(got, message);
    check_count++;
    free(got);
}

static void check_load(const char *name, enum element half, const char *wanted, enum element element, const char *scale)
{
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct policy *policy = load(diagnostics, name, half);
    CHECK(policy);
    if (!policy)
        return;
    CHECK_TEXT(policy->name, wanted);
    CHECK(policy->half == element);
    CHECK_TEXT(policy_scale(policy), scale);
}

static void built_ins(void)
{
    check_load("f32", ELEMENT_NONE, "f32", ELEMENT_F16, "none");
    check_load("autocast", ELEMENT_NONE, "autocast", ELEMENT_F16, "dynamic");
    check_load("autocast(bf16)", ELEMENT_NONE, "autocast", ELEMENT_BF16, "none");
    check_load("autocast(bf16)", ELEMENT_F16, "autocast", ELEMENT_F16, "dynamic");
    check_load("o0", ELEMENT_NONE, "f32", ELEMENT_F16, "none");
    check_load("o1", ELEMENT_BF16, "autocast", ELEMENT_BF16, "none");
    check_load("o2(f16)", ELEMENT_NONE, "almost", ELEMENT_F16, "dynamic");
    check_load("o3", ELEMENT_NONE, "half", ELEMENT_F16, "none");
    size_t count;
    policy_table(&count);
    CHECK(count == 7);
}

static void files(void)
{
    const char *base = write_policy("base.policy", "policy base extends autocast(bf16) { scale static(128) }\n");
    const char *mine =
        write_policy("mine.policy", "# a comment\n\npolicy mine extends \"base.policy\" {\n"
                                    "    half  op matmul,\n             conv   # goes on after the comma\n"
                                    "    f32   scope softmax, \"*.head\"; promote op add\n"
                                    "    half  where bytes > 1e2 and flops / bytes >= 1 or not rank == 2\n"
                                    "    f32   op where, not region backward, update\n"
                                    "    half  op and\n    f32   op or, not\n    follow op where\n"
                                    "    keep  \"layers.0.*\" f32\n"
                                    "    gradients half\n"
                                    "    default promote\n"
                                    "}\n");
    check_load(base, ELEMENT_NONE, "base", ELEMENT_BF16, "none");
    check_load(base, ELEMENT_F16, "base", ELEMENT_F16, "static(128)");
    check_load(mine, ELEMENT_NONE, "mine", ELEMENT_BF16, "none");
    struct policy *policy = load(diagnostics_new(arena), mine, ELEMENT_NONE);
    CHECK(policy && !policy->gradients_f32 && policy->masters_f32 && policy->otherwise->class == PRECISION_PROMOTE);
    CHECK(policy && policy->last_rule->keep && policy->base && policy->base->base);
    CHECK_TEXT(policy ? policy->last_rule->text : "", "keep \"layers.0.*\" f32");
}

static void conditions(void)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"elements == 1024 and rank == 2", 1},       /* y is 64 x 16 */
        {"flops == 2 * 64 * 16 * 32", 1},            /* a product over 32 */
        {"bytes == 4 * (64*32 + 32*16 + 64*16)", 1}, /* both operands and the result */
        {"dimension(0) == 64 and dimension(-1) == 16 and dimension(5) == 0", 1},
        {"1 - 2 - 3 < -4 + 1", 0}, /* there is no unary minus: an error */
        {"1 - 2 - 3 < 0 - 3", 1},
        {"8 / 4 / 2 != 1 or rank < 2", 0},
        {"not (rank <= 1) and rank >= 2", 1},
    };
    struct module *module = parse_module(arena, diagnostics_new(arena), "model.ir", model);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct diagnostics *diagnostics = diagnostics_new(arena);
        const char *text = arena_printf(arena, "policy p { half where %s\n}", cases[i].text);
        struct policy *policy =
            policy_load(arena, diagnostics, write_policy("p.policy", text), ELEMENT_NONE, (struct span){0});
        double value = policy ? policy_evaluate(policy->rules->where, module->graphs[0]->nodes[2]) : 0;
        CHECK(value == cases[i].value);
    }
    module_free(module);
}

static void scopes(void)
{
    const char *path = write_policy("scopes.policy", "policy p {\n half scope block\n f32 scope softmax, linear\n"
                                                     " follow scope \"layers.1\"\n keep \"*.head\" promote\n}");
    struct policy *policy = policy_load(arena, diagnostics_new(arena), path, ELEMENT_NONE, (struct span){0});
    struct matcher *matcher = matcher_new(policy, arena);
    const struct scope_verdict *verdict = matcher_scope(matcher, "layers.0:block/:softmax");
    CHECK(verdict->class == PRECISION_HALF); /* the outermost named part decides */
    CHECK_TEXT(verdict->operator, "layers.0:block");
    verdict = matcher_scope(matcher, "a:net/layers.1:block/:softmax");
    CHECK(verdict->class == PRECISION_HALF); /* the instance is a.layers.1 */
    verdict = matcher_scope(matcher, "layers.1:block/:softmax");
    CHECK(verdict->class == PRECISION_FOLLOW); /* the same part by two rules: the later one */
    verdict = matcher_scope(matcher, "layers.1:block/head:linear/:softmax");
    CHECK(verdict->class == PRECISION_PROMOTE); /* a keep beats all */
    CHECK_TEXT(verdict->operator, "layers.1:block/head:linear");
    CHECK_TEXT(verdict->reason, arena_printf(arena, "%s:5: keep *.head promote", path));
    CHECK(matcher_scope(matcher, "other:thing")->class == PRECISION_NONE);
    matcher_free(matcher);
    CHECK(wildcard_matches("a*c*e", "abcde") && !wildcard_matches("a*c", "abcd") && wildcard_matches("*", ""));
}

/* What a model calls its instances is nothing to the built-in lists, but to the user's rules. */
static void labels(void)
{
    static const struct {
        const char *scope;
        enum precision_class built_in, extended;
    } cases[] = {
        {":softmax", PRECISION_F32, PRECISION_F32},
        {"softmax:sampled", PRECISION_NONE, PRECISION_NONE},
        {"norm:normalise", PRECISION_NONE, PRECISION_HALF},
        {"norm:layer_norm", PRECISION_F32, PRECISION_HALF},
        {"block:net/norm:normalise/seen:batch_norm", PRECISION_FOLLOW, PRECISION_FOLLOW},
        {"softmax:sampled/:logsumexp", PRECISION_F32, PRECISION_F32},
    };
    const char *path = write_policy("labels.policy", "policy p extends autocast { half scope norm }");
    struct policy *built_in = policy_load(arena, diagnostics_new(arena), "autocast", ELEMENT_NONE, (struct span){0});
    struct policy *extended = policy_load(arena, diagnostics_new(arena), path, ELEMENT_NONE, (struct span){0});
    struct matcher *matchers[] = {matcher_new(built_in, arena), matcher_new(extended, arena)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(matcher_scope(matchers[0], cases[i].scope)->class == cases[i].built_in);
        CHECK(matcher_scope(matchers[1], cases[i].scope)->class == cases[i].extended);
    }
    matcher_free(matchers[0]);
    matcher_free(matchers[1]);
}

static void wrong(void)
{
    check_wrong("policy p { half op matmull }", "[E0604]: there is no op `matmull`");
    check_wrong("policy p { half op matmull }", "did you mean `matmul`?");
    check_wrong("policy p { half op softmax_of_all }", "modules and functions are named by `scope`");
    check_wrong("policy p {\n  f32 scope sofmax\n}",
                "2:13: error[E0605]: there is no module, function or instance `sofmax`");
    check_wrong("policy p {\n  f32 scope sofmax\n}", "did you mean `softmax`?");
    check_wrong("policy p {\n  f32 scope \"*.tail\"\n}", "E0605");
    check_wrong("policy p {\n  f32 scope exp\n}", "`exp` is an op: `op exp` names it");
    check_wrong("policy p {\n  keep layer_norm half\n}", "[E0606]: `layer_norm` matches nothing in this model");
    check_wrong("policy p {\n  keep \"layers.0\" half\n  keep \"*.head\" f32\n}", "E0607");
    check_wrong("policy p {\n  gradient f32\n}", "[E0608]: there is no setting `gradient`");
    check_wrong("policy p {\n  gradient f32\n}", "did you mean `gradients`?");
    check_wrong("policy p {\n  masters f17\n}", "[E0608]: there is no type for this setting `f17`");
    check_wrong("policy p {\n  halff op matmul\n}", "[E0608]: there is no class `halff`");
    check_wrong("policy p {\n  half op matmul region backwards\n}", "[E0608]: there is no region `backwards`");
    check_wrong("policy p {\n  half where bites > 3\n}", "[E0608]: there is no quantity `bites`");
    check_wrong("policy p {\n  half where bytes + 3\n}", "[E0609]: `where` needs a comparison");
    check_wrong("policy p {\n  half where bytes > 3 + (1 < 2)\n}", "E0609");
    check_wrong("policy p {\n  half where bytes and 3 < 2\n}", "E0609");
    check_wrong("policy p {\n  half\n  keep f32\n}", "a rule says what it is for");
    check_wrong("policy p extends autocst { }", "did you mean `autocast`?");
    check_wrong("policy p extends autocast(f8) { }", "[E0608]: there is no half type `f8`");
    check_wrong("policy p extends \"wrong.policy\" { }", "[E0603]: policies extend each other in a circle");
    check_wrong("policy p extends \"missing.policy\" { }", "[E0602]: cannot read the policy");
    check_wrong("policy p { half op matmul, }", "E0101");
    check_wrong("policy p { half op matmul", "E0101");
    check_wrong("policy p {\n  half op @\n  f32 op )\n}", "3:10: error[E0101]"); /* both lines are reported */
    check_wrong("", "E0101");
}

int main(void)
{
    arena = arena_new();
    CHECK(mkdtemp(folder));
    built_ins();
    files();
    conditions();
    scopes();
    labels();
    wrong();
    const char *names[] = {"base", "mine", "p", "scopes", "labels", "wrong"};
    for (int i = 0; i < 5; i++)
        remove(arena_printf(arena, "%s/%s.policy", folder, names[i]));
    rmdir(folder);
    arena_free(arena);
    return check_result();
}
