/* Scope strings: taking them apart and putting them together. */
#include "ir/scope.h"

#include <stdbool.h>
#include <string.h>

bool scope_next(const char **rest, struct scope_segment *segment)
{
    const char *text = *rest;
    if (!text || !*text)
        return false;
    size_t length = strcspn(text, "/");
    size_t label = strcspn(text, ":");
    if (label >= length)
        label = 0, segment->callee = text;
    else
        segment->callee = text + label + 1;
    segment->label = text;
    segment->label_length = label;
    segment->callee_length = (size_t)(text + length - segment->callee);
    *rest = text + length + (text[length] == '/');
    return true;
}

const char *scope_enter(struct arena *arena, const char *scope, const char *label, const char *callee)
{
    return arena_internf(arena, "%s%s%s:%s", scope ? scope : "", scope && *scope ? "/" : "", label ? label : "",
                         callee);
}

const char *scope_path(struct arena *arena, const char *scope)
{
    char *path = arena_allocate(arena, strlen(scope ? scope : "") + 1);
    size_t used = 0;
    struct scope_segment segment;
    while (scope_next(&scope, &segment)) {
        if (!segment.label_length)
            continue;
        if (used)
            path[used++] = '.';
        memcpy(path + used, segment.label, segment.label_length);
        used += segment.label_length;
    }
    return arena_intern(arena, path);
}
