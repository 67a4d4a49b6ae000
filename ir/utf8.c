/* Characters of UTF-8. */
#include "ir/utf8.h"

#include <stdbool.h>

int utf8_length(const char *text, size_t left)
{
    const unsigned char *at = (const unsigned char *)text;
    if (*at < 0x80)
        return *at ? 1 : 0;
    int length = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
    if (*at < 0xc2 || *at > 0xf4 || (size_t)length > left)
        return 0;
    for (int i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
    bool outside = (*at == 0xed && at[1] > 0x9f) || (*at == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : length;
}
