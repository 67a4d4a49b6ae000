/* The program: everything that running a compiled network needs, and the whole contract between compiler and runtime.
 *
 * A program holds kernel source, a table of kernels, the variables with their places in the state arena, and entries
 * (init, refresh, train, micro, update, eval, eval_tail, metrics). An entry is a flat list of steps over buffers.
 * Nothing in it refers to the compiler: this header includes nothing of the project.
 *
 * Memory: one state arena holds all variables; every entry has a scratch arena of its own size; inputs are buffers
 * that the caller gives, one a field. All places are multiples of `alignment`. */
#ifndef CASTOR_RUNTIME_PROGRAM_H
#define CASTOR_RUNTIME_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PROGRAM_RANK = 8,
    PROGRAM_SPATIAL = 3,
    PROGRAM_VERSION = 4,
    PROGRAM_THREADS = 1024 /* of a block, at most */
};

/* Numbered as enum element of the compiler (asserted in codegen/assemble.c). */
enum program_element {
    PROGRAM_NONE,
    PROGRAM_F16,
    PROGRAM_BF16,
    PROGRAM_F32,
    PROGRAM_F64,
    PROGRAM_I32,
    PROGRAM_I64,
    PROGRAM_U8,
    PROGRAM_BOOL
};

enum program_space { PROGRAM_STATE, PROGRAM_SCRATCH, PROGRAM_INPUT };

/* A place: an offset into the state or scratch arena, or into input number `input`. */
struct program_place {
    enum program_space space;
    uint32_t input;
    uint64_t offset;
};

struct program_tensor {
    enum program_element element; /* what its values are */
    enum program_element storage; /* how they lie in memory */
    int rank;
    int64_t dimension[PROGRAM_RANK];
    unsigned char order[PROGRAM_RANK]; /* order[i]: logical axis at physical position i */
};

enum program_variable_kind { PROGRAM_PARAMETER, PROGRAM_FORWARD_STATE, PROGRAM_OPTIMIZER, PROGRAM_COPY, PROGRAM_HOST };

struct program_variable {
    const char *name;
    enum program_variable_kind kind;
    struct program_tensor tensor;
    uint64_t offset; /* in the state arena */
};

struct program_input {
    const char *name;
    struct program_tensor tensor;
    int64_t classes; /* of a class(n) input: values must be below; else 0 */
};

enum program_output_kind {
    PROGRAM_VALUE,
    PROGRAM_LOSS,
    PROGRAM_METRIC,
    PROGRAM_NUMERATOR,
    PROGRAM_DENOMINATOR,
    PROGRAM_WATCH,
    PROGRAM_LOG,
    PROGRAM_TOTAL /* summed over the data set, it is the input of the entry `metrics` of this name */
};

struct program_output {
    const char *name;
    enum program_output_kind kind;
    struct program_tensor tensor;
    struct program_place place; /* where it lies after the entry ran */
    bool minimized;             /* a loss that a minimize line uses */
};

/* What a contraction appends to its result before it is stored, in this order; then what a convolution stores besides:
 * f32 vectors along the result's channels, over all its other axes: the sum of the result as it is stored, and the sum
 * of squared deviations from its mean. */
enum program_epilogue {
    PROGRAM_EPILOGUE_BIAS = 1,
    PROGRAM_EPILOGUE_RELU = 2,
    PROGRAM_EPILOGUE_ADD = 4,
    PROGRAM_EPILOGUE_SUM = 8,
    PROGRAM_EPILOGUE_M2 = 16,
    PROGRAM_EPILOGUE_GELU = 32 /* of a matmul, behind its bias: gelu in its tanh form, and what that is of */
};

/* d[batch, m, n] = a[batch, m, k] @ b[batch, k, n]. Strides in elements; a batch stride of 0 repeats. */
struct program_matmul {
    int64_t batch, m, n, k;
    int64_t a_stride[3], b_stride[3], d_stride[3]; /* batch, row, column */
    enum program_element a, b, d, bias;            /* storage */
    unsigned epilogue;
};

enum program_conv_kind { PROGRAM_CONV, PROGRAM_CONV_DATA, PROGRAM_CONV_WEIGHT };

/* x[n, c, …], weight[o, c / groups, …], y[n, o, …]; the kind says which of them is the result. */
struct program_conv {
    enum program_conv_kind kind;
    int spatial;
    int64_t n, c, o, groups;
    int64_t x[PROGRAM_SPATIAL], kernel[PROGRAM_SPATIAL], y[PROGRAM_SPATIAL];
    int64_t stride[PROGRAM_SPATIAL], dilation[PROGRAM_SPATIAL];
    int64_t pad_low[PROGRAM_SPATIAL], pad_high[PROGRAM_SPATIAL];
    bool channels_last;                                              /* of x and y; the weight is row-major */
    enum program_element x_element, weight_element, y_element, bias; /* storage */
    unsigned epilogue;
};

enum program_step_kind { PROGRAM_KERNEL, PROGRAM_MATMUL_STEP, PROGRAM_CONV_STEP, PROGRAM_COPY_STEP };

/* One launch. Buffers: a kernel's in the order of its parameters; matmul a, b, d and then bias, addend, sum, m2 and
 * what gelu is of (rows by n, side by side) as the epilogue says; conv operand 0, operand 1, result, then likewise;
 * copy source, destination. */
struct program_step {
    enum program_step_kind kind;
    const char *name; /* readable: the node or group */
    const char *file; /* source of its main node; NULL when unknown */
    int line, column;
    int buffer_count;
    struct program_place *buffers;
    uint64_t bytes, flops; /* moved and computed, for ledger and profile */
    uint64_t workspace;    /* bytes, not among those moved: what its blocks leave for each other */
    int integer_count;     /* kernel: the values that keep equal kernels apart (random keys …) */
    int64_t *integers;
    uint32_t kernel; /* index into kernels; kernel steps only */
    int64_t blocks;  /* kernel: that have work, where it depends on the shape; 0: as many as the kernel says */
    union {
        struct program_matmul matmul;
        struct program_conv conv;
        uint64_t copy_bytes;
    };
};

/* Steps first … first + count - 1, kernels and convolutions, can run together by strips: on `size` of the batch's
 * `items` examples at a time. A convolution then takes its slice of the batch (the gradient of a weight is the sum of
 * those of the slices, in f32); a kernel is told which (below). Strips may run in any order and side by side. To run
 * the steps one after the other, each on everything, is as good. */
struct program_strip {
    int first, count;
    int64_t items, size; /* size divides items */
};

struct program_entry {
    const char *name;
    int64_t batch; /* examples in one execution, 0 where there is none */
    uint64_t scratch_bytes;
    int input_count, output_count, step_count;
    struct program_input *inputs;
    struct program_output *outputs;
    struct program_step *steps;
    int strip_count; /* of strips, none of which share a step */
    struct program_strip *strips;
};

/* Host kernels are C functions `void NAME(char *const *buffers, const long long *integers, const long *strip)`; their
 * launch geometry is zero. `strip` is NULL for all of the work at once; else it points to the first example of the
 * strip and the one behind its last, which are equal in the call that follows all strips. CUDA kernels are `extern "C"
 * __global__ void NAME(...)` with one parameter by value, a struct that holds the pointers of all buffers and then all
 * integers, 8 bytes each. */
struct program_kernel {
    const char *name;      /* the symbol */
    const char *source;    /* its definition; compiled behind the program's common source */
    int threads;           /* of a block */
    int64_t blocks;        /* that have work; the kernel takes them in strides of the grid, so every grid size works */
    uint32_t shared_bytes; /* dynamic shared memory of a block */
    bool cooperative;      /* it waits for its whole grid: all blocks of the grid must be resident together */
};

/* Where an overflow can begin. Kernels tell its number to the variable train/overflow, which keeps the smallest. */
struct program_origin {
    int64_t number;
    const char *text; /* "layers.3.mlp (m.net:31:14), backward of matmul" */
    bool forward;     /* in the forward pass: no scale helps */
};

struct program {
    const char *name;   /* of the network */
    const char *target; /* "host", … */
    const char *source; /* what all kernels share (types, helpers): stands once before them in each compilation unit */
    uint64_t alignment, state_bytes;
    int kernel_count, variable_count, entry_count, origin_count;
    struct program_kernel *kernels;
    struct program_variable *variables;
    struct program_entry *entries;
    struct program_origin *origins; /* by number, ascending */
    int accumulate;                 /* executions of `micro` before one of `update`; 1: entry `train` does all */
    bool scaled;                    /* a loss scale is in force */
};

/* All memory of a program hangs on one block list: program_allocate gives zeroed memory that program_free releases.
 * Allocation failure gives NULL. */
struct program *program_new(void);
void *program_allocate(struct program *program, size_t bytes);
const char *program_string(struct program *program, const char *text);
void program_free(struct program *program);

const struct program_entry *program_find_entry(const struct program *program, const char *name);
/* The strips of which the step is one; NULL when it runs alone. */
const struct program_strip *program_find_strip(const struct program_entry *entry, int step);
/* What is read from the data: the inputs of training and evaluation by name, each once, malloced; the sums that entry
 * `metrics` takes are none. NULL when out of memory. */
struct program_input *program_data_inputs(const struct program *program, int *count);
const struct program_variable *program_find_variable(const struct program *program, const char *name);
size_t program_element_bytes(enum program_element element);
const char *program_element_name(enum program_element element);
int64_t program_tensor_elements(const struct program_tensor *tensor);
size_t program_tensor_bytes(const struct program_tensor *tensor); /* as stored */
/* Whether every index and place of the program is within bounds; if not, what is wrong, in `problem`. */
bool program_check(const struct program *program, char *problem, size_t problem_size);

/* Text of a program for people (`castor dump --emit program`), and its exact bytes for files. The reader checks
 * everything before it allocates and gives NULL with a message in `problem` when the bytes are damaged. */
struct program *program_read(const void *bytes, size_t size, char *problem, size_t problem_size);
/* Mallocs *bytes, the caller frees it; false when out of memory. */
bool program_write(const struct program *program, void **bytes, size_t *size);
char *program_text(const struct program *program); /* malloced */

#endif
