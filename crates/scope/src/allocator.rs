//! How the C library's allocator shares memory among threads, and when it gives some back.

// `mallopt` and `malloc_trim` are C. The two calls below are all.
#![allow(unsafe_code)]

/// Lets all threads share one arena.
///
/// glibc gives threads arenas of their own, up to eight per core, and what one of them has cut into pieces the others
/// cannot use. Sessions start and end threads all the time, each with codecs and pictures: memory crept from 35 to
/// 45 MiB over 2000 sessions. And only of the first arena does `malloc_trim` give the end back as well: of a second one
/// several MiB stayed after a model. Small pieces come from each thread's own cache anyway, so that few wait for another.
///
/// Does nothing where the user has already decided, or with another C library. To be called while there is one thread.
pub(crate) fn share_arena() {
    let tunables = std::env::var("GLIBC_TUNABLES").unwrap_or_default();
    if std::env::var_os("MALLOC_ARENA_MAX").is_some() || tunables.contains("glibc.malloc.arena_max") {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const ARENAS: libc::c_int = 1;
        // SAFETY: `mallopt` takes two numbers by value, locks what it changes, and may be called at any time.
        // It can only refuse, which leaves everything as it was.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    }
}

/// Gives freed memory back to the system.
///
/// glibc keeps what it has cut into pieces once: 80 MiB and more after a model has gone. Takes a few milliseconds.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a number by value, locks each arena that it trims, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
