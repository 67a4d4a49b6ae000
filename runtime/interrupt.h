/* Ctrl-C (a polite kill and a terminal that is closed, too): the first asks the loop to stop after its batch, the
 * second leaves at once. A pipe whose reader has ended asks once, too. */
#ifndef CASTOR_RUNTIME_INTERRUPT_H
#define CASTOR_RUNTIME_INTERRUPT_H

#include <stdbool.h>

/* Between begin and end the signals are taken; end gives them back their usual meaning. */
void interrupt_begin(void);
void interrupt_end(void);
/* Whether a signal came since interrupt_begin; not after interrupt_end. */
bool interrupt_requested(void);

#endif
