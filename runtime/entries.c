/* Lines are compared as they are. Those that differ are paired by what they set: the words before the value. */
#include "runtime/entries.h"
#include "runtime/file.h"

#include <stdlib.h>
#include <string.h>

struct lines {
    char *text; /* line ends are NUL */
    char **lines;
    int count;
};

static struct lines split(const char *text)
{
    struct lines result = {.text = file_text("%s", text)};
    int room = 1;
    for (const char *at = text; *at; at++)
        room += *at == '\n';
    result.lines = calloc((size_t)room, sizeof *result.lines);
    for (char *at = result.text, *end; result.lines && *at; at = end) {
        end = at + strcspn(at, "\n");
        result.lines[result.count++] = at;
        if (*end)
            *end++ = '\0';
    }
    return result;
}

static void free_lines(struct lines *lines)
{
    free(lines->lines);
    free(lines->text);
}

/* Bytes of the words that say what is set: `clip`, `rate =`, `option width =`, `--data`. */
static size_t key(const char *line)
{
    size_t first = strcspn(line, " ");
    const char *sign = strstr(line, " = ");
    return strncmp(line, "option ", 7) == 0 && sign ? (size_t)(sign - line) : first;
}

/* Takes the first line that is equal, or with `alike` sets the same, out of the list. NULL: none. */
static const char *take(struct lines *lines, const char *line, bool alike)
{
    for (int i = 0; i < lines->count; i++) {
        char *found = lines->lines[i];
        bool same = found && (alike ? key(found) == key(line) && strncmp(found, line, key(line)) == 0
                                    : strcmp(found, line) == 0);
        if (!same)
            continue;
        lines->lines[i] = NULL;
        return found;
    }
    return NULL;
}

static void say(FILE *out, const char *format, const char *line, const char *before)
{
    if (ftell(out) > 0)
        fputs("; ", out);
    fprintf(out, format, line, before);
}

static void compare(struct lines *before, struct lines *now, FILE *out)
{
    for (int i = 0; i < now->count; i++)
        if (take(before, now->lines[i], false))
            now->lines[i] = NULL;
    for (int i = 0; i < now->count; i++) {
        const char *was = now->lines[i] ? take(before, now->lines[i], true) : NULL;
        if (was)
            say(out, "%s, was %s", now->lines[i], was);
        else if (now->lines[i])
            say(out, "%s is new", now->lines[i], NULL);
    }
    for (int i = 0; i < before->count; i++)
        if (before->lines[i])
            say(out, "%s is gone", before->lines[i], NULL);
}

char *entries_changes(const char *before, const char *now)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    struct lines a = split(before), b = split(now);
    if (!out || !a.lines || !b.lines)
        error_exhausted();
    compare(&a, &b, out);
    free_lines(&a);
    free_lines(&b);
    if (ferror(out) || fclose(out) != 0)
        error_exhausted();
    return text;
}

char *entries_replace(const char *text, const char *line)
{
    char *result = file_text("%s", "");
    struct lines lines = split(text);
    take(&lines, line, true);
    for (int i = 0; i <= lines.count && lines.lines; i++) {
        const char *next = i < lines.count ? lines.lines[i] : line;
        char *longer = next ? file_text("%s%s\n", result, next) : NULL;
        if (longer) {
            free(result);
            result = longer;
        }
    }
    free_lines(&lines);
    return result;
}
