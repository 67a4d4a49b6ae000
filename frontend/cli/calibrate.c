/* castor calibrate: measures this device for the cost model. */
#include "frontend/calibration.h"
#include "frontend/compile.h"

#include <jansson.h>
#include <stdlib.h>

static void print_figures(const struct figures *figures, const char *path)
{
    printf("bandwidth      %10.1f GB/s\n", figures->bandwidth / 1e9);
    printf("pointwise f32  %10.1f GFLOP/s\n", figures->vector_flops / 1e9);
    for (enum element element = ELEMENT_F16; element <= ELEMENT_F32; element++)
        if (figures->flops[element] > 0)
            printf("matmul %-6s  %10.1f GFLOP/s\n", element_name(element), figures->flops[element] / 1e9);
    printf("launch         %10.2f us\n", 1e6 * figures->launch_seconds);
    printf("written to %s\n", path);
}

static void print_json(const struct figures *figures, const char *path)
{
    json_t *object =
        json_pack("{s:s, s:f, s:f, s:f, s:s}", "device", figures->name, "bandwidth", figures->bandwidth, "vector_flops",
                  figures->vector_flops, "launch_seconds", figures->launch_seconds, "file", path);
    json_t *flops = json_object();
    for (enum element element = ELEMENT_F16; element <= ELEMENT_F32; element++)
        if (figures->flops[element] > 0)
            json_object_set_new(flops, element_name(element), json_real(figures->flops[element]));
    json_object_set_new(object, "flops", flops);
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

int command_calibrate(const struct invocation *invocation)
{
    struct compilation compilation = {.invocation = invocation, .arena = arena_new()};
    compilation.diagnostics = diagnostics_new(compilation.arena);
    struct error error = {0};
    struct figures figures;
    char *path = calibration_path();
    int code =
        path ? choose_target(invocation, &compilation.choice, &compilation.facts, &compilation.target) : EXIT_DEVICE;
    if (!path)
        fprintf(stderr, "castor: neither XDG_CONFIG_HOME nor HOME is set: nowhere to keep what is measured\n");
    if (!code)
        code = compilation_device(&compilation);
    if (!code && (!calibration_measure(compilation.device, &compilation.target, &figures, &error) ||
                  !calibration_store(compilation.device->name, &compilation.facts, &figures, &error))) {
        error_print(&error, stderr);
        code = error.code;
    }
    if (!code && flag_given(invocation, FLAG_json))
        print_json(&figures, path);
    else if (!code)
        print_figures(&figures, path);
    free(path);
    return compilation_close(&compilation, code);
}
