/* Single quotes around what holds anything but plain characters. */
#include "runtime/shell.h"
#include "runtime/error.h"

#include <string.h>

void shell_put_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
    if (*word && !word[strspn(word, plain)]) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (; *word; word++)
        fprintf(out, *word == '\'' ? "'\\''" : "%c", *word);
    fputc('\'', out);
}

char *shell_word(const char *word)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        error_exhausted();
    shell_put_word(out, word);
    if (fclose(out) != 0 || !text)
        error_exhausted();
    return text;
}
