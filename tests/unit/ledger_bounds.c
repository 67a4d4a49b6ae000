/* Lower bound and unfused bytes of hand-worked graphs. */
#include "check.h"
#include "codegen/ledger.h"
#include "ir/parse.h"

#include <stdlib.h>

static uint64_t lower, unfused;

static void measure(const char *text)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct module *module = parse_module(arena, diagnostics, "ledger.ir", text);
    diagnostics_print(diagnostics, stderr);
    if (!module)
        exit(1);
    struct target target = {.name = "host"};
    for (int i = 0; i < ELEMENT_COUNT; i++)
        target.storage[i] = (enum element)i;
    graph_number(module->graphs[0]);
    lower = ledger_lower_bound(module->graphs[0], &target);
    unfused = ledger_unfused(module->graphs[0], &target);
    module_free(module);
    arena_free(arena);
}

int main(void)
{
    measure("variable \"w\" : f32[8,6] parameter\n"
            "variable \"b\" : f32[6] parameter\n"
            "variable \"v\" : f32[6,3] parameter\n"
            "graph g {\n"
            " %x = input(\"x\") : f32[4,8]\n"
            " %w = read(\"w\")\n"
            " %b = read(\"b\")\n"
            " %v = read(\"v\")\n"
            " %h = matmul(%x, %w)\n"
            " %b1 = reshape(%b) : f32[1,6]\n"
            " %b2 = broadcast(%b1) : f32[4,6]\n"
            " %a = add(%h, %b2)\n"
            " %r = tanh(%a)\n"
            " %y = matmul(%r, %v)\n"
            " %q = mul(%y, %y)\n"
            " %s = sum(%q, axes=[0,1])\n"
            " %l = reshape(%s) : f32[]\n"
            " %o = output(%l, \"loss\", kind=loss)\n"
            "}\n");
    /* products x 128 + w 192 + h 96, r 96 + v 72 + y 48; the pass reads h 96, b 24 and y 48 and stores the loss */
    CHECK(lower == 416 + 216 + 120 + 48 + 4);
    /* add 96 + 24 + 96, tanh 192, mul 48 + 96, sum 48 + 4, output 4 + 4, and the products */
    CHECK(unfused == 416 + 216 + 216 + 192 + 144 + 52 + 8);

    /* The backward pass reads h again, computes tanh once more for nothing, and reads dy. */
    measure("variable \"w\" : f32[8,6] parameter\n"
            "graph g {\n"
            " %x = input(\"x\") : f32[4,8]\n"
            " %w = read(\"w\")\n"
            " %h = matmul(%x, %w)\n"
            " %r = tanh(%h)\n"
            " %y = matmul(%r, %r, transpose_b)\n"
            " %t = tanh(%h) backward\n"
            " %u = neg(%t) backward\n"
            " %dr = matmul(%y, %r) backward\n"
            " %dh = mul(%dr, %u) backward\n"
            " %dw = matmul(%x, %dh, transpose_a) backward\n"
            " %n = sub(%w, %dw) update\n"
            " %z = write(%n, \"w\", gate=all) update\n"
            "}\n");
    /* h: 128 + 192 + 96; y: 96 + 96 + 64; dr: 64 + 96 + 96; dw: 128 + 96 + 192; tanh reads h 96; backward: dr 96, h 96;
     * update: w 192, dw 192, written 192 */
    CHECK(lower == 416 + 256 + 256 + 416 + 96 + 192 + 576);

    /* The bound reads x once, whatever waits for the sum. */
    for (int axis = 0; axis < 2; axis++) {
        char text[512];
        snprintf(text, sizeof text,
                 "graph g {\n"
                 " %%x = input(\"x\") : f32[16,8]\n"
                 " %%c = sum(%%x, axes=[%d])\n"
                 " %%b = broadcast(%%c) : f32[16,8]\n"
                 " %%d = sub(%%x, %%b)\n"
                 " %%o = output(%%d, \"d\")\n"
                 "}\n",
                 axis);
        measure(text);
        CHECK(lower == 512 + 512);
    }

    /* A product is one whether its operand is stored for it or it is added up where that is computed: dy 48 + x 32 +
     * dw 36, the pass reads y 48, the output reads dw and stores it. */
    measure("graph g {\n"
            " %x = input(\"x\") : f32[2,1,4]\n"
            " %y = input(\"y\") : f32[2,3,2]\n"
            " %dy = neg(%y) kernel 1\n"
            " %dw = conv_weight(%x, %dy) : f32[3,1,3] kernel 2\n"
            " %o = output(%dw, \"dw\") kernel 3\n"
            "}\n");
    CHECK(lower == 116 + 48 + 36 + 36);
    measure("graph g {\n"
            " %x = input(\"x\") : f32[2,1,4]\n"
            " %y = input(\"y\") : f32[2,3,2]\n"
            " %dy = neg(%y)\n"
            " %dw = tap_sums(%dy, %x) : f32[3,1,3] kernel 1\n"
            " %o = output(%dw, \"dw\") kernel 2\n"
            "}\n");
    CHECK(lower == 116 + 48 + 36 + 36);
    return check_result();
}
