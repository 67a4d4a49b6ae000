/* Which device a command runs on: --device, --arch and their kin turned into facts, a target for the compiler, and the
 * device itself. */
#ifndef CASTOR_FRONTEND_DEVICE_H
#define CASTOR_FRONTEND_DEVICE_H

#include "codegen/ledger.h"
#include "frontend/cli/command.h"
#include "ir/target.h"
#include "runtime/device.h"
#include "runtime/host/host.h"

enum device_kind { DEVICE_HOST, DEVICE_CUDA, DEVICE_SIM, DEVICE_COUNT };

struct device_choice {
    enum device_kind kind;
    struct host_settings host;
    const char *architecture; /* of a GPU as --arch gives it; NULL: its own */
    bool tf32;
};

/* Reads the flags. Without --device it is cuda where the machine has a GPU and NVRTC, else host. 0, or an exit code
 * after a usage error. */
int device_choose(const struct invocation *invocation, struct device_choice *choice);

const char *device_name(enum device_kind kind);

/* What the device is. Code can be compiled for a GPU that is not there: then its architecture alone is known, sm_80
 * unless --arch says otherwise. */
bool device_describe(const struct device_choice *choice, struct device_facts *facts, struct error *error);
/* Whether it could run something here; why not, in the error. */
bool device_present(const struct device_choice *choice, struct device_facts *facts, struct error *error);

struct target device_target(const struct device_choice *choice, const struct device_facts *facts);

/* NULL with an error set on failure. */
struct device *device_make(const struct device_choice *choice, struct error *error);

/* The PTX of a program that was made for a GPU; needs NVRTC, but no GPU. */
bool device_print_ptx(const struct device_choice *choice, const struct device_facts *facts,
                      const struct program *program, FILE *out, struct error *error);
/* What a trainer carries of such a program (cuda_code_write); the bytes are the caller's to free. */
bool device_code(const struct device_choice *choice, const struct device_facts *facts, const struct program *program,
                 void **bytes, size_t *size, struct error *error);
/* What each kernel of such a program takes, as the assembler tells it; an array, the caller's to free. NULL with an
 * error set on failure. */
struct ledger_resources *device_resources(const struct device_choice *choice, const struct device_facts *facts,
                                          const struct program *program, struct error *error);

#endif
