/* How many cores control groups grant, from files such as Linux has; and what OMP_NUM_THREADS asks for. */
#include "runtime/cores.h"
#include "check.h"
#include "runtime/file.h"

#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/castor-cores-XXXXXX";

static void put(const char *name, const char *text)
{
    struct error error = {0};
    char *path = file_text("%s/%s", root, name), *folder = file_text("%s", path);
    *strrchr(folder, '/') = '\0';
    CHECK(file_make_folders(folder) && file_write(path, text, strlen(text), &error));
    free(path);
    free(folder);
}

static int wanted(const char *text)
{
    setenv("OMP_NUM_THREADS", text, 1);
    return cores_wanted();
}

int main(void)
{
    CHECK(mkdtemp(root) && cores_granted(root) == 0);
    put("proc/self/cgroup", "0::/user/run\n");
    CHECK(cores_granted(root) == 0);
    put("sys/fs/cgroup/user/run/cpu.max", "max 100000\n");
    CHECK(cores_granted(root) == 0);
    put("sys/fs/cgroup/user/run/cpu.max", "350000 100000\n");
    CHECK(cores_granted(root) == 4);
    put("sys/fs/cgroup/user/cpu.max", "50000 100000\n"); /* the group around it has less */
    CHECK(cores_granted(root) == 1);
    put("proc/self/cgroup", "3:cpuset:/\n2:cpuacct,cpu:/box\n0::/elsewhere\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(cores_granted(root) == 0);
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"); /* a container's own root: /box is not seen */
    CHECK(cores_granted(root) == 2);
    CHECK(wanted("3") == 3 && wanted("2,4") == 2 && wanted("") == 0 && wanted("-1") == 0 && wanted("many") == 0);
    CHECK(wanted("5x") == 0 && wanted("99999999999999999999") == 0 && cores_available() >= 1);
    unsetenv("OMP_NUM_THREADS");
    CHECK(cores_wanted() == 0);
    char *command = file_text("rm -r %s", root);
    CHECK(system(command) == 0);
    free(command);
    return check_result();
}
