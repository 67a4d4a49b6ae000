/* A device: one struct of functions. The executor knows devices only through it.
 *
 * Order of use: create the device (host_device_new, …), load a program's kernels, allocate arenas, prepare each step
 * once, then run the prepared steps. A device whose memory is the host's runs them at once (`run`). One with memory of
 * its own takes whole lists (`submit`), comes back before the work is done, and may record a list and replay it; such
 * lists come in two copies, called slots, so that a run's input can be brought while the run before works on its own.
 * What `download`, `results` and `finish` return is always complete.
 *
 * How to add a device: fill this struct in a folder of its own (runtime/host is the pattern), add a constructor, and
 * give the compiler its facts in a `struct device_facts`. */
#ifndef CASTOR_RUNTIME_DEVICE_H
#define CASTOR_RUNTIME_DEVICE_H

#include "runtime/error.h"
#include "runtime/program.h"

/* What the compiler asks of a device before code exists; the driver in frontend turns it into ir/target.h. */
struct device_facts {
    const char *device;    /* "host", "cuda", "sim" */
    char processor[128];   /* for people, and part of cache keys */
    int threads;           /* what kernels will use */
    int cores;             /* what this process may use */
    bool f16, bf16;        /* has arithmetic of this type: values may lie in it; else they lie as f32 */
    uint64_t cache_bytes;  /* last level cache, 0 when unknown */
    uint64_t memory_bytes; /* of the machine, 0 when unknown */
    char isa[16];          /* what kernels are built for: "native", "avx512", … */
    char instructions[64]; /* the widest instruction set found: "avx512", "avx2", "sse2", … */
};

/* A step whose addresses are known. `prepared` is the device's own; the executor fills the rest. */
struct device_call {
    const struct program_step *step;
    char **buffers; /* addresses of step->buffers; those in inputs change between runs */
    void *prepared;
    /* The strips to which the step belongs; NULL: none. Calls of one strip follow each other. */
    const struct program_strip *strip;
    double *seconds; /* where a call in a strip adds the time that it took; NULL: nobody asks */
};

enum { DEVICE_SLOTS = 2 };

/* Bytes to bring from the host before a run. */
struct device_copy {
    char *to;
    const void *from;
    size_t bytes;
};

/* A few bytes to bring back after a run. */
struct device_result {
    const char *from;
    size_t bytes;
};

enum { DEVICE_RESULT_BYTES = 8 }; /* room of one result */

/* Something that a device knows of a step beside its time: "registers", 32. */
struct device_count {
    const char *name; /* static */
    double value;
};

enum { DEVICE_COUNTS = 16 }; /* of one step, at most */

/* What one run of an entry does: calls whose addresses are fixed for good. */
struct device_list {
    struct device_call *calls;
    int count;
    struct device_result *results;
    int result_count;
    int slot;       /* which of the slots it belongs to */
    void *prepared; /* the device's own */
};

struct device {
    const char *name;
    struct device_facts facts;
    bool host_memory; /* addresses are the host's: inputs are used where they lie, without upload */
    void *own;

    void (*free)(struct device *device);

    /* Memory aligned to 64 bytes (256 where it is the device's own). What it holds is not defined. NULL when there is
     * none left. Zero bytes give a valid address. */
    void *(*allocate)(struct device *device, size_t bytes);
    void (*release)(struct device *device, void *memory);
    /* These act in the order in which they and runs were asked for; `download` waits for all before it. Where they fail
     * (never on the host) the failure stays: `failed` tells of it, and so does every later run. */
    void (*upload)(struct device *device, void *to, const void *from, size_t bytes);
    void (*download)(struct device *device, void *to, const void *from, size_t bytes);
    void (*fill)(struct device *device, void *to, int value, size_t bytes);
    bool (*failed)(struct device *device, struct error *error);

    /* Compiles the kernels of a program or takes them from the cache. NULL with an error set on failure. */
    void *(*load)(struct device *device, const struct program *program, struct error *error);
    void (*unload)(struct device *device, void *kernels);

    /* Sets call->prepared: the kernel looked up, the library's plan made. */
    bool (*prepare)(struct device *device, void *kernels, struct device_call *call, struct error *error);
    void (*discard)(struct device *device, struct device_call *call);

    /* Runs the calls in order; a device with memory of its own waits until they are done, and says in run_seconds how
     * long they took by its own clock. */
    bool (*run)(struct device *device, struct device_call *calls, int count, struct error *error);
    double run_seconds;

    /* What does a matmul or conv step: "oneDNN", "Winograd", "cuBLASLt". */
    const char *(*contracts_by)(struct device *device, const struct device_call *call);

    /* What the device knows of a step that has run: how many counts it wrote. NULL where it knows nothing. */
    int (*counts)(struct device *device, const struct device_call *call, struct device_count counts[DEVICE_COUNTS]);

    /* The three that a device with memory of its own has, and the host has not. `submit` brings the copies and starts
     * the list; the copies' sources may change when it returns. `results` waits for the run last submitted for the
     * list's slot, which must be this list's, and gives result i at i * DEVICE_RESULT_BYTES, valid until the next
     * submit for the slot; NULL with an error set. */
    bool (*submit)(struct device *device, struct device_list *list, const struct device_copy *copies, int copy_count,
                   struct error *error);
    const char *(*results)(struct device *device, const struct device_list *list, struct error *error);
    void (*forget)(struct device *device, struct device_list *list);

    /* Waits until all is done; then the time in seconds of a clock that only goes forward. */
    double (*finish)(struct device *device);
};

#endif
