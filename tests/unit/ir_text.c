/* The text form: what is printed parses back to the same text and the same graph, and wrong texts are diagnosed. */
#include "check.h"
#include "ir/parse.h"
#include "ir/print.h"

#include <math.h>
#include <stb/stb_ds.h>
#include <stdlib.h>

static char *module_text(const struct module *module)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_module(module, out);
    fclose(out);
    return text;
}

static struct module *parse(struct arena *arena, const char *text, struct diagnostics **diagnostics)
{
    *diagnostics = diagnostics_new(arena);
    return parse_module(arena, *diagnostics, "test.ir", text);
}

/* The text as it is printed after parsing. */
static char *reprint(const char *text)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics;
    struct module *module = parse(arena, text, &diagnostics);
    if (!module)
        diagnostics_print(diagnostics, stderr);
    char *result = module ? module_text(module) : strdup("(does not parse)");
    module_free(module);
    arena_free(arena);
    return result;
}

static void check_same(const char *text)
{
    char *again = reprint(text);
    CHECK_TEXT(again, text);
    free(again);
}

static const char everything[] =
    "module \"a b\"\n"
    "accumulate 4\n"
    "origins 90\n"
    "variable \"fc1.weight\" : f32[4,3] parameter frozen in \"linear\" @\"m.net\":3:5-9\n"
    "variable \"fc1.weight.f16\" : f16[4,3] copy of \"fc1.weight\"\n"
    "variable \"train/scale\" : f32[] optimizer\n"
    "variable \"train/seed\" : i64[] host\n"
    "minimize \"loss\" @\"m.net\":9:1-4\n"
    "scaling \"dynamic\" explicit @1:2-3\n"
    "\nfunction dynamic {\n"
    "  %1 = argument(0) : bool[] update\n"
    "  %2 = read(\"train/scale\") : f32[] update\n"
    "  %3 = write(%2, \"train/scale\") : f32[] update\n"
    "  %4 = output(%2, \"scale\", kind=value) : f32[] update\n"
    "}\n"
    "\ngraph train batch 2 {\n"
    "  %x = input(\"x\") : f32[2,3] #5\n"
    "  %label = input(\"y\", classes=10) : i32[2] #6\n"
    "  %fc1.y = read(\"fc1.weight\") : f32[4,3] @\"m.net\":3:5-9 in \"fc1:linear\" #7 pin f32\n"
    "  %8 = cast(%fc1.y, explicit) : f16[4,3] why \"auto.policy:3: \\\"half\\\" op\\n\"\n"
    "  %h = matmul(%x, %8, transpose_b) : f16[2,4] #9 kernel 1 at scratch + 64\n"
    "  %h~2 = neg(%h) : f16[2,4]{1,0} backward #10 of #9 kernel 2 at state \"fc1.weight\" + 4\n"
    "  %\"odd ~ name\" = sum(%h~2, axes=[0,1]) : f32[1,1] #11 at input \"x\"\n"
    "  %12 = constant(-0) : f32[]\n"
    "  %13 = constant(nan) : f32[]\n"
    "  %14 = constant(-inf) : f32[]\n"
    "  %15 = constant(nan:0x7ff8000000000001) : f32[]\n"
    "  %16 = constant(0.1) : f64[]\n"
    "  %17 = slice(%h, low=[0,1], high=[2,4], step=[1,2]) : f16[2,2]\n"
    "  %18 = pad(%17, high=[0,3], value=-1e+30) : f16[2,5]\n"
    "  %19 = permute(%18, permutation=[1,0]) : f16[5,2]\n"
    "  %20 = cumsum(%19, axis=1, reverse) : f16[5,2]\n"
    "  %21 = window(%20, kernel=[2,1], stride=[2,1], pad_low=[1,0], value=-inf) : f16[3,2,2,1]\n"
    "  %22 = fold(%21, kernel=[2,1], stride=[2,1], pad_low=[1,0]) : f16[5,2]\n"
    "  %23 = read(\"train/seed\") : i64[]\n"
    "  %24 = random(%23, %23, key=0xffffffffffffffff) : f32[2,3]\n"
    "  %25 = iota(axes=[1]) : i32[2,3]\n"
    "  %26 = concat(%x, %24, axis=1) : f32[2,6]\n"
    "  %27 = scale_seed(1) : f32[]\n"
    "  %28 = unscale(%24, 1) : f32[2,3]\n"
    "  %29 = write(%fc1.y, \"fc1.weight\", gate=1) : f32[4,3] update\n"
    "  %30 = write(%27, \"train/scale\", gate=all) : f32[] update\n"
    "  %31 = output(%27, \"loss\", kind=loss) : f32[]\n"
    "  %32 = input(\"img\") : f32[2,4,5,5]\n"
    "  %33 = input(\"k\") : f32[6,2,3,3]\n"
    "  %34 = conv(%32, %33, stride=[2,2], pad_low=[1,1], pad_high=[1,1], groups=2) : f32[2,6,3,3]{0,2,3,1}\n"
    "  %35 = conv_data(%33, %34, stride=[2,2], pad_low=[1,1], pad_high=[1,1], groups=2) : f32[2,4,5,5]\n"
    "}\n"
    "\ngraph graph {\n"
    "}\n";

static void round_trips(void)
{
    check_same(everything);
    check_same("");
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics;
    struct module *module = parse(arena, everything, &diagnostics);
    CHECK(module && module->accumulate == 4 && module->next_origin == 90);
    if (!module)
        return;
    CHECK(module->scaling.rules[0] == module->functions[0] && module->scaling.explicit);
    struct graph *train = module_find_graph(module, "train");
    CHECK(train->batch == 2 && train->nodes[1]->attributes->index == 10);
    CHECK_TEXT(train->nodes[5]->name, "h");
    CHECK(train->nodes[5]->operands[0] == train->nodes[4] && train->nodes[5]->region == REGION_BACKWARD);
    CHECK_TEXT(train->nodes[6]->name, "odd ~ name");
    CHECK(!train->nodes[7]->name && signbit(train->nodes[7]->attributes->value));
    CHECK(train->nodes[3]->attributes->explicit_cast && train->nodes[2]->pin == ELEMENT_F32);
    CHECK(train->nodes[4]->placement.space == SPACE_SCRATCH && train->nodes[4]->placement.offset == 64);
    struct module *copy = module_copy(module, arena);
    char *text = module_text(copy);
    CHECK_TEXT(text, everything);
    free(text);
    module_free(copy);
    module_free(module);
    arena_free(arena);
}

/* Texts written by hand leave out types that follow, origins and fallbacks. */
static void fills_in(void)
{
    char *text = reprint("graph g { ; a comment\n %a = input(\"a\") : f32[1,1,4,4]\n %3 = add(%a, %a)\n"
                         " %b = neg(%3)\n %k = input(\"k\") : f32[2,1,3,3]\n %c = conv(%a, %k)\n}\n");
    CHECK_TEXT(text, "\ngraph g {\n  %a = input(\"a\") : f32[1,1,4,4] #4\n  %3 = add(%a, %a) : f32[1,1,4,4]\n"
                     "  %b = neg(%3) : f32[1,1,4,4] #5\n  %k = input(\"k\") : f32[2,1,3,3] #6\n"
                     "  %c = conv(%a, %k) : f32[1,2,2,2] #7\n}\n");
    free(text);
}

static void diagnoses(const char *text, int errors, const char *part)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics;
    struct module *module = parse(arena, text, &diagnostics);
    CHECK(!module);
    CHECK(diagnostics_errors(diagnostics) == errors);
    char *report;
    size_t size;
    FILE *out = open_memstream(&report, &size);
    diagnostics_print(diagnostics, out);
    fclose(out);
    if (!strstr(report, part) || diagnostics_errors(diagnostics) != errors)
        CHECK_TEXT(report, part);
    CHECK(errors == 0 || strstr(report, "test.ir:"));
    free(report);
    module_free(module);
    arena_free(arena);
}

static void wrong_texts(void)
{
    diagnoses("graph g {\n %a = ad(%b)\n}\n", 2, "did you mean `add`?");
    diagnoses("graph g {\n %a = neg(%b)\n %c = neg(%a)\n}\n", 1, "no node %b stands above");
    diagnoses("graph g {\n %a = = \n %b = neg(\n %c = input(\"c\") : f33[]\n}\n", 3, "expected");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]\n %a = neg(%a)\n}\n", 1, "is there already");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]\n %b = neg(%a) : f32[3]\n}\n", 1, "neg gives [2], not [3]");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]\n %b = sum(%a, axes=[9])\n}\n", 1, "no value");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]\n %b = sum(%a, axis=0)\n}\n", 1, "no attribute axis");
    diagnoses("graph g {\n %a = input() : f32[2]\n}\n", 1, "needs a name");
    diagnoses("graph g {\n %a = input(\"a) : f32[2]\n}\n", 1, "does not end");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]{1}\n}\n", 1, "each axis once");
    diagnoses("graph g {\n", 1, "unexpected end of file");
    diagnoses("scaling \"r\"\n", 1, "no function r");
    diagnoses("variable \"a\" : f32[] parametr\n", 1, "did you mean `parameter`?");
    diagnoses("variable \"a\" : f32[] state\nvariable \"a\" : f32[] state\n", 1, "there already");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2,3]\n %b = pad(%a, low=[1])\n}\n", 1, "low has 2 numbers");
    diagnoses("graph g {\n %a = input(\"a\") : f32[2]\n %b = pad(%a, low=[9999999999])\n}\n", 1, "no value");
    diagnoses("graph g {\n %a = input(\"a\") : f32[1000000,1000000,1000000]\n}\n", 1, "too many elements");
    diagnoses("accumulate 0\n?\n", 2, "at least 1");
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void doubles(void)
{
    const double values[] = {0,         -0.0,       1.0 / 3, 1e300, 5e-324,   1e22,  0.1,
                             123456789, 1e15 + 0.3, NAN,     -NAN,  INFINITY, 65504, 2e-5};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char buffer[DOUBLE_TEXT], text[80];
        snprintf(text, sizeof text, "graph g {\n %%a = constant(%s) : f64[]\n}\n", format_double(values[i], buffer));
        struct arena *arena = arena_new();
        struct diagnostics *diagnostics;
        struct module *module = parse(arena, text, &diagnostics);
        CHECK(module && bits_of(module->graphs[0]->nodes[0]->attributes->value) == bits_of(values[i]));
        module_free(module);
        arena_free(arena);
    }
}

int main(void)
{
    round_trips();
    fills_in();
    wrong_texts();
    doubles();
    return check_result();
}
