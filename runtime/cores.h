/* How many cores this process may use, and what its threads do while they wait for each other. */
#ifndef CASTOR_RUNTIME_CORES_H
#define CASTOR_RUNTIME_CORES_H

/* Those that it may run on, but no more than its control group is given time for; at least 1. */
int cores_available(void);
/* Threads that the user's environment asks OpenMP programs to take, OMP_NUM_THREADS; 0 where it says nothing. */
int cores_wanted(void);

/* Called before anything else, with main's words: begins the program anew, once, with threads that soon sleep where
 * they have to wait, unless the environment says how OpenMP's threads wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT). */
void cores_sleep_while_waiting(char **words);

/* The cores' worth of time that control groups grant, rounded up: /proc/self/cgroup is below `root`, as is
 * /sys/fs/cgroup ("" but in tests). 0: no limit. */
int cores_granted(const char *root);

#endif
