/* From the `data` lines, as the elaborator checked them, to the plain description that the runtime's loader opens. */
#ifndef CASTOR_FRONTEND_DATA_H
#define CASTOR_FRONTEND_DATA_H

#include "frontend/language/elaborate.h"
#include "runtime/data/data.h"

/* The description, in the arena. The setting must come from settings_read, which knows sources and arguments. */
struct data_description *data_describe(struct arena *arena, const struct data_setting *setting);

#endif
