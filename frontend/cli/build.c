/* castor build: a trainer that stands alone. The data are opened, too: the sizes of the test set decide what is
 * compiled, and a field that does not fit is told now. */
#include "frontend/data.h"
#include "frontend/embed.h"
#include "frontend/session.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static int runtime_failure(const struct error *error)
{
    error_print(error, stderr);
    return error->code;
}

static const struct payload_option *options_of(const struct compilation *compilation, int *count)
{
    const char *name;
    for (*count = 0; unit_option(compilation->unit, *count);)
        ++*count;
    struct payload_option *options = ARENA_ARRAY(compilation->arena, struct payload_option, *count);
    for (int i = 0; (name = unit_option(compilation->unit, i)); i++)
        options[i] = (struct payload_option){name, unit_option_text(compilation->unit, i)};
    return options;
}

static int build_trainer(struct session *session, const char *path)
{
    struct compilation *compilation = &session->compilation;
    struct error error = {0};
    const char *slash = strrchr(compilation->file, '/');
    struct payload payload = {.file = slash ? slash + 1 : compilation->file,
                              .settings = session_train_settings(session),
                              .data = *data_describe(compilation->arena, compilation->settings->data)};
    if (!flag_share(compilation->invocation, FLAG_validate, &payload.data.validate_share))
        return EXIT_USAGE;
    payload.options = options_of(compilation, &payload.option_count);
    return embed_trainer(path, compilation->program, &payload, compilation->facts.cores, &error)
               ? 0
               : runtime_failure(&error);
}

/* Trainers run on the host, whatever this machine has. */
static bool set_host(struct invocation *own)
{
    const char *device = flag_text(own, FLAG_device);
    if (device && strcmp(device, "host") != 0) {
        usage_error(own, "trainers run on the host: --device host, not '%s'", device);
        return false;
    }
    if (!device)
        arrput(own->given[FLAG_device], "host");
    return true;
}

int command_build(const struct invocation *invocation)
{
    struct invocation own = *invocation;
    const char *path = flag_text(invocation, FLAG_output);
    if (!path)
        return usage_error(invocation, "it needs -o FILE, the trainer's name");
    if (!set_host(&own))
        return EXIT_USAGE;
    struct session session;
    int code = session_open(&session, &own, NULL, true, true);
    if (!code)
        code = build_trainer(&session, path);
    code = session_close(&session, code);
    if (!invocation->given[FLAG_device])
        arrfree(own.given[FLAG_device]);
    return code;
}
