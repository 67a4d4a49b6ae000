/* Decoding one kernel: what the decoders of single instructions share. */
#ifndef CASTOR_RUNTIME_SIM_DECODE_H
#define CASTOR_RUNTIME_SIM_DECODE_H

#include "runtime/sim/module.h"

enum { MODIFIERS_MAX = 20, MODIFIER_TEXT = 24 };

struct constant {
    struct {
        uint64_t bits;
        uint64_t width;
    } key;
    uint32_t value; /* where it stands */
};

/* Which row of the lane table an opcode is, by its interned text; -1 for none. */
struct row_of {
    const char *key;
    int value;
};

struct decoder {
    struct sim_module *module;
    struct sim_kernel *kernel;
    const struct ptx_kernel *ptx;
    const struct ptx_instruction *instruction;
    struct error *error;
    char modifiers[MODIFIERS_MAX][MODIFIER_TEXT]; /* of the opcode, the base first */
    int modifier_count;
    uint8_t class;          /* of the instruction; NONE once an op of it counts */
    uint32_t *places;       /* by register: its offset, or its number as a predicate */
    int64_t *shared_places; /* by variable: its offset in shared or local memory, -1 while unknown */
    struct constant *constants;
    struct row_of *rows;
};

/* Each decoder reads the instruction at hand and emits ops; false with the error set. */
typedef bool decoder_function(struct decoder *decoder);
#define FORM(base, class, function) decoder_function function;
#include "runtime/sim/opcodes.def"

bool decode_fail(struct decoder *decoder, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The error for an opcode, or a modifier of one, that the simulated GPU does not know. */
bool decode_unknown(struct decoder *decoder);
bool decode_has(const struct decoder *decoder, const char *modifier);
/* Checks the number of operands. */
bool decode_count(struct decoder *decoder, int least, int most);

void decode_emit(struct decoder *decoder, struct op op);
void decode_emit_lane(struct decoder *decoder, enum lane_index lane, uint32_t d, uint32_t a, uint32_t b);
/* Memory that lives as long as the kernel; zeroed. NULL with the error set. */
void *decode_detail(struct decoder *decoder, size_t bytes);

uint32_t decode_constant(struct decoder *decoder, uint64_t bits, int width); /* width 16, 32, 64 */
uint32_t decode_scratch(struct decoder *decoder, int width);                 /* a register of its own */
uint32_t decode_scratch_predicate(struct decoder *decoder);
const struct ptx_register *decode_register(const struct decoder *decoder, const struct ptx_value *value);

/* Sources and destinations of a width in bits. Wider registers are narrowed where PTX is relaxed about types. */
bool decode_source(struct decoder *decoder, const struct ptx_value *value, int width, bool relaxed, uint32_t *place);
bool decode_source_at(struct decoder *decoder, int operand, int width, uint32_t *place);
bool decode_destination(struct decoder *decoder, const struct ptx_value *value, int width, uint32_t *place);
bool decode_destination_at(struct decoder *decoder, int operand, int width, uint32_t *place);
/* A predicate that is read, and whether its opposite is meant: !%p, or a constant that is false. */
bool decode_predicate(struct decoder *decoder, const struct ptx_value *value, uint32_t *predicate, bool *flip);
bool decode_predicate_written(struct decoder *decoder, const struct ptx_value *value, uint32_t *predicate);
/* The address of a variable, within its space; +offset. */
bool decode_variable(struct decoder *decoder, const struct ptx_value *value, enum ptx_space *space, uint64_t *address);
/* [base + offset]: a register's place or constant zero, whether it has 64 bits, and what is to be added. */
struct decoded_address {
    uint32_t base;
    bool wide;
    uint64_t offset;
    bool parameter; /* of the kernel, at `offset` */
};
bool decode_address(struct decoder *decoder, int operand, struct decoded_address *address);
bool decode_whole(struct decoder *decoder, int operand, int64_t *number); /* an immediate */

/* Types by name; width 0 when there is none. */
struct decoded_type {
    char kind; /* u s b f h(f16) g(bf16) p */
    int width; /* of one; f16x2 has 16 and pair set */
    bool pair;
};
struct decoded_type decode_type(const char *name);

/* Executing functions that decoders refer to. */
op_function run_select, run_space_test, run_predicate_logic, run_move_predicate, run_move_pair, run_clock;
op_function run_access, run_parameter, run_copy, run_commit, run_wait, run_ldmatrix;
op_function run_matrix, run_shuffle, run_vote, run_match, run_redux, run_active_mask, run_trap, run_sync_warp,
    run_fence;

#endif
