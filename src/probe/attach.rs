//! Attaching the TLS programs to places in ELF files.
//!
//! Holds: everything here works on file descriptors of its own, so it may be used from any thread; an
//! [`Attachment`] that is dropped is detached.

use super::count::{CallCounts, Number, Numbers};
use super::target::{CallResult, Family, Target, TlsCall};
use super::tier::Tier;
use libbpf_rs::libbpf_sys;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a file could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("{path}: the path holds a NUL byte", path = .0.display())]
    Path(PathBuf),
    #[error("{path}: cannot attach {symbols} as {tier}: {source}", path = .path.display())]
    Link {
        path: PathBuf,
        symbols: String,
        tier: Tier,
        source: io::Error,
    },
    #[error("cannot read /sys/bus/event_source/devices/uprobe, which attaching as perf needs: {0}")]
    NoUprobePmu(io::Error),
}

/// The programs of a family with entries and returns, by tier.
pub enum CallPrograms {
    /// One for entry and return.
    Session {
        both: OwnedFd,
    },
    Multi {
        enter: OwnedFd,
        leave: OwnedFd,
    },
    Perf {
        enter: OwnedFd,
        leave: OwnedFd,
    },
}

/// Programs to attach, by family.
pub struct Programs {
    pub calls: CallPrograms,
    /// For each place of [`Family::Go`].
    pub go: OwnedFd,
    pub rustls: CallPrograms,
}

impl Programs {
    fn tier(&self) -> Tier {
        match self.calls {
            CallPrograms::Session { .. } => Tier::Session,
            CallPrograms::Multi { .. } => Tier::Multi,
            CallPrograms::Perf { .. } => Tier::Perf,
        }
    }
}

/// Attaches the kernel's TLS programs. Cheap to clone; for any thread.
#[derive(Clone)]
pub struct Attacher {
    programs: Arc<Programs>,
    numbers: Option<Arc<Numbers>>,
}

/// The probes of one file. Dropping it detaches them.
#[must_use = "the probes are detached at once"]
#[derive(Debug)]
pub struct Attachment {
    /// Closing a link detaches it; the return links go first, so that no return comes without its entry.
    links: Vec<OwnedFd>,
    probes: usize,
    /// By which the kernel programs know the file. None: they do not count it.
    number: Option<Number>,
}

impl Attachment {
    /// Number of places that are probed.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// What went through the probes so far; None where it is not counted.
    pub fn counts(&self) -> Option<CallCounts> {
        self.number.as_ref()?.counts()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        while self.links.pop().is_some() {}
    }
}

impl Attacher {
    /// Attaches these: the agent's are made by [`super::kernel`].
    pub fn new(programs: Programs) -> Attacher {
        Attacher {
            programs: Arc::new(programs),
            numbers: None,
        }
    }

    /// With programs that count by file.
    pub(super) fn counting(mut self, numbers: Numbers) -> Attacher {
        self.numbers = Some(Arc::new(numbers));
        self
    }

    /// Probes `targets` in the file at `path`, for every process that maps it now or later. All or none.
    ///
    /// # Errors
    /// When the kernel refuses: no such file, no permission, an offset outside of the file or not at an instruction
    /// that it can probe.
    pub fn attach(&self, path: &Path, targets: &[Target]) -> Result<Attachment, AttachError> {
        let file = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| AttachError::Path(path.to_owned()))?;
        let failed = |source| AttachError::Link {
            path: path.to_owned(),
            symbols: symbols(targets),
            tier: self.programs.tier(),
            source,
        };
        let pmu = match self.programs.tier() {
            Tier::Perf => Some(Pmu::read().map_err(AttachError::NoUprobePmu)?),
            Tier::Session | Tier::Multi => None,
        };
        let number = self.numbers.as_ref().and_then(Numbers::take);
        let mut links = Vec::new();
        for family in Family::ALL {
            let of_family = targets.iter().filter(|t| t.probe.family() == family);
            let place = Place {
                path: &file,
                targets: of_family.collect(),
                pmu: pmu.as_ref(),
                number: number.as_ref().map_or(0, Number::number),
            };
            if place.targets.is_empty() {
                continue;
            }
            match family {
                Family::Call => self.programs.calls.attach(&place, &mut links),
                Family::Go => place.each(&self.programs.go, &mut links),
                Family::Rustls => self.programs.rustls.attach(&place, &mut links),
            }
            .map_err(failed)?;
        }
        Ok(Attachment {
            links,
            probes: targets.len(),
            number,
        })
    }
}

/// Whether the kernel has this kind of probe, tried with a program that does nothing.
///
/// # Errors
/// It has not, and why.
pub(super) fn try_tier(tier: Tier) -> io::Result<()> {
    let kind = match tier {
        Tier::Session => SESSION,
        Tier::Multi => MULTI,
        Tier::Perf => return Pmu::read().map(drop),
    };
    let program = nothing(kind)?;
    let (call, result) = (TlsCall::Read, CallResult::Int);
    let target = Target::call(0, call, result, String::new());
    match multi(&program, kind, c"/", &[&target], 0, 0) {
        Ok(_) => Ok(()),
        // A kernel that knows this kind of link gets as far as seeing that "/" is no file.
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Loads a program that returns 0.
fn nothing(kind: libbpf_sys::bpf_attach_type) -> io::Result<OwnedFd> {
    const MOVE: u8 = (libbpf_sys::BPF_ALU64 | libbpf_sys::BPF_MOV) as u8;
    const EXIT: u8 = (libbpf_sys::BPF_JMP | libbpf_sys::BPF_EXIT) as u8;
    let code = [MOVE, EXIT].map(|code| libbpf_sys::bpf_insn {
        code,
        ..Default::default()
    });
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: kind,
        ..Default::default()
    };
    // SAFETY: the names, the code and the options outlive the call, which copies them.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_KPROBE,
            c"ps_nothing".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as _,
            &raw mut options,
        )
    };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: just created, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const SESSION: libbpf_sys::bpf_attach_type = libbpf_sys::BPF_TRACE_UPROBE_SESSION;
const MULTI: libbpf_sys::bpf_attach_type = libbpf_sys::BPF_TRACE_UPROBE_MULTI;

/// Where the programs of one family go.
struct Place<'a> {
    path: &'a CStr,
    targets: Vec<&'a Target>,
    /// At [`Tier::Perf`].
    pmu: Option<&'a Pmu>,
    /// Of the file, in the upper half of the cookies.
    number: u32,
}

impl Place<'_> {
    /// One program at each of the places.
    fn each(&self, program: &OwnedFd, links: &mut Vec<OwnedFd>) -> io::Result<()> {
        if self.pmu.is_some() {
            return self.perf(program, &self.targets, false, links);
        }
        links.extend(multi(
            program,
            MULTI,
            self.path,
            &self.targets,
            0,
            self.number,
        )?);
        Ok(())
    }

    /// One perf event and its link for each of `targets`.
    fn perf(
        &self,
        program: &OwnedFd,
        targets: &[&Target],
        at_return: bool,
        links: &mut Vec<OwnedFd>,
    ) -> io::Result<()> {
        let none = || io::Error::other("no event source of uprobes");
        let pmu = self.pmu.ok_or_else(none)?;
        for target in targets {
            links.extend(perf(
                program,
                pmu,
                self.path,
                target,
                at_return,
                self.number,
            )?);
        }
        Ok(())
    }
}

impl CallPrograms {
    fn attach(&self, place: &Place<'_>, links: &mut Vec<OwnedFd>) -> io::Result<()> {
        let (path, all, number) = (place.path, &place.targets, place.number);
        let with_return = all.iter().copied().filter(|t| t.probe.has_return());
        let returning: Vec<&Target> = with_return.collect();
        match self {
            CallPrograms::Session { both } => {
                links.extend(multi(both, SESSION, path, all, 0, number)?);
            }
            CallPrograms::Multi { enter, leave } => {
                let at_return = libbpf_sys::BPF_F_UPROBE_MULTI_RETURN;
                links.extend(multi(enter, MULTI, path, all, 0, number)?);
                links.extend(multi(leave, MULTI, path, &returning, at_return, number)?);
            }
            CallPrograms::Perf { enter, leave } => {
                place.perf(enter, all, false, links)?;
                place.perf(leave, &returning, true, links)?;
            }
        }
        Ok(())
    }
}

/// `PS_COOKIE_LIBRARY` in `bpf/parts/library.bpf.h`.
fn cookie(target: &Target, number: u32) -> u64 {
    target.probe.cookie() | u64::from(number) << 32
}

fn symbols(targets: &[Target]) -> String {
    let names: Vec<&str> = targets.iter().map(|t| t.symbol.as_str()).collect();
    names.join(", ")
}

/// One link for all targets (kernel 6.6), or none where there is no target.
fn multi(
    program: &OwnedFd,
    kind: libbpf_sys::bpf_attach_type,
    path: &CStr,
    targets: &[&Target],
    flags: u32,
    number: u32,
) -> io::Result<Option<OwnedFd>> {
    if targets.is_empty() {
        return Ok(None);
    }
    let offsets: Vec<libc::c_ulong> = targets.iter().map(|t| t.file_offset).collect();
    let cookies: Vec<u64> = targets.iter().map(|t| cookie(t, number)).collect();
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    options.__bindgen_anon_1.uprobe_multi =
        libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
            flags,
            cnt: u32::try_from(targets.len()).map_err(io::Error::other)?,
            path: path.as_ptr(),
            offsets: offsets.as_ptr(),
            cookies: cookies.as_ptr(),
            ..Default::default()
        };
    link(program, 0, kind, &options).map(Some)
}

fn link(
    program: &OwnedFd,
    target: i32,
    kind: libbpf_sys::bpf_attach_type,
    options: &libbpf_sys::bpf_link_create_opts,
) -> io::Result<OwnedFd> {
    // SAFETY: the options and what they point to outlive the call, which copies them.
    let fd = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), target, kind, options) };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: just created, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The kernel's event source for single uprobes.
struct Pmu {
    kind: u32,
    return_bit: u32,
}

impl Pmu {
    fn read() -> io::Result<Pmu> {
        let dir = Path::new("/sys/bus/event_source/devices/uprobe");
        let number = |text: String| text.trim().parse().map_err(io::Error::other);
        let kind = number(std::fs::read_to_string(dir.join("type"))?)?;
        let bit = std::fs::read_to_string(dir.join("format/retprobe"))?;
        let return_bit = number(bit.trim_start_matches("config:").to_owned())?;
        Ok(Pmu { kind, return_bit })
    }
}

/// One perf event and its link (kernel 5.15). The link comes last, so that it is closed first.
fn perf(
    program: &OwnedFd,
    pmu: &Pmu,
    path: &CStr,
    target: &Target,
    at_return: bool,
    number: u32,
) -> io::Result<[OwnedFd; 2]> {
    let mut attr = libbpf_sys::perf_event_attr {
        type_: pmu.kind,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        config: u64::from(at_return) << pmu.return_bit,
        ..Default::default()
    };
    attr.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
    attr.__bindgen_anon_4.probe_offset = target.file_offset;
    // For every process; the CPU given does not restrict a uprobe.
    let (pid, cpu, group) = (-1, 0, -1);
    // SAFETY: the attribute and the path outlive the call, which copies them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            pid,
            cpu,
            group,
            libbpf_sys::PERF_FLAG_FD_CLOEXEC as libc::c_ulong,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just created, owned by nobody else; descriptors fit an int.
    let event = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    options.__bindgen_anon_1.perf_event.bpf_cookie = cookie(target, number);
    let kind = libbpf_sys::BPF_PERF_EVENT;
    let link = link(program, event.as_raw_fd(), kind, &options)?;
    enable(event.as_fd())?;
    Ok([event, link])
}

fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    /// `PERF_EVENT_IOC_ENABLE`, `_IO('$', 0)`.
    const ENABLE: libc::c_ulong = 0x2400;
    // SAFETY: an open perf event; this request has no argument.
    if unsafe { libc::ioctl(event.as_raw_fd(), ENABLE, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
