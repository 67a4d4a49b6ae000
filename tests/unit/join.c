/* Pass join, before and after; what it must leave alone; and the values that come out, by the evaluator. */
#include "../rewrite_case.h"
#include "ir/verify.h"
#include "random_graph.h"

#include <math.h>

static const struct {
    const char *before, *after;
} cases[] = {
    /* parts of two tensors */
    {" %a0 = slice(%x, low=[0,0], high=[1,6])\n %b0 = slice(%y, low=[0,0], high=[1,6])\n"
     " %a1 = slice(%x, low=[1,0], high=[2,6])\n %b1 = slice(%y, low=[1,0], high=[2,6])\n"
     " %a2 = slice(%x, low=[2,0], high=[3,6])\n %b2 = slice(%y, low=[2,0], high=[3,6])\n"
     " %a3 = slice(%x, low=[3,0], high=[4,6])\n %b3 = slice(%y, low=[3,0], high=[4,6])\n"
     " %m0 = matmul(%a0, %b0, transpose_a)\n %m1 = matmul(%a1, %b1, transpose_a)\n"
     " %m2 = matmul(%a2, %b2, transpose_a)\n %m3 = matmul(%a3, %b3, transpose_a)\n %s1 = add(%m0, %m1)\n"
     " %s2 = add(%s1, %m2)\n %s3 = add(%s2, %m3)\n %o = output(%s3, \"o\", kind=value)\n",
     " %s3 = matmul(%x, %y, transpose_a) : f32[6,6]\n %o = output(%s3, \"o\", kind=value) : f32[6,6]\n"},
    /* some parts, in any order */
    {" %a1 = slice(%x, low=[1,0], high=[2,6])\n %b1 = slice(%y, low=[0,0], high=[1,6])\n"
     " %a2 = slice(%x, low=[2,0], high=[3,6])\n %b2 = slice(%y, low=[1,0], high=[2,6])\n"
     " %a3 = slice(%x, low=[3,0], high=[4,6])\n %b3 = slice(%y, low=[2,0], high=[3,6])\n"
     " %m3 = matmul(%a3, %b3, transpose_a)\n %m2 = matmul(%a2, %b2, transpose_a)\n"
     " %m1 = matmul(%a1, %b1, transpose_a)\n %s2 = add(%m3, %m2)\n %s1 = add(%s2, %m1)\n"
     " %o = output(%s1, \"o\", kind=value)\n",
     " %17 = slice(%x, low=[1,0], high=[4,6]) : f32[3,6]\n %18 = slice(%y, high=[3,6]) : f32[3,6]\n"
     " %s1 = matmul(%17, %18, transpose_a) : f32[6,6]\n %o = output(%s1, \"o\", kind=value) : f32[6,6]\n"},
    /* what concats are made of, of which one comes later and is made earlier */
    {" %r0 = slice(%x, low=[0,0], high=[1,6])\n %a0 = sin(%r0)\n %u0 = reshape(%a0) : f32[1,1,6]\n"
     " %r1 = slice(%x, low=[1,0], high=[2,6])\n %a1 = sin(%r1)\n %u1 = reshape(%a1) : f32[1,1,6]\n"
     " %r2 = slice(%x, low=[2,0], high=[3,6])\n %a2 = sin(%r2)\n %u2 = reshape(%a2) : f32[1,1,6]\n"
     " %h = concat(%u0, %u1, %u2, axis=0)\n %q0 = slice(%y, low=[0,0], high=[1,6])\n %b0 = cos(%q0)\n"
     " %q1 = slice(%y, low=[1,0], high=[2,6])\n %b1 = cos(%q1)\n %q2 = slice(%y, low=[2,0], high=[3,6])\n"
     " %b2 = cos(%q2)\n %m0 = matmul(%a0, %b0, transpose_a)\n %m1 = matmul(%a1, %b1, transpose_a)\n"
     " %m2 = matmul(%a2, %b2, transpose_a)\n %s1 = add(%m0, %m1)\n %s2 = add(%s1, %m2)\n"
     " %o = output(%s2, \"o\", kind=value)\n %d = concat(%b0, %b1, %b2, axis=0)\n"
     " %e = output(%d, \"d\", kind=value)\n %f = output(%h, \"h\", kind=value)\n",
     " %r0 = slice(%x, high=[1,6]) : f32[1,6]\n %a0 = sin(%r0) : f32[1,6]\n"
     " %u0 = reshape(%a0) : f32[1,1,6]\n %r1 = slice(%x, low=[1,0], high=[2,6]) : f32[1,6]\n"
     " %a1 = sin(%r1) : f32[1,6]\n %u1 = reshape(%a1) : f32[1,1,6]\n"
     " %r2 = slice(%x, low=[2,0], high=[3,6]) : f32[1,6]\n %a2 = sin(%r2) : f32[1,6]\n"
     " %u2 = reshape(%a2) : f32[1,1,6]\n %h = concat(%u0, %u1, %u2, axis=0) : f32[3,1,6]\n"
     " %q0 = slice(%y, high=[1,6]) : f32[1,6]\n %b0 = cos(%q0) : f32[1,6]\n"
     " %q1 = slice(%y, low=[1,0], high=[2,6]) : f32[1,6]\n %b1 = cos(%q1) : f32[1,6]\n"
     " %q2 = slice(%y, low=[2,0], high=[3,6]) : f32[1,6]\n %b2 = cos(%q2) : f32[1,6]\n"
     " %30 = reshape(%h) : f32[3,6]\n %d = concat(%b0, %b1, %b2, axis=0) : f32[3,6]\n"
     " %s2 = matmul(%30, %d, transpose_a) : f32[6,6]\n %o = output(%s2, \"o\", kind=value) : f32[6,6]\n"
     " %e = output(%d, \"d\", kind=value) : f32[3,6]\n %f = output(%h, \"h\", kind=value) : f32[3,1,6]\n"},
    /* many narrow operands are put together */
    {" %r0 = slice(%x, low=[0,0], high=[1,6])\n %a0 = sin(%r0)\n %q0 = slice(%y, low=[0,0], high=[1,6])\n"
     " %b0 = cos(%q0)\n %r1 = slice(%x, low=[1,0], high=[2,6])\n %a1 = sin(%r1)\n"
     " %q1 = slice(%y, low=[1,0], high=[2,6])\n %b1 = cos(%q1)\n %r2 = slice(%x, low=[2,0], high=[3,6])\n"
     " %a2 = sin(%r2)\n %q2 = slice(%y, low=[2,0], high=[3,6])\n %b2 = cos(%q2)\n"
     " %r3 = slice(%x, low=[3,0], high=[4,6])\n %a3 = sin(%r3)\n %q3 = slice(%y, low=[3,0], high=[4,6])\n"
     " %b3 = cos(%q3)\n %m0 = matmul(%a0, %b0, transpose_a)\n %m1 = matmul(%a1, %b1, transpose_a)\n"
     " %m2 = matmul(%a2, %b2, transpose_a)\n %m3 = matmul(%a3, %b3, transpose_a)\n %s1 = add(%m0, %m1)\n"
     " %s2 = add(%s1, %m2)\n %s3 = add(%s2, %m3)\n %o = output(%s3, \"o\", kind=value)\n",
     " %r0 = slice(%x, high=[1,6]) : f32[1,6]\n %a0 = sin(%r0) : f32[1,6]\n"
     " %q0 = slice(%y, high=[1,6]) : f32[1,6]\n %b0 = cos(%q0) : f32[1,6]\n"
     " %r1 = slice(%x, low=[1,0], high=[2,6]) : f32[1,6]\n %a1 = sin(%r1) : f32[1,6]\n"
     " %q1 = slice(%y, low=[1,0], high=[2,6]) : f32[1,6]\n %b1 = cos(%q1) : f32[1,6]\n"
     " %r2 = slice(%x, low=[2,0], high=[3,6]) : f32[1,6]\n %a2 = sin(%r2) : f32[1,6]\n"
     " %q2 = slice(%y, low=[2,0], high=[3,6]) : f32[1,6]\n %b2 = cos(%q2) : f32[1,6]\n"
     " %r3 = slice(%x, low=[3,0], high=[4,6]) : f32[1,6]\n %a3 = sin(%r3) : f32[1,6]\n"
     " %q3 = slice(%y, low=[3,0], high=[4,6]) : f32[1,6]\n %b3 = cos(%q3) : f32[1,6]\n"
     " %29 = concat(%a0, %a1, %a2, %a3, axis=0) : f32[4,6]\n"
     " %30 = concat(%b0, %b1, %b2, %b3, axis=0) : f32[4,6]\n"
     " %s3 = matmul(%29, %30, transpose_a) : f32[6,6]\n %o = output(%s3, \"o\", kind=value) : f32[6,6]\n"},
    /* a product with zeros goes */
    {" %a0 = slice(%x, low=[0,0], high=[1,6])\n %c = constant(0) : f32[]\n %r = reshape(%c) : f32[1,1]\n"
     " %n = broadcast(%r) : f32[1,6]\n %m0 = matmul(%a0, %n, transpose_a)\n"
     " %m1 = matmul(%x, %y, transpose_a)\n %s1 = add(%m0, %m1)\n %o = output(%s1, \"o\", kind=value)\n",
     " %m1 = matmul(%x, %y, transpose_a) : f32[6,6]\n %o = output(%m1, \"o\", kind=value) : f32[6,6]\n"},
    /* columns of a tensor */
    {" %k = reshape(%x) : f32[2,2,6]\n %w = concat(%y, %z, axis=0)\n"
     " %c0 = slice(%k, low=[0,0,0], high=[2,1,6])\n %a0 = reshape(%c0) : f32[2,6]\n"
     " %m0 = matmul(%a0, %w, transpose_b)\n %g0 = sin(%m0)\n %o0 = output(%g0, \"o0\", kind=value)\n"
     " %c1 = slice(%k, low=[0,1,0], high=[2,2,6])\n %a1 = reshape(%c1) : f32[2,6]\n"
     " %m1 = matmul(%a1, %w, transpose_b)\n %g1 = sin(%m1)\n %o1 = output(%g1, \"o1\", kind=value)\n",
     " %k = reshape(%x) : f32[2,2,6]\n %w = concat(%y, %z, axis=0) : f32[8,6]\n"
     " %17 = permute(%k, permutation=[1,0,2]) : f32[2,2,6]\n %18 = reshape(%17) : f32[4,6]\n"
     " %19 = matmul(%18, %w, transpose_b) : f32[4,8]\n %m0 = slice(%19, high=[2,8]) : f32[2,8]\n"
     " %g0 = sin(%m0) : f32[2,8]\n %o0 = output(%g0, \"o0\", kind=value) : f32[2,8]\n"
     " %m1 = slice(%19, low=[2,0], high=[4,8]) : f32[2,8]\n %g1 = sin(%m1) : f32[2,8]\n"
     " %o1 = output(%g1, \"o1\", kind=value) : f32[2,8]\n"},
    /* rows of a tensor */
    {" %a0 = slice(%x, low=[0,0], high=[1,6])\n %m0 = matmul(%a0, %y, transpose_b)\n"
     " %o0 = output(%m0, \"o0\", kind=value)\n %a1 = slice(%x, low=[1,0], high=[2,6])\n"
     " %m1 = matmul(%a1, %y, transpose_b)\n %o1 = output(%m1, \"o1\", kind=value)\n"
     " %a2 = slice(%x, low=[2,0], high=[3,6])\n %m2 = matmul(%a2, %y, transpose_b)\n"
     " %o2 = output(%m2, \"o2\", kind=value)\n %a3 = slice(%x, low=[3,0], high=[4,6])\n"
     " %m3 = matmul(%a3, %y, transpose_b)\n %o3 = output(%m3, \"o3\", kind=value)\n",
     " %17 = matmul(%x, %y, transpose_b) : f32[4,4]\n %m0 = slice(%17, high=[1,4]) : f32[1,4]\n"
     " %o0 = output(%m0, \"o0\", kind=value) : f32[1,4]\n"
     " %m1 = slice(%17, low=[1,0], high=[2,4]) : f32[1,4]\n"
     " %o1 = output(%m1, \"o1\", kind=value) : f32[1,4]\n"
     " %m2 = slice(%17, low=[2,0], high=[3,4]) : f32[1,4]\n"
     " %o2 = output(%m2, \"o2\", kind=value) : f32[1,4]\n"
     " %m3 = slice(%17, low=[3,0], high=[4,4]) : f32[1,4]\n"
     " %o3 = output(%m3, \"o3\", kind=value) : f32[1,4]\n"},
};

/* Nothing here may change. */
static const char *const kept[] = {
    /* too few to put together */
    " %r0 = slice(%x, low=[0,0], high=[1,6])\n %a0 = sin(%r0)\n %q0 = slice(%y, low=[0,0], high=[1,6])\n"
    " %b0 = cos(%q0)\n %r1 = slice(%x, low=[1,0], high=[2,6])\n %a1 = sin(%r1)\n"
    " %q1 = slice(%y, low=[1,0], high=[2,6])\n %b1 = cos(%q1)\n %r2 = slice(%x, low=[2,0], high=[3,6])\n"
    " %a2 = sin(%r2)\n %q2 = slice(%y, low=[2,0], high=[3,6])\n %b2 = cos(%q2)\n"
    " %m0 = matmul(%a0, %b0, transpose_a)\n %m1 = matmul(%a1, %b1, transpose_a)\n"
    " %m2 = matmul(%a2, %b2, transpose_a)\n %s1 = add(%m0, %m1)\n %s2 = add(%s1, %m2)\n"
    " %o = output(%s2, \"o\", kind=value)\n",
    /* what would be copied is larger than what is saved */
    " %c1 = constant(1) : f32[]\n %r1 = reshape(%c1) : f32[1,1]\n %n1 = broadcast(%r1) : f32[4,6]\n"
    " %e1 = mul(%x, %n1)\n %a1 = sin(%e1)\n %b1 = cos(%e1)\n %c2 = constant(2) : f32[]\n"
    " %r2 = reshape(%c2) : f32[1,1]\n %n2 = broadcast(%r2) : f32[4,6]\n %e2 = mul(%x, %n2)\n"
    " %a2 = sin(%e2)\n %b2 = cos(%e2)\n %c3 = constant(3) : f32[]\n %r3 = reshape(%c3) : f32[1,1]\n"
    " %n3 = broadcast(%r3) : f32[4,6]\n %e3 = mul(%x, %n3)\n %a3 = sin(%e3)\n %b3 = cos(%e3)\n"
    " %c4 = constant(4) : f32[]\n %r4 = reshape(%c4) : f32[1,1]\n %n4 = broadcast(%r4) : f32[4,6]\n"
    " %e4 = mul(%x, %n4)\n %a4 = sin(%e4)\n %b4 = cos(%e4)\n %m1 = matmul(%a1, %b1, transpose_a)\n"
    " %m2 = matmul(%a2, %b2, transpose_a)\n %m3 = matmul(%a3, %b3, transpose_a)\n"
    " %m4 = matmul(%a4, %b4, transpose_a)\n %s2 = add(%m1, %m2)\n %s3 = add(%s2, %m3)\n"
    " %s4 = add(%s3, %m4)\n %o = output(%s4, \"o\", kind=value)\n",
    /* a product that others read too */
    " %a0 = slice(%x, low=[0,0], high=[1,6])\n %b0 = slice(%y, low=[0,0], high=[1,6])\n"
    " %a1 = slice(%x, low=[1,0], high=[2,6])\n %b1 = slice(%y, low=[1,0], high=[2,6])\n"
    " %m0 = matmul(%a0, %b0, transpose_a)\n %m1 = matmul(%a1, %b1, transpose_a)\n %s1 = add(%m0, %m1)\n"
    " %o = output(%s1, \"o\", kind=value)\n %q = output(%m0, \"q\", kind=value)\n",
    /* not all parts of the tensor */
    " %a0 = slice(%x, low=[0,0], high=[1,6])\n %m0 = matmul(%a0, %y, transpose_b)\n"
    " %o0 = output(%m0, \"o0\", kind=value)\n %a1 = slice(%x, low=[1,0], high=[2,6])\n"
    " %m1 = matmul(%a1, %y, transpose_b)\n %o1 = output(%m1, \"o1\", kind=value)\n"
    " %a2 = slice(%x, low=[2,0], high=[3,6])\n %m2 = matmul(%a2, %y, transpose_b)\n"
    " %o2 = output(%m2, \"o2\", kind=value)\n",
    /* the tensor to be turned is wider than the results */
    " %k = reshape(%x) : f32[2,2,6]\n %c0 = slice(%k, low=[0,0,0], high=[2,1,6])\n"
    " %a0 = reshape(%c0) : f32[2,6]\n %m0 = matmul(%a0, %y, transpose_b)\n"
    " %o0 = output(%m0, \"o0\", kind=value)\n %c1 = slice(%k, low=[0,1,0], high=[2,2,6])\n"
    " %a1 = reshape(%c1) : f32[2,6]\n %m1 = matmul(%a1, %y, transpose_b)\n"
    " %o1 = output(%m1, \"o1\", kind=value)\n",
    /* something is differentiated by a part, or by more than sums show */
    " %a0 = slice(%x, low=[0,0], high=[1,6])\n %m0 = matmul(%a0, %y, transpose_b)\n"
    " %q0 = sum(%m0, axes=[0,1])\n %l0 = reshape(%q0) : f32[]\n %a1 = slice(%x, low=[1,0], high=[2,6])\n"
    " %m1 = matmul(%a1, %y, transpose_b)\n %q1 = sum(%m1, axes=[0,1])\n %l1 = reshape(%q1) : f32[]\n"
    " %a2 = slice(%x, low=[2,0], high=[3,6])\n %m2 = matmul(%a2, %y, transpose_b)\n"
    " %q2 = sum(%m2, axes=[0,1])\n %l2 = reshape(%q2) : f32[]\n %a3 = slice(%x, low=[3,0], high=[4,6])\n"
    " %m3 = matmul(%a3, %y, transpose_b)\n %q3 = sum(%m3, axes=[0,1])\n %l3 = reshape(%q3) : f32[]\n"
    " %d = grad(%l1, %a1)\n %o = output(%d, \"o\", kind=value)\n %o0 = output(%l0, \"o0\", kind=value)\n"
    " %o1 = output(%l1, \"o1\", kind=value)\n %o2 = output(%l2, \"o2\", kind=value)\n"
    " %o3 = output(%l3, \"o3\", kind=value)\n",
};

/* The pass only regroups sums: without roundings before and after agree but for the last digits of doubles. */
static void check_values(const char *body, uint64_t seed)
{
    struct arena *arena = arena_new();
    struct module *before = case_parse(arena, body), *after = case_parse(arena, body);
    struct environment *environment = environment_new();
    random_fill(environment, before, seed);
    pass_join(after->graphs[0], &(struct pass_context){.limit = -1});
    verify_or_bug(after, "pass join");
    struct evaluation *wanted = evaluate_graph(before->graphs[0], environment, EVALUATE_EXACT);
    struct evaluation *got = evaluate_graph(after->graphs[0], environment, EVALUATE_EXACT);
    for (ptrdiff_t i = 0; i < arrlen(before->graphs[0]->nodes); i++) {
        const struct node *node = before->graphs[0]->nodes[i];
        if (node->op != OP_output)
            continue;
        const struct tensor *a = evaluation_value(wanted, node);
        const struct tensor *b = evaluation_output(got, node->attributes->symbol);
        CHECK(b && shape_equal(&a->shape, &b->shape));
        for (int64_t k = 0; b && k < shape_elements(&a->shape); k++)
            CHECK(fabs(a->values[k] - b->values[k]) <= 1e-12 * (1 + fabs(a->values[k])));
    }
    evaluation_free(wanted);
    evaluation_free(got);
    environment_free(environment);
    module_free(before);
    module_free(after);
    arena_free(arena);
}

int main(void)
{
    pass_function *const passes[] = {pass_join, NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_rewrite(cases[i].before, cases[i].after, -1, passes);
        check_rewrite(cases[i].before, cases[i].before, 0, passes); /* --pass-limit 0 */
        check_values(cases[i].before, i + 1);
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        check_rewrite(kept[i], kept[i], -1, passes);
    return check_result();
}
