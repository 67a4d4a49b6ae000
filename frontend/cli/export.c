/* castor export: the evaluation graph for another runtime. */
#include "frontend/compile.h"
#include "frontend/onnx.h"

static int write_model(const struct compilation *compilation, const char *path)
{
    const char *weights = flag_text(compilation->invocation, FLAG_weights);
    struct error error = {0};
    struct safetensors *file = weights ? safetensors_open(weights, &error) : NULL;
    if (weights && !file)
        return report_failure(&error);
    bool ok = onnx_export(module_find_graph(compilation->module, "eval"), file, path, &error);
    safetensors_close(file);
    return ok ? 0 : error.code ? report_failure(&error) : EXIT_TEXT;
}

int command_export(const struct invocation *invocation)
{
    const char *path = flag_text(invocation, FLAG_onnx);
    if (!path)
        return usage_error(invocation, "it needs --onnx FILE, the model to write");
    if (!flag_output(invocation, FLAG_onnx))
        return EXIT_USAGE;
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code)
        code = compilation_wants_batch(&compilation);
    if (!code) {
        struct compile_request request = {.eval = compilation.settings->batch,
                                          .outputs = true,
                                          .one_batch = true,
                                          .stop_after = "dce",
                                          .observe = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = write_model(&compilation, path);
    return compilation_close(&compilation, code);
}
