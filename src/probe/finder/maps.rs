//! Executable mappings of files, as `/proc/PID/maps` lists them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A file mapped executable into a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub pid: u32,
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// Position in the file of the byte at `start`.
    pub file_offset: u64,
    pub key: MappedFile,
    /// As the process sees it, without the mark of a deleted file.
    pub path: PathBuf,
    /// No name leads to the file any more.
    pub deleted: bool,
}

/// A file as the kernel names it for a mapping. On overlay and btrfs file systems `stat` may give other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappedFile {
    pub major: u32,
    pub minor: u32,
    pub inode: u64,
}

/// The path without the kernel's mark, and whether the mark was there. `None` for what is no file's path.
pub fn file_path(name: &[u8]) -> Option<(PathBuf, bool)> {
    // `//anon`, `[vdso]`, `anon_inode:…`
    if !name.starts_with(b"/") || name.starts_with(b"//") {
        return None;
    }
    let (name, deleted) = match name.strip_suffix(b" (deleted)") {
        Some(name) => (name, true),
        None => (name, false),
    };
    Some((PathBuf::from(OsString::from_vec(name.to_vec())), deleted))
}

/// The executable file mappings in the text of a maps file (proc(5)). Lines that are none are left out.
pub fn executable(pid: u32, maps: &[u8]) -> impl Iterator<Item = Mapping> {
    maps.split(|b| *b == b'\n')
        .filter_map(move |line| mapping(pid, line))
}

/// `7f00-7f10 r-xp 00001000 08:01 1234    /usr/lib/x.so`
fn mapping(pid: u32, line: &[u8]) -> Option<Mapping> {
    let (range, rest) = word(line)?;
    let (access, rest) = word(rest)?;
    if access.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let (offset, rest) = word(rest)?;
    let (device, rest) = word(rest)?;
    let (inode, rest) = word(rest)?;
    let name = rest.trim_ascii_start();
    let (path, deleted) = file_path(name)?;
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let inode = inode.parse().ok()?;
    Some(Mapping {
        pid,
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        file_offset: u64::from_str_radix(offset, 16).ok()?,
        key: MappedFile {
            major: u32::from_str_radix(major, 16).ok()?,
            minor: u32::from_str_radix(minor, 16).ok()?,
            inode,
        },
        path,
        deleted,
    })
}

/// The first word of ASCII, and what follows the blank behind it.
fn word(line: &[u8]) -> Option<(&str, &[u8])> {
    let end = line.iter().position(|b| *b == b' ')?;
    let (word, rest) = line.split_at(end);
    Some((std::str::from_utf8(word).ok()?, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_mappings_of_files_are_taken_and_nothing_else() {
        let maps = b"55d0-55d8 r--p 00000000 fe:00 11                         /usr/bin/a\n\
            55d8-55e0 r-xp 00002000 fe:0a 11                         /usr/bin/a b\n\
            7f00-7f08 rwxp 00000000 00:00 0 \n\
            7f10-7f18 r-xp 00001000 00:2b 99                         /usr/lib/libssl.so.3 (deleted)\n\
            7f20-7f28 r-xp 00000000 00:00 0                          [vdso]\n\
            garbage\n";
        let all: Vec<Mapping> = executable(7, maps).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].path, PathBuf::from("/usr/bin/a b"));
        assert_eq!(
            (all[0].start, all[0].end, all[0].file_offset),
            (0x55d8, 0x55e0, 0x2000)
        );
        let key = MappedFile {
            major: 0xfe,
            minor: 0xa,
            inode: 11,
        };
        assert_eq!((all[0].key, all[0].deleted, all[0].pid), (key, false, 7));
        assert_eq!(all[1].path, PathBuf::from("/usr/lib/libssl.so.3"));
        assert!(all[1].deleted);
    }

    #[test]
    fn names_of_anonymous_mappings_are_no_paths() {
        for name in [&b"//anon"[..], b"[vdso]", b"anon_inode:[perf_event]", b""] {
            assert_eq!(file_path(name), None);
        }
    }
}
