/* Template files by the kind that their names begin with. */
#include "codegen/templates.h"

#include "codegen/text.h"

#include "codegen/templates.inc"

#include <string.h>

static bool begins_with(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static bool is_wanted(const char *name, unsigned kinds)
{
    if (begins_with(name, "convolution"))
        return kinds & TEMPLATE_CONVOLUTION;
    if (begins_with(name, "attention"))
        return kinds & TEMPLATE_ATTENTION;
    return kinds != 0; /* what all share */
}

const char *templates_text(unsigned kinds, struct arena *arena)
{
    struct text text = {0};
    for (int i = 0; template_files[i].name; i++)
        if (is_wanted(template_files[i].name, kinds))
            text_add(&text, "\n%s", template_files[i].text);
    return text_finish(&text, arena);
}

const char *templates_function(const char *name, int threads, const char *fields, const char *body, struct arena *arena)
{
    return arena_printf(arena,
                        "struct %s_arguments {\n%s};\n"
                        "extern \"C\" __global__ void __launch_bounds__(%d, 1) "
                        "%s(const __grid_constant__ %s_arguments arguments)\n{\n%s}\n",
                        name, fields, threads, name, name, body);
}
