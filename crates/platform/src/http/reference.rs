//! Readable documentation of an API, made of its own OpenAPI document: one page of HTML that needs no script, no other
//! file, and no network.

use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::{HeaderValue, header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Its only style; the page's content security policy allows this text and nothing else.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8882}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h1,h2,h3{line-height:1.2}h2{border-bottom:1px solid var(--line);margin-top:3rem}\
h3{font:600 1rem ui-monospace,monospace;background:var(--soft);padding:.5rem;border-radius:.3rem;overflow-wrap:anywhere}\
h3 b{display:inline-block;min-width:4.5rem}\
code{font-family:ui-monospace,monospace;background:var(--soft);border-radius:.2rem;padding:0 .2rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}\
th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;border-top:1px solid var(--line)}\
th{font-weight:600}.table{overflow-x:auto}nav ul{columns:2;padding-left:1.2rem}a{color:inherit}\
@media(max-width:40rem){nav ul{columns:1}}";

/// The page, with the headers that it is sent with.
#[derive(Clone, Debug)]
pub struct Page {
    html: String,
    policy: HeaderValue,
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, self.policy)], self.html).into_response()
    }
}

/// Makes the page of an OpenAPI document.
#[must_use]
pub fn page(document: &Value) -> Page {
    let hash = BASE64.encode(&Sha256::digest(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Base64 has header characters only; without the hash the page is merely plain.
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let title = escape(&format!("{} {}", text(&document["info"]["title"]), text(&document["info"]["version"])));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    html.push_str(&prose(text(&document["info"]["description"])));
    html.push_str(
        "<p>The same for programs: <a href=\"/api/v1/openapi.json\"><code>/api/v1/openapi.json</code></a></p>",
    );
    let operations = operations(document);
    navigation(&mut html, &operations);
    let mut section = "";
    for operation in &operations {
        if operation.tag != section {
            section = operation.tag;
            html.push_str(&format!("<h2 id=\"{0}\">{0}</h2>", escape(section)));
        }
        operation.write(&mut html);
    }
    schemas(&mut html, &document["components"]["schemas"]);
    html.push_str("</body></html>\n");
    Page { html, policy }
}

struct Operation<'a> {
    tag: &'a str,
    method: String,
    path: &'a str,
    value: &'a Value,
}

/// Every operation, by tag and path.
fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let mut operations: Vec<Operation<'_>> = paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten().filter(|(_, value)| value.get("responses").is_some());
            methods.map(move |(method, value)| Operation {
                tag: value["tags"][0].as_str().unwrap_or("other"),
                method: method.to_uppercase(),
                path,
                value,
            })
        })
        .collect();
    operations.sort_by(|a, b| (a.tag, a.path).cmp(&(b.tag, b.path)));
    operations
}

fn navigation(html: &mut String, operations: &[Operation<'_>]) {
    html.push_str("<nav><ul>");
    for operation in operations {
        let summary = text(&operation.value["summary"]);
        let name = format!("{} {}", operation.method, operation.path);
        let shown = if summary.is_empty() { &name } else { summary };
        html.push_str(&format!(
            "<li><a href=\"#{}\">{}</a></li>",
            operation.anchor(),
            inline(shown.trim_end_matches('.'))
        ));
    }
    html.push_str("</ul></nav>");
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        let name = format!("{}{}", self.method, self.path).to_lowercase();
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn write(&self, html: &mut String) {
        let (method, path) = (escape(&self.method), escape(self.path));
        html.push_str(&format!("<h3 id=\"{}\"><b>{method}</b> {path}</h3>", self.anchor()));
        html.push_str(&prose(text(&self.value["summary"])));
        html.push_str(&prose(text(&self.value["description"])));
        let parameters = self.value["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parameters = parameters.iter().map(|parameter| {
            let required = if parameter["required"] == true { ", required" } else { "" };
            let place = format!("{}{required}", text(&parameter["in"]));
            [
                code(text(&parameter["name"])),
                escape(&place),
                kind(&parameter["schema"]),
                inline(text(&parameter["description"])),
            ]
        });
        table(html, ["parameter", "in", "type", "what it does"], parameters);
        let body = &self.value["requestBody"];
        let bodies = body["content"].as_object().into_iter().flatten().map(|(media, content)| {
            [code(media), kind(&content["schema"]), inline(text(&body["description"])), String::new()]
        });
        table(html, ["body", "type", "what it is", ""], bodies);
        let mut responses: Vec<_> = self.value["responses"].as_object().into_iter().flatten().collect();
        responses.sort_by_key(|(status, _)| *status);
        let responses = responses.into_iter().map(|(status, response)| {
            let contents = response["content"].as_object();
            let media: Vec<String> = contents.into_iter().flatten().map(|(media, _)| code(media)).collect();
            let schema = contents.and_then(|contents| contents.values().next()).map(|content| kind(&content["schema"]));
            let described = inline(text(&response["description"]));
            [code(status), described, media.join(" "), schema.unwrap_or_default()]
        });
        table(html, ["answer", "when", "media type", "type"], responses);
    }
}

fn schemas(html: &mut String, schemas: &Value) {
    let Some(schemas) = schemas.as_object().filter(|schemas| !schemas.is_empty()) else { return };
    html.push_str("<h2>Types</h2>");
    for (name, schema) in schemas {
        html.push_str(&format!("<h3 id=\"type-{0}\">{0}</h3>", escape(name)));
        html.push_str(&prose(text(&schema["description"])));
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty).iter().map(|(field, property)| {
            let required =
                schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == field));
            let required = if required { "always" } else { "" };
            [code(field), escape(required), kind(property), inline(text(&property["description"]))]
        });
        table(html, ["field", "there", "type", "what it is"], properties);
        if schema["properties"].is_null() {
            html.push_str(&format!("<p>{}</p>", kind(schema)));
        }
    }
}

/// A table of cells that are HTML already; nothing when there is no row.
fn table(html: &mut String, heads: [&str; 4], rows: impl Iterator<Item = [String; 4]>) {
    let rows: Vec<[String; 4]> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let cells =
        |tag: &str, cells: &[String]| cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>();
    let heads = heads.map(str::to_owned);
    html.push_str(&format!("<div class=\"table\"><table><tr>{}</tr>", cells("th", &heads)));
    for row in &rows {
        html.push_str(&format!("<tr>{}</tr>", cells("td", row)));
    }
    html.push_str("</table></div>");
}

/// The type of a schema in a few words, with links to named types.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    for (key, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[key].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(between);
        }
    }
    let named = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        other => text(other).to_owned(),
    };
    let of = if schema["items"].is_object() { format!(" of {}", kind(&schema["items"])) } else { String::new() };
    let choices =
        schema["enum"].as_array().map(|choices| choices.iter().map(|choice| code(text(choice))).collect::<Vec<_>>());
    let choices = choices.map(|choices| format!(": {}", choices.join(", "))).unwrap_or_default();
    format!("{}{of}{choices}", escape(&named))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Paragraphs with `code` in them.
fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", inline(paragraph))).collect()
}

/// Text in which backquotes set code.
fn inline(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // An odd number of backquotes leaves one without its partner, which then is only a character.
    if parts.len().is_multiple_of(2) {
        return escape(text);
    }
    let pieces = parts.iter().enumerate();
    pieces.map(|(index, part)| if index % 2 == 1 { code(part) } else { escape(part) }).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "info": { "title": "Test", "version": "1", "description": "First.\n\nSecond with `code` & <b>." },
            "paths": { "/songs/{song}": { "get": {
                "tags": ["songs"], "summary": "One song",
                "parameters": [{ "name": "song", "in": "path", "required": true, "schema": { "type": "string" } }],
                "responses": { "200": { "description": "It", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Song" } } } } }
            } } },
            "components": { "schemas": { "Song": { "required": ["id"], "properties": {
                "id": { "type": "string", "description": "<script>alert(1)</script>" },
                "duration": { "type": ["number", "null"] }
            } } } }
        })
    }

    #[test]
    fn everything_in_the_document_is_on_the_page() {
        let html = page(&document()).html;
        for part in [
            "<b>GET</b> /songs/{song}",
            "One song",
            "path, required",
            "number or null",
            "href=\"#type-Song\"",
            "id=\"type-Song\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(html.contains("<p>Second with <code>code</code> &amp; &lt;b&gt;.</p>"));
    }

    #[test]
    fn text_is_escaped_and_nothing_is_fetched() {
        let html = page(&document()).html;
        assert!(!html.contains("<script"));
        for fetched in ["src=", "http://", "https://", "@import", "url("] {
            assert!(!html.contains(fetched), "{fetched}");
        }
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_nothing_else() {
        let page = page(&document());
        let style = page.html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let hash = BASE64.encode(&Sha256::digest(style.as_bytes()));
        let policy = page.policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains(&hash), "{policy}");
    }
}
