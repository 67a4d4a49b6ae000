/* Which edition runs on this machine; the host's. */
#include "runtime/standalone/edition.h"

#include <string.h>

static const struct trainer_edition *find(const struct trainer_edition *editions, const char *device)
{
    for (; editions->device; editions++)
        if (strcmp(editions->device, device) == 0)
            return editions;
    return NULL;
}

static void not_built_for(const char *device, struct error *error)
{
    error_set(error, "this trainer was not built for device %s", device);
    error_hint(error, "`castor build --device host,cuda` puts both into one");
}

static const struct trainer_edition *choose_host(const struct trainer_edition *editions,
                                                 const struct trainer_wish *wish, struct device **device,
                                                 struct error *error)
{
    const struct trainer_edition *edition = find(editions, "host");
    if (!edition) {
        not_built_for("host", error);
        return NULL;
    }
    const struct host_settings settings = {.threads = wish->threads,
                                           .isa = wish->isa ? wish->isa : host_unit_isa(edition->units),
                                           .built = edition->units};
    *device = host_device_new(&settings, error);
    return *device ? edition : NULL;
}

static const struct trainer_edition *choose_gpu(const struct trainer_edition *editions, const struct trainer_wish *wish,
                                                struct device **device, struct error *error)
{
    if (castor_choose_gpu && find(editions, "cuda"))
        return castor_choose_gpu(editions, wish, device, error);
    not_built_for(wish->device, error);
    return NULL;
}

const struct trainer_edition *trainer_choose(const struct trainer_edition *editions, const struct trainer_wish *wish,
                                             struct device **device, struct error *error)
{
    struct error ignored = {0};
    const struct trainer_edition *edition = NULL;
    if (wish->device && strcmp(wish->device, "host") != 0)
        return choose_gpu(editions, wish, device, error);
    bool host = find(editions, "host");
    if (!wish->device && find(editions, "cuda"))
        edition = choose_gpu(editions, wish, device, host ? &ignored : error);
    if (edition || error->code)
        return edition;
    return choose_host(editions, wish, device, error);
}
