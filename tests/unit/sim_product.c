/* Matrix products of the simulated GPU against sums in f64, over types, transposes, strides and batches; and that their
 * bits do not depend on the number of threads. */
#include "check.h"

#if CASTOR_CUDA

#include "runtime/sim/cublaslt.h"
#include "runtime/tensor.h"

#include <math.h>
#include <stdlib.h>

/* How elements of a type are read and written here: the runtime's own conversions, bit by bit and through f64. */
static enum program_element element_of(cudaDataType_t type)
{
    return type == CUDA_R_16F ? PROGRAM_F16 : type == CUDA_R_16BF ? PROGRAM_BF16 : PROGRAM_F32;
}

struct array {
    enum program_element element;
    char *bytes;
    size_t count;
};

static double random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (double)(1 << 23) - 1;
}

static struct array make_array(cudaDataType_t type, int64_t count, uint64_t seed)
{
    struct array array = {element_of(type), calloc((size_t)count, 4), (size_t)count};
    for (size_t i = 0; i < array.count; i++)
        tensor_put(array.element, array.bytes + i * program_element_bytes(array.element), random_value(&seed));
    return array;
}

static double get(const struct array *array, int64_t i)
{
    return tensor_get(array->element, array->bytes + (size_t)i * program_element_bytes(array->element));
}

static CUdeviceptr address(const struct array *array)
{
    return (CUdeviceptr)(uintptr_t)array->bytes;
}

/* A number as tf32 has it: 11 significant bits, ties away from zero. */
static double tf32_of(double value)
{
    int exponent = value == 0 ? 0 : ilogb(value);
    return ldexp(round(ldexp(value, 10 - exponent)), exponent - 10);
}

/* Element i, j of result `batch` and, in `scale`, the sum of the magnitudes of what it is made of. */
static double expected(const struct sim_product *p, const struct array *arrays, int64_t batch, int64_t i, int64_t j,
                       double *scale)
{
    double sum = 0;
    *scale = 0;
    for (int64_t k = 0; k < p->k; k++) {
        double a = get(&arrays[0], batch * p->a_offset + (p->turn_a ? i * p->a_leading + k : k * p->a_leading + i));
        double b = get(&arrays[1], batch * p->b_offset + (p->turn_b ? k * p->b_leading + j : j * p->b_leading + k));
        sum += p->tf32 ? tf32_of(a) * tf32_of(b) : a * b;
        *scale += fabs(a * b);
    }
    sum *= p->alpha;
    if (p->beta != 0)
        sum += p->beta * get(&arrays[2], batch * p->c_offset + j * p->c_leading + i);
    if (p->bias)
        sum += get(&arrays[4], i);
    *scale += 2;
    return sum;
}

static int wrong_elements(const struct sim_product *p, const struct array *arrays)
{
    double half = p->d_type == CUDA_R_16F ? 0x1p-11 : p->d_type == CUDA_R_16BF ? 0x1p-8 : 0;
    int wrong = 0;
    for (int64_t batch = 0; batch < p->batch; batch++)
        for (int64_t j = 0; j < p->n; j++)
            for (int64_t i = 0; i < p->m; i++) {
                double scale, value = expected(p, arrays, batch, i, j, &scale);
                double got = get(&arrays[3], batch * p->d_offset + j * p->d_leading + i);
                if (p->aux) {
                    double inner = get(&arrays[5], j * p->aux_leading + i);
                    wrong += !(fabs(inner - value) <= fabs(value) * half + scale * 0x1p-20);
                    value = value / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (value + 0.044715 * pow(value, 3))));
                }
                wrong += !(fabs(got - value) <= fabs(value) * half + scale * 0x1p-20);
            }
    return wrong;
}

static void check_product(struct sim_product p)
{
    int64_t a_columns = p.turn_a ? p.m : p.k, b_columns = p.turn_b ? p.k : p.n;
    struct array arrays[6] = {make_array(p.a_type, p.batch * (p.a_offset + p.a_leading * a_columns), 1),
                              make_array(p.b_type, p.batch * (p.b_offset + p.b_leading * b_columns), 2),
                              make_array(p.d_type, p.batch * (p.c_offset + p.c_leading * p.n), 3),
                              make_array(p.d_type, p.batch * (p.d_offset + p.d_leading * p.n), 4),
                              make_array(p.d_type, p.m, 5),
                              make_array(p.d_type, (p.aux ? p.aux_leading : 0) * p.n, 6)};
    p.a = address(&arrays[0]);
    p.b = address(&arrays[1]);
    p.c = address(&arrays[2]);
    p.d = address(&arrays[3]);
    p.bias = p.bias ? address(&arrays[4]) : 0;
    p.aux = p.aux ? address(&arrays[5]) : 0;
    size_t bytes = arrays[3].count * program_element_bytes(arrays[3].element);
    CHECK(sim_product_run(&p, 1));
    CHECK(wrong_elements(&p, arrays) == 0);
    char *one = malloc(bytes);
    memcpy(one, arrays[3].bytes, bytes);
    CHECK(sim_product_run(&p, 5) && memcmp(one, arrays[3].bytes, bytes) == 0);
    free(one);
    for (int i = 0; i < 6; i++)
        free(arrays[i].bytes);
}

static void check_shapes(cudaDataType_t operand, cudaDataType_t result, bool tf32)
{
    for (int turns = 0; turns < 4; turns++) {
        struct sim_product p = {.batch = 1,
                                .m = 300,
                                .n = 150,
                                .k = 70,
                                .turn_a = turns & 1,
                                .turn_b = turns & 2,
                                .a_type = operand,
                                .b_type = operand,
                                .d_type = result,
                                .a_leading = 301,
                                .b_leading = 160,
                                .c_leading = 303,
                                .d_leading = 300,
                                .alpha = turns == 3 ? 0.625F : 1,
                                .beta = turns == 1   ? 1
                                        : turns == 3 ? -0.5F
                                                     : 0,
                                .bias = turns != 2,
                                .tf32 = tf32};
        check_product(p);
        p.aux = p.bias;
        p.aux_leading = 304;
        check_product(p);
        p.aux = 0;
        p.batch = 3;
        p.m = 5, p.n = 7, p.k = 3;
        p.a_leading = p.b_leading = 8;
        p.c_leading = p.d_leading = 6;
        p.a_offset = 100, p.c_offset = p.d_offset = 60;
        check_product(p); /* b is the same for the whole batch */
    }
}

/* A NaN among the operands makes those results NaN that it is part of, whatever the type and the epilogue, and an
 * infinity the others' sign. */
static void check_nan(cudaDataType_t operand, cudaDataType_t result, bool gelu)
{
    const float values[4] = {1, NAN, INFINITY, -2}; /* by columns: rows 1 INFINITY and NAN -2 */
    const float ones[2] = {1, 1};
    unsigned char a[16], b[8], d[8], aux[8];
    for (int i = 0; i < 4; i++)
        tensor_put(element_of(operand), a + i * program_element_bytes(element_of(operand)), (double)values[i]);
    for (int i = 0; i < 2; i++)
        tensor_put(element_of(operand), b + i * program_element_bytes(element_of(operand)), (double)ones[i]);
    struct sim_product p = {.batch = 1,
                            .m = 2,
                            .n = 1,
                            .k = 2,
                            .a_type = operand,
                            .b_type = operand,
                            .d_type = result,
                            .a_leading = 2,
                            .b_leading = 2,
                            .d_leading = 2,
                            .aux_leading = 2,
                            .alpha = 1,
                            .a = (CUdeviceptr)(uintptr_t)a,
                            .b = (CUdeviceptr)(uintptr_t)b,
                            .d = (CUdeviceptr)(uintptr_t)d,
                            .aux = gelu ? (CUdeviceptr)(uintptr_t)aux : 0};
    CHECK(sim_product_run(&p, 1));
    size_t size = program_element_bytes(element_of(result));
    CHECK(tensor_get(element_of(result), d) == INFINITY);
    CHECK(isnan(tensor_get(element_of(result), d + size)));
    CHECK(!gelu || isnan(tensor_get(element_of(result), aux + size)));
    uint16_t bits;
    memcpy(&bits, d + size, sizeof bits);
    CHECK(result == CUDA_R_32F || bits == 0x7fff); /* the only NaN that a GPU makes of halves */
}

/* Subnormals, overflow, ties: products with the 1 x 1 identity are conversions alone. */
static void check_rounding(void)
{
    static const float values[] = {0,        -0.0f,    1 + 0x1p-11f, 1 + 0x3p-11f, 65519.9f, 65520,        -1e9f,
                                   INFINITY, 0x1p-24f, 0x1p-25f,     0x1.8p-24f,   0x1p-14f, 0x1.ffcp-15f, 3e-6f};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        float one = 1;
        uint16_t got = 0, wanted = 0;
        struct sim_product p = {.batch = 1,
                                .m = 1,
                                .n = 1,
                                .k = 1,
                                .a_type = CUDA_R_32F,
                                .b_type = CUDA_R_32F,
                                .d_type = CUDA_R_16F,
                                .a_leading = 1,
                                .b_leading = 1,
                                .d_leading = 1,
                                .alpha = 1};
        p.a = (CUdeviceptr)(uintptr_t)&values[i];
        p.b = (CUdeviceptr)(uintptr_t)&one;
        p.d = (CUdeviceptr)(uintptr_t)&got;
        tensor_put(PROGRAM_F16, &wanted, (double)values[i]);
        CHECK(sim_product_run(&p, 1) && (got == wanted || (values[i] == 0 && got << 1 == 0)));
        p.d_type = CUDA_R_16BF;
        tensor_put(PROGRAM_BF16, &wanted, (double)values[i]);
        CHECK(sim_product_run(&p, 1) && (got == wanted || (values[i] == 0 && got << 1 == 0)));
    }
}

int main(void)
{
    static const cudaDataType_t types[][2] = {{CUDA_R_32F, CUDA_R_32F},
                                              {CUDA_R_16F, CUDA_R_16F},
                                              {CUDA_R_16F, CUDA_R_32F},
                                              {CUDA_R_16BF, CUDA_R_16BF},
                                              {CUDA_R_16BF, CUDA_R_32F}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        check_shapes(types[i][0], types[i][1], false);
        check_nan(types[i][0], types[i][1], false);
        check_nan(types[i][0], types[i][1], true);
    }
    check_shapes(CUDA_R_32F, CUDA_R_32F, true);
    check_rounding();
    struct sim_product deep = {.batch = 1,
                               .m = 3,
                               .n = 2,
                               .k = 5000,
                               .a_type = CUDA_R_16F,
                               .b_type = CUDA_R_16F,
                               .d_type = CUDA_R_32F,
                               .turn_a = true,
                               .a_leading = 5000,
                               .b_leading = 5000,
                               .d_leading = 3,
                               .alpha = 1};
    check_product(deep);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
