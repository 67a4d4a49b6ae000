/* A run's model, compiled once more from what lies in its folder: the training graph as a picture, and the ledger. */
#ifndef CASTOR_FRONTEND_REPORT_GRAPH_H
#define CASTOR_FRONTEND_REPORT_GRAPH_H

#include "frontend/run_record.h"

struct report_graph {
    char *svg;             /* an <svg> element; NULL where there is none */
    char *note;            /* why there is none */
    struct json_t *ledger; /* NULL where the model does not compile */
};

/* Never fails: what cannot be made has a note, and its diagnostics go to stderr. report_graph_free releases it. */
void report_graph_make(struct report_graph *graph, const struct run_record *record);
void report_graph_free(struct report_graph *graph);

#endif
