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

/// Puts a certificate in the place of a server's that ran out in the year 2020. OpenSSL's `req` makes none that ended, its
/// `ca` does. [`renew`] brings back the first one.
pub fn expire(process: &Process) {
    let folder = process.folder();
    process.run(process.command("cp").args([folder.join("server.pem"), folder.join("valid.pem")]));
    process.write(
        "ca.conf",
        &format!(
            "[ca]\ndefault_ca = expired\n[expired]\ndatabase = {0}/issued\nnew_certs_dir = {0}\nrand_serial = yes\n\
             default_md = sha256\npolicy = policy\nx509_extensions = server\n[policy]\ncommonName = supplied\n\
             [server]\nsubjectAltName = IP:127.0.0.1,DNS:localhost\nbasicConstraints = critical,CA:FALSE\n",
            folder.display()
        ),
    );
    process.write("issued", "");
    let request = folder.join("request.pem");
    process.run(
        process
            .command("openssl")
            .args(["req", "-new", "-subj", "/CN=127.0.0.1", "-key"])
            .arg(folder.join("server.key"))
            .arg("-out")
            .arg(&request),
    );
    process.run(
        process
            .command("openssl")
            .args(["ca", "-batch", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-config"])
            .arg(folder.join("ca.conf"))
            .arg("-cert")
            .arg(folder.join("authority.pem"))
            .arg("-keyfile")
            .arg(folder.join("authority.key"))
            .arg("-in")
            .arg(&request)
            .arg("-out")
            .arg(folder.join("server.pem")),
    );
}

/// Puts the certificate back that was in its place before [`expire`].
pub fn renew(process: &Process) {
    let folder = process.folder();
    process.run(process.command("cp").args([folder.join("valid.pem"), folder.join("server.pem")]));
}
