//! Reader of the kernel's ring buffers (`BPF_MAP_TYPE_RINGBUF`).
//!
//! Own code instead of libbpf's, so that the control ring can be read inside the data ring's callback, and one
//! reading is bounded by what was there when it began.

use libbpf_rs::{MapCore, MapHandle};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// `BPF_RINGBUF_BUSY_BIT`: the record is reserved and not yet submitted.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`.
const DISCARD: u32 = 1 << 30;
/// `BPF_RINGBUF_HDR_SZ`.
const HEADER: usize = 8;

/// One mapping of a ring's memory.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: usize, offset: usize, write: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else can be overlaid.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Mapping { at, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and unmapped only here. It can fail only for a wrong address.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// One ring buffer, with this process as its only reader.
pub struct Ring {
    fd: OwnedFd,
    /// The reader's page: its position.
    consumer: Mapping,
    /// The writer's page, its position, and then the data, mapped twice in a row.
    producer: Mapping,
    page: usize,
    size: usize,
}

// SAFETY: the mappings are not tied to a thread, and every method that reads records takes `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring.
    ///
    /// # Errors
    /// When the map is no ring buffer or cannot be mapped.
    pub(super) fn new(map: &MapHandle) -> io::Result<Ring> {
        // SAFETY: no memory is involved.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(io::Error::other)?;
        let size = map.max_entries() as usize;
        if !size.is_power_of_two() || !size.is_multiple_of(page) {
            return Err(io::Error::other(format!(
                "a ring of {size} bytes, not a power of two of pages"
            )));
        }
        let fd = map.as_fd().try_clone_to_owned()?;
        let consumer = Mapping::new(fd.as_fd(), page, 0, true)?;
        let producer = Mapping::new(fd.as_fd(), page + 2 * size, page, false)?;
        Ok(Ring {
            fd,
            consumer,
            producer,
            page,
            size,
        })
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the first word of a mapped, page-aligned page, shared with the kernel, which reads it atomically.
        unsafe { self.consumer.at.cast().as_ref() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: as above; the kernel writes it atomically.
        unsafe { self.producer.at.cast().as_ref() }
    }

    /// Bytes that wait to be read, headers and padding included.
    pub fn fill(&self) -> u64 {
        let written = self.producer_position().load(Ordering::Acquire);
        written.saturating_sub(self.consumer_position().load(Ordering::Relaxed))
    }

    /// Position behind the last record that a writer has begun.
    pub fn written(&self) -> u64 {
        self.producer_position().load(Ordering::Acquire)
    }

    /// Whether every record before this position has been read.
    pub fn is_read_to(&self, position: u64) -> bool {
        self.consumer_position().load(Ordering::Relaxed) >= position
    }

    /// Whether the next record is there, and whole. One whose writer was preempted holds up all that follow it.
    fn is_ready(&self) -> bool {
        let position = self.consumer_position().load(Ordering::Relaxed);
        self.fill() > 0 && self.record(position).is_some()
    }

    /// Size of the ring in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives every record that is there now to `f`, in order; records that come meanwhile wait for the next call.
    /// Returns the number of records.
    pub fn consume(&mut self, mut f: impl FnMut(&[u8])) -> usize {
        let end = self.producer_position().load(Ordering::Acquire);
        let mut position = self.consumer_position().load(Ordering::Relaxed);
        let mut count = 0;
        while position < end {
            let Some((len, record)) = self.record(position) else {
                break;
            };
            if let Some(record) = record {
                f(record);
                count += 1;
            }
            position += (len + HEADER).next_multiple_of(8) as u64;
            self.consumer_position().store(position, Ordering::Release);
        }
        count
    }

    /// Length of the record at `position`, and its bytes unless it was discarded. None: not yet submitted.
    fn record(&self, position: u64) -> Option<(usize, Option<&[u8]>)> {
        // The mask keeps it below the size, whatever the position.
        let at = (position & (self.size as u64 - 1)) as usize;
        // SAFETY: a record starts inside the first copy of the data, 8-byte aligned, with its length word, which the
        // kernel writes atomically.
        let word: &AtomicU32 = unsafe { self.producer.at.add(self.page).add(at).cast().as_ref() };
        let word = word.load(Ordering::Acquire);
        if word & BUSY != 0 {
            return None;
        }
        let len = (word & !(BUSY | DISCARD)) as usize;
        if word & DISCARD != 0 || len > self.size {
            return Some((len, None));
        }
        // SAFETY: the kernel never reserves more than the size of the data, which is mapped twice in a row, so that a
        // record that wraps is contiguous. The kernel does not write it again before the reader's position passes it,
        // which happens after the borrow ends.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.producer.at.add(self.page + at + HEADER).as_ptr(), len)
        };
        Some((len, Some(bytes)))
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Both rings. The fields can be borrowed apart: reading the control ring inside the data ring's callback is right.
pub struct Rings {
    /// Bytes of streams.
    pub data: Ring,
    /// Connections, TLS sessions, processes.
    pub control: Ring,
    epoll: File,
}

impl Rings {
    pub(super) fn new(data: Ring, control: Ring) -> io::Result<Rings> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just created, owned by nobody else.
        let epoll = unsafe { File::from_raw_fd(fd) };
        for ring in [&data, &control] {
            // Edge-triggered: the kernel programs decide when waking the reader is worth it.
            let mut event = libc::epoll_event {
                events: (libc::EPOLLIN | libc::EPOLLET) as u32,
                u64: 0,
            };
            // SAFETY: two open descriptors and an event that the kernel copies.
            let added = unsafe {
                libc::epoll_ctl(
                    epoll.as_raw_fd(),
                    libc::EPOLL_CTL_ADD,
                    ring.as_fd().as_raw_fd(),
                    &raw mut event,
                )
            };
            if added < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Rings {
            data,
            control,
            epoll,
        })
    }

    /// Waits until a control record comes, the data ring fills by another eighth, or the time is over. Data records
    /// alone do not end it: the observed programs pay for few wake-ups, and a span is late by `timeout` at the most.
    ///
    /// # Errors
    /// When the kernel refuses to wait; a signal is none.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        if self.control.is_ready() {
            return Ok(());
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: room for two events, as said.
        let ready =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 2, timeout) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(())
    }
}
