//! Markdown as HTML, of the pages and of the site of the documentation: `xtask` includes this file.

use pulldown_cmark::{Event, Tag, TagEnd};

/// What is read of a text as HTML, with wide tables in a part that scrolls. `lead` says where links and pictures lead; links that
/// lead nowhere are words.
pub fn to_html<'a>(events: impl Iterator<Item = Event<'a>>, mut lead: impl FnMut(&str) -> Option<String>) -> String {
    let mut is_open = Vec::new();
    let mut tables = 0;
    let events = events.flat_map(|event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let address = lead(&dest_url);
            is_open.push(address.is_some());
            address
                .map(|to| Event::Start(Tag::Link { link_type, dest_url: to.into(), title, id }))
                .into_iter()
                .collect()
        }
        Event::End(TagEnd::Link) if !is_open.pop().unwrap_or(false) => Vec::new(),
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let to = lead(&dest_url).unwrap_or_default();
            vec![Event::Start(Tag::Image { link_type, dest_url: to.into(), title, id })]
        }
        Event::Start(Tag::Table(columns)) => {
            tables += 1;
            let open =
                format!("<div class=\"scrollable\" tabindex=\"0\" role=\"region\" aria-label=\"Table {tables}\">");
            vec![Event::Html(open.into()), Event::Start(Tag::Table(columns))]
        }
        Event::End(TagEnd::Table) => vec![Event::End(TagEnd::Table), Event::Html("</div>".into())],
        other => vec![other],
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}
