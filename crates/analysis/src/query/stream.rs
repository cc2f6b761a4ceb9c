//! Answers that are longer than what is at hand: made while the client takes them, in the snapshot they began in.

use std::io;
use std::time::Duration;

use antiphon_platform::clock::Micros;
use antiphon_platform::db::ReadTransaction;
use antiphon_platform::http::Problem;
use axum::body::Body;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Api;
use super::answer::{Answer, STRETCH};
use super::format::{Format, csv_head, csv_rows, json_head, json_rows, json_tail};
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
    /// Rows at most; CSV has no limit.
    pub(super) limit: usize,
    /// Where the page begins: its gaps are those from here on.
    pub(super) start: Micros,
}

/// A page that is being written.
struct Writing {
    page: Page,
    tx: ReadTransaction,
    written: usize,
    is_done: bool,
}

/// The body of a page. What fits into one piece is made before anything is sent, so that a fault of it is a proper
/// error.
pub(super) async fn body(api: &Api, tx: ReadTransaction, page: Page) -> Result<Body, Problem> {
    let mut text = match page.format {
        Format::Json => json_head(&page.answer, &page.source),
        Format::Csv => csv_head(&page.answer),
    };
    let mut writing = Writing { page, tx, written: 0, is_done: false };
    text.push_str(&writing.next_piece().await?);
    if writing.is_done {
        return Ok(Body::from(text));
    }
    let busy = || Problem::unavailable("too many long answers are being sent; try again");
    let turn = tokio::time::timeout(TURN, api.streams.clone().acquire_owned()).await;
    let permit = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(send(writing, Bytes::from(text), sender, permit));
    Ok(Body::from_stream(futures::stream::unfold(Some(receiver), receive)))
}

/// A whole answer as the text of one JSON page without limit: for tests and callers without HTTP.
///
/// # Errors
/// As [`Answer::prepare`] and [`Answer::next`].
pub async fn answer(tx: &mut ReadTransaction, request: &Request, now: Micros) -> Result<String, Problem> {
    let mut answer = Answer::prepare(tx, request, now).await?;
    let kind = answer.kind();
    let mut text = json_head(&answer, &request.source);
    let mut is_first = true;
    while !answer.is_over() {
        let rows = answer.next(tx, STRETCH).await?;
        text.push_str(&json_rows(kind, &rows, is_first));
        is_first &= rows.is_empty();
    }
    let (from, to) = answer.range();
    text.push_str(&json_tail(kind, &answer.gaps(from, to), None));
    Ok(text)
}

/// A piece of a body; `None` is its proper end.
type Piece = Option<Bytes>;

async fn send(mut writing: Writing, first: Bytes, sender: mpsc::Sender<Piece>, _turn: OwnedSemaphorePermit) {
    let mut piece = Some(first);
    // A client that is gone or too slow ends it; the receiver then cuts the connection.
    while sender.send_timeout(piece, PATIENCE).await.is_ok() {
        piece = match writing.is_done {
            true => None,
            false => match writing.next_piece().await {
                Ok(text) => Some(Bytes::from(text)),
                Err(problem) => {
                    tracing::warn!(detail = problem.detail, "a streamed answer is cut");
                    return;
                }
            },
        };
        if piece.is_none() {
            let _ = sender.send_timeout(None, PATIENCE).await;
            return;
        }
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

impl Writing {
    async fn next_piece(&mut self) -> Result<String, Problem> {
        let Page { answer, format, limit, start, .. } = &mut self.page;
        let kind = answer.kind();
        let most = match format {
            Format::Json => STRETCH.min(*limit - self.written),
            Format::Csv => STRETCH,
        };
        let rows = answer.next(&mut self.tx, most).await?;
        let mut text = match format {
            Format::Json => json_rows(kind, &rows, self.written == 0),
            Format::Csv => csv_rows(kind, &rows),
        };
        self.written += rows.len();
        self.is_done = rows.is_empty() || *format == Format::Json && self.written >= *limit || answer.is_over();
        if self.is_done && *format == Format::Json {
            let next = answer.peek(&mut self.tx).await?;
            let end = next.unwrap_or(answer.range().1);
            text.push_str(&json_tail(kind, &answer.gaps(*start, end), next));
        }
        Ok(text)
    }
}
