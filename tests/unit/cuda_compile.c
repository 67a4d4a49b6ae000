/* Kernels by NVRTC: what comes out, what the assembler says of it, the cache, and what is said of wrong kernels. */
#include "check.h"

#if CASTOR_CUDA

#include "cuda_hand.h"
#include "runtime/cuda/code.h"
#include "runtime/file.h"

#include <stdlib.h>

static void check_code(const struct cuda_compile_settings *settings, const struct program *program, int compiled)
{
    struct error error = {0};
    struct cuda_code *code = cuda_compile(settings, program, &error);
    CHECK(code);
    if (!code) {
        error_print(&error, stderr);
        return;
    }
    CHECK(code->compiled == compiled && code->unit_count == 1);
    CHECK(code->units[0].first == 0 && code->units[0].last == program->kernel_count);
    CHECK(strstr(code->units[0].ptx, ".entry scale(") && strstr(code->units[0].ptx, ".target sm_80"));
    CHECK(strlen(code->units[0].ptx) + 1 >= code->units[0].ptx_size);
    CHECK(code->units[0].cubin_size > 4 && memcmp(code->units[0].cubin, "\177ELF", 4) == 0);
    CHECK(!strstr(code->units[0].ptx, "fma.rn.f32")); /* a product and a sum stay two roundings */
    for (int i = 0; i < program->kernel_count; i++) {
        CHECK(code->resources[i].registers > 0 && code->resources[i].registers <= 255);
        CHECK(!code->resources[i].spill_stores && !code->resources[i].spill_loads);
    }
    cuda_code_free(code);
}

static void damage(const char *folder)
{
    char *command = file_text("for f in %s/*.cuda; do truncate -s 100 $f; done", folder);
    CHECK(system(command) == 0);
    free(command);
}

/* A kernel that spills, one with static shared memory. */
static void check_resources(const struct cuda_compile_settings *settings)
{
    struct program *program = program_new();
    struct error error = {0};
    program->source = "";
    program->kernel_count = 2;
    program->kernels = program_allocate(program, sizeof *program->kernels * 2);
    program->kernels[0] = (struct program_kernel){
        .name = "shared",
        .source = "extern \"C\" __global__ void shared(float *x)\n{\n    __shared__ float s[256];\n"
                  "    s[threadIdx.x] = x[threadIdx.x];\n    __syncthreads();\n    x[threadIdx.x] = s[255 - "
                  "threadIdx.x];\n}\n"};
    program->kernels[1] = (struct program_kernel){
        .name = "tight",
        .source = "extern \"C\" __global__ void __launch_bounds__(1024, 2) tight(float *x)\n{\n    float v[64];\n"
                  "#pragma unroll\n    for (int i = 0; i < 64; i++)\n        v[i] = x[i * 1024 + threadIdx.x];\n"
                  "    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < 64; i++)\n"
                  "        x[i * 1024 + threadIdx.x] = v[i] * v[63 - i];\n}\n"};
    struct cuda_code *code = cuda_compile(settings, program, &error);
    CHECK(code && code->resources[0].shared_bytes == 1024 && code->resources[0].spill_stores == 0);
    CHECK(code && code->resources[1].shared_bytes == 0 && code->resources[1].spill_stores > 0);
    CHECK(code && code->resources[1].registers == 32);
    cuda_code_free(code);
    program->kernels[1].source = "extern \"C\" __global__ void tight(float *x) { undeclared(; }\n";
    CHECK(!cuda_compile(settings, program, &error) && error.code == ERROR_RUNTIME);
    CHECK(strstr(error.text, "NVRTC") && strstr(error.text, "error"));
    struct cuda_compile_settings other = *settings;
    other.architecture = "sm_12";
    error = (struct error){0};
    CHECK(!cuda_compile(&other, program, &error) && strstr(error.text, "NVRTC"));
    program_free(program);
}

/* Kernels enough for several units: all found, in the same units each time. */
static void check_units(struct cuda_compile_settings settings)
{
    struct program *program = program_new();
    struct error error = {0};
    enum { KERNELS = 40 };
    char filler[5000];
    memset(filler, '/', sizeof filler);
    program->source = "";
    program->kernel_count = KERNELS;
    program->kernels = program_allocate(program, sizeof *program->kernels * KERNELS);
    for (int i = 0; i < KERNELS; i++) {
        char *name = file_text("kernel_%d", i);
        char *source = file_text("%.*s\nextern \"C\" __global__ void %s(float *x) { x[%d] = %d; }\n",
                                 (int)sizeof filler, filler, name, i, i);
        program->kernels[i] =
            (struct program_kernel){.name = program_string(program, name), .source = program_string(program, source)};
        free(name);
        free(source);
    }
    settings.jobs = 4;
    struct cuda_code *code = cuda_compile(&settings, program, &error);
    CHECK(code && code->unit_count > 2 && code->compiled == code->unit_count);
    for (int i = 0; code && i < code->unit_count; i++)
        for (int j = code->units[i].first; j < code->units[i].last; j++)
            CHECK(strstr(code->units[i].ptx, program->kernels[j].name) && code->resources[j].registers > 0);
    CHECK(code && code->units[code->unit_count - 1].last == KERNELS);
    cuda_code_free(code);
    program_free(program);
}

/* Code as bytes, as a trainer carries it: whole, cut off anywhere, and for another program. */
static void check_bytes(const struct cuda_compile_settings *settings, const struct program *program)
{
    struct error error = {0};
    struct cuda_code *code = cuda_code_compile(settings, program, &error), *again = NULL;
    void *bytes = NULL;
    size_t size = 0;
    CHECK(code);
    if (!code)
        return;
    CHECK(cuda_code_write(code, program, &bytes, &size));
    CHECK(strstr(code->units[0].ptx, ".entry " CUDA_GATHER "("));
    again = cuda_code_read(bytes, size, program, &error);
    CHECK(again && again->unit_count == code->unit_count && again->units[0].last == program->kernel_count + 1);
    CHECK(again && again->units[0].cubin_size == code->units[0].cubin_size &&
          memcmp(again->units[0].cubin, code->units[0].cubin, code->units[0].cubin_size) == 0);
    CHECK(again && strcmp(again->units[0].ptx, code->units[0].ptx) == 0);
    CHECK(again && again->resources[0].registers == code->resources[0].registers);
    for (size_t part = 0; part < size; part += 1 + part / 16) {
        error = (struct error){0};
        CHECK(!cuda_code_read(bytes, part, program, &error) && strstr(error.text, "damaged"));
    }
    struct program other = *program;
    other.kernel_count++;
    CHECK(!cuda_code_read(bytes, size, &other, &error));
    cuda_code_free(again);
    cuda_code_free(code);
    free(bytes);
}

int main(void)
{
    char folder[] = "/tmp/castor-test-XXXXXX";
    struct error error = {0};
    struct nvrtc *nvrtc = nvrtc_open(0, &error);
    if (!nvrtc) {
        error_print(&error, stderr);
        return 77;
    }
    CHECK(mkdtemp(folder));
    struct cuda_compile_settings settings = {nvrtc, "sm_80", folder, 1};
    struct program *program = hand_program();
    check_code(&settings, program, 1);
    check_code(&settings, program, 0);
    damage(folder);
    check_code(&settings, program, 1); /* a damaged entry is compiled anew */
    settings.cache = "off";
    check_code(&settings, program, 1);
    check_resources(&settings);
    check_bytes(&settings, program);
    check_units(settings);
    program_free(program);
    nvrtc->free(nvrtc);
    char *command = file_text("rm -r %s", folder);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}

#else

int main(void)
{
    return 77;
}

#endif
