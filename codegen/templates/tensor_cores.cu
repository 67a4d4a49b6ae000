/* What the templates of convolutions and of attention share: half types as bits, single instructions of tensor cores
 * and of copies into shared memory, and how tiles lie there. */
namespace tensor_cores
{

struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

/* ---- single instructions ---- */

__device__ inline unsigned shared_address(const void *pointer)
{
    return (unsigned)__cvta_generic_to_shared(pointer);
}

/* Computes the value here and keeps it: the compiler would compute it anew wherever it is used, in each turn of a loop,
 * for the sake of registers that are there. */
__device__ inline void hold(int &value)
{
    asm volatile("" : "+r"(value));
}

__device__ inline void hold(unsigned &value)
{
    asm volatile("" : "+r"(value));
}

template <class type> __device__ inline void hold(type *&pointer)
{
    asm volatile("" : "+l"(pointer));
}

/* 16 bytes from global to shared memory, zeros where they are not valid: then nothing is loaded, wherever it is. */
__device__ inline void copy_chunk(unsigned to, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0));
}

__device__ inline void copies_commit()
{
    asm volatile("cp.async.commit_group;");
}

/* Waits until at most `left` of the committed groups are under way. */
template <int left> __device__ inline void copies_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

/* Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8. */
template <bool transpose> __device__ inline void load_matrices(unsigned (&to)[4], unsigned row)
{
    if constexpr (transpose)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(row));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(row));
}

/* d[16, 8] += a[16, 16] b[16, 8] */
__device__ inline void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, f16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, bf16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline float widen(float value)
{
    return value;
}

__device__ inline float widen(f16 value)
{
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
}

__device__ inline float widen(bf16 value)
{
    return __uint_as_float((unsigned)value.bits << 16);
}

__device__ inline void round_to(float &to, float value)
{
    to = value;
}

__device__ inline void round_to(f16 &to, float value)
{
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(value));
}

__device__ inline void round_to(bf16 &to, float value)
{
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(value));
}

/* `count` elements that are moved by one instruction. */
template <class element, int count> struct alignas(sizeof(element) * count) pack {
    element at[count];
};

/* Where chunk `chunk` of a line lies: any 8 lines give the same chunk, and any line 8 of its own, from all banks. */
template <int line_bytes> __device__ inline unsigned swizzle(unsigned line, unsigned chunk)
{
    constexpr unsigned chunks = line_bytes / 16;
    if constexpr (chunks >= 8)
        return line * line_bytes + (chunk ^ (line & 7)) * 16;
    else
        return line * line_bytes + (chunk ^ (line / (8 / chunks) & (chunks - 1))) * 16;
}

} // namespace tensor_cores
