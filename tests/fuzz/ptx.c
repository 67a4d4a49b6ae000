/* Damaged PTX for the simulated GPU: it must give an error or run within its checks, whatever it says.
 *
 * usage: fuzz_ptx SECONDS [SEED]. Texts are those of tests/sim_cases.def and, where NVRTC is, of
 * tests/kernels.cu; each input is one of them with a few mutations, loaded and, when it loads, each of its kernels
 * launched. Ends with a count of inputs, of those that loaded and of launches that went well. A crash or a sanitizer's
 * report is the finding; the input then stands in the file that CASTOR_FUZZ_INPUT names. */
#include <stdio.h>

#if CASTOR_CUDA
#include "cuda_run.h"

#include "runtime/cuda/nvrtc.h"
#include "runtime/sim/sim.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_MAX = 1 << 17, SEEDS_MAX = 1024 };

struct fuzz {
    char *seeds[SEEDS_MAX];
    int seed_count;
    uint64_t random;
    char *text, *spare;
    uint64_t inputs, loaded, launches, good;
};

static uint64_t draw(struct fuzz *fuzz, uint64_t below)
{
    fuzz->random ^= fuzz->random << 13; /* Marsaglia, Xorshift RNGs, 2003 */
    fuzz->random ^= fuzz->random >> 7;
    fuzz->random ^= fuzz->random << 17;
    return below ? fuzz->random % below : 0;
}

/* ---- the texts to begin with ---- */

static uint64_t F(float value)
{
    (void)value;
    return 0;
}

static uint64_t D(double value)
{
    (void)value;
    return 0;
}

static void add_seed(struct fuzz *fuzz, const char *text)
{
    if (fuzz->seed_count < SEEDS_MAX && strlen(text) < TEXT_MAX / 2)
        fuzz->seeds[fuzz->seed_count++] = strdup(text);
}

static void add_case(struct fuzz *fuzz, const char *instructions)
{
    char text[4096];
    snprintf(
        text, sizeof text,
        ".version 8.6\n.target sm_90\n.address_size 64\n.const .align 4 .b8 table[4] = {1, 2, 3, 4};\n"
        ".global .align 4 .f32 number = 0f3FC00000;\n.global .align 8 .u64 pointer = number;\n"
        ".global .align 4 .f32 reals[3] = {1.5, 0d3FF8000030000000, -0.25};\n.global .align 8 .f64 wide = 1.5;\n"
        ".global .align 8 .b8 room[64];\n"
        ".visible .entry k(.param .u64 pa, .param .u64 pb)\n{\n"
        ".reg .pred %%p<4>; .reg .b16 %%h<4>; .reg .b32 %%w<4>; .reg .b64 %%l<8>;\n"
        ".shared .align 16 .b8 words[512];\n.local .align 8 .b8 spill[16];\n"
        "ld.param.u64 %%l1, [pa];\nmov.u32 %%w1, %%tid.x;\ncvt.u16.u32 %%h1, %%w1;\n%s\nst.global.u64 [%%l1], %%l0;\n"
        "ret;\n}\n",
        instructions);
    add_seed(fuzz, text);
}

static void add_kernels(struct fuzz *fuzz)
{
    const char *folder = getenv("CASTOR_SOURCE");
    char path[1024], *source = calloc(1, 1 << 16);
    snprintf(path, sizeof path, "%s/tests/kernels.cu", folder ? folder : ".");
    FILE *file = cuda_run_possible() ? fopen(path, "r") : NULL;
    if (file && source && fread(source, 1, (1 << 16) - 1, file)) {
        char *ptx = cuda_run_ptx(&(struct cuda_settings){.arch = 80, .line_info = true}, source);
        for (int i = 0; ptx && i < 40; i++) /* as often as the short ones are many */
            add_seed(fuzz, ptx);
        free(ptx);
    }
    if (file)
        fclose(file);
    free(source);
}

/* ---- mutations ---- */

static size_t token_end(const char *text, size_t at)
{
    size_t end = at + strcspn(text + at, " \t\n,;[](){}+|");
    return end > at ? end : at + 1;
}

static size_t token_start(struct fuzz *fuzz, const char *text, size_t length)
{
    size_t at = draw(fuzz, length);
    while (at && !strchr(" \t\n,;[](){}+|", text[at - 1]))
        at--;
    return at;
}

static void replace(char *text, size_t at, size_t end, const char *with, size_t count)
{
    size_t length = strlen(text);
    if (length - (end - at) + count >= TEXT_MAX)
        return;
    memmove(text + at + count, text + end, length - end + 1);
    memcpy(text + at, with, count);
}

static void mutate_token(struct fuzz *fuzz, char *text, size_t length)
{
    static const char *const words[] = {"0",          "-1",   "4294967295", "18446744073709551615",
                                        "%r1",        "%p1",  "{",          "}",
                                        "[",          "]",    ";",          "1048576",
                                        "0x7fffffff", ".reg", ".shared",    ".align",
                                        "_",          "@%p1", "bra",        "ld.shared.v4.u32",
                                        "16",         "ret",  "bar.sync",   "%rd1",
                                        "(",          ")",    "<",          ">",
                                        "\"",         "/*"};
    size_t at = token_start(fuzz, text, length), end = token_end(text, at);
    if (draw(fuzz, 2)) {
        const char *word = words[draw(fuzz, sizeof words / sizeof *words)];
        replace(text, at, end < length ? end : length, word, strlen(word));
        return;
    }
    size_t other = token_start(fuzz, text, length), stop = token_end(text, other);
    char copy[128];
    size_t count = (stop < length ? stop : length) - other;
    count = count < sizeof copy ? count : sizeof copy;
    memcpy(copy, text + other, count);
    replace(text, at, end < length ? end : length, copy, count);
}

static void mutate_line(struct fuzz *fuzz, char *text, size_t length)
{
    size_t at = draw(fuzz, length), end, other = draw(fuzz, length);
    while (at && text[at - 1] != '\n')
        at--;
    end = at + strcspn(text + at, "\n");
    char copy[512];
    size_t count = end - at < sizeof copy ? end - at : sizeof copy;
    memcpy(copy, text + at, count);
    if (draw(fuzz, 2)) {
        replace(text, at, end, "", 0);
        return;
    }
    while (other && text[other - 1] != '\n')
        other--;
    replace(text, other, other, copy, count);
}

static void mutate(struct fuzz *fuzz, char *text)
{
    size_t length = strlen(text);
    if (length < 2)
        return;
    switch (draw(fuzz, 5)) {
    case 0:
        text[draw(fuzz, length)] = (char)(1 + draw(fuzz, 255));
        break;
    case 1:
        mutate_line(fuzz, text, length);
        break;
    case 2: { /* a digit becomes another */
        size_t at = draw(fuzz, length);
        while (at + 1 < length && (text[at] < '0' || text[at] > '9'))
            at++;
        text[at] = (char)('0' + draw(fuzz, 10));
        break;
    }
    default:
        mutate_token(fuzz, text, length);
        break;
    }
}

/* ---- trying ---- */

static void launch(struct fuzz *fuzz, struct driver *driver, CUmodule module, const char *name, CUdeviceptr memory)
{
    CUfunction function;
    uint64_t values[64];
    void *parameters[64];
    for (int i = 0; i < 64; i++) {
        values[i] = draw(fuzz, 4) ? memory : draw(fuzz, 300);
        parameters[i] = &values[i & ~31];
    }
    if (driver->ModuleGetFunction(driver, &function, module, name))
        return;
    CUlaunchConfig config = {.gridDimX = 2, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 48, .sharedMemBytes = 256};
    config.blockDimY = config.blockDimZ = 1;
    fuzz->launches++;
    fuzz->good += driver->LaunchKernelEx(driver, &config, function, parameters, NULL) == CUDA_SUCCESS;
}

static void try_text(struct fuzz *fuzz, const char *text)
{
    struct error error = {0};
    struct sim_settings settings = {.threads = 1, .memory = 1 << 24, .patience = 20000};
    struct driver *driver = sim_driver_new(&settings, &error);
    CUmodule module;
    CUdeviceptr memory = 0;
    const char *name;
    fuzz->inputs++;
    if (!driver)
        exit(1);
    if (driver->ModuleLoadData(driver, &module, text) == CUDA_SUCCESS) {
        fuzz->loaded++;
        if (!driver->MemAlloc(driver, &memory, 4096))
            driver->MemsetD8Async(driver, memory, 1, 4096, NULL);
        for (size_t i = 0; sim_kernel_counters(driver, i, &name); i++)
            launch(fuzz, driver, module, name, memory);
    } else if (!driver->problem(driver)) {
        fprintf(stderr, "an error without a text\n");
        abort();
    }
    driver->free(driver);
}

static void keep_input(const char *text)
{
    const char *path = getenv("CASTOR_FUZZ_INPUT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    fputs(text, file);
    fclose(file);
}

int main(int argc, char **argv)
{
    static struct fuzz fuzz;
    time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 2);
    fuzz.random = argc > 2 ? strtoull(argv[2], NULL, 10) * 2654435761U + 1 : 88172645463325252U;
    fuzz.text = calloc(1, TEXT_MAX);
    if (!fuzz.text)
        return 1;
#define CASE(text, kind, a, b, c, expected)                                                                            \
    add_case(&fuzz, (((void)(a), (void)(b), (void)(c), (void)(expected)), text));
#include "sim_cases.def"
    add_kernels(&fuzz);
    do {
        snprintf(fuzz.text, TEXT_MAX, "%s", fuzz.seeds[draw(&fuzz, (uint64_t)fuzz.seed_count)]);
        for (uint64_t i = draw(&fuzz, 4); i < 4; i++)
            mutate(&fuzz, fuzz.text);
        keep_input(fuzz.text);
        try_text(&fuzz, fuzz.text);
    } while (time(NULL) < end);
    printf("%llu inputs, %llu loaded, %llu launches, %llu of them without a fault\n", (unsigned long long)fuzz.inputs,
           (unsigned long long)fuzz.loaded, (unsigned long long)fuzz.launches, (unsigned long long)fuzz.good);
    for (int i = 0; i < fuzz.seed_count; i++)
        free(fuzz.seeds[i]);
    free(fuzz.text);
    return fuzz.loaded == 0 || fuzz.good == 0;
}
#else
int main(void)
{
    puts("this build has no simulated GPU");
    return 77;
}
#endif
