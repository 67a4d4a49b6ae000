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

/* A terminal that closes ends training as Ctrl-C does, but not what nohup began. */
static void set_hangup(const struct sigaction *action)
{
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(SIGHUP, action, NULL);
}

static void install(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    set_hangup(&action);
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
