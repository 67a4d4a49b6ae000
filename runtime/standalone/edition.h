/* Editions: what a trainer carries for each device that it was built for, and the choice among them where it runs. */
#ifndef CASTOR_RUNTIME_STANDALONE_EDITION_H
#define CASTOR_RUNTIME_STANDALONE_EDITION_H

#include "runtime/device.h"
#include "runtime/host/host.h"

struct trainer_edition {
    const char *device;       /* "host", or "cuda" for GPUs, real and simulated; NULL ends a list */
    const char *architecture; /* of a GPU: "sm_80" */
    int tf32;                 /* products of f32 may be rounded to it */
    const char *record;       /* run.json of its runs */
    const char *program, *program_end;
    const char *code, *code_end;   /* of a GPU: cuda_code_write made it */
    const struct host_unit *units; /* of the host */
};

/* How a trainer was told to run. */
struct trainer_wish {
    const char *device; /* host, cuda, sim; NULL: a GPU where there is one that an edition is for, else the host */
    const char *isa;    /* of the host; NULL: the widest that the processor has */
    int threads;        /* of the host and of a simulated GPU; 0: as many as cores */
};

/* What castor_choose_gpu is where there is an edition for GPUs: trainer_choose among those, of which there is one. */
const struct trainer_edition *trainer_choose_gpu(const struct trainer_edition *editions,
                                                 const struct trainer_wish *wish, struct device **device,
                                                 struct error *error);
/* In the trainer, beside its editions; NULL where none is for GPUs. */
extern const struct trainer_edition *(*const castor_choose_gpu)(const struct trainer_edition *,
                                                                const struct trainer_wish *, struct device **,
                                                                struct error *);

/* The edition that will run and the device that runs it. NULL with an error set: none can. */
const struct trainer_edition *trainer_choose(const struct trainer_edition *editions, const struct trainer_wish *wish,
                                             struct device **device, struct error *error);

#endif
