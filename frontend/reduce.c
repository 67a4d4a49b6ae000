/* Reducing texts of any kind: fewer lines, smaller numbers. */
#include "frontend/reduce.h"
#include "ir/arena.h"

#include <ctype.h>
#include <stb/stb_ds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool still_fails(struct reduce_test *test, const char *text)
{
    test->tried++;
    return test->fails(test->own, text);
}

/* ---- lines ---- */

/* The text without lines [from, to); malloced. */
static char *without_lines(const char *text, int from, int to)
{
    char *shorter = malloc(strlen(text) + 1), *end = shorter;
    if (!shorter)
        arena_exhausted();
    for (int line = 0; *text; line++) {
        size_t length = strcspn(text, "\n");
        length += text[length] == '\n';
        if (line < from || line >= to) {
            memcpy(end, text, length);
            end += length;
        }
        text += length;
    }
    *end = '\0';
    return shorter;
}

static int count_lines(const char *text)
{
    int lines = 0;
    for (; *text; lines++) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return lines;
}

/* Takes out what can go in pieces of so many lines, from the end, where less depends on them. */
static char *drop_pieces(char *text, int piece, struct reduce_test *test)
{
    for (int from = count_lines(text) - piece; from > -piece; from -= piece) {
        char *shorter = without_lines(text, from < 0 ? 0 : from, from + piece);
        bool keep = strlen(shorter) < strlen(text) && still_fails(test, shorter);
        free(keep ? text : shorter);
        text = keep ? shorter : text;
    }
    return text;
}

char *reduce_lines(char *text, struct reduce_test *test)
{
    int lines = count_lines(text), before;
    for (int piece = lines / 2; piece > 1; piece /= 2)
        text = drop_pieces(text, piece, test);
    do { /* single lines and pairs until none can go: one may have needed another */
        before = count_lines(text);
        text = drop_pieces(text, 2, test);
        text = drop_pieces(text, 1, test);
    } while (count_lines(text) < before);
    return text;
}

/* ---- numbers ---- */

/* The text with the number at `at` replaced; malloced. */
static char *with_number(const char *text, size_t at, size_t length, long long number)
{
    size_t size = strlen(text) + 32;
    char *changed = malloc(size);
    if (!changed)
        arena_exhausted();
    snprintf(changed, size, "%.*s%lld%s", (int)at, text, number, text + at + length);
    return changed;
}

/* A whole number that is no part of a name or of a real number. */
static bool is_whole(const char *text, size_t at, size_t length)
{
    char before = at ? text[at - 1] : ' ', after = text[at + length];
    return !isalnum((unsigned char)before) && before != '_' && before != '.' && before != '#' && before != '%' &&
           !isalnum((unsigned char)after) && after != '_' && after != '.';
}

static char *try_smaller(char *text, size_t at, size_t length, struct reduce_test *test)
{
    long long value = strtoll(text + at, NULL, 10), tries[] = {1, 2, 4, value / 2};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        if (tries[i] >= value || tries[i] < 1)
            continue;
        char *changed = with_number(text, at, length, tries[i]);
        bool keep = still_fails(test, changed);
        free(keep ? text : changed);
        if (keep)
            return changed;
    }
    return text;
}

char *reduce_numbers(char *text, struct reduce_test *test)
{
    for (size_t at = 0; text[at]; at++) {
        size_t length = strspn(text + at, "0123456789");
        if (!length)
            continue;
        if (length < 10 && is_whole(text, at, length))
            text = try_smaller(text, at, length, test);
        at += strspn(text + at, "0123456789") - 1;
    }
    return text;
}
