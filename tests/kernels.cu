// Kernels for tests/unit/sim_kernels.c: of the kinds that Castor generates, written by hand.
#include <cuda_fp16.h>
extern "C" {
__device__ unsigned done;
__device__ float warp_sum(float v) {
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
}
// Sums in a fixed order; the last block adds up the blocks' parts.
__global__ void sum(const float *x, float *parts, float *y, int n) {
    __shared__ float s[8]; __shared__ bool last;
    float v = 0;
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) v += x[i];
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 8; i++) v += s[i];
        parts[blockIdx.x] = v;
        __threadfence();
        last = atomicInc(&done, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        __threadfence();
        v = 0;
        for (int i = 0; i < gridDim.x; i++) v += ((volatile float *)parts)[i];
        *y = v;
    }
}
__global__ void scan(const int *x, int *y) {
    __shared__ int s[256];
    int i = threadIdx.x;
    s[i] = x[i];
    for (int o = 1; o < 256; o *= 2) {
        __syncthreads();
        int v = i >= o ? s[i - o] : 0;
        __syncthreads();
        s[i] += v;
    }
    y[i] = s[i];
}
__global__ void transpose(const float *x, float *y, int pad, int rows, int columns) {
    extern __shared__ float tile[];
    int stride = 32 + pad, r = blockIdx.y * 32, c = blockIdx.x * 32;
    for (int i = threadIdx.y; i < 32; i += 8)
        if (r + i < rows && c + threadIdx.x < columns)
            tile[i * stride + threadIdx.x] = x[(r + i) * columns + c + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += 8)
        if (c + i < columns && r + threadIdx.x < rows)
            y[(c + i) * rows + r + threadIdx.x] = tile[threadIdx.x * stride + i];
}
__global__ void histogram(const unsigned char *x, unsigned *bins, int n) {
    __shared__ unsigned s[256];
    s[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) atomicAdd(&s[x[i]], 1u);
    __syncthreads();
    if (s[threadIdx.x]) atomicAdd(&bins[threadIdx.x], s[threadIdx.x]);
}
// C (f32) = A B^T for f16, 64 x 64 tiles, two stages of cp.async, ldmatrix, mma.
__device__ void stage(const __half *g, __half *s, int row, int k, int rows, int width) {
    for (int c = threadIdx.x; c < 256; c += 128) {
        int r = c / 4, q = c % 4;
        unsigned to = (unsigned)__cvta_generic_to_shared(s + r * 40 + q * 8);
        bool inside = row + r < rows;
        const __half *from = g + (inside ? row + r : 0) * width + k + q * 8;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(inside ? 16 : 0));
    }
}
__global__ void __launch_bounds__(128) gemm(const __half *a, const __half *b, float *c, int m, int n, int k) {
    __shared__ __align__(16) __half as[2][64 * 40], bs[2][64 * 40];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, row = blockIdx.y * 64, column = blockIdx.x * 64;
    float d[8][4] = {};
    stage(a, as[0], row, 0, m, k); stage(b, bs[0], column, 0, n, k);
    asm volatile("cp.async.commit_group;");
    for (int t = 0; t < k / 32; t++) {
        if (t + 1 < k / 32) { stage(a, as[(t + 1) & 1], row, (t + 1) * 32, m, k); stage(b, bs[(t + 1) & 1], column, (t + 1) * 32, n, k); }
        asm volatile("cp.async.commit_group;");
        asm volatile("cp.async.wait_group 1;");
        __syncthreads();
        for (int kk = 0; kk < 32; kk += 16) {
            unsigned ra[4], at = (unsigned)__cvta_generic_to_shared(&as[t & 1][(warp * 16 + lane % 16) * 40 + kk + lane / 16 * 8]);
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(at));
            for (int j = 0; j < 8; j++) {
                unsigned rb[2], bt = (unsigned)__cvta_generic_to_shared(&bs[t & 1][(j * 8 + lane % 8) * 40 + kk + lane / 8 % 2 * 8]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(bt));
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                    : "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3]) : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
            }
        }
        __syncthreads();
    }
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 4; i++) {
            int r = row + warp * 16 + lane / 4 + (i / 2) * 8, q = column + j * 8 + lane % 4 * 2 + i % 2;
            if (r < m && q < n) c[r * n + q] = d[j][i];
        }
}
// All blocks meet between two phases.
__device__ unsigned arrived;
__global__ void meet(float *x, float *y, int rounds) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    for (int r = 0; r < rounds; r++) {
        y[i] = x[(i + 1) % n] + 1;
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            unsigned target = (atomicAdd(&arrived, 1u) / gridDim.x + 1) * gridDim.x;
            while (atomicAdd(&arrived, 0u) < target) __nanosleep(64);
            __threadfence();
        }
        __syncthreads();
        float *z = x; x = y; y = z;
    }
}
__global__ void collatz(const int *x, int *y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, v = x[i], steps = 0;
    while (v != 1) {
        if (v & 1) v = 3 * v + 1; else { v /= 2; if (v == 1) break; }
        steps++;
        if (steps > 200) { y[i] = -1; return; }
    }
    y[i] = steps;
}
}
