/* A launch while it runs: launch → blocks → warps.
 *
 * One thread of the CPU (a worker) runs a block at a time, one warp after the other, each until it ends, meets a
 * barrier or has run long enough. All blocks of a cooperative launch exist from the start; workers go round theirs. */
#ifndef CASTOR_RUNTIME_SIM_EXECUTE_H
#define CASTOR_RUNTIME_SIM_EXECUTE_H

#include "runtime/sim/module.h"
#include "runtime/sim/races.h"
#include "runtime/sim/shadow.h"

#include <pthread.h>

enum { WARPS_MAX = 32, BARRIERS_MAX = 16 };

/* ---- what decoders leave for functions ---- */

#define ATOMICS                                                                                                        \
    ATOMIC(ADD, "add")                                                                                                 \
    ATOMIC(MIN, "min")                                                                                                 \
    ATOMIC(MAX, "max")                                                                                                 \
    ATOMIC(AND, "and")                                                                                                 \
    ATOMIC(OR, "or")                                                                                                   \
    ATOMIC(XOR, "xor")                                                                                                 \
    ATOMIC(INC, "inc")                                                                                                 \
    ATOMIC(DEC, "dec")                                                                                                 \
    ATOMIC(EXCH, "exch")                                                                                               \
    ATOMIC(CAS, "cas")
enum atomic_operation {
    ATOMIC_NONE,
#define ATOMIC(name, text) ATOMIC_##name,
    ATOMICS
#undef ATOMIC
};

enum redux_operation {
    REDUX_ADD,
    REDUX_MIN_U32,
    REDUX_MIN_S32,
    REDUX_MAX_U32,
    REDUX_MAX_S32,
    REDUX_AND,
    REDUX_OR,
    REDUX_XOR,
    REDUX_COUNT
};

/* cp.async; the op's a and b are bases, c the number of bytes to read if `sized`. */
struct transfer {
    uint64_t to_offset, from_offset;
    bool to_wide, from_wide, sized;
    int bytes;
};

struct matrix_load {
    int count;
    bool transposed, shared, wide_address;
    uint32_t registers[4];
};

struct shuffle {
    int mode;        /* up, down, bfly, idx */
    uint32_t inside; /* the predicate: whether the source lane was in range */
};

struct barrier_op {
    bool counted;   /* the op's b is the number of threads */
    char operation; /* of bar.red: 'p' popc, '&', '|'; 0 for bar.sync */
    bool flip;
};

struct matrix_product {
    struct matrix_shape shape;
    int a_count, b_count, sums;
    uint32_t d[4], a[4], b[2], c[4];
};

/* ---- shared memory and its shadow ---- */

/* Who wrote and who read last, since when. A tag is the epoch, which every barrier ends, times 128, plus the warp, plus
 * MANY where several warps did so, plus ATOMIC where a writer did so by atomics alone; 0 is nobody. */
enum { TAG_WARP = 31, TAG_ATOMIC = 32, TAG_MANY = 64, TAG_EPOCH = 128, EPOCHS = 1023 };
/* In a writer's place: a copy is under way; the word's bytes have tags of their own. */
#define TAG_PENDING ((uint32_t)1 << 31)
#define TAG_MIXED ((uint32_t)1 << 30)

struct byte_tags {
    uint32_t writer[4], reader[4];
};

/* The shadow has tags for each word of 4 bytes, and for bytes of words that were not used whole. */
struct shared {
    uint8_t *bytes;
    uint32_t *writer, *reader; /* by word */
    struct byte_tags *mixed;   /* by word, where its writer is MIXED */
    size_t size, capacity;
    uint32_t epoch;
};

enum shared_use { SHARED_READ, SHARED_WRITE, SHARED_UPDATE, SHARED_RESERVE };

/* ---- warps ---- */

struct split {
    uint32_t pc, reconverge, mask;
    bool waits; /* at a barrier, until the others of the warp come or end */
};

enum warp_state { WARP_READY, WARP_WAITS, WARP_DONE };

struct pending_copy {
    const struct op *op;
    uint32_t mask; /* lanes whose copies are under way */
    uint64_t to[LANES], from[LANES];
    int bytes[LANES]; /* read; the rest is zero */
    int64_t group;    /* the number of the warp's commits when it was issued */
};

struct barrier {
    uint32_t arrived;         /* warps */
    uint32_t expected;        /* warps; 0: all that have not ended */
    uint32_t count, all, any; /* of bar.red's predicate, in threads */
    uint32_t arrived_mask;    /* by warp */
    uint32_t first_op;
};

struct warp {
    uint8_t *registers;
    uint32_t *predicates;
    struct block *block;
    const struct sim_isa *isa;
    struct sim_counters *counters;
    uint32_t number;
    uint32_t pc, reconverge, mask, live;
    struct split *splits; /* stb_ds: the ways that wait, the innermost last */
    enum warp_state state;
    uint32_t barrier;            /* waited for */
    bool released;               /* the barrier that it stands at has been passed */
    struct barrier passed;       /* … with these results */
    uint64_t executed, sleeps;   /* instructions, up to `straight` */
    const struct op *straight;   /* where the ops that run now one after the other began */
    uint8_t *local;              /* of all lanes, one after the other */
    uint64_t *local_written;     /* its shadow */
    struct pending_copy *copies; /* stb_ds, in the order of issue */
    struct clocks clocks;        /* for races (races.h) */
    uint32_t *commits;           /* stb_ds: the lanes of each cp.async.commit_group, as far as copies need them */
};

struct block {
    struct launch *launch;
    struct worker *worker;
    uint64_t index;
    uint32_t x, y, z;
    uint32_t warp_count, done;
    struct warp warps[WARPS_MAX];
    struct barrier barriers[BARRIERS_MAX];
    struct shared shared;
    uint8_t *memory; /* of registers, predicates and local memory of all warps */
    bool started;
};

/* One allocation was used last by an op; looked at first. */
struct hint {
    uint64_t begin, end;
    uint64_t *written; /* the allocation's shadow */
    bool read_only;
};

struct worker {
    struct launch *launch;
    struct sim_counters counters;
    struct hint *hints; /* by op */
    uint64_t *visits;   /* by op: how much oftener it was executed than the one before it; mod 2^64 */
    struct block **blocks;
    pthread_t thread;
    bool running;
};

struct launch {
    struct sim_kernel *kernel;
    const struct sim_isa *isa;
    const struct sim_memory *memory;
    uint8_t *parameters;
    uint32_t grid[3], threads[3];
    uint64_t block_count;
    uint32_t thread_count;
    size_t shared_bytes, dynamic_bytes;
    uint32_t processors;
    uint64_t patience; /* instructions of a warp */
    bool cooperative;
    struct races *races;  /* NULL: they are not looked for */
    int worker_count;     /* 1 where they are */
    uint64_t next;        /* block to start; atomic */
    uint64_t fences;      /* atomic; what it counts does not matter */
    uint64_t fault_block; /* the first block that failed, UINT64_MAX for none; atomic */
    pthread_mutex_t lock; /* of the text */
    char fault[ERROR_TEXT];
};

/* The register that an operand means. */
static inline const void *warp_source(const struct warp *warp, uint32_t operand)
{
    return warp->registers + operand;
}

static inline void *warp_destination(const struct warp *warp, uint32_t operand)
{
    return warp->registers + operand;
}

/* Writes a predicate's lanes. */
static inline void warp_set_predicate(struct warp *warp, uint32_t predicate, uint32_t active, uint32_t values)
{
    warp->predicates[predicate] = (warp->predicates[predicate] & ~active) | (values & active);
}

static inline void warp_set_register(struct warp *warp, uint32_t d, bool wide, uint32_t active, const void *cells)
{
    if (wide)
        warp->isa->blend64(warp_destination(warp, d), cells, active);
    else
        warp->isa->blend32(warp_destination(warp, d), cells, active);
}

/* Runs a warp until it ends, waits, or has had its turn; false after a fault (warp.c). */
bool warp_run(struct warp *warp);
/* Sets the special registers that differ from block to block, or those that stay. */
void warp_set_specials(struct warp *warp, bool of_block);
void warp_start(struct warp *warp);
/* Takes lanes that stand at an exit out of `live`: nobody waits for them. */
void warp_drop_ended(struct warp *warp);

/* barrier.c: arriving gives false after a fault; barrier_settle lets go on whoever may, and faults if nobody can. */
bool barrier_arrive(struct warp *warp, const struct op *op, uint32_t active);
bool barrier_finish(struct warp *warp, const struct op *op, uint32_t active);
bool barrier_settle(struct block *block);

/* report.c: records the first fault of a launch; false, so that callers can return it. `lane` is -1 when the fault is
 * the warp's. */
bool warp_fault(struct warp *warp, const struct op *op, int lane, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool warp_fault_address(struct warp *warp, const struct op *op, int lane, const char *did, uint64_t address, int bytes);

/* access.c: memory of the block and of the warp's lanes. */
const struct hint *access_find(struct warp *warp, const struct op *op, uint64_t address, uint64_t bytes);
void access_addresses(const struct warp *warp, uint32_t base, bool wide, uint64_t offset, uint64_t *addresses);
/* Checks and marks the bytes that a lane uses in shared memory. */
bool shared_use(struct warp *warp, const struct op *op, int lane, uint64_t address, int bytes, enum shared_use use);
/* The whole warp's run of `bytes` a lane: false, with no report, where each lane must be checked for what is wrong. */
bool shared_run(struct warp *warp, uint64_t address, int bytes, enum shared_use use);
/* Does the same for active lanes, in order, and gives those from the first on that must be checked one by one. */
uint32_t shared_lanes(struct warp *warp, const uint64_t *addresses, uint32_t active, int bytes, enum shared_use use);
/* The copies of a lane have arrived. */
void shared_arrive(struct warp *warp, uint64_t address, int bytes);
void shared_epoch(struct shared *shared);
void shared_reset(struct shared *shared, size_t bytes);
void count_conflicts(struct warp *warp, const uint64_t *addresses, uint32_t active, int bytes);
void count_sectors(const uint64_t *addresses, uint32_t active, uint64_t *sectors);

bool atomic_lane(struct warp *warp, const struct op *op, int lane, void *place, bool shared);

/* grid.c: runs a launch to its end on up to `worker_count` threads and adds up the counters; false after a fault. */
bool launch_run(struct launch *launch, struct error *error);

#endif
