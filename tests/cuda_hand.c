/* The hand-made program: see cuda_hand.h. */
#include "cuda_hand.h"

#if CASTOR_CUDA

#include "test_driver.h"

static const char common[] = "#define N 6\n#define EACH(i) (int i = blockIdx.x * blockDim.x + threadIdx.x; i < N; "
                             "i += gridDim.x * blockDim.x)\n";
static const char scale_source[] = "struct scale_parameters { const float *x; float *w, *y; long long add; };\n"
                                   "extern \"C\" __global__ void scale(scale_parameters p)\n{\n"
                                   "    for EACH(i)\n        p.y[i] = p.x[i] * p.w[0] + (float)p.add;\n}\n";
static const char grow_source[] = "struct grow_parameters { float *w; };\n"
                                  "extern \"C\" __global__ void grow(grow_parameters p)\n{\n"
                                  "    if (blockIdx.x == 0 && threadIdx.x == 0)\n        p.w[0] += 1;\n}\n";
static const char sum_source[] =
    "struct sum_parameters { const float *y; float *sum; int *done; };\n"
    "extern \"C\" __global__ void sum(sum_parameters p)\n{\n"
    "    extern __shared__ float parts[];\n"
    "    parts[threadIdx.x] = threadIdx.x < N ? p.y[threadIdx.x] : 0;\n    __syncthreads();\n"
    "    if (threadIdx.x == 0) {\n        float s = 0;\n        for (int i = 0; i < N; i++)\n            s += "
    "parts[i];\n"
    "        p.sum[0] = s;\n        p.done[0] += 1;\n    }\n}\n";

static const struct program_tensor scalar = {.element = PROGRAM_F32, .storage = PROGRAM_F32};
static const struct program_tensor counter = {.element = PROGRAM_I32, .storage = PROGRAM_I32};
static const struct program_tensor vector = {
    .element = PROGRAM_F32, .storage = PROGRAM_F32, .rank = 1, .dimension = {HAND_SIZE}};
static const struct program_tensor matrix = {
    .element = PROGRAM_F32, .storage = PROGRAM_F32, .rank = 2, .dimension = {HAND_SIZE, HAND_SIZE}, .order = {0, 1}};

enum { W = 0, DONE = 256, OUTER = 512, STATE_BYTES = 1024, Y = 0, LOSS = 256, Z = 512, SCRATCH_BYTES = 768 };

static struct program_place state(uint64_t offset)
{
    return (struct program_place){PROGRAM_STATE, 0, offset};
}

static struct program_place scratch(uint64_t offset)
{
    return (struct program_place){PROGRAM_SCRATCH, 0, offset};
}

static struct program_step *set_step(struct program *program, struct program_step *step, const char *name,
                                     uint32_t kernel, int buffers)
{
    *step = (struct program_step){.kind = PROGRAM_KERNEL,
                                  .name = name,
                                  .kernel = kernel,
                                  .buffer_count = buffers,
                                  .file = "hand.net",
                                  .line = (int)kernel + 1,
                                  .column = 1};
    step->buffers = program_allocate(program, sizeof *step->buffers * (size_t)buffers);
    return step;
}

static void set_steps(struct program *program, struct program_step *steps)
{
    struct program_step *step = set_step(program, &steps[0], "scale", 0, 3);
    step->buffers[0].space = PROGRAM_INPUT;
    step->buffers[1] = state(W);
    step->buffers[2] = scratch(Y);
    step->integer_count = 1;
    step->integers = program_allocate(program, sizeof(int64_t));
    step->integers[0] = 10;
    set_step(program, &steps[1], "grow", 1, 1)->buffers[0] = state(W);
    step = set_step(program, &steps[2], "sum", 2, 3);
    step->buffers[0] = scratch(Y);
    step->buffers[1] = scratch(LOSS);
    step->buffers[2] = state(DONE);
    step = set_step(program, &steps[3], "copy", 0, 2);
    step->kind = PROGRAM_COPY_STEP;
    step->copy_bytes = HAND_SIZE * sizeof(float);
    step->buffers[0] = scratch(Y);
    step->buffers[1] = scratch(Z);
    step = set_step(program, &steps[4], "outer", 0, 3);
    step->kind = PROGRAM_MATMUL_STEP;
    step->buffers[0] = scratch(Y);
    step->buffers[1] = scratch(Z);
    step->buffers[2] = state(OUTER);
    step->matmul = (struct program_matmul){.batch = 1,
                                           .m = HAND_SIZE,
                                           .n = HAND_SIZE,
                                           .k = 1,
                                           .a_stride = {0, 1, 1},
                                           .b_stride = {0, HAND_SIZE, 1},
                                           .d_stride = {0, HAND_SIZE, 1},
                                           .a = PROGRAM_F32,
                                           .b = PROGRAM_F32,
                                           .d = PROGRAM_F32};
}

struct program *hand_program(void)
{
    struct program *program = program_new();
    program->name = "hand";
    program->target = "sim";
    program->source = common;
    program->alignment = 256;
    program->state_bytes = STATE_BYTES;
    program->kernel_count = 3;
    program->kernels = program_allocate(program, sizeof *program->kernels * 3);
    program->kernels[0] = (struct program_kernel){.name = "scale", .source = scale_source, .threads = 32, .blocks = 1};
    program->kernels[1] =
        (struct program_kernel){.name = "grow", .source = grow_source, .threads = 32, .blocks = 3, .cooperative = true};
    program->kernels[2] = (struct program_kernel){
        .name = "sum", .source = sum_source, .threads = 32, .blocks = 1, .shared_bytes = 32 * sizeof(float)};
    program->variable_count = 2;
    program->variables = program_allocate(program, sizeof *program->variables * 2);
    program->variables[0] = (struct program_variable){.name = "w", .kind = PROGRAM_PARAMETER, .tensor = scalar};
    program->variables[1] =
        (struct program_variable){.name = "done", .kind = PROGRAM_OPTIMIZER, .tensor = counter, .offset = DONE};
    program->entry_count = 1;
    program->entries = program_allocate(program, sizeof *program->entries);
    struct program_entry *train = &program->entries[0];
    *train = (struct program_entry){.name = "train",
                                    .batch = HAND_SIZE,
                                    .scratch_bytes = SCRATCH_BYTES,
                                    .input_count = 1,
                                    .output_count = 4,
                                    .step_count = HAND_STEPS};
    train->inputs = program_allocate(program, sizeof *train->inputs);
    train->inputs[0] = (struct program_input){.name = "x", .tensor = vector};
    train->outputs = program_allocate(program, sizeof *train->outputs * 4);
    train->outputs[0] =
        (struct program_output){.name = "loss", .kind = PROGRAM_LOSS, .tensor = scalar, .place = scratch(LOSS)};
    train->outputs[1] = (struct program_output){.name = "z", .tensor = vector, .place = scratch(Z)};
    train->outputs[2] = (struct program_output){.name = "outer", .tensor = matrix, .place = state(OUTER)};
    train->outputs[3] =
        (struct program_output){.name = "done", .kind = PROGRAM_LOG, .tensor = counter, .place = state(DONE)};
    train->steps = program_allocate(program, sizeof *train->steps * HAND_STEPS);
    set_steps(program, train->steps);
    return program;
}

float hand_loss(const float *x, float w)
{
    float sum = 0;
    for (int i = 0; i < HAND_SIZE; i++)
        sum += x[i] * w + 10;
    return sum;
}

bool hand_tables(struct cuda_tables *tables, struct error *error)
{
    return hand_tables_late(tables, 0, error);
}

bool hand_tables_late(struct cuda_tables *tables, unsigned late, struct error *error)
{
    *tables = (struct cuda_tables){.nvrtc = test_nvrtc(error)};
    if (!tables->nvrtc)
        return false;
    const struct sim_settings settings = {.architecture = "sm_80", .threads = 2, .late = late};
    tables->driver = test_driver(&settings, error);
    if (tables->driver)
        tables->cublaslt = test_cublaslt(tables->driver, error);
    if (tables->cublaslt)
        return true;
    if (tables->driver)
        tables->driver->free(tables->driver);
    tables->nvrtc->free(tables->nvrtc);
    return false;
}

#endif
