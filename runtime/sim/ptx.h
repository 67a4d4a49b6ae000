/* PTX text as a tree: what the grammar (ptx.l, ptx.y) makes of it, with every name resolved and nothing yet decoded.
 *
 * Names are looked up while parsing, since inline assembly opens scopes with registers and labels of its own.
 * Registers, variables and labels are indices from here on. */
#ifndef CASTOR_RUNTIME_SIM_PTX_H
#define CASTOR_RUNTIME_SIM_PTX_H

#include "runtime/error.h"

#include <stddef.h>
#include <stdint.h>

enum ptx_space { PTX_GENERIC, PTX_GLOBAL, PTX_SHARED, PTX_LOCAL, PTX_CONST, PTX_PARAM };

/* The threads that a block may have on any GPU (CUDA C++ Programming Guide, technical specifications). */
enum { PTX_THREADS_MAX = 1024 };

/* Limits that keep damaged texts from asking for absurd amounts of memory. */
enum { PTX_OPERANDS_MAX = 8, PTX_VECTOR_MAX = 8, PTX_REGISTERS_MAX = 1 << 16, PTX_DEPTH_MAX = 64 };
#define PTX_BYTES_MAX ((int64_t)1 << 28)

struct ptx_type {
    char kind; /* 'b' bits, 'u', 's', 'f', 'p' predicate */
    int bits;  /* 8 … 128; 1 for a predicate */
};

/* Kernels' registers; a predicate is one too. */
struct ptx_register {
    const char *name;
    struct ptx_type type;
};

enum ptx_value_kind { PTX_REGISTER, PTX_SPECIAL, PTX_IMMEDIATE, PTX_VARIABLE, PTX_LABEL, PTX_SINK };

struct ptx_value {
    enum ptx_value_kind kind;
    bool negated;     /* !%p */
    uint32_t index;   /* of a register, variable or label */
    int64_t offset;   /* added to a variable's address */
    uint64_t bits;    /* an immediate; floats as their bits */
    bool real;        /* the immediate was written as a float: 0f… or 0d… */
    bool real64;      /* … as 0d… */
    const char *name; /* as written; a special register's name */
};

struct ptx_operand {
    bool address;                            /* [value + offset] */
    bool vector;                             /* {value, …} */
    bool pair;                               /* value | value */
    int count;                               /* of values */
    int64_t offset;                          /* of an address */
    struct ptx_value values[PTX_VECTOR_MAX]; /* one, two of a pair, or a vector's */
};

/* Where a line came from: `.loc`, the outermost place when code was inlined. */
struct ptx_place {
    int file, line;
};

struct ptx_instruction {
    const char *opcode;
    int guard; /* a predicate register, or -1 */
    bool guard_negated;
    int operand_count;
    struct ptx_operand *operands;
    int line; /* of the PTX text */
    struct ptx_place place;
};

/* A variable's initial value of which the linker knows the address only later. */
struct ptx_relocation {
    int64_t at;
    int width;
    uint32_t variable;
    int64_t addend;
};

struct ptx_variable {
    const char *name;
    enum ptx_space space;
    int64_t bytes, align;
    bool external; /* .extern .shared x[]: begins where the static ones end */
    uint8_t *initial;
    struct ptx_relocation *relocations;
    int line;
};

struct ptx_kernel {
    const char *name;
    struct ptx_register *registers;
    struct ptx_variable *parameters;
    struct ptx_instruction *code;
    int64_t *labels;        /* by index: the instruction that follows, or -1 */
    int threads_max;        /* of a block: of .maxntid or .reqntid, at most 1024 */
    int threads_exactly[3]; /* of .reqntid, or 0 */
    int line;
    struct ptx_place place; /* the first of the kernel */
};

struct ptx_file {
    int number;
    const char *name;
};

/* Arrays are stb_ds arrays. Parameters of kernels are no variables; variables of kernels are. */
struct ptx {
    int version; /* 90 for 9.0 */
    int target;  /* 80 for sm_80 */
    struct ptx_kernel *kernels;
    struct ptx_variable *variables;
    struct ptx_file *files;
    struct ptx_names *names;     /* interned text */
    struct ptx_operand **blocks; /* the operands of all instructions */
};

/* Parses a module. Fails with one error that names the line. */
struct ptx *ptx_read(const char *text, struct error *error);
void ptx_free(struct ptx *ptx);

/* The bits of the f32 nearest to an immediate that was written as an f64. */
uint32_t ptx_single(const struct ptx_value *value);

const char *ptx_file_name(const struct ptx *ptx, int number); /* NULL when there is no such file */

#endif
