/* A signal handler can only reach the program through an object of static storage: this file holds the one that Castor
 * has. */
#include "runtime/interrupt.h"
#include "runtime/error.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t requested;

static void handle(int number)
{
    (void)number;
    if (requested)
        _exit(ERROR_INTERRUPTED);
    requested = 1;
}

static void install(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) /* as nohup has it */
        sigaction(SIGHUP, &action, NULL);
}

void interrupt_begin(void)
{
    requested = 0;
    install(handle);
}

void interrupt_end(void)
{
    install(SIG_DFL);
    requested = 0; /* an evaluation that is not a run's does not ask for it */
}

bool interrupt_requested(void)
{
    return requested;
}
