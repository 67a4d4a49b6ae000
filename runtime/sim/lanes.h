/* What runs on all 32 lanes of a warp at once, compiled once for each instruction set of the CPU (lanes.c).
 *
 * A register is 32 cells of 4 or 8 bytes; values of 8 and 16 bits stand in cells of 4, zero-extended (s8 sign-extended
 * to 16 bits). Functions compute all lanes, active or not; the interpreter blends. Destination and sources may be the
 * same register. */
#ifndef CASTOR_RUNTIME_SIM_LANES_H
#define CASTOR_RUNTIME_SIM_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANES = 32 };

/* Where the operands of an instruction stand: offsets in bytes into the warp's registers. */
struct places {
    uint32_t d, a, b, c, e;
};

/* Writes the result to the register at `d`: places->d, or one from which it is blended in. */
typedef void lane_function(uint8_t *registers, const struct places *places, uint32_t d);
typedef uint32_t compare_function(const uint8_t *registers, const struct places *places);

/* How the cells of a register stand to each other: all the same, or each the one before plus a step. */
enum pattern { PATTERN_ANY, PATTERN_SAME, PATTERN_RUN };

enum lane_index {
#define LANE(name, ...) LANE_##name,
#define ROUNDED(name, ...) LANE_##name,
#define HALF1(name, ...) LANE_##name##_f16, LANE_##name##_f16x2, LANE_##name##_bf16, LANE_##name##_bf16x2,
#define HALF2 HALF1
#define HALF3 HALF1
#include "runtime/sim/opcodes.def"
    LANE_COUNT
};

enum compare_index {
#define COMPARE(name, ...) COMPARE_##name,
#include "runtime/sim/opcodes.def"
    COMPARE_COUNT
};

/* The shapes of mma that are known, by their inputs and accumulators. */
struct matrix_shape {
    int k;       /* 4, 8 or 16; m is 16, n 8 */
    char input;  /* 'h' f16, 'b' bf16, 't' tf32 */
    char result; /* 'f' f32, 'h' f16 */
};

struct sim_isa {
    const char *name;
    lane_function *const *lanes;
    compare_function *const *compares;
    /* Lanes of the mask get the new cells, the others keep theirs. */
    void (*blend32)(void *d, const void *s, uint32_t mask);
    void (*blend64)(void *d, const void *s, uint32_t mask);
    /* All lanes get the value. */
    void (*fill32)(void *d, uint32_t value);
    void (*fill64)(void *d, uint64_t value);
    /* d = mask ? a : b */
    void (*select32)(void *d, const void *a, const void *b, uint32_t mask);
    void (*select64)(void *d, const void *a, const void *b, uint32_t mask);
    enum pattern (*pattern64)(const void *cells, uint64_t step);
    enum pattern (*pattern32)(const void *cells, uint32_t step);
    /* Between a run of vectors of `count` (1, 2, 4, 8) elements of 4 bytes and that many registers. */
    void (*load_vectors)(uint32_t *const *cells, const uint8_t *from, int count);
    void (*store_vectors)(const uint32_t *const *cells, uint8_t *to, int count);
    /* For each lane the bit (address >> shift) & mask, of at most 32. */
    void (*bank_bits)(const uint64_t *addresses, int shift, uint32_t mask, uint32_t *bits);
    /* The lowest and the highest address of the active lanes (there must be one), and all their bits together. */
    void (*range)(const uint64_t *addresses, uint32_t active, uint64_t *low, uint64_t *high, uint64_t *bits);
    /* addresses = base + offset; the base has cells of 8 or of 4 bytes. */
    void (*offset64)(uint64_t *addresses, const void *base, uint64_t offset);
    void (*offset32)(uint64_t *addresses, const void *base, uint64_t offset);
    /* Eight rows of eight halves become columns. */
    void (*turn_halves)(void *to, const void *from);
    /* D = A × B + C on a warp's fragments: registers of 32 cells each. Sums run over k in ascending order, each product
     * added to the f32 accumulator with one rounding; products of f16, bf16 and tf32 are exact in f32 but for bf16's
     * and tf32's extremes. */
    void (*matrix)(const struct matrix_shape *shape, void *const *d, const void *const *a, const void *const *b,
                   const void *const *c);
};

extern const struct sim_isa sim_isa_baseline, sim_isa_avx2, sim_isa_avx512;

/* Those that this CPU has, the best first; NULL beyond the last. */
const struct sim_isa *sim_isa_at(int index);

#endif
