/* Tables whose nth call fails: they wrap other tables, count every call through any of them, and make one fail. A call
 * that releases something does so all the same before it says that it failed. */
#ifndef CASTOR_TESTS_CUDA_FAULTS_H
#define CASTOR_TESTS_CUDA_FAULTS_H

#if CASTOR_CUDA

#include "runtime/cuda/cuda.h"

struct faults {
    int calls;        /* so far */
    int failing;      /* number of the call that fails, from 1; 0: none */
    const char *name; /* of the call that failed, NULL so far */
    int compiler;     /* number of NVRTC's last call */
};

/* Replaces the tables by wrappers that own them. False when out of memory. */
bool faults_wrap(struct cuda_tables *tables, struct faults *faults);
/* Whether a call of this name releases something. */
bool faults_releases(const char *name);

#endif
#endif
