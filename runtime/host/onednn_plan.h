/* What the files of the oneDNN part share: how a plan is made up, and what adds to it.
 *
 * A plan is a short list of stages, each one primitive of the library: reorders of operands into the workspace, the
 * contraction, a reorder of its result. A slot is one memory that stages read or write; it lies in a buffer of the
 * step or in the workspace. */
#ifndef CASTOR_RUNTIME_HOST_ONEDNN_PLAN_H
#define CASTOR_RUNTIME_HOST_ONEDNN_PLAN_H

#include "runtime/host/onednn.h"

#include <oneapi/dnnl/dnnl.h>

enum { SLOTS_MAX = 12, STAGES_MAX = 6, ARGUMENTS_MAX = 6, WORKSPACE_ALIGNMENT = 64 };

struct vector_isa;

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const struct vector_isa *vectors; /* for the products that are our own */
    char *workspace;
    size_t workspace_bytes;
    bool own_scratch; /* what a primitive needs besides lies in the workspace too, not in a thread's memory */
};

struct slot {
    dnnl_memory_t memory;
    int buffer;    /* of the step; -1: in the workspace */
    size_t offset; /* in the workspace */
    char *address; /* that the memory has now */
};

struct stage {
    dnnl_primitive_t primitive;
    int argument_count;
    int kind[ARGUMENTS_MAX], slot[ARGUMENTS_MAX];
    bool weight; /* brings the weight into the library's format: need not be done again for each slice */
    bool last;   /* brings the result from the library's format to where it belongs */
};

struct onednn_plan {
    struct onednn *onednn;
    int slot_count, stage_count, reorders;
    struct slot slots[SLOTS_MAX];
    struct stage stages[STAGES_MAX];
    size_t workspace_bytes;
    size_t behind_bytes; /* of the result when relu or the addend is left to be done behind the library; else 0 */
    bool behind_half, behind_relu;
    int behind_addend; /* buffer added after relu; 0: none */
    char implementation[48];
    int result;         /* slot of a convolution's result in the library's format */
    bool empty;         /* an operand has no elements: the result is zero, if there is any */
    size_t empty_bytes; /* of that result */
    /* A product over nothing: the result is the epilogue of zero. */
    struct program_matmul *plain;
    struct program_matmul *gemm; /* a product that runs in slices; NULL: the stages do it */
};

/* dnnl_data_type_undef for what the library does not multiply on the CPU. */
dnnl_data_type_t onednn_type(enum program_element element);

/* What the library calls the code of a primitive. */
const char *onednn_name(dnnl_primitive_desc_t descriptor);

/* Appends a memory that lies in a buffer of the step, or in the workspace when `buffer` is -1. Its number, or -1. */
int onednn_add_slot(struct onednn_plan *plan, const dnnl_memory_desc_t *descriptor, int buffer);

/* Appends a stage for the contraction itself, after which the plan is called, and gives up the descriptor. NULL when
 * the library refuses. */
struct stage *onednn_add_contraction(struct onednn_plan *plan, dnnl_primitive_desc_t descriptor);
void onednn_add_argument(struct stage *stage, int kind, int slot);

/* A stage that copies one slot to another of another format. */
bool onednn_add_reorder(struct onednn_plan *plan, int from, int to);

/* Whether the library may add the addend. Its relu, and its maximum too, turn NaN into zero, so relu is done here, and
 * an addend behind it too. */
bool onednn_adds(unsigned epilogue);
/* What the primitive must know of an addend, if the library adds it; the caller destroys the attributes, also after
 * false. */
bool onednn_epilogue_attributes(dnnl_primitive_attr_t *attributes, const dnnl_memory_desc_t *addend);
/* Hands the epilogue's operands to the contraction's stage and plans what is done behind it. */
void onednn_add_epilogue(struct onednn_plan *plan, struct stage *stage, unsigned epilogue, bool adds,
                         const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *result);
/* The part of the epilogue that is done behind the library, in one pass over the result while it is in the cache. */
void onednn_run_behind(const struct onednn_plan *plan, char *const *buffers);

bool onednn_prepare_matmul(struct onednn_plan *plan, const struct program_matmul *matmul);
bool onednn_prepare_conv(struct onednn_plan *plan, const struct program_conv *conv);
/* The result of a product over nothing, which the library would leave as it was. */
void onednn_run_plain(const struct program_matmul *matmul, char *const *buffers);

/* onednn_run of only some of the plan's stages. */
enum onednn_stages {
    STAGES_ALL,
    STAGES_NEXT,       /* without the weight's, which have run before */
    STAGES_SLICE,      /* without the last */
    STAGES_NEXT_SLICE, /* without both */
    STAGES_LAST        /* the last alone */
};
bool onednn_run_stages(struct onednn_plan *plan, char *const *buffers, enum onednn_stages stages, struct error *error);

/* Products that sgemm can do, and doing one on at most so many threads. */
bool onednn_gemm_fits(const struct program_matmul *matmul);
bool onednn_run_gemm(const struct vector_isa *isa, const struct program_matmul *matmul, int threads,
                     char *const *buffers);

/* Elements of f32 or bf16 as they lie in memory. */
float onednn_load(enum program_element element, const void *from, int64_t index);
void onednn_store(enum program_element element, void *to, int64_t index, float value);

#endif
