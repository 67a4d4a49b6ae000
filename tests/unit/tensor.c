/* Conversions between element types against values known from the formats' definitions, and orders of axes. */
#include "runtime/tensor.h"
#include "check.h"

#include <math.h>

static void check_bits(enum program_element element, double value, unsigned wanted)
{
    uint16_t bits = 0;
    tensor_put(element, &bits, value);
    CHECK(bits == wanted);
    if (bits != wanted)
        fprintf(stderr, "  %s of %a is %04x, wanted %04x\n", program_element_name(element), value, bits, wanted);
}

static void check_f16(void)
{
    check_bits(PROGRAM_F16, 1, 0x3c00);
    check_bits(PROGRAM_F16, -2, 0xc000);
    check_bits(PROGRAM_F16, 65504, 0x7bff);
    check_bits(PROGRAM_F16, 65519, 0x7bff);
    check_bits(PROGRAM_F16, 65520, 0x7c00); /* ties to infinity */
    check_bits(PROGRAM_F16, -INFINITY, 0xfc00);
    check_bits(PROGRAM_F16, 0x1p-24, 0x0001);
    check_bits(PROGRAM_F16, 0x1p-25, 0x0000); /* ties to even */
    check_bits(PROGRAM_F16, 0x1.8p-24, 0x0002);
    check_bits(PROGRAM_F16, 0x1.ffcp-15, 0x0400); /* rounds up to the smallest normal */
    check_bits(PROGRAM_F16, -0.0, 0x8000);
    check_bits(PROGRAM_F16, NAN, 0x7e00);
    check_bits(PROGRAM_F16, 1 + 0x1p-11, 0x3c00);
    check_bits(PROGRAM_F16, 1 + 0x1p-11 + 0x1p-40, 0x3c01); /* one rounding, not two over f32 */
}

static void check_bf16(void)
{
    check_bits(PROGRAM_BF16, 1, 0x3f80);
    check_bits(PROGRAM_BF16, 1 + 0x1p-8, 0x3f80);
    check_bits(PROGRAM_BF16, 1 + 0x3p-8, 0x3f82);
    check_bits(PROGRAM_BF16, 0x1.ffp127, 0x7f80);
    check_bits(PROGRAM_BF16, 0x1.fep127, 0x7f7f);
    check_bits(PROGRAM_BF16, 0x1p-133, 0x0001);
    check_bits(PROGRAM_BF16, NAN, 0x7fc0);
}

/* Every half bit pattern reads and writes back to itself. */
static void check_all_halves(enum program_element element)
{
    int wrong = 0;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        uint16_t in = (uint16_t)bits, out = 0;
        double value = tensor_get(element, &in);
        tensor_put(element, &out, value);
        wrong += isnan(value) ? !isnan(tensor_get(element, &out)) : in != out;
        wrong += !isnan(value) && tensor_round(element, value) != value;
    }
    CHECK(wrong == 0);
}

static void check_order(void)
{
    /* logical [2, 3] stored with axis 1 outermost, f16 values kept in f32 */
    struct program_tensor tensor = {.element = PROGRAM_F16, .storage = PROGRAM_F32, .rank = 2, .dimension = {2, 3}};
    tensor.order[0] = 1;
    tensor.order[1] = 0;
    const double values[6] = {1, 2, 3, 4, 5, 2049};
    float stored[6], back[6];
    struct error error = {0};
    CHECK(tensor_store(&tensor, stored, PROGRAM_F64, values, "x", &error));
    CHECK(stored[0] == 1 && stored[1] == 4 && stored[2] == 2 && stored[3] == 5 && stored[4] == 3);
    CHECK(stored[5] == 2048); /* rounded to f16 */
    stored[4] = 3.0001f;      /* unrounded, as a contraction leaves it */
    tensor_load(&tensor, stored, PROGRAM_F32, back);
    CHECK(back[0] == 1 && back[2] == 3 && back[3] == 4 && back[5] == 2048);
}

static void check_integers(void)
{
    struct program_tensor tensor = {.element = PROGRAM_I32, .storage = PROGRAM_I32, .rank = 1, .dimension = {2}};
    struct error error = {0};
    int32_t stored[2];
    CHECK(tensor_store(&tensor, stored, PROGRAM_I64, (int64_t[]){7, -9}, "label", &error) && stored[1] == -9);
    CHECK(tensor_store(&tensor, stored, PROGRAM_F32, (float[]){3, 4}, "label", &error) && stored[0] == 3);
    CHECK(!tensor_store(&tensor, stored, PROGRAM_F32, (float[]){3, 4.5f}, "label", &error));
    CHECK_TEXT(error.text, "label: value 4.5 at place 1 is not of type i32");
    error = (struct error){0};
    CHECK(!tensor_store(&tensor, stored, PROGRAM_I64, (int64_t[]){1, 1LL << 40}, "label", &error));
    error = (struct error){0};
    CHECK(!tensor_store(&tensor, stored, PROGRAM_F32, (float[]){NAN, 0}, "label", &error));
    int64_t large = (1LL << 60) + 1, read = 0;
    tensor.element = tensor.storage = PROGRAM_I64;
    tensor.dimension[0] = 1;
    tensor_load(&tensor, &large, PROGRAM_I64, &read);
    CHECK(read == large);
}

int main(void)
{
    check_f16();
    check_bf16();
    check_all_halves(PROGRAM_F16);
    check_all_halves(PROGRAM_BF16);
    check_order();
    check_integers();
    return check_result();
}
