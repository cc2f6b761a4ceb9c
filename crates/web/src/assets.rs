//! Styles, scripts and pictures of the pages: in the binary, under a path that changes with them.

use std::sync::LazyLock;

use antiphon_plot::{SHADES, shade};
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

/// Name, media type, content.
type Asset = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 9] = [
    ("antiphon.css", "text/css; charset=utf-8", include_str!("../assets/antiphon.css")),
    ("mark.svg", "image/svg+xml", include_str!("../assets/mark.svg")),
    ("frame.js", SCRIPT, include_str!("../assets/frame.js")),
    ("times.js", SCRIPT, include_str!("../assets/times.js")),
    ("now.js", SCRIPT, include_str!("../assets/now.js")),
    ("scroll.js", SCRIPT, include_str!("../assets/scroll.js")),
    ("chart.js", SCRIPT, include_str!("../assets/chart.js")),
    ("sensor.js", SCRIPT, include_str!("../assets/sensor.js")),
    ("song.js", SCRIPT, include_str!("../assets/song.js")),
];

/// The map of colours that pictures of the server are painted with, for those that scripts paint.
static COLOURS: LazyLock<String> = LazyLock::new(|| {
    let shades: Vec<String> =
        (0..SHADES).map(shade).map(|[red, green, blue]| format!("[{red},{green},{blue}]")).collect();
    let about = "// Generated: magma (N. Smith and S. van der Walt, matplotlib 1.5, CC0), from dark to light.";
    format!("{about}\nexport const SHADES = [{}];\n", shades.join(","))
});

/// Changes whenever one of them does, so that browsers may keep them for good.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in ASSETS {
        hash.update(name);
        hash.update(content);
    }
    hash.update(COLOURS.as_str());
    HEXLOWER.encode(&hash.finalize()[..6])
});

/// Where an asset is.
#[must_use]
pub fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

/// An asset. An older version's path gives the newest: a page that was open over an update finds what it needs, and is
/// told to ask again.
pub async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let found = ASSETS.iter().find(|(known, ..)| *known == name).map(|(_, kind, content)| (*kind, *content));
    let found = found.or_else(|| (name == "colours.js").then(|| (SCRIPT, COLOURS.as_str())));
    let Some((kind, content)) = found else { return StatusCode::NOT_FOUND.into_response() };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shade looks like, in CIE L*a*b* under D65 (CIE 15:2004; sRGB by IEC 61966-2-1).
    fn lab([red, green, blue]: [u8; 3]) -> [f64; 3] {
        let linear = |byte: u8| {
            let share = f64::from(byte) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        let (red, green, blue) = (linear(red), linear(green), linear(blue));
        let x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.950_47;
        let y = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        let z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.088_83;
        let root = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        [116.0 * root(y) - 16.0, 500.0 * (root(x) - root(y)), 200.0 * (root(y) - root(z))]
    }

    #[test]
    fn the_map_of_colours_is_even() {
        let shades: Vec<[f64; 3]> = (0..SHADES).map(|number| lab(shade(number))).collect();
        let lightness: Vec<f64> = shades.windows(2).map(|pair| pair[1][0] - pair[0][0]).collect();
        let mean = lightness.iter().sum::<f64>() / lightness.len() as f64;
        assert!(lightness.iter().all(|step| *step > 0.0), "it grows lighter throughout: {lightness:?}");
        assert!(lightness.iter().all(|step| (step / mean - 1.0).abs() < 0.7), "in even steps: {mean} {lightness:?}");
        assert!(shades[0][0] < 3.0 && shades[shades.len() - 1][0] > 95.0, "from nearly black to nearly white");
    }

    #[tokio::test]
    async fn assets_may_be_kept_for_good_under_their_own_version_only() {
        let of = async |version: &str, name: &str| {
            let response = serve(Path((version.to_owned(), name.to_owned()))).await;
            let keep = response.headers().get(header::CACHE_CONTROL).map(|keep| keep.to_str().unwrap().to_owned());
            (response.status().as_u16(), keep.unwrap_or_default())
        };
        assert!(of(&VERSION, "colours.js").await.1.contains("immutable"));
        assert_eq!(of("000000", "frame.js").await, (200, String::from("no-cache")));
        assert_eq!(of(&VERSION, "..").await.0, 404);
    }

    #[test]
    fn scripts_import_what_there_is() {
        let scripts = ASSETS.iter().filter(|(_, kind, _)| *kind == SCRIPT);
        for (name, _, content) in scripts {
            for (_, rest) in content.match_indices("from \"./").map(|(at, found)| content.split_at(at + found.len())) {
                let import = rest.split('"').next().unwrap_or_default();
                let known = import == "colours.js" || ASSETS.iter().any(|(known, ..)| *known == import);
                assert!(known, "{name} imports {import}");
            }
        }
    }
}
