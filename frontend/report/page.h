/* The report: one HTML page of one or several runs, with all that it needs inside. */
#ifndef CASTOR_FRONTEND_REPORT_PAGE_H
#define CASTOR_FRONTEND_REPORT_PAGE_H

#include "runtime/error.h"

/* Writes the page of these run folders to `path`. Lines of logs and files that cannot be used are told on stderr and on
 * the page; a folder that is no run is an error. False with an error set. */
bool report_write(const char *const *runs, int count, const char *path, struct error *error);

#endif
