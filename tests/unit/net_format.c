/* The standard layout: fixed points, what is kept and what is made, and that formatting changes no tree. */
#include "frontend/language/format.h"
#include "tests/unit/ast_text.h"
#include "tests/unit/check.h"

#include <glob.h>
#include <stdlib.h>

/* Formats; checks that the result has the same tree and comments and is a fixed point. NULL: not parsed. */
static char *formatted(const char *source)
{
    struct arena *arena = arena_new();
    char *text[2] = {NULL, NULL}, *tree[2] = {NULL, NULL};
    int comments[2];
    size_t size;
    for (int i = 0; i < 2; i++) {
        struct diagnostics *diagnostics = diagnostics_new(arena);
        struct ast_file *file = parse_net(arena, diagnostics, "t.net", i ? text[0] : source);
        diagnostics_print(diagnostics, stderr);
        CHECK(file);
        if (!file)
            return NULL;
        FILE *out = open_memstream(&text[i], &size);
        format_net(file, out);
        fclose(out);
        out = open_memstream(&tree[i], &size);
        text_file(out, file);
        fclose(out);
        comments[i] = file->comment_count;
    }
    CHECK_TEXT(tree[1], tree[0]);
    CHECK_TEXT(text[1], text[0]);
    CHECK(comments[0] == comments[1]);
    arena_free(arena);
    free(text[1]);
    free(tree[0]);
    free(tree[1]);
    return text[0];
}

static const char before[] = "\n\n# About.\n\n\n"
                             "option a=1   # one\n"
                             "option width  =2 #two\n\n\n"
                             "model( x : u8[batch,28 ,28] ) # head\n"
                             "{\n"
                             "\n"
                             "  y=x|>f( 1,k=[ 2,3 ] ) as g # first\n"
                             "     # between\n"
                             "  |> h\n"
                             "  longer=(y+1)*-2^3 ; z = y'\n"
                             "  \n"
                             "  metric m=if a then b else c\n"
                             "  loss other = l\n"
                             "  if not a{b=1;c=2}\n"
                             "  else if d { # why\n"
                             "     e <- 1\n"
                             "  # last\n"
                             "  }\n"
                             "  q = f(\n"
                             "    a, # of a\n"
                             "    n = 2)\n"
                             "  r = f(a,\n"
                             "  b[1:,..,-1])\n"
                             "}\n"
                             "train{\n"
                             "batch 128\n"
                             "minimize loss with adam(lr=1e-3){lr=1 for \"a\",rank<2\n"
                             "weight_decay=2e0 for not \"b\"}\n"
                             "then minimize k with sgd every 2\n"
                             "evaluate every 1 epoch; seed 1\n"
                             "}# end\n"
                             "# tail";

static const char after[] = "# About.\n"
                            "\n"
                            "option a     = 1  # one\n"
                            "option width = 2  #two\n\n";

static void check_layout(void)
{
    char *text = formatted(before);
    CHECK(text && strncmp(text, after, strlen(after)) == 0);
    const char *rest = text ? strstr(text, "model") : "";
    CHECK_TEXT(rest ? rest : "", "model (x: u8[batch, 28, 28]) {  # head\n"
                                 "    y = x |> f(1, k = [2, 3]) as g  # first\n"
                                 "          # between\n"
                                 "          |> h\n"
                                 "    longer = (y + 1) * -2 ^ 3;  z = y'\n"
                                 "\n"
                                 "    metric m   = if a then b else c\n"
                                 "    loss other = l\n"
                                 "    if not a { b = 1;  c = 2 } else if d {  # why\n"
                                 "        e <- 1\n"
                                 "        # last\n"
                                 "    }\n"
                                 "    q = f(\n"
                                 "        a,  # of a\n"
                                 "        n = 2\n"
                                 "    )\n"
                                 "    r = f(a,\n"
                                 "          b[1:, .., -1])\n"
                                 "}\n"
                                 "train {\n"
                                 "    batch     128\n"
                                 "    minimize  loss with adam(lr = 1e-3) {\n"
                                 "        lr           = 1   for \"a\", rank < 2\n"
                                 "        weight_decay = 2e0 for not \"b\"\n"
                                 "    }\n"
                                 "    then minimize k with sgd every 2\n"
                                 "    evaluate every 1 epoch;  seed 1\n"
                                 "}  # end\n"
                                 "# tail\n");
    free(text);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (file) {
        text[fread(text, 1, (1 << 20) - 1, file)] = 0;
        fclose(file);
    }
    return text;
}

/* The files of the project stand in the standard layout. */
static void check_files(const char *pattern, size_t least)
{
    const char *source = getenv("CASTOR_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", source ? source : ".", pattern);
    glob_t found = {0};
    glob(path, 0, NULL, &found);
    CHECK(found.gl_pathc >= least);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = read_file(found.gl_pathv[i]), *again = formatted(text);
        if (again)
            CHECK_TEXT(again, text);
        free(text);
        free(again);
    }
    globfree(&found);
}

int main(void)
{
    check_layout();
    check_files("models/*.net", 3);
    check_files("models/blocks/*.net", 2);
    check_files("frontend/prelude/*.net", 0);
    return check_result();
}
