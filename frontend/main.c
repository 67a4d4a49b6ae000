/* castor: the command table. */
#include <stdio.h>

int main(void)
{
    fprintf(stderr, "usage: castor COMMAND FILE [flags]\n");
    return 2;
}
