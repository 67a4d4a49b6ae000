/* Loads and stores of the simulated GPU by the width and number of their elements: whole warps side by side, all at one
 * place, at scattered places, with lanes left out; and that each byte of a vector is checked and noted as written. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"
#include "runtime/sim/lanes.h"

#include <stdint.h>
#include <stdlib.h>

enum { STRIDE_MAX = 3 };

static int isa; /* which of the simulated GPU's builds runs */

static void print_vector(FILE *text, char prefix, int count)
{
    fputs(count > 1 ? "{" : "", text);
    for (int i = 0; i < count; i++)
        fprintf(text, "%s%%%c%d", i ? ", " : "", prefix, i);
    fputs(count > 1 ? "}" : "", text);
}

/* Lanes below n copy `count` elements of `bits` from in to out, `stride` vectors apart. Malloced. */
static char *copy_text(int bits, int count)
{
    char *whole = NULL, prefix = bits == 64 ? 'l' : bits == 32 ? 'w' : 'h';
    char form[8] = "";
    size_t size = 0;
    FILE *text = open_memstream(&whole, &size);
    if (count > 1)
        snprintf(form, sizeof form, ".v%d", count);
    fprintf(
        text,
        ".version 8.8\n.target sm_100\n.address_size 64\n"
        ".visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n, .param .u32 stride)\n{\n"
        ".reg .pred %%p; .reg .b16 %%h<8>; .reg .b32 %%w<8>; .reg .b64 %%l<8>; .reg .b32 %%i<3>; .reg .b64 %%a<3>;\n"
        "ld.param.u64 %%a0, [in];\nld.param.u64 %%a1, [out];\nld.param.u32 %%i0, [n];\nld.param.u32 %%i1, [stride];\n"
        "mov.u32 %%i2, %%tid.x;\nsetp.lt.u32 %%p, %%i2, %%i0;\nmul.lo.u32 %%i2, %%i2, %%i1;\n"
        "mul.wide.u32 %%a2, %%i2, %d;\nadd.u64 %%a0, %%a0, %%a2;\nadd.u64 %%a1, %%a1, %%a2;\n"
        "@%%p ld.global%s.b%d ",
        bits / 8 * count, form, bits);
    print_vector(text, prefix, count);
    fprintf(text, ", [%%a0];\n@%%p st.global%s.b%d [%%a1], ", form, bits);
    print_vector(text, prefix, count);
    fputs(";\nret;\n}\n", text);
    fclose(text);
    return whole;
}

static void check_copy(int bits, int count, int lanes, int stride)
{
    uint8_t in[LANES * STRIDE_MAX * 32], out[sizeof in] = {0}, wanted[sizeof in] = {0};
    size_t bytes = (size_t)bits / 8 * (size_t)count;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 37 % 251 + 1);
    for (size_t l = 0; l < (size_t)lanes; l++)
        memcpy(wanted + l * (size_t)stride * bytes, in + l * (size_t)stride * bytes, bytes);
    char *text = copy_text(bits, count);
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.arch = 100, .ptx = true, .isa = isa}, text);
    free(text);
    cuda_run_buffer(run, in, sizeof in);
    cuda_run_buffer(run, out, sizeof out);
    cuda_run_value(run, &lanes, sizeof lanes);
    cuda_run_value(run, &stride, sizeof stride);
    CHECK(cuda_run_launch(run, "k", 1, LANES, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    bool same = memcmp(out, wanted, sizeof out) == 0;
    if (!same)
        fprintf(stderr, "%d x b%d, %d lanes %d apart: other bytes\n", count, bits, lanes, stride);
    CHECK(same);
    if (stride == 1 && lanes == LANES)
        CHECK(cuda_run_counters(run, "k")->store_sectors == LANES * bytes / 32 &&
              cuda_run_counters(run, "k")->load_bytes == LANES * bytes);
    cuda_run_free(run);
}

/* Runs instructions on a buffer of 2 KiB that nothing wrote; %w0 is the byte of the lane's 32. */
static void check_shadow(const char *instructions, const char *problem)
{
    static const char head[] = ".version 8.8\n.target sm_100\n.address_size 64\n.visible .entry k(.param .u64 x)\n{\n"
                               ".reg .b32 %w<9>; .reg .b64 %l<5>;\nld.param.u64 %l0, [x];\nmov.u32 %w0, %tid.x;\n"
                               "mul.wide.u32 %l1, %w0, 32;\nadd.u64 %l0, %l0, %l1;\n";
    char text[2048], x[2048];
    snprintf(text, sizeof text, "%s%s\nret;\n}\n", head, instructions);
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.arch = 100, .ptx = true, .unwritten = true}, text);
    cuda_run_buffer(run, x, sizeof x);
    bool good = cuda_run_launch(run, "k", 1, LANES, 0); /* what comes back was not wholly written: that fails */
    bool told = strstr(cuda_run_problem(run), problem) != NULL;
    if (good || !told)
        fprintf(stderr, "%s\n  says: %s\n", instructions, cuda_run_problem(run));
    CHECK(!good && told);
    cuda_run_free(run);
}

static void check_copies(void)
{
    for (int bits = 8; bits <= 64; bits *= 2)
        for (int count = 1; count <= 8; count *= 2) {
            if (bits * count > 256)
                continue;
            check_copy(bits, count, LANES, 1);
            check_copy(bits, count, LANES, 0);
            check_copy(bits, count, LANES, 3);
            check_copy(bits, count, 20, 1);
        }
}

int main(void)
{
    for (; sim_isa_at(isa); isa++)
        check_copies();
    /* A vector of 32 bytes whose first half is written, and what it writes itself. */
    check_shadow("st.v4.b32 [%l0], {%w0, %w0, %w0, %w0};\nld.v8.b32 {%w1, %w2, %w3, %w4, %w5, %w6, %w7, %w8}, [%l0];",
                 "kernel k, PTX line 12");
    check_shadow("st.v4.b32 [%l0], {%w0, %w0, %w0, %w0};\nld.global.v4.b64 {%l1, %l2, %l3, %l4}, [%l0];",
                 "reads what nothing wrote: 32 bytes");
    check_shadow("mov.u64 %l1, 5;\nst.v4.b64 [%l0], {%l1, %l1, %l1, %l1};\nld.v2.b64 {%l2, %l3}, [%l0+16];",
                 "reads what nothing wrote: byte 1024");
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
