//! A second name for a library that is loaded.
//!
//! `cudarc` asks for `libcublasLt.so` before it asks for `libcublasLt.so.13`, and the linker answers with the first file of that name
//! in its own folders: that of an older toolkit, or in the driver's case an empty stand-in. What the linker looks for first is a
//! library in memory that calls itself so (`DT_SONAME`). So we load one that does: it has no code, and one dependency, the
//! library that was found. Functions are looked up in a library and in its dependencies.
//!
//! Format: *System V Application Binary Interface*, chapters 4 and 5.

use super::search;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A library in memory whose name is another's second one.
pub(super) struct Alias {
    file: File,
    path: PathBuf,
}

impl Alias {
    /// A library called `name` that depends on the one at the absolute path `target`.
    pub(super) fn new(name: &str, target: &Path) -> io::Result<Self> {
        let image = image(name, target)?;
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.write_all(&image)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { file, path })
    }

    /// Where it can be opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file open until the process ends: the linker remembers libraries by path, and no other may get the same.
    pub(super) fn keep(self) {
        std::mem::forget(self.file);
    }
}

const HEADER_LEN: u64 = 64;
const SEGMENT_LEN: u64 = 56;
/// What is mapped, its dynamic section, and the permissions of the stack.
const SEGMENTS: u16 = 3;
const DYNAMIC_ENTRY_LEN: u64 = 16;
const SYMBOL_LEN: u64 = 24;
const PAGE: u64 = 4096;

/// The bytes of a shared object with a name, one dependency and nothing else.
fn image(name: &str, target: &Path) -> io::Result<Vec<u8>> {
    let machine = search::machine().ok_or(io::ErrorKind::Unsupported)?;
    let target = target.as_os_str().as_bytes();
    if name.contains('\0') || target.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut strings = vec![0];
    let name_at = strings.len() as u64;
    strings.extend([name.as_bytes(), b"\0"].concat());
    let target_at = strings.len() as u64;
    strings.extend([target, b"\0"].concat());

    const ENTRIES: u64 = 8;
    // One bucket and one symbol: the empty one that every table begins with.
    const HASH: [u32; 4] = [1, 1, 0, 0];
    let dynamic_at = HEADER_LEN + u64::from(SEGMENTS) * SEGMENT_LEN;
    let symbols_at = dynamic_at + ENTRIES * DYNAMIC_ENTRY_LEN;
    let hash_at = symbols_at + SYMBOL_LEN;
    let strings_at = hash_at + size_of_val(&HASH) as u64;
    let len = strings_at + strings.len() as u64;

    let mut out = Vec::with_capacity(len as usize);
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    // Header: 64 bits, little-endian, version 1, System V; a shared object.
    put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&3_u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes());
    // No entry point; segments follow; no sections.
    for word in [0, HEADER_LEN, 0] {
        put(&word.to_le_bytes());
    }
    put(&0_u32.to_le_bytes());
    for half in [HEADER_LEN as u16, SEGMENT_LEN as u16, SEGMENTS, 0, 0, 0] {
        put(&half.to_le_bytes());
    }
    // The linker writes addresses into the dynamic section, so it must be writable.
    const READ_WRITE: u32 = 6;
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    const GNU_STACK: u32 = 0x6474_e551;
    let dynamic_len = ENTRIES * DYNAMIC_ENTRY_LEN;
    for (kind, at, len, align) in
        [(LOAD, 0, len, PAGE), (DYNAMIC, dynamic_at, dynamic_len, 8), (GNU_STACK, 0, 0, 16)]
    {
        put(&kind.to_le_bytes());
        put(&READ_WRITE.to_le_bytes());
        // Offset, two addresses, two lengths, alignment.
        for word in [at, at, at, len, len, align] {
            put(&word.to_le_bytes());
        }
    }
    let dynamic: [(u64, u64); ENTRIES as usize] = [
        (1, target_at),             // NEEDED
        (14, name_at),              // SONAME
        (4, hash_at),               // HASH
        (5, strings_at),            // STRTAB
        (6, symbols_at),            // SYMTAB
        (10, strings.len() as u64), // STRSZ
        (11, SYMBOL_LEN),           // SYMENT
        (0, 0),
    ];
    for (tag, value) in dynamic {
        put(&tag.to_le_bytes());
        put(&value.to_le_bytes());
    }
    put(&[0; SYMBOL_LEN as usize]);
    for word in HASH {
        put(&word.to_le_bytes());
    }
    put(&strings);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::libraries::load;

    /// The C library's own mathematics stands for NVIDIA's: it is on every Linux, and has a version in its name.
    const TARGET: &str = "libm.so.6";

    #[test]
    fn a_library_is_found_under_a_name_that_no_file_has() {
        let target = search::system_linker(TARGET).unwrap().unwrap();
        let name = "libscope-second-name.so";
        assert!(load::open_by_name(name).is_err());
        let alias = Alias::new(name, &target).unwrap();
        load::open_by_name(alias.path().to_str().unwrap()).unwrap();
        alias.keep();
        let second = load::function_address(name, "cos").expect("opened by its second name");
        assert_eq!(Some(second), load::function_address(TARGET, "cos"));
        assert_eq!(load::function_address(name, "no_such_function"), None);
    }

    #[test]
    fn a_target_that_is_not_there_is_refused_by_the_linker() {
        let alias = Alias::new("libscope-nowhere.so", Path::new("/nowhere/libm.so")).unwrap();
        let problem = load::open_by_name(alias.path().to_str().unwrap()).unwrap_err();
        assert!(problem.contains("/nowhere/libm.so"), "{problem}");
    }

    #[test]
    fn names_with_a_null_are_refused() {
        assert!(Alias::new("a\0b", Path::new("/x")).is_err());
        assert!(Alias::new("a", Path::new("/x\0y")).is_err());
    }
}
