/* castor_bench_sim: how fast the simulated GPU is on one thread, in warp instructions and mma a second of processor
 * time. Checks are on, as always. usage: castor_bench_sim [REPEATS [KERNEL]] */
#include "cuda_run.h"

#include "runtime/cuda/nvrtc.h"
#include "runtime/sim/sim.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char source[] =
    "#include <cuda_fp16.h>\n"
    "extern \"C\" {\n"
    "__global__ void pointwise(const float4 *x, float4 *y, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i >= n) return;\n"
    "    float4 v = x[i]; float *p = &v.x;\n"
    "    for (int k = 0; k < 4; k++) {\n"
    "        float u = p[k], w = 0.7978845608f * (u + 0.044715f * u * u * u);\n"
    "        p[k] = 0.5f * u * (1 + w * (1 - w * w * (0.333f - w * w * (0.133f - w * w * 0.054f))));\n"
    "    }\n"
    "    y[i] = v;\n"
    "}\n"
    "__global__ void halves(const uint4 *x, uint4 *y, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i >= n) return;\n"
    "    uint4 v = x[i]; __half2 *h = (__half2 *)&v;\n"
    "    for (int k = 0; k < 4; k++) {\n"
    "        float2 f = __half22float2(h[k]);\n"
    "        f.x = f.x * 1.5f + 0.25f; f.y = f.y * 1.5f + 0.25f;\n"
    "        h[k] = __floats2half2_rn(f.x > 0 ? f.x : 0, f.y > 0 ? f.y : 0);\n"
    "    }\n"
    "    y[i] = v;\n"
    "}\n"
    "__global__ void partial(const float *x, float *y, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (threadIdx.x % 32 >= 29) return;\n"
    "    float u = x[i * 3 % n];\n"
    "    for (int k = 0; k < 16; k++) u = u * 0.9f + 0.1f;\n"
    "    y[i % n] = u;\n"
    "}\n"
    "__global__ void transcendental(const float *x, float *y, int n) {\n"
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] = expf(x[i]) + tanhf(x[i]) + logf(x[i] + 2);\n"
    "}\n"
    "__global__ void products(float *y, int n) {\n"
    "    float d[4] = {}; unsigned a[4], b[2];\n"
    "    for (int i = 0; i < 4; i++) a[i] = 0x3c003c00u + threadIdx.x;\n"
    "    for (int i = 0; i < 2; i++) b[i] = 0x38003800u + threadIdx.x;\n"
    "    for (int i = 0; i < n; i++)\n"
    "        asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
    "\"\n"
    "            \"{%0,%1,%2,%3};\" : \"+f\"(d[0]), \"+f\"(d[1]), \"+f\"(d[2]), \"+f\"(d[3])\n"
    "            : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));\n"
    "    y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];\n"
    "}\n"
    "}\n";

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double time_launch(struct driver *driver, CUfunction function, unsigned blocks, unsigned threads,
                          void **parameters)
{
    CUlaunchConfig config = {.gridDimX = blocks, .gridDimY = 1, .gridDimZ = 1, .blockDimX = threads};
    config.blockDimY = config.blockDimZ = 1;
    double start = seconds();
    if (driver->LaunchKernelEx(driver, &config, function, parameters, NULL) != CUDA_SUCCESS) {
        fprintf(stderr, "%s\n", driver->problem(driver));
        exit(1);
    }
    return seconds() - start;
}

static CUdeviceptr filled(struct driver *driver, size_t bytes)
{
    CUdeviceptr address = 0;
    if (driver->MemAlloc(driver, &address, bytes) || driver->MemsetD8Async(driver, address, 0x3c, bytes, NULL))
        exit(1);
    return address;
}

/* The least time of all repeats counts. */
static void measure(struct driver *driver, CUmodule module, const char *name, int repeats, bool products)
{
    enum { ELEMENTS = 1 << 18 };
    CUfunction function;
    if (driver->ModuleGetFunction(driver, &function, module, name))
        exit(1);
    CUdeviceptr x = filled(driver, ELEMENTS * 16), y = filled(driver, ELEMENTS * 16);
    int n = products ? 20000 : ELEMENTS;
    void *plain[] = {&x, &y, &n}, *mma[] = {&y, &n};
    double least = 1e9;
    for (int i = 0; i < repeats; i++) {
        sim_reset_counters(driver);
        double took =
            time_launch(driver, function, products ? 1 : ELEMENTS / 256, products ? 32 : 256, products ? mma : plain);
        least = took < least ? took : least;
    }
    const struct sim_counters *counters = sim_function_counters(function);
    uint64_t count = products ? counters->matrix_products : sim_counters_instructions(counters);
    printf("%-16s %8.1f million %s a second (%llu in %.1f ms)\n", name, (double)count / least * 1e-6,
           products ? "mma" : "warp instructions", (unsigned long long)count, least * 1e3);
    driver->MemFree(driver, x);
    driver->MemFree(driver, y);
}

int main(int argc, char **argv)
{
    int repeats = argc > 1 ? atoi(argv[1]) : 5;
    struct error error = {0};
    char *ptx = cuda_run_ptx(&(struct cuda_settings){.arch = 80}, source);
    struct driver *driver = sim_driver_new(&(struct sim_settings){.threads = 1}, &error);
    CUmodule module;
    if (!ptx || !driver || driver->ModuleLoadData(driver, &module, ptx)) {
        fprintf(stderr, "castor_bench_sim: %s\n", ptx && driver ? driver->problem(driver) : "NVRTC is not here");
        return 1;
    }
    static const char *const names[] = {"pointwise", "halves", "partial", "transcendental", "products"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (argc < 3 || strcmp(argv[2], names[i]) == 0)
            measure(driver, module, names[i], repeats, strcmp(names[i], "products") == 0);
    driver->free(driver);
    free(ptx);
    return 0;
}
