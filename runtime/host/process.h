/* Child processes whose output goes to a file. */
#ifndef CASTOR_RUNTIME_HOST_PROCESS_H
#define CASTOR_RUNTIME_HOST_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts arguments[0], searched in PATH, with stdout and stderr in the file `output`. 0 with errno set when it cannot
 * be started. */
pid_t process_start(char *const *arguments, const char *output);
/* Waits for it; true when it exited with 0. */
bool process_wait(pid_t process);

#endif
