/* Every entry of the train block has a flag of its name, and every flag of that group names an entry. */
#include "check.h"
#include "frontend/cli/command.h"
#include "frontend/language/elaborate.h"

#include <string.h>

/* `average` is an entry of the language that this version refuses. */
static bool has_flag(const char *entry)
{
    for (enum flag flag = 0; flag < FLAG_COUNT; flag++)
        if (flag_in(flag, GROUP_BLOCK) && strcmp(flag_spelling(flag), entry) == 0)
            return true;
    return strcmp(entry, "average") == 0;
}

/* `--lr` stands for what is inside the `minimize` line. */
static bool is_entry(const char *flag)
{
    for (int i = 0; settings_entry(i); i++)
        if (strcmp(settings_entry(i), flag) == 0)
            return true;
    return strcmp(flag, "lr") == 0;
}

int main(void)
{
    int entries = 0;
    for (; settings_entry(entries); entries++) {
        if (!has_flag(settings_entry(entries)))
            fprintf(stderr, "no flag --%s\n", settings_entry(entries));
        CHECK(has_flag(settings_entry(entries)));
    }
    CHECK(entries > 10);
    for (enum flag flag = 0; flag < FLAG_COUNT; flag++)
        if (flag_in(flag, GROUP_BLOCK))
            CHECK(is_entry(flag_spelling(flag)));
    return check_result();
}
