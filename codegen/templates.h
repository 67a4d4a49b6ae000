/* The CUDA templates (templates/): what kernels of a kind share stands once before them; a kernel is a few lines. */
#ifndef CASTOR_CODEGEN_TEMPLATES_H
#define CASTOR_CODEGEN_TEMPLATES_H

#include "ir/arena.h"

enum template_kind { TEMPLATE_CONVOLUTION = 1, TEMPLATE_ATTENTION = 2 };

/* The text of the given kinds, a sum of enum template_kind; "" for none. */
const char *templates_text(unsigned kinds, struct arena *arena);

/* A whole kernel of the name `name`, whose one parameter is a struct of `fields`, called `arguments` in `body`. */
const char *templates_function(const char *name, int threads, const char *fields, const char *body,
                               struct arena *arena);

#endif
