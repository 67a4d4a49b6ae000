/* A binary heap of values of any type in a stb_ds array. */
#ifndef CASTOR_PASSES_HEAP_H
#define CASTOR_PASSES_HEAP_H

#include <stb/stb_ds.h>
#include <stddef.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): `type` names a type. */

/* Defines heap_push and heap_pop, which takes the value that is before all others. There must be one. */
#define HEAP_OF(type, is_before)                                                                                       \
    static void heap_push(type **heap, type entry)                                                                     \
    {                                                                                                                  \
        arrput(*heap, entry);                                                                                          \
        ptrdiff_t i = arrlen(*heap) - 1;                                                                               \
        for (; i > 0 && is_before(&entry, &(*heap)[(i - 1) / 2]); i = (i - 1) / 2)                                     \
            (*heap)[i] = (*heap)[(i - 1) / 2];                                                                         \
        (*heap)[i] = entry;                                                                                            \
    }                                                                                                                  \
    static type heap_pop(type **heap)                                                                                  \
    {                                                                                                                  \
        type top = (*heap)[0], last = arrpop(*heap);                                                                   \
        ptrdiff_t count = arrlen(*heap), i = 0;                                                                        \
        for (ptrdiff_t child; (child = 2 * i + 1) < count; i = child) {                                                \
            if (child + 1 < count && is_before(&(*heap)[child + 1], &(*heap)[child]))                                  \
                child++;                                                                                               \
            if (!is_before(&(*heap)[child], &last))                                                                    \
                break;                                                                                                 \
            (*heap)[i] = (*heap)[child];                                                                               \
        }                                                                                                              \
        if (count > 0)                                                                                                 \
            (*heap)[i] = last;                                                                                         \
        return top;                                                                                                    \
    }

/* NOLINTEND(bugprone-macro-parentheses) */

#endif
