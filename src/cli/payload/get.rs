//! `plainspan payload get`: what one link names.

use super::args::{GetArgs, GetForm, Side};
use super::error::PayloadError;
use super::fetch::Fetch;
use super::open::Opener;
use super::out::Out;
use super::places::Stores;
use crate::payload::har::{self, Entry};
use crate::payload::{Document, curl, escaped, escaped_text, readable};
use crate::sink::payload::segment::SUFFIX;

/// # Errors
/// When the document cannot be had, or has not what was asked for.
pub fn get(args: &GetArgs, out: &mut Out) -> Result<(), PayloadError> {
    let stores = Stores::load(args.config.as_deref())?;
    let place = stores.place(&args.url.url)?;
    let segment = place.object.name().is_some_and(|n| n.ends_with(SUFFIX));
    if place.folder || (segment && args.url.bytes.is_none()) {
        let url = args.url.url.clone();
        return Err(PayloadError::Many { url });
    }
    let fetch = Fetch::new()?;
    let mut opener = Opener::new(&fetch);
    let json = opener.document(&place.object, args.url.bytes, args.digest.as_deref())?;
    let document = Document::read(&json)?;
    write(&args.form, &document, &json, out)?;
    out.flush()?;
    Ok(())
}

fn write(
    form: &GetForm,
    document: &Document,
    json: &[u8],
    out: &mut Out,
) -> Result<(), PayloadError> {
    if form.har {
        let entry = serde_json::to_string(&Entry::of(document)).map_err(std::io::Error::from)?;
        out.json(format!("{}\n{entry}\n{}\n", har::head(), har::TAIL).as_bytes())?;
    } else if form.curl {
        let line = curl::line(document)?;
        line.notes.iter().for_each(|note| eprintln!("note: {note}"));
        out.line(&line.text)?;
    } else if let Some(side) = form.body {
        body(side, document, out)?;
    } else if form.headers {
        out.raw(readable::heads(document).as_bytes())?;
    } else if out.terminal && !form.json {
        out.raw(readable::whole(document).as_bytes())?;
    } else {
        out.json(json)?;
        out.raw(b"\n")?;
    }
    Ok(())
}

fn body(side: Side, document: &Document, out: &mut Out) -> Result<(), PayloadError> {
    let (side, message) = match side {
        Side::Request => ("request", &document.request),
        Side::Response => ("response", &document.response),
    };
    let Some(message) = message else {
        let why = "it was not seen".to_owned();
        return Err(PayloadError::NoBody { side, why });
    };
    let cut = message.cut().map(|why| escaped(why.as_bytes()));
    match cut {
        Some(why) if message.body.is_none() => return Err(PayloadError::NoBody { side, why }),
        Some(why) => eprintln!("warning: the body of the {side} is not whole: {why}"),
        None => {}
    }
    let content = message.content();
    if !out.terminal {
        out.raw(content)?;
        return Ok(());
    }
    if message.text().is_none() && !content.is_empty() {
        return Err(PayloadError::Binary);
    }
    out.raw(escaped_text(content).as_bytes())?;
    Ok(())
}
