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

/* What reads our output has ended; Ctrl-C ends it together with us, so that this is no second request. */
static void handle_closed(int number)
{
    (void)number;
    requested = 1;
}

static void set(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* A terminal that closes ends training as Ctrl-C does, but not what nohup began. */
static void set_unless_ignored(int number, void (*handler)(int))
{
    struct sigaction before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        set(number, handler);
}

static void install(void (*handler)(int), void (*closed)(int))
{
    set(SIGINT, handler);
    set(SIGTERM, handler);
    set_unless_ignored(SIGHUP, handler);
    set_unless_ignored(SIGPIPE, closed);
}

void interrupt_begin(void)
{
    requested = 0;
    install(handle, handle_closed);
}

void interrupt_end(void)
{
    install(SIG_DFL, SIG_DFL);
    requested = 0; /* an evaluation that is not a run's does not ask for it */
}

bool interrupt_requested(void)
{
    return requested;
}
