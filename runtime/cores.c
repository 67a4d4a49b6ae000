/* Affinity and control groups: a container is often given a share of time on all of the machine's cores, where a thread
 * for each of them would make all wait. */
#include "runtime/cores.h"
#include "runtime/file.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static double read_number(const char *root, const char *group, const char *name)
{
    char *path = file_text("%s/sys/fs/cgroup%s/%s", root, group, name);
    FILE *file = fopen(path, "r");
    double number = 0;
    if (file && fscanf(file, "%lf", &number) != 1)
        number = 0;
    if (file)
        fclose(file);
    free(path);
    return number;
}

/* "QUOTA PERIOD" of version 2; "max PERIOD" is no limit. */
static double unified_share(const char *root, const char *group)
{
    char *path = file_text("%s/sys/fs/cgroup%s/cpu.max", root, group);
    FILE *file = fopen(path, "r");
    double quota = 0, period = 0;
    bool limited = file && fscanf(file, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0;
    if (file)
        fclose(file);
    free(path);
    return limited ? quota / period : INFINITY;
}

/* Version 1 has two files, and a quota of -1 for no limit. */
static double legacy_share(const char *root, const char *group)
{
    char *folder = file_text("/cpu%s", group);
    double quota = read_number(root, folder, "cpu.cfs_quota_us"),
           period = read_number(root, folder, "cpu.cfs_period_us");
    free(folder);
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

/* The least that the group or one of those around it grants. Within a container the path may be one of the machine,
 * of which only the root is seen. */
static double least_share(const char *root, char *group, double share(const char *root, const char *group))
{
    double least = share(root, "");
    while (*group) {
        double own = share(root, group);
        least = own < least ? own : least;
        *strrchr(group, '/') = '\0';
    }
    return least;
}

/* Whether the comma-separated words hold this one. */
static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ',') && strchr(",:", at[length]))
            return true;
    return false;
}

/* A line is NUMBER:CONTROLLERS:PATH; that of version 2 has no controllers. */
static double line_share(const char *root, char *line)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/')
        return INFINITY;
    path[strcspn(path, "\n")] = '\0';
    bool unified = path == controllers + 1, legacy = has_word(controllers + 1, "cpu");
    return unified  ? least_share(root, path + 1, unified_share)
           : legacy ? least_share(root, path + 1, legacy_share)
                    : INFINITY;
}

int cores_granted(const char *root)
{
    char *name = file_text("%s/proc/self/cgroup", root), *line = NULL;
    FILE *file = fopen(name, "r");
    double least = INFINITY;
    size_t room = 0;
    while (file && getline(&line, &room, file) > 0) {
        double share = line_share(root, line);
        least = share < least ? share : least;
    }
    if (file)
        fclose(file);
    free(line);
    free(name);
    return least < INT_MAX ? (int)ceil(least) : 0;
}

int cores_available(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int granted = cores_granted("");
    cores = granted && granted < cores ? granted : cores;
    return cores > 0 ? cores : 1;
}

/* A list is by levels of nested teams, of which there is one here. */
int cores_wanted(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end;
    long wanted = text ? strtol(text, &end, 10) : 0;
    return wanted > 0 && wanted <= 4096 && strchr(", ", *end) ? (int)wanted : 0;
}

/* Whether /proc/self/exe is this program. Started as `ld.so castor …`, this process is the loader's (the kernel gives
 * an address of a loader only where it was the kernel that added one); under valgrind and its like it is theirs. */
static bool can_begin_anew(void)
{
    const char *own = (const char *)getauxval(AT_EXECFN);
    struct stat program, process;
    return getauxval(AT_BASE) != 0 && own && stat(own, &program) == 0 && stat("/proc/self/exe", &process) == 0 &&
           program.st_dev == process.st_dev && program.st_ino == process.st_ino;
}

/* By default libgomp's threads look for milliseconds whether they may go on, and keep the core meanwhile: where other
 * programs keep the cores busy, too, the thread that all wait for does not get one, and a step of many short kernels
 * takes three times as long. A thousand looks, some microseconds, are enough where cores are idle. libgomp reads the
 * variable when it is loaded, which is before main. */
void cores_sleep_while_waiting(char **words)
{
    static const char name[] = "GOMP_SPINCOUNT";
    if (getenv("OMP_WAIT_POLICY") || getenv(name) || !can_begin_anew() || setenv(name, "1000", 1) != 0)
        return;
    execv("/proc/self/exe", words); /* comes back where it cannot: then threads wait as they did */
}
