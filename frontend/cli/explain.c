/* castor explain: why a node has its precision, or what an error code means. */
#include "passes/explain.h"
#include "frontend/compile.h"

#include <ctype.h>
#include <string.h>

/* "E0203" and the like. */
static bool is_code(const char *word)
{
    if (*word != 'E' || strlen(word) != 5)
        return false;
    for (const char *digit = word + 1; *digit; digit++)
        if (!isdigit((unsigned char)*digit))
            return false;
    return true;
}

static int explain_code(const struct invocation *invocation, const char *word)
{
    int code = diagnostic_code_find(word);
    if (code < 0)
        return usage_error(invocation, "there is no error code %s", word);
    printf("%s: %s\n\n%s\n", word, diagnostic_code_title((enum code)code), diagnostic_code_help((enum code)code));
    return 0;
}

int command_explain(const struct invocation *invocation)
{
    if (is_code(invocation->words[0]))
        return explain_code(invocation, invocation->words[0]);
    if (invocation->word_count < 2)
        return usage_error(invocation, "it takes FILE NODE, or an error code");
    struct compilation compilation;
    int code = compilation_open(&compilation, invocation);
    if (!code)
        code = compilation_wants_batch(&compilation);
    if (!code) {
        struct compile_request request = {.batch = compilation.settings->batch, .stop_after = "casts", .observe = true};
        code = compilation_module(&compilation, &request);
    }
    if (!code)
        code = explain_node(compilation.module, compilation.policy, &compilation.target, invocation->words[1], stdout)
                   ? 0
                   : EXIT_TEXT;
    return compilation_close(&compilation, code);
}
