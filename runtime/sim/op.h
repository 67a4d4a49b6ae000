/* A decoded instruction, and kernels made of them.
 *
 * An operand is an offset in bytes into the warp's registers, among which constants have theirs. Predicates are masks
 * of 32 lanes, numbered apart. */
#ifndef CASTOR_RUNTIME_SIM_OP_H
#define CASTOR_RUNTIME_SIM_OP_H

#include "runtime/sim/counters.h"
#include "runtime/sim/lanes.h"
#include "runtime/sim/ptx.h"

struct warp;
struct op;

/* Does the work for the active lanes; false when it reported a fault. */
typedef bool op_function(struct warp *warp, const struct op *op, uint32_t active);

enum op_kind {
    OP_LANE,            /* `lane` on registers */
    OP_COMPARE,         /* `compare`, then a predicate */
    OP_RUN,             /* `run` */
    OP_ROUNDED,         /* as OP_LANE, under the op's `control` */
    OP_ROUNDED_COMPARE, /* as OP_COMPARE, likewise */
    OP_CONTROL,         /* from here on: what changes which lanes run, or where */
    OP_BRANCH = OP_CONTROL,
    OP_EXIT,
    OP_BARRIER, /* waits for the block */
    OP_YIELD    /* lets other warps and blocks run */
};

/* Where every kernel's registers begin: one that holds results until they are blended in. */
enum { REGISTER_BLEND = 0, REGISTER_FIRST = LANES * 8 };

/* Predicates that every kernel has: always true, and one that nothing reads. */
enum { PREDICATE_TRUE, PREDICATE_SINK, PREDICATE_FIRST };

struct op {
    uint8_t kind, class;
    bool wide;           /* the destination has cells of 8 bytes */
    uint32_t guard;      /* a predicate */
    uint32_t guard_flip; /* all ones for @!p */
    union {
        struct places places;
        struct {
            uint32_t d, a, b, c, e;
        };
    };
    uint32_t control;     /* bits for the CPU's floating-point control register: rounding and flushing; 0 mostly */
    uint32_t instruction; /* of the kernel's PTX, for messages */
    uint32_t target;      /* of a branch: an op */
    uint32_t reconverge;  /* of a branch: the op where its ways meet again */
    union {
        lane_function *lane;
        compare_function *compare;
        op_function *run;
    };
    uint64_t immediate;
    const void *detail; /* what the kind or function needs beside; the kernel owns it */
};

/* What a load, store or atomic does; `detail` of its op. */
struct access {
    enum ptx_space space;
    bool load, store, is_signed, ordered; /* ordered: volatile, relaxed, acquire, release */
    bool regular;                         /* global, const or shared memory without order: may go the fast way */
    bool wide_address;
    int bytes, count;  /* of an element; elements of a vector */
    int register_bits; /* 16, 32, 64: of data registers */
    uint32_t registers[PTX_VECTOR_MAX];
    uint8_t operation; /* of an atomic */
    char type;         /* of an atomic: u, s, f, h (f16), b (bf16) */
    bool pair;         /* … on two halves */
    uint32_t second;   /* cas: the new value */
};

/* setp and set. */
struct comparison {
    uint32_t p, q; /* predicates written */
    uint32_t with; /* predicate combined with, TRUE for none */
    bool with_flip;
    char combine; /* '&' '|' '^' */
};

/* A special register: its cells are set before a warp starts. */
struct special {
    int which;
    uint32_t register_offset;
};

struct sim_kernel {
    const char *name;
    struct sim_module *module;
    const struct ptx_kernel *ptx;
    struct op *ops;
    int instruction_count;
    uint32_t register_bytes, predicate_count;
    uint8_t *image; /* what a warp's registers hold at the start: constants, and zeros */
    struct special *specials;
    void **details;
    int64_t *parameter_offsets, parameter_bytes;
    int64_t shared_bytes, shared_align, local_bytes, const_bytes;
    size_t local_stride;    /* from one lane's local memory to the next one's */
    int64_t dynamic_offset; /* where dynamic shared memory begins */
    int64_t dynamic_limit;  /* as set by the attribute for dynamic shared memory */
    struct sim_counters counters;
};

#endif
