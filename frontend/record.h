/* Recording how large a model's values are, for --record-ranges and --histogram. */
#ifndef CASTOR_FRONTEND_RECORD_H
#define CASTOR_FRONTEND_RECORD_H

#include "frontend/session.h"

/* Evaluates the training step of the session's model in f32, unfused and unscaled, on a few examples of its training
 * data, with the initial parameters and with those of the weights file, and writes exponent histograms of all floating
 * values to `path`. `summary`: where to say what f16 would lose; NULL: nowhere. 0 or an exit code. */
int record_ranges(struct session *session, const char *weights, const char *path, FILE *summary);

#endif
