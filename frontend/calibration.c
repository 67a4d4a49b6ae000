/* The calibration file: figures of devices by name, as JSON. */
#include "frontend/calibration.h"
#include "runtime/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *calibration_path(void)
{
    const char *base = getenv("XDG_CONFIG_HOME");
    if (base && base[0] == '/')
        return file_text("%s/castor/calibration.json", base);
    const char *home = getenv("HOME");
    return home && home[0] ? file_text("%s/.config/castor/calibration.json", home) : NULL;
}

/* One device, as far as its speed goes. Malloced. */
static char *device_key(const char *device, const struct device_facts *facts)
{
    return file_text("%s: %s, %d threads, %s", device, facts->processor, facts->threads, facts->isa);
}

/* The file's object; an empty one when there is no file. */
static json_t *read_file(const char *path)
{
    json_error_t problem;
    if (!path || access(path, F_OK) != 0)
        return json_object();
    json_t *file = json_load_file(path, 0, &problem);
    if (json_is_object(file))
        return file;
    fprintf(stderr, "castor: warning: %s is no calibration (%s); castor calibrate writes a new one\n", path,
            file ? "no object" : problem.text);
    json_decref(file);
    return json_object();
}

/* A positive number of an object, 0 otherwise. */
static double number(const json_t *object, const char *name)
{
    double value = json_number_value(json_object_get(object, name));
    return value > 0 ? value : 0;
}

bool calibration_find(const char *device, const struct device_facts *facts, struct figures *figures)
{
    char *path = calibration_path(), *key = device_key(device, facts);
    json_t *file = read_file(path);
    const json_t *entry = json_object_get(file, key), *flops = json_object_get(entry, "flops");
    *figures = (struct figures){.name = device,
                                .bandwidth = number(entry, "bandwidth"),
                                .vector_flops = number(entry, "vector_flops"),
                                .launch_seconds = number(entry, "launch_seconds")};
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        figures->flops[element] = number(flops, element_name(element));
    bool whole = figures->bandwidth > 0 && figures->vector_flops > 0 && figures->flops[ELEMENT_F32] > 0;
    json_decref(file);
    free(key);
    free(path);
    return whole;
}

static json_t *entry_of(const struct figures *figures)
{
    json_t *flops = json_object();
    for (enum element element = 0; element < ELEMENT_COUNT; element++)
        if (figures->flops[element] > 0)
            json_object_set_new(flops, element_name(element), json_real(figures->flops[element]));
    return json_pack("{s:f, s:f, s:f, s:o}", "bandwidth", figures->bandwidth, "vector_flops", figures->vector_flops,
                     "launch_seconds", figures->launch_seconds, "flops", flops);
}

static bool write_file(const char *path, const json_t *file, struct error *error)
{
    char *folder = file_text("%.*s", (int)(strrchr(path, '/') - path), path);
    bool made = file_make_folders(folder);
    free(folder);
    if (!made)
        return error_set_system(error, path, "cannot make its folder");
    char *text = json_dumps(file, JSON_INDENT(2));
    bool written = text && file_write(path, text, strlen(text), error);
    free(text);
    return written;
}

bool calibration_store(const char *device, const struct device_facts *facts, const struct figures *figures,
                       struct error *error)
{
    char *path = calibration_path(), *key = device_key(device, facts);
    json_t *file = read_file(path);
    json_object_set_new(file, key, entry_of(figures));
    bool written = path && write_file(path, file, error);
    json_decref(file);
    free(key);
    free(path);
    return written;
}
