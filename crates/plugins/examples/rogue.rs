//! A plugin that does everything wrong, one thing at a time: its load parameter `misdeed`, or its first argument, says which.
#![allow(clippy::print_stderr)]

use scope_plugin::protocol::{Done, GuestMessage, HostMessage, Needs, VERSION};
use scope_plugin::wire;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

fn main() {
    let misdeed = std::env::args().nth(1).unwrap_or_default();
    let mut guest = Rogue { misdeed };
    if guest.misdeed == "mute" {
        guest.sleep();
    }
    if guest.misdeed == "die at once" {
        eprintln!("no such library: libcuda.so");
        std::process::exit(3);
    }
    while let Ok(Some(message)) = wire::read(&mut std::io::stdin().lock()) {
        guest.hear(message);
    }
}

struct Rogue {
    misdeed: String,
}

impl Rogue {
    fn hear(&mut self, message: HostMessage) {
        match message {
            HostMessage::Hello { .. } => {
                let pipelines = vec![json!({"id": "rogue", "supported_modes": ["text", "video"]})];
                say(&GuestMessage::Hello {
                    protocol: if self.misdeed == "other version" { 7 } else { VERSION },
                    name: "rogue".into(),
                    version: "1".into(),
                    pipelines,
                });
            }
            HostMessage::Load { parameters, .. } => {
                if let Some(misdeed) = parameters.get("misdeed").and_then(Value::as_str) {
                    misdeed.clone_into(&mut self.misdeed);
                }
                match self.misdeed.as_str() {
                    "fail to load" => say(&GuestMessage::Failed {
                        code: "x".into(),
                        message: "the weights are missing. Download them".into(),
                    }),
                    "no memory to load" => say(&GuestMessage::Failed {
                        code: "out_of_memory".into(),
                        message: "the weights take 99 GiB".into(),
                    }),
                    "endless progress" => loop {
                        say(&GuestMessage::Progress { text: "still loading".into() });
                    },
                    _ => say(&GuestMessage::Loaded),
                }
            }
            HostMessage::Start { .. } => say(&GuestMessage::Started { needs: Needs::frames(1) }),
            HostMessage::Generate(request) => self.misbehave(request.chunk),
            HostMessage::Bye => match self.misdeed.as_str() {
                "stay" => self.sleep(),
                _ => std::process::exit(0),
            },
            HostMessage::Taken { .. } | HostMessage::Stop { .. } => {}
        }
    }

    fn misbehave(&self, chunk: u64) {
        let frame = |slot, width, height, port: &str| GuestMessage::Frame {
            port: port.into(),
            slot,
            width,
            height,
            source: None,
        };
        match self.misdeed.as_str() {
            "crash" => std::process::abort(),
            "crash once" if chunk == 1 => std::process::exit(9),
            "hang" => self.sleep(),
            "deaf" => loop {
                // Ever more places are given back to somebody who reads nothing.
                say(&frame(0, 1, 1, "video"));
            },
            "flood" => loop {
                say(&GuestMessage::Value { port: "video".into(), value: json!("x".repeat(1000)) });
            },
            "flood the log" => {
                for _ in 0..100_000 {
                    eprintln!("something happened again, and again, and again");
                }
                say(&GuestMessage::Done(Done::default()));
            }
            "giant message" => {
                std::io::stdout().write_all(&[0xff; 64]).ok();
                std::io::stdout().flush().ok();
                self.sleep();
            }
            "garbage" => {
                std::io::stdout().write_all(b"\x05\0\0\0hello world").ok();
                std::io::stdout().flush().ok();
                self.sleep();
            }
            "half a message" => {
                std::io::stdout().write_all(b"\x50\0\0\0{\"type\"").ok();
                std::io::stdout().flush().ok();
                std::process::exit(0);
            }
            "huge picture" => say(&frame(0, u32::MAX, u32::MAX, "video")),
            "empty picture" => say(&frame(0, 0, 16, "video")),
            "no such place" => say(&frame(1000, 16, 16, "video")),
            "no such port" => say(&frame(0, 16, 16, "back door")),
            "wrong answer" => say(&GuestMessage::Loaded),
            "fail" => {
                say(&GuestMessage::Failed { code: "x".into(), message: "this chunk was too hard".into() });
            }
            "no memory" => say(&GuestMessage::Failed {
                code: "out_of_memory".into(),
                message: "1 GiB was not to be had".into(),
            }),
            _ => {
                say(&frame(0, 16, 16, "video"));
                say(&GuestMessage::Done(Done::default()));
            }
        }
    }

    fn sleep(&self) {
        loop {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

fn say(message: &GuestMessage) {
    if wire::write(&mut std::io::stdout().lock(), message).is_err() {
        std::process::exit(0);
    }
}
