"""A wall clock that can be set for one program and its children, as a person or NTP sets one.

A library that is loaded before all others adds an offset to every look at the time of day; the
monotonic clock runs on, as it does on a machine whose clock is set. The offset is read from a file,
so that it may be changed while the program runs. (libfaketime also moves the end of waits that go
by the monotonic clock, so that a program under it stands still.)
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from datetime import timedelta
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead_s;

static int64_t ahead(void) {
    if (!ahead_s) {
        const char *path = getenv("SOAK_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0) return 0;
        void *page = mmap(0, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (page == MAP_FAILED) return 0;
        ahead_s = page;
    }
    return *ahead_s;
}

#define REAL(name) static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t id, struct timespec *now) {
    REAL(clock_gettime);
    int answer = real(id, now);
    if (!answer && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return answer;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int answer = real(now, zone);
    if (!answer && now) now->tv_sec += ahead();
    return answer;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

/* Waits until a time of day: the kernel knows the true one only. */
int sem_timedwait(sem_t *restrict one, const struct timespec *restrict until) {
    REAL(sem_timedwait);
    struct timespec true_time = *until;
    true_time.tv_sec -= ahead();
    return real(one, &true_time);
}
"""


class SettableClock:
    """Raises OSError where there is no C compiler."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise OSError("no C compiler (cc) to make a clock that can be set")
        folder.mkdir(parents=True, exist_ok=True)
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(_SOURCE)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True
        )
        self._offset = folder / "ahead"
        self.set(timedelta())
        self.environment = {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(self._offset)}

    def set(self, ahead: timedelta) -> None:
        """By how much the clock is ahead of the true one from now on."""
        seconds = struct.pack("=q", round(ahead.total_seconds()))
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(seconds)
