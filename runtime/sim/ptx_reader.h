/* What the grammar's actions call: a half-built module and the scopes of names that are open. */
#ifndef CASTOR_RUNTIME_SIM_PTX_READER_H
#define CASTOR_RUNTIME_SIM_PTX_READER_H

#include "runtime/sim/ptx.h"

/* The set of texts; the key alone matters. */
struct ptx_names {
    char *key;
    bool value;
};

/* A name of a scope. `count` is -1, or how many registers a declaration such as %r<133> made. */
struct ptx_symbol {
    char *key;
    enum ptx_value_kind kind;
    uint32_t index;
    int64_t count;
};

/* A label used before it stood anywhere. */
struct ptx_forward {
    const char *key; /* an interned name */
    uint32_t label;
    int line;
};

struct ptx_reader {
    struct ptx *ptx;
    struct error *error;
    int line; /* of the last token */
    struct ptx_place place;
    struct ptx_symbol **scopes;    /* hash maps, innermost last; the first holds the module's variables */
    struct ptx_forward **forwards; /* hash maps by scope: labels that it or one around it may yet define */
    struct ptx_kernel kernel;      /* under construction */
    bool in_kernel, external, in_function;
    struct ptx_instruction instruction; /* under construction, with its operands */
    struct ptx_operand operands[PTX_OPERANDS_MAX];
    enum ptx_space space; /* of the declaration at hand */
    int64_t align;
    struct ptx_type type;
    struct ptx_variable variable;
    int64_t initialised; /* elements so far */
};

/* Sets the error, with the line in front, and returns false. */
bool ptx_fail(struct ptx_reader *reader, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The error for a directive that no rule takes. */
bool ptx_unknown(struct ptx_reader *reader, const char *directive);
const char *ptx_intern(struct ptx_reader *reader, const char *text, size_t length);
struct ptx_type ptx_type(const char *name); /* "u32" */
struct ptx_value ptx_negate(const struct ptx_value *value);

void ptx_version(struct ptx_reader *reader, const struct ptx_value *number);
void ptx_target(struct ptx_reader *reader, const char *name);
void ptx_file_add(struct ptx_reader *reader, int number, const char *name);

bool ptx_kernel_begin(struct ptx_reader *reader, const char *name);
bool ptx_kernel_end(struct ptx_reader *reader);
/* Functions are read and dropped: a call is an error of its own, and NVRTC emits none for kernels that do not print. */
bool ptx_function_begin(struct ptx_reader *reader, const char *name);
bool ptx_function_end(struct ptx_reader *reader);
/* .maxntid, or .reqntid: then a block must have exactly these. */
bool ptx_threads(struct ptx_reader *reader, bool exactly, int64_t x, int64_t y, int64_t z);

void ptx_declare(struct ptx_reader *reader, enum ptx_space space, int64_t align, struct ptx_type type);
bool ptx_parameter(struct ptx_reader *reader, const char *name, int64_t elements);
bool ptx_registers(struct ptx_reader *reader, const char *name, int64_t count);
bool ptx_variable_begin(struct ptx_reader *reader, const char *name, int64_t elements);
bool ptx_dimension(struct ptx_reader *reader, int64_t so_far, int64_t size, int64_t *product);
bool ptx_initial(struct ptx_reader *reader, const struct ptx_value *value);
bool ptx_initial_address(struct ptx_reader *reader, const char *name, int64_t addend);
bool ptx_variable_end(struct ptx_reader *reader);

bool ptx_scope_open(struct ptx_reader *reader);
bool ptx_scope_close(struct ptx_reader *reader);
/* At the end of a kernel: every label that stands somewhere has its place. */
void ptx_resolve_labels(struct ptx_reader *reader);
void ptx_place(struct ptx_reader *reader, int64_t file, int64_t line);
bool ptx_label(struct ptx_reader *reader, const char *name);
bool ptx_guard(struct ptx_reader *reader, const char *name, bool negated);
bool ptx_instruction_begin(struct ptx_reader *reader, const char *opcode);
/* variable + number, where it stands alone; of two numbers the sum. */
bool ptx_sum(struct ptx_reader *reader, const struct ptx_value *value, int64_t addend, struct ptx_value *sum);
bool ptx_operand(struct ptx_reader *reader, const struct ptx_operand *operand);
bool ptx_vector(struct ptx_reader *reader, struct ptx_operand *vector, const struct ptx_value *value);
bool ptx_instruction_end(struct ptx_reader *reader);
/* What a name means where an operand stands: a register, a variable, a special register, or else a label. */
bool ptx_name(struct ptx_reader *reader, const char *name, struct ptx_value *value);

#endif
