/* Contractions in the types that a library takes: operands of one type, the result that type or f32. */
#include "passes/library_types.h"
#include "rewrite_case.h"

#define WHY " why \"the library takes operands of one type, and gives that or f32\"\n"

static const struct target plain = {
    .storage = {[ELEMENT_F16] = ELEMENT_F16, [ELEMENT_BF16] = ELEMENT_BF16, [ELEMENT_F32] = ELEMENT_F32}};
/* A CPU with instructions for bf16 alone. */
static const struct target emulates_f16 = {
    .storage = {[ELEMENT_F16] = ELEMENT_F32, [ELEMENT_BF16] = ELEMENT_BF16, [ELEMENT_F32] = ELEMENT_F32}};

static void fit(struct graph *graph, struct pass_context *context)
{
    (void)context;
    fit_library_types(graph, &plain);
}

static void fit_emulated(struct graph *graph, struct pass_context *context)
{
    (void)context;
    fit_library_types(graph, &emulates_f16);
}

static void check(const char *before, const char *after)
{
    static pass_function *const passes[] = {fit, NULL};
    check_rewrite(before, after, -1, passes);
}

static void check_emulated(const char *before, const char *after)
{
    static pass_function *const passes[] = {fit_emulated, NULL};
    check_rewrite(before, after, -1, passes);
}

int main(void)
{
    /* Nothing to do. */
    static const char fits[] = " %a = cast(%x) : f16[4,6]\n"
                               " %b = cast(%y) : f16[4,6]\n"
                               " %f = matmul(%x, %y, transpose_b)\n"
                               " %h = matmul(%a, %b, transpose_b)\n"
                               " %w = matmul(%a, %b, transpose_b) : f32[4,4]\n"
                               " %o1 = output(%f, \"f\")\n"
                               " %o2 = output(%h, \"h\")\n"
                               " %o3 = output(%w, \"w\")\n";
    check(fits, fits);
    /* Operands of two half types, and of one with f32, meet in f32. */
    check(" %a = cast(%x) : f16[4,6]\n"
          " %b = cast(%y) : bf16[4,6]\n"
          " %m = matmul(%a, %b, transpose_b) : f32[4,4]\n"
          " %n = matmul(%x, %b, transpose_b) : f32[4,4]\n"
          " %o1 = output(%m, \"m\")\n"
          " %o2 = output(%n, \"n\")\n",
          " %a = cast(%x) : f16[4,6]\n"
          " %b = cast(%y) : bf16[4,6]\n"
          " %a32 = cast(%a) : f32[4,6]" WHY " %b32 = cast(%b) : f32[4,6]" WHY
          " %m = matmul(%a32, %b32, transpose_b) : f32[4,4]\n"
          " %again = cast(%b) : f32[4,6]" WHY " %n = matmul(%x, %again, transpose_b) : f32[4,4]\n"
          " %o1 = output(%m, \"m\")\n"
          " %o2 = output(%n, \"n\")\n");
    /* A result of another type is rounded behind the sum: from f16 to bf16, from two types to f16, from f32 to f16. */
    check(" %a = cast(%x) : f16[4,6]\n"
          " %b = cast(%y) : f16[4,6]\n"
          " %c = cast(%y) : bf16[4,6]\n"
          " %m = matmul(%a, %b, transpose_b) : bf16[4,4]\n"
          " %n = matmul(%a, %c, transpose_b) : f16[4,4]\n"
          " %k = matmul(%x, %y, transpose_b) : f16[4,4]\n"
          " %o1 = output(%m, \"m\")\n"
          " %o2 = output(%n, \"n\")\n"
          " %o3 = output(%k, \"k\")\n",
          " %a = cast(%x) : f16[4,6]\n"
          " %b = cast(%y) : f16[4,6]\n"
          " %c = cast(%y) : bf16[4,6]\n"
          " %wide = matmul(%a, %b, transpose_b) : f32[4,4]" WHY " %m = cast(%wide) : bf16[4,4]" WHY
          " %a32 = cast(%a) : f32[4,6]" WHY " %c32 = cast(%c) : f32[4,6]" WHY
          " %wide2 = matmul(%a32, %c32, transpose_b) : f32[4,4]" WHY " %n = cast(%wide2) : f16[4,4]" WHY
          " %wide3 = matmul(%x, %y, transpose_b) : f32[4,4]" WHY " %k = cast(%wide3) : f16[4,4]" WHY
          " %o1 = output(%m, \"m\")\n"
          " %o2 = output(%n, \"n\")\n"
          " %o3 = output(%k, \"k\")\n");
    /* An emulated half is f32 to the library: it meets f32 and gives it; the other half does not. */
    static const char alike[] = " %a = cast(%x) : f16[4,6]\n"
                                " %b = cast(%y) : bf16[4,6]\n"
                                " %m = matmul(%a, %y, transpose_b) : f16[4,4]\n"
                                " %n = matmul(%b, %b, transpose_b) : f16[4,4]\n"
                                " %o1 = output(%m, \"m\")\n"
                                " %o2 = output(%n, \"n\")\n";
    check_emulated(alike, alike);
    check_emulated(" %a = cast(%x) : f16[4,6]\n"
                   " %m = matmul(%x, %y, transpose_b) : bf16[4,4]\n"
                   " %n = matmul(%a, %a, transpose_b) : bf16[4,4]\n"
                   " %o1 = output(%m, \"m\")\n"
                   " %o2 = output(%n, \"n\")\n",
                   " %a = cast(%x) : f16[4,6]\n"
                   " %wide = matmul(%x, %y, transpose_b) : f32[4,4]" WHY " %m = cast(%wide) : bf16[4,4]" WHY
                   " %wide2 = matmul(%a, %a, transpose_b) : f32[4,4]" WHY " %n = cast(%wide2) : bf16[4,4]" WHY
                   " %o1 = output(%m, \"m\")\n"
                   " %o2 = output(%n, \"n\")\n");
    return check_result();
}
