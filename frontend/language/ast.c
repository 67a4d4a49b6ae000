/* The tree's few functions: spellings and growing lists. */
#include "frontend/language/ast.h"

#include <string.h>

static const char *const operators[] = {
#define OPERATOR(identifier, spelling) spelling,
    AST_OPERATORS(OPERATOR)
#undef OPERATOR
};

static const char *const declarations[] = {
#define DECLARATION(identifier, word) word,
    AST_DECLARATIONS(DECLARATION)
#undef DECLARATION
};

const char *ast_operator_text(enum ast_operator operator)
{
    return operators[operator];
}

const struct ast_parameters *ast_model_inputs(const struct ast_file *file)
{
    for (int i = 0; i < file->count; i++)
        if (file->items[i]->kind == AST_MODEL)
            return &file->items[i]->parameters;
    return NULL;
}

const char *ast_declaration_text(enum ast_declaration what)
{
    return declarations[what];
}

void *ast_grow(struct arena *arena, void *items, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = count ? count * 2 : 4;
    void *grown = arena_allocate(arena, (size_t)*capacity * size);
    if (count)
        memcpy(grown, items, (size_t)count * size);
    return grown;
}
