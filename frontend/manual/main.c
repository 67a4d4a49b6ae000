/* castor_manual FOLDER NET.L POLICY.L: writes what is made of the tables into FOLDER, where it lies as below share/. */
#include "frontend/manual/manual.h"
#include "runtime/file.h"

#include <stdlib.h>

struct making {
    const char *folder;
    struct file_writer writer;
    struct error error;
};

/* A file below the folder; NULL with an error set. */
static FILE *begin(struct making *making, const char *name)
{
    char *path = file_text("%s/%s", making->folder, name);
    bool ok = file_begin(&making->writer, path, &making->error);
    free(path);
    return ok ? making->writer.stream : NULL;
}

static void end(struct making *making)
{
    file_commit(&making->writer, &making->error);
}

static void make_pages(struct making *making)
{
    size_t count;
    const struct command *commands = command_table(&count);
    FILE *out = begin(making, "man/man1/castor.1");
    if (out) {
        manual_overview(out);
        end(making);
    }
    for (size_t i = 0; i < count && !making->error.code; i++) {
        char *name = file_text("man/man1/castor-%s.1", commands[i].name);
        if ((out = begin(making, name))) {
            manual_command(&commands[i], out);
            end(making);
        }
        free(name);
    }
}

static void make_completions(struct making *making)
{
    FILE *out = begin(making, "bash-completion/completions/castor");
    if (out) {
        completions_bash(out);
        end(making);
    }
    if ((out = begin(making, "zsh/site-functions/_castor"))) {
        completions_zsh(out);
        end(making);
    }
}

static void make_syntax(struct making *making, const char *name, const char *lexer, void (*make)(FILE *, const char *))
{
    size_t size;
    char *text = file_read(lexer, &size, &making->error);
    FILE *out = text ? begin(making, name) : NULL;
    if (out) {
        make(out, text);
        end(making);
    }
    free(text);
}

int main(int argc, char **argv)
{
    static const char *const folders[] = {"man/man1", "bash-completion/completions", "zsh/site-functions",
                                          "vim/vimfiles/syntax"};
    if (argc != 4)
        return EXIT_USAGE;
    struct making making = {.folder = argv[1]};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = file_text("%s/%s", argv[1], folders[i]);
        file_make_folders(path);
        free(path);
    }
    make_pages(&making);
    make_completions(&making);
    make_syntax(&making, "vim/vimfiles/syntax/net.vim", argv[2], vim_net);
    make_syntax(&making, "vim/vimfiles/syntax/policy.vim", argv[3], vim_policy);
    if (making.error.code)
        error_print(&making.error, stderr);
    return making.error.code;
}
