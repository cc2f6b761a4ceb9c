//! `antiphon sensor broker`: an account on RabbitMQ for a sensor that publishes there itself.

use std::process::ExitCode;
use std::time::Duration;

use antiphon_analysis::sensors::check_id;
use antiphon_analysis::topics::ADMIT;
use antiphon_platform::queue::amqp::names::{self, Permissions};
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::cli::Globals;
use crate::commands::output::{print_json, print_line};
use crate::commands::server::encoded;
use crate::roles::grants;
use crate::settings;

/// How long the broker's management may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `antiphon sensor broker`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The account may publish to the exchange amq.topic with its own routing key sensors.ID.recordings, and nothing \
                  else: with MQTT to the topic sensors/ID/recordings (QoS 1; the user is VHOST:ACCOUNT unless the virtual host \
                  is /), with AMQP with the flag mandatory. Bodies are antiphon.v1.Offer (schemas/) or the JSON of \
                  POST /api/v1/recordings, with audio of at most 1 MiB.\n\nWith queue.management_url the account is made \
                  there, and its password printed once; asking again gives it a new one. Without it the commands for an \
                  operator are printed, the password among them.\n\nExamples:\n  antiphon sensor broker roof | ssh broker sudo sh\n  \
                  ANTIPHON_QUEUE__MANAGEMENT_URL=file:/run/secrets/management antiphon sensor broker roof > roof.password"
)]
pub struct Arguments {
    /// The sensor's id.
    id: String,
    /// The account's name. [default: sensor-ID]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The virtual host. [default: that of queue.url, else /]
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,
}

/// Runs `antiphon sensor broker`.
pub fn run(arguments: &Arguments, globals: &Globals) -> Result<ExitCode> {
    check_id(&arguments.id).map_err(|problem| anyhow!("{}", problem.detail))?;
    let config = settings::load(&globals.data, Vec::new())?;
    let account = arguments.account.clone().unwrap_or_else(|| grants::account_of_sensor(&arguments.id));
    let vhost = match &arguments.vhost {
        Some(vhost) => vhost.clone(),
        None => config.text("queue.url")?.map_or_else(|| String::from("/"), |url| vhost_of(&url)),
    };
    let password = password()?;
    let Some(management) = config.text("queue.management_url")? else {
        let names = grants::Names { account: Some(account.clone()), vhost, ..grants::Names::default() };
        print_line("# After `antiphon prepare`, which makes the queue: MQTT acknowledges what nobody takes, too.")?;
        print_line(&grants::add_user(&account, &password))?;
        print_line(&grants::rabbitmqctl_of_sensor(&arguments.id, &names))?;
        return Ok(ExitCode::SUCCESS);
    };
    let management = Management::new(&management)?;
    management.require_queue(&vhost)?;
    management.make(&account, &password, &vhost, &names::permissions_of_sensor(&arguments.id))?;
    let key = names::inbox_key(&arguments.id);
    if globals.json {
        print_json(&json!({"sensor": arguments.id, "account": account, "password": password, "vhost": vhost,
            "exchange": names::INBOX_EXCHANGE, "routing_key": key, "mqtt_topic": key.replace('.', "/")}))?;
    } else {
        print_line(&password)?;
        eprintln!("{account} may publish to the MQTT topic {}; its password is not kept here", key.replace('.', "/"));
    }
    Ok(ExitCode::SUCCESS)
}

/// 256 random bits in base 16.
fn password() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The virtual host in an AMQP address; `/` in any other.
fn vhost_of(url: &str) -> String {
    let path = Url::parse(url).ok().filter(|url| url.scheme().starts_with("amqp")).map(|url| url.path().to_owned());
    let name = path.as_deref().unwrap_or_default().trim_start_matches('/');
    match percent_encoding::percent_decode_str(name).decode_utf8_lossy() {
        name if name.is_empty() => String::from("/"),
        name => name.into_owned(),
    }
}

/// The management interface of a broker.
struct Management {
    agent: ureq::Agent,
    /// Without the credentials.
    url: String,
    authorization: String,
}

impl Management {
    fn new(address: &str) -> Result<Self> {
        let mut url = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && !url.username().is_empty())
            .context("queue.management_url is not of the form http://ADMIN:PASSWORD@HOST:15672")?;
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        // An address of http: always takes them off.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let authorization = format!("Basic {}", STANDARD.encode(pair));
        Ok(Self { agent, url: url.as_str().trim_end_matches('/').to_owned(), authorization })
    }

    /// Refuses to go on while nobody would get what the account publishes.
    fn require_queue(&self, vhost: &str) -> Result<()> {
        let path = format!("exchanges/{}/{}/bindings/source", encoded(vhost), names::INBOX_EXCHANGE);
        let bindings = self.ask("GET", &path, None)?;
        let queue = names::queue(ADMIT);
        let is_bound =
            bindings.as_array().into_iter().flatten().any(|binding| {
                binding["destination"] == queue.as_str() && binding["routing_key"] == names::INBOX_BINDING
            });
        if is_bound {
            return Ok(());
        }
        bail!(
            "the queue {queue} is not bound to {} in the virtual host {vhost}: what a sensor publishes now would be \
             acknowledged and lost; run `antiphon prepare` or start the role admit first",
            names::INBOX_EXCHANGE
        )
    }

    fn make(&self, account: &str, password: &str, vhost: &str, permissions: &Permissions) -> Result<()> {
        let (user, place) = (encoded(account), format!("{}/{}", encoded(vhost), encoded(account)));
        let Permissions { configure, write, read, topics } = permissions;
        self.ask("PUT", &format!("users/{user}"), Some(&json!({"password": password, "tags": ""})))?;
        // An account that is there already may have been permitted more.
        self.ask("DELETE", &format!("topic-permissions/{place}"), None)?;
        for topic in topics {
            let topic = json!({"exchange": topic.exchange, "write": topic.write, "read": topic.read});
            self.ask("PUT", &format!("topic-permissions/{place}"), Some(&topic))?;
        }
        let rights = json!({"configure": configure, "write": write, "read": read});
        self.ask("PUT", &format!("permissions/{place}"), Some(&rights))?;
        Ok(())
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.url))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json");
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut answer = match method {
            "GET" | "DELETE" => self.agent.run(request.body(())?),
            _ => self.agent.run(request.body(body)?),
        }
        .with_context(|| format!("the management at {} does not answer", self.url))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        match status {
            200..300 => Ok(serde_json::from_str(&text).unwrap_or_default()),
            404 if method == "DELETE" => Ok(Value::Null),
            401 => bail!("the management at {} refuses the account in queue.management_url", self.url),
            _ => bail!("the management at {} answers {method} {path} with {status}: {text}", self.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_host_is_that_of_the_queue() {
        let cases = [
            ("amqp://u:p@host:5672/antiphon", "antiphon"),
            ("amqps://host/a%2Fb", "a/b"),
            ("amqp://host/%2F", "/"),
            ("amqp://host", "/"),
            ("folder:/var/lib/queue", "/"),
        ];
        for (url, expected) in cases {
            assert_eq!(vhost_of(url), expected, "{url}");
        }
    }

    #[test]
    fn the_managements_address_is_shown_without_its_credentials() {
        let management = Management::new("http://admin:hu%3Ash@broker.example.org:15672/").unwrap();
        assert_eq!(management.url, "http://broker.example.org:15672");
        assert_eq!(management.authorization, format!("Basic {}", STANDARD.encode("admin:hu:sh")));
        for wrong in ["broker:15672", "http://broker:15672", "amqp://a:b@c"] {
            assert!(Management::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert!(one.len() == 64 && one != other);
    }
}
