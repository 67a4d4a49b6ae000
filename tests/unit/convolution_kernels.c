/* The convolution kernels as NVRTC compiles them: each tile for each kind and type, without registers that
 * do not fit (spills) and without arrays that fall into local memory (stack), on every architecture. Without arguments
 * a few of them on one architecture; with `each` every one on one architecture, in turn; with `all` all on all. */
#include "check.h"
#include "codegen/convolution_kernel.h"
#include "codegen/kernel.h"
#include "codegen/templates.h"
#include "conv_cases.h"

#if CASTOR_CUDA

#include "runtime/cuda/compile.h"

#include <string.h>

/* Statistics and the fullest tail, for each kind, type, tile and way of loading. */
static struct convolution_kernel make_kernel(int kind, enum program_element element, int tile, bool vectors,
                                             struct arena *arena)
{
    struct program_conv conv = {
        .kind = (enum program_conv_kind)kind, .spatial = 2, .n = 8, .c = 64, .o = 64, .groups = 1};
    for (int i = 0; i < 2; i++) {
        conv.x[i] = conv.y[i] = 32;
        conv.kernel[i] = 3;
        conv.stride[i] = conv.dilation[i] = conv.pad_low[i] = conv.pad_high[i] = 1;
    }
    conv.channels_last = true;
    conv.x_element = conv.weight_element = conv.y_element = element;
    if (kind == PROGRAM_CONV_WEIGHT)
        conv.weight_element = PROGRAM_F32;
    else
        conv.epilogue = PROGRAM_EPILOGUE_SUM | PROGRAM_EPILOGUE_M2;
    struct convolution_request request = {.weight_last = vectors, .aligned = {vectors, vectors}, .tile = tile};
    if (kind != PROGRAM_CONV_WEIGHT)
        request.tail = conv_make_tail(CONV_TAIL_BIAS | CONV_TAIL_ADDEND | CONV_TAIL_CHECK, element, conv.n, arena);
    return convolution_kernel_make(&conv, &request, arena);
}

/* Kernels first, first + every, … of all. */
static struct program *make_program(struct arena *arena, int first, int every)
{
    struct target target = {.name = "sim", .language = LANGUAGE_CUDA};
    struct program *program = program_new();
    program->source =
        arena_printf(arena, "%s%s", kernel_prelude(&target, arena), templates_text(TEMPLATE_CONVOLUTION, arena));
    program->kernels = program_allocate(program, 12 * CONVOLUTION_TILES * sizeof *program->kernels);
    for (int i = first; i < 12 * CONVOLUTION_TILES; i += every) {
        struct convolution_kernel kernel =
            make_kernel(i % 3, i / 3 % 2 ? PROGRAM_F32 : PROGRAM_F16, i / 12 + 1, i / 6 % 2 == 0, arena);
        program->kernels[program->kernel_count++] = (struct program_kernel){
            .name = kernel.name,
            .source = templates_function(kernel.name, kernel.threads, kernel.fields, kernel.body, arena),
            .threads = kernel.threads,
            .blocks = 1,
        };
    }
    return program;
}

static void check_architecture(struct nvrtc *nvrtc, const struct program *program, const char *architecture)
{
    struct cuda_compile_settings settings = {.nvrtc = nvrtc, .architecture = architecture, .cache = "off", .jobs = 2};
    struct error error = {0};
    struct cuda_code *code = cuda_compile(&settings, program, &error);
    if (error.code)
        error_print(&error, stderr);
    CHECK(code);
    for (int i = 0; code && i < program->kernel_count; i++) {
        const struct cuda_resources *own = &code->resources[i];
        bool good = own->registers > 0 && !own->spill_stores && !own->spill_loads && !own->stack_bytes;
        if (!good)
            fprintf(stderr, "%s on %s: %d registers, %d + %d bytes spilled, %d bytes of stack\n",
                    program->kernels[i].name, architecture, own->registers, own->spill_stores, own->spill_loads,
                    own->stack_bytes);
        CHECK(good);
    }
    cuda_code_free(code);
}

int main(int count, char **arguments)
{
    static const char *const architectures[] = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_100"};
    enum { ARCHITECTURES = sizeof architectures / sizeof *architectures, FEW = 31 };
    bool all = count > 1 && strcmp(arguments[1], "all") == 0, each = count > 1 && !all;
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (!nvrtc) {
        printf("left out: no NVRTC here\n");
        return 77;
    }
    struct arena *arena = arena_new();
    for (int i = 0; i < (all || each ? ARCHITECTURES : 1); i++) {
        struct program *program = make_program(arena, each ? i : 0, all ? 1 : each ? ARCHITECTURES : FEW);
        printf("%d kernels on %s\n", program->kernel_count, architectures[i]);
        check_architecture(nvrtc, program, architectures[i]);
        program_free(program);
    }
    arena_free(arena);
    nvrtc->free(nvrtc);
    return check_result();
}

#else

int main(void)
{
    printf("left out: built without CUDA\n");
    return 77;
}

#endif
