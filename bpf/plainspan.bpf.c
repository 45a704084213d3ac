/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel programs: sockets, TLS calls and processes become events in two rings (include/event.h).
 *
 * Always holds: an offset or turn advances before the room for its event is asked for, so a loss is a gap of known
 * size; every loss is counted in ps_stats; nothing waits for user space.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "include/event.h"

#include "parts/state.bpf.h"
#include "parts/loop.bpf.h"
#include "parts/emit.bpf.h"
#include "parts/verdict.bpf.h"
#include "parts/http1.bpf.h"
#include "parts/walk.bpf.h"
#include "parts/library.bpf.h"
#include "parts/hello.bpf.h"
#include "parts/conn.bpf.h"
#include "parts/goroutine.bpf.h"
#include "parts/session.bpf.h"
#include "parts/socket.bpf.h"
#include "parts/function.bpf.h"
#include "parts/syscall.bpf.h"
#include "parts/tls.bpf.h"
#include "parts/go.bpf.h"
#include "parts/rustls.bpf.h"
#include "parts/process.bpf.h"

char LICENSE[] SEC("license") = "GPL";
