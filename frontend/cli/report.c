/* castor report: a page that shows what runs did. */
#include "frontend/cli/command.h"
#include "frontend/report/page.h"
#include "runtime/file.h"

#include <stdlib.h>

int command_report(const struct invocation *invocation)
{
    const char *output = flag_text(invocation, FLAG_page);
    if (!flag_output(invocation, FLAG_page))
        return EXIT_USAGE;
    char *path = output ? file_text("%s", output) : file_text("%s/report.html", invocation->words[0]);
    struct error error = {0};
    if (report_write(invocation->words, invocation->word_count, path, &error))
        fprintf(stderr, "castor: wrote %s\n", path);
    else
        error_print(&error, stderr);
    free(path);
    return error.code;
}
