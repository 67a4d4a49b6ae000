/* Tasks that are alike (codegen/cuda_alike.c): which of a kernel's tasks are printed as one, and with which table. That
 * the code computes the same is shown by fuzz/cases/alike.ir, on the simulated GPU beside the evaluator. */
#include "check.h"
#include "codegen/cuda_plan.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "tests/kernel_cuda.h"

#include <stb/stb_ds.h>
#include <stdlib.h>

#define INPUT(name) " %" name " = input(\"" name "\") : f32[64,48]\n"
#define INPUTS INPUT("a") INPUT("b") INPUT("c") INPUT("d")
#define OUTPUT(of) " %o_" of " = output(%" of ", \"" of "\")\n"

/* `groups`: members of each group, in the order of the kernel's tasks; 0 ends them. `picks`: of the first. */
static const struct {
    const char *what, *body;
    int groups[4], picks;
} cases[] = {
    {"other buffers", INPUTS " %x = sub(%a, %b)\n %y = sub(%c, %d)\n" OUTPUT("x") OUTPUT("y"), {2}, 3},
    {"a buffer that they share is no pick",
     INPUT("a") INPUT("b") " %e = input(\"e\") : f32[1,1]\n %f = broadcast(%e) : f32[64,48]\n %x = sub(%a, %f)\n"
                           " %y = sub(%b, %f)\n" OUTPUT("x") OUTPUT("y"),
     {2},
     2},
    {"other operations", INPUTS " %x = sub(%a, %b)\n %y = add(%c, %d)\n" OUTPUT("x") OUTPUT("y"), {1, 1}, 0},
    {"operands the other way round",
     INPUTS " %x = sub(%a, %b)\n %n = neg(%c)\n %y = sub(%d, %n)\n %m = neg(%b)\n"
            " %z = sub(%m, %a)\n" OUTPUT("x") OUTPUT("y"),
     {1, 1},
     0},
    {"other constants",
     INPUT("a") INPUT("b") " %k = constant(2) : f32[64,48]\n %l = constant(3) : f32[64,48]\n %x = mul(%a, %k)\n"
                           " %y = mul(%b, %l)\n" OUTPUT("x") OUTPUT("y"),
     {2},
     3},
    {"a constant in two places, of which only one differs",
     INPUT("a") INPUT("b") " %2 = constant(2) : f32[1,1]\n %3 = constant(3) : f32[1,1]\n"
                           " %k = broadcast(%2) : f32[64,48]\n %l = broadcast(%3) : f32[64,48]\n %m = mul(%a, %k)\n"
                           " %x = add(%m, %k)\n %n = mul(%b, %l)\n %y = add(%n, %k)\n" OUTPUT("x") OUTPUT("y"),
     {1, 1},
     0},
    {"a constant that is no number is another matter",
     INPUT("a") INPUT("b") " %k = constant(2) : f32[64,48]\n %l = constant(inf) : f32[64,48]\n %x = mul(%a, %k)\n"
                           " %y = mul(%b, %l)\n" OUTPUT("x") OUTPUT("y"),
     {1, 1},
     0},
    {"longer, from end to end: items and first blocks are picks",
     INPUT("a") INPUT("b") " %c = input(\"c\") : f32[64,52]\n %d = input(\"d\") : f32[64,52]\n %x = sub(%a, %b)\n"
                           " %y = sub(%c, %d)\n" OUTPUT("x") OUTPUT("y"),
     {2},
     5},
    {"longer, but four neighbours are too many",
     INPUT("a") INPUT("b") " %c = input(\"c\") : f32[63,51]\n %d = input(\"d\") : f32[63,51]\n %x = sub(%a, %b)\n"
                           " %y = sub(%c, %d)\n" OUTPUT("x") OUTPUT("y"),
     {1, 1},
     0},
    {"longer rows",
     INPUT("a") " %c = input(\"c\") : f32[64,52]\n %e = input(\"e\") : f32[1,48]\n %f = input(\"f\") : f32[1,52]\n"
                " %g = broadcast(%e) : f32[64,48]\n %h = broadcast(%f) : f32[64,52]\n %x = sub(%a, %g)\n"
                " %y = sub(%c, %h)\n" OUTPUT("x") OUTPUT("y"),
     {1, 1},
     0},
    {"sums over everything: their tasks, and what merges their parts",
     INPUTS " %x = mul(%a, %a)\n %y = mul(%b, %b)\n %s = sum(%x, axes=[0,1])\n %t = sum(%y, axes=[0,1])\n" OUTPUT("s")
         OUTPUT("t"),
     {2, 2, 2}, /* and what copies them */
     2},
    {"the largest of all, by several blocks: the same",
     INPUTS " %x = mul(%a, %a)\n %y = mul(%b, %b)\n %s = reduce_max(%x, axes=[0,1])\n"
            " %t = reduce_max(%y, axes=[0,1])\n" OUTPUT("s") OUTPUT("t"),
     {2, 2, 2},
     2},
    {"the largest of few: one block, which ends it",
     " %a = input(\"a\") : f32[4,48]\n %b = input(\"b\") : f32[4,48]\n %x = mul(%a, %a)\n %y = mul(%b, %b)\n"
     " %s = reduce_max(%x, axes=[0,1])\n %t = reduce_max(%y, axes=[0,1])\n" OUTPUT("s") OUTPUT("t"),
     {2, 2},
     2},
};

static struct lowered lower_only(struct graph *graph, const struct target *target, struct arena *arena)
{
    struct pass_context context = {.target = target, .limit = -1};
    pass_fuse(graph, &context);
    pass_schedule(graph, &context);
    struct kernel_set set = kernels_find(graph, arena);
    CHECK(set.count == 1);
    return lower_kernel(&set.kernels[0], target, arena);
}

static void check_case(size_t number)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *text = arena_printf(arena, "graph g {\n%s}\n", cases[number].body);
    struct module *module = parse_module(arena, diagnostics, "alike.ir", text);
    diagnostics_print(diagnostics, stderr);
    CHECK(module);
    if (!module)
        return;
    struct target target = kernel_cuda_target();
    struct lowered lowered = lower_only(module->graphs[0], &target, arena);
    struct cuda_plan plan = cuda_plan_make(&lowered);
    int groups = 0;
    while (groups < 4 && cases[number].groups[groups])
        groups++;
    bool good = arrlen(plan.groups) == groups;
    for (ptrdiff_t i = 0; i < arrlen(plan.groups) && good; i++)
        good = plan.groups[i].members == cases[number].groups[i] &&
               (i > 0 || arrlen(plan.groups[i].picks) == cases[number].picks);
    if (!good) {
        fprintf(stderr, "%s:", cases[number].what);
        for (ptrdiff_t i = 0; i < arrlen(plan.groups); i++)
            fprintf(stderr, " %d of scheme %d, %d picks;", plan.groups[i].members,
                    plan.tasks[plan.groups[i].leader].scheme, (int)arrlen(plan.groups[i].picks));
        fputc('\n', stderr);
    }
    CHECK(good);
    cuda_plan_free(&plan);
    lowered_free(&lowered);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
    return check_result();
}
