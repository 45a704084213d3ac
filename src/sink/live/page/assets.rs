//! The page's own files, as built in.

/// One file.
pub(super) struct Asset {
    pub path: &'static str,
    pub kind: &'static str,
    pub content: &'static [u8],
}

static ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        kind: "text/html; charset=utf-8",
        content: include_bytes!("assets/index.html"),
    },
    Asset {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        content: include_bytes!("assets/page.css"),
    },
    Asset {
        path: "/page.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("assets/page.js"),
    },
    Asset {
        path: "/feed.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("assets/feed.js"),
    },
    Asset {
        path: "/show.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("assets/show.js"),
    },
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
