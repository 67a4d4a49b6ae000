/* Opcodes of the simulated GPU against values worked by hand (tests/sim_cases.def), and that what is not known is
 * named. Every case is a kernel of its own, run by one warp; all lanes must have the value, with
 * each of the simulated GPU's builds that this CPU can run. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"
#include "runtime/sim/lanes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

struct sim_case {
    const char *text;
    char kind;
    uint64_t a, b, c, expected;
};

static uint64_t F(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t D(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static const char head[] = ".version 8.6\n.target sm_90\n.address_size 64\n"
                           ".const .align 4 .b8 table[4] = {1, 2, 3, 4};\n"
                           ".global .align 4 .f32 number = 0f3FC00000;\n"
                           ".global .align 8 .u64 pointer = number;\n"
                           ".global .align 4 .f32 reals[3] = {1.5, 0d3FF8000030000000, -0.25};\n"
                           ".global .align 8 .f64 wide = 1.5;\n"
                           ".global .align 8 .b8 room[64];\n";

static const char kernel_head[] =
    ".visible .entry k(.param .u64 out, .param .u64 pa, .param .u64 pb, .param .u64 pc)\n{\n"
    ".reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %w<4>; .reg .b64 %l<8>;\n"
    ".shared .align 16 .b8 words[512];\n.local .align 8 .b8 spill[16];\n"
    "ld.param.u64 %l1, [pa];\nld.param.u64 %l2, [pb];\nld.param.u64 %l3, [pc];\n"
    "cvt.u32.u64 %w1, %l1;\ncvt.u32.u64 %w2, %l2;\ncvt.u32.u64 %w3, %l3;\n"
    "cvt.u16.u64 %h1, %l1;\ncvt.u16.u64 %h2, %l2;\ncvt.u16.u64 %h3, %l3;\n"
    "setp.ne.u64 %p1, %l1, 0;\nsetp.ne.u64 %p2, %l2, 0;\nsetp.ne.u64 %p3, %l3, 0;\n";

static const char *widening(char kind)
{
    switch (kind) {
    case 'p':
        return "selp.u64 %l0, 1, 0, %p0;\n";
    case 'h':
        return "cvt.u64.u16 %l0, %h0;\n";
    case 'w':
        return "cvt.u64.u32 %l0, %w0;\n";
    default:
        return "";
    }
}

static const char kernel_end[] = "mov.u32 %w1, %tid.x;\nmul.wide.u32 %l4, %w1, 8;\nld.param.u64 %l5, [out];\n"
                                 "add.u64 %l4, %l4, %l5;\nst.global.u64 [%l4], %l0;\nret;\n}\n";

static int isa; /* which of the simulated GPU's builds runs */

static struct cuda_run *load(const char *instructions, char kind)
{
    char *text = malloc(8192);
    if (!text)
        abort();
    snprintf(text, 8192, "%s%s%s\n%s%s", head, kernel_head, instructions, widening(kind), kernel_end);
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.arch = 90, .ptx = true, .isa = isa}, text);
    free(text);
    return run;
}

static void run_case(const struct sim_case *row)
{
    uint64_t out[32] = {0};
    struct cuda_run *run = load(row->text, row->kind);
    cuda_run_buffer(run, out, sizeof out);
    cuda_run_value(run, &row->a, 8);
    cuda_run_value(run, &row->b, 8);
    cuda_run_value(run, &row->c, 8);
    bool good = cuda_run_launch(run, "k", 1, 32, 0);
    if (!good)
        fprintf(stderr, "%s, %s\n  %s\n", sim_isa_at(isa)->name, row->text, cuda_run_problem(run));
    CHECK(good);
    int wrong = 0;
    for (int l = 0; l < 32; l++)
        wrong += out[l] != row->expected;
    if (good && wrong)
        fprintf(stderr, "%s, %s\n  got %" PRIx64 ", wanted %" PRIx64 " (%d lanes)\n", sim_isa_at(isa)->name, row->text,
                out[0], row->expected, wrong);
    CHECK(!good || !wrong);
    cuda_run_free(run);
}

/* What the simulated GPU does not know is an error that names it and its line, when the module is loaded. */
static void check_unknown(const char *instruction, const char *named)
{
    struct cuda_run *run = load(instruction, 'w');
    bool found = strstr(cuda_run_problem(run), named) && strstr(cuda_run_problem(run), "line 27");
    if (!found)
        fprintf(stderr, "%s\n  says: %s\n", instruction, cuda_run_problem(run));
    CHECK(found);
    cuda_run_free(run);
}

/* Labels that stand behind their uses, in scopes within scopes: each use means the same place. */
static void check_labels(void)
{
    enum { LABELS = 60000 };
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    fputs(".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 x)\n{\n"
          ".reg .pred %p; .reg .b32 %w; .reg .b64 %l;\nld.param.u64 %l, [x];\nmov.u32 %w, 0;\n"
          "setp.ne.u32 %p, %w, 0;\n@%p bra END;\n{ @%p bra END; { @%p bra END; } bra NEXT; }\nadd.u32 %w, %w, 100;\n"
          "NEXT: add.u32 %w, %w, 1;\n",
          file);
    for (int i = 0; i < LABELS; i++)
        fprintf(file, "@%%p bra L%d;\n", i);
    for (int i = 0; i < LABELS; i++)
        fprintf(file, "L%d:\n", LABELS - 1 - i);
    fputs("END: st.global.u32 [%l], %w;\nret;\n}\n", file);
    fclose(file);
    uint32_t x = 0;
    clock_t before = clock();
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.ptx = true}, text);
    CHECK((double)(clock() - before) / CLOCKS_PER_SEC < 5); /* 0.1 s here; by the square of their number it was 22 */
    free(text);
    cuda_run_buffer(run, &x, sizeof x);
    CHECK(cuda_run_launch(run, "k", 1, 1, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    CHECK(x == 1);
    cuda_run_free(run);
}

int main(void)
{
    check_labels();
    const struct sim_case rows[] = {
#define CASE(text, kind, a, b, c, expected) {text, kind, a, b, c, expected},
#include "sim_cases.def"
    };
    for (; sim_isa_at(isa); isa++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            run_case(&rows[i]);
    isa = 0;
    check_unknown("tex.1d.v4.f32.s32 %w0, %w1;", "tex.1d.v4.f32.s32");
    check_unknown("add.cc.u32 %w0, %w1, %w2;", "add.cc.u32");
    check_unknown("ld.global.v3.u32 %w0, [%l1];", "ld.global.v3.u32");
    check_unknown("atom.global.min.noftz.f16 %h0, [%l1], %h2;", "atom.global.min.noftz.f16");
    check_unknown("atom.global.add.f16x2 %w0, [%l1], %w2;", "atom.global.add.f16x2");
    check_unknown("ld.shared.v4.b64 {%l0, %l1, %l2, %l3}, [words];", "ld.shared.v4.b64");
    check_unknown("mov.u32 %w0, %envreg3;", "%envreg3");
    check_unknown("call.uni f, (%w0);", "call.uni");
    check_unknown("bra NOWHERE;", "NOWHERE");
    check_unknown("{ bra NOWHERE; } { bra ELSEWHERE; }", "NOWHERE");
    check_unknown("TABLE: .branchtargets HERE; brx.idx %w1, TABLE; HERE:", "brx.idx");
    check_unknown("mov.u64 %l0, 18446744073709551616;", "'18446744073709551616' is no number of 64 bits");
    check_unknown("mov.u64 %l0, 0x10000000000000000;", "'0x10000000000000000' is no number");
    check_unknown("mov.u64 %l0, 08;", "'08' is no number");
    check_unknown("~pack.16 %w0, %h1, %h2;", "character 0x7e");
    check_unknown("add.u32 %l0, %w1, %w2;", "%l0");
    check_unknown("add.u32 %w0, %w1+4, %w2;", "%w1");
    check_unknown("add.u32 %w0, !%w1, %w2;", "!%w1");
    check_unknown("setp.eq.u32 !%p0, %w1, %w2;", "!%p0");
    check_unknown("cp.async.bulk.wait_group 0;", "cp.async.bulk.wait_group");
    check_unknown("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%l0}, {%l1}, {%l2}, {%l3};", "m8n8k4");
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
