/* The built-in policies, and finding and reading a policy by its name. */
#include "passes/policies/policy.h"
#include "passes/policies/load.h"
#include "passes/policies/policy.parser.h"
#include "policies.embedded.h"

/* The lexer's header needs the types of the parser's. */
#include "passes/policies/policy.lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXTENDS_DEPTH_MAX = 16, POLICY_BYTES_MAX = 1 << 20 };

static const struct policy_info policies[] = {
    {"f32", "o0", "everything in f32, no loss scaling"},
    {"autocast", "o1", "half where it pays, f32 where range or precision is needed: PyTorch's lists"},
    {"almost", "o2", "everything half but normalisation and losses; f32 master weights"},
    {"paint", "", "half flooded from products up to what is denied: TensorFlow grappler's lists and painting"},
    {"cost", "", "the cheapest by the cost model: a minimum cut, or what another policy does where that is cheaper"},
    {"ranges", "", "f16, bf16 or f32 by measured ranges, with a static scale (--record-ranges, --ranges)"},
    {"half", "o3", "everything half, parameters too; no scaling: the speed that there is at most"},
};

enum { POLICY_COUNT = sizeof policies / sizeof *policies };

const struct policy_info *policy_table(size_t *count)
{
    *count = POLICY_COUNT;
    return policies;
}

const char *precision_class_name(enum precision_class class)
{
    static const char *const names[] = {"none", "half", "f32", "promote", "follow"};
    return names[class];
}

const char *policy_algorithm_name(enum policy_algorithm algorithm)
{
    static const char *const names[ALGORITHM_COUNT] = {"lists", "paint", "cost", "ranges", "cut", "plugin"};
    return names[algorithm];
}

/* ---- texts ---- */

static const char *built_in_text(const char *name)
{
    for (size_t i = 0; i < POLICY_COUNT; i++)
        if (*policies[i].alias && strcmp(name, policies[i].alias) == 0)
            name = policies[i].name;
    for (size_t i = 0; policy_files[i].name; i++) {
        size_t length = strlen(policy_files[i].name) - strlen(".policy");
        if (strlen(name) == length && strncmp(policy_files[i].name, name, length) == 0)
            return policy_files[i].text;
    }
    return NULL;
}

static const char *built_in_file(struct arena *arena, const char *name)
{
    for (size_t i = 0; i < POLICY_COUNT; i++)
        if (*policies[i].alias && strcmp(name, policies[i].alias) == 0)
            name = policies[i].name;
    return arena_internf(arena, "%s.policy", name);
}

/* The file's text in the arena; NULL with a message in `problem`. */
static const char *read_file(struct arena *arena, const char *path, const char **problem)
{
    FILE *file = fopen(path, "rb");
    char *text = file ? arena_allocate(arena, POLICY_BYTES_MAX + 1) : NULL;
    size_t length = file ? fread(text, 1, POLICY_BYTES_MAX + 1, file) : 0;
    if (!file || ferror(file))
        *problem = strerror(errno);
    else if (length > POLICY_BYTES_MAX)
        *problem = "it is larger than a policy can be";
    else if (memchr(text, 0, length))
        *problem = "it is no text";
    if (file)
        fclose(file);
    return *problem ? NULL : text;
}

/* ---- reading ---- */

static void parse(struct policy_reader *reader)
{
    struct policy *policy = reader->policy;
    diagnostics_add_source(policy->diagnostics, policy->file, policy->text);
    yyscan_t scanner;
    if (policy_yylex_init_extra(reader, &scanner) != 0)
        arena_exhausted();
    policy_yy_scan_bytes(policy->text, (int)strlen(policy->text), scanner);
    policy_yyparse(scanner, reader);
    policy_yylex_destroy(scanner);
}

static struct policy *new_policy(struct arena *arena, struct diagnostics *diagnostics, const char *file)
{
    struct policy *policy = ARENA_NEW(arena, struct policy);
    struct policy_rule *otherwise = ARENA_NEW(arena, struct policy_rule);
    *otherwise = (struct policy_rule){.class = PRECISION_F32, .text = "no default: f32", .span = {.file = file}};
    *policy = (struct policy){.arena = arena,
                              .diagnostics = diagnostics,
                              .name = file,
                              .file = arena_intern(arena, file),
                              .half = ELEMENT_F16,
                              .otherwise = otherwise,
                              .gradients_f32 = true,
                              .masters_f32 = true,
                              .scale = "none"};
    return policy;
}

static int extends_depth(const struct policy_reader *reader)
{
    int depth = 0;
    for (; reader; reader = reader->outer)
        depth++;
    return depth;
}

/* Reads the policy of this text; NULL after diagnostics. */
static struct policy *read_text(struct arena *arena, struct diagnostics *diagnostics, const char *file,
                                const char *text, bool built_in, const struct policy_reader *outer, enum element asked)
{
    int errors = diagnostics_errors(diagnostics);
    struct policy *policy = new_policy(arena, diagnostics, file);
    policy->text = text;
    struct policy_reader reader = {.policy = policy,
                                   .outer = outer,
                                   .asked = asked,
                                   .built_in = built_in,
                                   .next = {.line = 1, .column = 1, .end_line = 1}};
    parse(&reader);
    return diagnostics_errors(diagnostics) == errors ? policy : NULL;
}

static struct policy *read_path(struct arena *arena, struct diagnostics *diagnostics, const char *path,
                                const struct policy_reader *outer, enum element asked, struct span where)
{
    if (extends_depth(outer) > EXTENDS_DEPTH_MAX) {
        diagnostics_error(diagnostics, E0603, where, NULL, "policies extend each other in a circle");
        return NULL;
    }
    for (const struct policy_reader *reader = outer; reader; reader = reader->outer) {
        if (strcmp(reader->policy->file, path) != 0)
            continue;
        diagnostics_error(diagnostics, E0603, where, NULL, "policies extend each other in a circle: %s extends itself",
                          path);
        return NULL;
    }
    const char *problem = NULL;
    const char *text = read_file(arena, path, &problem);
    if (text)
        return read_text(arena, diagnostics, path, text, false, outer, asked);
    diagnostics_error(diagnostics, E0602, where, NULL, "cannot read the policy %s: %s", path, problem);
    return NULL;
}

static void report_unknown(struct diagnostics *diagnostics, const char *name, struct span where)
{
    const char *names[POLICY_COUNT];
    for (size_t i = 0; i < POLICY_COUNT; i++)
        names[i] = policies[i].name;
    diagnostics_error(diagnostics, E0601, where, NULL, "there is no policy `%s`", name);
    const char *near = suggest(name, names, POLICY_COUNT);
    if (near)
        diagnostics_note(diagnostics, (struct span){0}, "did you mean `%s`?", near);
    else
        diagnostics_note(diagnostics, (struct span){0},
                         "`castor policies` lists them; a policy of your own is named by its file, \"mine.policy\"");
}

const struct policy *policy_load_base(const struct policy_reader *outer, const char *name, bool quoted,
                                      enum element asked, struct span where)
{
    struct arena *arena = outer->policy->arena;
    struct diagnostics *diagnostics = outer->policy->diagnostics;
    const char *text = quoted ? NULL : built_in_text(name);
    if (text)
        return read_text(arena, diagnostics, built_in_file(arena, name), text, true, outer, asked);
    if (!quoted) {
        report_unknown(diagnostics, name, where);
        return NULL;
    }
    const char *slash = strrchr(outer->policy->file, '/');
    int folder = slash && *name != '/' ? (int)(slash - outer->policy->file) + 1 : 0;
    const char *path = arena_internf(arena, "%.*s%s", folder, outer->policy->file, name);
    return read_path(arena, diagnostics, path, outer, asked, where);
}

/* Takes "(bf16)" off the end of the text. */
const char *policy_split_half(struct arena *arena, const char *text, const char **half)
{
    size_t length = strlen(text);
    const char *open = strrchr(text, '(');
    if (!open || text[length - 1] != ')')
        return text;
    *half = arena_intern_length(arena, open + 1, (size_t)(text + length - 1 - (open + 1)));
    return arena_intern_length(arena, text, (size_t)(open - text));
}

struct policy *policy_load(struct arena *arena, struct diagnostics *diagnostics, const char *text, enum element half,
                           struct span where)
{
    const char *written = NULL;
    const char *name = policy_split_half(arena, text, &written);
    if (written) {
        struct policy_reader request = {.policy = new_policy(arena, diagnostics, name)};
        enum element element = policy_half(&request, written, where);
        if (!element)
            return NULL;
        half = half ? half : element;
    }
    size_t length = strlen(name), suffix = strlen(".policy");
    const char *source = built_in_text(name);
    if (source)
        return read_text(arena, diagnostics, built_in_file(arena, name), source, true, NULL, half);
    if (length > suffix && strcmp(name + length - suffix, ".policy") == 0)
        return read_path(arena, diagnostics, name, NULL, half, where);
    report_unknown(diagnostics, name, where);
    return NULL;
}

const char *policy_scale(const struct policy *policy)
{
    return policy->half == ELEMENT_BF16 ? "none" : policy->scale;
}

void policy_explain(const struct policy *policy, FILE *out)
{
    if (policy->base)
        policy_explain(policy->base, out);
    fprintf(out, "# %s, half is %s\n%s", policy->file, element_name(policy->half), policy->text);
    if (*policy->text && policy->text[strlen(policy->text) - 1] != '\n')
        fputc('\n', out);
}
