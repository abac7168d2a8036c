//! `scope serve`.

use crate::cli::Options;
use crate::settings::{self, Settings};
use crate::{allocator, browser, plugins, ui};
use anyhow::{Context, Result, anyhow};
use scope_engine::cuda::libraries::find;
use scope_pipelines::{Accelerator, Compute, Found};
use scope_server::{Service, Stop, logs, router};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

/// Set in the environment of a process that replaces this one.
pub(crate) const RESTARTED: &str = "SCOPE_RESTARTED";
/// Tells a supervisor to start us again.
const RESTART_EXIT_CODE: u8 = 42;

pub(crate) fn serve(options: &Options) -> Result<ExitCode> {
    let settings = settings::from_process(options)?;
    let log = logs::init(&settings.config.dirs.logs, &settings.log).map_err(|error| anyhow!(error))?;
    log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let data = settings.config.dirs.data.clone();
    let (registry, plugins) = plugins::registry(&settings);
    for broken in &plugins.broken {
        tracing::warn!("the plugin {} can't be used: {}", broken.name, broken.problem);
    }
    let interface = match &options.ui_folder {
        Some(folder) => ui::from_folder(folder)?,
        None => ui::UI,
    };
    let service = Service::new(settings.config.clone(), registry, interface, log);
    let service = service.with_context(|| format!("{} cannot be used", data.display()))?;
    let service = Arc::new(service.with_plugins(plugins));
    tell_device(&settings.compute);
    let stop = runtime.block_on(until_stopped(&service, &settings))?;
    service.models.stop();
    let token = service.gate.credentials.token().to_owned();
    drop(service);
    finish(runtime);
    match stop {
        Stop::Shutdown => Ok(ExitCode::SUCCESS),
        Stop::Restart if settings.managed => Ok(ExitCode::from(RESTART_EXIT_CODE)),
        Stop::Restart => replace_process(&token),
    }
}

/// Says in the log what large models will run on, and why not on a GPU. Asking the driver takes its time, so nobody waits
/// for the answer.
fn tell_device(compute: &Compute) {
    let (Accelerator::IfThere(gpu) | Accelerator::Needed(gpu)) = &compute.accelerator else { return };
    let (compute, folders) = (compute.clone(), gpu.library_folders.clone());
    std::thread::spawn(move || match compute.find() {
        Found::Gpu(name) => tracing::info!("large models run on {name}"),
        // Most machines have no GPU, and nothing to be told about it.
        Found::Cpu { reason } if find(&folders).driver.found().is_none() => {
            tracing::debug!("large models run on the CPU: {}", reason.unwrap_or_default());
        }
        Found::Cpu { reason } => {
            let reason = reason.unwrap_or_default();
            tracing::info!("large models run on the CPU: {reason}; `scope doctor` says what to do");
        }
    });
}

/// A panic in any thread reaches the log file as well as the terminal.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        tracing::error!(target: "scope::panic", thread = thread.name().unwrap_or("?"), "{panic}");
        usual(panic);
    }));
}

/// Gives blocking work a moment, and no more.
fn finish(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_millis(200));
}

async fn until_stopped(service: &Arc<Service>, settings: &Settings) -> Result<Stop> {
    let (host, port) = (settings.config.host.as_str(), settings.config.port);
    let listener = TcpListener::bind((host.trim_matches(['[', ']']), port)).await.with_context(|| {
        format!(
            "cannot listen on {host} port {port}; is another server running there? Use --port, or --port 0"
        )
    })?;
    let address = listener.local_addr()?;
    let url = format!("http://{}/?token={}", authority(address), service.gate.credentials.token());
    // Nobody may be reading: that stops nothing.
    announce(address, &url, settings).ok();
    tracing::info!(
        "listening on {address}, version {} ({})",
        service.config.version,
        service.config.git_commit
    );
    tokio::spawn(stop_on_signals(Arc::clone(service)));
    if settings.open_browser {
        browser::open(&url);
    }
    tokio::spawn(give_memory_back(Arc::clone(service)));
    service.preload();
    Ok(scope_server::serve(listener, router(Arc::clone(service)), Arc::clone(service)).await)
}

/// Memory of models and sessions that have gone goes back to the system.
async fn give_memory_back(service: Arc<Service>) {
    /// Threads, codecs and connections of what has ended free their memory until then.
    const LAG: Duration = Duration::from_secs(2);
    let mut models = service.models.changes();
    let Ok(mut events) = service.events.watch() else { return };
    let mut later: Option<Instant> = None;
    loop {
        tokio::select! {
            changed = models.changed() => match changed {
                Ok(()) => later = Some(Instant::now() + LAG),
                Err(_) => return,
            },
            event = events.next() => match event {
                Some(event) if event.name == "sessions" => later = Some(Instant::now() + LAG),
                Some(_) => continue,
                None => return,
            },
            () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => later = None,
        }
        if service.models.status().loading_stage.is_none() {
            // A panic has been logged by the panic hook.
            tokio::task::spawn_blocking(allocator::give_back).await.ok();
        }
    }
}

/// What a browser on this machine calls the server.
fn authority(address: SocketAddr) -> String {
    let ip = address.ip();
    if ip.is_unspecified() || ip == IpAddr::from([127, 0, 0, 1]) {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

/// Tells the user where to go. Only here is the token shown: never in the log.
fn announce(address: SocketAddr, url: &str, settings: &Settings) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n  Scope {} is running.\n", settings.config.version)?;
    writeln!(out, "  Open   {url}")?;
    if address.ip().is_unspecified()
        && let Some(ip) = outward_address()
    {
        let elsewhere = url.replacen("localhost", &ip.to_string(), 1);
        writeln!(out, "         {elsewhere}  (from other machines; not encrypted)")?;
    }
    writeln!(out, "  API    http://{}/docs", authority(address))?;
    writeln!(out, "  Files  {}", settings.config.dirs.data.display())?;
    writeln!(out, "\n  Ctrl-C stops it.\n")?;
    out.flush()
}

/// The address from which this machine would talk to others. Nothing is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // TEST-NET-1: routable in form, used by nobody.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// The first signal stops the server, the second one the process.
async fn stop_on_signals(service: Arc<Service>) {
    signal().await;
    tracing::info!("stopping");
    service.stop(Stop::Shutdown);
    signal().await;
    std::process::exit(130);
}

#[cfg(unix)]
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Starts the same program with the same arguments in place of this one. The token stays, so that what was printed still works.
fn replace_process(token: &str) -> Result<ExitCode> {
    let program = std::env::current_exe().context("cannot restart: where is this program?")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(RESTARTED, "1").env("SCOPE_TOKEN", token);
    #[cfg(unix)]
    {
        let error = std::os::unix::process::CommandExt::exec(&mut command);
        Err(error).context("cannot restart")
    }
    #[cfg(not(unix))]
    {
        command.spawn().context("cannot restart")?;
        Ok(ExitCode::SUCCESS)
    }
}
