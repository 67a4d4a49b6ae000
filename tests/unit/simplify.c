/* Pass simplify, before and after; and what it must leave alone because a bit could change. */
#include "../rewrite_case.h"

static const struct {
    const char *before, *after;
} cases[] = {
    /* neutral elements */
    {" %c = constant(1) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = mul(%b, %x)\n %d = div(%m, %b)\n %e = pow(%d, %b)\n %o = output(%e, \"o\", kind=value)\n",
     " %o = output(%x, \"o\", kind=value)\n"},
    {" %c = constant(-0) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = add(%b, %x)\n %o = output(%m, \"o\", kind=value)\n",
     " %o = output(%x, \"o\", kind=value)\n"},
    {" %c = constant(0) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = sub(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
     " %o = output(%x, \"o\", kind=value)\n"},
    {" %i = iota(axes=[0]) : i32[3]\n %c = constant(0) : i32[]\n %r = reshape(%c) : i32[1]\n"
     " %b = broadcast(%r) : i32[3]\n %m = add(%i, %b)\n %o = output(%m, \"o\", kind=value)\n",
     " %i = iota(axes=[0]) : i32[3]\n %o = output(%i, \"o\", kind=value)\n"},
    /* negations */
    {" %a = neg(%x)\n %b = neg(%a)\n %s = add(%b, %y)\n %n = neg(%z)\n %t = add(%s, %n)\n %u = sub(%t, %n)\n"
     " %o = output(%u, \"o\", kind=value)\n",
     " %s = add(%x, %y)\n %t = sub(%s, %z)\n %u = add(%t, %z)\n %o = output(%u, \"o\", kind=value)\n"},
    {" %c = constant(3) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n %n = neg(%x)\n"
     " %m = mul(%n, %b)\n %o = output(%m, \"o\", kind=value)\n",
     " %c = constant(-3) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = mul(%x, %b)\n %o = output(%m, \"o\", kind=value)\n"},
    /* powers of two divide exactly, squares are products */
    {" %c = constant(128) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = div(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
     " %c = constant(0.0078125) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = mul(%x, %b)\n %o = output(%m, \"o\", kind=value)\n"},
    {" %c = constant(2) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %m = pow(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
     " %m = mul(%x, %x)\n %o = output(%m, \"o\", kind=value)\n"},
    /* casts */
    {" %a = cast(%x) : f32[4,6]\n %h = cast(%a) : f16[4,6]\n %w = cast(%h) : f32[4,6]\n %g = cast(%w) : f16[4,6]\n"
     " %o = output(%g, \"o\", kind=value)\n",
     " %h = cast(%x) : f16[4,6]\n %o = output(%h, \"o\", kind=value)\n"},
    /* conditions */
    {" %c = constant(1) : bool[]\n %r = reshape(%c) : bool[1,1]\n %t = broadcast(%r) : bool[4,6]\n"
     " %a = and(%p, %t)\n %n = not(%a)\n %m = not(%n)\n %w = where(%t, %x, %y)\n %v = where(%m, %w, %z)\n"
     " %u = where(%p, %v, %v)\n %e = max(%u, %u)\n %o = output(%e, \"o\", kind=value)\n",
     " %v = where(%p, %x, %z)\n %o = output(%v, \"o\", kind=value)\n"},
    /* movement */
    {" %a = reshape(%x) : f32[24]\n %b = reshape(%a) : f32[2,12]\n %c = permute(%b, permutation=[1,0])\n"
     " %d = permute(%c, permutation=[1,0])\n %e = flip(%d, axes=[0,1])\n %f = flip(%e, axes=[1])\n"
     " %o = output(%f, \"o\", kind=value)\n",
     " %b = reshape(%x) : f32[2,12]\n %f = flip(%b, axes=[0])\n %o = output(%f, \"o\", kind=value)\n"},
    {" %a = reshape(%x) : f32[4,1,6]\n %b = permute(%a, permutation=[1,0,2])\n %c = permute(%b, permutation=[2,1,0])\n"
     " %o = output(%c, \"o\", kind=value)\n",
     " %b = reshape(%x) : f32[1,4,6]\n %c = permute(%b, permutation=[2,1,0])\n"
     " %o = output(%c, \"o\", kind=value)\n"},
    {" %a = slice(%x, low=[0,1], high=[4,6], step=[1,2])\n %b = slice(%a, low=[1,1], high=[4,3], step=[2,1])\n"
     " %c = pad(%b, low=[1,0])\n %d = pad(%c, high=[0,2])\n %e = concat(%d, axis=0)\n"
     " %o = output(%e, \"o\", kind=value)\n",
     " %b = slice(%x, low=[1,3], high=[4,6], step=[2,2])\n %d = pad(%b, low=[1,0], high=[0,2])\n"
     " %o = output(%d, \"o\", kind=value)\n"},
    {" %c = constant(7) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %f = reshape(%b) : f32[24]\n %o = output(%f, \"o\", kind=value)\n",
     " %c = constant(7) : f32[]\n %r = reshape(%c) : f32[1]\n %b = broadcast(%r) : f32[24]\n"
     " %o = output(%b, \"o\", kind=value)\n"},
    /* the first rows of a table, in order */
    {" %i = iota(axes=[0]) : i32[4]\n %g = gather(%x, %i, axis=1)\n %o = output(%g, \"o\", kind=value)\n",
     " %g = slice(%x, high=[4,4])\n %o = output(%g, \"o\", kind=value)\n"},
    {" %i = iota(axes=[0]) : i32[4]\n %g = gather(%x, %i, axis=0)\n %o = output(%g, \"o\", kind=value)\n",
     " %o = output(%x, \"o\", kind=value)\n"},
    /* arithmetic of constants, each step rounded to its own type */
    {" %a = constant(2049) : f32[]\n %h = cast(%a) : f16[]\n %b = constant(3) : i32[]\n %d = div(%h, %b) : f32[]\n"
     " %e = exp(%d)\n %l = log(%e)\n %t = lt(%l, %b)\n %f = floor(%d)\n %w = where(%t, %a, %f)\n"
     " %o = output(%w, \"o\", kind=value)\n",
     " %c = constant(682) : f32[]\n %o = output(%c, \"o\", kind=value)\n"},
    {" %a = constant(0) : f32[]\n %l = log(%a)\n %n = sub(%l, %l)\n %r = reshape(%n) : f32[1,1]\n"
     " %b = broadcast(%r) : f32[4,6]\n %k = neg(%b)\n %m = mul(%x, %k)\n %o = output(%m, \"o\", kind=value)\n",
     " %a = constant(nan) : f32[]\n %r = reshape(%a) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n %m = mul(%x, %b)\n"
     " %o = output(%m, \"o\", kind=value)\n"},
    /* reductions of one element, and of equal ones */
    {" %a = reshape(%x) : f32[4,1,6]\n %s = sum(%a, axes=[1])\n %m = reduce_max(%s, axes=[1])\n"
     " %o = output(%m, \"o\", kind=value)\n",
     " %a = reshape(%x) : f32[4,1,6]\n %o = output(%a, \"o\", kind=value)\n"},
    {" %c = constant(0.5) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
     " %s = sum(%b, axes=[0,1])\n %o = output(%s, \"o\", kind=value)\n",
     " %c = constant(12) : f32[]\n %r = reshape(%c) : f32[1,1]\n %o = output(%r, \"o\", kind=value)\n"},
    /* nothing adds up to 0, and computes no elements */
    {" %a = slice(%x, low=[0,1], high=[4,1], step=[1,1])\n %e = exp(%a)\n %s = sum(%e, axes=[1])\n"
     " %o = output(%s, \"o\", kind=value)\n %q = output(%e, \"q\", kind=value)\n",
     " %c = constant(0) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,0]\n"
     " %d = constant(0) : f32[]\n %t = reshape(%d) : f32[1,1]\n %s = broadcast(%t) : f32[4,1]\n"
     " %o = output(%s, \"o\", kind=value)\n %q = output(%b, \"q\", kind=value)\n"},
    /* matmul reads and writes transposed */
    {" %t = permute(%y, permutation=[1,0])\n %m = matmul(%x, %t)\n %s = permute(%m, permutation=[1,0])\n"
     " %o = output(%s, \"o\", kind=value)\n",
     " %s = matmul(%y, %x, transpose_b)\n %o = output(%s, \"o\", kind=value)\n"},
};

/* Nothing here may change. */
static const char *const kept[] = {
    /* x + 0 turns -0 into 0 */
    " %c = constant(0) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
    " %m = add(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
    /* x * 0 may be NaN */
    " %c = constant(0) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
    " %m = mul(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
    /* a half in between rounds */
    " %h = cast(%x) : f16[4,6]\n %w = cast(%h) : f32[4,6]\n %o = output(%w, \"o\", kind=value)\n",
    " %h = neg(%x) : f16[4,6]\n %w = neg(%h) : f32[4,6]\n %o = output(%w, \"o\", kind=value)\n",
    /* x * 1 that rounds is no identity */
    " %c = constant(1) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
    " %m = mul(%x, %b) : f16[4,6]\n %o = output(%m, \"o\", kind=value)\n",
    /* 1/3 is not exact, nor is 2^-30 in f16 */
    " %c = constant(3) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
    " %m = div(%x, %b)\n %o = output(%m, \"o\", kind=value)\n",
    /* a product that others read too is not computed twice */
    " %m = matmul(%x, %y, transpose_b)\n %s = permute(%m, permutation=[1,0])\n"
    " %o = output(%s, \"o\", kind=value)\n %q = output(%m, \"q\", kind=value)\n",
    /* rows that a table may lack, and columns of numbers that repeat */
    " %i = iota(axes=[0]) : i32[5]\n %g = gather(%x, %i, axis=0)\n %o = output(%g, \"o\", kind=value)\n",
    " %i = iota(axes=[1]) : i32[4,1]\n %r = reshape(%i) : i32[4]\n %g = gather(%x, %r, axis=0)\n"
    " %o = output(%g, \"o\", kind=value)\n",
    /* bytes that do not count so far */
    " %t = reshape(%x) : f32[24]\n %u = pad(%t, high=[276])\n %i = iota(axes=[0]) : u8[300]\n"
    " %g = gather(%u, %i, axis=0)\n %o = output(%g, \"o\", kind=value)\n",
    /* sums round at every node */
    " %a = sum(%x, axes=[0])\n %b = sum(%a, axes=[1])\n %o = output(%b, \"o\", kind=value)\n",
};

static void test_origin_and_name(void)
{
    struct arena *arena = arena_new();
    struct module *module =
        case_parse(arena, " %c = constant(4) : f32[]\n %r = reshape(%c) : f32[1,1]\n %b = broadcast(%r) : f32[4,6]\n"
                          " %mean = div(%x, %b) #77\n %o = output(%mean, \"o\", kind=value)\n");
    pass_simplify(module->graphs[0], &(struct pass_context){.limit = -1});
    pass_dce(module->graphs[0], &(struct pass_context){.limit = -1});
    const struct node *node = arrlast(module->graphs[0]->nodes)->operands[0];
    CHECK(node->op == OP_mul && node->origin == 77);
    CHECK_TEXT(node->name, "mean");
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    pass_function *const passes[] = {pass_simplify, NULL};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_rewrite(cases[i].before, cases[i].after, -1, passes);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        check_rewrite(kept[i], kept[i], -1, passes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_rewrite(cases[i].before, cases[i].before, 0, passes); /* --pass-limit 0 */
    test_origin_and_name();
    return check_result();
}
