//! Pages of a list, and the cursors between them.

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Params, Problem};

/// The longest cursor that is read, in characters.
const CURSOR_LIMIT: usize = 2_048;

/// One page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; null when this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` of the `items`, of which there is one more when there is a next page; `cursor`
    /// makes the position after the last item that is shown.
    #[must_use]
    pub fn of<C: Serialize>(mut items: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> C) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|last| encode_cursor(&cursor(last))) } else { None };
        Self { items, next }
    }
}

/// Makes an opaque cursor of a position.
#[must_use]
pub fn encode_cursor(position: &impl Serialize) -> String {
    // A position is made of numbers and strings, which JSON always takes; an empty cursor would be refused.
    BASE64URL_NOPAD.encode(&serde_json::to_vec(position).unwrap_or_default())
}

/// Reads the parameter `cursor` back; `None` if it was not sent.
///
/// # Errors
/// 400 when it is not one of ours.
pub fn decode_cursor<T: DeserializeOwned>(params: &Params) -> Result<Option<T>, Problem> {
    let Some(text) = params.get("cursor") else { return Ok(None) };
    let position = (text.len() <= CURSOR_LIMIT)
        .then(|| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
        .flatten()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match position {
        Some(position) => Ok(Some(position)),
        None => Err(Problem::bad_field("cursor", "cursor is not one that an earlier page gave as next")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = encode_cursor(&(17_i64, "roof"));
        let params = Params::parse(Some(&format!("cursor={cursor}")), &["cursor"]).unwrap();
        assert_eq!(decode_cursor::<(i64, String)>(&params).unwrap(), Some((17, String::from("roof"))));
        assert_eq!(decode_cursor::<i64>(&params).unwrap_err().status, 400);
        let none = Params::parse(None, &["cursor"]).unwrap();
        assert_eq!(decode_cursor::<i64>(&none).unwrap(), None);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for bad in ["", "x", "!!!!", "bm90IGpzb24", &"A".repeat(5_000)] {
            let params = Params::parse(Some(&format!("cursor={bad}")), &["cursor"]).unwrap();
            assert_eq!(decode_cursor::<i64>(&params).unwrap_err().field.as_deref(), Some("cursor"));
        }
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(Page::of(vec![1, 2, 3], 3, |last| *last).next, None);
        let page = Page::of(vec![1, 2, 3], 2, |last| *last);
        assert_eq!((page.items, page.next), (vec![1, 2], Some(encode_cursor(&2))));
    }
}
