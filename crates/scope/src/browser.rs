//! Opening the page.

use std::process::{Command, Stdio};

/// Opens `url` in the user's browser, if there is a screen to show it on. Failures do not matter: the address is printed.
pub(crate) fn open(url: &str) {
    let mut command = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        let mut command = Command::new("rundll32");
        command.arg("url.dll,FileProtocolHandler");
        command
    } else if has_screen() {
        Command::new("xdg-open")
    } else {
        return;
    };
    let child = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Ok(mut child) = child {
        // Some openers stay as long as the browser does.
        std::thread::spawn(move || child.wait());
    }
}

/// Whether a desktop is there.
pub(crate) fn has_screen() -> bool {
    cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()))
}
