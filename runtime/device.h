/* A device: one struct of functions. The executor knows devices only through it.
 *
 * Order of use: create the device (host_device_new, …), load a program's kernels, allocate arenas, prepare each step
 * once, then run lists of prepared steps. The device decides how a list is run: the host runs it at once; a GPU may
 * capture it on the first run and replay it after that, and come back before the work is done. What `download` and
 * `finish` return is always complete.
 *
 * How to add a device: fill this struct in a folder of its own (runtime/host is the pattern), add a constructor, and
 * give the compiler its facts in a `struct device_facts`. */
#ifndef CASTOR_RUNTIME_DEVICE_H
#define CASTOR_RUNTIME_DEVICE_H

#include "runtime/error.h"
#include "runtime/program.h"

/* What the compiler asks of a device before code exists; the driver in frontend turns it into ir/target.h. */
struct device_facts {
    char processor[128];   /* for people, and part of cache keys */
    int threads;           /* what kernels will use */
    int cores;             /* what this process may use */
    bool f16, bf16;        /* has arithmetic of this type: values may lie in it; else they lie as f32 */
    uint64_t cache_bytes;  /* last level cache, 0 when unknown */
    uint64_t memory_bytes; /* of the machine, 0 when unknown */
    char isa[16];          /* what kernels are built for: "native", "avx512", … */
    char instructions[64]; /* the widest instruction set found: "avx512", "avx2", "sse2", … */
};

/* A step whose addresses are known. The executor fills the first four; `prepared` is the device's own. */
struct device_call {
    const struct program_step *step;
    char **buffers;  /* addresses of step->buffers; those in inputs change between runs */
    char *workspace; /* step->workspace_bytes of it; NULL when none is needed */
    void *prepared;
};

struct device {
    const char *name;
    struct device_facts facts;
    bool host_memory; /* addresses are the host's: inputs are used where they lie, without upload */
    void *own;

    void (*free)(struct device *device);

    /* Memory aligned to 64 bytes, zeroed. NULL when there is none left. Zero bytes give a valid address. */
    void *(*allocate)(struct device *device, size_t bytes);
    void (*release)(struct device *device, void *memory);
    void (*upload)(struct device *device, void *to, const void *from, size_t bytes);
    /* Waits for all that was run before. */
    void (*download)(struct device *device, void *to, const void *from, size_t bytes);

    /* Compiles the kernels of a program or takes them from the cache. NULL with an error set on failure. */
    void *(*load)(struct device *device, const struct program *program, struct error *error);
    void (*unload)(struct device *device, void *kernels);

    /* Sets call->prepared: the kernel looked up, the library's plan made. */
    bool (*prepare)(struct device *device, void *kernels, struct device_call *call, struct error *error);
    void (*discard)(struct device *device, struct device_call *call);

    /* Runs the calls in order. */
    bool (*run)(struct device *device, struct device_call *calls, int count, struct error *error);
    /* Waits until all is done; then the time in seconds of a clock that only goes forward. */
    double (*finish)(struct device *device);
};

#endif
