/* Memory of the host's buffers. */
#ifndef CASTOR_RUNTIME_HOST_PAGES_H
#define CASTOR_RUNTIME_HOST_PAGES_H

#include <stddef.h>

/* At least so many bytes, aligned to a cache line, for free(); NULL when there is no memory. Much of it comes in large
 * pages where the system has such: products walk matrices in strides of many small ones. */
void *pages_allocate(size_t bytes);

#endif
