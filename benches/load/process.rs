//! Processes beside this one: where they run, what they have used (Linux).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take until it accepts connections.
const START: Duration = Duration::from_secs(20);

/// A process; it is ended when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    /// Starts `command`, which is to listen at `address`, on processor `cpu`, and waits until it does.
    pub fn start(command: &[String], address: SocketAddr, cpu: Option<usize>) -> Self {
        let child = on(cpu, command).stdin(Stdio::null()).spawn();
        let process = Self {
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
            address,
        };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < START, "{command:?} does not listen at {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Runs on this processor from now on.
    pub fn place(&self, cpu: usize) {
        let placed = Command::new("taskset")
            .args(["--all-tasks", "--cpu-list", "--pid"])
            .args([cpu.to_string(), self.id().to_string()])
            .stdout(Stdio::null())
            .status();
        assert!(placed.is_ok_and(|status| status.success()), "taskset");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it is ours, and may have ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This command, on processor `cpu`.
fn on(cpu: Option<usize>, command: &[String]) -> Command {
    match cpu {
        Some(cpu) => {
            let mut placed = Command::new("taskset");
            placed.args(["--cpu-list", &cpu.to_string()]).args(command);
            placed
        }
        None => {
            let mut plain = Command::new(&command[0]);
            plain.args(&command[1..]);
            plain
        }
    }
}

/// This program itself, with other arguments.
pub fn this(arguments: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [program]
        .into_iter()
        .chain(arguments.iter().map(|&it| it.to_owned()))
        .collect()
}

/// Runs `command` on processor `cpu` to its end; the lines that it says.
pub fn lines(command: &[String], cpu: Option<usize>) -> Vec<String> {
    let mut child = on(cpu, command).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = lines.map(Result::unwrap).collect();
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    lines
}

/// An address that is free.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Processor time that a process has used; of its threads that are there.
pub fn cpu(id: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    threads
        .filter_map(|thread| cpu_of(&fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?))
        .sum()
}

/// Processor time that this thread has used.
pub fn cpu_of_thread() -> Duration {
    cpu_of(&fs::read_to_string("/proc/thread-self/schedstat").unwrap()).unwrap()
}

/// Time on a processor, the first of the three numbers of `/proc/PID/schedstat`, in ns.
fn cpu_of(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?))
}

/// Memory that a process has to itself, in bytes: its proportional set.
pub fn memory(id: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
