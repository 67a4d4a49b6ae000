/* The GPU's editions, on a GPU or a simulated one. A GPU takes the edition of its own architecture; with the next older
 * one the driver compiles PTX. This file is linked into trainers that have such an edition, and with it all that runs
 * them. */
#include "runtime/standalone/edition.h"

#if CASTOR_CUDA
#include "runtime/cuda/cuda.h"
#include "runtime/sim/cublaslt.h"
#include "runtime/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static int number_of(const char *architecture)
{
    return atoi(architecture + strlen("sm_"));
}

/* The newest edition that this GPU runs; NULL: it is older than all of them. */
static const struct trainer_edition *find_for(const struct trainer_edition *editions, const char *architecture)
{
    const struct trainer_edition *best = NULL;
    for (; editions->device; editions++) {
        if (!editions->architecture || number_of(editions->architecture) > number_of(architecture))
            continue;
        if (!best || number_of(editions->architecture) > number_of(best->architecture))
            best = editions;
    }
    return best;
}

static struct device *open_gpu(const struct trainer_edition *edition, struct driver *driver, bool simulated,
                               struct error *error)
{
    struct cuda_tables tables = {.driver = driver};
    int version = 0;
    if (driver_version(driver, &version, error))
        tables.cublaslt = simulated ? sim_cublaslt_new(driver) : cublaslt_open(version, error);
    if (!tables.cublaslt) {
        driver->free(driver);
        error_set(error, "out of memory");
        return NULL;
    }
    const struct cuda_settings settings = {.name = simulated ? "sim" : "cuda",
                                           .architecture = edition->architecture,
                                           .jobs = 1,
                                           .tf32 = edition->tf32,
                                           .ptx = simulated,
                                           .built = edition->code,
                                           .built_size = (size_t)(edition->code_end - edition->code)};
    return cuda_device_new(&tables, &settings, error);
}

/* Of the first edition for a GPU. */
static const char *first_architecture(const struct trainer_edition *editions)
{
    while (!editions->architecture)
        editions++;
    return editions->architecture;
}

const struct trainer_edition *trainer_choose_gpu(const struct trainer_edition *editions,
                                                 const struct trainer_wish *wish, struct device **device,
                                                 struct error *error)
{
    bool simulated = wish->device && strcmp(wish->device, "sim") == 0;
    const struct sim_settings sim = {.architecture = first_architecture(editions), .threads = wish->threads};
    struct device_facts facts;
    struct driver *driver = simulated ? sim_driver_new(&sim, error) : driver_open(error);
    if (!driver)
        return NULL;
    if (!cuda_describe(driver, &facts, error)) {
        driver->free(driver);
        return NULL;
    }
    const struct trainer_edition *edition = find_for(editions, facts.isa);
    if (!edition) {
        driver->free(driver);
        error_set(error, "this trainer was built for newer GPUs than %s (%s)", facts.processor, facts.isa);
        return NULL;
    }
    *device = open_gpu(edition, driver, simulated, error);
    return *device ? edition : NULL;
}

#endif
