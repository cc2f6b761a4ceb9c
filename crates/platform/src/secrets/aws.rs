//! The client of AWS Secrets Manager and Systems Manager: one signed POST with a JSON body, without their heavy SDK.

use std::time::Duration;

use futures::StreamExt;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse};
use serde_json::{Value, json};

use super::{LIMIT, Secret, Service};
use crate::aws::{Chain, Connector, Waits, innermost, is_region, server_url, told};

/// How long one answer is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// How long to wait before asking once more.
const PAUSE: Duration = Duration::from_millis(200);

/// How long all of a look-up may take, with credentials and repeats.
const WHOLE: Duration = Duration::from_secs(10);

/// Asks AWS for what it keeps.
pub(super) struct Keeper {
    chain: Chain,
    http: HttpClient,
}

/// An answer that is no secret.
struct Refusal {
    said: String,
    /// Whether other credentials, or the same question a little later, may be answered.
    again: bool,
}

impl Keeper {
    pub(super) fn new(environment: Option<Vec<(String, String)>>) -> Result<Self, String> {
        // A question is as short as its answer.
        let connector = Connector::new(Waits { upload: ANSWER, ..Waits::of_answer(ANSWER) });
        let http = connector.client();
        let chain = match environment {
            Some(environment) => Chain::new(environment, connector),
            None => Chain::from_process(connector),
        };
        Ok(Self { chain: chain.map_err(|error| told(&error))?, http })
    }

    /// The current value of a secret or parameter; else why there is none.
    pub(super) async fn get(&self, service: Service, name: &str) -> Result<Secret, String> {
        let asked = tokio::time::timeout(WHOLE, async {
            match self.ask(service, name).await {
                Err(refusal) if refusal.again => {
                    self.chain.renew().await.map_err(|error| told(&error))?;
                    tokio::time::sleep(PAUSE).await;
                    self.ask(service, name).await.map_err(|refusal| refusal.said)
                }
                result => result.map_err(|refusal| refusal.said),
            }
        });
        asked.await.unwrap_or_else(|_| Err(format!("no answer within {} s", WHOLE.as_secs())))
    }

    async fn ask(&self, service: Service, name: &str) -> Result<Secret, Refusal> {
        let final_refusal = |said: &str| Refusal { said: said.to_owned(), again: false };
        let (endpoint_name, action, question) = match service {
            Service::SecretsManager => ("secretsmanager", "secretsmanager.GetSecretValue", json!({ "SecretId": name })),
            Service::Parameters => ("ssm", "AmazonSSM.GetParameter", json!({ "Name": name, "WithDecryption": true })),
        };
        let region = region_of(name).or(self.chain.region());
        let region = region.ok_or_else(|| final_refusal("no region is known: set AWS_REGION"))?;
        if !is_region(region) {
            return Err(final_refusal("its region is none"));
        }
        let credential = self.chain.credential().await;
        let credential = credential.map_err(|error| Refusal {
            said: format!("no credentials of AWS were found in its environment variables or roles: {}", told(&error)),
            again: false,
        })?;
        let endpoint = self.endpoint(service, endpoint_name, region);
        let endpoint = endpoint.ok_or_else(|| final_refusal("AWS_ENDPOINT_URL is no URL of http or https"))?;
        let request = http::Request::post(endpoint.as_str())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", action)
            .body(HttpRequestBody::from(question.to_string()));
        let mut request: HttpRequest = request.map_err(|_| final_refusal("its endpoint is no URL"))?;
        AwsAuthorizer::new(&credential, endpoint_name, region)
            .try_authorize(&mut request, None)
            .map_err(|error| final_refusal(&told(&error)))?;
        let answer =
            self.http.execute(request).await.map_err(|error| Refusal { said: innermost(&error), again: true })?;
        let status = answer.status();
        let body = body_of(answer).await.map_err(|said| Refusal { said, again: true })?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            let again = status.is_server_error()
                || ["UnrecognizedClient", "ExpiredToken", "InvalidSignature", "InvalidClientTokenId", "Throttling"]
                    .iter()
                    .any(|code| said.contains(code));
            return Err(Refusal { said: format!("{}: {said}", status.as_u16()), again });
        }
        // The parser's own error would quote what it read.
        let answer: Value = serde_json::from_slice(&body).map_err(|_| final_refusal("its answer is no JSON"))?;
        value_of(service, &answer).ok_or_else(|| final_refusal("its answer has no text"))
    }

    /// Where a service is: as the environment says, else Amazon's place in the region.
    fn endpoint(&self, service: Service, name: &str, region: &str) -> Option<url::Url> {
        let own = match service {
            Service::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Service::Parameters => "AWS_ENDPOINT_URL_SSM",
        };
        if let Some(endpoint) = self.chain.variable(own).or_else(|| self.chain.variable("AWS_ENDPOINT_URL")) {
            return server_url(endpoint);
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        server_url(&format!("https://{name}.{region}.{domain}"))
    }
}

/// The region in an ARN: `arn:PARTITION:SERVICE:REGION:ACCOUNT:...`.
fn region_of(name: &str) -> Option<&str> {
    let mut parts = name.split(':');
    if parts.next() != Some("arn") {
        return None;
    }
    parts.nth(2).filter(|region| !region.is_empty())
}

fn value_of(service: Service, answer: &Value) -> Option<Secret> {
    let text = match service {
        Service::Parameters => answer.get("Parameter")?.get("Value")?.as_str()?.to_owned(),
        Service::SecretsManager => match answer.get("SecretString").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => {
                let binary = answer.get("SecretBinary")?.as_str()?;
                String::from_utf8(data_encoding::BASE64.decode(binary.as_bytes()).ok()?).ok()?
            }
        },
    };
    Some(Secret::new(text))
}

/// An answer's body; six letters of JSON for each of the secret's, at most, and some more.
async fn body_of(answer: HttpResponse) -> Result<Vec<u8>, String> {
    let limit = usize::try_from(LIMIT * 6 + 4096).unwrap_or(usize::MAX);
    let (mut body, mut pieces) = (Vec::new(), answer.into_body().bytes_stream());
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(|error| innermost(&error))?);
        if body.len() > limit {
            return Err(format!("its answer has more than {limit} bytes"));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
