/* mma and ldmatrix on the simulated GPU, against the lane maps of the PTX manual written down here once more, and sums
 * in double precision of small whole numbers, which every order of adding gives exactly. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"
#include "runtime/sim/lanes.h"

#include <stdint.h>
#include <stdlib.h>

/* A matrix instruction, and per operand how many registers a lane holds. */
struct shape {
    const char *text;
    int k, a, b, c;
    char input, result; /* 'h' f16, 'b' bf16, 't' tf32; 'f' f32, 'h' f16 */
};

static const struct shape shapes[] = {
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 4, 2, 4, 'h', 'f'},
    {"m16n8k16.row.col.f16.f16.f16.f16", 16, 4, 2, 2, 'h', 'h'},
    {"m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 1, 4, 'h', 'f'},
    {"m16n8k8.row.col.f16.f16.f16.f16", 8, 2, 1, 2, 'h', 'h'},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 4, 2, 4, 'b', 'f'},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 1, 4, 'b', 'f'},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 4, 2, 4, 't', 'f'},
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 2, 1, 4, 't', 'f'},
};

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Small whole numbers as f16: exact, by shifting into place. */
static uint32_t half_of(int value)
{
    uint32_t sign = value < 0 ? 0x8000 : 0, size = (uint32_t)abs(value), exponent = 15;
    if (!size)
        return 0;
    while (size >> (exponent - 15 + 1))
        exponent++;
    return sign | exponent << 10 | ((size << (25 - exponent)) & 0x3ff);
}

static uint32_t encode(char input, int value)
{
    return input == 'h' ? half_of(value) : input == 'b' ? bits_of((float)value) >> 16 : bits_of((float)value);
}

/* PTX ISA, figures of the fragments of mma.m16n8k16: group = lane / 4, within = lane % 4. */
static void place_a(char input, int lane, int element, int *row, int *column)
{
    int group = lane >> 2, within = lane & 3;
    if (input == 't') { /* a0 (group, within), a1 (group + 8, within), a2 and a3 four columns on */
        *row = element == 0 || element == 2 ? group : group + 8;
        *column = element < 2 ? within : within + 4;
        return;
    }
    *row = (element >= 0 && element < 2) || (element >= 4 && element < 6) ? group : group + 8;
    *column = within * 2 + (element & 1) + (element >= 4 ? 8 : 0);
}

static void place_b(char input, int lane, int element, int *row, int *column)
{
    int group = lane >> 2, within = lane & 3;
    *column = group;
    *row = input == 't' ? (element == 0 ? within : within + 4) : within * 2 + (element & 1) + (element >= 2 ? 8 : 0);
}

static void place_c(int lane, int element, int *row, int *column)
{
    *row = element < 2 ? lane >> 2 : (lane >> 2) + 8;
    *column = (lane & 3) * 2 + (element & 1);
}

static void list(FILE *text, const char *prefix, int count)
{
    fputs("{", text);
    for (int i = 0; i < count; i++)
        fprintf(text, "%s%%%s%d", i ? ", " : "", prefix, i);
    fputs("}", text);
}

/* Reads a, b and c from one array of words, [register][lane], and writes d to another. Malloced. */
static char *kernel_text(const struct shape *shape)
{
    char *whole = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&whole, &size);
    int base = 0;
    fputs(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
          ".reg .b32 %a<4>; .reg .b32 %b<4>; .reg .b32 %c<4>; .reg .b32 %d<4>; .reg .b64 %l<4>; .reg .b32 %t;\n"
          "mov.u32 %t, %tid.x;\nld.param.u64 %l0, [in];\nmad.wide.u32 %l0, %t, 4, %l0;\n"
          "ld.param.u64 %l1, [out];\nmad.wide.u32 %l1, %t, 4, %l1;\n",
          text);
    const struct {
        const char *prefix;
        int count;
    } operands[] = {{"a", shape->a}, {"b", shape->b}, {"c", shape->c}};
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < operands[o].count; i++, base += 128)
            fprintf(text, "ld.global.b32 %%%s%d, [%%l0+%d];\n", operands[o].prefix, i, base);
    fprintf(text, "mma.sync.aligned.%s ", shape->text);
    list(text, "d", shape->c);
    for (int o = 0; o < 3; o++) {
        fputs(", ", text);
        list(text, operands[o].prefix, operands[o].count);
    }
    fputs(";\n", text);
    for (int i = 0; i < shape->c; i++)
        fprintf(text, "st.global.b32 [%%l1+%d], %%d%d;\n", i * 128, i);
    fputs("ret;\n}\n", text);
    fclose(text);
    return whole;
}

struct matrices {
    int a[16][16], b[16][8], c[16][8];
};

static void fill(const struct shape *shape, const struct matrices *m, uint32_t (*words)[32])
{
    int per_word = shape->input == 't' ? 1 : 2, row, column;
    for (int l = 0; l < 32; l++) {
        for (int e = 0; e < shape->a * per_word; e++) {
            place_a(shape->input, l, e, &row, &column);
            words[e / per_word][l] |= encode(shape->input, m->a[row][column]) << (16 * (e % per_word));
        }
        for (int e = 0; e < shape->b * per_word; e++) {
            place_b(shape->input, l, e, &row, &column);
            words[shape->a + e / per_word][l] |= encode(shape->input, m->b[row][column]) << (16 * (e % per_word));
        }
        for (int e = 0; e < 4; e++) {
            place_c(l, e, &row, &column);
            if (shape->result == 'f')
                words[shape->a + shape->b + e][l] = bits_of((float)m->c[row][column]);
            else
                words[shape->a + shape->b + e / 2][l] |= half_of(m->c[row][column]) << (16 * (e % 2));
        }
    }
}

static int count_wrong(const struct shape *shape, const struct matrices *m, uint32_t (*words)[32])
{
    int wrong = 0, row, column;
    for (int l = 0; l < 32; l++)
        for (int e = 0; e < 4; e++) {
            place_c(l, e, &row, &column);
            int sum = m->c[row][column];
            for (int k = 0; k < shape->k; k++)
                sum += m->a[row][k] * m->b[k][column];
            uint32_t got = shape->result == 'f' ? words[e][l] : words[e / 2][l] >> (16 * (e % 2)) & 0xffff;
            wrong += got != (shape->result == 'f' ? bits_of((float)sum) : half_of(sum));
        }
    return wrong;
}

static int isa; /* which of the simulated GPU's builds runs */

static void check_shape(const struct shape *shape)
{
    uint32_t in[10][32] = {{0}}, out[4][32] = {{0}};
    struct matrices m;
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) {
            m.a[i][j] = (i * 5 + j * 3) % 11 - 5;
            if (j < 8) {
                m.b[i][j] = (i * 7 + j) % 9 - 4;
                m.c[i][j] = i * 8 + j - 60;
            }
        }
    char *text = kernel_text(shape);
    fill(shape, &m, in);
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.ptx = true, .isa = isa}, text);
    free(text);
    cuda_run_buffer(run, in, sizeof in);
    cuda_run_buffer(run, out, sizeof out);
    CHECK(cuda_run_launch(run, "k", 1, 32, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    int wrong = count_wrong(shape, &m, out);
    if (wrong)
        fprintf(stderr, "%s: %d elements wrong\n", shape->text, wrong);
    CHECK(wrong == 0);
    CHECK(cuda_run_counters(run, "k")->matrix_products == 1);
    cuda_run_free(run);
}

/* ---- ldmatrix ---- */

static const char *const load_head =
    ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out)\n{\n"
    ".reg .b32 %r<8>; .reg .b64 %l<4>; .reg .b16 %h<2>;\n.shared .align 16 .b8 tile[1024];\n"
    "mov.u32 %r4, %tid.x;\nshl.b32 %r5, %r4, 4;\n"
    /* element i of the tile is i: each lane writes 16 of its own */
    "mov.u32 %r6, 0;\nFILL:\nmad.lo.u32 %r7, %r4, 16, %r6;\ncvt.u16.u32 %h0, %r7;\nshl.b32 %r7, %r7, 1;\n"
    "mov.u32 %r0, tile;\nadd.u32 %r7, %r7, %r0;\nst.shared.u16 [%r7], %h0;\nadd.u32 %r6, %r6, 1;\n{ .reg .pred p; "
    "setp.lt.u32 p, %r6, 16; @p bra FILL; }\nmov.u32 %r0, 0; mov.u32 %r1, 0; mov.u32 %r2, 0; mov.u32 %r3, 0;\n"
    /* rows come in the reverse order of lanes: row r of matrix m is at 496 - 16 (8 m + r) */
    "mov.u32 %r6, tile;\nsub.u32 %r7, 496, %r5;\nadd.u32 %r6, %r6, %r7;\n";
static const char *const load_tail = "ld.param.u64 %l0, [out];\nmad.wide.u32 %l0, %r4, 16, %l0;\n"
                                     "st.global.v4.b32 [%l0], {%r0, %r1, %r2, %r3};\nret;\n}\n";

static void check_load(const char *instruction, int count, bool transposed)
{
    char text[4096];
    uint32_t out[32][4] = {{0}};
    snprintf(text, sizeof text, "%s%s, [%%r6];\n%s", load_head, instruction, load_tail);
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.ptx = true, .isa = isa}, text);
    cuda_run_buffer(run, out, sizeof out);
    CHECK(cuda_run_launch(run, "k", 1, 32, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    int wrong = 0;
    for (int l = 0; l < 32; l++)
        for (int m = 0; m < 4; m++) {
            uint32_t pair[2];
            for (int i = 0; i < 2; i++) {
                int row = l / 4, column = l % 4 * 2 + i, swap = row;
                if (transposed) {
                    row = column;
                    column = swap;
                }
                pair[i] = (uint32_t)((496 - 16 * (8 * m + row)) / 2 + column);
            }
            wrong += out[l][m] != (m < count ? pair[1] << 16 | pair[0] : 0);
        }
    CHECK(wrong == 0);
    CHECK(cuda_run_counters(run, "k")->bank_conflicts > 0); /* the filling strides by 32 bytes */
    cuda_run_free(run);
}

static void check_all(void)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(&shapes[i]);
    check_load("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}", 4, false);
    check_load("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r0, %r1, %r2, %r3}", 4, true);
    check_load("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r0, %r1}", 2, false);
    check_load("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r0, %r1}", 2, true);
    check_load("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}", 1, false);
}

int main(void)
{
    for (; sim_isa_at(isa); isa++)
        check_all();
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
