//! The `hygge` command: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_buffers();
    hygge::run(std::env::args_os())
}

/// Buffers of a row group come and go in megabytes. glibc gives each back to the kernel at first,
/// which then has to clear the next one: a quarter of the time of a build that decodes. Those of up
/// to 32 MiB stay with the process from the beginning, as they would later.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_buffers() {
    const KEPT_BYTES: libc::c_int = 32 << 20;
    #[expect(
        unsafe_code,
        reason = "glibc is told a number before there is a second thread"
    )]
    // SAFETY: it changes two numbers of the allocator, and nothing else runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * KEPT_BYTES);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_buffers() {}
