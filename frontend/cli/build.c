/* castor build: a trainer that stands alone. The model is compiled once for each device and architecture that is asked
 * for. The data are opened, too: the sizes of the test set decide what is compiled, and a field that does not fit is
 * told now. */
#include "frontend/data.h"
#include "frontend/embed.h"
#include "frontend/run_record.h"
#include "frontend/session.h"
#include "runtime/file.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

/* One edition on its way. */
struct part {
    struct invocation invocation; /* the command line's, with one device and one architecture */
    struct session session;
    bool opened;
    void *code;
};

struct trainer {
    const struct invocation *invocation;
    int count;
    struct part parts[EMBED_EDITIONS];
    struct embed_edition editions[EMBED_EDITIONS];
};

/* ---- which editions ---- */

/* The words between commas; an stb_ds array over `text`, which is cut. */
static const char **split(char *text)
{
    const char **words = NULL;
    char *rest = NULL;
    for (char *word = strtok_r(text, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest))
        arrput(words, word);
    return words;
}

static bool add_part(struct trainer *trainer, const char *device, const char *architecture)
{
    if (trainer->count == EMBED_EDITIONS) {
        usage_error(trainer->invocation, "a trainer is for at most %d devices and architectures", EMBED_EDITIONS);
        return false;
    }
    for (int i = 0; i < trainer->count; i++) {
        const struct invocation *other = &trainer->parts[i].invocation;
        const char *taken = flag_text(other, FLAG_arch);
        if (strcmp(flag_text(other, FLAG_device), device) == 0 &&
            (!architecture || (taken && strcmp(taken, architecture) == 0)))
            return true;
    }
    struct invocation *own = &trainer->parts[trainer->count++].invocation;
    *own = *trainer->invocation;
    own->given[FLAG_device] = own->given[FLAG_arch] = NULL;
    arrput(own->given[FLAG_device], device);
    if (architecture)
        arrput(own->given[FLAG_arch], architecture);
    return true;
}

/* False after a usage error. */
static bool add_parts(struct trainer *trainer, const char **devices, const char **architectures)
{
    bool gpu = false;
    if (!arrlen(devices))
        usage_error(trainer->invocation, "--device takes host, cuda or both (host,cuda)");
    for (ptrdiff_t i = 0; i < arrlen(devices); i++) {
        bool host = strcmp(devices[i], "host") == 0;
        if (!host && strcmp(devices[i], "cuda") != 0) {
            usage_error(trainer->invocation, "trainers are for host, cuda or both (host,cuda), not '%s'", devices[i]);
            return false;
        }
        gpu |= !host;
        if (host || !arrlen(architectures)) {
            if (!add_part(trainer, devices[i], NULL))
                return false;
            continue;
        }
        for (ptrdiff_t k = 0; k < arrlen(architectures); k++)
            if (!add_part(trainer, devices[i], architectures[k]))
                return false;
    }
    if (arrlen(architectures) && !gpu)
        usage_error(trainer->invocation, "--arch goes with --device cuda or host,cuda");
    return arrlen(devices) && (gpu || !arrlen(architectures));
}

/* ---- one edition ---- */

static int compile_part(struct part *part, struct embed_edition *edition)
{
    struct compilation *compilation = &part->session.compilation;
    struct error error = {0};
    part->opened = true;
    int code = session_compile(&part->session, &part->invocation, NULL, true, true);
    if (code)
        return code;
    bool gpu = compilation->choice.kind != DEVICE_HOST;
    *edition = (struct embed_edition){.device = device_name(compilation->choice.kind),
                                      .architecture = gpu ? compilation->facts.isa : NULL,
                                      .tf32 = compilation->choice.tf32,
                                      .record = run_record_text(compilation),
                                      .program = compilation->program};
    if (gpu && !device_code(&compilation->choice, &compilation->facts, compilation->program, &part->code,
                            &edition->code_size, &error))
        return report_failure(&error);
    edition->code = part->code;
    return 0;
}

/* ---- the trainer ---- */

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

static int link_trainer(const struct trainer *trainer, const char *path)
{
    const struct session *session = &trainer->parts[0].session;
    const struct compilation *compilation = &session->compilation;
    struct device_facts host;
    struct error error = {0}, ignored = {0};
    const char *slash = strrchr(compilation->file, '/');
    struct payload payload = {.file = slash ? slash + 1 : compilation->file,
                              .settings = session_train_settings(session),
                              .data = *data_describe(compilation->arena, compilation->settings->data)};
    if (!flag_share(trainer->invocation, FLAG_validate, &payload.data.validate_share))
        return EXIT_USAGE;
    payload.options = options_of(compilation, &payload.option_count);
    int jobs = host_describe(&compilation->choice.host, &host, &ignored) ? host.cores : 1;
    return embed_trainer(path, trainer->editions, trainer->count, &payload, jobs, &error) ? 0 : report_failure(&error);
}

static int close_parts(struct trainer *trainer, int code)
{
    for (int i = 0; i < trainer->count; i++) {
        struct part *part = &trainer->parts[i];
        if (part->opened)
            code = session_close(&part->session, code);
        free(part->code);
        arrfree(part->invocation.given[FLAG_device]);
        arrfree(part->invocation.given[FLAG_arch]);
    }
    return code;
}

int command_build(const struct invocation *invocation)
{
    struct trainer trainer = {.invocation = invocation};
    const char *path = flag_text(invocation, FLAG_output);
    if (!path)
        return usage_error(invocation, "it needs -o FILE, the trainer's name");
    if (!flag_output(invocation, FLAG_output))
        return EXIT_USAGE;
    const char *device = flag_text(invocation, FLAG_device), *architecture = flag_text(invocation, FLAG_arch);
    char *device_text = file_text("%s", device ? device : "host"),
         *text = file_text("%s", architecture ? architecture : "");
    const char **devices = split(device_text), **architectures = split(text);
    int code = add_parts(&trainer, devices, architectures) ? 0 : EXIT_USAGE;
    for (int i = 0; i < trainer.count && !code; i++)
        code = compile_part(&trainer.parts[i], &trainer.editions[i]);
    if (!code)
        code = link_trainer(&trainer, path);
    code = close_parts(&trainer, code);
    arrfree(devices);
    arrfree(architectures);
    free(device_text);
    free(text);
    return code;
}
