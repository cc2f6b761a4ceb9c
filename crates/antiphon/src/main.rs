//! The binary: command line, configuration, roles and their wiring. No logic of any capability.

mod cli;
mod commands;
mod configuration;
mod data_folder;
mod demo;
mod doctor;
mod launch;
mod openapi;
mod roles;
mod running;
mod served;
mod settings;
mod supervise;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
