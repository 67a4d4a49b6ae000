/* The simulated GPU from end to end: a kernel compiled by NVRTC, run, and its values looked at. */
#include "check.h"

#if CASTOR_CUDA
#include "cuda_run.h"

static const char source[] = "extern \"C\" __global__ void scale(float *x, float by, int n)\n"
                             "{\n"
                             "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
                             "    if (i < n)\n"
                             "        x[i] = x[i] * by + 1.0f;\n"
                             "}\n";

int main(void)
{
    if (!cuda_run_possible())
        return 77;
    struct cuda_run *run = cuda_run_new(&(struct cuda_settings){.arch = 80}, source);
    float x[1000], by = 3;
    int n = 1000;
    for (int i = 0; i < n; i++)
        x[i] = (float)i;
    cuda_run_buffer(run, x, sizeof x);
    cuda_run_value(run, &by, sizeof by);
    cuda_run_value(run, &n, sizeof n);
    CHECK(cuda_run_launch(run, "scale", 8, 128, 0));
    CHECK_TEXT(cuda_run_problem(run), "");
    int wrong = 0;
    for (int i = 0; i < n; i++)
        wrong += x[i] != 3.0F * (float)i + 1;
    CHECK(wrong == 0);
    const struct sim_counters *counters = cuda_run_counters(run, "scale");
    CHECK(counters && counters->launches == 1);
    CHECK(counters && counters->load_bytes == 4000 && counters->load_sectors == 125);
    CHECK(counters && counters->store_bytes == 4000 && counters->store_sectors == 125);
    CHECK(counters && counters->divergent_branches == 1);
    cuda_run_free(run);
    return check_result();
}
#else
int main(void)
{
    return 77;
}
#endif
