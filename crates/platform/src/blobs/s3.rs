//! The engine of servers that speak S3: Amazon's, or any compatible one.
//!
//! An object is one S3 object under `PREFIX/KEY`. Up to `PART` it is one PUT, and its SHA-256 goes with it as metadata.
//! What is larger goes up in parts, with metadata that is fixed before the bytes are known; so that names a small
//! object beside it (`PREFIX/checksums~/ID`), written before the upload is completed: whoever sees the object can read its
//! checksum. A `~` is in no key, so nothing of ours meets an object's name.
//!
//! A failed or dropped put aborts its upload. What a killed process leaves is an unfinished upload, which no reader sees;
//! the bucket's rule `AbortIncompleteMultipartUpload` removes it.

mod credentials;
mod location;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload,
};
use sha2::{Digest, Sha256};

use self::credentials::Credentials;
use self::location::{Encryption, Location};
use super::{Access, BlobError, BlobInfo, Blobs, ByteStream, Permissions, check_key};
use crate::address::{Address, Freshness};
use crate::aws::{Chain, Connector, Waits, credentials_refused, is_region, retries, server_url, told};
use crate::secrets::{Secret, SecretError};

/// Bytes of a part; S3 wants 5 MiB at least and takes 10,000 parts, so an object has at most 80 GB. A put holds two.
const PART: usize = 8 << 20;

/// How long a link may be valid (Signature Version 4's own bound).
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest part of a key's segment in one segment of an object's name; file systems allow 255 bytes.
const SEGMENT: usize = 200;

/// Metadata with the SHA-256 of an object's bytes in hex.
const CHECKSUM: &str = "sha256";

/// Metadata that names the object under `checksums~/` with the checksum.
const CHECKSUM_AT: &str = "sha256-at";

/// What is tried to see what an account may do; never there for long.
const PROBE: &str = "probe~";

/// Why an address cannot be used. Says nothing that is secret.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A reference in the address leads nowhere.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address is malformed.
    #[error("this is no address of an S3 bucket: {0}")]
    Address(String),
    /// What the environment says of AWS is contradictory.
    #[error("the environment's AWS settings cannot be used: {0}")]
    Environment(String),
}

/// Blobs in an S3 bucket.
pub struct S3Blobs {
    bucket: Arc<Bucket>,
    access: Access,
}

/// The answer to a request that may have to be sent again.
type Answer<'a, T> = BoxFuture<'a, object_store::Result<T>>;

/// A bucket as all tasks of a handle use it.
struct Bucket {
    store: AmazonS3,
    credentials: Credentials,
    name: String,
    prefix: String,
    timeout: Duration,
}

impl S3Blobs {
    /// Understands an address: `s3://[KEY:SECRET@]BUCKET[/PREFIX]` with the parameters
    ///
    /// - `endpoint=URL`: a compatible server; else `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or Amazon's,
    /// - `region=NAME`: else `AWS_REGION`, `AWS_DEFAULT_REGION`, or `us-east-1`,
    /// - `style=path|virtual`: whether the bucket is in the path (of servers, by default) or the host name,
    /// - `encryption=AES256|kms`, `kms_key=ID`: what the server is told to encrypt new objects with,
    /// - `timeout=SECONDS`: how long one answer is waited for (0.1 to 300; 7 by default; a part three times that),
    /// - `session_token=TOKEN`: belongs to a key and secret that expire.
    ///
    /// Without key and secret AWS's standard places are asked: environment, web identity (IRSA), pod identity, task
    /// role, instance profile. Credentials are looked up again for every request, and anew when they were refused; what
    /// else the address says is taken once. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OpenError`] when the address cannot be used.
    pub async fn open(address: impl Into<Address>, access: Access) -> Result<Self, OpenError> {
        let address = address.into();
        let text = address.current(Freshness::Cached).await?;
        let location = Location::parse(text.reveal()).map_err(OpenError::Address)?;
        let connector = Connector::new(Waits::of_answer(location.timeout));
        let environment = |error: object_store::Error| OpenError::Environment(told(&error));
        let chain = Chain::from_process(connector.clone()).map_err(environment)?;
        let credentials = match &location.credential {
            Some(_) => Credentials::address(address),
            None => Credentials::chain(chain.clone()),
        };
        let store = store(&location, &chain, connector, &credentials).map_err(environment)?;
        let Location { bucket: name, prefix, timeout, .. } = location;
        Ok(Self { bucket: Arc::new(Bucket { store, credentials, name, prefix, timeout }), access })
    }

    fn may_write(&self) -> Result<(), BlobError> {
        if self.access == Access::Write { Ok(()) } else { Err(BlobError::NotPermitted) }
    }
}

fn store(
    location: &Location,
    chain: &Chain,
    connector: Connector,
    credentials: &Credentials,
) -> object_store::Result<AmazonS3> {
    let failed = |told: &str| object_store::Error::Generic { store: "S3", source: told.into() };
    let region = location.region.as_deref().or(chain.region()).unwrap_or("us-east-1");
    if !is_region(region) {
        return Err(failed("AWS_REGION is no region"));
    }
    let endpoint = match chain.variable("AWS_ENDPOINT_URL_S3").or_else(|| chain.variable("AWS_ENDPOINT_URL")) {
        Some(url) if location.endpoint.is_none() => {
            Some(server_url(url).ok_or_else(|| failed("AWS_ENDPOINT_URL is no URL of http or https"))?)
        }
        _ => location.endpoint.clone(),
    };
    let virtual_host = location.is_virtual_host(endpoint.is_some());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(virtual_host)
        // The signature covers the bytes too, but not every server holds them against it.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_credentials(Arc::new(credentials.clone()))
        // Deleting many at once needs a right and an API that not every server has.
        .with_disable_bulk_delete(true)
        .with_retry(retries(location.timeout * 2))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        let endpoint = endpoint.as_str().trim_end_matches('/');
        builder = match endpoint.split_once("://") {
            Some((scheme, host)) if virtual_host => {
                builder.with_endpoint(format!("{scheme}://{}.{host}", location.bucket))
            }
            _ => builder.with_endpoint(endpoint),
        };
    }
    let encryption = match &location.encryption {
        None => return builder.build(),
        Some(Encryption::Aes256) => "AES256",
        Some(Encryption::Kms(None)) => "aws:kms",
        Some(Encryption::Kms(Some(key))) => return builder.with_sse_kms_encryption(key).build(),
    };
    let setting = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>()?;
    builder.with_config(setting, encryption).build()
}

impl Bucket {
    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}{}", self.prefix, object_name(name)))
    }

    /// Does what a request does, once more if its credentials were refused and others are found.
    async fn request<'a, T>(&self, request: impl Fn() -> Answer<'a, T> + Send + Sync) -> object_store::Result<T> {
        match request().await {
            Err(error) if credentials_refused(&error) && self.credentials.renew().await => request().await,
            result => result,
        }
    }

    /// What a failed request means to whoever wanted `key`.
    fn failed(&self, key: &str, error: &object_store::Error) -> BlobError {
        let said = told(error);
        match error {
            object_store::Error::NotFound { .. } if !said.contains("NoSuchBucket") => {
                BlobError::NotFound(key.to_owned())
            }
            _ => BlobError::Unavailable(self.explained(&said, error)),
        }
    }

    fn explained(&self, said: &str, error: &object_store::Error) -> String {
        let advice = if said.contains("NoSuchBucket") {
            ": make it, or correct the address"
        } else if said.contains("AccessDenied") {
            ": grant this account s3:GetObject, s3:PutObject and s3:DeleteObject on the objects, s3:ListBucket on the \
             bucket"
        } else if credentials_refused(error) {
            ": check the key and its secret"
        } else if said.contains("PermanentRedirect") || said.contains("AuthorizationHeaderMalformed") {
            ": the bucket is in another region: name it with ?region="
        } else {
            ""
        };
        format!("bucket {}: {said}{advice}", self.name)
    }

    async fn get(&self, key: &str, options: GetOptions) -> Result<GetResult, BlobError> {
        let path = self.path(key);
        let got = self.request(|| self.store.get_opts(&path, options.clone())).await;
        got.map_err(|error| self.failed(key, &error))
    }

    /// A range that is not empty, clipped to the object's end; `None` when it begins behind that.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<GetResult>, BlobError> {
        // Servers read the numbers as signed ones.
        let range = GetRange::Bounded(range.start..range.end.min(i64::MAX.unsigned_abs()));
        let (path, options) = (self.path(key), GetOptions { range: Some(range), ..GetOptions::default() });
        match self.request(|| self.store.get_opts(&path, options.clone())).await {
            Err(error) if told(&error).starts_with("416") => Ok(None),
            got => got.map(Some).map_err(|error| self.failed(key, &error)),
        }
    }

    /// The size and checksum of an object that was found.
    async fn info_of(&self, key: &str, size: u64, attributes: &Attributes) -> Result<BlobInfo, BlobError> {
        let damaged = || BlobError::Damaged(key.to_owned());
        let Some(name) = metadata(attributes, CHECKSUM_AT) else {
            let sha256 = metadata(attributes, CHECKSUM).and_then(from_hex).ok_or_else(damaged)?;
            return Ok(BlobInfo { size, sha256 });
        };
        let checksum = match self.get(&checksum_name(name).ok_or_else(damaged)?, GetOptions::default()).await {
            Ok(checksum) if checksum.meta.size == 64 => super::collect(self.plain(key, checksum)).await?,
            Ok(_) | Err(BlobError::NotFound(_)) => return Err(damaged()),
            Err(error) => return Err(error),
        };
        let sha256 = std::str::from_utf8(&checksum).ok().and_then(from_hex).ok_or_else(damaged)?;
        Ok(BlobInfo { size, sha256 })
    }

    /// What is found under `key`, with its checksum. An object that is replaced between the two is looked at again.
    async fn find(&self, key: &str, options: GetOptions) -> Result<(GetResult, BlobInfo), BlobError> {
        for _ in 0..3 {
            let found = self.get(key, options.clone()).await?;
            match self.info_of(key, found.meta.size, &found.attributes).await {
                Err(BlobError::Damaged(_)) => {
                    let e_tag = found.meta.e_tag;
                    let again = self.get(key, GetOptions { head: true, ..GetOptions::default() }).await?;
                    if again.meta.e_tag == e_tag {
                        break;
                    }
                }
                info => return Ok((found, info?)),
            }
        }
        Err(BlobError::Damaged(key.to_owned()))
    }

    fn plain(&self, key: &str, found: GetResult) -> ByteStream {
        let (key, name) = (key.to_owned(), self.name.clone());
        Box::pin(found.into_stream().map(move |bytes| {
            bytes.map_err(|error| BlobError::Unavailable(format!("bucket {name}: {key}: {}", told(&error))))
        }))
    }

    /// The checksum object of what is under `key` now, so that it goes with it. What cannot be told is left alone: it
    /// is 64 bytes.
    async fn checksum_object(&self, key: &str) -> Option<String> {
        let found = self.get(key, GetOptions { head: true, ..GetOptions::default() }).await.ok()?;
        metadata(&found.attributes, CHECKSUM_AT).and_then(checksum_name)
    }

    async fn put_whole(&self, name: &str, bytes: Bytes, metadata: Attributes) -> Result<(), BlobError> {
        let (path, payload) = (self.path(name), PutPayload::from_bytes(bytes));
        let options = PutOptions { attributes: metadata, ..PutOptions::default() };
        let put = self.request(|| self.store.put_opts(&path, payload.clone(), options.clone())).await;
        put.map(drop).map_err(|error| self.failed(name, &error))
    }

    async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let path = self.path(name);
        match self.request(|| self.store.delete(&path).boxed()).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.failed(name, &error)),
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &str, mut data: ByteStream) -> Result<BlobInfo, BlobError> {
        check_key(key)?;
        self.may_write()?;
        let (mut gathered, mut hash, mut size) = (BytesMut::new(), Sha256::new(), 0_u64);
        let mut upload: Option<Upload> = None;
        let replaced = self.bucket.checksum_object(key).await;
        while let Some(bytes) = data.next().await {
            let mut bytes = bytes?;
            size += bytes.len() as u64;
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(PART - gathered.len()));
                hash.update(&piece);
                gathered.extend_from_slice(&piece);
                if gathered.len() == PART && !bytes.is_empty() {
                    self.upload_part(key, &mut upload, gathered.split().freeze()).await?;
                }
            }
            // Room for the next part is made only when its first byte has come.
        }
        let info = BlobInfo { size, sha256: hash.finalize().into() };
        let checksum = to_hex(&info.sha256);
        match upload {
            None => self.bucket.put_whole(key, gathered.freeze(), attributes(CHECKSUM, checksum)).await?,
            Some(upload) => upload.finish(gathered.freeze(), checksum).await?,
        }
        if let Some(replaced) = replaced {
            // The object is stored; what is left of the old one would be 64 bytes that nobody reads.
            let _ = self.bucket.delete(&replaced).await;
        }
        Ok(info)
    }

    async fn info(&self, key: &str) -> Result<BlobInfo, BlobError> {
        check_key(key)?;
        Ok(self.bucket.find(key, GetOptions { head: true, ..GetOptions::default() }).await?.1)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream, BlobError> {
        check_key(key)?;
        let Some(range) = range else {
            let (found, info) = self.bucket.find(key, GetOptions::default()).await?;
            return Ok(verified(self.bucket.plain(key, found), key.to_owned(), info));
        };
        if range.is_empty() {
            self.bucket.get(key, GetOptions { head: true, ..GetOptions::default() }).await?;
            return Ok(Box::pin(futures::stream::empty()));
        }
        Ok(match self.bucket.get_range(key, range).await? {
            Some(found) => self.bucket.plain(key, found),
            None => Box::pin(futures::stream::empty()),
        })
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        check_key(key)?;
        self.may_write()?;
        let checksum = self.bucket.checksum_object(key).await;
        self.bucket.delete(key).await?;
        match checksum {
            Some(checksum) => self.bucket.delete(&checksum).await,
            None => Ok(()),
        }
    }

    async fn link(&self, key: &str, valid_for: Duration) -> Result<Option<Secret>, BlobError> {
        check_key(key)?;
        let valid_for = valid_for.clamp(Duration::from_secs(1), LONGEST_LINK);
        let signed = self.bucket.store.signed_url(http::Method::GET, &self.bucket.path(key), valid_for).await;
        let url = signed.map_err(|error| self.bucket.failed(key, &error))?;
        Ok(Some(Secret::new(url.as_str())))
    }

    async fn check(&self) -> Result<(), BlobError> {
        let found = tokio::time::timeout(self.bucket.timeout, self.bucket.get(PROBE, GetOptions::default())).await;
        match found {
            Ok(Ok(_) | Err(BlobError::NotFound(_))) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let (name, waited) = (&self.bucket.name, self.bucket.timeout.as_secs_f64());
                Err(BlobError::Unavailable(format!("bucket {name}: no answer within {waited} s")))
            }
        }
    }

    async fn permissions(&self) -> Result<Permissions, BlobError> {
        self.check().await.or_else(|error| match &error {
            BlobError::Unavailable(said) if said.contains("AccessDenied") => Ok(()),
            _ => Err(error),
        })?;
        let refused = |right: &'static str| move |error: BlobError| format!("{error} (tried: {right} on {PROBE})");
        let bytes = Bytes::from_static(b"antiphon");
        let write = self.bucket.put_whole(PROBE, bytes, Attributes::new()).await.map_err(refused("s3:PutObject"));
        let read = match self.bucket.get(PROBE, GetOptions::default()).await {
            Ok(_) | Err(BlobError::NotFound(_)) => Ok(()),
            Err(error) => Err(refused("s3:GetObject")(error)),
        };
        let delete = self.bucket.delete(PROBE).await.map_err(refused("s3:DeleteObject"));
        Ok(Permissions { read, write, delete })
    }
}

/// An upload in parts: one part goes up while the next is gathered. Aborted when it is dropped unfinished.
struct Upload {
    bucket: Arc<Bucket>,
    key: String,
    id: String,
    /// Names its checksum object.
    checksum_name: String,
    parts: Vec<PartId>,
    sending: Option<tokio::task::JoinHandle<object_store::Result<PartId>>>,
    finished: bool,
}

impl S3Blobs {
    /// Sends a part, of a new upload if there is none yet.
    async fn upload_part(&self, key: &str, upload: &mut Option<Upload>, part: Bytes) -> Result<(), BlobError> {
        let upload = match upload {
            Some(upload) => upload,
            None => upload.insert(Upload::begin(&self.bucket, key).await?),
        };
        upload.send(part).await
    }
}

impl Upload {
    async fn begin(bucket: &Arc<Bucket>, key: &str) -> Result<Self, BlobError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| BlobError::Unavailable(format!("no randomness: {error}")))?;
        let checksum_name = data_encoding::HEXLOWER.encode(&random);
        let path = bucket.path(key);
        let metadata = attributes(CHECKSUM_AT, checksum_name.clone());
        let options = PutMultipartOptions { attributes: metadata, ..PutMultipartOptions::default() };
        let begun = bucket.request(|| bucket.store.create_multipart_opts(&path, options.clone())).await;
        let id = begun.map_err(|error| bucket.failed(key, &error))?;
        let (bucket, key) = (Arc::clone(bucket), key.to_owned());
        Ok(Self { bucket, key, id, checksum_name, parts: Vec::new(), sending: None, finished: false })
    }

    /// Waits for the part before, and starts to send this one.
    async fn send(&mut self, part: Bytes) -> Result<(), BlobError> {
        self.sent().await?;
        let (bucket, path, id) = (Arc::clone(&self.bucket), self.bucket.path(&self.key), self.id.clone());
        let (number, payload) = (self.parts.len(), PutPayload::from_bytes(part));
        self.sending = Some(tokio::spawn(async move {
            bucket.request(|| bucket.store.put_part(&path, &id, number, payload.clone())).await
        }));
        Ok(())
    }

    async fn sent(&mut self) -> Result<(), BlobError> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = sending.await;
        self.sending = None;
        let part = sent.map_err(|error| BlobError::Unavailable(format!("a part was not sent: {error}")))?;
        self.parts.push(part.map_err(|error| self.unavailable(&error))?);
        Ok(())
    }

    /// The last part, the checksum, and then all at once: the object.
    async fn finish(mut self, last: Bytes, checksum: String) -> Result<(), BlobError> {
        self.send(last).await?;
        self.sent().await?;
        let name = format!("checksums~/{}", self.checksum_name);
        self.bucket.put_whole(&name, Bytes::from(checksum), Attributes::new()).await?;
        let path = self.bucket.path(&self.key);
        let completed =
            self.bucket.request(|| self.bucket.store.complete_multipart(&path, &self.id, self.parts.clone())).await;
        match completed {
            Ok(_) => {
                self.finished = true;
                Ok(())
            }
            // Whoever asks again after a lost answer is told that the upload is gone: then it was completed.
            Err(error) if told(&error).contains("NoSuchUpload") && self.is_there().await => {
                self.finished = true;
                Ok(())
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// Whether the object that is there now is this upload's.
    async fn is_there(&self) -> bool {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let found = self.bucket.get(&self.key, head).await;
        found.is_ok_and(|found| metadata(&found.attributes, CHECKSUM_AT) == Some(self.checksum_name.as_str()))
    }

    /// An upload that is not found is the server's fault, not an object that nobody has put.
    fn unavailable(&self, error: &object_store::Error) -> BlobError {
        match self.bucket.failed(&self.key, error) {
            BlobError::NotFound(_) => BlobError::Unavailable(self.bucket.explained(&told(error), error)),
            error => error,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let sending = self.sending.take();
        if let Some(sending) = &sending {
            sending.abort();
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (bucket, path, id) = (Arc::clone(&self.bucket), self.bucket.path(&self.key), std::mem::take(&mut self.id));
        let checksum = format!("checksums~/{}", self.checksum_name);
        runtime.spawn(async move {
            if let Some(sending) = sending {
                // A part that arrives after the abort would stay.
                let _ = sending.await;
            }
            let aborted = bucket.request(|| bucket.store.abort_multipart(&path, &id)).await;
            if let Err(error) = aborted {
                tracing::warn!(reason = told(&error), "an unfinished upload stays until the bucket's rule removes it");
            }
            let _ = bucket.delete(&checksum).await;
        });
    }
}

/// The bytes of a whole object; the last are held back until they are known to be right.
fn verified(bytes: ByteStream, key: String, info: BlobInfo) -> ByteStream {
    struct State {
        bytes: ByteStream,
        held: Option<Bytes>,
        hash: Sha256,
        size: u64,
        done: bool,
    }
    let state = State { bytes, held: None, hash: Sha256::new(), size: 0, done: false };
    let stream: BoxStream<'static, _> = futures::stream::unfold(state, move |mut state| {
        let (key, info) = (key.clone(), info.clone());
        async move {
            while !state.done {
                match state.bytes.next().await {
                    Some(Ok(bytes)) => {
                        state.hash.update(&bytes);
                        state.size += bytes.len() as u64;
                        if let Some(held) = state.held.replace(bytes) {
                            return Some((Ok(held), state));
                        }
                    }
                    Some(Err(error)) => {
                        state.done = true;
                        return Some((Err(error), state));
                    }
                    None => {
                        state.done = true;
                        let sha256: [u8; 32] = std::mem::take(&mut state.hash).finalize().into();
                        if (BlobInfo { size: state.size, sha256 }) != info {
                            return Some((Err(BlobError::Damaged(key)), state));
                        }
                        return state.held.take().map(|held| (Ok(held), state));
                    }
                }
            }
            None
        }
    })
    .boxed();
    stream
}

fn attributes(name: &'static str, value: String) -> Attributes {
    Attributes::from_iter([(Attribute::Metadata(name.into()), value)])
}

fn metadata<'a>(attributes: &'a Attributes, name: &'static str) -> Option<&'a str> {
    attributes.get(&Attribute::Metadata(name.into())).map(|value| &**value)
}

/// The object of a key: of its name, unless a segment of that is longer than a file's name may be on servers that keep
/// objects in a file system; then it goes on behind `~/`.
fn object_name(key: &str) -> Cow<'_, str> {
    if key.split('/').all(|segment| segment.len() <= SEGMENT) {
        return Cow::Borrowed(key);
    }
    let segments = key.split('/').map(|mut segment| {
        let mut name = String::new();
        // Keys are ASCII, so any index is between two characters.
        while segment.len() > SEGMENT {
            let (front, rest) = segment.split_at(SEGMENT);
            name += front;
            name += "~/";
            segment = rest;
        }
        name + segment
    });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// The checksum object that metadata names; `None` when that was not written by us.
fn checksum_name(name: &str) -> Option<String> {
    let ours = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    ours.then(|| format!("checksums~/{name}"))
}

fn to_hex(sha256: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(sha256)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
