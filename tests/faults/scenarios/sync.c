/* While the file FAIL_SYNC names is there, no sync of a file below FAIL_SYNC_UNDER succeeds, and what was to be synced is thrown
   away, as a disk may: the file is empty afterwards. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fails(int fd) {
  const char *file = getenv("FAIL_SYNC"), *under = getenv("FAIL_SYNC_UNDER");
  char link[64], path[PATH_MAX];
  struct stat about;
  if (!file || !under || access(file, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (strncmp(path, under, strlen(under)) != 0) return 0;
  if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && truncate(path, 0) != 0) return 1;
  return 1;
}

int fsync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (fails(fd)) return errno = EIO, -1;
  return real(fd);
}

int fdatasync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (fails(fd)) return errno = EIO, -1;
  return real(fd);
}
