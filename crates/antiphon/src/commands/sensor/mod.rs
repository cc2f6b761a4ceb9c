//! `antiphon sensor`: manage sensors, and be one.

mod broker;
mod input;
mod ledger;
mod live;
mod progress;
mod record;
pub mod sender;
mod simulate;
mod source;
mod spool;
mod status;
mod unfinished;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::output::{print_json, print_json_list, print_line, print_table, rows};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;

const PATH: &str = "/api/v1/sensors";

/// Options of `antiphon sensor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon sensor add roof > roof.key\n  antiphon sensor set roof --calibration 110\n  antiphon sensor list\n  antiphon sensor record roof --input alsa:plughw:1\n  antiphon sensor status roof\n  antiphon sensor simulate roof --duration 60"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a sensor; its key is printed once and not kept.
    #[command(
        after_help = "Examples:\n  antiphon sensor add roof > roof.key\n  antiphon sensor add river-2 --name \"River, north bank\" --latitude 48.2 --longitude 16.4 \\\n      --timezone Europe/Vienna\n  \
                      antiphon sensor add street --plan level-only --calibration 110"
    )]
    Add {
        /// Its id: letters a-z, digits and dashes.
        id: String,
        #[command(flatten)]
        described: Described,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Change what is said of a sensor; what is not named stays as it is.
    #[command(
        after_help = "Plan and calibration count for what is heard from now on; while nothing was heard, for all audio.\n\nExamples:\n  antiphon sensor set roof --calibration 110\n  \
                      antiphon sensor set roof --plan soundscape --timezone Europe/Vienna"
    )]
    Set {
        /// The sensor's id.
        id: String,
        #[command(flatten)]
        described: Described,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// List the sensors and how they are doing.
    #[command(after_help = "Examples:\n  antiphon sensor list\n  antiphon sensor list --json")]
    List {
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Make one more key for a sensor; it is printed once and not kept.
    #[command(after_help = "Examples:\n  antiphon sensor key roof > roof.key")]
    Key {
        /// The sensor's id.
        id: String,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Remove a sensor and its keys; what was heard stays readable unless --and-data is said.
    #[command(after_help = "Examples:\n  antiphon sensor remove roof\n  antiphon sensor remove roof --and-data")]
    Remove {
        /// The sensor's id.
        id: String,
        /// Also delete everything that it has heard.
        #[arg(long)]
        and_data: bool,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Make an account on the broker for a sensor that publishes there itself, by AMQP or MQTT.
    Broker(broker::Arguments),
    /// Record: cut a live stream into pieces and send them, whatever happens to the network.
    Record(record::Arguments),
    /// Tell how a recorder on this machine is doing; needs no server.
    Status(status::Arguments),
    /// Play files or noise as a sensor would send them.
    Simulate(simulate::Arguments),
}

/// What can be said of a sensor.
#[derive(Debug, clap::Args)]
struct Described {
    /// What people call it.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Degrees north.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, requires = "longitude")]
    latitude: Option<f64>,
    /// Degrees east.
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, requires = "latitude")]
    longitude: Option<f64>,
    /// The IANA zone whose days count for it.
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// The level of a full-scale mean square of 1, in dB re 20 µPa: levels are then dB; without it they are dBFS.
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    calibration: Option<f64>,
    /// What its audio is analysed by, such as soundscape (`antiphon plans`), with commas between several.
    #[arg(long, value_name = "LIST")]
    plan: Option<String>,
}

impl Described {
    /// What was said, as members of a request.
    fn members(self) -> Map<String, Value> {
        let members = [
            ("name", self.name.map(Value::from)),
            ("latitude", self.latitude.map(Value::from)),
            ("longitude", self.longitude.map(Value::from)),
            ("timezone", self.timezone.map(Value::from)),
            ("calibration", self.calibration.map(Value::from)),
            ("plan", self.plan.map(Value::from)),
        ];
        members.into_iter().filter_map(|(member, value)| Some((member.to_owned(), value?))).collect()
    }
}

/// Runs `antiphon sensor`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    match arguments.command {
        Command::Add { id, described, server } => {
            let mut sensor = described.members();
            sensor.insert(String::from("id"), id.into());
            print_key(&Server::find(&server, globals)?.post(PATH, &sensor.into())?, globals)?;
        }
        Command::Set { id, described, server } => {
            let change = described.members();
            if change.is_empty() {
                bail!(
                    "say what to change of {id}, such as --calibration 110; `antiphon sensor set --help` lists it all"
                );
            }
            let said: Vec<&str> = change.keys().map(String::as_str).collect();
            let said = said.join(", ");
            let sensor = Server::find(&server, globals)?.patch(&format!("{PATH}/{}", encoded(&id)), &change.into())?;
            if globals.json {
                print_json(&sensor)?;
            } else {
                eprintln!("changed of {id}: {said}");
            }
        }
        Command::List { server } => {
            let sensors = Server::find(&server, globals)?.get_all(PATH)?;
            if globals.json {
                print_json_list(&sensors)?;
            } else {
                let headings = ["ID", "NAME", "STATUS", "LAST HEARD", "SECONDS TODAY", "GAPS TODAY", "CLOCK SKEW MS"];
                let members = ["id", "name", "status", "last_heard", "seconds_today", "gaps_today", "clock_skew_ms"];
                let nothing = "no sensors; `antiphon sensor add ID` makes one";
                print_table(&headings, &rows(&sensors, &members), nothing)?;
            }
        }
        Command::Key { id, server } => {
            let key = Server::find(&server, globals)?.post_empty(&format!("{PATH}/{}/keys", encoded(&id)))?;
            print_key(&key, globals)?;
        }
        Command::Remove { id, and_data, server } => {
            let query = if and_data { "?data=true" } else { "" };
            Server::find(&server, globals)?.delete(&format!("{PATH}/{}{query}", encoded(&id)))?;
            if globals.json {
                print_json(&json!({"id": id, "removed": true, "data": and_data}))?;
            } else {
                eprintln!("removed {id}{}", if and_data { " and all that it has heard" } else { "" });
            }
        }
        Command::Broker(arguments) => return broker::run(&arguments, globals),
        Command::Record(arguments) => return record::run(&arguments, globals),
        Command::Status(arguments) => return status::run(&arguments, globals),
        Command::Simulate(arguments) => return simulate::run(&arguments, globals),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a sender keeps its pieces: the folder that was named, else the sensor's own in the data folder.
fn spool_folder(named: Option<&Path>, sensor: &str, globals: &Globals) -> PathBuf {
    named.map_or_else(|| spools(globals).join(sensor), Path::to_owned)
}

/// Where the spools of all senders on a data folder are.
fn spools(globals: &Globals) -> PathBuf {
    globals.data.join("spool")
}

/// The key alone for people and scripts; `--json` has its id too.
fn print_key(answer: &Value, globals: &Globals) -> Result<()> {
    if globals.json {
        return print_json(answer);
    }
    match answer["key"].as_str() {
        Some(key) => print_line(key),
        None => bail!("the server gave no key"),
    }
}

/// Reads a length of time in seconds, such as `10` or `2.5`, as µs.
fn seconds(text: &str) -> Result<i64, String> {
    antiphon_platform::http::parameters::parse_seconds(text)
        .ok_or_else(|| String::from("seconds, such as 10 or 2.5, with at most six decimals"))
}

/// Reads the length of a piece: 1 to 300 s, as µs.
fn piece_seconds(text: &str) -> Result<i64, String> {
    let micros = seconds(text)?;
    if (1_000_000..=300_000_000).contains(&micros) { Ok(micros) } else { Err(String::from("1 to 300 seconds")) }
}

/// Reads the length of a lead-in: 0 to 5 s, as µs.
fn lead_in_seconds(text: &str) -> Result<i64, String> {
    let micros = seconds(text)?;
    if micros <= 5_000_000 { Ok(micros) } else { Err(String::from("0 to 5 seconds")) }
}

/// Reads a time as the API does.
fn time(text: &str) -> Result<i64, String> {
    antiphon_platform::http::time::parse(text).map_err(|error| format!("the time {error}"))
}
