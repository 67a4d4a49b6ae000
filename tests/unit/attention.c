/* Which attention is one kernel each way on targets that can (passes/attention.h): what the pass rewrites, what fuse
 * makes of it, and what keeps it from being fused. What the kernels compute is checked by tests/fuzz/patterns. */
#include "check.h"
#include "codegen/attention_kernel.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stb/stb_ds.h>
#include <string.h>

static const struct target gpu = {.name = "test",
                                  .language = LANGUAGE_CUDA,
                                  .storage = {[ELEMENT_F16] = ELEMENT_F16,
                                              [ELEMENT_F32] = ELEMENT_F32,
                                              [ELEMENT_I32] = ELEMENT_I32,
                                              [ELEMENT_BOOL] = ELEMENT_BOOL},
                                  .attention = true,
                                  .one_type = true,
                                  .alignment = 256,
                                  .threads = 1};

#define S "[2,3,8,8]"
#define X "[2,3,8,16]"
#define R "[2,3,8,1]"
#define OPERANDS                                                                                                       \
    "graph g {\n %q = input(\"q\") : f16" X "\n %k = input(\"k\") : f16" X "\n %v = input(\"v\") : f16" X "\n"
#define SCORES " %s = matmul(%q, %k, transpose_b) : f32" S "\n"
#define SOFTMAX                                                                                                        \
    " %m = reduce_max(%s, axes=[3]) : f32" R "\n %mb = broadcast(%m) : f32" S "\n %d = sub(%s, %mb) : f32" S "\n"      \
    " %e = exp(%d) : f32" S "\n %l = sum(%e, axes=[3]) : f32" R "\n %lb = broadcast(%l) : f32" S "\n"                  \
    " %p = div(%e, %lb) : f32" S "\n"
#define RESULT " %h = cast(%p) : f16" S "\n %y = matmul(%h, %v) : f16" X "\n %o = output(%y, \"y\")\n"
#define GRADIENT                                                                                                       \
    " %dy = input(\"dy\") : f16" X "\n %dp = matmul(%dy, %v, transpose_b) : f32" S "\n"                                \
    " %dv = matmul(%h, %dy, transpose_a) : f16" X "\n %a = div(%dp, %lb) : f32" S "\n %b = mul(%a, %p) : f32" S "\n"   \
    " %n = neg(%b) : f32" S "\n %r = sum(%n, axes=[3]) : f32" R "\n %rb = broadcast(%r) : f32" S "\n"                  \
    " %de = add(%a, %rb) : f32" S "\n %ds = mul(%de, %e) : f16" S "\n %dq = matmul(%ds, %k) : f16" X "\n"
#define D_KEY " %dk = matmul(%ds, %q, transpose_a) : f16" X "\n"
#define GRADIENTS " %o1 = output(%dq, \"dq\")\n %o2 = output(%dk, \"dk\")\n %o3 = output(%dv, \"dv\")\n"
/* The three in one, as a product that made query, key and value wants them. */
#define PART(name, from)                                                                                               \
    " %" name "1 = permute(%" from ", permutation=[0,2,1,3]) : f16[2,8,3,16]\n"                                        \
    " %" name "2 = reshape(%" name "1) : f16[2,8,48]\n"
#define SCALED                                                                                                         \
    " %f = constant(0.25) : f32[]\n %f4 = reshape(%f) : f32[1,1,1,1]\n %fb = broadcast(%f4) : f32" X "\n"              \
    " %dqs = mul(%dq, %fb) : f16" X "\n"
#define JOINED(query)                                                                                                  \
    PART("jq", query)                                                                                                  \
    PART("jk", "dk")                                                                                                   \
    PART("jv", "dv") " %j = concat(%jq2, %jk2, %jv2, axis=2) : f16[2,8,144]\n %o1 = output(%j, \"j\")\n"
#define EARLY " %c = neg(%dv) : f16" X "\n" /* needs one gradient before the others are there */

#define MASK(op)                                                                                                       \
    SCORES_UNMASKED " %i = iota(axes=[0]) : i32[8,8]\n %j = iota(axes=[1]) : i32[8,8]\n %t = " op                      \
                    "(%i, %j) : bool[8,8]\n"                                                                           \
                    " %t4 = reshape(%t) : bool[1,1,8,8]\n %tb = broadcast(%t4) : bool" S "\n"                          \
                    " %inf = constant(-inf) : f32[]\n %i4 = reshape(%inf) : f32[1,1,1,1]\n"                            \
                    " %ib = broadcast(%i4) : f32" S "\n %s = where(%tb, %s0, %ib) : f16" S "\n"
#define SCORES_UNMASKED " %s0 = matmul(%q, %k, transpose_b) : f32" S "\n"

/* Heads side by side whose bias is not added yet. */
#define PACKED(name)                                                                                                   \
    " %m0 = input(\"m\") : f16[16,48]\n %one = input(\"one\") : f16[48,48]\n"                                          \
    " %m1 = matmul(%m0, %one) : f16[16,48]\n %m2 = reshape(%m1) : f16[2,8,48]\n %b = read(\"b\")\n"                    \
    " %b3 = reshape(%b) : f32[1,1,48]\n %bb = broadcast(%b3) : f32[2,8,48]\n %a = add(%m2, %bb) : f16[2,8,48]\n"       \
    " %a4 = reshape(%a) : f16[2,8,3,16]\n " name " = permute(%a4, permutation=[0,2,1,3]) : f16" X "\n"
#define VARIABLE "variable \"b\" : f32[48] parameter\n"
#define ONLY(a, b) VARIABLE "graph g {\n %" a " = input(\"" a "\") : f16" X "\n %" b " = input(\"" b "\") : f16" X "\n"

static const struct {
    const char *what, *text;
    int kernels;      /* of attention */
    const char *name; /* of the last of them */
    int stores;       /* what that one stores */
} cases[] = {
    {"forward", OPERANDS SCORES SOFTMAX RESULT "}\n", 1, "attention_forward_f16_f32_16", 3},
    {"causal", OPERANDS MASK("ge") SOFTMAX RESULT "}\n", 1, "attention_forward_f16_16_causal", 3},
    {"another mask", OPERANDS MASK("gt") SOFTMAX RESULT "}\n", 0, NULL, 0},
    {"a mask of one element",
     OPERANDS SCORES_UNMASKED " %i = iota(axes=[0]) : i32[1,1]\n %j = iota(axes=[1]) : i32[1,1]\n"
                              " %t = ge(%i, %j) : bool[1,1]\n %t4 = reshape(%t) : bool[1,1,1,1]\n"
                              " %tb = broadcast(%t4) : bool" S "\n %inf = constant(-inf) : f32[]\n"
                              " %i4 = reshape(%inf) : f32[1,1,1,1]\n %ib = broadcast(%i4) : f32" S "\n"
                              " %s = where(%tb, %s0, %ib) : f16" S "\n" SOFTMAX RESULT "}\n",
     0, NULL, 0},
    {"a query without its bias", ONLY("k", "v") PACKED("%q") SCORES SOFTMAX RESULT "}\n", 1,
     "attention_forward_f16_f32_16_bias_q", 3},
    {"a key without its bias", ONLY("q", "v") PACKED("%k") SCORES SOFTMAX RESULT "}\n", 1,
     "attention_forward_f16_f32_16_bias_k", 3},
    {"both ways", OPERANDS SCORES SOFTMAX RESULT GRADIENT D_KEY GRADIENTS "}\n", 2, "attention_gradient_f16_f32_16", 3},
    {"gradients side by side", OPERANDS SCORES SOFTMAX RESULT GRADIENT D_KEY JOINED("dq") "}\n", 2,
     "attention_gradient_f16_f32_16", 1},
    {"gradients side by side, one scaled", OPERANDS SCORES SOFTMAX RESULT GRADIENT D_KEY SCALED JOINED("dqs") "}\n", 2,
     "attention_gradient_f16_f32_16", 1},
    {"gradients side by side, one needed by itself",
     OPERANDS SCORES SOFTMAX RESULT GRADIENT D_KEY JOINED("dq") " %o2 = output(%dk, \"dk\")\n}\n", 2,
     "attention_gradient_f16_f32_16", 3},
    {"a gradient needed early",
     OPERANDS SCORES SOFTMAX RESULT GRADIENT EARLY D_KEY GRADIENTS " %o4 = output(%c, \"c\")\n}\n", 0, NULL, 0},
    {"weights put out", OPERANDS SCORES SOFTMAX RESULT " %w = output(%p, \"w\")\n}\n", 0, NULL, 0},
    {"scores put out", OPERANDS SCORES SOFTMAX RESULT " %w = output(%s, \"w\")\n}\n", 0, NULL, 0},
    {"the row's total put out", OPERANDS SCORES SOFTMAX RESULT " %w = output(%l, \"w\")\n}\n", 0, NULL, 0},
};

static void check_case(size_t number)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "attention.ir", cases[number].text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    static const char *const passes[] = {"attention", "dce", "layout", "fuse", "schedule", "memory"};
    struct pass_context context = {.target = &gpu, .limit = -1};
    struct graph *graph = module->graphs[0];
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        pass_find(passes[i])->run(graph, &context);
    bool good = verify_module(module, diagnostics);
    diagnostics_print(diagnostics, stderr);
    CHECK(good);
    struct kernel_set set = kernels_find(graph, arena);
    int kernels = 0, contractions = 0, stores = 0, packed = strstr(cases[number].text, "%m1") != NULL;
    const char *name = NULL;
    for (int i = 0; i < set.count; i++) {
        contractions += set.kernels[i].contraction != NULL;
        kernels += set.kernels[i].attention;
        if (!set.kernels[i].attention)
            continue;
        name = attention_kernel_make(&set.kernels[i], &gpu, arena).name;
        stores = set.kernels[i].store_count;
    }
    good = kernels == cases[number].kernels && stores == cases[number].stores &&
           (!kernels || (contractions == kernels + packed && strcmp(name, cases[number].name) == 0));
    if (!good)
        fprintf(stderr, "  %s: %d kernels of attention, the last %s stores %d\n", cases[number].what, kernels,
                name ? name : "-", stores);
    CHECK(good);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
    return check_result();
}
