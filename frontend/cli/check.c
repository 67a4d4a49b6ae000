/* castor check and castor fmt: what needs the language alone. */
#include "frontend/compile.h"
#include "frontend/language/ast.h"
#include "frontend/language/format.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int command_check(const struct invocation *invocation)
{
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    compilation.json = flag_given(invocation, FLAG_json);
    if (!code && !elaborate_check(compilation.unit))
        code = EXIT_TEXT;
    return compilation_close(&compilation, code);
}

/* Replaces the file by the text: a temporary file beside it (of a link: beside what it stands for), synced, renamed,
 * with the same mode. */
static int replace_file(const char *name, const char *text, size_t length)
{
    struct stat status;
    char temporary[4096], path[PATH_MAX];
    if (!realpath(name, path)) {
        fprintf(stderr, "castor: %s: %s\n", name, strerror(errno));
        return EXIT_DEVICE;
    }
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return EXIT_DEVICE;
    int descriptor = stat(path, &status) == 0 ? mkstemp(temporary) : -1;
    FILE *out = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    bool good = out && fwrite(text, 1, length, out) == length && fflush(out) == 0 && fsync(descriptor) == 0 &&
                fchmod(descriptor, status.st_mode) == 0;
    if (out)
        good = fclose(out) == 0 && good;
    good = good && rename(temporary, path) == 0;
    if (good)
        return 0;
    fprintf(stderr, "castor: %s: %s\n", path, strerror(errno));
    if (descriptor >= 0)
        unlink(temporary);
    return EXIT_DEVICE;
}

int command_fmt(const struct invocation *invocation)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    const char *path = invocation->words[0];
    size_t length, size = 0;
    char *text = read_text(arena, path, &length), *formatted = NULL;
    int code = text ? 0 : EXIT_DEVICE;
    struct ast_file *file = text ? parse_net_bytes(arena, diagnostics, path, text, length) : NULL;
    if (text && (!file || diagnostics_errors(diagnostics)))
        code = EXIT_TEXT;
    if (!code) {
        FILE *out = arena_stream(&formatted, &size);
        format_net(file, out);
        arena_stream_close(out);
        if (!flag_given(invocation, FLAG_write))
            fwrite(formatted, 1, size, stdout);
        else if (size != length || memcmp(text, formatted, size) != 0)
            code = replace_file(path, formatted, size);
    }
    diagnostics_print(diagnostics, stderr);
    free(formatted);
    arena_free(arena);
    return code;
}
