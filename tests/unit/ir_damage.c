/* Damaged IR texts never crash the parser or the verifier: each is read, or refused with diagnostics. */
#include "check.h"
#include "ir/parse.h"
#include "ir/print.h"
#include "ir/verify.h"
#include "random_graph.h"

#include <stdlib.h>

enum { TEXTS = 20, DAMAGES = 60 };

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Changes, drops or repeats a few bytes; often with bytes that mean something. */
static void damage(char *text, uint64_t *state)
{
    static const char bytes[] = "[]{}()%#@:,=~\"\\\n 0123456789-.abfx;";
    size_t length = strlen(text);
    for (uint32_t i = 0; i <= draw(state) % 3; i++) {
        size_t at = draw(state) % length;
        if (draw(state) % 4 == 0)
            memmove(text + at, text + at + 1, length - at);
        else if (draw(state) % 8 == 0)
            text[at] = (char)(1 + draw(state) % 255);
        else
            text[at] = bytes[draw(state) % (sizeof bytes - 1)];
    }
}

static int damages(uint64_t seed)
{
    struct arena *arena = arena_new();
    struct module *module = random_module(arena, seed, &(struct random_options){.halves = true});
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print_module(module, out);
    fclose(out);
    int read = 0;
    for (int i = 0; i < DAMAGES; i++) {
        uint64_t state = seed * 1000 + (uint64_t)i;
        struct diagnostics *diagnostics = diagnostics_new(arena);
        char *damaged = arena_printf(arena, "%s", text);
        damage(damaged, &state);
        struct module *parsed = parse_module(arena, diagnostics, "damaged.ir", damaged);
        CHECK((parsed == NULL) == (diagnostics_errors(diagnostics) > 0));
        if (parsed)
            verify_module(parsed, diagnostics);
        read += parsed != NULL;
        module_free(parsed);
    }
    free(text);
    module_free(module);
    arena_free(arena);
    return read;
}

int main(void)
{
    int read = 0;
    for (uint64_t seed = 1; seed <= TEXTS; seed++)
        read += damages(seed);
    printf("%d of %d damaged texts were read\n", read, TEXTS * DAMAGES);
    CHECK(read > 0 && read < TEXTS * DAMAGES);
    return check_result();
}
