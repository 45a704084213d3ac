#!/bin/busybox sh
# The first process of a virtual machine: mounts, loopback, the suite, and off. Results go to the second serial port.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp LANG=C.UTF-8
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs tmp /tmp
busybox mount -t cgroup2 cgroup /sys/fs/cgroup
busybox ip link set lo up
if busybox grep -qw plainspan.shell /proc/cmdline; then
    echo "The suite: /kernels --ignored --exact guest::suite --nocapture; busybox reboot -f ends the machine."
    busybox setsid busybox cttyhack busybox sh
else
    /kernels --ignored --exact guest::suite --nocapture --test-threads=1
fi
busybox reboot -f
