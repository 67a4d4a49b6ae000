/* What `castor calibrate` measured: kept in $XDG_CONFIG_HOME/castor/calibration.json, one entry a device, and taken
 * by the cost model in place of published figures. */
#ifndef CASTOR_FRONTEND_CALIBRATION_H
#define CASTOR_FRONTEND_CALIBRATION_H

#include "passes/figures.h"
#include "runtime/device.h"

/* The figures of this device from the file; false when it holds none. A file that cannot be read counts as none,
 * after a warning. */
bool calibration_find(const char *device, const struct device_facts *facts, struct figures *figures);

/* Adds or replaces the device's entry. There must be a path. False with an error set. */
bool calibration_store(const char *device, const struct device_facts *facts, const struct figures *figures,
                       struct error *error);

/* Runs small programs on the device: streams memory, multiplies matrices, launches what does nothing. The target is
 * the device's. False with an error set. */
bool calibration_measure(struct device *device, const struct target *target, struct figures *figures,
                         struct error *error);

/* Where the file is; malloced, NULL where there is no home. */
char *calibration_path(void);

#endif
