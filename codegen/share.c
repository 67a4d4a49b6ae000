/* One function for kernels whose texts differ in numbers alone: the same fused group at four resolutions, one
 * initialisation with four scales. NVRTC takes a fifth of a second for each, and nothing runs until all are compiled.
 *
 *   each text            -> its form, which has holes for its numbers, and the numbers
 *   kernels of one form  -> the first one's text, in which a number that is not the same in all is one of its integers
 *   each of their steps  -> that kernel, and its own numbers behind its integers
 *
 * Numbers that the compiler must know are part of the form: sizes of arrays, initial values, template arguments. */
#include "codegen/share.h"
#include "ir/graph.h"

#include <ctype.h>
#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

enum number_kind { NUMBER_INT, NUMBER_UNSIGNED, NUMBER_LONG, NUMBER_FLOAT };

struct number {
    size_t at, length; /* in the source */
    enum number_kind kind;
    int64_t value; /* of a float: its bits */
};

struct form {
    char *text;             /* stb_ds array, terminated */
    struct number *numbers; /* stb_ds array */
};

enum { PARAMETERS_MAX = 256 };

/* Kernels of one form. */
struct family {
    int *members; /* stb_ds array: kernels */
    struct form form;
    int *parameter;   /* stb_ds array, by number: which of the family's parameters stands there, -1: none */
    ptrdiff_t *heads; /* stb_ds array, by parameter: the first of its numbers */
    int integers;     /* that a step has already */
};

struct form_entry {
    char *key;
    int value;
};

struct sharing {
    struct program *program;
    struct family *families;
    int family_count;
    int *family;        /* by kernel */
    struct form *forms; /* by kernel */
};

/* ---- a text's form ---- */

struct reader {
    const char *source;
    size_t at;
    const char *name; /* of the kernel: not part of its form */
    struct form form;
    char fixed_until; /* numbers are part of the form until this character, '\0': they are not now */
};

static void keep(struct reader *reader, size_t length)
{
    memcpy(arraddnptr(reader->form.text, length), reader->source + reader->at, length);
    reader->at += length;
}

static void skip_comment(struct reader *reader)
{
    const char *end = strstr(reader->source + reader->at, "*/");
    reader->at = end ? (size_t)(end + 2 - reader->source) : strlen(reader->source);
}

static void read_word(struct reader *reader)
{
    static const struct {
        const char *word;
        char until;
    } fixed[] = {{"static", ';'}, {"__shared__", ';'}, {"arguments", '>'}, {"__launch_bounds__", ')'}};
    const char *word = reader->source + reader->at;
    size_t length = 0;
    while (isalnum((unsigned char)word[length]) || word[length] == '_')
        length++;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strlen(fixed[i].word) == length && strncmp(word, fixed[i].word, length) == 0)
            reader->fixed_until = fixed[i].until;
    if (strlen(reader->name) == length && strncmp(word, reader->name, length) == 0)
        reader->at += length;
    else
        keep(reader, length);
}

/* The number that stands at `text`. False for one that is written in no way that print_cuda writes numbers. */
static bool parse_number(const char *text, struct number *number)
{
    size_t digits = strspn(text, "0123456789");
    bool whole = text[digits] != '.' && text[digits] != 'e';
    char *end = NULL;
    if (whole) {
        number->value = (int64_t)strtoull(text, &end, 10);
        number->kind = NUMBER_INT;
    } else {
        float value = strtof(text, &end);
        uint32_t bits = 0;
        memcpy(&bits, &value, sizeof bits);
        number->value = bits;
        number->kind = NUMBER_FLOAT;
    }
    size_t suffix = strspn(end, "ulLf");
    number->length = (size_t)(end - text) + suffix;
    if (!whole)
        return suffix == 1 && *end == 'f';
    if (suffix == 1 && *end == 'u')
        number->kind = NUMBER_UNSIGNED;
    else if (suffix == 2 && (strncmp(end, "ll", 2) == 0 || strncmp(end, "LL", 2) == 0))
        number->kind = NUMBER_LONG;
    else if (suffix)
        return false;
    return number->value <= INT32_MAX || number->kind == NUMBER_LONG;
}

static void read_number(struct reader *reader)
{
    static const char holes[] = {
        [NUMBER_INT] = 'i', [NUMBER_UNSIGNED] = 'u', [NUMBER_LONG] = 'l', [NUMBER_FLOAT] = 'f'};
    struct number number = {.at = reader->at};
    bool plain = parse_number(reader->source + reader->at, &number);
    bool size = reader->at && reader->source[reader->at - 1] == '[';
    if (!plain || size || reader->fixed_until) {
        keep(reader, number.length);
        return;
    }
    arrput(reader->form.text, '#');
    arrput(reader->form.text, holes[number.kind]);
    arrput(reader->form.numbers, number);
    reader->at += number.length;
}

static struct form form_of(const struct program_kernel *kernel)
{
    struct reader reader = {.source = kernel->source, .name = kernel->name};
    for (char c; (c = reader.source[reader.at]);) {
        if (c == reader.fixed_until)
            reader.fixed_until = '\0';
        if (c == '/' && reader.source[reader.at + 1] == '*')
            skip_comment(&reader);
        else if (isalpha((unsigned char)c) || c == '_')
            read_word(&reader);
        else if (isdigit((unsigned char)c))
            read_number(&reader);
        else
            keep(&reader, 1);
    }
    arrput(reader.form.text, '\0');
    return reader.form;
}

/* ---- families ---- */

static bool launched_alike(const struct program_kernel *a, const struct program_kernel *b)
{
    return a->threads == b->threads && a->shared_bytes == b->shared_bytes && a->cooperative == b->cooperative;
}

static void find_families(struct sharing *sharing, const bool *generated)
{
    const struct program *program = sharing->program;
    struct form_entry *known = NULL;
    for (int i = 0; i < program->kernel_count; i++) {
        sharing->family[i] = -1;
        if (generated[i])
            sharing->forms[i] = form_of(&program->kernels[i]);
        ptrdiff_t at = generated[i] ? shgeti(known, sharing->forms[i].text) : -1;
        if (at >= 0) {
            struct family *family = &sharing->families[known[at].value];
            if (!launched_alike(&program->kernels[family->members[0]], &program->kernels[i]))
                continue;
            sharing->family[i] = known[at].value;
            arrput(family->members, i);
        } else if (generated[i]) {
            struct family *family = &sharing->families[sharing->family_count];
            family->form = sharing->forms[i];
            arrput(family->members, i);
            sharing->family[i] = sharing->family_count++;
            shput(known, sharing->forms[i].text, sharing->family[i]);
        }
    }
    shfree(known);
}

static bool same_column(const struct sharing *sharing, const struct family *family, ptrdiff_t a, ptrdiff_t b)
{
    for (ptrdiff_t i = 0; i < arrlen(family->members); i++) {
        const struct number *numbers = sharing->forms[family->members[i]].numbers;
        if (numbers[a].value != numbers[b].value)
            return false;
    }
    return true;
}

static bool is_same_in_all(const struct sharing *sharing, const struct family *family, ptrdiff_t number)
{
    for (ptrdiff_t i = 1; i < arrlen(family->members); i++)
        if (sharing->forms[family->members[i]].numbers[number].value != family->form.numbers[number].value)
            return false;
    return true;
}

/* Numbers that are equal in each member are one parameter. */
static void choose_parameters(const struct sharing *sharing, struct family *family)
{
    for (ptrdiff_t i = 0; i < arrlen(family->form.numbers); i++) {
        int parameter = -1;
        if (!is_same_in_all(sharing, family, i)) {
            parameter = 0;
            while (parameter < arrlen(family->heads) && !same_column(sharing, family, i, family->heads[parameter]))
                parameter++;
            if (parameter == arrlen(family->heads))
                arrput(family->heads, i);
        }
        arrput(family->parameter, parameter);
    }
}

/* ---- the shared text ---- */

/* How a parameter is called where it stands for a number of this kind, and what it is then. */
static const struct {
    const char *type, *suffix, *before, *after;
} uses[] = {[NUMBER_INT] = {"int", "", "(int)", ""},
            [NUMBER_UNSIGNED] = {"unsigned", "u", "(unsigned)", ""},
            [NUMBER_LONG] = {"long long", "l", "", ""},
            [NUMBER_FLOAT] = {"float", "f", "__int_as_float((int)", ")"}};

/* Has the number's parameter stood for one of its kind before? */
static bool is_named(const struct family *family, ptrdiff_t number)
{
    const struct number *numbers = family->form.numbers;
    for (ptrdiff_t i = family->heads[family->parameter[number]]; i < number; i++)
        if (family->parameter[i] == family->parameter[number] && numbers[i].kind == numbers[number].kind)
            return true;
    return false;
}

/* The text as far as the function's first brace, with place for the parameters among the arguments; then their names.
 * Where the rest begins. */
static const char *put_head(FILE *out, const struct family *family, const char *source)
{
    const char *comment = strstr(source, " */"), *arguments = strstr(source, "arguments<");
    const char *count = strchr(arguments, ','), *end = strchr(count, '>'), *body = strchr(end, '{') + 1;
    fprintf(out, "%.*s * and, with other numbers among its integers, the same %d times more\n", (int)(comment - source),
            source, (int)arrlen(family->members) - 1);
    fprintf(out, "%.*s, %d%.*s", (int)(count - comment), comment, family->integers + (int)arrlen(family->heads),
            (int)(body - end), end);
    for (ptrdiff_t i = 0; i < arrlen(family->form.numbers); i++) {
        int parameter = family->parameter[i], kind = family->form.numbers[i].kind;
        if (parameter >= 0 && !is_named(family, i))
            fprintf(out, "\n    const %s n%d%s = %sgiven.integer[%d]%s;", uses[kind].type, parameter, uses[kind].suffix,
                    uses[kind].before, family->integers + parameter, uses[kind].after);
    }
    return body;
}

static const char *shared_source(const struct sharing *sharing, const struct family *family)
{
    const char *source = sharing->program->kernels[family->members[0]].source;
    char *text = NULL;
    size_t size = 0;
    FILE *out = arena_stream(&text, &size);
    const char *rest = put_head(out, family, source);
    for (ptrdiff_t i = 0; i < arrlen(family->form.numbers); i++) {
        const struct number *number = &family->form.numbers[i];
        if (family->parameter[i] < 0)
            continue;
        fprintf(out, "%.*sn%d%s", (int)(source + number->at - rest), rest, family->parameter[i],
                uses[number->kind].suffix);
        rest = source + number->at + number->length;
    }
    fputs(rest, out);
    arena_stream_close(out);
    const char *kept = program_string(sharing->program, text);
    free(text);
    if (!kept)
        arena_exhausted();
    return kept;
}

/* ---- steps ---- */

/* The family that the kernel shares a text with; NULL. */
static const struct family *shared_family(const struct sharing *sharing, int kernel)
{
    const struct family *family = sharing->family[kernel] < 0 ? NULL : &sharing->families[sharing->family[kernel]];
    return family && arrlen(family->members) > 1 && arrlen(family->heads) <= PARAMETERS_MAX ? family : NULL;
}

/* Its kernel's numbers go behind the step's own integers. */
static void give_numbers(struct sharing *sharing, struct program_step *step, const struct family *family)
{
    const struct number *numbers = sharing->forms[step->kernel].numbers;
    int count = step->integer_count + (int)arrlen(family->heads);
    int64_t *integers = program_allocate(sharing->program, sizeof *integers * (size_t)count);
    if (!integers)
        arena_exhausted();
    if (step->integer_count)
        memcpy(integers, step->integers, sizeof *integers * (size_t)step->integer_count);
    for (ptrdiff_t i = 0; i < arrlen(family->heads); i++)
        integers[step->integer_count + i] = numbers[family->heads[i]].value;
    step->integers = integers;
    step->integer_count = count;
    step->blocks = sharing->program->kernels[step->kernel].blocks;
}

static void share_steps(struct sharing *sharing, const uint32_t *renumbered)
{
    struct program *program = sharing->program;
    for (int i = 0; i < program->entry_count; i++)
        for (int k = 0; k < program->entries[i].step_count; k++) {
            struct program_step *step = &program->entries[i].steps[k];
            if (step->kind != PROGRAM_KERNEL)
                continue;
            const struct family *family = shared_family(sharing, (int)step->kernel);
            if (family)
                give_numbers(sharing, step, family);
            step->kernel = renumbered[step->kernel];
        }
}

/* The first kernel of a family stands for all. */
static void share_texts(struct sharing *sharing, uint32_t *renumbered)
{
    struct program *program = sharing->program;
    int kept = 0;
    for (int i = 0; i < program->kernel_count; i++) {
        const struct family *family = shared_family(sharing, i);
        bool first = !family || family->members[0] == i;
        renumbered[i] = first ? (uint32_t)kept++ : renumbered[family->members[0]];
        if (first && family)
            program->kernels[i].source = shared_source(sharing, family);
    }
    share_steps(sharing, renumbered);
    for (int i = program->kernel_count; i-- > 0;)
        if (shared_family(sharing, i) && shared_family(sharing, i)->members[0] != i)
            memmove(&program->kernels[i], &program->kernels[i + 1],
                    sizeof *program->kernels * (size_t)(--program->kernel_count - i));
}

static void count_integers(struct sharing *sharing)
{
    const struct program *program = sharing->program;
    for (int i = 0; i < program->entry_count; i++)
        for (int k = 0; k < program->entries[i].step_count; k++) {
            const struct program_step *step = &program->entries[i].steps[k];
            if (step->kind == PROGRAM_KERNEL && sharing->family[step->kernel] >= 0)
                sharing->families[sharing->family[step->kernel]].integers = step->integer_count;
        }
}

void share_kernels(struct program *program, const bool *generated, struct arena *arena)
{
    size_t kernels = (size_t)program->kernel_count;
    struct sharing sharing = {.program = program};
    sharing.families = ARENA_ARRAY(arena, struct family, kernels + 1);
    sharing.family = ARENA_ARRAY(arena, int, kernels + 1);
    sharing.forms = ARENA_ARRAY(arena, struct form, kernels + 1);
    find_families(&sharing, generated);
    count_integers(&sharing);
    for (int i = 0; i < sharing.family_count; i++)
        choose_parameters(&sharing, &sharing.families[i]);
    share_texts(&sharing, ARENA_ARRAY(arena, uint32_t, kernels + 1));
    for (size_t i = 0; i < kernels; i++) {
        arrfree(sharing.forms[i].text);
        arrfree(sharing.forms[i].numbers);
    }
    for (int i = 0; i < sharing.family_count; i++) {
        arrfree(sharing.families[i].members);
        arrfree(sharing.families[i].parameter);
        arrfree(sharing.families[i].heads);
    }
}
