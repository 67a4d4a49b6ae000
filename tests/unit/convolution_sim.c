/* Convolution kernels on the simulated GPU against sums in double precision: every kind, type, layout and tile over
 * shapes that are hard to get right. Sentinels stand behind every buffer; results and counters must be the same after a
 * second run and on another number of simulator threads; what the simulator finds wrong (races, unwritten or misplaced
 * memory) fails the run. Arguments N and K: those of number K modulo N; without them a sample, in which is a data
 * gradient of groups with a tail, and those of which lines are counted. */
#include "check.h"

#if CASTOR_CUDA

#include "codegen/kernel.h"
#include "codegen/templates.h"
#include "conv_cases.h"
#include "conv_reference.h"
#include "runtime/cuda/cuda.h"
#include "runtime/executor.h"
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"
#include "runtime/tensor.h"

#include <math.h>
#include <stdlib.h>

enum { SENTINELS = 16, BUFFERS_MAX = 11 };

/* One convolution: what it is given and what must come out, for each buffer but workspace and counters. */
struct sim_case {
    struct program_conv conv;
    struct convolution_request request;
    unsigned tail; /* a sum of enum conv_tail */
    struct convolution_kernel kernel;
    int buffer_count, first_variable;
    enum program_element elements[BUFFERS_MAX];
    double *values[BUFFERS_MAX]; /* given, or wanted */
    int64_t counts[BUFFERS_MAX];
    bool given[BUFFERS_MAX];
    unsigned char *bytes[BUFFERS_MAX]; /* of the first run */
};

static double random_value(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 33) / 1073741824.0 - 1.0;
}

static double *add_buffer(struct sim_case *own, enum program_element element, int64_t count, bool given)
{
    int i = own->buffer_count++;
    own->elements[i] = element;
    own->counts[i] = count;
    own->given[i] = given;
    own->values[i] = calloc((size_t)count + 1, sizeof(double));
    for (int64_t j = 0; given && j < count; j++)
        own->values[i][j] = tensor_round(element, random_value());
    return own->values[i];
}

/* What the tail's buffers are, and what they do to the result. */
static void add_tail(struct sim_case *own, double *result, int64_t count)
{
    const struct program_conv *conv = &own->conv;
    enum program_element element = own->elements[2];
    int64_t channels = conv_channels(conv);
    double *total = own->tail & CONV_TAIL_ADDEND ? add_buffer(own, PROGRAM_F32, channels, false) : NULL;
    double *places = total ? add_buffer(own, PROGRAM_F32, channels, false) : NULL;
    double *check = own->tail & CONV_TAIL_CHECK ? add_buffer(own, PROGRAM_U8, 1, false) : NULL;
    double *finished = total ? add_buffer(own, PROGRAM_F32, channels, false) : NULL;
    const double *bias = own->tail & CONV_TAIL_BIAS ? add_buffer(own, PROGRAM_F32, channels, true) : NULL;
    const double *addend = add_buffer(own, element, count, true);
    if (check)
        *check = 1;
    for (int64_t i = 0; i < count; i++) {
        result[i] += bias ? bias[conv_channel(conv, i)] : 0;
        if (bias)
            result[i] = result[i] < 0 ? 0 : result[i];
        if (total) {
            result[i] += addend[i];
            total[conv_channel(conv, i)] += 2 * addend[i];
            places[conv_channel(conv, i)]++;
        }
        if (check && !(addend[i] > -0.01 * (double)own->request.tail->integers[0]))
            *check = 0;
    }
    for (int64_t i = 0; i < channels && finished; i++)
        finished[i] = total[i] - 1;
}

/* Statistics are compared with those of the result itself. */
static void add_appended(struct sim_case *own, double *result)
{
    for (unsigned flag = PROGRAM_EPILOGUE_SUM; flag <= PROGRAM_EPILOGUE_M2; flag *= 2)
        if (own->conv.epilogue & flag)
            add_buffer(own, PROGRAM_F32, conv_channels(&own->conv), false);
    if (own->tail)
        add_tail(own, result, own->counts[2]);
}

static void make_case(struct sim_case *own, struct arena *arena)
{
    const struct program_conv *conv = &own->conv;
    struct conv_sizes sizes = conv_sizes(conv);
    enum program_element x = conv->x_element, weight = conv->weight_element, y = conv->y_element;
    double *operands[3]; /* operand 0, operand 1, result */
    switch (conv->kind) {
    case PROGRAM_CONV:
        operands[0] = add_buffer(own, x, sizes.x, true);
        operands[1] = add_buffer(own, weight, sizes.weight, true);
        operands[2] = add_buffer(own, y, sizes.y, false);
        conv_reference(conv, own->request.weight_last, operands[0], operands[1], operands[2]);
        break;
    case PROGRAM_CONV_DATA:
        operands[0] = add_buffer(own, weight, sizes.weight, true);
        operands[1] = add_buffer(own, y, sizes.y, true);
        operands[2] = add_buffer(own, x, sizes.x, false);
        conv_reference(conv, own->request.weight_last, operands[2], operands[0], operands[1]);
        break;
    default:
        operands[0] = add_buffer(own, x, sizes.x, true);
        operands[1] = add_buffer(own, y, sizes.y, true);
        operands[2] = add_buffer(own, weight, sizes.weight, false);
        conv_reference(conv, own->request.weight_last, operands[0], operands[2], operands[1]);
        break;
    }
    own->request.tail = own->tail ? conv_make_tail(own->tail, own->elements[2], conv->n, arena) : NULL;
    own->kernel = convolution_kernel_make(conv, &own->request, arena);
    if (own->tail)
        own->kernel.name = arena_printf(arena, "%s_%u", own->kernel.name, own->tail);
    add_appended(own, operands[2]);
}

/* ---- the program: an entry a case ---- */

static uint64_t align(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void add_variable(struct program *program, struct sim_case *own, int buffer, struct arena *arena)
{
    struct program_variable *variable = &program->variables[program->variable_count++];
    struct program_tensor tensor = {
        own->elements[buffer], own->elements[buffer], 1, {own->counts[buffer] + SENTINELS}, {0}};
    *variable = (struct program_variable){arena_printf(arena, "v%d", program->variable_count), PROGRAM_FORWARD_STATE,
                                          tensor, program->state_bytes};
    program->state_bytes += align(program_tensor_bytes(&tensor));
}

static uint32_t add_kernel(struct program *program, const struct convolution_kernel *kernel, struct arena *arena)
{
    for (int i = 0; i < program->kernel_count; i++)
        if (strcmp(program->kernels[i].name, kernel->name) == 0)
            return (uint32_t)i;
    program->kernels[program->kernel_count] =
        (struct program_kernel){kernel->name,
                                templates_function(kernel->name, kernel->threads, kernel->fields, kernel->body, arena),
                                kernel->threads,
                                1,
                                0,
                                false};
    return (uint32_t)program->kernel_count++;
}

static void add_entry(struct program *program, struct sim_case *own, uint64_t counters, struct arena *arena)
{
    struct program_entry *entry = &program->entries[program->entry_count++];
    struct program_step *step = program_allocate(program, sizeof *step);
    *entry = (struct program_entry){.name = arena_printf(arena, "case%d", program->entry_count),
                                    .steps = step,
                                    .step_count = 1,
                                    .scratch_bytes = align(own->kernel.workspace_bytes)};
    step->kind = PROGRAM_KERNEL;
    step->name = own->kernel.name;
    step->kernel = add_kernel(program, &own->kernel, arena);
    step->blocks = own->kernel.shape.blocks > 0 ? own->kernel.shape.blocks : 1;
    step->integer_count = CONVOLUTION_INTEGERS + (own->tail ? 1 : 0);
    step->integers = program_allocate(program, (CONVOLUTION_INTEGERS + 1) * sizeof *step->integers);
    memcpy(step->integers, own->kernel.integers, CONVOLUTION_INTEGERS * sizeof *step->integers);
    if (own->tail)
        step->integers[CONVOLUTION_INTEGERS] = own->request.tail->integers[0];
    step->buffers = program_allocate(program, (BUFFERS_MAX + 2) * sizeof *step->buffers);
    own->first_variable = program->variable_count;
    for (int i = 0; i < own->buffer_count; i++) {
        step->buffers[step->buffer_count++] = (struct program_place){PROGRAM_STATE, 0, program->state_bytes};
        add_variable(program, own, i, arena);
    }
    if (own->kernel.workspace_bytes)
        step->buffers[step->buffer_count++] = (struct program_place){PROGRAM_SCRATCH, 0, 0};
    if (own->kernel.counter_bytes)
        step->buffers[step->buffer_count++] = (struct program_place){PROGRAM_STATE, 0, counters};
}

static struct program *make_program(struct sim_case *cases, int count, struct arena *arena)
{
    struct target target = {.name = "sim", .language = LANGUAGE_CUDA};
    struct program *program = program_new();
    size_t most = (size_t)count + 1;
    uint64_t counters = 0;
    program->name = "convolutions";
    program->target = "sim";
    program->source =
        arena_printf(arena, "%s%s", kernel_prelude(&target, arena), templates_text(TEMPLATE_CONVOLUTION, arena));
    program->alignment = 64;
    program->accumulate = 1;
    program->kernels = program_allocate(program, most * sizeof *program->kernels);
    program->entries = program_allocate(program, most * sizeof *program->entries);
    program->variables = program_allocate(program, most * BUFFERS_MAX * sizeof *program->variables);
    for (int i = 0; i < count; i++)
        if (cases[i].kernel.counter_bytes > counters)
            counters = cases[i].kernel.counter_bytes;
    program->state_bytes = align(counters); /* shared, in front */
    for (int i = 0; i < count; i++)
        add_entry(program, &cases[i], 0, arena);
    return program;
}

/* ---- running ---- */

static struct device *sim_device(int threads, struct driver **driver, struct error *error)
{
    struct cuda_tables tables = {.nvrtc = nvrtc_open(0, error)};
    if (!tables.nvrtc)
        return NULL;
    const struct sim_settings sim = {.architecture = "sm_80", .threads = threads, .races = threads == 1};
    *driver = tables.driver = sim_driver_new(&sim, error);
    tables.cublaslt = sim_cublaslt_new(tables.driver);
    struct cuda_settings settings = {.name = "sim", .architecture = "sm_80", .jobs = 2, .ptx = true};
    return cuda_device_new(&tables, &settings, error);
}

/* Of buffers that are read a NaN, which shows in what is computed of it, even times zero. */
static double sentinel(const struct sim_case *own, int i)
{
    return own->given[i] ? (double)NAN : 99;
}

static void write_buffers(struct executor *executor, const struct sim_case *own)
{
    for (int i = 0; i < own->buffer_count; i++) {
        const struct program_variable *variable = &executor_program(executor)->variables[own->first_variable + i];
        size_t size = program_element_bytes(own->elements[i]);
        char *bytes = malloc(program_tensor_bytes(&variable->tensor));
        for (int64_t j = 0; j < own->counts[i] + SENTINELS; j++)
            tensor_put(own->elements[i], bytes + (size_t)j * size,
                       j < own->counts[i] && own->given[i] ? own->values[i][j] : sentinel(own, i));
        executor_write(executor, variable, bytes);
        free(bytes);
    }
}

/* Reads a buffer back as values; false if its sentinels changed. Keeps its bytes, or compares them with those kept. */
static bool read_buffer(struct executor *executor, struct sim_case *own, int i, double *values)
{
    const struct program_variable *variable = &executor_program(executor)->variables[own->first_variable + i];
    size_t size = program_element_bytes(own->elements[i]), total = program_tensor_bytes(&variable->tensor);
    unsigned char *bytes = malloc(total);
    executor_read(executor, variable, bytes);
    bool good = true;
    for (int64_t j = 0; j < own->counts[i]; j++)
        values[j] = tensor_get(own->elements[i], bytes + (size_t)j * size);
    for (int64_t j = own->counts[i]; j < own->counts[i] + SENTINELS; j++) {
        double found = tensor_get(own->elements[i], bytes + (size_t)j * size), wanted = sentinel(own, i);
        good = good && (found == wanted || (isnan(found) && isnan(wanted)));
    }
    if (!own->bytes[i]) {
        own->bytes[i] = bytes;
        return good;
    }
    good = good && memcmp(own->bytes[i], bytes, total) == 0;
    free(bytes);
    return good;
}

/* Normalised mean squared error within what one rounding to the type gives; got NULL: there is no such buffer. */
static bool close(const double *got, const double *wanted, int64_t count, enum program_element element)
{
    double error = 0, power = 0, bound = element == PROGRAM_F32 ? 1e-12 : element == PROGRAM_F16 ? 2e-7 : 1e-5;
    if (!got)
        return false;
    for (int64_t i = 0; i < count; i++) {
        error += (got[i] - wanted[i]) * (got[i] - wanted[i]);
        power += wanted[i] * wanted[i];
    }
    if (!(error <= bound * power))
        fprintf(stderr, "  normalised mean squared error %g\n", error / power);
    return error <= bound * power;
}

/* The statistics of what was stored, in double precision. */
static bool statistics_hold(const struct sim_case *own, const double *result, const double *got, bool m2)
{
    int64_t channels = conv_channels(&own->conv), count = own->counts[2], each = count / channels;
    double *sums = calloc((size_t)channels, sizeof *sums), *wanted = calloc((size_t)channels, sizeof *wanted);
    for (int64_t i = 0; i < count; i++)
        sums[conv_channel(&own->conv, i)] += result[i];
    for (int64_t i = 0; i < count; i++) {
        int64_t channel = conv_channel(&own->conv, i);
        double distance = result[i] - sums[channel] / (double)each;
        wanted[channel] += m2 ? distance * distance : result[i];
    }
    bool good = close(got, wanted, channels, PROGRAM_F32);
    free(sums);
    free(wanted);
    return good;
}

static bool check_results(struct executor *executor, struct sim_case *own)
{
    double *values[BUFFERS_MAX] = {NULL};
    const int count = own->buffer_count;
    bool good = true;
    if (count < 3)
        return false; /* two operands and the result at least */
    for (int i = 0; i < count; i++) {
        values[i] = calloc((size_t)own->counts[i] + 1, sizeof(double));
        good = read_buffer(executor, own, i, values[i]) && good;
    }
    good = close(values[2], own->values[2], own->counts[2], own->elements[2]) && good;
    int next = 3;
    if (own->conv.epilogue & PROGRAM_EPILOGUE_SUM)
        good = statistics_hold(own, values[2], values[next++], false) && good;
    if (own->conv.epilogue & PROGRAM_EPILOGUE_M2)
        good = statistics_hold(own, values[2], values[next++], true) && good;
    for (; next < count; next++) /* of the tail: totals, checks; what it is given stays */
        good = close(values[next], own->values[next], own->counts[next], PROGRAM_F32) && good;
    for (int i = 0; i < count; i++)
        free(values[i]);
    return good;
}

static void check_cases(struct sim_case *cases, int count, const struct program *program, int threads)
{
    struct error error = {0};
    struct driver *driver;
    struct device *device = sim_device(threads, &driver, &error);
    struct executor *executor = device ? executor_new(device, program, true, &error) : NULL;
    if (error.code)
        error_print(&error, stderr);
    CHECK(executor);
    for (int i = 0; executor && i < count; i++) {
        write_buffers(executor, &cases[i]);
        bool good = true;
        for (int run = 0; run < 2 && good; run++)
            good = executor_run(executor, program->entries[i].name, &error) && check_results(executor, &cases[i]);
        if (error.code)
            error_print(&error, stderr);
        if (!good)
            fprintf(stderr, "case %d, %d threads: %s\n", i, threads, cases[i].kernel.name);
        CHECK(good);
        if (error.code)
            break;
    }
    executor_free(executor);
    if (device)
        device->free(device);
}

static void free_cases(struct sim_case *cases, int count)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < cases[i].buffer_count; j++) {
            free(cases[i].values[j]);
            free(cases[i].bytes[j]);
        }
}

/* ---- the inner loop ---- */

static uint64_t count_conflicts(struct driver *driver)
{
    const struct sim_counters *counters;
    const char *name;
    uint64_t conflicts = 0;
    for (size_t i = 0; (counters = sim_kernel_counters(driver, i, &name)); i++)
        conflicts += counters->bank_conflicts;
    sim_reset_counters(driver);
    return conflicts;
}

/* A convolution of 64 outputs over 8 x 8 places, or the same with a sum twice as long. */
static struct program_conv deep_conv(int kind, enum program_element element, int times)
{
    struct program_conv conv = {
        .kind = (enum program_conv_kind)kind, .spatial = 2, .n = 8, .c = 64, .o = 64, .groups = 1};
    *(kind == PROGRAM_CONV ? &conv.c : kind == PROGRAM_CONV_DATA ? &conv.o : &conv.n) *= times;
    for (int i = 0; i < 2; i++) {
        conv.x[i] = conv.y[i] = 8;
        conv.kernel[i] = 3;
        conv.stride[i] = conv.dilation[i] = conv.pad_low[i] = conv.pad_high[i] = 1;
    }
    conv.channels_last = true;
    conv.x_element = conv.weight_element = conv.y_element = element;
    return conv;
}

/* The stores of a tile's results may meet in a bank, loading and multiplying may not: twice the depth, no more
 * conflicts. */
static void check_conflicts(int kind, enum program_element element, int tile, bool vectors)
{
    struct arena *arena = arena_new();
    struct sim_case cases[2] = {0};
    for (int i = 0; i < 2; i++) {
        cases[i].conv = deep_conv(kind, element, i + 1);
        cases[i].request =
            (struct convolution_request){.weight_last = vectors, .aligned = {vectors, vectors}, .tile = tile};
        make_case(&cases[i], arena);
    }
    struct program *program = make_program(cases, 2, arena);
    struct error error = {0};
    struct driver *driver;
    struct device *device = sim_device(2, &driver, &error);
    struct executor *executor = device ? executor_new(device, program, false, &error) : NULL;
    uint64_t conflicts[2] = {0};
    for (int i = 0; executor && i < 2; i++) {
        write_buffers(executor, &cases[i]);
        CHECK(executor_run(executor, program->entries[i].name, &error));
        conflicts[i] = count_conflicts(driver);
    }
    if (error.code)
        error_print(&error, stderr);
    if (conflicts[0] != conflicts[1])
        fprintf(stderr, "%s: %llu conflicts, twice as deep %llu\n", cases[0].kernel.name,
                (unsigned long long)conflicts[0], (unsigned long long)conflicts[1]);
    CHECK(executor && conflicts[0] == conflicts[1]);
    executor_free(executor);
    if (device)
        device->free(device);
    free_cases(cases, 2);
    program_free(program);
    arena_free(arena);
}

int main(int argument_count, char **arguments)
{
    int every = argument_count > 1 ? atoi(arguments[1]) : 61, count = 0;
    size_t first = argument_count > 2 ? (size_t)atoi(arguments[2]) : argument_count > 1 ? 0 : 27;
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (!nvrtc)
        return 77;
    nvrtc->free(nvrtc);
    struct arena *arena = arena_new();
    struct sim_case *cases = calloc(CONV_VARIANTS_MAX, sizeof *cases);
    struct program_conv conv;
    struct convolution_request request;
    unsigned tail;
    for (size_t i = 0; conv_variant(i, &conv, &request, &tail); i++)
        if (i % (size_t)every == first || (argument_count == 1 && conv_variant_counts(i))) {
            cases[count] = (struct sim_case){.conv = conv, .request = request, .tail = tail};
            make_case(&cases[count++], arena);
        }
    struct program *program = make_program(cases, count, arena);
    printf("%d convolutions, %d kernels\n", count, program->kernel_count);
    check_cases(cases, count, program, 1);
    check_cases(cases, count, program, 4);
    for (int i = 0; i < (every < 61 ? 12 * CONVOLUTION_TILES : every == 61 ? 3 : 0); i++)
        check_conflicts(i % 3, i / 3 % 2 ? PROGRAM_F32 : PROGRAM_F16, i / 12 + 1, i / 6 % 2 == 0);
    free_cases(cases, count);
    free(cases);
    program_free(program);
    arena_free(arena);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
