//! Caches that are no gateways, as their users set them up against a herd. They are measured where they are installed.

use crate::measure::Server;
use host_tests::process::Process;
use host_tests::{ports, wait};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

pub struct Proxy {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Server for Proxy {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Proxy {
    fn start(name: &str, command: impl FnOnce(&Path, SocketAddr) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
        let mut command = command(folder.path(), address);
        let process = Process::start(name, &mut command, &folder.path().join("log"));
        wait::until(name, || TcpStream::connect(address).is_ok());
        Self {
            process,
            address,
            _folder: folder,
        }
    }
}

/// A server that is killed leaves its children behind.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.terminate();
    }
}

fn is_installed(program: &str) -> bool {
    Path::new("/usr/sbin").join(program).exists()
}

/// nginx with one worker; `more` are directives for its cache. None where it is not installed.
pub fn nginx(origin: SocketAddr, more: &'static str) -> Option<impl Fn() -> Proxy> {
    is_installed("nginx").then_some(move || {
        Proxy::start("nginx", |folder, address| {
            let path = folder.display();
            let config = format!(
                "worker_processes 1; daemon off; user root; pid {path}/pid; error_log stderr error;
                 events {{ worker_connections 8192; }}
                 http {{
                   access_log off;
                   client_body_temp_path {path}/body; proxy_temp_path {path}/temp;
                   fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
                   proxy_cache_path {path}/cache keys_zone=cache:64m;
                   keepalive_requests 1000000000;
                   upstream origin {{ server {origin}; keepalive 64; }}
                   server {{
                     listen {address} backlog=4096;
                     location / {{
                       proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
                       proxy_cache cache; proxy_cache_lock on; proxy_cache_lock_timeout 20s; proxy_cache_lock_age 20s;
                       {more}
                     }}
                   }}
                 }}"
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, config).expect("the folder can be written");
            let mut command = Command::new("/usr/sbin/nginx");
            command.arg("-p").arg(folder).arg("-c").arg(file);
            command
        })
    })
}

/// Varnish; `grace` in seconds is how long it serves what is stale while it fetches. None where it is not installed.
pub fn varnish(origin: SocketAddr, grace: u32) -> Option<impl Fn() -> Proxy> {
    is_installed("varnishd").then_some(move || {
        Proxy::start("varnish", |folder, address| {
            let mut command = Command::new("/usr/sbin/varnishd");
            command
                .args(["-F", "-s", "malloc,256m", "-T", "none"])
                .args(["-a", &address.to_string(), "-b", &origin.to_string()])
                .args(["-p", &format!("default_grace={grace}")])
                .arg("-n")
                .arg(folder);
            command
        })
    })
}
