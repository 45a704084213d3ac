//! The page's own files, as built in.

/// One file.
pub(super) struct Asset {
    pub path: &'static str,
    pub kind: &'static str,
    pub content: &'static [u8],
}

const fn asset(path: &'static str, kind: &'static str, content: &'static [u8]) -> Asset {
    Asset {
        path,
        kind,
        content,
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 5] = [
    asset("/", HTML, include_bytes!("assets/index.html")),
    asset("/page.css", CSS, include_bytes!("assets/page.css")),
    asset("/page.js", JAVASCRIPT, include_bytes!("assets/page.js")),
    asset("/feed.js", JAVASCRIPT, include_bytes!("assets/feed.js")),
    asset("/show.js", JAVASCRIPT, include_bytes!("assets/show.js")),
];

pub(super) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the policy of the page does not let run, or lets captured text become more than text.
    #[test]
    fn no_asset_has_what_turns_text_into_markup_or_script() {
        for asset in &ASSETS {
            let text = std::str::from_utf8(asset.content).expect("text");
            for never in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "srcdoc",
                "DOMParser",
                "createContextualFragment",
                "javascript:",
                " style=\"",
                " onclick",
                "localStorage",
                "<script>",
            ] {
                assert!(!text.contains(never), "{}: {never}", asset.path);
            }
        }
    }
}
