//! Certificates that servers of tests show, made by OpenSSL's command line.

use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;

/// A server's certificate for 127.0.0.1 and localhost, valid for two days, and what signed it.
pub struct Certificate {
    /// The signer's certificate: what clients must trust.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Makes a certificate in a server's folder. The signer is another one: clients refuse a signer as a server.
pub fn make(process: &Process) -> Certificate {
    let names = ["authority.pem", "authority.key", "server.pem", "server.key"];
    let [authority, authority_key, certificate, key] = names.map(|name| process.folder().join(name));
    let request = |common_name: &str| -> Command {
        let mut command = process.command("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        command.args(["-subj", &format!("/CN={common_name}")]);
        command
    };
    process.run(request("antiphon-tests").arg("-keyout").arg(&authority_key).arg("-out").arg(&authority));
    process.run(
        request("127.0.0.1")
            .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-CA")
            .arg(&authority)
            .arg("-CAkey")
            .arg(&authority_key)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    );
    Certificate { authority, certificate, key }
}
