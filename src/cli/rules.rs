//! `plainspan rules`: what the rules of a configuration make of a transaction.

use super::args::{ExplainArgs, RulesCommand, RulesTestArgs};
use super::check::{self, ConfigError};
use crate::config::file::Reader;
use crate::config::{Config, Environment};
use crate::rules::described::{Described, DescribedError};
use crate::rules::expr::{Cause, FIELDS, Facts};
use crate::rules::{Level, Rule, RulesError, Ruleset, TransactionFacts};
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of a description or of a file of expectations, at most.
const MAX_TEXT: u64 = 64 << 20;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum RulesCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not {what}: {reason}", path.display())]
    Format {
        path: PathBuf,
        what: &'static str,
        reason: String,
    },
    #[error("{}: {error}", path.display())]
    Described {
        path: PathBuf,
        error: DescribedError,
    },
    #[error("the expectation `{name}`: {error}")]
    Expectation { name: String, error: DescribedError },
    #[error("no HTTP is captured: tap.http.stack names no stack")]
    NoStack,
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// 0: said, and every expectation met; 1: one was not; 2: the configuration or what goes with it cannot be used.
pub fn rules(command: &RulesCommand) -> ExitCode {
    let environment = check::environment();
    let reader = check::reader(&environment);
    let out = &mut io::stdout().lock();
    let done = match command {
        RulesCommand::Explain(args) => explain(args, &environment, reader, out).map(|()| true),
        RulesCommand::Test(args) => test(args, &environment, reader, out),
        RulesCommand::Fields => fields(out).map(|()| true).map_err(RulesCommandError::Write),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // `rules fields | head` closes stdout: what was asked for has been read.
        Err(RulesCommandError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error @ RulesCommandError::Write(_)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {}", error.to_string().trim_end());
            ExitCode::from(2)
        }
    }
}

/// The rules of a plugin, compiled.
struct Plugin {
    name: &'static str,
    rules: Ruleset,
}

fn plugins(config: &Config) -> Result<Vec<Plugin>, RulesCommandError> {
    let stack = config.http_stack().ok_or(RulesCommandError::NoStack)?;
    let mut plugins = Vec::new();
    if let Some(capture) = &stack.http_capture {
        let rules = Ruleset::compile(capture.level, &capture.rules, &config.macros)?;
        plugins.push(Plugin {
            name: "http_capture",
            rules,
        });
    }
    if let Some(access) = &stack.access_logs {
        let rules = Ruleset::compile(access.mode, &access.rules, &config.macros)?;
        plugins.push(Plugin {
            name: "access_logs",
            rules,
        });
    }
    Ok(plugins)
}

/// Writes which rule of each plugin decides, and why.
///
/// # Errors
/// When a file cannot be read or used, or the text cannot be written.
pub fn explain(
    args: &ExplainArgs,
    environment: &Environment,
    reader: Reader,
    out: &mut dyn Write,
) -> Result<(), RulesCommandError> {
    let config = check::load_file(&args.file, environment, reader)?.config;
    let described = describe(&args.transaction)?;
    let facts = TransactionFacts {
        transaction: &described.transaction,
        process: &described.process,
    };
    let mut text = String::new();
    for plugin in plugins(&config)? {
        plugin.explain(&config, &facts, &mut text);
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

impl Plugin {
    fn explain(&self, config: &Config, facts: &dyn Facts, out: &mut String) {
        let verdicts = self.rules.explain(facts);
        let decided = verdicts.iter().find(|verdict| verdict.decides);
        let level = decided.map_or(self.rules.default_level(), |verdict| verdict.rule.level);
        // Writing to a `String` cannot fail.
        let _always = match decided {
            Some(verdict) => writeln!(
                out,
                "{}: level {}, by `{}`",
                self.name,
                level.name(),
                shown(&verdict.rule.name)
            ),
            None => writeln!(
                out,
                "{}: level {}, by default: no rule applies",
                self.name,
                level.name()
            ),
        };
        for verdict in &verdicts {
            let _always = writeln!(
                out,
                "  `{}` is {}",
                shown(&verdict.rule.name),
                verdict.outcome.describe()
            );
            for step in verdict.rule.program.steps(facts) {
                let part = part(
                    config,
                    verdict.rule,
                    &Cause {
                        span: step.span,
                        source: step.source,
                    },
                );
                let indent = "  ".repeat(step.depth + 2);
                let _always = write!(
                    out,
                    "{indent}{:8} {}",
                    step.outcome.describe(),
                    shown(&part)
                );
                for (i, (field, value)) in step.values.iter().enumerate() {
                    let between = if i == 0 { "   -- " } else { ", " };
                    let _always = write!(out, "{between}{field} is {}", shown(value));
                }
                out.push('\n');
            }
            if verdict.decides {
                let cause = verdict.rule.program.cause(facts);
                let part = part(config, verdict.rule, &cause);
                let _always = writeln!(out, "  decided by: {}", shown(&part));
            }
        }
    }
}

/// The text of a part of a rule, in one line; with the macro that it stands in.
fn part(config: &Config, rule: &Rule, cause: &Cause) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match &cause.source {
        None => one_line(cause.span.of(&rule.text)),
        Some(name) => {
            let text = config
                .macros
                .iter()
                .find(|m| m.name == **name)
                .map_or("", |m| m.expr.as_str());
            format!("{} (in `{name}`)", one_line(cause.span.of(text)))
        }
    }
}

/// Text from outside, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| {
        let unsafe_ = c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let (plain, escaped) = if unsafe_ { (None, Some(c.escape_unicode())) } else { (Some(c), None) };
        plain.into_iter().chain(escaped.into_iter().flatten())
    }).collect()
}

/// A transaction and what is expected of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    name: String,
    transaction: serde_json::Value,
    level: Option<String>,
    /// Empty: none.
    rule: Option<String>,
    mode: Option<String>,
}

/// Writes a line for each expectation beside the configuration, with an explanation where it is not met. True: all are.
///
/// # Errors
/// When a file cannot be read or used, or the text cannot be written.
pub fn test(
    args: &RulesTestArgs,
    environment: &Environment,
    reader: Reader,
    out: &mut dyn Write,
) -> Result<bool, RulesCommandError> {
    let config = check::load_file(&args.file, environment, reader)?.config;
    let plugins = plugins(&config)?;
    let path = args.file.with_extension("tests.yaml");
    let expectations = expectations(&path)?;
    let mut text = String::new();
    let mut missed = 0;
    for expectation in &expectations {
        let described = expectation.describe(&path)?;
        let facts = TransactionFacts {
            transaction: &described.transaction,
            process: &described.process,
        };
        let faults = expectation.faults(&plugins, &facts);
        if faults.is_empty() {
            let _always = writeln!(text, "ok      {}", shown(&expectation.name));
            continue;
        }
        missed += 1;
        let _always = writeln!(
            text,
            "FAILED  {}: {}",
            shown(&expectation.name),
            shown(&faults.join("; "))
        );
        for plugin in &plugins {
            plugin.explain(&config, &facts, &mut text);
        }
    }
    let _always = writeln!(
        text,
        "{} of {} expectations met",
        expectations.len() - missed,
        expectations.len()
    );
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(missed == 0)
}

fn expectations(path: &Path) -> Result<Vec<Expectation>, RulesCommandError> {
    let format = |reason: String| RulesCommandError::Format {
        path: path.to_owned(),
        what: "a list of {name, transaction, level, rule, mode}",
        reason,
    };
    let text = read(path)?;
    let expectations: Vec<Expectation> =
        serde_yaml::from_str(&text).map_err(|error| format(error.to_string()))?;
    if expectations.is_empty() {
        return Err(format("it expects nothing".to_owned()));
    }
    for expectation in &expectations {
        let expects = [&expectation.level, &expectation.mode];
        if let Some(word) = expects
            .into_iter()
            .flatten()
            .find(|word| Level::parse(word).is_none())
        {
            return Err(format(format!(
                "`{}`: `{word}` is no level",
                expectation.name
            )));
        }
        if expects.into_iter().all(Option::is_none) && expectation.rule.is_none() {
            return Err(format(format!(
                "`{}` expects nothing: give it level, rule or mode",
                expectation.name
            )));
        }
    }
    Ok(expectations)
}

impl Expectation {
    fn describe(&self, beside: &Path) -> Result<Described, RulesCommandError> {
        match &self.transaction {
            serde_json::Value::String(file) => describe(&beside.with_file_name(file)),
            value => Described::new(value).map_err(|error| RulesCommandError::Expectation {
                name: self.name.clone(),
                error,
            }),
        }
    }

    /// What is not as expected.
    fn faults(&self, plugins: &[Plugin], facts: &dyn Facts) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |what: &str,
                          plugin: &str,
                          level: Option<&String>,
                          rule: Option<&String>| {
            if level.is_none() && rule.is_none() {
                return;
            }
            let Some(plugin) = plugins.iter().find(|p| p.name == plugin) else {
                faults.push(format!("the stack has no {plugin}"));
                return;
            };
            let decision = plugin.rules.decide(facts, &mut Default::default());
            if let Some(level) = level.filter(|level| Level::parse(level) != Some(decision.level)) {
                faults.push(format!("{what} {}, not {level}", decision.level.name()));
            }
            let found = decision.rule.as_deref().unwrap_or_default();
            if let Some(rule) = rule.filter(|rule| *rule != found) {
                let name = |rule: &str| {
                    if rule.is_empty() {
                        "no rule".to_owned()
                    } else {
                        format!("rule `{rule}`")
                    }
                };
                faults.push(format!("{} decides, not {}", name(found), name(rule)));
            }
        };
        expect(
            "level",
            "http_capture",
            self.level.as_ref(),
            self.rule.as_ref(),
        );
        expect("mode", "access_logs", self.mode.as_ref(), None);
        faults
    }
}

fn describe(path: &Path) -> Result<Described, RulesCommandError> {
    let text = read(path)?;
    let value = serde_json::from_str(&text).map_err(|error| RulesCommandError::Format {
        path: path.to_owned(),
        what: "JSON",
        reason: error.to_string(),
    })?;
    Described::new(&value).map_err(|error| RulesCommandError::Described {
        path: path.to_owned(),
        error,
    })
}

fn read(path: &Path) -> Result<String, RulesCommandError> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text))
        }
    };
    read.map_err(|source| RulesCommandError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

/// Writes the table of fields.
///
/// # Errors
/// Those of writing.
pub fn fields(out: &mut dyn Write) -> io::Result<()> {
    for def in FIELDS {
        let name = if def.keyed() {
            format!("{}<name>", def.name)
        } else {
            def.name.to_owned()
        };
        writeln!(
            out,
            "{name:32} {:14} {:26} {}",
            def.ty.describe(),
            def.known.describe(),
            def.meaning
        )?;
    }
    out.flush()
}
