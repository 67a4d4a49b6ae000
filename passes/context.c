/* The rewrite budget of --pass-limit; apart from the table so that one pass can be linked alone. */
#include "passes/pass.h"

bool pass_may_rewrite(struct pass_context *context)
{
    if (context->limit < 0)
        return true;
    if (context->limit == 0)
        return false;
    context->limit--;
    return true;
}
