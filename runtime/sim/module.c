/* Loading and unloading modules: variables in memory, kernels decoded. */
#include "runtime/sim/module.h"

#include "runtime/sim/shadow.h"

#include <stb/stb_ds.h>
#include <stdlib.h>
#include <string.h>

static bool in_memory(const struct ptx_variable *variable)
{
    return variable->space == PTX_GLOBAL || variable->space == PTX_CONST;
}

/* Variables without an initial value are zero, as the driver makes them. */
static bool place(struct sim_module *module, struct error *error)
{
    ptrdiff_t count = arrlen(module->ptx->variables);
    for (ptrdiff_t i = 0; i < count; i++) {
        const struct ptx_variable *variable = &module->ptx->variables[i];
        uint64_t address = 0;
        if (in_memory(variable)) {
            address = sim_memory_new(module->memory, (size_t)variable->bytes, variable->name);
            if (!address) {
                error_set(error, "PTX line %d: no memory for '%s' of %lld bytes", variable->line, variable->name,
                          (long long)variable->bytes);
                return false;
            }
            memset((void *)(uintptr_t)address, 0, (size_t)variable->bytes);
            if (arrlen(variable->initial))
                memcpy((void *)(uintptr_t)address, variable->initial, arrlenu(variable->initial));
            shadow_mark(sim_memory_find(module->memory, address)->written, 0, (size_t)variable->bytes);
            if (variable->space == PTX_CONST)
                sim_memory_protect(module->memory, address);
        }
        arrput(module->addresses, address);
    }
    return true;
}

static void relocate(struct sim_module *module)
{
    for (ptrdiff_t i = 0; i < arrlen(module->ptx->variables); i++) {
        const struct ptx_variable *variable = &module->ptx->variables[i];
        if (!module->addresses[i])
            continue;
        for (ptrdiff_t k = 0; k < arrlen(variable->relocations); k++) {
            const struct ptx_relocation *relocation = &variable->relocations[k];
            uint64_t value = module->addresses[relocation->variable] + (uint64_t)relocation->addend;
            memcpy((uint8_t *)(uintptr_t)module->addresses[i] + relocation->at, &value, sizeof value);
        }
    }
}

struct sim_module *sim_module_load(const char *text, struct sim_memory *memory, const struct sim_isa *isa,
                                   struct error *error)
{
    struct sim_module *module = calloc(1, sizeof *module);
    if (!module) {
        error_set(error, "no memory for a module");
        return NULL;
    }
    module->memory = memory;
    module->isa = isa;
    module->ptx = ptx_read(text, error);
    bool good = module->ptx && place(module, error);
    if (good)
        relocate(module);
    for (ptrdiff_t i = 0; good && i < arrlen(module->ptx->kernels); i++) {
        struct sim_kernel *kernel = sim_kernel_decode(module, &module->ptx->kernels[i], error);
        if (kernel)
            arrput(module->kernels, kernel);
        good = kernel != NULL;
    }
    if (good)
        return module;
    sim_module_unload(module);
    return NULL;
}

void sim_module_unload(struct sim_module *module)
{
    if (!module)
        return;
    for (ptrdiff_t i = 0; i < arrlen(module->kernels); i++)
        sim_kernel_free(module->kernels[i]);
    arrfree(module->kernels);
    for (ptrdiff_t i = 0; i < arrlen(module->addresses); i++)
        if (module->addresses[i])
            sim_memory_delete(module->memory, module->addresses[i]);
    arrfree(module->addresses);
    ptx_free(module->ptx);
    free(module);
}

struct sim_kernel *sim_module_kernel(struct sim_module *module, const char *name)
{
    for (ptrdiff_t i = 0; i < arrlen(module->kernels); i++)
        if (strcmp(module->kernels[i]->name, name) == 0)
            return module->kernels[i];
    return NULL;
}

bool sim_module_global(const struct sim_module *module, const char *name, uint64_t *address, size_t *bytes)
{
    for (ptrdiff_t i = 0; i < arrlen(module->ptx->variables); i++) {
        const struct ptx_variable *variable = &module->ptx->variables[i];
        if (!module->addresses[i] || strcmp(variable->name, name) != 0)
            continue;
        *address = module->addresses[i];
        *bytes = (size_t)variable->bytes;
        return true;
    }
    return false;
}
