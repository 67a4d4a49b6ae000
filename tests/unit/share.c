/* Kernels whose texts differ in numbers alone become one (codegen/share.h): which do, with which text, and what their
 * steps are given. */
#include "codegen/share.h"
#include "check.h"

#include <stdlib.h>

#define HEAD(name, buffers, integers)                                                                                  \
    "/* Kernel 1 stores\n * x = add : f32[8]\n */\nextern \"C\" __global__ void __launch_bounds__(256, 1) " name       \
    "(const __grid_constant__ arguments<" #buffers ", " #integers "> given)\n"

/* Three kernels, each with one step; how many are left, and the first one's text (NULL: as it was). */
static const struct {
    const char *what, *sources[3];
    int left;
    const char *shared;
    int integers[3]; /* of the three steps, their own 10, 20, 30 first */
    int64_t given[3][4];
} cases[] = {
    {"a number that differs becomes an integer, one that does not stays",
     {HEAD("f", 2, 1) "{ x = y * 3 + 5; }", HEAD("g", 2, 1) "{ x = y * 4 + 5; }", HEAD("h", 2, 1) "{ x = y * 4 + 5; }"},
     1,
     "/* Kernel 1 stores\n * x = add : f32[8]\n * and, with other numbers among its integers, the same 2 times more\n "
     "*/\n"
     "extern \"C\" __global__ void __launch_bounds__(256, 1) f(const __grid_constant__ arguments<2, 2> given)\n"
     "{\n    const int n0 = (int)given.integer[1]; x = y * n0 + 5; }",
     {2, 2, 2},
     {{10, 3}, {20, 4}, {30, 4}}},
    {"each kind of number, and equal ones are one",
     {HEAD("f", 2, 1) "{ a = 7u % 7u; b = 9ll; c = 1.5f - 7; d = 1.5f; }",
      HEAD("g", 2, 1) "{ a = 8u % 8u; b = 19ll; c = 2.5f - 8; d = 2.5f; }", HEAD("h", 2, 1) "{ }"},
     2,
     "/* Kernel 1 stores\n * x = add : f32[8]\n * and, with other numbers among its integers, the same 1 times more\n "
     "*/\n"
     "extern \"C\" __global__ void __launch_bounds__(256, 1) f(const __grid_constant__ arguments<2, 4> given)\n"
     "{\n    const unsigned n0u = (unsigned)given.integer[1];\n    const long long n1l = given.integer[2];\n"
     "    const float n2f = __int_as_float((int)given.integer[3]);\n    const int n0 = (int)given.integer[1]; "
     "a = n0u % n0u; b = n1l; c = n2f - n0; d = n2f; }",
     {4, 4, 1},
     {{10, 7, 9, 0x3fc00000}, {20, 8, 19, 0x40200000}, {30}}},
    {"sizes of arrays, initial values and template arguments do not differ",
     {HEAD("f", 2, 1) "{ float x[4]; }", HEAD("g", 2, 1) "{ float x[8]; }", HEAD("h", 3, 1) "{ float x[4]; }"},
     3,
     NULL,
     {1, 1, 1},
     {{10}, {20}, {30}}},
    {"nor what stands in a table",
     {HEAD("f", 2, 1) "{ static __constant__ const unsigned p[2] = {\n {1},\n {2}}; }",
      HEAD("g", 2, 1) "{ static __constant__ const unsigned p[2] = {\n {1},\n {3}}; }", HEAD("h", 2, 1) "{ 1; }"},
     3,
     NULL,
     {1, 1, 1},
     {{10}, {20}, {30}}},
    {"other kinds of numbers, other words, other signs",
     {HEAD("f", 2, 1) "{ x = 1; }", HEAD("g", 2, 1) "{ x = 1u; }", HEAD("h", 2, 1) "{ x = -1; }"},
     3,
     NULL,
     {1, 1, 1},
     {{10}, {20}, {30}}},
    {"comments may differ",
     {HEAD("f", 2, 1) "{ /* f32[3] */ x = 1; }", HEAD("g", 2, 1) "{ /* f32[4] */ x = 2; }",
      HEAD("h", 2, 1) "{ y = 1; }"},
     2,
     "/* Kernel 1 stores\n * x = add : f32[8]\n * and, with other numbers among its integers, the same 1 times more\n "
     "*/\n"
     "extern \"C\" __global__ void __launch_bounds__(256, 1) f(const __grid_constant__ arguments<2, 2> given)\n"
     "{\n    const int n0 = (int)given.integer[1]; /* f32[3] */ x = n0; }",
     {2, 2, 1},
     {{10, 1}, {20, 2}, {30}}},
};

static struct program *program_of(size_t number)
{
    static const char *const names[] = {"f", "g", "h"};
    struct program *program = program_new();
    program->kernel_count = 3;
    program->kernels = program_allocate(program, sizeof *program->kernels * 3);
    program->entry_count = 1;
    program->entries = program_allocate(program, sizeof *program->entries);
    program->entries[0].step_count = 3;
    program->entries[0].steps = program_allocate(program, sizeof *program->entries[0].steps * 3);
    for (int i = 0; i < 3; i++) {
        struct program_step *step = &program->entries[0].steps[i];
        program->kernels[i] = (struct program_kernel){
            .name = names[i], .source = cases[number].sources[i], .threads = 256, .blocks = 100 + i};
        step->kind = PROGRAM_KERNEL;
        step->kernel = (uint32_t)i;
        step->integer_count = 1;
        step->integers = program_allocate(program, sizeof *step->integers);
        step->integers[0] = 10 * (i + 1);
    }
    return program;
}

/* Steps run what they ran before, in as many blocks. */
static void check_steps(size_t number, const struct program *program)
{
    for (int i = 0; i < 3; i++) {
        const struct program_step *step = &program->entries[0].steps[i];
        const struct program_kernel *kernel = &program->kernels[step->kernel];
        CHECK(step->integer_count == cases[number].integers[i]);
        for (int k = 0; k < step->integer_count && k < 4; k++)
            CHECK(step->integers[k] == cases[number].given[i][k]);
        CHECK((step->blocks ? step->blocks : kernel->blocks) == 100 + i);
        CHECK(step->integer_count > 1 || kernel->source == cases[number].sources[i]);
    }
}

static void check_case(size_t number)
{
    static const bool generated[] = {true, true, true};
    struct program *program = program_of(number);
    struct arena *arena = arena_new();
    share_kernels(program, generated, arena);
    int before = check_failures;
    CHECK(program->kernel_count == cases[number].left);
    CHECK_TEXT(program->kernels[0].source, cases[number].shared ? cases[number].shared : cases[number].sources[0]);
    check_steps(number, program);
    if (check_failures > before)
        fprintf(stderr, "  in: %s\n", cases[number].what);
    arena_free(arena);
    program_free(program);
}

/* A template's kernel is left alone, and so is one that is launched otherwise. */
static void check_left_alone(void)
{
    for (int way = 0; way < 2; way++) {
        const bool generated[] = {true, way != 0, true};
        struct program *program = program_of(0);
        struct arena *arena = arena_new();
        program->kernels[1].cooperative = way != 0;
        share_kernels(program, generated, arena);
        CHECK(program->kernel_count == 2);
        CHECK(program->entries[0].steps[0].kernel == 0 && program->entries[0].steps[1].kernel == 1 &&
              program->entries[0].steps[2].kernel == 0);
        CHECK(program->entries[0].steps[1].integer_count == 1);
        CHECK(strcmp(program->kernels[1].name, "g") == 0);
        arena_free(arena);
        program_free(program);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(i);
    check_left_alone();
    return check_result();
}
