/* Atomics, one lane at a time, in ascending order; those on global memory are atomic for the CPU's threads too. */
#include "runtime/sim/execute.h"
#include "runtime/sim/numbers.h"

static u32 add_halves(const struct access *access, u32 a, u32 b)
{
    u32 sum = 0;
    for (int half = 0; half < (access->pair ? 2 : 1); half++) {
        u16 x = (u16)(a >> (16 * half)), y = (u16)(b >> (16 * half));
        f32 exact = access->type == 'h' ? round_to_odd((f64)float_of_half(x) + (f64)float_of_half(y))
                                        : round_to_odd((f64)float_of_bfloat(x) + (f64)float_of_bfloat(y));
        sum |= (u32)(access->type == 'h' ? half_of(exact) : bfloat_of(exact)) << (16 * half);
    }
    return sum;
}

/* PTX, atom: sums of f32 in global memory, and in no other, flush subnormals. */
static u32 add_f32(u32 a, u32 b, bool shared)
{
    if (shared)
        return bits_of(quiet(float_of(a) + float_of(b)));
    return bits_of(flush(quiet(flush(float_of(a)) + flush(float_of(b)))));
}

static u64 add(const struct access *access, u64 a, u64 b, bool shared)
{
    if (access->type == 'h' || access->type == 'g')
        return add_halves(access, (u32)a, (u32)b);
    if (access->type == 'f' && access->bytes == 4)
        return add_f32((u32)a, (u32)b, shared);
    if (access->type == 'f')
        return bits_of64(double_of(a) + double_of(b));
    return a + b;
}

static bool less(const struct access *access, u64 a, u64 b)
{
    if (access->type != 's')
        return a < b;
    return access->bytes == 8 ? (s64)a < (s64)b : (s32)(u32)a < (s32)(u32)b;
}

static u64 apply(const struct access *access, u64 old, u64 b, u64 c, bool shared)
{
    switch (access->operation) {
    case ATOMIC_ADD:
        return add(access, old, b, shared);
    case ATOMIC_MIN:
        return less(access, b, old) ? b : old;
    case ATOMIC_MAX:
        return less(access, old, b) ? b : old;
    case ATOMIC_AND:
        return old & b;
    case ATOMIC_OR:
        return old | b;
    case ATOMIC_XOR:
        return old ^ b;
    case ATOMIC_INC:
        return (u32)old >= (u32)b ? 0 : old + 1;
    case ATOMIC_DEC:
        return (u32)old == 0 || (u32)old > (u32)b ? b : old - 1;
    case ATOMIC_EXCH:
        return b;
    default: /* ATOMIC_CAS: b is compared with, c the new value */
        return old == b ? c : old;
    }
}

/* NOLINTBEGIN(bugprone-macro-parentheses): the macro names a type. */
#define UPDATE(type)                                                                                                   \
    do {                                                                                                               \
        type *cell = place, old = __atomic_load_n(cell, __ATOMIC_SEQ_CST);                                             \
        while (!__atomic_compare_exchange_n(cell, &old, (type)apply(access, old, b, c, shared), false,                 \
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {                                     \
        }                                                                                                              \
        return old;                                                                                                    \
    } while (0)
/* NOLINTEND(bugprone-macro-parentheses) */

static u64 update(const struct access *access, void *place, u64 b, u64 c, bool shared)
{
    switch (access->bytes) {
    case 2:
        UPDATE(u16);
    case 4:
        UPDATE(u32);
    default:
        UPDATE(u64);
    }
}

static u64 cell(const struct warp *warp, const struct access *access, uint32_t operand, int lane)
{
    const void *cells = warp_source(warp, operand);
    return access->bytes == 8 ? ((const u64 *)cells)[lane] : ((const u32 *)cells)[lane];
}

bool atomic_lane(struct warp *warp, const struct op *op, int lane, void *place, bool shared)
{
    const struct access *access = op->detail;
    u64 b = cell(warp, access, op->b, lane),
        c = access->operation == ATOMIC_CAS ? cell(warp, access, access->second, lane) : 0;
    u64 old = update(access, place, b, c, shared);
    void *cells = warp_destination(warp, op->d);
    if (access->bytes == 8)
        ((u64 *)cells)[lane] = old;
    else
        ((u32 *)cells)[lane] = (u32)old;
    return true;
}
