//! Answers that are longer than what is at hand: made while the client takes them, in the snapshot they began in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;
use antiphon_tables::{Table, Writer};
use axum::body::Body;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Api;
use super::answer::{Answer, STRETCH};
use super::format::{Format, batch, json_head, json_tail, table, with_gaps};
use super::request::Request;

/// Pieces that wait for the client; each is a stretch of rows.
const WAITING: usize = 2;

/// How long a client may take over one piece before its connection is cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a long answer waits for others to end.
const TURN: Duration = Duration::from_secs(4);

/// What a client gets of an answer.
pub(super) struct Page {
    pub(super) answer: Answer,
    pub(super) format: Format,
    /// The source's name.
    pub(super) source: String,
    /// Rows at most of a JSON page; tables have no limit.
    pub(super) limit: usize,
    /// Where the page begins: its gaps are those from here on.
    pub(super) start: Micros,
}

/// A page that is being written.
struct Writing {
    answer: Answer,
    tx: ReadTransaction,
    table: Arc<Table>,
    output: Output,
}

/// What is written of it.
enum Output {
    /// A page of so many rows at most, with the gaps from `start` on.
    Json { limit: usize, start: Micros, written: usize },
    /// All rows.
    Table(Writer),
    /// Nothing more.
    Done,
}

/// The body of a page. What fits into one piece is made before anything is sent, so that a fault of it is a proper
/// error.
pub(super) async fn body(api: &Api, tx: ReadTransaction, page: Page) -> Result<Body, Problem> {
    let Page { answer, format, source, limit, start } = page;
    let table = table(&answer, &source);
    let (table, bytes, output) = match format {
        Format::Json => (Arc::clone(&table), json_head(&table).into_bytes(), Output::Json { limit, start, written: 0 }),
        Format::Table(format) => {
            let table = with_gaps(table, &answer);
            let writer = Writer::new(format, &table)?;
            (table, Vec::new(), Output::Table(writer))
        }
    };
    streamed(api, bytes, Writing { answer, tx, table, output }).await
}

/// What is made piece by piece, while the client takes it.
pub(super) trait Pieces: Send + 'static {
    /// Whether there is nothing more.
    fn is_done(&self) -> bool;

    /// What comes next, which may be nothing yet.
    fn next_piece(&mut self) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
}

/// A body that begins with `bytes` and goes on with pieces; the first is made before anything is sent.
pub(super) async fn streamed(api: &Api, mut bytes: Vec<u8>, mut writing: impl Pieces) -> Result<Body, Problem> {
    bytes.extend(writing.next_piece().await?);
    if writing.is_done() {
        return Ok(Body::from(bytes));
    }
    let busy = || Problem::unavailable("too many long answers are being sent; try again");
    let turn = tokio::time::timeout(TURN, api.streams.clone().acquire_owned()).await;
    let permit = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(send(writing, Bytes::from(bytes), sender, permit));
    Ok(Body::from_stream(futures::stream::unfold(Some(receiver), receive)))
}

/// A whole answer as the text of one JSON page without limit: for tests and callers without HTTP.
///
/// # Errors
/// As [`Answer::prepare`] and [`Answer::next`].
pub async fn answer(tx: &mut ReadTransaction, request: &Request, now: Micros) -> Result<String, Problem> {
    let mut answer = Answer::prepare(tx, request, now).await?;
    let table = table(&answer, &request.source);
    let mut text = json_head(&table);
    let mut is_first = true;
    while !answer.is_over() {
        let rows = answer.next(tx, STRETCH).await?;
        text.push_str(&batch(&table, &rows)?.json_rows(is_first));
        is_first &= rows.is_empty();
    }
    let (from, to) = answer.range();
    text.push_str(&json_tail(answer.kind(), &answer.gaps(from, to), None));
    Ok(text)
}

/// A piece of a body; `None` is its proper end.
type Piece = Option<Bytes>;

async fn send(mut writing: impl Pieces, first: Bytes, sender: mpsc::Sender<Piece>, _turn: OwnedSemaphorePermit) {
    let mut piece = first;
    loop {
        // A client that is gone or too slow ends it; the receiver then cuts the connection. Where rows are being
        // collected there is nothing to send yet.
        if piece.is_empty() && sender.is_closed() {
            return;
        }
        if !piece.is_empty() && sender.send_timeout(Some(piece), PATIENCE).await.is_err() {
            return;
        }
        if writing.is_done() {
            let _ = sender.send_timeout(None, PATIENCE).await;
            return;
        }
        piece = match writing.next_piece().await {
            Ok(bytes) => Bytes::from(bytes),
            Err(problem) => {
                tracing::warn!(detail = problem.detail, "a streamed answer is cut");
                return;
            }
        };
    }
}

/// The next piece for the client. Without a proper end the connection is cut: a short file never looks whole.
async fn receive(
    receiver: Option<mpsc::Receiver<Piece>>,
) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Piece>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Some(bytes)) => Some((Ok(bytes), Some(receiver))),
        Some(None) => None,
        None => Some((Err(io::Error::other("the answer cannot be finished")), None)),
    }
}

impl Pieces for Writing {
    fn is_done(&self) -> bool {
        matches!(self.output, Output::Done)
    }

    /// What the next rows make, which may be nothing yet.
    async fn next_piece(&mut self) -> Result<Vec<u8>, Problem> {
        match &mut self.output {
            Output::Done => Ok(Vec::new()),
            Output::Json { limit, start, written } => {
                let rows = self.answer.next(&mut self.tx, STRETCH.min(*limit - *written)).await?;
                let mut text = batch(&self.table, &rows)?.json_rows(*written == 0);
                *written += rows.len();
                if rows.is_empty() || *written >= *limit || self.answer.is_over() {
                    let next = self.answer.peek(&mut self.tx).await?;
                    let gaps = self.answer.gaps(*start, next.unwrap_or(self.answer.range().1));
                    text.push_str(&json_tail(self.answer.kind(), &gaps, next));
                    self.output = Output::Done;
                }
                Ok(text.into_bytes())
            }
            Output::Table(writer) => {
                let rows = self.answer.next(&mut self.tx, STRETCH).await?;
                let mut bytes = writer.write(batch(&self.table, &rows)?)?;
                if (rows.is_empty() || self.answer.is_over())
                    && let Output::Table(writer) = std::mem::replace(&mut self.output, Output::Done)
                {
                    bytes.extend(writer.finish()?);
                }
                Ok(bytes)
            }
        }
    }
}
